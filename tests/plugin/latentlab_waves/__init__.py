"""Waves in latents: the smallest package that adds one of each to latentlab."""
