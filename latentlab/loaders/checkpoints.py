"""Folders and files on this disk → :class:`Checkpoint`: family, options, tensors.

Order within a folder: its own ``config.json``; ``vae/config.json``, as in a pipeline; two files
that are the halves of a TAESD checkpoint; the only weights file. More candidates are an error
that lists them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from latentlab.errors import UsageError, WeightsError
from latentlab.loaders.families import FAMILIES, Checkpoint
from latentlab.loaders.ldm import read_kl_config, rename_ldm
from latentlab.loaders.recognize import describe_weights, guess_family
from latentlab.loaders.scales import choose_normalization
from latentlab.loaders.taesd import join_halves, rename_tiny
from latentlab.loaders.weights import SUFFIXES, hash_file, read_tensors

_PREFIXES = ("", "first_stage_model.", "vae.", "model.", "module.", "taesd_")
_TRAINING_ONLY = ("loss.", "model_ema.")
_DIFFUSERS_FILES = tuple(
    f"diffusion_pytorch_model{variant}{suffix}"
    for suffix in (".safetensors", ".bin")
    for variant in ("", ".fp16")
)


def read_folder(folder: Path, *, only: Collection[str] | None = None) -> Checkpoint:
    """Return the checkpoint that a folder holds.

    Parameters
    ----------
    folder : Path
    only : names of files to look at where there is no config.json; all of them by default

    Raises
    ------
    WeightsError : there is no checkpoint, there are several, or it is damaged.
    """
    for home in (folder, folder / "vae"):
        if (home / "config.json").is_file():
            return _read_diffusers(home)
    files = _weights_files(folder, only)
    if len(files) == 2:
        return read_pair(files[0], files[1])
    if len(files) == 1:
        return read_file(files[0])
    raise WeightsError(
        f"{folder} with {_list_names(files)}",
        "a config.json, one weights file, or the two halves of a TAESD checkpoint",
        "pass the file itself, or both files as ENCODER,DECODER",
    )


def read_file(path: Path, *, normalization: str | None = None) -> Checkpoint:
    """Return the checkpoint in a single file; its architecture is read off the tensors.

    Known are AutoencoderKL and AutoencoderKLFlux2 in CompVis' and in diffusers' layout, also
    inside a checkpoint of a whole diffusion model, and both halves of a TAESD in one file.

    Parameters
    ----------
    path : Path
    normalization : key of ``NORMALIZATIONS``, where the file's own is known to the user

    Raises
    ------
    WeightsError : the file is damaged or holds something else.
    UsageError : ``normalization`` does not go with the weights.
    """
    everything = read_tensors(path)
    tensors = _select_vae(everything)
    family = guess_family(tensors)
    digests = {path.name: hash_file(path)}
    if family in {"LDM", "AutoencoderKL", "AutoencoderKLFlux2"}:
        return _read_kl(path, everything, tensors, digests, normalization)
    _refuse_normalization(path, normalization)
    if family in {"TAESD", "AutoencoderTiny"}:
        renamed = rename_tiny(tensors) if family == "AutoencoderTiny" else tensors
        return _taesd(renamed, str(path), digests)
    if family.startswith("TAESD "):
        raise WeightsError(
            f"{path}, the {family.removeprefix('TAESD ')} alone",
            "both halves of a TAESD checkpoint",
            "pass their folder, or both files as ENCODER,DECODER",
        )
    raise WeightsError(
        f"{path}: {describe_weights(tensors)}",
        "a VAE in a layout that tells its architecture",
        "pass the diffusers folder with its config.json",
    )


def read_pair(first: Path, second: Path) -> Checkpoint:
    """Return the checkpoint whose halves are two TAESD files, given in either order.

    Raises
    ------
    WeightsError : one is damaged, or they are not an encoder and a decoder.
    """
    halves = {}
    for path in (first, second):
        tensors = read_tensors(path)
        halves[guess_family(tensors)] = tensors
    if halves.keys() != {"TAESD encoder", "TAESD decoder"}:
        found = " and ".join(family or "something else" for family in halves)
        raise WeightsError(
            f"{first.name} and {second.name}: {found}",
            "the encoder and the decoder of a TAESD checkpoint",
            "pass the one file or the two that belong together",
        )
    digests = {path.name: hash_file(path) for path in (first, second)}
    joined = join_halves(halves["TAESD encoder"], halves["TAESD decoder"])
    return _taesd(joined, f"{first} and {second.name}", digests)


def _read_diffusers(home: Path) -> Checkpoint:
    config = _read_json(home / "config.json")
    family = config.get("_class_name")
    if not isinstance(family, str) or family not in FAMILIES:
        raise WeightsError(
            f"{home / 'config.json'} for {family or 'no _class_name'}",
            f"one of {', '.join(sorted(FAMILIES))}",
            "choose the folder of a VAE",
        )
    files = _diffusers_weights(home)
    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= read_tensors(path)
    digests = {path.name: hash_file(path) for path in files}
    return Checkpoint(family, config, tensors, str(home), digests)


def _diffusers_weights(home: Path) -> list[Path]:
    for name in _DIFFUSERS_FILES:
        if (home / name).is_file():
            return [home / name]
        if (home / f"{name}.index.json").is_file():
            return _read_shards(home / f"{name}.index.json")
    files = _weights_files(home, None)
    if len(files) == 1:
        return files
    raise WeightsError(
        f"{home} with {_list_names(files)} beside config.json",
        f"{_DIFFUSERS_FILES[0]} or one other weights file",
        "download the folder again",
    )


def _read_shards(index: Path) -> list[Path]:
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise WeightsError(f"{index} without weight_map", "a map of shards", "download it again")
    shards = []
    for name in sorted({str(name) for name in names.values()}):
        if Path(name).name != name or not (index.parent / name).is_file():
            raise WeightsError(
                f"no {name} in {index.parent}",
                f"every shard that {index.name} names",
                "download the folder again",
            )
        shards.append(index.parent / name)
    return shards


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}, which is no JSON ({type(error).__name__})",
            "a readable file",
            "download it again",
        ) from error
    if not isinstance(facts, dict):
        raise WeightsError(
            f"{path}, a {type(facts).__name__}", "a JSON object", "download it again"
        )
    return facts


def _read_kl(
    path: Path,
    everything: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    digests: Mapping[str, str],
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
    if "bn.running_mean" in renamed:
        _refuse_normalization(path, normalization)
        return Checkpoint("AutoencoderKLFlux2", config, renamed, str(path), digests)
    chosen = choose_normalization(
        path, everything, digests[path.name], config["latent_channels"], wanted=normalization
    )
    return Checkpoint(
        "AutoencoderKL",
        config | chosen.options(),
        renamed,
        str(path),
        digests,
        assumption=chosen.reason,
    )


def _refuse_normalization(path: Path, normalization: str | None) -> None:
    if normalization is not None:
        raise UsageError(
            f"@{normalization} for {path}",
            "a normalization only where the file leaves it open, as for SD and FLUX.1",
            f"leave out @{normalization}",
        )


def _taesd(tensors: Mapping[str, Tensor], where: str, digests: Mapping[str, str]) -> Checkpoint:
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    return Checkpoint("TAESD", {"shapes": shapes}, tensors, where, digests)


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
    """Return weights files, the preferred kind of each stem."""
    chosen: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            if only is None or path.name in only:
                chosen.setdefault(path.stem, path)
    return list(chosen.values())


def _list_names(files: Collection[Path]) -> str:
    names = [path.name for path in files]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return shown or "no weights"
