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

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST_PROFILE = 1 << 25
"""Bytes of an unpacked color profile that is used; those of printers have a few million."""

_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_UNUSABLE = b"none"
_KEPT_TEXT = b"Raw profile type"  # where old programs keep EXIF, and with it the orientation
_SMALL = 1 << 16

_SRGB_CODING = bytes([1, 13, 0, 1])
_PRIMARIES = {1: "sRGB's primaries", 9: "Rec. 2020", 12: "Display P3"}
_TRANSFERS = {1: "Rec. 709's curve", 8: "linear", 13: "sRGB's curve", 16: "PQ", 18: "HLG"}
"""Code point of ITU-T H.273 → its name."""

_SRGB = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
_D65 = np.array([0.3127, 0.3290])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_USUAL_GAMMA = 1 / 2.2


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
            if name == b"cICP" and size == len(_SRGB_CODING):
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


def describe_coding(coding: bytes | None) -> str | None:
    """Return what a cICP chunk declares that is not honored; None if it declares sRGB.

    Examples
    --------
    >>> describe_coding(bytes([9, 16, 0, 1]))
    'cICP (Rec. 2020, PQ) read as sRGB'
    >>> describe_coding(bytes([1, 13, 0, 1])) is describe_coding(None) is None
    True
    """
    if coding is None or coding == _SRGB_CODING:
        return None
    primaries, transfer, _, full = coding
    said = [
        _PRIMARIES.get(primaries, f"primaries {primaries}"),
        _TRANSFERS.get(transfer, f"transfer {transfer}"),
        *([] if full else ["narrow range"]),
    ]
    return f"cICP ({', '.join(said)}) read as sRGB"


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


def declared_colors(image: Image.Image) -> tuple[Image.Image, str] | None:
    """Return sRGB of an 8-bit gray or RGB image by its gAMA and cHRM chunks, and what was done.

    None if there are none, if a sRGB chunk takes precedence, or if they say sRGB.

    Parameters
    ----------
    image : mode L or RGB, with Pillow's ``info``
    """
    gamma, primaries = image.info.get("gamma"), image.info.get("chromaticity")
    if image.mode not in ("L", "RGB") or "srgb" in image.info or not gamma:
        return None
    matrix = np.eye(3) if primaries is None or image.mode == "L" else _to_srgb_matrix(primaries)
    curved = abs(gamma / _USUAL_GAMMA - 1) > 0.02
    turned = matrix is not None and np.abs(matrix - np.eye(3)).max() > 0.02
    if matrix is None or not 0.05 < gamma < 20 or not (curved or turned):
        return None
    levels = np.arange(256) / 255
    linear = levels ** (1 / gamma) if curved else _decode_srgb(levels)
    values = linear[np.asarray(image)]
    if turned:
        values = values @ matrix.T
    encoded = (_encode_srgb(values.clip(0, 1)) * 255 + 0.5).astype(np.uint8)
    said = [f"gamma {gamma:g}"] if curved else []
    return Image.fromarray(encoded), " and ".join([*said, *(["primaries"] if turned else [])])


def _to_srgb_matrix(primaries: tuple[float, ...]) -> Any:
    """Return the matrix from linear RGB of these primaries to linear sRGB; None if singular."""
    white, *corners = np.array(primaries, float).reshape(4, 2)
    try:
        own = _to_xyz(np.array(corners), white)
        cones = _BRADFORD @ _white_xyz(_D65) / (_BRADFORD @ _white_xyz(white))
        adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ own
        matrix = np.linalg.inv(_to_xyz(_SRGB, _D65)) @ adapted
    except (np.linalg.LinAlgError, FloatingPointError, ZeroDivisionError):
        return None
    return matrix if np.isfinite(matrix).all() else None


def _to_xyz(corners: Any, white: Any) -> Any:
    columns = np.stack([_white_xyz(one) for one in corners], 1)
    return columns * np.linalg.solve(columns, _white_xyz(white))


def _white_xyz(point: Any) -> Any:
    x, y = point
    if y <= 0:
        raise ZeroDivisionError
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _decode_srgb(values: Any) -> Any:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encode_srgb(values: Any) -> Any:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
