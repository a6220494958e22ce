"""Stores: manifest, list of images, indexes and shards, also with checksums that are right."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from campaigns import Parser
from members import BETWEEN, digest, joined, split, with_fields, write_members
from PIL import Image

from latentlab.errors import MissingExtraError
from latentlab.loaders.load import load_vae
from latentlab.store.filling import encode_folder
from latentlab.store.reading import open_store
from latentlab.store.verification import verify_store

_LIST, _INDEX, _SHARD = "pictures.jsonl", "latents-00000.jsonl", "latents-00000.safetensors"
_NAMES = ("store.json", _LIST, _INDEX, "index.jsonl", _SHARD)


def _seeds(folder: Path) -> Sequence[bytes]:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number, side in enumerate((16, 24, 16)):
        pixels = draw.integers(0, 256, (16, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    (folder / "images" / "bad.png").write_bytes(b"\x89PNG\r\n")
    found = []
    for size in ("native", 16):
        out = folder / f"store-{size}"
        shutil.rmtree(out, ignore_errors=True)
        encode_folder(load_vae("linear"), folder / "images", out, size=size, workers=0)
        whole = joined([(out / name).read_bytes() for name in _NAMES])
        found += [b"A" + whole, b"C" + whole]
    return found


def _read(content: bytes, folder: Path) -> None:
    place = folder / "store"
    place.mkdir(exist_ok=True)
    members = dict(zip(_NAMES, split(content[1:], len(_NAMES)), strict=True))
    write_members(place, _checked(members) if content[:1] == b"C" else members)
    store = open_store(place)
    repr(store)
    store.summary()
    for _ in islice(store, 4):
        pass
    for name in store.shapes:
        for _ in islice(store.bucket(name).batches(2), 2):
            pass
    with suppress(MissingExtraError):  # pandas is not needed here
        store.to_frame()
    verify_store(place)


def _checked(members: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """Return the files with the checksums and sizes that they declare of each other."""
    head, _, lines = (members[_INDEX] or b"").partition(b"\n")
    shard = members[_SHARD]
    facts = {"sha256": digest(shard), "bytes": len(shard or b""), "lines_sha256": digest(lines)}
    head = with_fields(head, facts) or b""
    listed = {"list_sha256": digest(members[_LIST])}
    return {
        **members,
        "store.json": with_fields(members["store.json"], listed),
        _INDEX: head + b"\n" + lines,
        "index.jsonl": lines,
    }


CAMPAIGN = Parser(
    name="stores",
    reads="stores: store.json, list, indexes and shards, opened, read and verified",
    seeds=_seeds,
    read=_read,
    words=[
        *(
            b'"shape":[',
            b'"row":',
            b'"shard":',
            b'"skipped":"',
            b'"sha256":"',
            b'"shapes":[[',
            b"[]",
        ),
        *(
            b'"per_shard":',
            b'"pictures":',
            b'"spec":{',
            b'"stored":"',
            b'"channels":',
            b'"stride":',
        ),
        *(
            b'"layouts":',
            b'"left_out":',
            b"latents.16x2x2",
            b'"dtype":"F16"',
            b"1e999",
            b"NaN",
            b"-1",
        ),
        *(b"99999999999", BETWEEN),
    ],
    longest=24000,
)
