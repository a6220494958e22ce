"""Which normalization a single AutoencoderKL file needs, if its shapes leave two possibilities.

SD1.x and SDXL have the same shapes, and so do FLUX.1 and SD3. diffusers tells them apart by
config.json, which a single file lacks. The evidence is, in this order: what the user says, what the
file itself states, the SHA-256 of a published file, the diffusion model in the same file, the
file's metadata, and the project file beside it. Without any, one possibility is assumed with a
warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

from latentlab.errors import UsageError
from latentlab.loaders.forks import NONE
from latentlab.loaders.ldm import NORM_GROUPS
from latentlab.loaders.normalization import NORMALIZATIONS, Affine
from latentlab.loaders.recognize import LEVELS
from latentlab.loaders.stated import use_stated
from latentlab.loaders.weights import read_metadata

CANDIDATES = {4: ("sd15", "sdxl"), 16: ("flux1", "sd3")}
"""Latent channels → possible normalizations; the first one is assumed."""

_PUBLISHED = {
    "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75": "sd15",  # ft-mse-840000
    "c6a580b13a5bc05a5e16e4dbb80608ff2ec251a162311590c1f34c013d7f3dab": "sd15",  # the same, .ckpt
    "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815": "sd15",  # for diffusers
    "63aeecb90ff7bc1c115395962d3e803571385b61938377bc7089b36e81e92e2e": "sdxl",  # sdxl_vae
    "235745af8d86bf4a4c1b5b4f529868b37019a10f7c0b2e79ad0abca3a22bc6e1": "sdxl",  # fp16-fix
    "afc8e28272cd15db3919bacdb6918ce9c1ed22e96cb12c4d5ed0fba823529e38": "flux1",  # ae
    "f5b59a26851551b67ae1fe58d32e76486e1e812def4696a4bea97f16604d40a3": "flux1",  # for diffusers
    "6ad8546282f0f74d6a1184585f1c9fe6f1509f38f284e7c4f7ed578554209859": "sd3",  # SD3.5's
}

_DIFFUSION_MODELS = (
    ("model.diffusion_model.joint_blocks.", "sd3"),
    ("model.diffusion_model.double_blocks.", "flux1"),
    ("conditioner.embedders.", "sdxl"),
    ("cond_stage_model.", "sd15"),
)

_ARCHITECTURES = (
    ("stable-diffusion-xl", "sdxl"),
    ("stable-diffusion-v1", "sd15"),
    ("stable-diffusion-v2", "sd15"),
    ("stable-diffusion-v3", "sd3"),
    ("stable-diffusion-3", "sd3"),
    ("flux.1", "flux1"),
    ("flux-1", "flux1"),
)


def choose_normalization(
    path: Path,
    keys: Collection[str],
    sha256: str,
    channels: int,
    *,
    wanted: str | None = None,
    stated: tuple[Affine, str] | None = None,
    project: tuple[Affine, str] | None = None,
    levels: int = LEVELS,
) -> tuple[Affine, str]:
    """Return the normalization of an AutoencoderKL file, and the reason for ``run.json``.

    A UserWarning says so if the normalization is only assumed.

    Parameters
    ----------
    path : Path of the file
    keys : names of all its tensors, including those of a diffusion model
    sha256 : SHA-256 of the file
    channels : latent channels
    wanted : key of ``NORMALIZATIONS`` that the user asks for, or ``"none"``
    stated : normalization that the file itself states, and the names of its tensors
    project : normalization that the project file beside it states, and where
    levels : resolutions of the encoder; with more than four it is none of the published models

    Raises
    ------
    UsageError : the normalization asked for belongs to other latent channels.
    """
    candidates = CANDIDATES.get(channels, ())
    if wanted == NONE:
        return Affine(), ""
    if wanted is not None:
        if wanted not in candidates:
            raise UsageError(
                f"@{wanted} for {path} with {channels} latent channels",
                f"@{' or @'.join((*candidates, NONE))} for this number of channels",
                "choose the normalization that belongs to the weights",
            )
        return NORMALIZATIONS[wanted], f"{wanted}, as asked for"
    if stated is not None:
        return use_stated(stated, path)
    for name, evidence in (
        (_PUBLISHED.get(sha256, ""), "the file's SHA-256"),
        (_find_diffusion_model(keys), "the diffusion model in the same file"),
        (_find_architecture(path), "the file's metadata"),
    ):
        if name in candidates:
            _say_left_out(project, name, evidence)
            return NORMALIZATIONS[name], f"{name}, known by {evidence}"
    if project is not None:
        return project
    return _assume(path, channels, candidates if levels <= LEVELS else ())


def _say_left_out(project: tuple[Affine, str] | None, name: str, evidence: str) -> None:
    """Say that a project file contradicts what is known better, if it does."""
    if project is not None and project[0] != NORMALIZATIONS[name]:
        warnings.warn(
            f"{project[1]} is {project[0].scale[0]:g}, but {evidence} says {name}: it was left "
            "out; `latentlab models --measure FILE` measures the scale",
            stacklevel=3,
        )


def is_published(sha256: str) -> bool:
    """Return whether a file is one of the published ones, judged by its SHA-256."""
    return sha256 in _PUBLISHED


def _find_diffusion_model(keys: Collection[str]) -> str:
    found = (n for start, n in _DIFFUSION_MODELS if any(f".{start}" in f".{key}" for key in keys))
    return next(found, "")


def _find_architecture(path: Path) -> str:
    stated = read_metadata(path).get("modelspec.architecture", "").lower()
    return next((name for sign, name in _ARCHITECTURES if sign in stated), "")


def _assume(path: Path, channels: int, candidates: tuple[str, ...]) -> tuple[Affine, str]:
    if not candidates:
        warnings.warn(
            f"{path.name} with {channels} latent channels does not say its scale to model space: "
            f"assumed 1, and {NORM_GROUPS} groups in its norms; a config.json beside it would say "
            f"both, and {path.name}@{NONE} silences this warning",
            stacklevel=2,
        )
        return Affine(), "assumed, the file does not say"
    name, other = candidates
    warnings.warn(
        f"{path.name} does not say whether it is {name} or {other}: assumed {name}, and "
        f"{NORM_GROUPS} groups in its norms; pass {path.name}@{other}, or @{name} to silence this "
        f"warning, or @{NONE} for a model of your own; a config.json beside it would say both",
        stacklevel=2,
    )
    return NORMALIZATIONS[name], f"{name}, assumed; the file could be {other}"
