"""Images decoded in worker processes, in order and a little ahead of the model.

Each worker is a Python process without torch that reads paths from its stdin and writes images
to its stdout. The pipes are the queue: they bound how far the workers read ahead, and when this
process ends for whatever reason, they break and the workers end too. Image k goes to worker
k mod n, so that the order needs no bookkeeping.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing, suppress
from typing import IO, Any

from latentlab.machine.cores import available_cores
from latentlab.machine.distributed import ranks_here
from latentlab.store.preparing import Prepared

Prepare = Callable[[str], Prepared]
"""Path of an image → the image; a function that can be pickled."""

_AHEAD = 4
"""Paths sent to a worker ahead of its answers: few enough to fit into a pipe without waiting."""
_PIPE_BYTES = 2**20
_FEW_CORES = 2
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from latentlab.store.workers import serve; serve()"
)


def default_workers(*, beside_model: bool = False) -> int:
    """Return the default number of worker processes: one less than the cores, at least one.

    There are none beside a model that computes on one or two cores. A worker that takes a core for
    a moment holds up the threads on both, which costs more than decoding in turn with the model
    (7 % of TAEF2's time with images of 256 px, 13 % with photos of 12 megapixels).

    Parameters
    ----------
    beside_model : bool, whether the model computes on the same cores
    """
    cores = available_cores() // ranks_here()
    return 0 if beside_model and cores <= _FEW_CORES else max(1, cores - 1)


def prepared(
    prepare: Prepare, paths: Iterable[str], *, workers: int
) -> Generator[Prepared, None, None]:
    """Yield images in the order of their paths.

    Parameters
    ----------
    prepare : a path → Prepared; can be pickled
    paths : of the images, read only as far ahead as the workers are
    workers : int, processes; 0 decodes in this process
    """
    if workers == 0:
        yield from map(prepare, paths)
        return
    with ExitStack() as stack:
        crew = [stack.enter_context(closing(_Worker(prepare))) for _ in range(workers)]
        waiting: deque[_Worker] = deque()
        for number, path in enumerate(paths):
            if len(waiting) == workers * _AHEAD:
                yield waiting.popleft().receive()
            worker = crew[number % workers]
            worker.send(path)
            waiting.append(worker)
        while waiting:
            yield waiting.popleft().receive()


class _Worker:
    """One process, and the paths that it has not answered yet."""

    def __init__(self, prepare: Prepare) -> None:
        self.prepare = prepare
        self.paths: deque[str] = deque()
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-c", _START, json.dumps([*map(str, sys.path)])]
        # In its own process group, which Ctrl-C at a terminal does not reach.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        _widen(self.process.stdout)
        self._write(self.prepare)

    def _write(self, message: Any) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the worker died, which receive finds out
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()

    def send(self, path: str) -> None:
        self.paths.append(path)
        self._write(path)

    def receive(self) -> Prepared:
        """Return the oldest image; if it killed the worker, report that and start another."""
        path = self.paths.popleft()
        assert self.process.stdout is not None
        try:
            answer: Prepared = pickle.load(self.process.stdout)
            return answer
        except (EOFError, pickle.UnpicklingError):
            code = self.process.wait()
        self.close()
        self._start()
        for remaining in self.paths:
            self._write(remaining)
        return Prepared(path, problem=f"ended the process that decoded it ({code})", retry=True)

    def close(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):  # unsent paths are no longer needed
                pipe.close()  # type: ignore[union-attr]
        self.process.wait()


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold several images if the system allows it."""
    if pipe is not None and sys.platform == "linux":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def serve() -> None:
    """Answer each path on stdin with its image on stdout until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides when to end
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the answers
    questions = sys.stdin.buffer
    with suppress(EOFError, BrokenPipeError):
        prepare = pickle.load(questions)
        while True:
            pickle.dump(prepare(pickle.load(questions)), answers, protocol=5)
            answers.flush()
    os._exit(0)  # skips the message about the broken pipe
