"""MNIST's four files, downloaded once and verified."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from latentlab.errors import DownloadError
from latentlab.latents import Progress
from latentlab.machine.files import sha256_of_file, write_bytes

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_PUBLISHED = """
train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train-labels-idx1-ubyte.gz 28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
t10k-images-idx3-ubyte.gz 1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
t10k-labels-idx1-ubyte.gz 4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
"""
SUMS = {
    name: (int(size), digest)
    for name, size, digest in map(str.split, _PUBLISHED.strip().splitlines())
}
"""File → size in bytes and SHA-256 of the gzipped file that LeCun, Cortes and Burges published."""

_PIECE = 1 << 16
_TIMEOUT = 30.0


def mnist_cache() -> Path:
    """Return the folder where MNIST is kept, below XDG_CACHE_HOME or ``~/.cache``."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, "latentlab", "mnist")


def fetch_mnist(*, offline: bool = False, progress: Progress | None = None) -> Path:
    """Return the cache's folder after downloading the files of MNIST that it lacks.

    A file is kept only if its size and SHA-256 are those of the original. The mirrors are tried
    one after the other.

    Raises
    ------
    DownloadError : a file is missing and ``offline`` is set, or no mirror delivers it intact.
    FileError : the cache cannot be written.
    """
    folder = mnist_cache()
    missing = [name for name in SUMS if not _is_whole(folder / name)]
    if missing and offline:
        raise DownloadError(
            f"--offline without {missing[0]} in {folder}",
            "MNIST in the cache",
            "run once without --offline, or pass --data DIR or --data digits",
        )
    for name in missing:
        _fetch(name, folder / name, progress)
    return folder


def _is_whole(path: Path) -> bool:
    size, digest = SUMS[path.name]
    return path.is_file() and path.stat().st_size == size and sha256_of_file(path) == digest


def _fetch(name: str, path: Path, progress: Progress | None) -> None:
    problems = []
    for mirror in MIRRORS:
        try:
            content = _download(mirror + name, SUMS[name][0], progress)
        except (URLError, TimeoutError, OSError) as error:
            problems.append(f"{mirror}: {getattr(error, 'reason', error)}")
            continue
        if hashlib.sha256(content).hexdigest() == SUMS[name][1]:
            write_bytes(path, content)
            return
        problems.append(f"{mirror}: {len(content):,} bytes that differ from the original")
    raise DownloadError(
        f"no {name} ({'; '.join(problems)})",
        f"a file of {SUMS[name][0]:,} bytes with the published SHA-256",
        "try again later, or pass --data DIR with the four files, or --data digits",
    )


def _download(address: str, size: int, progress: Progress | None) -> bytes:
    """Return the content of an address, at most one byte more than expected."""
    content = bytearray()
    with urlopen(address, timeout=_TIMEOUT) as answer:
        while len(content) <= size and (piece := answer.read(_PIECE)):
            content += piece
            if progress:
                progress(address.rpartition("/")[2], min(len(content), size), size)
    return bytes(content[: size + 1])
