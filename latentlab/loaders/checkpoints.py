"""Folders and files on this disk → :class:`Checkpoint`: family, options, tensors.

A folder is read from its own ``config.json``; from ``vae/config.json``, as in a pipeline; from two
files that are the halves of a TAESD checkpoint; or from its only weights file, in this order. If
there are more candidates, an error lists them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from latentlab.errors import UsageError, WeightsError
from latentlab.loaders.configs import read_config
from latentlab.loaders.configured import Given, check_class, read_configured
from latentlab.loaders.families import Checkpoint
from latentlab.loaders.forks import NONE
from latentlab.loaders.hub_cache import WEIGHT_SUFFIXES, choose_files, is_complete
from latentlab.loaders.recognize import guess_family
from latentlab.loaders.single_files import digests, read_file, read_taesd
from latentlab.loaders.taesd import join_halves
from latentlab.loaders.weights import damaged, read_tensors


def read_folder(
    folder: Path,
    *,
    only: Collection[str] | None = None,
    repo: str = "",
    normalization: str | None = None,
    weights: str | None = None,
    variant: str | None = None,
) -> Checkpoint:
    """Return the checkpoint in a folder.

    Parameters
    ----------
    folder : Path
    only : names of the files to consider if there is no config.json; all of them by default
    repo : hub repository that the folder comes from
    normalization : name of the normalization, if the user states it
    weights : which of several sets in the files, such as ``"ema"``
    variant : which of several precisions or kinds of files, such as ``"fp16"``

    Raises
    ------
    WeightsError : there is no checkpoint, there are several, or it is damaged.
    UsageError : ``normalization`` does not fit the weights.
    """
    name = folder.parent.name if folder.name == "vae" else folder.name
    home = _find_home(folder)
    if home is not None:
        found = _read_diffusers(home, repo, normalization, weights, variant)
        return replace(found, name=name, source=str(folder))
    files = _weights_files(folder, only)
    if len(files) == 2:
        if normalization not in (None, NONE):
            raise UsageError(
                f"@{normalization} for {folder}",
                "no normalization for a TAESD, whose latents are model space",
                f"leave out @{normalization}",
            )
        found = read_pair(files[0], files[1])
    elif len(files) == 1:
        found = read_file(files[0], normalization=normalization, weights=weights)
    else:
        raise WeightsError(
            f"{folder} with {_list_names([path.name for path in files])}",
            "a config.json, one weights file, or the two halves of a TAESD checkpoint",
            "pass the file itself, or both files as ENCODER,DECODER",
        )
    return replace(found, name=name, source=str(folder))


def _find_home(folder: Path) -> Path | None:
    """Return the folder of config.json: this one, or its ``vae`` if this is a pipeline's."""
    homes = [home for home in (folder, folder / "vae") if (home / "config.json").is_file()]
    if len(homes) == 2 and read_config(folder / "config.json").get("_class_name") is None:
        return homes[1]
    return homes[0] if homes else None


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
    read = read_taesd(joined, f"{first} and {second.name}", digests(first, second))
    return replace(read, name=first.parent.name, source=f"{first},{second}")


def _read_diffusers(
    home: Path, repo: str, normalization: str | None, weights: str | None, variant: str | None
) -> Checkpoint:
    config = read_config(home / "config.json")
    if config.get("_class_name") is not None:
        check_class(home / "config.json", config["_class_name"])
    names = sorted(path.name for path in home.iterdir() if path.suffix in WEIGHT_SUFFIXES)
    chosen = choose_files(names, variant)
    if not is_complete(chosen):
        kind = f" of the variant {variant}" if variant else ""
        raise damaged(
            f"{home} with {_list_names(names)} beside config.json",
            f"diffusion_pytorch_model.safetensors{kind}, all its shards, or one other weights file",
        )
    files = [home / name for name in chosen]
    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= read_tensors(path)
    given = Given(
        tensors, str(home), digests(*files), wanted=normalization, weights=weights, repo=repo
    )
    return read_configured(given, config, home)


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
