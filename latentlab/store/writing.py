"""Shards written one at a time in a thread, while the model goes on with the next."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from latentlab.store.encoding import EncodedShard
from latentlab.store.shards import write_shard


class ShardWriter:
    """A thread that writes shards into a store; a context that ends when the last is written.

    All that the threads share are queues whose locks an interrupt cannot leave behind, as it can
    those of ``concurrent.futures``: its thread would then wait for ever, and Ctrl-C with it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: SimpleQueue[EncodedShard | None] = SimpleQueue()
        self._answers: SimpleQueue[Exception | None] = SimpleQueue()
        self._waiting = False
        self._thread = Thread(target=self._run, daemon=True)

    def write(self, shard: EncodedShard) -> None:
        """Begin to write a shard when the one before is written; raise what that one raised."""
        self.wait()
        self._asked.put(shard)
        self._waiting = True

    def wait(self) -> None:
        """Return when all is written, or raise what went wrong."""
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
                write_shard(self._folder, shard.number, shard.latents, shard.lines)
                self._answers.put(None)
            except Exception as error:  # noqa: BLE001 - raised by whoever waits
                self._answers.put(error)
