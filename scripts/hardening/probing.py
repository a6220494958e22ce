"""One input tried under watch: what it raises, how long it takes, and what it touches."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import latentlab
from latentlab.errors import LatentlabError

_PACKAGE = f"{Path(latentlab.__file__).parent}{os.sep}"
SECONDS = 10.0
"""Most seconds of one input, on a processor: a busy machine is no hang."""
ASLEEP = 360
"""How many times as long it may take on the clock, where a busy machine lets others go first."""
GROWTH = 2**30
"""Most bytes by which one input may raise the peak of memory."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES: dict[str, Callable[..., tuple[Any, ...]]] = {
    **dict.fromkeys(("os.rename", "shutil.move"), lambda one, other, *_: (one, other)),
    **dict.fromkeys(("os.symlink", "os.link"), lambda _, link, *__: (link,)),
    **dict.fromkeys(("os.truncate", "shutil.rmtree"), lambda path, *_: (path,)),
    # Below an open folder, which was named when it was opened, names are relative to it.
    **dict.fromkeys(("os.remove", "os.rmdir"), lambda path, at: (path,) if at == -1 else ()),
    **dict.fromkeys(("os.mkdir", "os.chmod"), lambda path, _, at: (path,) if at == -1 else ()),
}
"""Event of Python's auditing → the paths that it changes, from its arguments."""
_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect"}


class FaultError(Exception):
    """What must not happen.

    Parameters
    ----------
    kind : str, such as ``"traceback"`` or ``"hang"``
    where : str, which is equal for the same fault found twice
    what : str, a sentence
    """

    def __init__(self, kind: str, where: str, what: str) -> None:
        super().__init__(f"{kind}: {where}: {what}")
        self.kind, self.where, self.what = kind, where, what

    @property
    def signature(self) -> str:
        """What is equal for the same fault found twice."""
        return f"{self.kind} in {self.where}"


class _Hang(BaseException):
    """Raised by a timer, past every ``except Exception``."""


class Watch:
    """An audit hook that notes what is written, started or connected to outside a folder.

    A hook cannot be removed, so there is one a process, which is asleep between two inputs.
    """

    _only: Watch | None = None

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []

    @classmethod
    def get(cls) -> Watch:
        """Return the one of this process."""
        if cls._only is None:
            cls._only = cls()
            sys.addaudithook(cls._only._note)
        return cls._only

    @contextmanager
    def over(self, *folders: Path) -> Iterator[list[str]]:
        """Yield the list of what is done outside the folders inside the block."""
        before = self.allowed, self.seen
        self.allowed, self.seen = None, []  # realpath itself is audited
        self.allowed = tuple(_real(folder) for folder in folders)
        try:
            yield self.seen
        finally:
            self.allowed, self.seen = before

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in _STARTS:
            self.seen.append(f"{event} {arguments[0]!r:.80}")
            return
        if event == "open":
            flags = arguments[2]
            paths = arguments[:1] if isinstance(flags, int) and flags & _WRITING else ()
        else:
            paths = _CHANGES.get(event, lambda *_: ())(*arguments)
        for path in paths:
            # A number is a file that is open already.
            is_path = isinstance(path, str | bytes | os.PathLike)
            if is_path and not self._is_inside(os.fsdecode(path)):
                self.seen.append(f"{event} {os.fsdecode(path):.80}")

    def _is_inside(self, path: str) -> bool:
        if path == os.devnull or self.allowed is None:
            return True
        allowed, self.allowed = self.allowed, None
        try:
            real = os.path.realpath(path)
        finally:
            self.allowed = allowed
        return any(real == one or real.startswith(one + os.sep) for one in allowed)


def probe(
    job: Callable[[], str | None], folder: Path, seconds: float = SECONDS, *, starts: bool = False
) -> str:
    """Return how a job ended: its own word, ``"accepted"``, or ``"refused"`` by a LatentlabError.

    Parameters
    ----------
    job : without arguments
    folder : the only one that it may write to
    seconds : most that it may take of a processor; on the clock, :data:`ASLEEP` times as many
    starts : whether it may start other programs

    Raises
    ------
    FaultError : another exception, too much time or memory, or something done elsewhere.
    """
    peak, start = _peak(), time.process_time()
    # What Python puts into a temporary folder is put inside.
    tempfile.tempdir = str(folder)
    with Watch.get().over(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = Watch.get().seen
        try:
            with _timer(seconds):
                word = job() or "accepted"
        except LatentlabError:
            word = "refused"
        except _Hang:
            raise FaultError(
                "hang", place_of(sys.exc_info()[2]), f"more than {seconds:g} s"
            ) from None
        except FaultError:
            raise
        except (Exception, RecursionError) as error:
            where = f"{type(error).__name__} at {place_of(error.__traceback__)}"
            raise FaultError("traceback", where, str(error)[:200]) from error
    if (took := time.process_time() - start) > seconds:
        raise FaultError("hang", "a reader outside Python", f"{took:.1f} s")
    if starts:
        seen = [one for one in seen if one.partition(" ")[0] not in _STARTS]
    if seen:
        raise FaultError(
            "elsewhere", re.sub(r"[0-9a-f]{8,}|\d+", "#", seen[0]), "; ".join(seen[:3])
        )
    if (grown := _peak() - peak) > GROWTH:
        raise FaultError("memory", "the peak of the process", f"{grown / 1e6:,.0f} MB more")
    return word


def _ring(*_: object) -> None:
    raise _Hang


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    # Handlers stay: setting them takes longer than many an input. Without a timer none is called.
    for name in (signal.SIGPROF, signal.SIGALRM):
        if signal.getsignal(name) is not _ring:
            signal.signal(name, _ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * ASLEEP)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def limit_memory(room: int = 4 * 2**30) -> None:
    """Keep this process from taking more than ``room`` further bytes of address space."""
    import psutil

    used = psutil.Process().memory_info().vms
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))


@lru_cache(maxsize=64)
def _real(folder: Path) -> str:
    return os.path.realpath(folder)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def place_of(trace: Any) -> str:
    """Return the innermost line of latentlab's own code, and the function that raised."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    chosen = own[-1] if own else frames[-1]
    name, last = chosen.filename.removeprefix(_PACKAGE), Path(frames[-1].filename).name
    return f"{name}:{chosen.name} (from {last}:{frames[-1].name})"
