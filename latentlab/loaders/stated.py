"""The scale to model space that a file itself states, beside the weights of its VAE.

Playground keeps ``edm_mean`` and ``edm_std``, latent-diffusion's trainer ``scale_factor`` where it
was measured, others the names of diffusers' configuration, as tensors or among the arguments that
a trainer saved.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from latentlab.errors import WeightsError
from latentlab.loaders.normalization import Affine

SIGMA_DATA = 0.5
"""The deviation that EDM scales data to (Karras et al. 2022), as Playground v2.5 does."""

_STATISTICS = (("edm_mean", "edm_std", SIGMA_DATA), ("latents_mean", "latents_std", 1.0))
_SCALES = ("scale_factor", "scaling_factor")
_SHIFT = "shift_factor"
_FORK = "as sdxl does, assumed; glm-image leaves the factor out"
_LINE = re.compile(r"^( *)(- +)?(\w+):(?:\s+(.*?))?\s*(?:\s#.*)?$")
_ARGUMENTS = {"hyper_parameters", "hparams", "args", "config", "cfg"}
_MODELS = {"vae", "vae_config", "first_stage", "first_stage_config", "first_stage_model"}
_LAYERS = {"model", "params"}

STATED = frozenset({*(name for pair in _STATISTICS for name in pair[:2]), *_SCALES, _SHIFT})
"""Last parts of the names of tensors and numbers that state a scale."""


def read_stated(
    tensors: Mapping[str, Tensor], prefix: str, channels: int, where: Path | str
) -> tuple[Affine, str] | None:
    """Return the normalization that a file states, and the names it does so under; None without.

    Parameters
    ----------
    tensors : name → Tensor, everything in the file
    prefix : str, before the names of the VAE's weights
    channels : int, of the latents
    where : Path of the file, for messages

    Raises
    ------
    WeightsError : a number for each of other channels, zero, NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> tensors = {"scale_factor": torch.tensor(0.5)}
    >>> read_stated(tensors, "first_stage_model.", 4, "ldm.ckpt")
    (Affine(shift=(0.0,), scale=(0.5,)), 'scale_factor in the file')
    """
    stated: dict[str, tuple[str, tuple[float, ...]]] = {}
    for name in sorted(tensors, key=lambda name: name.count(".")):
        parent, _, last = name.rpartition(".")
        if last in STATED and _concerns(f"{parent}." if parent else "", prefix):
            stated.setdefault(last, (name, _read(name, tensors[name], channels, where)))
    for mean, deviation, sigma in _STATISTICS:
        if mean in stated and deviation in stated:
            (_, shift), (name, spread) = stated[mean], stated[deviation]
            _check_scale(name, spread, where)
            gain = _gain(stated, where) if sigma == 1 else (sigma,)
            scale = tuple(gain[0] / one for one in spread)
            reason = f"{stated[mean][0]} and {name} in the file"
            if sigma == 1 and gain[0] != 1:
                factor = next(name for name in _SCALES if name in stated)
                reason += f", times {stated[factor][0]} = {gain[0]:g}, {_FORK}"
            return Affine(shift, scale), reason
    name = next((name for name in _SCALES if name in stated), "")
    if not name:
        return None
    shift = stated[_SHIFT][1] if _SHIFT in stated else (0.0,)
    return Affine(shift, _gain(stated, where)), f"{stated[name][0]} in the file"


def use_stated(stated: tuple[Affine, str], where: Path | str) -> tuple[Affine, str]:
    """Return what a file states; a UserWarning says so if it can be read in two ways."""
    if stated[1].endswith(_FORK):
        warnings.warn(
            f"{where} has {stated[1]}; a config.json with the same numbers beside it takes @sdxl "
            "and @glm-image",
            stacklevel=2,
        )
    return stated


def read_project(path: Path) -> tuple[Affine, str] | None:
    """Return the scale in the project file of latent-diffusion beside a checkpoint; None without.

    It is ``model.params.scale_factor`` of a model with a ``target``; the same name elsewhere is
    something else, such as a factor of upsampling. A UserWarning says so if it is no number.

    Parameters
    ----------
    path : Path of the checkpoint; the project is FILE.yaml or config.yaml in the same folder
    """
    for place in (path.with_suffix(".yaml"), path.parent / "config.yaml"):
        with suppress(OSError, UnicodeDecodeError):
            found = _scalars(place.read_text(encoding="utf-8"))
            stated = found.get("model.params.scale_factor", "")
            if not stated or not found.get("model.target"):
                continue
            with suppress(ValueError):
                scale = float(stated)
                if math.isfinite(scale) and scale:
                    return Affine(scale=(scale,)), f"model.params.scale_factor of {place.name}"
            warnings.warn(
                f"scale_factor: {stated} of {place} is no finite number other than 0, and was "
                "left out",
                stacklevel=2,
            )
    return None


def _scalars(text: str) -> dict[str, str]:
    """Return the value, or "", of each key of a YAML file's mappings, by its path of keys.

    latent-diffusion writes plain blocks; an item of a list is called ``-``.
    """
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if match := _LINE.match(line):
            indent, item, key, value = len(match[1]), match[2] or "", match[3], match[4] or ""
            above = [(depth, name) for depth, name in above if depth < indent]
            above += [(indent, "-")] if item else []
            above.append((indent + len(item), key))
            found.setdefault(".".join(name for _, name in above), value.strip("\"'"))
    return found


def _gain(
    stated: Mapping[str, tuple[str, tuple[float, ...]]], where: Path | str
) -> tuple[float, ...]:
    name = next((name for name in _SCALES if name in stated), "")
    if not name:
        return (1.0,)
    _check_scale(*stated[name], where)
    return stated[name][1]


def _concerns(parent: str, prefix: str) -> bool:
    """Return whether numbers in a place are about the VAE: around it, or among its arguments.

    Arguments of something else, as in ``args.data.scale_factor``, are not.
    """
    if prefix.startswith(parent):
        return True
    parts = parent.removesuffix(".").split(".")
    first = next((k for k, part in enumerate(parts) if part in _ARGUMENTS | {"vae_config"}), None)
    if first is None or not prefix.startswith("".join(f"{part}." for part in parts[:first])):
        return False
    own = [part for part in parts[first:] if part not in _ARGUMENTS]
    if not own or own == ["model", "params"]:
        return True
    return not _MODELS.isdisjoint(own) and set(own) <= _MODELS | _LAYERS


def _read(name: str, tensor: Tensor, channels: int, where: Path | str) -> tuple[float, ...]:
    values = tuple(float(value) for value in tensor.flatten()[: channels + 1])
    if tensor.numel() not in (1, channels):
        raise WeightsError(
            f"{name} with {tensor.numel()} numbers in {where}",
            f"one, or one for each of {channels} latent channels",
            "correct the file, or state its scale, as FILE@none does",
        )
    return values


def _check_scale(name: str, values: tuple[float, ...], where: Path | str) -> None:
    wrong = next((one for one in values if not math.isfinite(one) or one == 0), None)
    if wrong is not None:
        raise WeightsError(
            f"{name} = {wrong:g} in {where}",
            "finite numbers other than 0",
            "correct the file, or state its scale, as FILE@none does",
        )
