"""Model files from the hub: only those that are needed, each failure in one line.

:func:`fetch` asks the hub once which commit is meant and which files it holds, downloads what
this disk lacks through huggingface_hub's own client and cache, and checks what came. HF_HOME,
HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they mean to that client.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants

from latentlab.errors import DownloadError, ModelError, ModelNotFoundError
from latentlab.latents import Progress
from latentlab.loaders.hub_cache import (
    FetchedModel,
    cache_root,
    cached,
    check_files,
    choose_files,
    find_flaw,
    is_commit,
    remember_revision,
    remove_damaged,
    snapshot_folder,
)
from latentlab.loaders.hub_client import Listing, Meter, download_file, list_files
from latentlab.loaders.hub_errors import Request, disk_full, missing_file, not_on_disk

__all__ = ["FetchedModel", "Progress", "cached", "fetch"]

_log = logging.getLogger(__name__)


def fetch(
    repo: str,
    *,
    subfolder: str | None = None,
    files: Sequence[str] | None = None,
    revision: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> FetchedModel:
    """Return the folder on this disk that holds a hub model, downloading what is missing.

    Where the hub does not answer and the asked revision is complete in the cache, that is
    returned with ``from_cache=True`` and a warning is logged. A branch is then the commit that
    it was when the hub was last asked; a commit is never anything but itself.

    Parameters
    ----------
    repo : str, ``owner/name``
    subfolder : str, optional, folder inside the repository, such as ``"vae"``
    files : sequence of str, optional, names inside the subfolder; by default config.json and
        one set of weights, safetensors (sharded or not) before any pickle
    revision : str, optional, branch, tag or commit; by default the main branch
    offline : bool, never use the network (HF_HUB_OFFLINE does the same)
    progress : callable, optional, told (description, bytes done, bytes in all) meanwhile

    Raises
    ------
    GatedModelError : the repository wants its license accepted, or refuses the token.
    ModelNotFoundError : no such repository, revision, folder or file.
    DownloadError : no network, a hub or mirror that answers nonsense, no room on the disk,
        offline and not in the cache, a file cut short, or a web page instead of config.json.
    WeightsError : weights whose length does not fit their header.
    """
    known = cached(repo, subfolder=subfolder, files=files, revision=revision)
    if known is not None and is_commit(revision):
        return _check_known(known, files)
    if offline or constants.HF_HUB_OFFLINE:
        if known is None:
            raise not_on_disk(Request(repo, revision))
        return _check_known(known, files)
    try:
        listing = list_files(repo, revision)
    except DownloadError as error:
        if known is None:
            raise
        _log.warning("%s. Using commit %s of %s from this disk.", error, known.revision, repo)
        return _check_known(known, files)
    names = _select_files(listing, repo, subfolder, files)
    _complete(listing, repo, subfolder, names, progress)
    remember_revision(repo, revision or "main", listing.commit)
    return FetchedModel(snapshot_folder(repo, listing.commit, subfolder), listing.commit)


def _check_known(known: FetchedModel, files: Sequence[str] | None) -> FetchedModel:
    names = files or choose_files([entry.name for entry in known.folder.iterdir()])
    check_files(known.folder, names)
    return known


def _select_files(
    listing: Listing, repo: str, subfolder: str | None, files: Sequence[str] | None
) -> list[str]:
    """Return the names to fetch inside the subfolder, all of which the hub has."""
    prefix = f"{subfolder}/" if subfolder else ""
    held = {path.removeprefix(prefix) for path in listing.sizes if path.startswith(prefix)}
    held = {name for name in held if "/" not in name}
    for name in files or ():
        if name not in held:
            raise missing_file(Request(repo, listing.commit, prefix + name), sorted(held))
    names = list(files or choose_files(held))
    if not names:
        folders = [path[:-12] for path in listing.sizes if path.endswith("/config.json")]
        vaes = sorted(folders, key=lambda folder: "vae" not in folder)[:3]
        raise ModelNotFoundError(
            f"no single set of weights in {repo}{':' + subfolder if subfolder else ''}",
            "config.json with diffusion_pytorch_model.safetensors, or one weights file",
            "name the folder of the VAE, such as "
            + (" or ".join(f"{repo}:{folder}" for folder in vaes) or f"{repo}:subfolder"),
        )
    return names


def _complete(
    listing: Listing,
    repo: str,
    subfolder: str | None,
    names: Sequence[str],
    progress: Progress | None,
) -> None:
    """Bring every named file that this disk lacks into the cache, whole."""
    folder = snapshot_folder(repo, listing.commit, subfolder)
    paths = {name: f"{subfolder}/{name}" if subfolder else name for name in names}
    wanted = [name for name in names if not _is_whole(folder / name, listing.sizes[paths[name]])]
    meter = Meter(progress, total=sum(listing.sizes[paths[name]] or 0 for name in wanted))
    _check_room(meter.total)
    for name in wanted:
        remove_damaged(folder / name)
        download_file(repo, listing.commit, paths[name], meter)
    try:
        check_files(folder, wanted)
    except ModelError:
        for name in wanted:
            remove_damaged(folder / name)
        raise


def _is_whole(path: Path, size: int | None) -> bool:
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return find_flaw(path) is None


def _check_room(needed: int) -> None:
    """Refuse a download that the disk cannot hold, before its first byte."""
    folder = cache_root()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise disk_full(f"{free / 1e6:.0f} MB free where {needed / 1e6:.0f} MB are needed")
