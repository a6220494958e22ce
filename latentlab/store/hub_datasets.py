"""Images in a folder that Hugging Face's ``datasets`` wrote with ``save_to_disk``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from latentlab.errors import FileError, ImageError, MissingExtraError
from latentlab.store.sources import Entry

MARKS = ("dataset_info.json", "state.json")
"""Files that ``save_to_disk`` writes beside the data."""

MARK_OF_SPLITS = "dataset_dict.json"
"""The file that it writes beside the folders of several splits."""


@dataclass(frozen=True)
class DatasetRows:
    """The images in a data set's only column of images; the path of each is its row number.

    Parameters
    ----------
    root : folder that ``Dataset.save_to_disk`` wrote
    """

    root: Path

    kind: ClassVar[str] = "dataset"

    def entries(self) -> Iterator[Entry]:
        rows, _ = _rows_of(self.root)
        for number in range(len(rows)):
            yield Entry(str(number), len(self.read(str(number))))

    def read(self, path: str) -> bytes:
        rows, column = _rows_of(self.root)
        if not (path.isdecimal() and int(path) < len(rows)):
            raise FileError(
                f"row {path!r}, which the data set lacks", f"a row of {self.root}", "put it back"
            )
        return bytes((rows[int(path)][column] or {}).get("bytes") or b"")


@lru_cache(maxsize=1)
def _rows_of(root: Path) -> tuple[Any, str]:
    """Return the rows, with images that are not decoded, and the name of the image column."""
    try:
        from datasets import Image, load_from_disk
    except ImportError as error:
        raise MissingExtraError(
            f"{root}, a folder of Hugging Face's datasets, without that library",
            "the library to be installed",
            "run pip install 'latentlab[datasets]'",
        ) from error
    try:
        rows = load_from_disk(str(root))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ImageError(
            f"{root} ({error})", "a folder of Dataset.save_to_disk", "save it again"
        ) from error
    columns = [name for name, kind in rows.features.items() if isinstance(kind, Image)]
    if len(columns) != 1:
        raise ImageError(f"{root} with {len(columns)} columns of images", "one", "save one of them")
    # Bytes only: a row could also name any file on this machine for us to open.
    return rows.cast_column(columns[0], Image(decode=False)), columns[0]
