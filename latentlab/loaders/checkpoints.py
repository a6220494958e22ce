"""Folders and files on this disk → :class:`Checkpoint`: family, options, tensors.

A folder is read from its own ``config.json``; from ``vae/config.json``, as in a pipeline; from two
files that are the halves of a TAESD checkpoint; or from its only weights file, in this order. If
there are more candidates, an error lists them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from torch import Tensor

from latentlab.errors import UsageError, WeightsError
from latentlab.loaders.families import Checkpoint
from latentlab.loaders.forks import NONE, choose_fork
from latentlab.loaders.hub_cache import WEIGHT_SUFFIXES, choose_files, find_flaw, is_complete
from latentlab.loaders.ldm import read_kl_config, rename_ldm
from latentlab.loaders.recognize import describe_weights, guess_family
from latentlab.loaders.refused import REFUSED
from latentlab.loaders.registered import FAMILIES
from latentlab.loaders.scales import choose_normalization
from latentlab.loaders.taesd import join_halves, rename_tiny
from latentlab.loaders.weights import damaged, hash_file, read_tensors

_PREFIXES = ("", "first_stage_model.", "vae.", "model.", "module.", "taesd_")
EXAMPLES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderKLWan")
_TRAINING_ONLY = ("loss.", "model_ema.")


def read_folder(
    folder: Path,
    *,
    only: Collection[str] | None = None,
    repo: str = "",
    normalization: str | None = None,
) -> Checkpoint:
    """Return the checkpoint in a folder.

    Parameters
    ----------
    folder : Path
    only : names of the files to consider if there is no config.json; all of them by default
    repo : hub repository that the folder comes from
    normalization : name of the normalization, if the user states it

    Raises
    ------
    WeightsError : there is no checkpoint, there are several, or it is damaged.
    UsageError : ``normalization`` does not fit the weights.
    """
    name = folder.parent.name if folder.name == "vae" else folder.name
    found = _read_contents(folder, only, repo, normalization)
    return replace(found, name=name, source=str(folder))


def _read_contents(
    folder: Path, only: Collection[str] | None, repo: str, normalization: str | None
) -> Checkpoint:
    for home in (folder, folder / "vae"):
        if (home / "config.json").is_file():
            return _read_diffusers(home, repo, normalization)
    files = _weights_files(folder, only)
    if len(files) == 2:
        _refuse_normalization(folder, normalization)
        return read_pair(files[0], files[1])
    if len(files) == 1:
        return read_file(files[0], normalization=normalization)
    raise WeightsError(
        f"{folder} with {_list_names([path.name for path in files])}",
        "a config.json, one weights file, or the two halves of a TAESD checkpoint",
        "pass the file itself, or both files as ENCODER,DECODER",
    )


def read_file(path: Path, *, normalization: str | None = None) -> Checkpoint:
    """Return the checkpoint in a single file, with the architecture inferred from its tensors.

    Supported are AutoencoderKL and AutoencoderKLFlux2 in CompVis' and in diffusers' layout, also
    inside a checkpoint of a whole diffusion model, and both halves of a TAESD in one file.

    Parameters
    ----------
    path : Path
    normalization : key of ``NORMALIZATIONS``, if the user knows which one the file needs, or
        ``"none"``

    Raises
    ------
    WeightsError : the file is damaged or has other contents.
    UsageError : ``normalization`` does not fit the weights.
    """
    everything = read_tensors(path)
    tensors = _select_vae(everything)
    family = guess_family(tensors)
    if family in {"LDM", "AutoencoderKL", "AutoencoderKLFlux2"}:
        return _read_kl(path, everything, tensors, normalization)
    _refuse_normalization(path, normalization)
    if family in {"TAESD", "AutoencoderTiny"}:
        renamed = rename_tiny(tensors) if family == "AutoencoderTiny" else tensors
        return _taesd(renamed, (path,), name=path.stem)
    if family.startswith("TAESD "):
        raise WeightsError(
            f"{path}, only the {family.removeprefix('TAESD ')}",
            "both halves of a TAESD checkpoint",
            "pass their folder, or both files as ENCODER,DECODER",
        )
    raise WeightsError(
        f"{path}: {describe_weights(tensors)}",
        "a VAE in a layout that determines its architecture",
        "pass the diffusers folder with its config.json",
    )


def read_pair(first: Path, second: Path) -> Checkpoint:
    """Return the checkpoint whose halves are two TAESD files, in either order.

    Raises
    ------
    WeightsError : one is damaged, or they are not an encoder and a decoder.
    """
    halves = {guess_family(half): half for half in map(read_tensors, (first, second))}
    if halves.keys() != {"TAESD encoder", "TAESD decoder"}:
        found = " and ".join(family or "something else" for family in halves)
        raise WeightsError(
            f"{first.name} and {second.name}: {found}",
            "the encoder and the decoder of a TAESD checkpoint",
            "pass one complete file, or two files that belong together",
        )
    joined = join_halves(halves["TAESD encoder"], halves["TAESD decoder"])
    return _taesd(joined, (first, second), name=first.parent.name)


def _read_diffusers(home: Path, repo: str, normalization: str | None) -> Checkpoint:
    path = home / "config.json"
    flaw = find_flaw(path)
    if flaw is not None:
        raise damaged(f"{path}, {flaw}", "a JSON object")
    config = json.loads(path.read_bytes())
    family = config.get("_class_name")
    if not isinstance(family, str) or family not in FAMILIES:
        raise _refuse_class(path, family)
    names = sorted(path.name for path in home.iterdir() if path.suffix in WEIGHT_SUFFIXES)
    chosen = choose_files(names)
    if not is_complete(chosen):
        raise damaged(
            f"{home} with {_list_names(names)} beside config.json",
            "diffusion_pytorch_model.safetensors, all its shards, or one other weights file",
        )
    files = [home / name for name in chosen]
    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= read_tensors(path)
    config, reason = choose_fork(home, config, repo=repo, wanted=normalization)
    where = str(home)
    return Checkpoint(family, config, tensors, where, _digests(*files), home.name, where, reason)


def _refuse_class(path: Path, family: object) -> WeightsError:
    kind = REFUSED.get(str(family))
    got = f"{path} for {family or 'no _class_name'}" + (f", {kind}" if kind else "")
    near = get_close_matches(str(family), FAMILIES, n=3)
    expected = f"an image autoencoder, such as {', '.join(near or EXAMPLES)}"
    return WeightsError(got, expected, "choose the folder of a VAE for images")


def _read_kl(
    path: Path,
    everything: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    normalization: str | None,
) -> Checkpoint:
    renamed = rename_ldm(tensors) if guess_family(tensors) == "LDM" else tensors
    try:
        config = read_kl_config(renamed)
    except KeyError as error:
        raise WeightsError(
            f"{path} without {error.args[0]}",
            "encoder and decoder of an AutoencoderKL",
            f"{describe_weights(tensors)}; choose a complete file",
        ) from error
    family, digests, reason = "AutoencoderKLFlux2", _digests(path), ""
    if "bn.running_mean" in renamed:
        _refuse_normalization(path, normalization)
    else:
        affine, reason = choose_normalization(
            path, everything, digests[path.name], config["latent_channels"], wanted=normalization
        )
        family = "AutoencoderKL"
        config |= {"scaling_factor": affine.scale[0], "shift_factor": affine.shift[0]}
    where = str(path)
    return Checkpoint(family, config, renamed, where, digests, path.stem, where, reason)


def _refuse_normalization(path: Path, normalization: str | None) -> None:
    if normalization not in (None, NONE):
        raise UsageError(
            f"@{normalization} for {path}",
            "a normalization only for files that do not determine it, as for SD and FLUX.1",
            f"leave out @{normalization}, or pass @{NONE} for the model's own latents",
        )


def _taesd(tensors: Mapping[str, Tensor], paths: Sequence[Path], *, name: str) -> Checkpoint:
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    where = " and ".join([str(paths[0]), *(path.name for path in paths[1:])])
    source = ",".join(str(path) for path in paths)
    return Checkpoint("TAESD", {"shapes": shapes}, tensors, where, _digests(*paths), name, source)


def _digests(*paths: Path) -> dict[str, str]:
    return {path.name: hash_file(path) for path in paths}


def _select_vae(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for prefix in _PREFIXES:
        selected = {
            key.removeprefix(prefix): tensor
            for key, tensor in tensors.items()
            if key.startswith(prefix) and not key.startswith(_TRAINING_ONLY)
        }
        if guess_family(selected):
            return selected
    return tensors


def _weights_files(folder: Path, only: Collection[str] | None) -> list[Path]:
    """Return the weights files of a folder; of files with the same stem, the preferred kind."""
    chosen: dict[str, Path] = {}
    for suffix in WEIGHT_SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            if only is None or path.name in only:
                chosen.setdefault(path.stem, path)
    return list(chosen.values())


def _list_names(names: Sequence[str]) -> str:
    shown = [*names[:6], "..."] if len(names) > 6 else names
    return ", ".join(shown) or "no weights"
