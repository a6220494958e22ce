"""Run folders, as ``latentlab.load`` and the commands with ``--run`` read them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from campaigns import Parser
from members import BETWEEN, joined, safetensors_with_length, split, write_members

import latentlab
from latentlab.errors import LatentlabError
from latentlab.results.provenance import asked_dtype, recorded_model

_KINDS = {b"p": "pca", b"d": "directions", b"t": "transfer", b"i": "interpolation"}


def _seeds(folder: Path) -> Sequence[bytes]:
    vae = latentlab.load_vae("linear")
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latent = latentlab.encode(vae, image)
    hood = latentlab.neighborhood(vae, latent, "gaussian", n_samples=4)
    pca = latentlab.fit_pca(hood, n_components=2)
    found = latentlab.find_directions(vae, latent, hood, 2)
    moved = latentlab.transfer_directions(vae, latent, found, [latent])
    path = latentlab.interpolate(vae, latent, latent, steps=3)
    inputs = []
    for kind, result in zip(_KINDS, (pca, found, moved, path), strict=True):
        place = folder / _KINDS[kind]
        latentlab.save(result, place)
        names = (f"{_KINDS[kind]}.json", "run.json", f"{_KINDS[kind]}.safetensors")
        inputs.append(kind + joined([(place / name).read_bytes() for name in names]))
    return inputs


def _read(content: bytes, folder: Path) -> None:
    stem = _KINDS.get(content[:1], "pca")
    for name in os.listdir(folder):  # noqa: PTH208, four times as fast as Path.iterdir
        if name.partition(".")[0] not in (stem, "run"):
            (folder / name).unlink()
    facts, record, arrays = split(content[1:], 3)
    arrays = None if arrays is None else safetensors_with_length(arrays)
    write_members(
        folder, {f"{stem}.json": facts, "run.json": record, f"{stem}.safetensors": arrays}
    )
    for read in (recorded_model, asked_dtype):
        with suppress(LatentlabError):
            read(folder)
    result = latentlab.load(folder)
    repr(result)
    if hasattr(result, "_repr_html_"):
        result._repr_html_()


CAMPAIGN = Parser(
    name="runs",
    reads="run folders of pca, directions, transfer and interpolate",
    seeds=_seeds,
    read=_read,
    words=[
        *(
            b'"layout": ',
            b'"kind": ',
            b'"shape": [',
            b'"window": {',
            b'"directions": [',
            b'"seed": ',
        ),
        *(
            b'"neighborhood": ',
            b'"options": ',
            b'"model": ',
            b'"n_samples": ',
            b"null",
            b"Infinity",
        ),
        *(
            b"1e999",
            b'"F64"',
            b'"I64"',
            b'"BF16"',
            b'"data_offsets":[',
            b"-1",
            b"[]",
            b"{}",
            BETWEEN,
        ),
    ],
    longest=16384,
)
