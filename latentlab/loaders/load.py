"""One call from a name, a repository, a folder or a file to a VAE in model space."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from latentlab.errors import ModelNotFoundError, UsageError
from latentlab.latents import Progress
from latentlab.loaders import dc, flux2, kl, linear, taesd, tiny, video  # noqa: F401  (register)
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.built_in import BUILT_IN
from latentlab.loaders.checkpoints import read_file, read_folder, read_pair
from latentlab.loaders.families import Checkpoint, build_vae
from latentlab.loaders.normalization import NORMALIZATIONS
from latentlab.loaders.weights import SUFFIXES
from latentlab.models.shipped import shipped_folder

Source = str | Path | tuple[str | Path, str | Path]

DTYPES = {
    "auto": torch.float32,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?::(?P<subfolder>[\w./-]+))?")


def load_vae(
    source: Source,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> LatentVAE:
    """Return a pretrained VAE whose latents are model space, whatever its family.

    A path that exists comes before a name. Architecture is read from config.json or from the
    tensors' shapes, and every key must fit.

    Parameters
    ----------
    source : one of

        - a built-in model, such as ``"linear"``, or a name of the catalogue, such as ``"flux1"``;
        - a hub repository, ``"owner/name"`` or ``"owner/name:subfolder"``;
        - a folder: of diffusers, of a pipeline with ``vae/``, or with TAESD's two files;
        - a weights file. Files of SD1.x and SDXL look alike, as do FLUX.1's and SD3's: where
          nothing in the file decides, the first is assumed with a warning, and
          ``"file.safetensors@sdxl"`` (``sd15``, ``sdxl``, ``flux1``, ``sd3``) says it;
        - TAESD's two files, as a tuple or as ``"encoder.pth,decoder.pth"``.
    device : "auto" takes CUDA, then MPS, then the CPU
    dtype : of the weights; "auto" is float32
    revision : branch, tag or commit of a hub repository
    offline : never ask the network
    progress : called as ``progress(what, done, total)`` in bytes while a model is downloaded

    Returns
    -------
    LatentVAE in eval mode, without gradients for its parameters but with gradients through it.

    Raises
    ------
    ModelError : ModelNotFoundError, GatedModelError, DownloadError or WeightsError.
    UsageError : an unknown device or dtype, or options that do not go with the source.

    Examples
    --------
    >>> vae = load_vae("flux1", dtype="bfloat16")  # doctest: +SKIP
    >>> vae.spec  # doctest: +SKIP
    LatentSpec(name='flux1', channels=16, stride=8, multiple=8, has_logvar=True)
    """
    place, kind = _choose_device(device), _choose_dtype(dtype)
    local = _find_local(source)
    if local is not None:
        if revision is not None:
            raise UsageError(
                f"revision={revision} for {source}",
                "a revision of a hub repository",
                "leave it out for local files",
            )
        checkpoint, name, where = local
        return build_vae(checkpoint, name=name, source=where, device=place, dtype=kind)
    checkpoint, name, commit = _fetch(str(source), revision, progress, offline=offline)
    return build_vae(
        checkpoint, name=name, source=str(source), revision=commit, device=place, dtype=kind
    )


def _find_local(source: Source) -> tuple[Checkpoint, str, str] | None:
    """Return checkpoint, name and absolute source of what is on this disk; None for names."""
    if isinstance(source, tuple | list):
        return _read_halves(source)
    path = _absolute(source)
    if path.is_dir():
        return read_folder(path), _name_folder(path), str(path)
    if path.exists():
        return read_file(path), path.stem, str(path)
    if isinstance(source, Path):
        raise _missing(str(source))
    if source in BUILT_IN:
        return read_folder(shipped_folder(source)), source, source
    plain, _, normalization = source.rpartition("@")
    if plain and _absolute(plain).is_file():
        return _read_hinted(_absolute(plain), normalization)
    parts = source.split(",")
    if len(parts) == 2:
        return _read_halves(parts)
    if _looks_like_path(source):
        raise _missing(source)
    return None


def _looks_like_path(source: str) -> bool:
    starts = source.startswith((".", "/", "~")) or "\\" in source
    nested = "/" in source and not _HUB_ID.fullmatch(source)
    return starts or nested or Path(source).suffix in SUFFIXES


def _absolute(source: str | Path) -> Path:
    # links stay, for the hub's cache is made of links to files without names
    return Path(os.path.normpath(Path(source).expanduser().absolute()))


def _read_halves(parts: Sequence[str | Path]) -> tuple[Checkpoint, str, str]:
    if len(parts) != 2:
        raise UsageError(f"{len(parts)} paths", "an encoder and a decoder", "pass two paths")
    first, second = (_absolute(str(part).strip()) for part in parts)
    for path in (first, second):
        if not path.is_file():
            raise _missing(str(path))
    return read_pair(first, second), first.parent.name, f"{first},{second}"


def _read_hinted(path: Path, normalization: str) -> tuple[Checkpoint, str, str]:
    if normalization not in NORMALIZATIONS:
        raise UsageError(
            f"@{normalization} behind {path}",
            f"one of {', '.join(f'@{name}' for name in NORMALIZATIONS)}",
            "choose one of them or leave it out",
        )
    checkpoint = read_file(path, normalization=normalization)
    return checkpoint, path.stem, f"{path}@{normalization}"


def _fetch(
    source: str, revision: str | None, progress: Progress | None, *, offline: bool
) -> tuple[Checkpoint, str, str]:
    """Return checkpoint, name and commit of a catalogue name or hub repository."""
    from latentlab.loaders.catalogue import find_entry
    from latentlab.loaders.hub import fetch

    files: tuple[str, ...] | None = None
    match = _HUB_ID.fullmatch(source)
    if match is not None:
        repo, subfolder = match["repo"], match["subfolder"]
        name = repo.rpartition("/")[2]
    else:
        entry = find_entry(source)
        name, repo, subfolder, files = entry.name, entry.repo, entry.subfolder, entry.files
    fetched = fetch(
        repo,
        subfolder=subfolder,
        files=files,
        revision=revision,
        offline=offline,
        progress=progress,
    )
    return read_folder(fetched.folder, only=files), name, fetched.revision


def _name_folder(folder: Path) -> str:
    return folder.parent.name if folder.name == "vae" else folder.name


def _missing(source: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"{source}, which does not exist", "a folder or weights file", "check the path"
    )


def _choose_device(device: str | torch.device) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        if chosen.type == "meta":
            raise ValueError("a device that computes nothing")
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, ImportError, ValueError) as error:
        raise UsageError(
            f"device={device}",
            "auto, cpu, or a device that this torch can use, such as cuda or mps",
            "pass --device cpu or install torch for that device",
        ) from error
    return chosen


def _choose_dtype(dtype: str | torch.dtype) -> torch.dtype:
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise UsageError(f"dtype={dtype}", f"one of {', '.join(DTYPES)}", "pass --dtype float32")
    return chosen
