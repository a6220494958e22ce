"""Configurations that contradict the weights beside them; diffusers itself is the oracle."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from campaigns import Drawn
from judging import HOLDS, judge_reading
from safetensors.torch import load_file, save_file

import latentlab
from latentlab.loaders.load import load_vae

_CONFIG: Mapping[str, Any] = {
    "block_out_channels": [4, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 2,
    "latent_channels": 4,
    "layers_per_block": 1,
    "scaling_factor": 0.5,
}
_VALUES: Mapping[str, tuple[Any, ...]] = {
    "block_out_channels": ([8, 4], [4, 4], [4], [4, 8, 8], [0, 8], []),
    "norm_num_groups": (1, 4, 3, 0, -1),
    "latent_channels": (3, 8, 0, -4, 4.0, "4"),
    "layers_per_block": (2, 0),
    "scaling_factor": (0.25, 2, 0, -1, None, "x"),
    "shift_factor": (0.5, None, "x"),
    "latents_mean": ([0.1] * 4, [0.1] * 3, [[[[0.1]]]] * 4, ["x"] * 4, [None] * 4),
    "latents_std": ([2.0] * 4, [0.0] * 4, [2.0], [-1.0] * 4),
    "_class_name": ("AutoencoderTiny", "VQModel", "AutoencoderKLWan", "Nonsense", None),
    "use_quant_conv": (False,),
    "in_channels": (1, 4),
    "out_channels": (1, 4),
    "act_fn": ("relu", "nonsense"),
    "sample_size": (8, 0, "x"),
    "down_block_types": (["DownEncoderBlock2D"], ["AttnDownEncoderBlock2D"] * 2, ["X"] * 2),
}


def _change_weights(weights: dict[str, torch.Tensor], draw: random.Random) -> None:
    name, other = draw.sample(sorted(weights), 2)
    match draw.randrange(5):
        case 0:
            del weights[name]
        case 1:
            weights[f"{name}.more"] = weights[name].clone()
        case 2:
            weights[name] = weights[name][..., :-1].contiguous()
        case 3:
            weights[name] = weights[name].to(torch.int32)
        case _:
            weights[name], weights[other] = weights[other], weights[name]


def _expected(folder: Path, image: torch.Tensor) -> torch.Tensor | None:
    """Return the latent that diffusers' module gives, scaled as its pipelines do; None if none."""
    config = json.loads((folder / "config.json").read_text())
    try:
        with torch.device("meta"):  # random weights, which are not needed, take most of the time
            module = diffusers.AutoencoderKL.from_config(
                {key: value for key, value in config.items() if value is not None}
            )
        module.to_empty(device="cpu").load_state_dict(
            load_file(folder / "diffusion_pytorch_model.safetensors")
        )
        with torch.no_grad():
            mean = module.eval().encode(image[None]).latent_dist.mean[0]
        if config.get("latents_mean") and config.get("latents_std"):
            shift, spread = (
                torch.tensor(config[f"latents_{part}"], dtype=torch.float32).reshape(-1, 1, 1)
                for part in ("mean", "std")
            )
            return (mean - shift) / spread * (config.get("scaling_factor") or 1.0)
        return (mean - (config.get("shift_factor") or 0.0)) * config.get("scaling_factor", 0.18215)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[int], str]]:
    torch.manual_seed(0)
    whole = diffusers.AutoencoderKL(**_CONFIG).eval()
    plain = json.loads(whole.to_json_string())
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    place = folder / "vae"
    place.mkdir()

    def draw_case(seed: int) -> str:
        draw = random.Random(seed)
        # diffusers writes down what was left to its defaults, and would not read it.
        config = {k: v for k, v in {**plain, **whole.config}.items() if k[0] != "_"}
        config["_class_name"] = "AutoencoderKL"
        weights = {name: one.clone() for name, one in whole.state_dict().items()}
        themes = draw.sample(["weights", *sorted(_VALUES)], draw.choice((1, 1, 2, 3)))
        for theme in themes:
            if theme == "weights":
                _change_weights(weights, draw)
            else:
                config[theme] = draw.choice(_VALUES[theme])
        (place / "config.json").write_text(json.dumps(config, default=str))
        save_file(weights, place / "diffusion_pytorch_model.safetensors")
        expected = _expected(place, image)

        def agrees(found: torch.Tensor) -> bool:
            return (
                expected is not None
                and found.shape == expected.shape
                and torch.allclose(found, expected, atol=1e-4)
            )

        return judge_reading(
            f"config against weights: {' and '.join(sorted(themes))}",
            lambda: latentlab.encode(load_vae(place), image).values,
            agrees,
            details=repr({theme: config.get(theme) for theme in themes})[:200],
        )

    yield draw_case


CAMPAIGN = Drawn(
    name="model_facts",
    reads="config.json against the weights beside it: shapes, names, dtypes, scales, classes",
    holds=HOLDS,
    wanted=20_000,
    opened=_opened,
    unit="models",
    quick=10,
)
