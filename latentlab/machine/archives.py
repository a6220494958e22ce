"""Suffixes of archives and of files of arrays, listed once. This module imports next to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

ARRAYS = (".npy", ".npz", ".pt", ".pth", ".safetensors")
"""Suffixes of files that hold arrays."""

TAR = ".tar"
ZIPS = (".zip", ".cbz")
"""Suffixes of zip files whose members are files."""

PARQUET = ".parquet"

PACKED: Mapping[str, str] = {
    **dict.fromkeys((".gz", ".bz2", ".xz", ".tgz", ".tbz2", ".txz"), "tar xf {}"),
    ".zst": "tar --zstd -xf {}",
    ".7z": "7z x {}",
    ".rar": "unrar x {}",
}
"""Suffix of archives that can only be read from their start → the command that unpacks one."""

_COMPRESSED = {
    "gzip": (".tar.gz", ".tgz"),
    "bz2": (".tar.bz2", ".tbz2"),
    "lzma": (".tar.xz", ".txz"),
}


def compression_of(name: str) -> str | None:
    """Return the module that unpacks a compressed tar file, by its name; None for other files.

    Examples
    --------
    >>> compression_of("a/latents.TAR.GZ"), compression_of("latents.npy.gz")
    ('gzip', None)
    """
    lower = PurePath(name).name.lower()
    found = (module for module, ends in _COMPRESSED.items() if lower.endswith(ends))
    return next(found, None)


def is_archive(name: str) -> bool:
    """Return whether a file is an archive whose members are read without unpacking it to disk."""
    return PurePath(name).suffix.lower() in (TAR, *ZIPS) or compression_of(name) is not None
