"""Ways through latent space, decoded: straight and curved traversals, interpolations."""
