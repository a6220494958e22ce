"""How users name a model: ``PATH_OR_NAME#weights@normalization``."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from latentlab.errors import ModelNotFoundError, UsageError
from latentlab.loaders.forks import FORKS, NONE
from latentlab.loaders.hub_cache import WEIGHT_SUFFIXES
from latentlab.loaders.measured import SUFFIX
from latentlab.loaders.normalization import NORMALIZATIONS
from latentlab.machine.files import exists

_KNOWN = {NONE, *NORMALIZATIONS, *(name for ways in FORKS.values() for name in ways)}

_SET = re.compile(r"(?P<source>.+)#(?P<weights>[\w.-]+)(?P<rest>@.+)?", re.DOTALL)

HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?::(?P<subfolder>[\w./-]+))?")


def split_weights(source: Any, stated: str | None) -> tuple[Any, str | None]:
    """Return a source without ``#set``, and the set of weights that is stated, if any."""
    if not isinstance(source, str) or exists(absolute_path(source)):
        return source, stated
    match = _SET.fullmatch(source)
    if match is None:
        return source, stated
    if stated not in (None, match["weights"]):
        raise UsageError(
            f"weights={stated} for {source}", "one set of weights", "leave out one of them"
        )
    return match["source"] + (match["rest"] or ""), match["weights"]


def split_normalization(source: Any, stated: str | None) -> tuple[Any, str | None]:
    """Return a source without ``@name``, and the normalization that is stated, if any."""
    if not isinstance(source, str) or exists(absolute_path(source)):
        return source, stated
    plain, _, name = source.rpartition("@")
    if not plain or not (name in _KNOWN or name.endswith(SUFFIX) or _is_file(plain)):
        return source, stated
    if stated not in (None, name):
        raise UsageError(
            f"normalization={stated} for {source}", "one normalization", "leave out one of them"
        )
    return plain, name


def _is_file(source: str) -> bool:
    path = absolute_path(source)
    return exists(path) and path.is_file()


def looks_like_path(source: str) -> bool:
    """Return whether a name that does not exist was meant as a path."""
    starts = source.startswith((".", "/", "~")) or "\\" in source
    nested = "/" in source and not HUB_ID.fullmatch(source)
    return starts or nested or Path(source).suffix in WEIGHT_SUFFIXES


def absolute_path(source: str | Path) -> Path:
    """Return a path without ``~``, ``..`` and its dependence on the current folder."""
    path = Path(source)
    with suppress(RuntimeError, ValueError):  # ~name of no user, or with a null byte
        path = path.expanduser()
    # Symbolic links are kept: the hub's cache links to files without telling names.
    return Path(os.path.normpath(path.absolute()))


def missing_path(source: str | Path) -> ModelNotFoundError:
    """Return the error for a path that does not exist."""
    return ModelNotFoundError(
        f"{source}, which does not exist", "a folder or weights file", "check the path"
    )
