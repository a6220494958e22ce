"""``latentlab completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import typer


def completion(
    context: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell.")],
) -> None:
    """Print the script with which a shell completes commands.

    bash: put eval "$(latentlab completion bash)" into ~/.bashrc. zsh: the same with zsh, into
    ~/.zshrc after compinit. fish: write it to ~/.config/fish/completions/latentlab.fish.
    """
    from typer.completion import shell_complete

    program = context.find_root().command
    name, variable = "latentlab", "_LATENTLAB_COMPLETE"
    raise typer.Exit(shell_complete(program, {}, name, variable, f"source_{shell}"))


def names_of(listed: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return what completes an option whose values are the names that are registered then."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in listed() if name.startswith(incomplete)]

    return complete


def model_names() -> list[str]:
    """Return the names of all models, those that come with latentlab first."""
    from latentlab.loaders.built_in import BUILT_IN
    from latentlab.loaders.catalogue import CATALOGUE

    return [*BUILT_IN, *CATALOGUE]
