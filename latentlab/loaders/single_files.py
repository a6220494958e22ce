"""One weights file → :class:`Checkpoint`, with its config.json if there is one beside it.

Without a config.json the architecture is inferred from names and shapes, and what they do not
determine is assumed and said.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from latentlab.errors import UsageError, WeightsError
from latentlab.loaders.configs import config_beside
from latentlab.loaders.configured import KL_LIKE, Given, read_configured
from latentlab.loaders.families import Checkpoint
from latentlab.loaders.forks import NONE
from latentlab.loaders.ldm import check_groups, read_kl_config, rename_ldm
from latentlab.loaders.recognize import (
    SIGNS,
    count_levels,
    describe_weights,
    guess_family,
    only_own,
)
from latentlab.loaders.registered import FAMILIES
from latentlab.loaders.scales import choose_normalization
from latentlab.loaders.stated import read_project, read_stated
from latentlab.loaders.taesd import rename_tiny
from latentlab.loaders.weight_sets import WeightSet, choose_set, find_sets
from latentlab.loaders.weights import hash_file, read_tensors

_SHAPED = ("in_channels", "out_channels", "latent_channels", "block_out_channels")


def read_file(
    path: Path, *, normalization: str | None = None, weights: str | None = None
) -> Checkpoint:
    """Return the checkpoint in a single file.

    Its config.json is used if it lies beside it. Without one, supported are AutoencoderKL,
    AutoencoderKLFlux2 and VQModel in CompVis' and in diffusers' layout, also inside a checkpoint
    of a whole diffusion model or of a trainer, and both halves of a TAESD in one file.

    Parameters
    ----------
    path : Path
    normalization : key of ``NORMALIZATIONS``, if the user knows which one the file needs, or
        ``"none"``
    weights : which of several sets, such as ``"ema"``; by default the trained ones

    Raises
    ------
    WeightsError : the file is damaged or has other contents.
    UsageError : ``normalization`` or ``weights`` do not fit the file.
    """
    found = read_set(
        read_tensors(path),
        path,
        normalization=normalization,
        weights=weights,
        digests=digests(path),
    )
    return replace(found, name=path.stem, source=str(path))


def read_set(
    everything: Mapping[str, Tensor],
    path: Path,
    *,
    normalization: str | None,
    weights: str | None,
    digests: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Return the checkpoint among named tensors; see :func:`read_file`.

    Parameters
    ----------
    everything : name → Tensor
    path : Path of their file, or what messages call them
    normalization, weights : as for :func:`read_file`
    digests : file name → SHA-256
    config : the configuration; by default the one beside the file, and ``{}`` for none
    """
    sets = find_sets(everything, SIGNS)
    chosen, notes = choose_set(sets, path, weights) if sets else (WeightSet("", everything), ())
    tensors, extra = only_own(chosen.tensors)
    if extra:
        notes += (f"left out beside the weights of the VAE: {', '.join(extra)}",)
    if guess_family(tensors) == "LDM":
        tensors = rename_ldm(tensors)
    channels = _count_channels(tensors)
    stated = read_stated(everything, chosen.prefix, channels, path) if channels else None
    trained = config is None and guess_family(tensors) in {"AutoencoderKL", "VQModel"}
    project = read_project(path) if trained and stated is None else None
    left = None if sets else weights  # not chosen yet: names of a family that config.json tells
    given = Given(
        tensors,
        str(path),
        digests,
        wanted=normalization,
        weights=left,
        stated=stated,
        project=project,
    )
    home: Path | None = path.parent
    if config is None:
        beside, where = config_beside(path, FAMILIES)
    else:
        beside, where, home = dict(config), "the configuration", None
    if beside and _fits(beside, where, tensors):
        if guess_family(tensors) in KL_LIKE:
            with suppress(KeyError):  # an incomplete file is refused later, by what it lacks
                beside = {**read_kl_config(tensors), **beside}
        found = read_configured(given, beside, home)
        notes += (f"configured by {where}",)
    else:
        found = _read_inferred(given, path, everything)
    return replace(found, notes=notes + found.notes)


def _count_channels(tensors: Mapping[str, Tensor]) -> int:
    entrance = tensors.get("decoder.conv_in.weight")
    return 0 if entrance is None else entrance.shape[1]


def _fits(config: Mapping[str, Any], where: str, tensors: Mapping[str, Tensor]) -> bool:
    """Return whether a configuration can be that of tensors; a UserWarning says if it cannot."""
    family, stated = guess_family(tensors), config.get("_class_name")
    unlike = ""
    if family in KL_LIKE and stated in (None, family):
        with suppress(KeyError):
            inferred = read_kl_config(tensors)
            unlike = next(
                (
                    f"{option} = {config[option]}"
                    for option in _SHAPED
                    if option in config and _plain(config[option]) != _plain(inferred[option])
                ),
                "",
            )
    elif stated is not None and family in {*KL_LIKE, "AutoencoderTiny", "TAESD"}:
        tiny = {family, stated} & {"AutoencoderTiny", "TAESD"}
        unlike = str(stated) if family != stated and (tiny or stated in KL_LIKE) else ""
    if unlike:
        warnings.warn(f"{where} is of another model ({unlike}), and was left out", stacklevel=2)
    return not unlike


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def _read_inferred(given: Given, path: Path, everything: Mapping[str, Tensor]) -> Checkpoint:
    """Return the checkpoint of weights without a configuration."""
    tensors, wanted = given.tensors, given.wanted
    family = guess_family(tensors)
    if family in KL_LIKE:
        return _read_kl(given, path, everything)
    if family in {"TAESD", "AutoencoderTiny"}:
        _refuse_normalization(path, wanted)
        renamed = rename_tiny(tensors) if family == "AutoencoderTiny" else tensors
        return read_taesd(renamed, given.where, given.digests)
    if family.startswith("TAESD "):
        raise WeightsError(
            f"{path}, only the {family.removeprefix('TAESD ')}",
            "both halves of a TAESD checkpoint",
            "pass their folder, or both files as ENCODER,DECODER",
        )
    raise WeightsError(
        f"{path}: {describe_weights(tensors)}",
        "a VAE in a layout that determines its architecture",
        "put its config.json beside it, or pass the diffusers folder",
    )


def _read_kl(given: Given, path: Path, everything: Mapping[str, Tensor]) -> Checkpoint:
    tensors, family = given.tensors, guess_family(given.tensors)
    if tensors.get("encoder.conv_in.weight", tensors["decoder.conv_in.weight"]).ndim != 4:
        raise WeightsError(
            f"{path}, the weights of a video autoencoder",
            "a layout that determines its architecture",
            "put its config.json beside it, or pass the diffusers folder",
        )
    try:
        config = read_kl_config(tensors)
    except KeyError as error:
        raise WeightsError(
            f"{path} without {error.args[0]}",
            f"encoder and decoder of an {family}",
            f"{describe_weights(tensors)}; choose a complete file",
        ) from error
    check_groups(config, str(path))
    reason = ""
    if family == "AutoencoderKLFlux2":
        _refuse_normalization(path, given.wanted)
    elif family == "VQModel" and given.stated is None and given.project is None:
        _refuse_normalization(path, given.wanted)
        config["scaling_factor"], reason = 1.0, "assumed, the file does not say"
    else:
        affine, reason = choose_normalization(
            path,
            everything,
            next(iter(given.digests.values()), ""),
            config["latent_channels"],
            wanted=given.wanted,
            # No published VQModel is among those that the file's own evidence tells apart.
            stated=given.stated or (given.project if family == "VQModel" else None),
            project=given.project,
            levels=count_levels(tensors),
        )
        return replace(given.checkpoint(family, config), normalization=affine, assumption=reason)
    return replace(given.checkpoint(family, config), assumption=reason)


def _refuse_normalization(path: Path, normalization: str | None) -> None:
    if normalization not in (None, NONE):
        raise UsageError(
            f"@{normalization} for {path}",
            "a normalization only for files that do not determine it, as for SD and FLUX.1",
            f"leave out @{normalization}, or pass @{NONE} for the model's own latents",
        )


def read_taesd(tensors: Mapping[str, Tensor], where: str, digests: Mapping[str, str]) -> Checkpoint:
    """Return the checkpoint of both halves of a TAESD under its own names."""
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    return Checkpoint("TAESD", {"shapes": shapes}, tensors, where, digests, "taesd", where)


def digests(*paths: Path) -> dict[str, str]:
    """Return the SHA-256 of files by name."""
    return {path.name: hash_file(path) for path in paths}
