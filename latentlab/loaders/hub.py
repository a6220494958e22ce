"""Model files from the hub: only those that are needed, and every failure in one line.

:func:`fetch` asks the hub once which commit a revision is and which files it has, downloads
missing files with huggingface_hub's own client and cache, and checks them. HF_HOME, HF_ENDPOINT,
HF_TOKEN and HF_HUB_OFFLINE have the same effect as for that client.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import constants

from latentlab.errors import DownloadError, ModelError, ModelNotFoundError
from latentlab.latents import Progress
from latentlab.loaders import hub_cache as cache
from latentlab.loaders.hub_cache import FetchedModel
from latentlab.loaders.hub_client import Listing, Meter, download_file, list_files
from latentlab.loaders.hub_errors import Request, disk_full, missing_file, not_on_disk

_log = logging.getLogger(__name__)


def fetch(
    repo: str,
    *,
    subfolder: str | None = None,
    files: Sequence[str] | None = None,
    revision: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    variant: str | None = None,
) -> FetchedModel:
    """Return the folder on this disk with a hub model, after downloading missing files.

    If the hub does not respond and the revision is complete in the cache, the cached model is
    returned with ``from_cache=True`` and a warning is logged. For a branch this is the commit it
    pointed to when the hub was last asked. A commit always means exactly that commit.

    Parameters
    ----------
    repo : str, ``owner/name``
    subfolder : str, optional, folder inside the repository; by default the repository itself, or
        ``"vae"`` if the VAE of a pipeline is there
    files : sequence of str, optional, names inside the subfolder; by default config.json and
        one set of weights, with safetensors (sharded or not) preferred to pickles
    revision : str, optional, branch, tag or commit; by default the main branch
    offline : bool, never use the network (as HF_HUB_OFFLINE does)
    progress : callable, optional, called as ``progress(description, done, total)`` in bytes
    variant : str, optional, such as ``"fp16"``: the files of this variant

    Raises
    ------
    GatedModelError : the repository's license has not been accepted, or the token is refused.
    ModelNotFoundError : no such repository, revision, folder or file.
    DownloadError : no network, an invalid response of a hub or mirror, no space on the disk,
        offline and not in the cache, a file cut short, or a web page instead of config.json.
    WeightsError : damaged weights.
    """
    known = cache.cached(repo, subfolder=subfolder, files=files, revision=revision, variant=variant)
    without_network = offline or constants.HF_HUB_OFFLINE
    if known is None and without_network:
        raise not_on_disk(Request(repo, revision))
    if known is not None and (without_network or cache.is_commit(revision)):
        return _check_known(known, files, variant)
    try:
        listing = list_files(repo, revision)
    except DownloadError as error:
        if known is None:
            raise
        reason = str(error).rstrip(".")
        _log.warning("%s. Using commit %s of %s from this disk.", reason, known.revision, repo)
        return _check_known(known, files, variant)
    if subfolder is None and files is None and _only_in_vae(listing, variant):
        subfolder = cache.VAE
    _complete(listing, _select_files(listing, subfolder or "", files, variant), progress)
    cache.remember_revision(repo, revision or "main", listing.commit)
    return FetchedModel(cache.snapshot_folder(repo, listing.commit, subfolder), listing.commit)


def _check_known(
    known: FetchedModel, files: Sequence[str] | None, variant: str | None
) -> FetchedModel:
    names = files or cache.choose_files([entry.name for entry in known.folder.iterdir()], variant)
    cache.check_files(known.folder, names)
    return known


def _only_in_vae(listing: Listing, variant: str | None) -> bool:
    """Return whether a repository has weights in ``vae``, and none at its root."""
    paths = [PurePosixPath(path) for path in listing.sizes]
    root, inside = (
        [path.name for path in paths if str(path.parent) == place] for place in (".", cache.VAE)
    )
    return not cache.choose_files(root, variant) and bool(cache.choose_files(inside, variant))


def _select_files(
    listing: Listing,
    subfolder: str,
    files: Sequence[str] | None,
    variant: str | None = None,
) -> list[str]:
    """Return the paths to fetch from the subfolder, after checking that the hub has them."""
    folder, paths = PurePosixPath(subfolder), [PurePosixPath(path) for path in listing.sizes]
    held = sorted(path.name for path in paths if path.parent == folder)
    for name in files or ():
        if name not in held:
            raise missing_file(Request(listing.repo, listing.commit, str(folder / name)), held)
    names = files or cache.choose_files(held, variant)
    if not names:
        homes = [str(path.parent) for path in paths if path.match("*/config.json")]
        vaes = sorted(homes, key=lambda home: "vae" not in home)[:3] or ["subfolder"]
        raise ModelNotFoundError(
            f"no unique set of weights in {listing.repo}{':' + subfolder if subfolder else ''}",
            "config.json with diffusion_pytorch_model.safetensors, or one weights file",
            "name the folder of the VAE, such as "
            + " or ".join(f"{listing.repo}:{vae}" for vae in vaes),
        )
    return [str(folder / name) for name in names]


def _complete(listing: Listing, paths: Sequence[str], progress: Progress | None) -> None:
    """Download every file that is missing or damaged in the cache."""
    root = cache.snapshot_folder(listing.repo, listing.commit)
    wanted = [path for path in paths if not _is_whole(root / path, listing.sizes[path])]
    meter = Meter(progress, total=sum(listing.sizes[path] or 0 for path in wanted))
    _check_room(meter.total)
    for path in wanted:
        cache.remove_damaged(root / path)
        download_file(listing.repo, listing.commit, path, meter)
    try:
        cache.check_files(root, wanted)
    except ModelError:
        for path in wanted:
            cache.remove_damaged(root / path)
        raise


def _is_whole(path: Path, size: int | None) -> bool:
    return cache.find_flaw(path) is None and size in (None, path.stat().st_size)


def _check_room(needed: int) -> None:
    """Refuse a download that does not fit on the disk, before its first byte."""
    root = cache.cache_root()
    folder = next(place for place in (root, *root.parents) if place.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise disk_full(f"{free / 1e6:.0f} MB free where {needed / 1e6:.0f} MB are needed")
