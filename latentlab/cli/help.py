"""Help that lists what is registered, with the options in groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from typing import Any

from typer import TyperException
from typer.core import TyperCommand

from latentlab.chance.nulls import NULLS
from latentlab.cli.guesses import check_hyphens
from latentlab.directions import FINDERS
from latentlab.measures import MEASURES
from latentlab.neighborhoods import SAMPLERS
from latentlab.pullback import FEATURES

_GROUPS = {
    "Sampling": ("size", "neighborhood", "samples", "region", "settings", "seed"),
    "Model": ("model", "device", "dtype", "tile", "compiled", "offline"),
    "Animations": ("format", "fps", "loop", "frame_size"),
    "Output": ("out", "figure_format", "json", "json_output", "quiet", "help"),
}
"""Heading → names of the parameters below it; the others are a command's own options."""


_SENTENCE = 80
"""More characters than the first sentence of any command has."""


class GroupedCommand(TyperCommand):
    """A command whose help has its own options first, then the shared ones in groups.

    ``{neighborhoods}``, ``{finders}``, ``{nulls}``, ``{features}`` and ``{metrics}`` in a help text
    become the names that are registered at the time.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, which may hold no long option with a single hyphen."""
        check_hyphens(args, ctx)
        try:
            return super().parse_args(ctx, args)
        except TyperException as error:
            error.ctx = getattr(error, "ctx", None) or ctx  # type: ignore[attr-defined]
            raise

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first sentence of the help, whole: shells show it beside the command."""
        return super().get_short_help_str(max(limit, _SENTENCE))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the names filled in."""
        super(GroupedCommand, self._filled_in()).format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the options that a shell may complete, with their help."""
        return super(GroupedCommand, self._filled_in()).shell_complete(ctx, incomplete)

    def _filled_in(self) -> GroupedCommand:
        names = {
            "neighborhoods": ", ".join(SAMPLERS.names()),
            "finders": ", ".join(FINDERS.names()),
            "nulls": ", ".join(name for name in NULLS.names() if name != "isotropic"),
            "features": ", ".join(FEATURES.names()),
            "metrics": ", ".join(MEASURES.names()),
        }
        shown = copy(self)
        shown.params = [_fill_in(parameter, names) for parameter in self.params]
        return shown

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for the arguments and for each group; one option alone makes none."""
        groups: dict[str, list[tuple[str, str]]] = {
            name: [] for name in ("Arguments", "Options", *_GROUPS)
        }
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                groups[_group_of(parameter)].append(_without_types(record))
        for name in _GROUPS:
            if len(groups[name]) == 1:
                groups["Options"] += groups.pop(name)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


def _without_types(record: tuple[str, str]) -> tuple[str, str]:
    """Return an entry of the help without Python's name for a list, which ``...`` says already."""
    return re.sub(r" ?<list\[\w+\]>", "", record[0]), record[1]


def _group_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    return next((group for group, names in _GROUPS.items() if parameter.name in names), "Options")


def _fill_in(parameter: Any, names: Mapping[str, str]) -> Any:
    filled = copy(parameter)
    for name, listed in names.items():
        if getattr(filled, "help", None):
            filled.help = filled.help.replace(f"{{{name}}}", listed)
    return filled
