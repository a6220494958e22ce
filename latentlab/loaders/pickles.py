"""Tensors out of pickles, whose other objects stay inert: no code of a file ever runs.

Trainers keep callbacks, arguments and NumPy numbers beside the weights. What torch's own
restricted reader does not know becomes an empty stand-in under the same name, and nothing is
imported. A file that names a function to run commands with is refused as a whole.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch

from latentlab.errors import WeightsError
from latentlab.machine.files import ARCHIVE_DAMAGE

_TENSORS = {
    "torch": ("Size", "device", "Tensor"),
    "torch._utils": (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
    ),
    "torch.nn.parameter": ("Parameter",),
    "torch.storage": ("UntypedStorage", "TypedStorage"),
    "torch.serialization": ("_get_layout",),
    "collections": ("OrderedDict", "defaultdict"),
    "builtins": ("set", "frozenset", "dict", "list", "tuple", "int", "float", "bool", "str"),
}
"""Module → what a pickle of tensors needs from it; only this is ever imported."""

_INERT_BUILTINS = {"getattr", "object", "bytes", "bytearray", "complex", "slice", "range"}

_CODE = frozenset(
    {
        "builtins",
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "shutil",
        "socket",
        "importlib",
        "runpy",
        "pty",
        "ctypes",
        "code",
        "marshal",
        "pickle",
        "types",
        "operator",
        "io",
        "_io",
        "tempfile",
        "webbrowser",
        "urllib",
        "requests",
        "multiprocessing",
        "asyncio",
        "timeit",
        "pdb",
        "bdb",
        "cProfile",
        "profile",
        "doctest",
        "pip",
        "venv",
        "http",
        "ftplib",
        "smtplib",
    }
)
"""Packages that no checkpoint needs an object of, and that a harmful one calls."""

LARGEST_GROWTH = 8
"""How many times its own size a file may unpack to: trainers do not compress weights."""

MOST_ENTRIES = 10**6
"""No checkpoint has more tensors and mappings, counted once for each path to them."""
DEEPEST = 100
"""Containers inside one another; one that holds itself has no end."""


class StandIn(dict):  # type: ignore[type-arg]
    """An object of a class that is not imported: it keeps what it was given and does nothing."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __new__(cls, *_: Any, **__: Any) -> StandIn:
        """Return an empty one, whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Leave an item of a list out."""

    def extend(self, items: Any) -> None:
        """Leave items of a list out."""

    add = append


def _read_bytearray(reader: Any) -> None:
    """Append an array of bytes, of which only as many are allocated as the file has."""
    (size,) = struct.unpack("<Q", reader.read(8))
    reader.append(bytearray(reader.read(size)))


class _Unpickler(pickle._Unpickler):
    """pickle's reader, with stand-ins for every class that tensors do not need.

    It is the one in Python: the memo of the one in C is an array as long as the largest index in
    the file, so that ten bytes would allocate 64 GB.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: _read_bytearray,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what tensors need, or a stand-in; UnpicklingError for what runs commands."""
        module = IMPORT_MAPPING.get(module, module)  # names of Python 2, in old protocols
        if name in _TENSORS.get(module, ()):
            return getattr(import_module(module), name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        package = module.partition(".")[0]
        if package in _CODE and not (module == "builtins" and name in _INERT_BUILTINS):
            raise pickle.UnpicklingError(f"unsupported global {module}.{name}")
        return type(name.rpartition(".")[2], (StandIn,), {"__module__": module})


def _load(stream: Any, **options: Any) -> Any:
    return _Unpickler(stream, **options).load()


_INERT = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="latentlab.loaders.pickles")


def read_pickle(path: Path) -> Any:
    """Return what a pickle of torch contains, with :class:`StandIn` for unknown classes.

    A file that torch wrote as a zip archive is mapped into memory.

    Raises
    ------
    WeightsError : the file calls code, or unpacks to many times its size.
    pickle.UnpicklingError, RuntimeError and others : it is damaged.
    """
    zipped = zipfile.is_zipfile(path)
    options: dict[str, Any] = {"map_location": "cpu", "mmap": zipped and _is_plain(path)}
    with warnings.catch_warnings():
        # torch warns about unusual pickle protocols and TorchScript before it refuses them.
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, weights_only=True, **options)
        except (pickle.UnpicklingError, RuntimeError) as error:
            refusal = str(error)
            if "TorchScript" in refusal:
                raise _runs_code(path) from error
            if not (wants_more(path, refusal) and (zipped or _is_pickle(path))):
                raise
        try:
            return torch.load(path, weights_only=False, pickle_module=_INERT, **options)
        except pickle.UnpicklingError as error:
            if "unsupported global" in str(error):
                raise _runs_code(path) from error
            raise


def wants_more(path: Path, refusal: str) -> bool:
    """Return whether torch's restricted reader refused a file for what it names or how."""
    if "unsupported global" in refusal.lower() or "unsupported operand" in refusal.lower():
        return True
    # torch refuses newer pickle protocols before it reaches the names that they would call.
    try:
        with path.open("rb") as stream:
            called = {opcode.name for opcode, _, _ in pickletools.genops(stream)}
    except (ValueError, LookupError, OSError, EOFError):
        return False
    return bool(called & {"GLOBAL", "STACK_GLOBAL", "INST"})


def _runs_code(path: Path) -> WeightsError:
    return WeightsError(
        f"{path}, a pickle that would run code", "only tensors", "use a .safetensors file"
    )


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(1) == b"\x80"


def _is_plain(path: Path) -> bool:
    """Return whether nothing in an archive is compressed.

    WeightsError for a zip bomb, UnpicklingError for a damaged list of members.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except ARCHIVE_DAMAGE as error:
        raise pickle.UnpicklingError(f"a damaged zip archive ({error})") from error
    unpacked, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if unpacked > LARGEST_GROWTH * size:
        raise WeightsError(
            f"{path}, whose {size / 1e6:,.1f} MB unpack to {unpacked / 1e6:,.0f} MB",
            "weights, which hardly compress",
            "use a .safetensors file, and do not unpack this one",
        )
    return all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)


def named_tensors(loaded: Any, keep: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return all tensors inside nested mappings and pickled modules, under dotted names.

    Parameters
    ----------
    loaded : what a pickle contains
    keep : last parts of names whose numbers and lists of numbers become tensors, too

    Examples
    --------
    >>> list(named_tensors({"ema": {"weight": torch.zeros(1)}, "epoch": 3}))
    ['ema.weight']
    """
    found: dict[str, Any] = {}

    def parts(path: tuple[str, ...], value: Any) -> list[tuple[Any, Any]]:
        if not isinstance(value, Mapping) or len(path) >= 12:
            return []
        items = [*value.items(), *_state(value).items()]
        return [(key, one) for key, one in items if isinstance(key, str)]

    refusal = WeightsError(
        f"nested mappings with more than {MOST_ENTRIES:,} entries",
        "the weights of a model",
        "save its state_dict alone",
    )
    for path, value in walk(loaded, parts, refusal):
        if isinstance(value, torch.Tensor) and path:
            found[".".join(path)] = value.detach()
        elif path and path[-1] in keep and (numbers := _numbers(value)) is not None:
            found[".".join(path)] = numbers
    return found


Parts = Callable[[tuple[str, ...], Any], Iterable[tuple[Any, Any]]]


def walk(loaded: Any, parts: Parts, refusal: Exception) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path of each entry of what a file contains, and the entry, from the outside in.

    What two entries share is yielded under both paths, so that a short file may have any number.

    Parameters
    ----------
    loaded : what a file contains, which comes first, without a path
    parts : (path, entry) → keys and entries in it; none for what is no container
    refusal : raised after :data:`MOST_ENTRIES`, or :data:`DEEPEST` of them inside one another

    Examples
    --------
    >>> inner = lambda _, value: value.items() if isinstance(value, dict) else ()
    >>> [path for path, _ in walk({"ema": {"weight": 1}}, inner, ValueError())]
    [(), ('ema',), ('ema', 'weight')]
    """
    pending: list[tuple[tuple[str, ...], Any]] = [((), loaded)]
    count = 0
    while pending:
        path, value = pending.pop()
        yield path, value
        inner = [((*path, str(key)), one) for key, one in parts(path, value)]
        count += len(inner)
        if count > MOST_ENTRIES or len(path) > DEEPEST:
            raise refusal
        pending += inner[::-1]


def _state(value: Any) -> dict[str, Any]:
    """Return parameters, buffers and parts of a module that was pickled as a whole."""
    state = getattr(value, "state", None) if isinstance(value, StandIn) else None
    if not isinstance(state, Mapping):
        return {}
    inner: dict[str, Any] = {}
    for kind in ("_parameters", "_buffers", "_modules"):
        part = state.get(kind)
        inner |= part if isinstance(part, Mapping) else {}
    return inner or dict(state)


def _numbers(value: Any) -> torch.Tensor | None:
    if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
        return None
    try:
        return torch.tensor(value, dtype=torch.float64)
    except (ValueError, TypeError, RuntimeError, OverflowError):
        return None
