"""Classes that installed packages add to the registries: their entry points, read once.

A package names its classes in its ``pyproject.toml``, and latentlab finds them by that alone::

    [project.entry-points."latentlab.finders"]
    waves = "my_package:Waves"

The groups are ``latentlab.neighborhoods``, ``.finders``, ``.nulls``, ``.metrics`` and
``.families``. Nothing is imported before a name is asked for.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from latentlab.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PREFIX = "latentlab."
"""What the names of all groups begin with."""


@dataclass(frozen=True)
class Plugin:
    """One class of an installed package, not imported yet.

    Parameters
    ----------
    name : str, under which it is registered
    value : str, where it is, such as ``"my_package:Waves"``
    distribution, version : str, of the package
    """

    name: str
    value: str
    distribution: str
    version: str

    @property
    def source(self) -> str:
        """Return the package and its version, for messages.

        Examples
        --------
        >>> Plugin("waves", "my_package:Waves", "my-package", "1.2").source
        'the package my-package 1.2'
        """
        return f"the package {self.distribution} {self.version}"

    def offers(self, entry: type) -> bool:
        """Return whether a class is this one, in whichever module of its package it is.

        Examples
        --------
        >>> Plugin("fractions", "fractions:Fraction", "numbers", "1").offers(int)
        False
        """
        module, _, name = self.value.partition(":")
        package, own = module.partition(".")[0], entry.__module__.partition(".")[0]
        return (package, name.partition("[")[0].strip()) == (own, entry.__qualname__)

    def load(self, kind: str, base: type | None) -> Any:
        """Return the class, imported.

        Parameters
        ----------
        kind : str, what is registered, for messages
        base : what it must be a subclass of; None for any class

        Raises
        ------
        PluginError : it cannot be imported, or it is no such class.
        """
        from importlib.metadata import EntryPoint

        try:
            found = EntryPoint(self.name, self.value, "").load()
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise self._broken(kind, f"which cannot be imported ({reason})", "a class") from error
        if not isinstance(found, type) or (base is not None and not issubclass(found, base)):
            right = f"a subclass of {base.__module__}.{base.__qualname__}" if base else "a class"
            raise self._broken(kind, f"where {self.value} is no such class", right)
        if inspect.isabstract(found):
            missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
            raise self._broken(kind, f"without {missing}", "a class with every abstract method")
        if unset := _without_default(found):
            fault = f"without a default of {', '.join(unset)}"
            raise self._broken(kind, fault, "a default of every option")
        return found

    def _broken(self, kind: str, fault: str, expected: str) -> PluginError:
        return PluginError(
            f"the {kind} {self.name!r} of {self.source}, {fault}",
            expected,
            f"update or uninstall {self.distribution}",
        )


def _without_default(found: type) -> list[str]:
    """Return the options that have to be given: a class must do without any."""
    known = fields(found) if is_dataclass(found) else ()
    return [
        one.name
        for one in known
        if one.init and one.default is MISSING and one.default_factory is MISSING
    ]


@cache
def installed_plugins() -> Mapping[str, tuple[Plugin, ...]]:
    """Return group → plug-ins of all installed packages, by package and name.

    A package whose list of entry points cannot be read is left out, which a UserWarning says.
    """
    from importlib import metadata

    found: dict[str, set[Plugin]] = {}
    for distribution in metadata.distributions():
        for group, plugin in _plugins_of(distribution):
            found.setdefault(group, set()).add(plugin)
    return {group: tuple(sorted(plugins, key=_order)) for group, plugins in found.items()}


def _order(plugin: Plugin) -> tuple[str, ...]:
    return plugin.distribution.lower(), plugin.name, plugin.value, plugin.version


def _plugins_of(distribution: Distribution) -> list[tuple[str, Plugin]]:
    # To read the text and search it is several times as fast as to parse that of all packages.
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except (OSError, ValueError):
        return []
    if f"[{PREFIX}" not in text:
        return []
    name, version = distribution.metadata["Name"], distribution.version
    try:
        return [
            (entry.group, Plugin(entry.name, entry.value, name, version))
            for entry in distribution.entry_points
            if entry.group.startswith(PREFIX)
        ]
    except (TypeError, ValueError) as error:
        warnings.warn(
            f"the plug-ins of the package {name} {version} are left out: its list of entry points "
            f"cannot be read ({error})",
            stacklevel=2,
        )
        return []


_USED: dict[tuple[str, str], Plugin] = {}


def note_use(kind: str, plugin: Plugin) -> None:
    """Remember that a class of this plug-in was asked for by its name."""
    _USED[kind, plugin.name] = plugin


def used_plugins() -> list[dict[str, str]]:
    """Return kind, name, distribution and version of every plug-in that this process asked for."""
    return [
        {
            "kind": kind,
            "name": name,
            "distribution": plugin.distribution,
            "version": plugin.version,
        }
        for (kind, name), plugin in sorted(_USED.items(), key=lambda item: item[0])
    ]
