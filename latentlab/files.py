"""Files that are either complete or absent, and what identifies them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from latentlab.errors import FileError


@contextmanager
def replace_when_done(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    The temporary file lies in the same folder (made if missing) and has the same suffix, its
    name is hidden, and it is removed when the block fails or is interrupted: ``path`` either
    keeps its old content or has all of the new.

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


def _concerns(error: OSError, temporary: Path) -> bool:
    """Return whether an error is about this write and not about another file read meanwhile."""
    # A full disk is reported without a name.
    if error.filename is None:
        return True
    failed = Path(os.fsdecode(error.filename))
    return failed == temporary or failed in temporary.parents


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
