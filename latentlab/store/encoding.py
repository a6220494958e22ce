"""The latents of one shard of images, computed in batches that are always the same."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlab.encoding.batches import send_to_device
from latentlab.encoding.encoder import BegunBatch, begin_batch
from latentlab.errors import FileError, MemoryLimitError, NonFiniteError
from latentlab.images.arrays import from_uint8
from latentlab.loaders.base import LatentVAE
from latentlab.store.manifest import Manifest
from latentlab.store.preparing import Prepared
from latentlab.store.shards import Shape

Batch = list[tuple[Prepared, int]]
"""Images of one shape, each with its position in the shard."""

EncodedShard = tuple[int, dict[Shape, Tensor], list[dict[str, Any]]]
"""Number of a shard, its latents by shape, and its lines, as they are written to its files."""


class ShardEncoder:
    """Collects the images of one shard; those of one shape go through the model together.

    Which images share a batch depends only on the images, and so do the latents. On a device
    that computes while this process continues, one batch is always begun ahead.
    """

    def __init__(self, vae: LatentVAE, manifest: Manifest, shard: int) -> None:
        self._vae = vae
        self._manifest = manifest
        self._shard = shard
        self._stored = getattr(torch, manifest.stored)
        self._lines: list[dict[str, Any]] = []
        self._gone = 0
        self._waiting: dict[tuple[int, ...], Batch] = defaultdict(list)
        self._begun: deque[tuple[BegunBatch, Batch]] = deque()
        self._latents: dict[Shape, list[Tensor]] = defaultdict(list)

    def add(self, image: Prepared) -> None:
        """Take the next image of the list, and begin to encode a batch once it is full."""
        number = len(self._lines)
        self._lines.append({"path": image.path})
        if image.levels is None:
            self._skip(number, image.problem, retry=image.retry)
            self._gone += image.gone
            return
        waiting = self._waiting[image.levels.shape]
        waiting.append((image, number))
        if len(waiting) == self._manifest.batch:
            self._begin(self._waiting.pop(image.levels.shape))

    def begin_rest(self) -> None:
        """Begin to encode the batches that are not full, after the last image."""
        for batch in self._waiting.values():
            self._begin(batch)
        self._waiting.clear()

    def wait(self) -> EncodedShard:
        """Return the shard once all its batches are encoded.

        Raises
        ------
        FileError : none of its images could be read, as when their disk is gone.
        NonFiniteError : a latent is NaN or exceeds the range of the stored dtype.
        """
        while self._begun:
            self._keep(*self._begun.popleft())
        if 1 < len(self._lines) == self._gone:
            raise FileError(
                f"{len(self._lines)} images in a row that {self._lines[0]['skipped']}",
                "the images that the store lists",
                "bring them back and run the same command again",
            )
        latents = {shape: torch.cat(parts) for shape, parts in sorted(self._latents.items())}
        return self._shard, latents, self._lines

    def _begin(self, batch: Batch) -> None:
        levels = np.stack([image.levels for image, _ in batch if image.levels is not None])
        images = from_uint8(send_to_device(torch.from_numpy(levels), self._vae))
        try:
            self._begun.append((begin_batch(self._vae, images), batch))
        except MemoryLimitError as error:
            self._skip_large(batch, error)
        while len(self._begun) > self._vae.runs_aside:
            self._keep(*self._begun.popleft())

    def _keep(self, begun: BegunBatch, batch: Batch) -> None:
        try:
            mean = begun.wait().mean
        except NonFiniteError as error:
            got = f"{error.got} for {', '.join(image.path for image, _ in batch)}"
            raise NonFiniteError(got, error.expected, error.advice) from error
        except MemoryLimitError as error:  # float32, used after float16 overflowed, needs more
            self._skip_large(batch, error)
            return
        stored = mean.to(self._stored)
        self._check_range(mean, stored, batch)
        channels, height, width = mean.shape[1:]
        parts = self._latents[channels, height, width]
        row = sum(map(len, parts))
        parts.append(stored.contiguous())
        for offset, (image, number) in enumerate(batch):
            self._lines[number] |= {
                "size": image.size,
                "sha256": image.sha256,
                "shape": [channels, height, width],
                "shard": self._shard,
                "row": row + offset,
            }

    def _check_range(self, mean: Tensor, stored: Tensor, batch: Batch) -> None:
        limit, name = torch.finfo(self._stored).max, self._manifest.stored
        for values, rounded, (image, _) in zip(mean, stored, batch, strict=True):
            if not bool(torch.isfinite(rounded).all()):
                raise NonFiniteError(
                    f"a latent of {image.path} that reaches {float(values.abs().max()):g}",
                    f"at most {limit:g}, the limit of {name}",
                    "begin another store with --store-dtype float32",
                )

    def _skip_large(self, batch: Batch, error: MemoryLimitError) -> None:
        if self._manifest.size is not None:
            raise error  # all images need as much
        for _, number in batch:
            self._skip(number, f"too large for this machine: {error.got}", retry=True)

    def _skip(self, number: int, reason: str, *, retry: bool) -> None:
        self._lines[number] |= {"skipped": reason, "shard": self._shard}
        if retry:
            self._lines[number]["retry"] = True
