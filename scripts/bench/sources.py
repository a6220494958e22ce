"""The models and images for measurements, and how much computation they take."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from report import Options, Row
from torch.utils.flop_counter import FlopCounterMode

from latentlab import LatentVAE, load_vae
from latentlab.encoding.encoder import decode_each, encode_batch

SHARED = Path(__file__).resolve().parents[3] / "shared"
DEFAULT_MODEL = SHARED / "models" / "taef2"
PHOTOS = SHARED / "data" / "photos"
BUILT_IN = "mini"
IMAGE = "sample:flower"


def model_of(options: Options) -> str:
    """Return the requested model, or the default one if it is there, or the built-in one."""
    return str(options.model or (DEFAULT_MODEL if DEFAULT_MODEL.is_dir() else BUILT_IN))


def load(source: str, device: str = "cpu") -> LatentVAE:
    return load_vae(source, device=device, dtype="float32")


def without_model(options: Options) -> Row | None:
    """Return why a section is skipped if there is only the built-in model, a small one."""
    missing = not options.model and not DEFAULT_MODEL.is_dir()
    return {"skipped": f"no model at {DEFAULT_MODEL}: give one with --model"} if missing else None


def run_half(vae: LatentVAE, half: str, batch: torch.Tensor) -> Any:
    """Return a batch encoded or decoded by latentlab."""
    return encode_batch(vae, batch) if half == "encode" else [*decode_each(vae, batch)]


def gflop_of(vae: LatentVAE, half: str, size: int) -> float:
    """Return the GFLOP of one image by torch's own count: products and convolutions."""
    side = size if half == "encode" else size // vae.spec.stride
    channels = 3 if half == "encode" else vae.spec.channels
    with FlopCounterMode(display=False) as counter:
        run_half(vae, half, torch.zeros(1, channels, side, side))
    return float(counter.get_total_flops()) / 1e9


def without_channels_last(vae: LatentVAE) -> Any:
    """Return a copy of a VAE whose weights are contiguous NCHW, as they come from a file."""
    plain: Any = copy.deepcopy(vae)
    for parameter in plain.module.parameters():
        parameter.data = parameter.data.contiguous()
    return plain


def blocks(size: int) -> torch.Tensor:
    """Return an image (1, 3, size, size) of random 8 px blocks, always the same."""
    side = size // 8
    coarse = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1


def copy_photos(folder: Path, count: int) -> int:
    """Copy the first photos into a new folder and return their number."""
    folder.mkdir()
    photos = sorted(PHOTOS.iterdir())[:count]
    for photo in photos:
        shutil.copy(photo, folder)  # a store skips links that lead out of its folder
    return len(photos)
