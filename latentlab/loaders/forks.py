"""Which pipeline a diffusers folder belongs to, where two scale the latents of a class differently.

With ``latents_mean`` and ``latents_std``, SDXL's pipeline also multiplies by ``scaling_factor`` and
GLM-Image's does not. LDM's pipeline divides a VQModel's latents by it, and its pipeline for
super-resolution does not. The evidence is, in this order: what the user says, the pipeline in
model_index.json, and the hub repository. Without any, the first is assumed with a warning.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentlab.errors import UsageError
from latentlab.machine.parsing import WRONG_FACTS, parse_json

FORKS = {
    "AutoencoderKL": {"sdxl": "stablediffusionxl", "glm-image": "glmimage"},
    "VQModel": {"ldm": "ldm", "ldm-super-resolution": "superresolution"},
}
"""Class → name of each way → its sign in the names of pipelines and repositories. The second way
leaves out ``scaling_factor``."""

NONE = "none"
"""What the user says for the model's own latents."""


def choose_fork(
    home: Path | None,
    config: Mapping[str, Any],
    *,
    repo: str = "",
    pipeline: str = "",
    wanted: str | None = None,
) -> tuple[Mapping[str, Any], str]:
    """Return the configuration with the scale of its pipeline, and the reason for ``run.json``.

    Parameters
    ----------
    home : Path of the folder with config.json; None for a model in memory
    config : its contents
    repo : str, hub repository, if it is known
    pipeline : str, class of the pipeline, if it is known; by default read from model_index.json
    wanted : name of a way that the user asks for, or ``"none"``

    Raises
    ------
    UsageError : the normalization asked for belongs to other models.
    """
    ways = FORKS.get(str(config.get("_class_name")), {}) if _is_open(config) else {}
    if wanted not in (None, NONE, *ways):
        raise UsageError(
            f"normalization={wanted} for {home or config['_class_name']}",
            f"one of {', '.join((*ways, NONE))}, because its config.json states the rest",
            "leave it out, or choose one of them",
        )
    if wanted == NONE or not ways:
        return config, ""
    name, reason = (wanted, "as asked for") if wanted else _find_way(home, repo, pipeline, ways)
    scaled = config if name == next(iter(ways)) else {**config, "scaling_factor": 1.0}
    return scaled, f"{name}, {reason}"


def _is_open(config: Mapping[str, Any]) -> bool:
    if config.get("scaling_factor") == 1 or config.get("norm_type") == "spatial":
        return False
    return config["_class_name"] == "VQModel" or all(
        config.get(f"latents_{part}") for part in ("mean", "std")
    )


def _find_way(
    home: Path | None, repo: str, pipeline: str, ways: Mapping[str, str]
) -> tuple[str, str]:
    for evidence, text in (
        ("the pipeline", pipeline),
        ("the pipeline in model_index.json", _read_pipeline(home) if home else ""),
        ("the repository", repo),
    ):
        plain = re.sub(r"[^a-z0-9]", "", text.lower())
        for name, sign in reversed([*ways.items()]):  # the second sign is the more specific one
            if sign in plain:
                return name, f"known by {evidence} ({text})"
    name, other = ways
    warnings.warn(
        f"{home or 'the model'} does not say whether it is {name} or {other}, which scale latents "
        f"differently: assumed {name}; pass normalization={other!r} (MODEL@{other}), or {name!r} "
        "to silence this warning",
        stacklevel=2,
    )
    return name, f"assumed; it could be {other}"


def _read_pipeline(home: Path) -> str:
    """Return the class of the pipeline around a folder; empty if there is none."""
    try:
        index = parse_json((home.parent / "model_index.json").read_bytes())
        return str(index["_class_name"])
    except (OSError, *WRONG_FACTS):
        return ""
