"""Shards written one at a time in a thread while the model works on the next."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from latentlab.store.encoding import EncodedShard
from latentlab.store.shards import write_shard


class ShardWriter:
    """A thread that writes shards into a store; the context ends when the last is written.

    The threads share only queues, whose locks an interrupt cannot leave held. It can do so with the
    locks of ``concurrent.futures``, whose thread would then wait for ever, even after Ctrl-C.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: SimpleQueue[EncodedShard | None] = SimpleQueue()
        self._answers: SimpleQueue[Exception | None] = SimpleQueue()
        self._waiting = False
        self._thread = Thread(target=self._run, daemon=True)

    def write(self, shard: EncodedShard) -> None:
        """Begin to write a shard once the one before is written; raise the error of that one."""
        self.wait()
        self._asked.put(shard)
        self._waiting = True

    def wait(self) -> None:
        """Return when all is written; raise the error if writing failed."""
        if self._waiting:
            error = self._answers.get()
            self._waiting = False
            if error:
                raise error

    def __enter__(self) -> ShardWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        for shard in iter(self._asked.get, None):
            try:
                write_shard(self._folder, *shard)
                self._answers.put(None)
            except Exception as error:  # noqa: BLE001 - raised by the thread that waits
                self._answers.put(error)
