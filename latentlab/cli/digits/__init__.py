"""``latentlab digits``: from an autoencoder to a disentangled latent, at a desk."""

from __future__ import annotations

import typer

from latentlab.cli.digits.train import train

digits = typer.Typer(
    help="Handwritten digits: train small autoencoders and look into their latents.",
    rich_markup_mode=None,
)
digits.command("train")(train)
