"""``latentlab store``: what is in a store, whether it is whole, and one file of all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json

store = typer.Typer(help="Latents that `latentlab encode` wrote.", rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(help="A store.")]


@store.command("info")
def info(folder: Folder, json: options.Json = False, debug: options.Debug = False) -> None:
    """Say what a store holds."""
    from latentlab.store.reading import open_store

    opened = open_store(folder)
    facts = opened.summary()
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):18}{value}")
