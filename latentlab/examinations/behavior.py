"""Faults of a model's behavior: float16, results that change, batches, and the wrong family."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from latentlab.encoding.precision import BATCH_TOLERANCE
from latentlab.examinations.findings import Finding, beyond, unexamined
from latentlab.latents import LatentSpec
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.catalogue import CATALOGUE

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

LARGEST_FLOAT16 = 65504.0
_MIDDLE = 128
_REPEATED = {torch.float16: 1e-2, torch.bfloat16: 1e-2}
_REPEATED_FLOAT32 = 1e-4


def examine_float16(vae: LatentVAE, image: Tensor) -> Finding:
    """Return whether the model overflows in float16.

    The value is the largest number that a layer puts out in the model's own precision, for one
    image (3, H, W). The image is also encoded and decoded in float16, if the model can be cast; on
    a CPU, which is slow at that, only its middle of about 128 pixels.
    """
    largest = largest_activation(vae, image)
    half = vae if vae.dtype == torch.float16 else vae.cast(torch.float16)
    if half.dtype == torch.float16:
        shown = image if vae.only_side or vae.device.type != "cpu" else _middle(vae, image)
        result = half.decode(half.encode(shown[None]).mean)
        overflows = not bool(torch.isfinite(result).all())
    elif largest is None:
        return unexamined("float16", "this model has no layers to look into and cannot be cast")
    else:
        overflows = False
    found = overflows or (largest is not None and largest > LARGEST_FLOAT16)
    return Finding(
        "float16",
        found,
        largest,
        LARGEST_FLOAT16,
        "largest activation",
        "NaN or infinity in float16" if overflows else "" if largest is None else
        f"the largest number inside the model is {largest:.3g}",
        "float16 holds numbers up to 65,504",
        "use float32 or bfloat16 for this model: --dtype bfloat16",
    )  # fmt: skip


def _middle(vae: LatentVAE, image: Tensor) -> Tensor:
    """Return the middle of an image, of about 128 pixels, on the model's grid."""
    multiple = vae.spec.multiple
    most = max(_MIDDLE // multiple, 1) * multiple
    tall, wide = (min(side, most) for side in image.shape[-2:])
    y, x = (image.shape[-2] - tall) // 2, (image.shape[-1] - wide) // 2
    return image[:, y : y + tall, x : x + wide]


def largest_activation(vae: LatentVAE, image: Tensor) -> float | None:
    """Return the largest size of a number that a layer puts out; None for a VAE without layers."""
    largest: float | None = None

    def measure(_: nn.Module, __: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor) and output.is_floating_point() and output.numel():
            largest = max(largest or 0.0, float(output.abs().max()))

    with _watched(vae, measure):
        vae.decode(vae.encode(image[None]).mean)
    return largest


@contextmanager
def _watched(vae: LatentVAE, measure: object) -> Iterator[None]:
    parts = [part for part in vars(vae).values() if isinstance(part, nn.Module)]
    handles: list[RemovableHandle] = [
        layer.register_forward_hook(measure)  # type: ignore[arg-type]
        for part in parts
        for layer in part.modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def examine_repeats(vae: LatentVAE, image: Tensor, latent: Tensor, decoded: Tensor) -> Finding:
    """Return whether the same input gives the same output.

    The value is the largest difference between two calls, in standard deviations of the output.

    Parameters
    ----------
    vae : LatentVAE
    image, latent, decoded : (3, H, W), (C, h, w) and (3, H, W), what the first call got and gave;
        decoded images are clamped to [−1, 1], as they are when saved
    """
    again = vae.encode(image[None].clone()).mean[0], vae.decode(latent[None].clone())[0]
    parts = {"encodes": largest_difference(again[0], latent)}
    parts["decodes"] = largest_difference(again[1].clamp(-1, 1), decoded)
    worst = max(parts, key=parts.__getitem__)
    return beyond(
        "repeats",
        parts[worst],
        _REPEATED.get(vae.dtype, _REPEATED_FLOAT32),
        "σ between two calls",
        says=f"the same input {worst} to results that differ by {parts[worst]:.2g} σ",
        reason="rounding in another order leaves less",
        advice="return the mean of the posterior instead of a sample, call eval() so that dropout "
        "is off, and give noise in the decoder a fixed seed",
    )


def examine_batch(
    vae: LatentVAE, image: Tensor, other: Tensor, latent: Tensor, decoded: Tensor
) -> Finding:
    """Return whether an image gets another result beside another one in its batch.

    Parameters
    ----------
    vae : LatentVAE
    image, latent, decoded : as in :func:`examine_repeats`, from a batch of one
    other : Tensor, (3, H, W), the companion
    """
    both = vae.encode(torch.stack([image, other])).mean
    companion = both[1] if bool(torch.isfinite(both[1]).all()) else latent.flip(-1)
    together = vae.decode(torch.stack([latent, companion.to(latent)]))[0]
    parts = {"encoded": largest_difference(both[0], latent)}
    parts["decoded"] = largest_difference(together.clamp(-1, 1), decoded)
    worst = max(parts, key=parts.__getitem__)
    return beyond(
        "batch",
        parts[worst],
        BATCH_TOLERANCE.get(vae.dtype, 1e-3),
        "σ between batches",
        says=f"an image {worst} beside another one differs by {parts[worst]:.2g} σ",
        reason="rounding leaves less in this precision",
        advice="call eval(), replace batch norms, and check that the batch is not taken for time",
    )


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, in standard deviations of what was expected; NaN aside."""
    scale = float(expected.double().std())
    difference = float((found.double().cpu() - expected.double().cpu()).abs().max())
    return difference / scale if scale > 0 else (0.0 if difference == 0 else math.inf)


def examine_family(spec: LatentSpec, names: Sequence[str]) -> Finding:
    """Return whether the latents have the channels and the stride of the family they are named for.

    Parameters
    ----------
    spec : LatentSpec
    names : str, what the model is called: its name and its source; the first that names a family
        counts
    """
    known = [entry for name in names for key, entry in CATALOGUE.items() if _says(name, key)]
    alike = [
        key
        for key, entry in CATALOGUE.items()
        if (entry.channels, entry.stride) == (spec.channels, spec.stride)
    ]
    entry = known[0] if known else None
    found = entry is not None and entry.name not in alike
    shape = f"{spec.channels} channels, stride {spec.stride}"
    family = f"; {entry.name} has {entry.channels}, stride {entry.stride}" if entry else ""
    return Finding(
        "channels",
        found,
        spec.channels,
        entry.channels if entry else None,
        "channels",
        f"{shape}{family}, as {', '.join(alike)}" if alike else f"{shape}{family}",
        "the latents of a family have one shape; a name that is no family's is not judged",
        f"these weights are {' or '.join(alike) or 'of no known family'}: load them under that "
        "name, and use a diffusion model of that family",
    )


def _says(name: str, key: str) -> bool:
    """Return whether the last part of a path or hub id holds the name of a family as a word."""
    last = re.split(r"[/\\]", name.rstrip("/\\").lower())[-1]
    return re.search(rf"(?<![a-z0-9]){re.escape(key)}(?![a-z0-9])", last) is not None
