"""diffusers without the models that nobody asked for.

diffusers' packages of models import every model that they contain: 40 autoencoders, all unets and
all transformers with their adapters and quantizers, and the compiler of torch. This takes five
times as long as the one autoencoder that is needed. Here the same packages import each name
when it is first used. Nothing of diffusers is copied or changed, and every name stays reachable.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from importlib import import_module, metadata
from importlib.abc import InspectLoader
from importlib.util import resolve_name
from inspect import Signature, signature
from types import ModuleType
from typing import Any

from latentlab.machine.modules import Execute, execute_in_other_ways
from latentlab.registry import lazy_names

_PACKAGES = {
    *("diffusers.models.autoencoders", "diffusers.models.unets", "diffusers.models.transformers"),
    *("diffusers.hooks", "diffusers.quantizers"),
}
_COMPILER = "torch._dynamo"
_ACCELERATE = ("accelerate", "accelerate.hooks", "accelerate.utils")
_HUB = "huggingface_hub"
_LATER = {
    "diffusers.utils.torch_utils": (_COMPILER,),
    "diffusers.configuration_utils": (_HUB,),
    "diffusers.utils.accelerate_utils": _ACCELERATE,
    "diffusers.utils.dynamic_modules_utils": (_HUB,),
    "diffusers.utils.hub_utils": (_HUB, f"{_HUB}.file_download"),
    "diffusers.utils.loading_utils": ("requests",),
    "diffusers.utils.remote_utils": ("requests",),
    "diffusers.hooks.group_offloading": (_COMPILER, *_ACCELERATE),
    "diffusers.models.model_loading_utils": _ACCELERATE,
    "diffusers.models.modeling_utils": (_HUB, *_ACCELERATE),
    "diffusers.loaders.lora_base": ("transformers", _HUB, *_ACCELERATE),
    "diffusers.loaders.single_file_model": _ACCELERATE,
    "diffusers.loaders.single_file_utils": (
        *("transformers", "diffusers.schedulers", "requests"),
        *_ACCELERATE,
    ),
}
"""Module → modules of which it needs nothing but names until it is called."""
_FIRST_DEFINITION = re.compile(r"^(?:@|def |class |async )", re.MULTILINE)


def import_only_what_is_used() -> None:
    """Let diffusers' packages import their models one by one, from now on in this process.

    Packages that are already imported stay as they are.
    """
    execute_in_other_ways(_Later().ways())


def homes_of(source: str) -> dict[str, str] | None:
    """Return name → module, for a package that only imports names from its own modules.

    Imports below ``if`` count too, since what they ask for, such as torch, is there. None means
    that the package does something else, too.

    Parameters
    ----------
    source : str, of the package's ``__init__.py``

    Examples
    --------
    >>> homes_of("from .vae import Encoder, Decoder")
    {'Encoder': 'vae', 'Decoder': 'vae'}
    >>> homes_of("prepare()") is None
    True
    """
    homes: dict[str, str] = {}
    for statement in _statements(ast.parse(source).body):
        match statement:
            case ast.ImportFrom(module=str(module), level=1):
                homes |= {name.asname or name.name: module for name in statement.names}
                if any(name.name == "*" or name.asname for name in statement.names):
                    return None
            case ast.ImportFrom() | ast.Import() | ast.Expr(value=ast.Constant()):
                continue
            case _:
                return None
    return homes


def _head_of(source: str) -> ast.Module:
    """Return the syntax tree of a module up to its first function or class.

    To read all of a long module takes longer than to execute it.
    """
    try:
        return ast.parse(_FIRST_DEFINITION.split(source, maxsplit=1)[0])
    except SyntaxError:  # that line was part of a text
        return ast.parse(source)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If) and not statement.orelse:
            yield from _statements(statement.body)
        else:
            yield statement


class _Later:
    """Executes modules so that what they only name is imported when it is used."""

    def __init__(self) -> None:
        self.told_later: list[Any] = []

    def ways(self) -> dict[str, Execute]:
        """Return the full name of each module → what executes it."""
        return {
            **dict.fromkeys(_PACKAGES, _open_lazily),
            **dict.fromkeys(_LATER, self._execute_alone),
            "diffusers.utils.import_utils": _list_packages_later,
            _COMPILER: self._load_compiler,
        }

    def _execute_alone(self, loader: InspectLoader, module: ModuleType) -> None:
        """Execute a module whose heavy imports are replaced by stand-ins.

        Its other imports come first, so that they see the real modules.
        """
        heavy = _LATER[module.__name__]
        for statement in _statements(_head_of(loader.get_source(module.__name__) or "").body):
            if isinstance(statement, ast.ImportFrom) and statement.level and statement.module:
                name = "." * statement.level + statement.module
                if resolve_name(name, module.__package__ or "") not in heavy:
                    import_module(name, module.__package__)
        with ExitStack() as stack:
            for name in heavy:
                stack.enter_context(self._standing_in(name))
            loader.exec_module(module)

    @contextmanager
    def _standing_in(self, name: str) -> Iterator[None]:
        if name == _HUB:
            with _naming_later(import_module(name)):
                yield
            return
        if name in sys.modules:
            yield
            return
        sys.modules[name] = standing = _StandIn(name)
        if name == _COMPILER:
            # torch itself puts off the import of its compiler by this decorator.
            vars(standing).update(allow_in_graph=self._tell_later, disable=_disable)
        try:
            yield
        finally:
            del sys.modules[name]

    def _tell_later(self, layer: Any) -> Any:
        """Return a class of layers, and tell the compiler of it when it is imported."""
        compiler = sys.modules.get(_COMPILER)
        if compiler is not None and not isinstance(compiler, _StandIn):
            return compiler.allow_in_graph(layer)
        self.told_later.append(layer)
        return layer

    def _load_compiler(self, loader: InspectLoader, compiler: ModuleType) -> None:
        loader.exec_module(compiler)
        while self.told_later:
            compiler.allow_in_graph(self.told_later.pop())


def _open_lazily(loader: InspectLoader, package: ModuleType) -> None:
    """Give a package its names without importing them, if it has nothing else."""
    homes = homes_of(loader.get_source(package.__name__) or "prepare()")
    if homes is None:
        loader.exec_module(package)
        return
    find, listed = lazy_names(package.__name__, homes)
    vars(package).update(__getattr__=find, __dir__=listed, __all__=listed())


def _list_packages_later(loader: InspectLoader, module: ModuleType) -> None:
    """Execute a module that reads the files of all installed packages, to look up a few names."""
    before = metadata.packages_distributions
    metadata.packages_distributions = _InstalledPackages
    try:
        loader.exec_module(module)
    finally:
        metadata.packages_distributions = before


class _InstalledPackages(Mapping[str, list[str]]):
    """Top-level module → the distributions that install it, read when one is asked for."""

    @cached_property
    def _found(self) -> Mapping[str, list[str]]:
        return metadata.packages_distributions()

    def __getitem__(self, name: str) -> list[str]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _disable(
    function: Callable[..., Any] | None = None, recursive: bool = True, **_: Any
) -> Callable[..., Any]:
    from torch._compile import _disable_dynamo

    return _disable_dynamo(function, recursive)


@contextmanager
def _naming_later(package: ModuleType) -> Iterator[None]:
    """Let a package that imports its names one by one import them when something is done with them.

    A package that has all of its names stays as it is.
    """
    find = vars(package).get("__getattr__")
    if find is None:
        yield
        return
    vars(package)["__getattr__"] = _StandIn(package.__name__).__getattr__
    try:
        yield
    finally:
        vars(package)["__getattr__"] = find


class _StandIn(ModuleType):
    """A module whose names are classes that are imported when something is done with them."""

    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            return metadata.version(self.__name__)
        if name.startswith("_"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return _LaterClass(name, (), {"module": self.__name__})


class _LaterClass(type):
    """A class that is another one, which is imported when it is used."""

    module: str

    def real(cls) -> Any:
        return getattr(import_module(cls.module), cls.__name__)

    @property
    def __signature__(cls) -> Signature:
        return signature(cls.real())

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.real(), name)

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        return cls.real()(*arguments, **options)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.real())

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real())
