"""The pictures of one shard become latents, in batches that are always the same."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentlab.arrays import from_uint8
from latentlab.encoder import encode_batch
from latentlab.errors import FileError, MemoryLimitError, NonFiniteError
from latentlab.store.manifest import Manifest
from latentlab.store.preparing import Prepared
from latentlab.store.shards import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.loaders.base import LatentVAE


class ShardEncoder:
    """Collects the pictures of one shard; those of one shape go through the model together.

    Which pictures share a batch depends on nothing but the pictures, and so do the latents.

    Attributes
    ----------
    lines : a dict for each picture, in the order of the list, for the index
    """

    def __init__(self, vae: LatentVAE, manifest: Manifest, shard: int) -> None:
        self.lines: list[dict[str, Any]] = []
        self._vae = vae
        self._manifest = manifest
        self._shard = shard
        self._stored = getattr(torch, manifest.stored)
        self._waiting: dict[tuple[int, ...], list[tuple[Prepared, int]]] = defaultdict(list)
        self._latents: dict[Shape, list[Tensor]] = defaultdict(list)

    def add(self, picture: Prepared) -> None:
        """Take the next picture of the list, and encode when a batch is full."""
        self.lines.append({"path": picture.path})
        if picture.levels is None:
            self._skip(len(self.lines) - 1, picture.problem, retry=picture.retry)
            return
        waiting = self._waiting[picture.levels.shape]
        waiting.append((picture, len(self.lines) - 1))
        if len(waiting) == self._manifest.batch:
            self._encode(self._waiting.pop(picture.levels.shape))

    def finish(self) -> dict[Shape, Tensor]:
        """Encode what waits; return (C, h, w) → latents (n, C, h, w) in the dtype to be stored.

        Raises
        ------
        FileError : not one picture could be read, as when the disk with all of them is gone.
        """
        for batch in self._waiting.values():
            self._encode(batch)
        self._waiting.clear()
        if len(self.lines) > 1 and all(line.get("retry") for line in self.lines):
            raise FileError(
                f"{len(self.lines)} pictures in a row that {self.lines[0]['skipped']}",
                "the pictures that the store lists",
                "bring them back and run the same command again",
            )
        return {shape: torch.cat(parts) for shape, parts in sorted(self._latents.items())}

    def _encode(self, batch: list[tuple[Prepared, int]]) -> None:
        pictures = [picture for picture, _ in batch]
        levels = np.stack([picture.levels for picture in pictures if picture.levels is not None])
        images = from_uint8(torch.from_numpy(levels).to(self._vae.device))
        try:
            mean = encode_batch(self._vae, images).mean
        except NonFiniteError as error:
            named = ", ".join(picture.path for picture in pictures)
            raise NonFiniteError(
                f"{error.got} for {named}", error.expected, error.advice
            ) from error
        except MemoryLimitError as error:
            if self._manifest.size is not None:
                raise  # the next picture needs as much
            for _, number in batch:
                self._skip(number, f"too large for this machine: {error.got}", retry=True)
            return
        self._keep(mean, batch)

    def _keep(self, mean: Tensor, batch: list[tuple[Prepared, int]]) -> None:
        stored = mean.to(self._stored)
        self._check_range(mean, stored, batch)
        channels, height, width = mean.shape[1:]
        parts = self._latents[channels, height, width]
        row = sum(map(len, parts))
        parts.append(stored.contiguous())
        for offset, (picture, number) in enumerate(batch):
            self.lines[number] |= {
                "size": picture.size,
                "sha256": picture.sha256,
                "shape": [channels, height, width],
                "shard": self._shard,
                "row": row + offset,
            }

    def _check_range(self, mean: Tensor, stored: Tensor, batch: list[tuple[Prepared, int]]) -> None:
        for values, kept, (picture, _) in zip(mean, stored, batch, strict=True):
            if not torch.isfinite(kept).all():
                raise NonFiniteError(
                    f"a latent of {picture.path} that reaches {float(values.abs().max()):g}",
                    f"at most {torch.finfo(self._stored).max:g}, which {self._manifest.stored} "
                    "holds",
                    "begin another store with --store-dtype float32",
                )

    def _skip(self, number: int, reason: str, *, retry: bool) -> None:
        self.lines[number] |= {"skipped": reason, "shard": self._shard}
        if retry:
            self.lines[number]["retry"] = True
