"""From a registered name and options, as a user writes them, to the object that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from latentlab.errors import UsageError

Registered = TypeVar("Registered")


def make_registered(
    registry: Mapping[str, type[Registered]], kind: str, name: str, options: Mapping[str, Any]
) -> Registered:
    """Return the entry of this name, a dataclass, with options converted to its fields' types.

    Parameters
    ----------
    registry : name → dataclass whose fields all have defaults, which say the types
    kind : str, what the registry holds, for messages
    name : str
    options : field → value; text becomes a number where the default is one; functions and
        modules, in place of a name, are taken as they are

    Raises
    ------
    UsageError : no such name or option, or a value of another type.

    Examples
    --------
    >>> from latentlab.neighborhoods import SAMPLERS
    >>> make_registered(SAMPLERS, "neighborhood", "gaussian", {"radius": "0.2"})
    Gaussian(radius=0.2)
    """
    if name not in registry:
        raise UsageError(
            f"{kind} {name!r}", f"one of {', '.join(sorted(registry))}", "choose one of them"
        )
    known = option_types(registry[name])
    for option in options:
        if option not in known:
            raise UsageError(
                f"option {option!r} for {kind} {name!r}",
                f"one of {', '.join(known) or 'none: it has no options'}",
                "remove or correct it",
            )
    return registry[name](
        **{option: _convert(option, value, known[option]) for option, value in options.items()}
    )


def option_types(entry: type[Any]) -> dict[str, type]:
    """Return option → type, that of its default, of a registered dataclass."""
    return {field.name: type(field.default) for field in fields(entry)}


def _convert(option: str, value: Any, kind: type) -> Any:
    if kind is str and callable(value):
        return value
    try:
        converted = kind(value)
        if kind is int and float(value) != converted:
            raise ValueError("a fraction")
        return converted
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{option}={value!r}", f"a value of type {kind.__name__}", f"correct {option}"
        ) from error
