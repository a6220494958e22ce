"""Which files are images, by their content, and the extras that read HEIC and JPEG XL.

This module does not import torch.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path, PurePath
from typing import IO, Any

from PIL import Image, UnidentifiedImageError

from latentlab.errors import ImageError, MissingExtraError
from latentlab.images.png import coding_of, has_text, open_plain
from latentlab.images.tiff import describe_samples

IMAGE_SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dds", ".dib", ".gif", ".heic", ".heif", ".hif", ".icns", ".ico"),
    *(".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".mpo", ".pbm", ".pcx", ".pgm"),
    *(".png", ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
)
"""Suffixes of image files. Files with other suffixes are images if their first bytes say so."""

BESIDE = (
    *(".caption", ".cls", ".csv", ".html", ".json", ".jsonl", ".md", ".npy", ".npz", ".pt"),
    *(".pth", ".py", ".safetensors", ".txt", ".xml", ".yaml", ".yml"),
)
"""Suffixes of files that usually lie beside images, and are not opened to see what they are."""

_PROGRAMS = {"EPS": "PostScript"}
"""Formats for which Pillow starts an interpreter, whatever the file's name."""

_RAW = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf"),
    *(".raw", ".rw2", ".srw"),
)
"""Suffixes of camera raw files. Many are TIFF, of which Pillow would read the thumbnail."""

HEAD = 64
"""Bytes at the start of a file that tell its kind."""

_HEIC = re.compile(rb"hei[cmsx]|hev[cmsx]")
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF....WEBP"
    rb"|BM....\0\0\0\0....(?:[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|....ftyp(?:avi[fs])|8BPS\0\x01|qoif|DDS \x7c"
    rb"|icns|P[1-6]\s[\s#\d]|\x01\xda[\0\x01][\x01\x02]|\0\0\x01\0[\x01-\xff]\0",
    re.DOTALL,
)
_EXTRAS: Mapping[str, tuple[str, str]] = {
    "HEIC": ("heic", "pillow_heif"),
    "JPEG XL": ("jxl", "pillow_jxl"),
}
"""Format → latentlab's extra for it, and the module that teaches Pillow to read it."""


def is_image_name(name: PurePath) -> bool:
    """Return whether a name has the suffix of an image and is not hidden."""
    return name.suffix.lower() in IMAGE_SUFFIXES and not name.name.startswith(".")


def is_image(name: PurePath, head: Callable[[], bytes]) -> bool:
    """Return whether a file is an image, by its suffix or else by its first bytes.

    Parameters
    ----------
    name : of the file; hidden files, and files of kinds that lie beside images, are none
    head : () → the first :data:`HEAD` bytes, asked for only if the suffix is not known

    Examples
    --------
    >>> is_image(PurePath("photo"), lambda: b"GIF89a"), is_image(PurePath("raw.dng"), bytes)
    (True, False)
    """
    suffix = name.suffix.lower()
    if name.name.startswith(".") or suffix in BESIDE or suffix in _RAW:
        return False
    if suffix in IMAGE_SUFFIXES:
        return True
    first = head()
    return bool(_IMAGE.match(first)) or extra_format(first) is not None


def is_image_file(path: Path) -> bool:
    """Return whether a path is that of an image; one that does not exist is known by its suffix."""
    return not path.is_dir() and is_image(path, partial(head_of_file, path))


def extra_format(head: bytes) -> str | None:
    """Return ``"HEIC"`` or ``"JPEG XL"`` for the first bytes of such a file, else None."""
    if head[4:8] == b"ftyp" and _HEIC.search(head[8 : int.from_bytes(head[:4])]):
        return "HEIC"
    return "JPEG XL" if head.startswith(_JXL) else None


def kind_of_file(name: PurePath) -> str:
    """Return how a file that is no image is counted: by its suffix."""
    return name.suffix.lower() or "without suffix"


def count_files(names: Iterable[str]) -> Counter[str]:
    """Return kind → number of files that are no images."""
    return Counter(kind_of_file(PurePath(name)) for name in names)


def count_kinds(kinds: Mapping[str, int]) -> str:
    """Return counts in words, the largest first.

    Examples
    --------
    >>> count_kinds({".txt": 2, "link to a folder": 1})
    '2 .txt, 1 link to a folder'
    """
    ordered = sorted(kinds.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{count:,} {kind}" for kind, count in ordered)


def open_image(source: Path | IO[bytes], name: Path | str) -> Image.Image:
    """Return an opened image, as Pillow does, with the extra that its format needs.

    Raises
    ------
    MissingExtraError : a HEIC or JPEG XL image without its extra.
    ImageError : a TIFF of numbers that Pillow does not read, or a program instead of pixels.
    UnidentifiedImageError, OSError : as ``PIL.Image.open``.
    """
    plain = open_plain(source) if has_text(source) else None
    try:
        image = Image.open(source) if plain is None else plain
        if image.format == "PNG" and (coding := coding_of(source)) is not None:
            image.info["cicp"] = coding
    except (UnidentifiedImageError, SyntaxError) as error:
        head = _head_of(source)
        kind = extra_format(head)
        if kind is None:
            samples = describe_samples(source) if head[:2] in (b"II", b"MM") else ""
            if samples:
                raise ImageError(
                    f"{name}, a TIFF with {samples} a pixel, which Pillow does not read",
                    "integers of 8 or 16 bits, or gray of 32 bits",
                    "convert it to a 16-bit TIFF or PNG",
                ) from error
            raise
        _register(kind, name)
        return Image.open(source)
    if image.format in _PROGRAMS:
        image.close()
        raise ImageError(
            f"{name}, a program of {_PROGRAMS[image.format]}, which would be run to draw it",
            "an image of pixels",
            "convert it to PNG",
        )
    return image


def head_of_file(path: Path) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        return _head_of(path)
    except OSError:
        return b""


def _head_of(source: Path | IO[bytes]) -> bytes:
    if isinstance(source, io.IOBase):
        source.seek(0)
        found = source.read(HEAD)
        source.seek(0)
        return bytes(found)
    with Path(source).open("rb") as file:  # type: ignore[arg-type]
        return file.read(HEAD)


def _register(kind: str, name: Path | str) -> None:
    """Teach Pillow a format."""
    extra, module = _EXTRAS[kind]
    try:
        plugin: Any = import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{name}, a {kind} image, which needs an extra",
            f"{module} to be installed",
            f"run pip install 'latentlab[{extra}]'",
        ) from error
    if kind == "HEIC":
        plugin.register_heif_opener()
