"""One call from a name, a repository, a folder or a file to a VAE in model space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentlab.errors import UsageError
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.built_in import BUILT_IN
from latentlab.loaders.checkpoints import read_folder, read_pair
from latentlab.loaders.compilation import compile_vae
from latentlab.loaders.device import choose_device
from latentlab.loaders.families import Checkpoint, build_vae, wrap_module
from latentlab.loaders.forks import NONE
from latentlab.loaders.hub_cache import VAE
from latentlab.loaders.in_memory import Config, is_in_memory, read_model, read_state_dict
from latentlab.loaders.measured import SUFFIX, read_measured
from latentlab.loaders.naming import (
    HUB_ID,
    absolute_path,
    looks_like_path,
    missing_path,
    split_normalization,
    split_weights,
)
from latentlab.loaders.normalization import Affine
from latentlab.loaders.single_files import read_file
from latentlab.loaders.tiles import tiled
from latentlab.machine.files import exists
from latentlab.models.shipped import shipped_folder

Source = str | Path | tuple[str | Path, str | Path]
Model = Source | nn.Module | Mapping[str, Any] | Any

DTYPES = {
    "auto": torch.float32,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def load_vae(
    source: Model,
    *,
    config: Config | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    normalization: str | None = None,
    weights: str | None = None,
    variant: str | None = None,
    tile: int | None = None,
    compiled: bool = False,
) -> LatentVAE:
    """Return a pretrained VAE whose latents are in model space, for every family.

    An existing path takes precedence over a name. The architecture is read from config.json or
    from the tensors' shapes, and every key must fit.

    Parameters
    ----------
    source : one of

        - a built-in model, such as ``"linear"``, or a name of the catalogue, such as ``"flux1"``;
        - a hub repository, ``"owner/name"`` or ``"owner/name:subfolder"``;
        - a folder: of diffusers, of a pipeline with ``vae/``, or with TAESD's two files;
        - a weights file, also a trainer's checkpoint or a whole diffusion model. Its config.json
          is used if it lies beside it. Files of SD1.x and SDXL look alike, as do those of FLUX.1
          and SD3. If nothing in the file decides, the first is assumed with a warning;
          ``"FILE#ema"`` takes the averaged weights;
        - TAESD's two files, as a tuple or as ``"encoder.pth,decoder.pth"``;
        - an autoencoder of diffusers that is in memory, or a pipeline with one. Weights are
          shared, not copied; device and dtype stay as they are unless they are given;
        - a state_dict, with ``config=``.
    config : for a state_dict: contents or path of config.json, or the name of a class of diffusers.
        It may be left out for weights of AutoencoderKL whose shapes tell the rest
    device : "auto" is CUDA if available, otherwise MPS, otherwise the CPU
    dtype : dtype of the weights; "auto" is float32
    revision : branch, tag or commit of a hub repository
    offline : never use the network
    progress : called as ``progress(what, done, total)``, in bytes, during a download
    normalization : name of the map to model space, which ``"SOURCE@name"`` states, too: ``sd15``,
        ``sdxl``, ``flux1`` or ``sd3`` for a weights file; ``sdxl`` or ``glm-image`` for a folder
        with means and a scale; ``none`` for the model's own latents; or the path of a file that
        ``latentlab models --measure`` wrote. By default it is known from the file, its pipeline or
        its repository, or assumed with a warning
    weights : which of several sets in a trainer's file, which ``"FILE#ema"`` states, too: ``ema``
        for averaged weights, or a name that a message lists. By default the trained ones
    variant : which of several kinds of files in a folder or repository, such as ``fp16``
    tile : side in pixels of the tiles that images are encoded and decoded in, for images too
        large for memory; by default images are processed whole. See
        :func:`latentlab.loaders.tiles.tiled`.
    compiled : compile encoder and decoder with ``torch.compile``: faster, but the first image of
        a size takes longer, and results differ by rounding

    Returns
    -------
    LatentVAE in eval mode. Its parameters require no gradients; gradients flow through it.

    Raises
    ------
    ModelError : ModelNotFoundError, GatedModelError, DownloadError or WeightsError.
    UsageError : an unknown device or dtype, options that do not fit the source, a tile that does
        not fit the model, or ``compiled`` for a model without torch modules.
    MissingExtraError : ``compiled`` without a C++ compiler or Python's headers.

    Examples
    --------
    >>> load_vae("mini").spec
    LatentSpec(name='mini', channels=16, stride=8, multiple=8, has_logvar=True)
    """
    vae = (
        _load_object(source, config, device, dtype, normalization, weights)
        if is_in_memory(source)
        else _load_stored(
            source,
            config,
            choose_device(device),
            _choose_dtype(dtype),
            normalization=normalization,
            weights=weights,
            variant=variant,
            revision=revision,
            offline=offline,
            progress=progress,
        )
    )
    if compiled:
        compile_vae(vae)
    if tile is not None:
        vae = tiled(vae, tile)
    return vae


def _load_object(
    source: Any,
    config: Config | None,
    device: str | torch.device,
    dtype: str | torch.dtype,
    normalization: str | None,
    weights: str | None,
) -> LatentVAE:
    """Return the VAE of a model, pipeline or state_dict in memory."""
    if normalization is not None and normalization.endswith(SUFFIX):
        raise UsageError(
            f"normalization={normalization} for a model in memory",
            "a name, because a measured file belongs to the weights of a file",
            "save the model and load it from there",
        )
    if isinstance(source, Mapping):
        found = read_state_dict(source, config, normalization=normalization, weights=weights)
        found = _state(found, normalization, weights)
        return build_vae(found, choose_device(device), _choose_dtype(dtype))
    if config is not None or weights is not None:
        raise UsageError(
            f"config or weights for {type(source).__name__}", "a state_dict", "leave them out"
        )
    module, found = read_model(source, normalization)
    own = next(module.parameters())
    place = own.device if device == "auto" else choose_device(device)
    kind = own.dtype if dtype == "auto" else _choose_dtype(dtype)
    return wrap_module(module, _state(found, normalization, None), place, kind, shared=True)


def _load_stored(
    source: Any,
    config: Config | None,
    place: torch.device,
    kind: torch.dtype,
    *,
    normalization: str | None,
    weights: str | None,
    variant: str | None,
    revision: str | None,
    offline: bool,
    progress: Progress | None,
) -> LatentVAE:
    """Return the VAE of a name, repository, folder or file."""
    if config is not None:
        raise UsageError(
            f"config for {source}", "a state_dict", "put config.json beside the file instead"
        )
    source, taken = split_weights(source, weights)
    source, wanted = split_normalization(source, normalization)
    asked: dict[str, Any] = {
        "normalization": NONE if wanted and wanted.endswith(SUFFIX) else wanted,
        "weights": taken,
    }
    checkpoint = _read_local(source, variant, asked)
    if checkpoint is None:
        checkpoint = _fetch(
            str(source),
            asked,
            variant=variant,
            revision=revision,
            offline=offline,
            progress=progress,
        )
    elif revision is not None:
        raise UsageError(
            f"revision={revision} for {source}", "a hub repository", "leave it out for local files"
        )
    return build_vae(_state(checkpoint, wanted, taken), place, kind)


def _state(checkpoint: Checkpoint, wanted: str | None, taken: str | None) -> Checkpoint:
    """Return a checkpoint that records the weights and the normalization asked for."""
    if taken is not None:
        checkpoint = replace(checkpoint, source=f"{checkpoint.source}#{taken}")
    if wanted is None:
        return checkpoint
    source = f"{checkpoint.source}@{wanted}"
    if wanted.endswith(SUFFIX):
        affine, reason = read_measured(absolute_path(wanted), checkpoint.sha256)
        return replace(checkpoint, source=source, normalization=affine, assumption=reason)
    if wanted != NONE:
        return replace(checkpoint, source=source)
    return replace(checkpoint, source=source, normalization=Affine(), assumption="as asked for")


def _read_local(source: Source, variant: str | None, asked: Mapping[str, Any]) -> Checkpoint | None:
    """Return the checkpoint of a source on this disk; None for names and repositories."""
    if isinstance(source, tuple | list):
        return _read_halves(source)
    path = absolute_path(source)
    if exists(path):
        if path.is_dir():
            return read_folder(path, variant=variant, **asked)
        return read_file(path, **asked)
    if isinstance(source, Path):
        raise missing_path(source)
    if source in BUILT_IN:
        found = read_folder(shipped_folder(source), **asked)
        return replace(found, source=source)
    parts = source.split(",")
    if len(parts) == 2:
        return _read_halves(parts)
    if looks_like_path(source):
        raise missing_path(source)
    return None


def _read_halves(parts: Sequence[str | Path]) -> Checkpoint:
    if len(parts) != 2:
        raise UsageError(f"{len(parts)} paths", "an encoder and a decoder", "pass two paths")
    first, second = (absolute_path(str(part).strip()) for part in parts)
    for path in (first, second):
        if not (exists(path) and path.is_file()):
            raise missing_path(path)
    return read_pair(first, second)


def _fetch(
    source: str, asked: Mapping[str, Any], variant: str | None, **options: Any
) -> Checkpoint:
    """Return the checkpoint of a catalogue name or a hub repository, with options of ``fetch``."""
    from latentlab.loaders.catalogue import find_entry
    from latentlab.loaders.hub import fetch

    files: Sequence[str] | None = None
    match = HUB_ID.fullmatch(source)
    if match is not None:
        repo, subfolder = match["repo"], match["subfolder"]
        name = repo.rpartition("/")[2]
    else:
        entry = find_entry(source)
        name, repo, subfolder, files = entry.name, entry.repo, entry.subfolder, entry.files
    if variant is not None:
        options["variant"], files = variant, None
    fetched = fetch(repo, subfolder=subfolder, files=files, **options)
    checkpoint = read_folder(fetched.folder, only=files, repo=repo, variant=variant, **asked)
    found = subfolder is None and fetched.folder.name == VAE
    notes = checkpoint.notes + (("the folder vae of the repository",) if found else ())
    return replace(checkpoint, name=name, source=source, revision=fetched.revision, notes=notes)


def _choose_dtype(dtype: str | torch.dtype) -> torch.dtype:
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise UsageError(
            f"dtype={dtype}", f"one of {', '.join(DTYPES)}", "choose one (--dtype float32)"
        )
    return chosen
