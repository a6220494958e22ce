"""How far cells and pixels reach, and what tiles change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.errors import UsageError
from latentlab.loaders.tiles import tiled
from latentlab.measures import MEASURES
from latentlab.measures.base import PerImage
from latentlab.measures.batch import Batch
from latentlab.metrics.bootstrap import Array, root_quotient
from latentlab.metrics.equivariance import residual
from latentlab.metrics.reach import reach_of

SHARE = 0.01
OVERLAP = 64


@MEASURES.register("reach")
@dataclass(frozen=True)
class Reach(PerImage):
    """How far from a changed cell the image changes, and from a changed patch the latent."""

    label = "reach"
    unit = "cells"
    span = "0 to half the side of the latent"
    bounds = (0.0, math.inf)
    needs = ("reconstructions", "latents", "vae")
    cost = "an encode and a decode of each image"
    at_most = 8
    formula = (
        "the center cell is moved by a standard normal vector: `decoder_reach` is the distance to "
        "the farthest cell whose pixels change by at least 1 % of the largest change (RMS); "
        "`encoder_reach` the same for the latent, when the pixels of the center cell are inverted"
    )
    reference = "taesd #8"
    evidence = "how wide tiles have to overlap: twice the reach times the stride, in pixels"
    not_evidence = "an exact receptive field: normalization and attention reach everywhere a little"
    oracle = "a model of patches, whose reach is 0; a convolution of known width"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        stride = batch.vae.spec.stride
        height, width = batch.latents.shape[2:]
        center = height // 2, width // 2
        noise = torch.randn(batch.latents.shape[1], generator=torch.Generator().manual_seed(0))
        moved = batch.latents.clone()
        moved[:, :, center[0], center[1]] += noise
        images = torch.stack([*decode_each(batch.vae, moved)])
        pixels = (images - batch.decoded).double().square().mean(1, keepdim=True)
        cells = avg_pool2d(pixels, stride)[:, 0].sqrt()
        inverted = batch.images.clone()
        rows, columns = (slice(one * stride, (one + 1) * stride) for one in center)
        inverted[..., rows, columns] *= -1
        found = encode_batch(batch.vae, inverted).mean - batch.posterior.mean
        felt = found.double().square().mean(1).sqrt()
        return {
            f"{half}_reach": torch.tensor(
                [reach_of(one, center, SHARE) for one in changes]
            ).double()
            for half, changes in (("decoder", cells), ("encoder", felt))
        }


@MEASURES.register("seams")
@dataclass(frozen=True)
class TileSeams(PerImage):
    """What encoding and decoding in two by two tiles changes."""

    label = "tiles"
    span = "0 (nothing) to about 1"
    bounds = (0.0, math.inf)
    better = "lower"
    needs = ("reconstructions", "latents", "vae")
    cost = "an encode and a decode of each image"
    at_most = 8
    formula = (
        "RMS difference between tiled and whole over the RMS of the whole: `tiled_encode`, "
        "`tiled_decode`; two by two tiles that overlap by 64 pixels, or a quarter of the side"
    )
    reference = "ComfyUI #16436"
    evidence = "whether tiles are safe at this overlap"
    not_evidence = "other sizes of tiles: normalization over a tile changes with its size"
    oracle = "a model of patches, which tiles do not change"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        vae, (height, width) = batch.vae, batch.images.shape[2:]
        multiple = vae.spec.multiple
        overlap = max(multiple, min(OVERLAP, min(height, width) // 4) // multiple * multiple)
        tile = -(-(max(height, width) + overlap) // 2 // multiple) * multiple
        if vae.tiling is not None or tile >= min(height, width):
            raise UsageError(
                f"images of {width}×{height} pixels" if vae.tiling is None else "a tiled model",
                "an untiled model, and images that two tiles a side divide",
                "leave seams out",
            )
        apart = tiled(vae, tile, overlap)
        images = torch.stack([*decode_each(apart, batch.latents)])
        latents = encode_batch(apart, batch.images).mean
        return {
            "tiled_encode": residual(latents, batch.posterior.mean),
            "tiled_decode": residual(images, batch.decoded),
        }

    def statistic(self, name: str, means: Array) -> Array:
        return root_quotient(means)
