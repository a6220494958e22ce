"""latentlab: look into the latent space of pretrained latent-diffusion VAEs."""
