"""Files that are either complete or absent, and the folders they go to."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4
from zipfile import BadZipFile

from latentlab.errors import FileError

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it reads no such archive
    LZMAError = zlib.error  # type: ignore[misc,assignment]

ARCHIVE_DAMAGE = (
    *(ArithmeticError, EOFError, LookupError, OSError, RuntimeError, ValueError),
    *(BadZipFile, LZMAError, struct.error, zlib.error),
)
"""What readers of archives raise for damaged bytes, passwords and unknown compressions."""

FileState = tuple[int, int, int]

_AHEAD = 2**25
"""Bytes of a file that are read before they are needed."""
_AHEAD_PIECE = 2**17
"""Linux reads no more at a time than a device's read-ahead, and forgets the rest of a request."""


def state_of(path: Path) -> FileState:
    """Return what changes when a file is written anew; zeros if it cannot be told.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a"
    >>> _ = file.write_text("a")
    >>> before = state_of(file)
    >>> _ = file.write_text("ab")
    >>> before == state_of(file), state_of(file.with_name("b"))
    (False, (0, 0, 0))
    """
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def exists(path: Path) -> bool:
    """Return whether a path exists; one that is too long for any file does not.

    Examples
    --------
    >>> exists(Path("/")), exists(Path("a" * 10_000))
    (True, False)
    """
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


@contextmanager
def replace_when_done(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    The temporary file is hidden, lies in the same folder (created if missing) and has the same
    suffix. It is removed if the block fails or is interrupted, so ``path`` has either all of its
    old content or all of the new.

    Raises
    ------
    FileError : the folder or file cannot be written, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "facts.json"
    >>> with replace_when_done(target) as temporary:
    ...     _ = temporary.write_text("{}")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('{}', 1)
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}-{uuid4().hex[:8]}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        if error.errno is None or not _concerns(error, temporary):
            raise
        raise FileError(
            f"{target}, which cannot be written ({error.strerror})",
            "a writable folder with free space",
            "free some space or choose another --out",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_folder(folder: Path) -> None:
    """Raise FileError if a folder cannot be created or written."""
    existing = folder.absolute()
    while not (existing.exists() or existing.is_symlink()):
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise FileError(
            f"{folder}, where nothing can be written because of {existing}",
            "a writable folder, or a new one",
            "choose another --out",
        )


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file completely or not at all; return its path."""
    with replace_when_done(path) as unfinished:
        unfinished.write_bytes(content)
    return path


def _concerns(error: OSError, temporary: Path) -> bool:
    """Return whether an error is about this write and not about another file read meanwhile."""
    # A full disk is reported without a name.
    if error.filename is None:
        return True
    failed = Path(os.fsdecode(error.filename))
    return failed == temporary or failed in temporary.parents


@contextmanager
def open_durably(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a new binary file that becomes ``path`` once all its bytes are on the disk.

    As :func:`replace_when_done`. A file that is there after a power failure has its content.

    Raises
    ------
    FileError : the folder or file cannot be written, or the disk is full.
    """
    with replace_when_done(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    if os.name == "posix":
        folder = os.open(Path(path).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder for this process inside the block; the lock ends with the process.

    Yield whether it is held: not where the system or its file system has no locks.

    Raises
    ------
    FileError : another process holds it.
    """
    if os.name != "posix":
        yield False
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, folder)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, operation: int, folder: Path) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError as error:
        raise FileError(
            f"{folder}, which another process is writing", "one writer at a time", "wait for it"
        ) from error
    except OSError:
        return False  # a file system without locks
    return True


def read_ahead(path: Path, size: int = _AHEAD) -> None:
    """Have the system read the first bytes of a file into its cache, without waiting for them.

    A hint: nothing happens on a system that has no such call, or if the file cannot be opened.

    Examples
    --------
    >>> read_ahead(Path("missing"))
    """
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError), path.open("rb") as file:
        for start in range(0, min(size, os.fstat(file.fileno()).st_size), _AHEAD_PIECE):
            os.posix_fadvise(file.fileno(), start, _AHEAD_PIECE, os.POSIX_FADV_WILLNEED)


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
