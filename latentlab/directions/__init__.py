"""Finders: what a direction in latent space can be found from."""
