"""Whether a transform of the image is a transform of its latent, and the other way round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.loaders.base import LatentVAE
from latentlab.measures import MEASURES
from latentlab.measures.base import Columns, ImageTally, PerImage, Tally
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import Array, quotient
from latentlab.metrics.equivariance import (
    FLIPS,
    TURNS,
    apply_exact,
    channel_sums,
    normalized_residual,
    residual,
    resized,
    rolled,
    shifted,
)
from latentlab.metrics.moments import Moments, alive_channels

SCALES = (0.5, 0.75)


@MEASURES.register("equivariance")
@dataclass(frozen=True)
class Equivariance(PerImage):
    """Residual of flips, quarter turns, scales and shifts, of the encoder and of the decoder."""

    label = "equivariance"
    span = "0 (equivariant) to about 2 (unrelated)"
    bounds = (0.0, math.inf)
    better = "lower"
    needs = ("latents", "vae")
    cost = "about 10 encodes and 10 decodes of each image"
    at_most = 32
    formula = (
        "encoder: Σ‖τE(x) − E(τx)‖² / Σ‖E(τx)‖², each channel that is not dead with mean 0 and "
        "variance 1 over these images; decoder: Σ‖τD(z) − D(τz)‖² / Σ‖D(τz)‖², images in [−1, 1]; "
        "summed over images and transforms: `encoder_flips`, `_turns` (90°, 180°, 270°), `_scales` "
        "(½ and ¾, bilinear, latents too), `_shift` (one stride), `_half_shift` (half a stride, "
        "where a stride is more than a pixel), `_pixel_shift` (one pixel; latents are "
        "interpolated in both), and `decoder_…` of the same"
    )
    reference = "EQ-VAE (arXiv 2502.09509), AF-LDM (arXiv 2503.09419)"
    evidence = "whether the latent is an image of the image, which diffusion models profit from"
    not_evidence = (
        "quality of samples between families (|r| with gFID about .5 within one); asymmetric "
        "images alone do not make an encoder fail"
    )
    oracle = (
        "an average-pooling encoder, which is exact for flips, turns and whole strides; NumPy over "
        "normalized latents"
    )

    def begin(self, protocol: Protocol) -> Tally:
        return _NormalizedTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        return {**_of_encoder(batch), **_of_decoder(batch)}

    def statistic(self, name: str, means: Array) -> Array:
        return quotient(means)


class _NormalizedTally(ImageTally):
    """Sums over the cells of each channel, whose common mean and variance are known at the end."""

    def __init__(self, measure: PerImage) -> None:
        super().__init__(measure)
        self._moments: Moments | None = None

    def add(self, batch: Batch) -> None:
        super().add(batch)
        found = Moments.of(batch.posterior.mean.movedim(1, 0).flatten(1))
        self._moments = found if self._moments is None else self._moments.merge(found)

    def _columns(self, name: str) -> Columns:
        found = super()._columns(name)
        if not name.startswith("encoder") or self._moments is None:
            return found
        mean, variance = self._moments.mean, self._moments.variance
        alive = alive_channels(variance.sqrt())
        sums = torch.from_numpy(found.rows).view(len(found.rows), -1, 4)[:, alive]
        rows = normalized_residual(sums, mean[alive], variance[alive])
        return replace(found, rows=rows.numpy())


def _of_encoder(batch: Batch) -> dict[str, Tensor]:
    """Return value name → sums (b, C, 4) over the cells of each channel of latents."""
    vae, images, latents = batch.vae, batch.images, batch.posterior.mean

    def encoded(moved: Tensor) -> Tensor:
        return encode_batch(vae, moved.contiguous()).mean

    found = {
        f"encoder_{kind}": _summed(
            channel_sums(apply_exact(name, latents), encoded(apply_exact(name, images)))
            for name in _possible(vae, names, images)
        )
        for kind, names in (("flips", FLIPS), ("turns", TURNS))
    }
    sizes = _sizes(vae, images)
    if sizes:
        found["encoder_scales"] = _summed(
            channel_sums(resized(latents, *_cells(vae, size)), encoded(resized(images, *size)))
            for size in sizes
        )
    if vae.only_side is None:
        for kind, pixels in _shifts(vae.spec.stride).items():
            found[f"encoder_{kind}"] = _shift_of_encoder(batch, pixels)
    return found


def _shifts(stride: int) -> dict[str, int]:
    """Return name of a shift → how many pixels it moves an image; cells of one have no half."""
    half = {"half_shift": round(stride / 2)} if stride > 1 else {}
    return {"shift": stride, **half, "pixel_shift": 1}


def _shift_of_encoder(batch: Batch, pixels: int) -> Tensor:
    """Return the sums of a shift; the image moves by whole pixels, the latent by their cells."""
    stride, multiple = batch.vae.spec.stride, batch.vae.spec.multiple
    moved = batch.images.roll((pixels, pixels), (2, 3))
    found = encode_batch(batch.vae, moved.contiguous()).mean
    latents = shifted(batch.posterior.mean, pixels / stride)
    frame = (found.shape[-1] - latents.shape[-1]) // 2
    # What the roll brought in from the other side is within the frame, and one cell beyond.
    inner = max(1, multiple // stride)
    cut = found[..., frame:-frame, frame:-frame]
    return channel_sums(latents[..., inner:, inner:], cut[..., inner:, inner:])


def _of_decoder(batch: Batch) -> dict[str, Tensor]:
    vae, latents, images = batch.vae, batch.latents, batch.decoded

    def decoded(moved: Tensor) -> Tensor:
        return torch.stack([*decode_each(vae, moved.contiguous())])

    found = {
        f"decoder_{kind}": _summed(
            residual(apply_exact(name, images), decoded(apply_exact(name, latents)))
            for name in _possible(vae, names, images)
        )
        for kind, names in (("flips", FLIPS), ("turns", TURNS))
    }
    sizes = _sizes(vae, images)
    if sizes:
        found["decoder_scales"] = _summed(
            residual(resized(images, *size), decoded(resized(latents, *_cells(vae, size))))
            for size in sizes
        )
    if vae.only_side is None:
        stride = vae.spec.stride
        # What the roll brings in from the other side is within this frame.
        inner = slice(2 * stride, -2 * stride)
        for kind, pixels in _shifts(stride).items():
            moved = decoded(rolled(latents, pixels / stride))[..., inner, inner]
            expected = images.roll((pixels, pixels), (2, 3))[..., inner, inner]
            found[f"decoder_{kind}"] = residual(expected, moved)
    return found


def _possible(vae: LatentVAE, names: tuple[str, ...], images: Tensor) -> list[str]:
    """Return the transforms whose result the model takes: turned, it may be a shape of its own."""
    height, width = images.shape[-2:]
    fits = vae.only_side is None or height == width
    return [name for name in names if fits or name not in ("turn_90", "turn_270")]


def _sizes(vae: LatentVAE, images: Tensor) -> list[tuple[int, int]]:
    """Return the (height, width) of the images at each scale, on the model's grid."""
    if vae.only_side is not None:
        return []
    multiple, sides = vae.spec.multiple, images.shape[-2:]
    found = [tuple(round(side * scale / multiple) * multiple for side in sides) for scale in SCALES]
    return [(height, width) for height, width in found if min(height, width) > 0]


def _cells(vae: LatentVAE, size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // vae.spec.stride, size[1] // vae.spec.stride


def _summed(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([*parts]).sum(0)
