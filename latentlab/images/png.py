"""What a PNG says about itself beside its pixels: left out where it stands in the way, and honored.

Pillow refuses whole images for more than 1 MiB of compressed text, which programs write whole
workflows into, for a large color profile, and for a checksum of text that is wrong.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST_PROFILE = 1 << 25
"""Bytes of an unpacked color profile that is used; those of printers have a few million."""

_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_UNUSABLE = b"none"
_KEPT_TEXT = b"Raw profile type"  # where old programs keep EXIF, and with it the orientation
_SMALL = 1 << 16

_CODING = 4
"""Bytes of a cICP chunk."""


def without_text(content: bytes) -> tuple[bytes, bytes | None]:
    """Return a PNG without its text and its color profile, and that profile, if there is one.

    Parameters
    ----------
    content : the whole file; what is no PNG, or breaks off, is returned as it is
    """
    kept, profile = [SIGNATURE], None
    for name, chunk, body in _chunks(content):
        small = len(body) < _SMALL and body.startswith(_KEPT_TEXT)
        if name in _TEXT and not small:
            continue
        if name == b"iCCP":
            profile = _unpack_profile(body) or _UNUSABLE
            continue
        kept.append(chunk)
    return (b"".join(kept), profile) if len(kept) > 1 else (content, None)


def open_plain(source: Any) -> Image.Image | None:
    """Return an opened PNG without its text; None for a file of another kind.

    Parameters
    ----------
    source : Path or stream
    """
    if isinstance(source, io.IOBase):
        source.seek(0)
        content = source.read()
        source.seek(0)
    else:
        content = source.read_bytes()
    if not content.startswith(SIGNATURE):
        return None
    plain, profile = without_text(content)
    image = Image.open(io.BytesIO(plain))
    if profile:
        image.info["icc_profile"] = profile
    return image


def has_text(source: Any) -> bool:
    """Return whether a file is a PNG with text or a color profile, which Pillow may stumble over.

    Parameters
    ----------
    source : Path or stream
    """
    with _chunks_of(source) as chunks:
        return any(name in _TEXT or name == b"iCCP" for name, _, _ in chunks)


def coding_of(source: Any) -> bytes | None:
    """Return the four numbers of a PNG's cICP chunk, which Pillow does not read; None without.

    Parameters
    ----------
    source : Path or stream
    """
    with _chunks_of(source) as chunks:
        for name, size, stream in chunks:
            if name == b"cICP" and size == _CODING:
                found: bytes = stream.read(size)
                return found if len(found) == size else None
            if name == b"IDAT":
                break
        return None


@contextmanager
def _chunks_of(source: Any) -> Iterator[Iterator[tuple[bytes, int, Any]]]:
    """Give name and size of each chunk of a PNG, and the stream where it begins; none of others."""
    stream: Any = source if isinstance(source, io.IOBase) else source.open("rb")
    try:
        yield _walk_chunks(stream)
    finally:
        if stream is source:
            stream.seek(0)
        else:
            stream.close()


def _walk_chunks(stream: Any) -> Iterator[tuple[bytes, int, Any]]:
    stream.seek(0)
    if stream.read(8) != SIGNATURE:
        return
    while len(head := stream.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        begun = stream.tell()
        yield name, size, stream
        stream.seek(begun + size + 4)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield name, whole chunk and contents of each chunk; a last one that breaks off, too."""
    place = 8 if content.startswith(SIGNATURE) else len(content)
    while place + 8 <= len(content):
        size, name = struct.unpack(">I4s", content[place : place + 8])
        end = place + 12 + size
        yield name, content[place:end], content[place + 8 : place + 8 + size]
        place = end


def _unpack_profile(body: bytes) -> bytes:
    packed = body.partition(b"\0")[2][1:]
    try:
        reader = zlib.decompressobj()
        found = reader.decompress(packed, LARGEST_PROFILE)
    except zlib.error:
        return b""
    return b"" if reader.unconsumed_tail else found
