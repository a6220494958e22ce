"""Long work in a thread: its results in stages, its progress, and its end on request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from latentlab.errors import LatentlabError
from latentlab.latents import Progress

Result = TypeVar("Result")
Begin = Callable[[Progress], Iterator[Result]]
"""What does the work: called with a progress that raises :class:`Canceled`, it yields stages."""

_OFTEN = 0.1


class Canceled(Exception):  # noqa: N818 (nothing went wrong)
    """Raised inside long work that nobody waits for any more."""


class Job(Generic[Result]):
    """Work that several pages may wait for; it ends when none of them does.

    Listeners are called in the event loop with ``("stage", result)``, ``("progress", (what, done,
    total))``, ``("failed", error)`` and ``("done", None)``. A listener that comes late is told the
    last stage at once, or with ``keep`` all of them.
    """

    def __init__(self, begin: Begin[Result], executor: Executor, *, keep: bool = False) -> None:
        self._begin: Begin[Result] | None = begin
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[str, Any], None]] = []
        self._stop = threading.Event()
        self._told = 0.0
        self.stages: list[Result] = []
        self.ended: tuple[str, Any] | None = None
        self._future = executor.submit(self._work)

    @property
    def is_usable(self) -> bool:
        """Return whether it has not failed and was not canceled."""
        return not self._stop.is_set() and (self.ended is None or self.ended[0] == "done")

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        """Tell a listener what happens from now on, and what has happened."""
        for stage in self.stages:
            listener("stage", stage)
        if self.ended:
            listener(*self.ended)
        else:
            self._listeners.append(listener)

    def leave(self, listener: Callable[[str, Any], None]) -> None:
        """Tell a listener nothing more, and stop the work if it was the last."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            if not self._listeners:
                self.stop()

    def forget(self, listener: Callable[[str, Any], None]) -> None:
        """Tell a listener nothing more; the work goes on."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def stop(self) -> None:
        """Let the work end at its next report of progress; forget at once what has not begun."""
        self._stop.set()
        if self._future.cancel():
            self._begin = None
            self._tell("canceled", None)

    def _work(self) -> None:
        begin, self._begin = self._begin, None  # it may hold an image, and the job is kept
        try:
            self._progress("", 0, 0)
            assert begin is not None
            for stage in begin(self._progress):
                self._tell("stage", stage)
                self._check()
            self._tell("done", None)
        except Canceled:
            self._tell("canceled", None)
        except Exception as error:  # noqa: BLE001 (told to the page, which shows it)
            error.__traceback__ = error.__cause__ = error.__context__ = None  # they hold images
            self._tell("failed", error)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Canceled

    def _progress(self, what: str, done: int, total: int) -> None:
        self._check()
        now = time.monotonic()
        if what and (now - self._told > _OFTEN or done == 0):
            self._told = now
            self._tell("progress", (what, done, total))

    def _tell(self, kind: str, value: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._hear, kind, value)
        except RuntimeError:  # the loop has ended, and with it everybody who listened
            self._stop.set()

    def _hear(self, kind: str, value: Any) -> None:
        if kind == "stage":
            self.stages = [*self.stages, value] if self._keep else [value]
        elif kind != "progress":
            self.ended = (kind, value)
            if kind != "done":
                self.stages = []  # nobody comes back to these
        for listener in tuple(self._listeners):
            listener(kind, value)
        if self.ended:
            self._listeners.clear()


def explain_failure(error: BaseException) -> str:
    """Return what a page says of an error: the message of latentlab's, the kind of any other."""
    if isinstance(error, LatentlabError):
        return str(error)
    return f"Something went wrong: {type(error).__name__}: {error}"
