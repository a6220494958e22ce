"""Images in parquet files, as data sets of the hub are downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice, pairwise
from pathlib import Path, PurePath
from typing import Any, ClassVar

from latentlab.errors import FileError, ImageError, MissingExtraError
from latentlab.images.formats import HEAD, count_files, is_image
from latentlab.machine.files import ARCHIVE_DAMAGE, FileState, state_of
from latentlab.store.sources import Entry

_FREE_BYTES = 2**26
_EXPANSION = 50
"""How many times the size of its file a row group may unpack to."""
_MOST_BYTES = 2**32
"""Most bytes of a row group, which is in memory at a time."""
_MOST_ROWS = 64


@dataclass(frozen=True)
class Parquets:
    """The images in the only image column of parquet files, in order.

    An image column has structs of ``bytes`` and ``path``, as Hugging Face's ``datasets`` writes
    them, or the bytes of image files. The path of an image is ``<file>#<row>``. A row group is in
    memory at a time.

    Parameters
    ----------
    root : folder of the files
    names : of the files inside it, in order
    beside : names of archives of other kinds there, which are not read
    """

    root: Path
    names: tuple[str, ...]
    beside: tuple[str, ...] = ()

    kind: ClassVar[str] = "parquet"

    def entries(self) -> Iterator[Entry]:
        for name in self.names:
            groups = _parquet(self.root / name)[2]
            for group, (first, end) in enumerate(pairwise(groups)):
                images = _images(self.root / name, group)
                for row in range(first, end):
                    yield Entry(f"{name}#{row}", len(images[row - first] or b""))

    def left_out(self) -> Mapping[str, int]:
        """Return kind → number of the files beside."""
        return count_files(self.beside)

    def read(self, path: str) -> bytes:
        name, _, row = path.rpartition("#")
        ends = _parquet(self.root / name)[2] if name in self.names else [0]
        if not (row.isdecimal() and int(row) < ends[-1]):
            raise FileError(
                f"{path}, which is not in the parquet files", "a row of them", "put it back"
            )
        group = max(k for k, first in enumerate(ends[:-1]) if first <= int(row))
        return bytes(_images(self.root / name, group)[int(row) - ends[group]] or b"")


def _images(path: Path, group: int) -> list[bytes | None]:
    """Return the bytes of the images of one row group.

    Raises
    ------
    ImageError : it is damaged, or too large for the memory.
    """
    return _images_of(path, group, state_of(path))


@lru_cache(maxsize=1)
def _images_of(path: Path, group: int, _: FileState) -> list[bytes | None]:
    file, column, ends = _parquet(path)
    found: list[bytes | None] = []
    total = 0
    try:
        unpacked = _unpacked_size(file, column, group)
        _check_size(path, unpacked)
        # A file says a value that is repeated only once, so that rows may unpack to more.
        rows = min(_MOST_ROWS, max(1, _MOST_BYTES // max(1, unpacked)))
        for batch in file.iter_batches(rows, row_groups=[group], columns=[column]):
            values = _values(batch, column)
            total += values.nbytes
            _check_size(path, total)
            found += values.to_pylist()
    except _damage() as error:
        raise _unreadable(path, error) from error
    if len(found) != ends[group + 1] - ends[group]:
        raise _unreadable(path, ValueError(f"{len(found):,} rows in row group {group}"))
    return found


def _values(batch: Any, column: str) -> Any:
    """Return the bytes of the rows of a batch."""
    values = batch.column(0)
    return values.field(0) if "." in column else values


def _unpacked_size(file: Any, column: str, group: int) -> int:
    """Return how many bytes a row group says that a column of it has."""
    facts = file.metadata.row_group(group)
    chunks = [facts.column(k) for k in range(facts.num_columns)]
    return sum(one.total_uncompressed_size for one in chunks if one.path_in_schema == column)


def _check_size(path: Path, unpacked: int) -> None:
    """Raise ImageError for rows that fill the memory; image files hardly compress."""
    size = path.stat().st_size
    if unpacked > max(_FREE_BYTES, _EXPANSION * size):
        raise ImageError(
            f"{path}, a row group of which unpacks from {size / 1e6:,.1f} MB to more than"
            f" {unpacked / 1e6:,.0f} MB",
            "image files, which hardly compress",
            "do not trust it",
        )
    if unpacked > _MOST_BYTES:
        raise ImageError(
            f"{path} with more than {unpacked / 1e9:,.1f} GB in a row group",
            f"at most {_MOST_BYTES / 1e9:,.1f} GB",
            "write it anew with smaller row groups",
        )


def _parquet(path: Path) -> tuple[Any, str, list[int]]:
    """Return a file, the path of its image column, and the first row of each group, then the end.

    Raises
    ------
    MissingExtraError : pyarrow is not installed.
    ImageError : the file is damaged, or has no image column, or several.
    """
    return _opened(path, state_of(path))


@lru_cache(maxsize=4)
def _opened(path: Path, _: FileState) -> tuple[Any, str, list[int]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(
            f"{path}, a parquet file, without pyarrow",
            "the library to be installed",
            "run pip install 'latentlab[datasets]'",
        ) from error
    try:
        file = parquet.ParquetFile(path)
        columns = _image_columns(file)
    except _damage() as error:
        raise _unreadable(path, error) from error
    if len(columns) != 1:
        names = f" ({', '.join(columns)})" if columns else f" among {', '.join(file.schema.names)}"
        raise ImageError(
            f"{path} with {len(columns)} columns of images{names}",
            "one",
            "save one of them, or unpack the images into a folder",
        )
    rows = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    return file, columns[0], [0, *accumulate(rows)]


def _image_columns(file: Any) -> list[str]:
    """Return the columns that hold the bytes of image files."""
    from pyarrow import types

    found = []
    for field in file.schema_arrow:
        if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            path, kind = f"{field.name}.bytes", field.type.field("bytes").type
        else:
            path, kind = field.name, field.type
        if (types.is_binary(kind) or types.is_large_binary(kind)) and _holds_images(file, path):
            found.append(path)
    return found


def _holds_images(file: Any, path: str) -> bool:
    """Return whether the first value of a column is an image; columns without any count."""
    for batch in islice(file.iter_batches(batch_size=1, columns=[path]), 16):
        for value in _values(batch, path).to_pylist():
            if value:
                head = value[:HEAD]
                return is_image(PurePath("value"), lambda head=head: head)  # type: ignore[misc]
    return "." in path


def _damage() -> tuple[type[Exception], ...]:
    from pyarrow import ArrowException

    return (ArrowException, *ARCHIVE_DAMAGE)


def _unreadable(path: Path, error: Exception) -> ImageError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    if isinstance(error, PermissionError):
        expected, advice = "a readable file", "change its permissions"
    elif isinstance(error, NotImplementedError):
        expected, advice = "what pyarrow reads", "write it anew, or unpack the images into a folder"
    else:
        expected, advice = "a whole parquet file", "copy or download it again"
    return ImageError(f"{path}, which cannot be read as parquet ({first})", expected, advice)
