"""Weights whose configuration is known → :class:`Checkpoint`.

They are in a folder, in a file beside config.json, or in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import Tensor

from latentlab.errors import UsageError, WeightsError
from latentlab.loaders.configs import clean_config
from latentlab.loaders.families import Checkpoint
from latentlab.loaders.forks import FORKS, NONE, choose_fork
from latentlab.loaders.normalization import NORMALIZATIONS, Affine
from latentlab.loaders.recognize import guess_family
from latentlab.loaders.refused import REFUSED
from latentlab.loaders.registered import FAMILIES
from latentlab.loaders.scales import CANDIDATES, is_published
from latentlab.loaders.stated import use_stated

KL_LIKE = {"AutoencoderKL", "AutoencoderKLFlux2", "VQModel"}
"""Families whose architecture can be told from names and shapes."""
EXAMPLES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderKLWan")
_SCALING = ("scaling_factor", "latents_mean")
_DEFAULT = "diffusers' default, because config.json states none"


@dataclass(frozen=True)
class Given:
    """Weights, and what is known about them before their configuration is read.

    Parameters
    ----------
    tensors : name → Tensor
    where : str, path for messages
    digests : file name → SHA-256
    wanted : name of the normalization that the user states, or None
    weights : which of several sets the user asks for, or None
    stated : normalization that the file itself states, and the names of its tensors
    project : normalization that latent-diffusion's project file beside it states, and where
    repo : str, hub repository
    pipeline : str, class of the pipeline that the model belongs to, if it is known
    """

    tensors: Mapping[str, Tensor]
    where: str
    digests: Mapping[str, str]
    wanted: str | None = None
    weights: str | None = None
    stated: tuple[Affine, str] | None = None
    project: tuple[Affine, str] | None = None
    repo: str = ""
    pipeline: str = ""

    def checkpoint(self, family: str, config: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint of a family with these options."""
        return Checkpoint(
            family,
            config,
            self.tensors,
            self.where,
            self.digests,
            name=family,
            source=self.where,
            weights=self.weights,
        )


def read_configured(given: Given, config: Mapping[str, Any], home: Path | None) -> Checkpoint:
    """Return the checkpoint of weights with the contents of a config.json.

    Parameters
    ----------
    given : Given
    config : contents of config.json; without a class, it is told from the weights
    home : Path of the folder of config.json; None for a model in memory

    Raises
    ------
    WeightsError : a class without images, or statistics that make no sense.
    UsageError : the normalization asked for belongs to other models.
    """
    family: Any = config.get("_class_name")
    notes: tuple[str, ...] = ()
    if family is None and guess_family(given.tensors) in KL_LIKE:
        family = guess_family(given.tensors)
        notes = (f"config.json names no class; the weights are those of {family}",)
    where = str(home / "config.json") if home else given.where
    check_class(where, family)
    config = {**config, "_class_name": family}
    config, note = clean_config(config, where, flat=not FAMILIES[family].shaped_statistics)
    found = replace(given.checkpoint(family, config), notes=notes + ((note,) if note else ()))
    affine, reason = _choose(given, family, config)
    if affine is not None:
        return replace(found, normalization=affine, assumption=reason)
    config, fork = choose_fork(
        home, config, repo=given.repo, pipeline=given.pipeline, wanted=given.wanted
    )
    return replace(found, config=config, assumption=fork or reason)


def _choose(given: Given, family: str, config: Mapping[str, Any]) -> tuple[Affine | None, str]:
    """Return the normalization that the user or the file states, if any, and the reason."""
    stated_channels = config.get("latent_channels") if family == "AutoencoderKL" else 0
    # What is no number is refused when the model is built.
    channels = stated_channels if isinstance(stated_channels, int) else 0
    wanted, open_ways = given.wanted, FORKS.get(family, {})
    if wanted in NORMALIZATIONS and family == "AutoencoderKL" and not _is_fork(config, wanted):
        if wanted not in CANDIDATES.get(channels, ()):
            raise UsageError(
                f"@{wanted} for {given.where} with {channels} latent channels",
                f"@{' or @'.join((*CANDIDATES.get(channels, ()), *open_ways, NONE))}",
                "choose the normalization that belongs to the weights",
            )
        return NORMALIZATIONS[wanted], f"{wanted}, as asked for"
    unset = config.get("_use_default_values") or ()
    stated = [one for one in _SCALING if config.get(one) is not None and one not in unset]
    if wanted is not None or stated:
        return None, ""
    if given.stated is not None:
        return use_stated(given.stated, given.where)
    known = any(is_published(digest) for digest in given.digests.values())
    if given.project is not None and not known:
        return given.project
    silent = family == "AutoencoderKL" and (
        "scaling_factor" not in config or "scaling_factor" in unset
    )
    return None, _DEFAULT if silent and not known else ""


def _is_fork(config: Mapping[str, Any], wanted: str) -> bool:
    """Return whether a name chooses between pipelines here, as ``sdxl`` with means does."""
    ways = FORKS.get(str(config["_class_name"]), {})
    return wanted in ways and all(config.get(f"latents_{part}") for part in ("mean", "std"))


def check_class(path: Path | str, family: object) -> None:
    """Raise WeightsError, which says what it is, for a class that is no autoencoder of images."""
    if isinstance(family, str) and family in FAMILIES:
        return
    kind = REFUSED.get(str(family))
    got = f"{path} for {family or 'no _class_name'}" + (f", {kind}" if kind else "")
    near = get_close_matches(str(family), FAMILIES, n=3)
    expected = f"an image autoencoder, such as {', '.join(near or EXAMPLES)}"
    raise WeightsError(got, expected, "choose the folder of a VAE for images")
