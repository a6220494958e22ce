"""Options declared once as dataclasses for several commands, and help that lists names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from typer.core import TyperCommand

from latentlab.chance.nulls import NULLS
from latentlab.directions import FINDERS
from latentlab.neighborhoods import SAMPLERS
from latentlab.pullback import FEATURES


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command in which every parameter that is a dataclass is replaced by its fields.

    Each field becomes an option with the field's annotation and default. The function receives the
    dataclass.
    """
    flat: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind = parameter.annotation
        if not is_dataclass(kind):
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = kind
        hints = get_type_hints(kind, include_extras=True)
        flat += [
            parameter.replace(
                name=field.name,
                kind=inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
            for field in fields(kind)
        ]

    def command(**given: Any) -> None:
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        function(**given, **made)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return command


class ListingCommand(TyperCommand):
    """A command whose help lists what is registered at the time.

    ``{neighborhoods}``, ``{finders}``, ``{nulls}`` and ``{features}`` in a help text become the
    names.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the names filled in."""
        names = {
            "neighborhoods": ", ".join(SAMPLERS.names()),
            "finders": ", ".join(FINDERS.names()),
            "nulls": ", ".join(name for name in NULLS.names() if name != "isotropic"),
            "features": ", ".join(FEATURES.names()),
        }
        shown = copy(self)
        shown.params = [_fill_in(parameter, names) for parameter in self.params]
        super(ListingCommand, shown).format_help(ctx, formatter)


def _fill_in(parameter: Any, names: Mapping[str, str]) -> Any:
    filled = copy(parameter)
    for name, listed in names.items():
        if getattr(filled, "help", None):
            filled.help = filled.help.replace(f"{{{name}}}", listed)
    return filled
