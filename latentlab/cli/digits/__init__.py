"""``latentlab digits``: from training an autoencoder to a disentangled latent space."""

from __future__ import annotations

import typer

from latentlab.cli.digits.demo import demo
from latentlab.cli.digits.export import export
from latentlab.cli.digits.factors import factors
from latentlab.cli.digits.interpolate import interpolate
from latentlab.cli.digits.sweep import sweep
from latentlab.cli.digits.train import train
from latentlab.cli.digits.traverse import traverse
from latentlab.cli.help import GroupedCommand

digits = typer.Typer(
    help="Handwritten digits: train and explore small autoencoders.",
    short_help="Handwritten digits: train and explore small autoencoders.",  # shells cut help off
    rich_markup_mode=None,
)
for command in (train, interpolate, traverse, factors, sweep, export, demo):
    digits.command(cls=GroupedCommand)(command)
