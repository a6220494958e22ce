"""Several files in one input, so that a mutator of bytes reaches all of them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

BETWEEN = b"\n%%%%\n"
"""What stands between two files of an input."""


def joined(parts: Sequence[bytes]) -> bytes:
    """Return files as one input."""
    return BETWEEN.join(parts)


def split(content: bytes, count: int) -> list[bytes | None]:
    """Return so many files of an input; those that are missing are None."""
    parts: list[bytes | None] = [*content.split(BETWEEN, count - 1)]
    return parts + [None] * (count - len(parts))


def write_members(folder: Path, members: Mapping[str, bytes | None]) -> None:
    """Write files into a folder; those that are None are removed."""
    for name, content in members.items():
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return a zip file whose checksums are right, whatever is in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def png_with_checksums(content: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums, so that what is in them is read."""
    if content[:4] != b"\x89PNG":
        return content
    whole, place = [content[:8]], 8
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        body = content[place + 4 : place + 8 + size]
        whole += [content[place : place + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        place += 12 + size
    return b"".join(whole)


def safetensors_with_length(content: bytes) -> bytes:
    """Return a safetensors file whose first eight bytes are the length of its header."""
    end = content.find(b"}}", 8) + 2
    if end < 8:
        return content
    while end % 8 and content[end : end + 1] == b" ":
        end += 1
    return (end - 8).to_bytes(8, "little") + content[8:]


def digest(content: bytes | None) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(content or b"").hexdigest()


def with_fields(content: bytes | None, fields: Mapping[str, object]) -> bytes | None:
    """Return a JSON object with some fields replaced; what is none stays as it is."""
    try:
        facts = json.loads(content or b"")
    except (ValueError, RecursionError):
        return content
    if not isinstance(facts, dict):
        return content
    return json.dumps({**facts, **fields}, separators=(",", ":")).encode()
