"""Configurations of models: config.json, a pipeline's model_index.json, and names of models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from campaigns import Parser
from members import BETWEEN, joined, split, write_members

from latentlab.errors import LatentlabError
from latentlab.loaders.load import load_vae
from latentlab.models.shipped import shipped_folder

_LEVELS = {
    "block_out_channels": [4, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 2,
    "latent_channels": 4,
    "layers_per_block": 1,
}
_INDEX = {"_class_name": "StableDiffusionPipeline", "vae": ["diffusers", "AutoencoderKL"]}
_WEIGHTS: dict[str, Path] = {}


def _seeds(folder: Path) -> Sequence[bytes]:
    import diffusers

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    _WEIGHTS["linear"] = shipped_folder("linear") / "diffusion_pytorch_model.safetensors"
    if not _WEIGHTS["linear"].exists():
        _WEIGHTS["linear"] = next(shipped_folder("linear").glob("*.safetensors"))
    kl = diffusers.AutoencoderKL(**_LEVELS, scaling_factor=0.18, latents_mean=[0.1] * 4)
    kl.save_pretrained(folder / "kl")
    _WEIGHTS["kl"] = next((folder / "kl").glob("*.safetensors"))
    configs = [
        (shipped_folder("linear") / "config.json").read_bytes(),
        (folder / "kl" / "config.json").read_bytes(),
        json.dumps(
            {"_class_name": "AutoencoderKL", **_LEVELS, "latents_std": [[[1.0]]] * 4}
        ).encode(),
    ]
    index = json.dumps(_INDEX).encode()
    kinds = (b"l", b"k", b"k")
    return [kind + joined([one, index]) for kind, one in zip(kinds, configs, strict=True)] + [
        b"n" + name for name in (b"flux1", b"flux1@sdxl", b"mini#ema", b"owner/name:vae", b"a,b")
    ]


@contextmanager
def _no_random_weights() -> Iterator[None]:
    """Leave layers as they are allocated: the weights of the file replace what is drawn anyway."""
    layers = (torch.nn.modules.conv._ConvNd, torch.nn.Linear)
    before = [layer.reset_parameters for layer in layers]
    for layer in layers:
        layer.reset_parameters = lambda _: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer, method in zip(layers, before, strict=True):
            layer.reset_parameters = method  # type: ignore[method-assign]


def _read(content: bytes, folder: Path) -> None:
    with _no_random_weights():
        _load(content, folder)


def _load(content: bytes, folder: Path) -> None:
    kind, rest = content[:1], content[1:]
    if kind == b"n":
        load_vae(rest.decode("utf-8", errors="replace"), offline=True)
        return
    if not _WEIGHTS:
        raise LatentlabError("no weights", "those of the seeds", "make the seeds first")
    config, index = split(rest, 2)
    source = "linear" if kind == b"l" else "kl"
    place = folder / source / "vae"
    if not place.is_dir():
        place.mkdir(parents=True)
        (place / "diffusion_pytorch_model.safetensors").symlink_to(_WEIGHTS[source])
    write_members(place.parent, {"vae/config.json": config or b"", "model_index.json": index})
    load_vae(place.parent if index is not None else place)


CAMPAIGN = Parser(
    name="configs",
    reads="config.json and model_index.json beside weights that fit, and names of models",
    seeds=_seeds,
    read=_read,
    words=[
        *(b'"_class_name": ', b'"scaling_factor": ', b'"shift_factor": ', b'"latents_mean": ['),
        *(
            b'"latents_std": [',
            b'"latent_channels": ',
            b'"block_out_channels": [',
            b'"AutoencoderKL"',
        ),
        *(
            b'"norm_num_groups": ',
            b'"layers_per_block": ',
            b'"sample_size": ',
            b'"act_fn": ',
            b"true",
        ),
        *(
            b'"AutoencoderTiny"',
            b'"AutoencoderKLFlux2"',
            b'"VQModel"',
            b'"AutoencoderDC"',
            b"1e999",
        ),
        *(b"9" * 400, b"[" * 2000, b"-1", b"null", b"{}", b"@none", b"#ema", b"..", b"/", BETWEEN),
    ],
    longest=3000,
)
