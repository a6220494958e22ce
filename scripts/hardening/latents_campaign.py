"""Files of latents of other programs: .npy, .npz, .pt, safetensors, and archives of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from campaigns import Parser
from members import BETWEEN, joined, safetensors_with_length, split, zipped
from safetensors.torch import save

from latentlab.errors import MissingExtraError
from latentlab.recipes.codes import read_codes
from latentlab.store.foreign import open_latents

_SUFFIXES = {
    b"n": ".npy",
    b"z": ".npz",
    b"p": ".pt",
    b"s": ".safetensors",
    b"t": ".tar",
    b"a": ".zip",
    b"c": ".npz",
}
"""First byte of an input → the kind of file; ``c`` are codes for metrics, not latents."""


def _seeds(_: Path) -> Sequence[bytes]:
    latents = np.random.default_rng(0).normal(size=(3, 4, 4, 4)).astype(np.float16)
    labels = np.arange(3)
    tensors = {"latents": torch.from_numpy(latents), "labels": torch.from_numpy(labels)}
    packed = io.BytesIO()
    torch.save(tensors, packed)
    listed = io.BytesIO()
    torch.save([torch.zeros(4, 4, 4)] * 2, listed)
    kohya = {"latents_4x4": torch.zeros(4, 4, 4), "original_size_4x4": torch.tensor([32, 32])}
    return [
        b"n" + _npy(latents),
        b"n" + _npy(np.asfortranarray(latents[:, :, 0])),
        b"n" + _npy(latents.astype("V2")),
        b"z" + joined([b"latents", _npy(latents), b"labels", _npy(labels)]),
        b"z" + joined([b"names", _npy(np.array(["a", "bc"])), b"z", _npy(latents[0])]),
        b"p" + packed.getvalue(),
        b"p" + listed.getvalue(),
        b"s" + save(tensors),
        b"s" + save(kohya),
        b"t" + _tar({"a/x.npy": _npy(latents), "y.safetensors": save(kohya)}),
        b"c" + joined([b"codes", _npy(latents[:, 0, 0]), b"factors", _npy(labels[:, None])]),
        b"a" + joined([b"x.npy", _npy(latents), b"b/y.npy", _npy(latents[0])]),
    ]


def _npy(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, one in members.items():
            head = tarfile.TarInfo(name)
            head.size = len(one)
            archive.addfile(head, io.BytesIO(one))
    return content.getvalue()


def _archive(content: bytes, suffix: str) -> bytes:
    names_and_members = split(content, 6)
    pairs = zip(names_and_members[::2], names_and_members[1::2], strict=True)
    named = {(name or b"x")[:100].decode("latin-1"): one for name, one in pairs if one is not None}
    return zipped({f"{name}{suffix}".replace("\0", "0"): one for name, one in named.items()})


def _read(content: bytes, folder: Path) -> None:
    kind, rest = content[:1], content[1:]
    suffix = _SUFFIXES.get(kind, ".npy")
    match kind:
        case b"z" | b"c":
            rest = _archive(rest, ".npy")
        case b"a":
            rest = _archive(rest, "")
        case b"s":
            rest = safetensors_with_length(rest)
    path = folder / f"latents{suffix}"
    path.write_bytes(rest)
    try:
        if kind == b"c":
            read_codes(path)
            return
        found = open_latents(path, space="model")
        repr(found)
        for _ in islice(found.batches(2), 3):
            pass
        with suppress(MissingExtraError):  # pandas is not needed here
            found.to_frame()
    finally:
        path.unlink()


CAMPAIGN = Parser(
    name="latents",
    reads="latents in .npy, .npz, .pt, safetensors, tar and zip, opened and read; codes in .npz",
    seeds=_seeds,
    read=_read,
    words=[
        *(b"\x93NUMPY\x01\x00", b"'descr': '<f4'", b"'fortran_order': True", b"'shape': (3, 4)"),
        *(b"|O", b"|V2", b"<f2", b">f8", b"<c8", b"<U3", b"('a', '<f4')", b"latents", b"labels"),
        *(
            b"moments",
            b"latents_32x32",
            b"original_size",
            b'"BF16"',
            b'"shape":[',
            b"ustar",
            BETWEEN,
        ),
    ],
    longest=16384,
)
