"""Two calls of huggingface_hub's client, each ending in a result or in one plain error.

The client itself repeats some failures for 23 seconds, restarts a download that a server keeps
cutting off for ever, and prints. Here every first answer has a deadline, a file is restarted
once only, and the bars and messages are ours.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from latentlab.latents import Progress
from latentlab.loaders.hub_cache import is_commit
from latentlab.loaders.hub_errors import Request, explain, truncated

_PATIENCE = 4.0
_RESTARTS = 1
# httpx's in huggingface_hub 1, httpx2's from 2.0 on: the client's own base class is the same one.
_TransportError: type[Exception] = HfHubHTTPError.__mro__[1]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Listing:
    """One commit of a repository.

    Parameters
    ----------
    commit : str, full SHA
    sizes : mapping of path → bytes, None where the hub does not say
    """

    commit: str
    sizes: Mapping[str, int | None]


@dataclass
class Meter:
    """Bytes of several files, reported as one download.

    Parameters
    ----------
    progress : callable or None, told (description, done, total)
    total : int, bytes of all files
    done : int, bytes that are here
    """

    progress: Progress | None
    total: int
    done: int = 0

    def add(self, description: str, count: int) -> None:
        """Count bytes that came, or negative ones that were thrown away, and report."""
        self.done += count
        if self.progress is not None:
            self.progress(description, min(self.done, self.total), self.total)


def list_files(repo: str, revision: str | None) -> Listing:
    """Return the commit that a revision is and its files: one request, never repeated.

    Raises
    ------
    ModelError : whatever went wrong, by class.
    """
    with _speaking_plainly(Request(repo, revision)):
        info = _within_patience(
            lambda seconds: HfApi().model_info(
                repo, revision=revision, files_metadata=True, timeout=seconds
            )
        )
        if not is_commit(info.sha):
            raise ValueError("an answer without a commit")
        return Listing(str(info.sha), {file.rfilename: file.size for file in info.siblings or ()})


def download_file(repo: str, commit: str, path: str, meter: Meter) -> None:
    """Bring one file of one commit into the cache.

    Raises
    ------
    ModelError : whatever went wrong, by class.
    """
    request = Request(repo, commit, path)
    bar = type("_FileBar", (_Bar,), {"meter": meter, "request": request})
    url = hf_hub_url(repo, path, revision=commit)
    with _speaking_plainly(request):
        # A failure here is final; the same request inside hf_hub_download is repeated.
        _within_patience(lambda seconds: get_hf_file_metadata(url, timeout=seconds))
        hf_hub_download(repo, path, revision=commit, tqdm_class=bar)


class _Bar:
    """What the client takes for a tqdm bar: it feeds a meter and draws nothing."""

    meter: ClassVar[Meter]
    request: ClassVar[Request]

    def __init__(self, *_: object, total: int | None = None, **__: object) -> None:
        self.total = total
        self._restarts = 0

    def update(self, count: float | None = 1) -> None:
        """Count bytes; negative ones mean that the server began the file again."""
        if count is not None and count < 0:
            self._restarts += 1
            if self._restarts > _RESTARTS:
                raise truncated(self.request)
        self.meter.add(self.request.label, int(count or 0))

    def update_transfer(self, count: float) -> None:
        """Ignore compressed bytes: the file's own are counted."""

    def set_postfix_str(self, *_: object, **__: object) -> None:
        """Draw nothing."""

    set_transfer_postfix_str = set_postfix_str
    refresh = set_postfix_str
    close = set_postfix_str

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@contextmanager
def _speaking_plainly(request: Request) -> Iterator[None]:
    """Turn what the client raises into our errors, and keep its messages off stderr."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    if level == logging.WARNING:  # its default; whoever chose another one wants to read it
        logger.setLevel(logging.ERROR)
    try:
        yield
    except (_TransportError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise explain(error, request) from error
    finally:
        logger.setLevel(level)


def _within_patience(call: Callable[[float], _Answer]) -> _Answer:
    """Return the answer of a request, or raise TimeoutError when it takes too long.

    The client's own time limit counts each address and each read by itself and leaves name
    resolution out, so the request runs in a thread that can be left behind.
    """
    patience = (
        float(constants.HF_HUB_ETAG_TIMEOUT) if "HF_HUB_ETAG_TIMEOUT" in os.environ else _PATIENCE
    )
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["answer"] = call(patience)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True, name="latentlab-hub")
    thread.start()
    thread.join(patience)
    if "error" in outcome:
        raise outcome["error"]
    if "answer" not in outcome:
        raise TimeoutError(f"no answer within {patience:g} s; HF_HUB_ETAG_TIMEOUT=30 waits longer")
    return outcome["answer"]  # type: ignore[no-any-return]
