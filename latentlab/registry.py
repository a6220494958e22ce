"""Registered classes by name: neighborhoods, finders, nulls, features, model families."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from latentlab.arguments import unknown_argument
from latentlab.errors import PluginError, UsageError
from latentlab.plugins import Plugin, installed_plugins, note_use

Entry = TypeVar("Entry")
Kind = TypeVar("Kind", bound=type)


class Registry(Mapping[str, type[Entry]], Generic[Entry]):
    """Name → class, imported when it is first used.

    Help texts can therefore list the names without importing torch. Besides the classes that come
    with latentlab there are those that were registered by hand, and those of installed packages
    (see :mod:`latentlab.plugins`). A name belongs to whoever had it first, in this order.

    Parameters
    ----------
    kind : str, what is registered, for messages, such as ``"neighborhood"``
    package : str, the package of the classes that come with latentlab
    modules : name → module of that package which registers it
    attribute : name of the class attribute that holds the registered name
    group : str, entry points of other packages; "" for none
    base : str, module of the package and class in it that classes of others must derive from

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
        group: str = "",
        base: str = "",
    ) -> None:
        self.kind = kind
        self._group, self._base = group, base
        self._offered: dict[str, Plugin] | None = None
        self._loading = ""
        self.broken: dict[str, str] = {}
        self._attribute = attribute
        self._package = package
        self._modules = dict(modules or {})
        self._entries: dict[str, type[Entry]] = {}

    def register(self, name: str) -> Callable[[Kind], Kind]:
        """Return a class decorator that registers a class and sets its name attribute.

        The same class may be registered again, as a notebook does that runs a cell twice.

        Raises
        ------
        UsageError : another class has this name.
        """

        def decorate(entry: Kind) -> Kind:
            if name != self._loading and (owner := self._owner(name, entry)):
                raise UsageError(
                    f"{self.kind} {name!r} of {entry.__module__}",
                    f"a name that is not taken, as {name!r} is by {owner}",
                    "choose another name",
                )
            setattr(entry, self._attribute, name)
            self._entries[name] = entry
            return entry

        return decorate

    def _owner(self, name: str, entry: type) -> str:
        """Return who else has a name, in words; empty if nobody does."""
        if name in self._modules:
            own = f"{self._package}.{self._modules[name]}"
            return "" if entry.__module__ == own else "latentlab itself"
        if offered := (self._offered or {}).get(name):
            return "" if offered.offers(entry) else offered.source
        other = self._entries.get(name, entry)
        same = (other.__module__, other.__qualname__) == (entry.__module__, entry.__qualname__)
        return "" if same else f"the class {other.__qualname__} of {other.__module__}"

    @property
    def plugins(self) -> Mapping[str, Plugin]:
        """Return name → class of an installed package; nothing is imported.

        A UserWarning names each whose name is taken, once.
        """
        if self._offered is None:
            self._offered = {}
            for plugin in installed_plugins().get(self._group, ()):
                if owner := self._owner_before(plugin):
                    warnings.warn(
                        f"the {self.kind} {plugin.name!r} of {plugin.source} is left out: "
                        f"{owner} has that name",
                        stacklevel=3,
                    )
                else:
                    self._offered[plugin.name] = plugin
        return self._offered

    def _owner_before(self, plugin: Plugin) -> str:
        """Return who has the name of a plug-in already, in words; empty if nobody does."""
        if plugin.name in self._modules:
            return "latentlab itself"
        if plugin.name in (self._offered or {}):
            return self.plugins[plugin.name].source
        other = self._entries.get(plugin.name)
        if other is None or plugin.offers(other):
            return ""
        return f"the class {other.__qualname__} of {other.__module__}"

    def names(self) -> list[str]:
        """Return all names; those that come with latentlab come first."""
        return [*dict.fromkeys((*self._modules, *self._entries, *self.plugins))]

    def classes(self) -> dict[str, type[Entry]]:
        """Return name → class, all imported.

        Those of other packages that are broken are left out. A UserWarning names each once, and
        ``broken`` has the reasons.
        """
        found = {}
        for name in self.names():
            try:
                found[name] = self._load(name)
            except PluginError as error:
                if name not in self.broken:
                    warnings.warn(str(error), stacklevel=2)
                self.broken[name] = str(error)
        return found

    def source_of(self, name: str) -> str:
        """Return package and version of a class that an installed package offers, else ""."""
        return self.plugins[name].source if name in self.plugins else ""

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
        entry = self._load(name)
        if name in self.plugins:
            note_use(self.kind, self.plugins[name])
        return entry

    def _load(self, name: str) -> type[Entry]:
        if name not in self._entries:
            if name in self._modules:
                import_module(f"{self._package}.{self._modules[name]}")
            else:
                self._load_plugin(self.plugins[name])
        return self._entries[name]

    def _load_plugin(self, plugin: Plugin) -> None:
        module, _, base = self._base.rpartition(".")
        parent = getattr(import_module(f"{self._package}.{module}"), base) if base else None
        self._loading = plugin.name
        try:
            self.register(plugin.name)(plugin.load(self.kind, parent))
        except PluginError:
            self._entries.pop(plugin.name, None)  # its module may have registered it
            raise
        finally:
            self._loading = ""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the class with this name, or the default if there is none."""
        if name not in self:
            return default
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._modules or name in self.plugins

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
    except (ArithmeticError, TypeError, ValueError) as error:
        raise UsageError(
            f"{option}={value!r}", f"a value of type {kind.__name__}", f"correct {option}"
        ) from error
    return converted
