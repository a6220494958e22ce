"""Interrupt the writer of shards at random moments, a thousand times; ends if none hangs it.

The executor that was there before hung after some three hundred.
"""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path

import torch

from latentlab.store.writing import ShardWriter

COUNT = 1000


def interrupt_writers(folder: Path, count: int) -> int:
    """Return how many writers were interrupted while they wrote."""
    latents = {(1, 1, 1): torch.zeros(1, 1, 1, 1)}
    lines = [{"path": "x", "size": 1, "sha256": "", "shape": [1, 1, 1], "shard": 0, "row": 0}]
    moments = random.Random(0)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    interrupted = 0
    for _ in range(count):
        try:
            with ShardWriter(folder) as writer:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-4, 5e-3))
                while True:
                    writer.write((0, latents, lines))
        except KeyboardInterrupt:
            interrupted += 1
    return interrupted


if __name__ == "__main__":
    sys.stdout.write(f"{interrupt_writers(Path(sys.argv[1]), COUNT)}\n")
