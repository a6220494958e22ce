"""``latentlab digits``: from an autoencoder to a disentangled latent, at a desk."""

from __future__ import annotations

import typer

from latentlab.cli.digits.demo import demo
from latentlab.cli.digits.export import export
from latentlab.cli.digits.factors import factors
from latentlab.cli.digits.interpolate import interpolate
from latentlab.cli.digits.sweep import sweep
from latentlab.cli.digits.train import train
from latentlab.cli.digits.traverse import traverse

digits = typer.Typer(
    help="Handwritten digits: train small autoencoders and look into their latents.",
    rich_markup_mode=None,
)
digits.command("train")(train)
digits.command("interpolate")(interpolate)
digits.command("traverse")(traverse)
digits.command("factors")(factors)
digits.command("sweep")(sweep)
digits.command("export")(export)
digits.command("demo")(demo)
