"""Two calls of huggingface_hub's client, each ending in a result or in one clear error.

The client itself retries some failures for 23 seconds, restarts a download endlessly if a server
keeps cutting it off, and prints. Here every first response has a deadline, a file is restarted
only once, and progress and messages are latentlab's own.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from latentlab.latents import Progress
from latentlab.loaders.hub_cache import is_commit
from latentlab.loaders.hub_errors import Request, explain, truncated

_PATIENCE = 4.0
_RESTARTS = 1
# Of httpx in huggingface_hub 1, of httpx2 from 2.0 on: in both the base class of this error.
_TransportError: type[Exception] = HfHubHTTPError.__mro__[1]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Listing:
    """One commit of a repository.

    Parameters
    ----------
    repo : str, ``owner/name``
    commit : str, full SHA
    sizes : path → size in bytes, None if the hub does not say
    """

    repo: str
    commit: str
    sizes: Mapping[str, int | None]


@dataclass
class Meter:
    """The progress of several files, reported as one download.

    Parameters
    ----------
    progress : callable or None, called as ``progress(description, done, total)``
    total : int, bytes of all files
    done : int, bytes downloaded so far
    """

    progress: Progress | None
    total: int
    done: int = 0

    def add(self, description: str, count: int) -> None:
        """Add downloaded bytes, or subtract discarded ones (a negative count), and report."""
        self.done += count
        if self.progress is not None:
            self.progress(description, min(self.done, self.total), self.total)


def list_files(repo: str, revision: str | None) -> Listing:
    """Return the commit and the files of a revision, with one request that is never repeated.

    Raises
    ------
    ModelError : any failure, as the subclass that describes it.
    """
    with _explained(Request(repo, revision)):
        ask = partial(HfApi().model_info, repo, revision=revision, files_metadata=True)
        info = _within_patience(ask)
        if not is_commit(info.sha):
            raise ValueError("a response without a commit")
        sizes = {file.rfilename: file.size for file in info.siblings or ()}
        return Listing(repo, str(info.sha), sizes)


def download_file(repo: str, commit: str, path: str, meter: Meter) -> None:
    """Download one file of one commit into the cache.

    Raises
    ------
    ModelError : any failure, as the subclass that describes it.
    """
    request = Request(repo, commit, path)
    bar = type("_FileBar", (_Bar,), {"meter": meter, "request": request})
    url = hf_hub_url(repo, path, revision=commit)
    with _explained(request):
        # A failure here is final, whereas hf_hub_download would retry the same request.
        _within_patience(partial(get_hf_file_metadata, url))
        hf_hub_download(repo, path, revision=commit, tqdm_class=bar)


class _Bar:
    """A substitute for the client's tqdm bar that feeds a meter and draws nothing."""

    meter: ClassVar[Meter]
    request: ClassVar[Request]

    def __init__(self, *_: object, total: int | None = None, **__: object) -> None:
        self.total = total
        self._restarts = 0

    def update(self, count: float | None = 1) -> None:
        """Count bytes; a negative count means that the server restarted the file."""
        if count is not None and count < 0:
            self._restarts += 1
            if self._restarts > _RESTARTS:
                raise truncated(self.request)
        self.meter.add(self.request.label, int(count or 0))

    def ignore(self, *_: object) -> None:
        """Draw nothing; compressed bytes are not counted, only the file's own."""

    update_transfer = set_postfix_str = set_transfer_postfix_str = refresh = close = ignore

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@contextmanager
def _explained(request: Request) -> Iterator[None]:
    """Turn the client's exceptions into our own, and keep its messages off stderr."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    if level == logging.WARNING:  # the default; any other level was chosen deliberately
        logger.setLevel(logging.ERROR)
    try:
        yield
    except (_TransportError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise explain(error, request) from error
    finally:
        logger.setLevel(level)


def _within_patience(call: Callable[..., _Answer]) -> _Answer:
    """Return the result of ``call(timeout=seconds)``, or raise TimeoutError if it takes too long.

    The client's own time limit applies to each address and each read separately and does not cover
    name resolution, so the request runs in a thread that can be abandoned.
    """
    chosen = "HF_HUB_ETAG_TIMEOUT" in os.environ
    patience = float(constants.HF_HUB_ETAG_TIMEOUT if chosen else _PATIENCE)
    answer: Future[_Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(call(timeout=patience))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True, name="latentlab-hub").start()
    wait([answer], patience)
    if not answer.done():
        raise TimeoutError(
            f"no response within {patience:g} s; HF_HUB_ETAG_TIMEOUT=30 waits longer"
        )
    return answer.result()
