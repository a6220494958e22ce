"""Images in parquet files, as data sets of the hub are downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path, PurePath
from typing import Any, ClassVar

from latentlab.errors import FileError, ImageError, MissingExtraError
from latentlab.images.formats import HEAD, count_files, is_image
from latentlab.store.sources import Entry


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


@lru_cache(maxsize=1)
def _images(path: Path, group: int) -> list[bytes | None]:
    """Return the bytes of the images of one row group."""
    file, column, _ = _parquet(path)
    try:
        table = file.read_row_group(group, columns=[column])
    except _damage() as error:
        raise _unreadable(path, error) from error
    values = table.column(0).combine_chunks()
    if "." in column:
        values = values.field(0)
    found: list[bytes | None] = values.to_pylist()
    return found


@lru_cache(maxsize=4)
def _parquet(path: Path) -> tuple[Any, str, list[int]]:
    """Return a file, the path of its image column, and the first row of each group, then the end.

    Raises
    ------
    MissingExtraError : pyarrow is not installed.
    ImageError : the file is damaged, or has no image column, or several.
    """
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
    for batch in file.iter_batches(batch_size=16, columns=[path]):
        values = batch.column(0)
        for value in (values.field(0) if "." in path else values).to_pylist():
            if value:
                head = value[:HEAD]
                return is_image(PurePath("value"), lambda head=head: head)  # type: ignore[misc]
        break
    return "." in path


def _damage() -> tuple[type[Exception], ...]:
    from pyarrow import ArrowException

    return (ArrowException, OSError, ValueError)


def _unreadable(path: Path, error: Exception) -> ImageError:
    return ImageError(
        f"{path}, which cannot be read as parquet ({str(error).splitlines()[0][:120]})",
        "a whole parquet file",
        "download it again",
    )
