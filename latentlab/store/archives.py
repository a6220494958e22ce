"""Files of arrays in tar and zip files. No name in an archive ever becomes a path on the disk."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import IO, Any, BinaryIO

from latentlab.machine.archives import ARRAYS, TAR, compression_of
from latentlab.machine.files import ARCHIVE_DAMAGE, FileState, state_of
from latentlab.store.arrays import Place, check_temporary, expands_too_much
from latentlab.store.tars import check_end
from latentlab.store.zips import open_zip

_CHUNK = 2**20
_BOMB = "expands like a zip bomb; unpack it yourself if you trust it"
_ENCRYPTED = 1
"""Flag of a member of a zip file that needs a password."""

Fault = Callable[[str, str], None]
"""Takes the name of what cannot be read, and why."""


def members_of_archive(
    file: Path, name: str, others: Counter[str], fault: Fault
) -> Iterator[Place]:
    """Yield a place for each file of arrays in an archive, as far as it can be read.

    Parameters
    ----------
    file : Path of the archive, whose suffix says its kind
    name : str, shown for it
    others : suffix → number of members of other kinds, which is counted up
    fault : called with the name of what cannot be read, and why
    """
    found: dict[str, Place] = {}
    try:
        for place in _places(file, name, others, fault):
            # As when they are unpacked: the last one stays.
            if found.pop(place.name, None):
                fault(place.name, "a second member has this name and is read instead")
            found[place.name] = place
    except _PackedError as error:
        fault(name, f"is damaged ({error}), so that what it holds may be wrong; copy it again")
    except (tarfile.TarError, *ARCHIVE_DAMAGE) as error:
        why = str(error) if _BOMB in str(error) else f"cannot be read to its end ({error})"
        fault(name, why)
    yield from found.values()


def _places(file: Path, name: str, others: Counter[str], fault: Fault) -> Iterator[Place]:
    module = compression_of(name)
    if module is None and file.suffix.lower() != TAR:
        yield from _in_zip(file, name, others, fault)
        return
    view, size, damage = _view_of(file, module)
    # The damage says more than the end of the tar file that it cut off.
    with suppress(tarfile.TarError) if damage else nullcontext():
        yield from _in_tar(file, name, others, view, size)
    if damage:
        raise _PackedError(damage)


def _in_tar(path: Path, name: str, others: Counter[str], view: _View, size: int) -> Iterator[Place]:
    with view(0, size) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            kind = _kind(member.name)
            if member.isdir() or kind is None:
                continue
            if not member.isreg() or member.issparse():
                others["link, device or sparse file"] += 1
            elif kind not in ARRAYS:
                others[kind or "without suffix"] += 1
            else:
                inside = partial(_part, view, member.offset_data, member.size)
                yield Place(path, f"{name}/{member.name}", member.size, inside)
        check_end(file, archive.offset)


def _in_zip(path: Path, name: str, others: Counter[str], fault: Fault) -> Iterator[Place]:
    archive = open_zip(path)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if expands_too_much(path.stat().st_size, sum(member.file_size for member in members)):
        fault(name, _BOMB)
        return
    for member in members:
        kind = _kind(member.filename)
        if kind is None:
            continue
        if kind not in ARRAYS:
            others[kind or "without suffix"] += 1
        elif member.flag_bits & _ENCRYPTED:
            fault(f"{name}/{member.filename}", "is encrypted; unpack it with its password")
        else:
            shown = f"{name}/{member.filename}"
            inside = partial(_member, path, member, shown)
            yield Place(path, shown, member.file_size, inside)


def _kind(member: str) -> str | None:
    """Return the suffix of a member in lower case; None for hidden ones."""
    name = PurePosixPath(member)
    hidden = name.name.startswith(".") or name.parts[:1] == ("__MACOSX",)
    return None if hidden else name.suffix.lower()


def _part(view: _View, start: int, size: int) -> IO[bytes]:
    return io.BufferedReader(view(start, size), _CHUNK)


def _member(path: Path, member: zipfile.ZipInfo, shown: str) -> IO[bytes]:
    whole = member.filename.lower().endswith(".npy")  # one array, which is read in its order
    if not whole and member.compress_type != zipfile.ZIP_STORED:
        # Several arrays: to seek in it, all before would be unpacked for each of them.
        shared = _unpacked_member(path, member.header_offset, shown, state_of(path))
        view = _Window(shared.file, 0, member.file_size, shared)
        return io.BufferedReader(view, _CHUNK)
    return io.BufferedReader(open_zip(path).open(member), _CHUNK)  # type: ignore[type-var]


@lru_cache(maxsize=1)
def _unpacked_member(path: Path, offset: int, shown: str, _: FileState) -> _Unpacked:
    """Return an unnamed file with the content of the member at an offset of a zip file.

    It is kept until another member is unpacked.

    Raises
    ------
    FileError : the temporary folder has no room for it; ``shown`` is its name in the message.
    """
    archive = open_zip(path)
    member = next(one for one in archive.infolist() if one.header_offset == offset)
    check_temporary(shown, member.file_size)
    found = _Unpacked()
    with archive.open(member) as packed:
        shutil.copyfileobj(packed, found.file, _CHUNK)
    return found


class _Window(io.RawIOBase):
    """A part of a file, such as a member of an uncompressed tar file, with its own position.

    Parameters
    ----------
    file : BinaryIO
    start, size : of the part, in bytes
    shared : what others read too, if it is; then it stays open
    """

    def __init__(
        self, file: BinaryIO, start: int, size: int, shared: _Unpacked | None = None
    ) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0
        self._shared = shared

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        with self._shared.lock if self._shared else nullcontext():
            self._file.seek(self._start + self._at)
            read = self._file.readinto(view)  # type: ignore[attr-defined]
        self._at += read
        return int(read)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def close(self) -> None:
        if self._shared is None:
            self._file.close()
        super().close()


_View = Callable[[int, int], _Window]
"""Start and size → that part of a tar file."""


def _view_of(path: Path, module: str | None) -> tuple[_View, int, str]:
    """Return parts of a tar file, its size, and what is wrong with how it was packed, or "".

    It is unpacked first if a module has to do that.
    """
    if module is None:
        size = path.stat().st_size
        return lambda start, size: _Window(path.open("rb"), start, size), size, ""
    shared, damage = _unpacked(path, module, state_of(path))
    size = shared.file.seek(0, io.SEEK_END)
    return lambda start, size: _Window(shared.file, start, size, shared), size, damage


class _PackedError(Exception):
    """What is wrong with a compressed file, which its tar file does not show."""


class _Unpacked:
    """An unnamed file for several readers.

    The last one of each kind stays on the disk until another archive is unpacked, or the process
    ends; one before it as long as somebody reads it.
    """

    def __init__(self) -> None:
        self.file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        self.lock = Lock()

    def __del__(self) -> None:
        self.file.close()


@lru_cache(maxsize=1)
def _unpacked(path: Path, module: str, _: FileState) -> tuple[_Unpacked, str]:
    """Return what a compressed tar file holds, in an unnamed file, and the damage that ended it.

    It is kept until another tar file is unpacked: its members are read one after the other.
    """
    found = _Unpacked()
    size, total = path.stat().st_size, 0
    with import_module(module).open(path) as packed:
        try:
            for content in _pieces(packed):
                total += len(content)
                if expands_too_much(size, total):
                    raise ValueError(_BOMB)
                found.file.write(content)
        except _PackedError as error:
            return found, str(error)
    return found, ""


def _pieces(packed: Any) -> Iterator[bytes]:
    """Yield what a compressed file holds, until it ends or is damaged."""
    try:
        while content := packed.read1(_CHUNK):
            yield content
    except ARCHIVE_DAMAGE as error:
        # A checksum at the end may be all that tells of a wrong value.
        raise _PackedError(str(error) or type(error).__name__) from error
