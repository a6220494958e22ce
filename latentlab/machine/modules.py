"""Modules that are executed in another way than Python would, in the process of a command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

Execute = Callable[[InspectLoader, ModuleType], None]
"""What executes a module that its loader has created."""


def execute_in_other_ways(ways: Mapping[str, Execute]) -> None:
    """Let modules be executed by other functions, from now on in this process.

    Modules that are already imported stay as they are.

    Parameters
    ----------
    ways : full name of a module → what executes it
    """
    _find_first({name: _way(execute) for name, execute in ways.items()})


def execute_when_used(*names: str) -> None:
    """Let modules be executed when something in them is used, from now on in this process."""
    _find_first(dict.fromkeys(names, LazyLoader))


def _find_first(loaders: Mapping[str, Callable[[InspectLoader], Loader]]) -> None:
    if not any(
        isinstance(at, _Finder) and at.loaders.keys() == loaders.keys() for at in sys.meta_path
    ):
        sys.meta_path.insert(0, _Finder(loaders))


class _Finder(MetaPathFinder):
    """Finds the modules that are executed in another way, and leaves all others to Python."""

    def __init__(self, loaders: Mapping[str, Callable[[InspectLoader], Loader]]) -> None:
        self.loaders = loaders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.loaders:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, InspectLoader):
            spec.loader = self.loaders[fullname](spec.loader)
        return spec


def _way(execute: Execute) -> Callable[[InspectLoader], Loader]:
    return lambda loader: _OtherWay(loader, execute)


class _OtherWay(Loader):
    """Executes a module in another way, and leaves no trace in it."""

    def __init__(self, loader: InspectLoader, execute: Execute) -> None:
        self.loader, self.execute = loader, execute

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.execute(self.loader, module)
