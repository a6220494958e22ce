"""Stores whose files contradict each other, with right checksums; safetensors is the oracle.

A latent that is read must be the tensor that the original store holds for its path.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from campaigns import Drawn
from judging import HOLDS, judge_reading
from members import digest
from PIL import Image
from safetensors.torch import load, save

from latentlab.loaders.load import load_vae
from latentlab.store.filling import encode_folder
from latentlab.store.foreign import open_latents
from latentlab.store.reading import open_store

Lines = list[dict[str, Any]]


class _Store:
    """The files of a store, taken apart: to be changed, and put together with right checksums."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "store.json").read_text())
        self.listed = _lines(folder / "pictures.jsonl")
        names = sorted(path.stem for path in folder.glob("latents-*.jsonl"))
        self.shards: list[tuple[Lines, dict[str, torch.Tensor]]] = [
            (_lines(folder / f"{name}.jsonl"), load((folder / f"{name}.safetensors").read_bytes()))
            for name in names
        ]

    def write(self, folder: Path) -> None:
        listed = _joined(self.listed)
        (folder / "pictures.jsonl").write_bytes(listed)
        manifest = {**self.manifest, "list_sha256": digest(listed)}
        (folder / "store.json").write_text(json.dumps(manifest))
        index = b""
        for number, ((head, *lines), tensors) in enumerate(self.shards):
            content, rest = save(tensors), _joined(lines)
            head = {**head, "sha256": digest(content), "bytes": len(content)}
            head["lines_sha256"] = digest(rest)
            (folder / f"latents-{number:05d}.safetensors").write_bytes(content)
            (folder / f"latents-{number:05d}.jsonl").write_bytes(_joined([head]) + rest)
            index += rest
        (folder / "index.jsonl").write_bytes(index)

    def latents(self) -> dict[str, torch.Tensor]:
        """Return path → latent, as the untouched store says."""
        return {
            line["path"]: tensors["latents." + "x".join(map(str, line["shape"]))][line["row"]]
            for (_, *lines), tensors in self.shards
            for line in lines
            if "skipped" not in line
        }


def _lines(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _joined(lines: Lines) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def _good(lines: Lines) -> Lines:
    return [line for line in lines if "skipped" not in line]


def _two(store: _Store, draw: random.Random) -> Lines:
    """Return two lines of a shard that has as many."""
    many = [_good(lines) for (_, *lines), _ in store.shards if len(_good(lines)) > 1]
    return draw.sample(draw.choice(many), 2)


def _swap_rows(store: _Store, draw: random.Random) -> None:
    one, other = _two(store, draw)
    one["row"], other["row"] = other["row"], one["row"]


def _repeat_row(store: _Store, draw: random.Random) -> None:
    one, other = _two(store, draw)
    one["row"] = other["row"]


def _swap_lines(store: _Store, draw: random.Random) -> None:
    shard, _ = draw.choice(store.shards[:2])
    one, other = draw.sample(range(1, len(shard)), 2)
    shard[one], shard[other] = shard[other], shard[one]


def _swap_shards(store: _Store, draw: random.Random) -> None:
    store.shards[0], store.shards[1] = store.shards[1], store.shards[0]


def _other_shape(store: _Store, draw: random.Random) -> None:
    (_, *lines), _ = draw.choice(store.shards)
    line = draw.choice(_good(lines))
    line["shape"] = draw.choice(([16, 2, 3], [16, 3, 2], [8, 4, 2], [0, 0, 0], [16, 2, 2]))


def _fewer_lines(store: _Store, draw: random.Random) -> None:
    shard, _ = draw.choice(store.shards)
    del shard[draw.randrange(1, len(shard))]


def _other_head(store: _Store, draw: random.Random) -> None:
    (head, *_), _ = draw.choice(store.shards)
    match draw.randrange(4):
        case 0:
            head["pictures"] += draw.choice((-1, 1, 5))
        case 1:
            head["skipped"] += 1
        case 2:
            head["shapes"] = [[*one[:3], one[3] + draw.choice((-1, 1))] for one in head["shapes"]]
        case _:
            head["shard"] += 1


def _other_tensors(store: _Store, draw: random.Random) -> None:
    number = draw.randrange(len(store.shards))
    lines, tensors = store.shards[number]
    name = draw.choice([*tensors])
    change: Callable[[torch.Tensor], torch.Tensor] = draw.choice(
        (
            lambda t: t[:-1] if len(t) > 1 else t.repeat(2, 1, 1, 1),
            lambda t: t.to(torch.bfloat16),
            lambda t: t.float(),
            lambda t: t.view(torch.int16),
            lambda t: t.transpose(2, 3).contiguous() if t.shape[2] != t.shape[3] else t.flatten(1),
            lambda t: t.flatten(2),
        )
    )
    store.shards[number] = lines, {**tensors, name: change(tensors[name])}


def _other_manifest(store: _Store, draw: random.Random) -> None:
    name, value = draw.choice(
        (
            *(("stored", "bfloat16"), ("stored", "float32"), ("per_shard", 2), ("per_shard", 99)),
            *(
                ("pictures", 3),
                ("pictures", 99),
                ("spec", {"channels": 4}),
                ("spec", {"stride": 4}),
            ),
            *(("size", 64), ("spec", {"multiple": 16}), ("spec", {"tokens": 4})),
        )
    )
    change = {**store.manifest["spec"], **value} if name == "spec" else value
    store.manifest[name] = change


def _other_list(store: _Store, draw: random.Random) -> None:
    draw.shuffle(store.listed)


CHANGES: Mapping[str, Callable[[_Store, random.Random], None]] = {
    "rows swapped": _swap_rows,
    "a row twice": _repeat_row,
    "lines swapped": _swap_lines,
    "shards swapped": _swap_shards,
    "another shape": _other_shape,
    "a line less": _fewer_lines,
    "another head": _other_head,
    "other tensors": _other_tensors,
    "another manifest": _other_manifest,
    "another list": _other_list,
}


def _read(folder: Path) -> dict[str, Any]:
    """Return everything that a store says about its latents, in each of its ways."""
    store = open_store(folder)
    paths = [*store.paths()]
    ways = {
        "in order": [one.values for one in store],
        "by number": [one.values for one in store[:]],
    }
    if len(store.shapes) == 1:
        ways["batches"] = [one for batch in store.batches(2) for one in batch]
    return {"paths": paths, "ways": ways, "count": len(store), "spec": store.spec}


def _agrees(latents: Mapping[str, torch.Tensor], channels: int, found: dict[str, Any]) -> bool:
    expected = [latents[path].float() for path in found["paths"] if path in latents]
    whole = len(expected) == len(found["paths"]) == found["count"] == len(latents)
    return (
        whole
        and found["spec"].channels == channels
        and all(
            len(ways) == len(expected) and all(map(torch.equal, ways, expected))
            for ways in found["ways"].values()
        )
    )


def _foreign(draw: random.Random, place: Path) -> str:
    """Keys, shapes and lengths of arrays in a file of another program contradict each other."""
    channels = draw.choice((4, 16))
    latents = np.random.default_rng(draw.randrange(2**32)).normal(size=(3, channels, 4, 6))
    arrays: dict[str, Any] = {"latents": latents.astype(np.float32)}
    match draw.randrange(5):
        case 0:
            arrays["labels"] = np.arange(draw.choice((2, 3, 4)))
        case 1:
            arrays["latents_9x9"] = arrays.pop("latents")
        case 2:
            arrays["moments"] = np.concatenate([latents, latents], 1)
        case 3:
            arrays["other"] = latents[:, :, :2]
        case _:
            arrays["original_size"] = np.array([[32, 48]] * draw.choice((1, 3, 7)))
    path = place / "a.npz"
    np.savez(path, **arrays)
    main = next(name for name in arrays if name.startswith("latents"))
    expected = torch.from_numpy(latents).float()

    def read() -> Any:
        return torch.cat([*open_latents(path, key=main, layout="nchw", space="model").batches(2)])

    return judge_reading("keys against arrays", read, partial(torch.equal, expected))


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[int], str]]:
    stores = [_written(folder / name, mixed=name == "mixed") for name in ("plain", "mixed")]

    def draw_case(seed: int) -> str:
        draw, place = random.Random(seed), folder / "changed"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        number = seed % (len(CHANGES) + 1)
        if number == len(CHANGES):
            return _foreign(draw, place)
        source = draw.choice(stores)
        store, theme = _Store(source), [*CHANGES][number]
        latents, channels = store.latents(), store.manifest["spec"]["channels"]
        CHANGES[theme](store, draw)
        store.write(place)
        agrees = partial(_agrees, latents, channels)
        return judge_reading(theme, partial(_read, place), agrees, details=source.name)

    yield draw_case


def _written(folder: Path, *, mixed: bool) -> Path:
    """Return a store of seven images in shards of three, of two shapes if they are mixed."""
    images = folder / "images"
    images.mkdir(parents=True)
    for number in range(7):
        width = 24 if mixed and number % 2 else 16
        pixels = np.random.default_rng(number).integers(0, 256, (16, width, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    how: dict[str, Any] = {"size": "native", "per_shard": 3, "workers": 0}
    encode_folder(load_vae("linear"), images, folder / "store", **how)
    return folder / "store"


CAMPAIGN = Drawn(
    name="store_facts",
    reads="indexes, shards, manifest and list that contradict each other; keys against arrays",
    holds=HOLDS,
    wanted=20_000,
    opened=_opened,
    unit="stores",
    quick=22,
)
