"""Samples around a latent: one sampler a file, all behind one registry."""
