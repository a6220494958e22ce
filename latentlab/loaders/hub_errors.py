"""The exceptions of the hub's client as one-line errors that say what to do next."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import constants
from huggingface_hub import errors as client

from latentlab.errors import DownloadError, GatedModelError, ModelError, ModelNotFoundError
from latentlab.loaders.hub_cache import cache_root

PUBLIC_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Request:
    """A request to the hub, for messages.

    Parameters
    ----------
    repo : str, ``owner/name``
    revision : str, optional, branch, tag or commit as the user gave it
    path : str, optional, file inside the repository
    """

    repo: str
    revision: str | None = None
    path: str | None = None

    @property
    def page(self) -> str:
        """The repository's page on the hub."""
        return f"{constants.ENDPOINT}/{self.repo}"

    @property
    def label(self) -> str:
        """Repository and file name, short enough for a progress bar."""
        return f"{self.repo} {(self.path or '').rpartition('/')[2]}".strip()


def explain(error: Exception, request: Request) -> ModelError:
    """Return the error to raise instead of one of the hub client's exceptions.

    The order matters, because the client's classes inherit from one another and all of them from
    OSError: "gated" before "not found", responses before transport, transport before the disk.
    """
    if isinstance(error, client.HfHubHTTPError):
        return _explain_answer(error, request)
    if isinstance(error, client.HFValidationError):
        return ModelNotFoundError(
            f"the repository name {request.repo!r}",
            "owner/name as on the hub",
            "correct the name, or list known models with latentlab models",
        )
    # The client wraps the actual cause in "not found locally" or "forced download failed".
    if isinstance(error, client.LocalEntryNotFoundError | ValueError) and isinstance(
        error.__cause__, Exception
    ):
        return explain(error.__cause__, request)
    if isinstance(error, client.FileMetadataError | ValueError | KeyError | TypeError):
        return _bad_mirror("an invalid response")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(f"{error.strerror}")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DownloadError(
            f"no permission to write to {cache_root()}",
            "a writable cache folder",
            "set HF_HOME to a folder of your own",
        )
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return truncated(request)
    return unreachable(error, request)


def _explain_answer(error: client.HfHubHTTPError, request: Request) -> ModelError:
    if isinstance(error, client.GatedRepoError):
        return GatedModelError(
            f"the gated repository {request.repo}",
            "an account that has accepted its license",
            f"accept the license at {request.page}, then run `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, client.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"no repository {request.repo} on {constants.ENDPOINT}",
            "a public repository, or a token with access to a private one",
            "check the spelling, or run `hf auth login` if it is private",
        )
    if isinstance(error, client.RevisionNotFoundError):
        return ModelNotFoundError(
            f"no revision {(request.revision or 'main')!r} in {request.repo}",
            "a branch, tag or commit of the repository",
            f"choose one from {request.page}/commits/main, or leave the revision out",
        )
    if isinstance(error, client.RemoteEntryNotFoundError):
        return missing_file(request, ())
    if isinstance(error, client.DisabledRepoError):
        return ModelNotFoundError(
            f"the disabled repository {request.repo}", "an accessible repository", "choose another"
        )
    return _explain_status(error, request)


def _explain_status(error: client.HfHubHTTPError, request: Request) -> ModelError:
    status = error.response.status_code
    if status in (401, 403):
        return GatedModelError(
            f"access to {request.repo} refused (HTTP {status})",
            "a token with access to it, or none for a public repository",
            "renew HF_TOKEN with `hf auth login`, or unset it",
        )
    if status == 429:
        return DownloadError(
            "too many requests (HTTP 429)",
            "fewer requests from this address",
            "wait a few minutes, or run `hf auth login` for a higher limit",
        )
    if status >= 500:
        return _bad_mirror(f"HTTP {status}", advice="try again later")
    return _bad_mirror(f"HTTP {status} for {request.path or request.repo}")


def missing_file(request: Request, held: Sequence[str]) -> ModelNotFoundError:
    """Return the error for a file that the repository does not have."""
    there = f"; this one has {', '.join(held[:8])}" if held else ""
    return ModelNotFoundError(
        f"no {request.path} in {request.repo} at {request.revision or 'main'}",
        f"a repository folder that has it{there}",
        "name another folder as owner/name:subfolder, or another revision",
    )


def truncated(request: Request) -> DownloadError:
    """Return the error for a file that ends too early."""
    return DownloadError(
        f"a truncated {request.path} from {constants.ENDPOINT}",
        "the whole file",
        "run the command again; if that does not help, change the network or unset HF_ENDPOINT",
    )


def disk_full(got: str) -> DownloadError:
    """Return the error for a disk without enough space for the model."""
    return DownloadError(
        got,
        f"enough space for the model in {cache_root()}",
        "free some space (`hf cache rm`), or set HF_HOME to a folder on a larger disk",
    )


def unreachable(error: Exception, request: Request) -> DownloadError:
    """Return the error for a hub that does not respond, or stops in the middle of a file."""
    reason = str(error) or type(error).__name__
    what = f"a connection lost during {request.path} from" if request.path else "no connection to"
    return DownloadError(
        f"{what} {constants.ENDPOINT} ({reason})",
        "the hub, or the model on this disk",
        "check the network, HTTPS_PROXY and HF_ENDPOINT, or copy the model's folder to this "
        "machine and pass its path",
    )


def not_on_disk(request: Request) -> DownloadError:
    """Return the error for an offline request for a model that is not in the cache."""
    what = f"{request.repo} at {request.revision or 'main'}"
    return DownloadError(
        f"{what}, which is not complete in {cache_root()}",
        "its files on this disk, because the network is switched off",
        "run the command once without --offline and HF_HUB_OFFLINE, or pass a local folder",
    )


def _bad_mirror(answer: str, *, advice: str = "") -> DownloadError:
    cure = (
        "unset HF_ENDPOINT or set it to a working mirror"
        if constants.ENDPOINT != PUBLIC_HUB
        else "check proxy and firewall, because something else responds in place of the hub"
    )
    return DownloadError(
        f"{answer} from {constants.ENDPOINT}",
        "the response of a model hub",
        f"{advice}, or {cure}" if advice else cure,
    )
