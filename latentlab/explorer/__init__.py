"""A page on this machine on which one moves through the latent space around an image."""
