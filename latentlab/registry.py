"""Registered classes by name: neighborhoods, finders, nulls, features, model families."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from latentlab.arguments import unknown_argument
from latentlab.errors import UsageError

Entry = TypeVar("Entry")
Kind = TypeVar("Kind", bound=type)


class Registry(Mapping[str, type[Entry]], Generic[Entry]):
    """Name → class. Classes that come with latentlab are imported when they are first used.

    Help texts can therefore list the names without importing torch.

    Parameters
    ----------
    kind : str, what is registered, for messages, such as ``"neighborhood"``
    package : str, the package of the classes that come with latentlab
    modules : name → module of that package which registers it
    attribute : name of the class attribute that holds the registered name

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> shapes = Registry("shape")
    >>> @shapes.register("circle")
    ... @dataclass(frozen=True)
    ... class Circle:
    ...     radius: float = 1.0
    >>> shapes.make("circle", {"radius": "0.2"}), shapes.names()
    (Circle(radius=0.2), ['circle'])
    """

    def __init__(
        self,
        kind: str,
        package: str = "",
        modules: Mapping[str, str] | None = None,
        *,
        attribute: str = "name",
    ) -> None:
        self.kind = kind
        self._attribute = attribute
        self._package = package
        self._modules = dict(modules or {})
        self._entries: dict[str, type[Entry]] = {}

    def register(self, name: str) -> Callable[[Kind], Kind]:
        """Return a class decorator that registers a class and sets its name attribute."""

        def decorate(entry: Kind) -> Kind:
            setattr(entry, self._attribute, name)
            self._entries[name] = entry
            return entry

        return decorate

    def names(self) -> list[str]:
        """Return all names; those that come with latentlab come first."""
        return [*dict.fromkeys((*self._modules, *self._entries))]

    def make(self, name: str, options: Mapping[str, Any] | None = None) -> Entry:
        """Return an instance of the class with this name.

        Parameters
        ----------
        name : str
        options : field → value; text becomes a number where the field's default is a number;
            a function or module given instead of a name is used as it is

        Raises
        ------
        UsageError : unknown name, or a value of the wrong type.
        ArgumentError : unknown option.
        """
        known = option_types(self[name])
        for option in options or {}:
            if option not in known:
                got = f"option {option!r} for {self.kind} {name!r}"
                raise unknown_argument(option, known, got)
        values = {key: _convert(key, value, known[key]) for key, value in (options or {}).items()}
        return self[name](**values)

    def check(self, name: str) -> None:
        """Raise UsageError for an unknown name; nothing is imported."""
        if name not in self:
            choices = ", ".join(sorted(self.names()))
            raise UsageError(f"{self.kind} {name!r}", f"one of {choices}", "choose one of them")

    def __getitem__(self, name: str) -> type[Entry]:
        self.check(name)
        if name not in self._entries:
            import_module(f"{self._package}.{self._modules[name]}")
        return self._entries[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the class with this name, or the default if there is none."""
        if name not in self:
            return default
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package that imports its names when first used.

    Parameters
    ----------
    package : str, its ``__name__``
    homes : public name → module of the package that defines it
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find, lambda: sorted(homes)


def option_types(entry: type[Any]) -> dict[str, type]:
    """Return option → type of its default, for the fields of a registered dataclass."""
    if not is_dataclass(entry):
        return {}
    return {field.name: type(field.default) for field in fields(entry)}


def _convert(option: str, value: Any, kind: type) -> Any:
    if kind is str and callable(value):
        return value
    try:
        converted = kind(value)
        if kind is int and float(value) != converted:
            raise ValueError("a fraction")
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{option}={value!r}", f"a value of type {kind.__name__}", f"correct {option}"
        ) from error
    return converted
