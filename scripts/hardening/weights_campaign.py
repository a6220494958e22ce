"""Weights: safetensors, and pickles in torch's zip files and older layouts."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from campaigns import Parser
from members import BETWEEN, joined, safetensors_with_length, split, zipped
from safetensors.torch import save

from latentlab.errors import LatentlabError
from latentlab.loaders.single_files import read_set
from latentlab.loaders.weights import check_finite, read_metadata, read_tensors


class Callback:
    """An object beside the weights, as trainers keep them."""

    def __init__(self) -> None:
        self.best = 0.5


def _seeds(_: Path) -> Sequence[bytes]:
    tensors = {
        "encoder.conv_in.weight": torch.zeros(4, 3, 3, 3),
        "quant_conv.bias": torch.arange(8.0),
        "decoder.conv_out.weight": torch.ones(3, 4, 3, 3, dtype=torch.float16),
    }
    scaled = {"a.weight": torch.ones(2, 2).to(torch.float8_e4m3fn), "a.scale_weight": torch.ones(1)}
    contents: list[Any] = [
        {"state_dict": tensors, "epoch": 3, "scale_factor": 0.18},
        {"ema": tensors, "best": Callback()},
        torch.nn.Linear(2, 2).state_dict(),
    ]
    return [
        b"S" + save(tensors, metadata={"format": "pt", "config": '{"latent_channels": 4}'}),
        b"R" + save(scaled),
        *(b"Z" + _members(content) for content in contents),
        b"P" + _old(contents[0]),
        b"P" + pickle.dumps(contents[1], 2),
        b"W" + _zip(contents[0]),
    ]


def _zip(content: Any) -> bytes:
    packed = io.BytesIO()
    torch.save(content, packed)
    return packed.getvalue()


def _old(content: Any) -> bytes:
    packed = io.BytesIO()
    torch.save(content, packed, _use_new_zipfile_serialization=False)
    return packed.getvalue()


def _members(content: Any) -> bytes:
    """Return the pickle and the first storage of torch's zip file; the others are zeros."""
    with zipfile.ZipFile(io.BytesIO(_zip(content))) as archive:
        names = {name.rpartition("/")[2]: name for name in archive.namelist()}
        return joined([archive.read(names["data.pkl"]), archive.read(names["0"])])


def _torch_zip(content: bytes) -> bytes:
    """Return torch's zip file around a pickle, with checksums that are right."""
    pickled, first = split(content, 2)
    storages = {f"archive/data/{number}": bytes(512) for number in range(4)}
    storages["archive/data/0"] = first or b""
    fixed = {"archive/byteorder": b"little", "archive/version": b"3\n"}
    return zipped({"archive/data.pkl": pickled or b"", **fixed, **storages})


def _read(content: bytes, folder: Path) -> None:
    kind, rest = content[:1], content[1:]
    suffix = ".safetensors" if kind in b"SR" else ".ckpt"
    path = folder / f"weights{suffix}"
    match kind:
        case b"S":
            rest = safetensors_with_length(rest)
        case b"Z":
            rest = _torch_zip(rest)
    path.write_bytes(rest)
    read_metadata(path)
    tensors = read_tensors(path)
    check_finite(tensors, path.name)
    with suppress(LatentlabError):  # whole tensors, but not those of a VAE
        read_set(tensors, path, normalization=None, weights=None, digests={})


CAMPAIGN = Parser(
    name="weights",
    reads="weights in safetensors and pickles, and what they are recognized as",
    seeds=_seeds,
    read=_read,
    words=[
        *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"cos\nsystem\n"),
        *(
            b"ccollections\nOrderedDict\n",
            b"cbuiltins\ngetattr\n",
            b"(dp0\n",
            b"\x80\x02",
            b"R",
            b"b",
        ),
        *(
            b"\x8c\x04test",
            b"\x93",
            b"\x95",
            b"Q",
            b"q\x00",
            b"h\x00",
            b"}",
            b"s.",
            b"\x85R",
            b"\x86R",
        ),
        *(
            b'"dtype":"F32"',
            b'"F8_E4M3"',
            b'"I64"',
            b'"shape":[',
            b'"data_offsets":[',
            b"__metadata__",
        ),
        *(b".weight", b".scale_weight", b"state_dict", b"first_stage_model.", b"encoder.", BETWEEN),
    ],
    longest=4096,
)
