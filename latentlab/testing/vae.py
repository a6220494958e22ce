"""What is wrong with a VAE adapter, in plain words: :func:`check_vae`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from latentlab.encoding.precision import BATCH_TOLERANCE
from latentlab.encoding.scale import describe_scale, is_far_from_one
from latentlab.latents import Posterior
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.image_channels import NOTES
from latentlab.testing.reports import Report, attempt, listed

SIDE = 64
"""Pixels of the smaller side of the image that a VAE is checked with, at least."""

_POOR = 15.0
"""PSNR of a reconstruction, in dB, below which something is usually mixed up."""


def check_vae(vae: LatentVAE, images: Tensor | None = None) -> Report:
    """Return what is wrong with a VAE, in plain words.

    Shapes and dtypes against ``vae.spec``, finite numbers, the range of decoded images, whether
    the same input gives the same output, gradients, and whether an image depends on others in its
    batch. A standard deviation of the latents far from 1 and a poor reconstruction are remarks.

    Parameters
    ----------
    vae : LatentVAE, from :func:`latentlab.wrap_vae`, a family of your own or :func:`load_vae`
    images : Tensor, (2, 3, H, W) in [−1, 1], optional; smooth synthetic images by default. Pass
        photos for a fair judgment of scale and reconstruction.

    Examples
    --------
    >>> import latentlab
    >>> from latentlab.latents import LatentSpec
    >>> vae = latentlab.wrap_vae(
    ...     encode=lambda images: torch.nn.functional.pixel_unshuffle(images, 8),
    ...     decode=lambda latents: torch.nn.functional.pixel_shuffle(latents, 8) / 2 + 0.5,
    ...     spec=LatentSpec("folded", channels=192, stride=8),
    ... )
    >>> check_vae(vae).problems
    ('decode returns images in [0, 1]: expected [-1, 1], so return 2 * images - 1.',)
    """
    pixels = smooth_images(vae) if images is None else images
    problems: list[str] = []
    posterior = attempt("encode", lambda: vae.encode(pixels), problems)
    if posterior is None:
        return Report(vae.spec.name, tuple(problems))
    problems += _check_posterior(vae, pixels, posterior)
    decoded = None if problems else attempt("decode", lambda: vae.decode(posterior.mean), problems)
    if decoded is None:
        return Report(vae.spec.name, tuple(problems))
    problems += _check_decoded(pixels, decoded)
    for check in (_check_repeats, _check_batch, _check_gradients) if not problems else ():
        run = partial(listed, check, vae, pixels, posterior, decoded)
        problems += attempt("a second call", run, problems) or []
    return Report(vae.spec.name, tuple(problems), (*_remark(vae, pixels, posterior.mean, decoded),))


def smooth_images(vae: LatentVAE) -> Tensor:
    """Return two smooth images (2, 3, H, W) in [−1, 1], not square unless the model wants it.

    They have more channels, or two, if the model's own images do.
    """
    multiple = vae.spec.multiple
    height = vae.only_side or multiple * max(1, -(-SIDE // multiple))
    width = vae.only_side or height + multiple
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None]
    shades = (down + across) / 2, torch.sin(4 * across) * down, torch.cos(3 * down + across)
    first = torch.stack([shade.expand(height, width) for shade in shades])
    channels = 3 if vae.image_channels in NOTES else vae.image_channels
    first = first[torch.arange(channels) % 3]
    return torch.stack([first, -first.flip(0, 2)])


def _check_posterior(vae: LatentVAE, pixels: Tensor, posterior: Posterior) -> Iterator[str]:
    cells = vae.spec.latent_size(pixels.shape[2:])
    wanted = (len(pixels), vae.spec.channels, *cells)
    parts = {"mean": posterior.mean, "logvar": posterior.logvar}
    if (posterior.logvar is not None) != vae.spec.has_logvar:
        has = "a" if posterior.logvar is not None else "no"
        yield (
            f"encode returns {has} log-variance, but the spec says has_logvar="
            f"{vae.spec.has_logvar}: correct one of them."
        )
    for name, part in parts.items():
        if part is None:
            continue
        if tuple(part.shape) != wanted:
            yield f"encode returns a {name} of shape {tuple(part.shape)}: expected {wanted}."
        elif not torch.isfinite(part).all():
            yield f"encode returns NaN or infinite numbers in its {name}."


def _check_decoded(pixels: Tensor, decoded: Tensor) -> Iterator[str]:
    if decoded.shape != pixels.shape:
        shapes = f"{tuple(decoded.shape)}: expected {tuple(pixels.shape)}"
        yield f"decode returns images of shape {shapes}, those of the encoded images."
    elif not torch.isfinite(decoded).all():
        yield "decode returns NaN or infinite numbers."
    elif decoded.abs().max() > 20:
        low, high = float(decoded.min()), float(decoded.max())
        yield f"decode returns values from {low:.3g} to {high:.3g}: expected about -1 to 1."
    elif decoded.min() >= 0 and pixels.min() < -0.5:
        yield "decode returns images in [0, 1]: expected [-1, 1], so return 2 * images - 1."


def _check_repeats(
    vae: LatentVAE, pixels: Tensor, posterior: Posterior, decoded: Tensor
) -> Iterator[str]:
    # In the layout of the model, so that it gets these tensors and not copies of them.
    layout = torch.channels_last
    given = tuple(one.clone(memory_format=layout) for one in (pixels, posterior.mean))
    for name, first, again in (
        ("encode", posterior.mean, vae.encode(given[0]).mean),
        ("decode", decoded, vae.decode(given[1])),
    ):
        if _difference(again, first) > 1e-6:
            yield (
                f"{name} gives another result for the same input: return the mean instead of a "
                "sample, call eval(), and give noise a fixed seed."
            )
    for name, kept, now in zip(("encode", "decode"), (pixels, posterior.mean), given, strict=True):
        if not torch.equal(kept, now):
            yield f"{name} overwrites its input: compute on a copy."


def _check_batch(
    vae: LatentVAE, pixels: Tensor, posterior: Posterior, decoded: Tensor
) -> Iterator[str]:
    most = BATCH_TOLERANCE.get(vae.dtype, 1e-3)
    one = vae.encode(pixels[:1]).mean, vae.decode(posterior.mean[:1])
    for name, alone, together in zip(
        ("encode", "decode"), one, (posterior.mean, decoded), strict=True
    ):
        if _difference(alone, together[:1]) > most:
            yield (
                f"{name} gives an image another result beside others in its batch: a batch is not "
                "time, and norms must not average over it."
            )


def _check_gradients(
    vae: LatentVAE, pixels: Tensor, posterior: Posterior, decoded: Tensor
) -> Iterator[str]:
    for name, run, given in (
        ("encode", lambda x: vae.encode(x).mean, pixels),
        ("decode", vae.decode, posterior.mean),
    ):
        leaf = given.detach().clone().requires_grad_()
        with torch.enable_grad():
            result = run(leaf)
        if not result.requires_grad:
            yield (
                f"{name} passes no gradients: leave out torch.no_grad() and detach(). Directions "
                "of the decoder need them."
            )
            continue
        (slope,) = torch.autograd.grad(result.float().square().sum(), leaf)
        if not torch.isfinite(slope).all():
            yield f"{name} has gradients that are NaN or infinite."
        elif not slope.any():
            yield f"{name} has gradients that are all zero, whatever its input."


def _remark(vae: LatentVAE, pixels: Tensor, latents: Tensor, decoded: Tensor) -> Iterator[str]:
    deviation = float(latents.detach().std())
    if is_far_from_one(deviation):
        yield describe_scale(deviation, normalization=vae.origin.normalization)
    error = float((decoded.to(pixels) - pixels).detach().square().mean())
    psnr = -10 * torch.tensor(error / 4).clamp_min(1e-12).log10()
    if psnr < _POOR:
        yield (
            f"decode(encode(x)) differs from x by {psnr:.0f} dB PSNR: trained models reach 20 dB. "
            "Is the normalization undone, and are colors and axes in order?"
        )


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference in standard deviations of what was expected."""
    scale = float(expected.detach().float().std()) or 1.0
    return float((found - expected).detach().abs().max()) / scale
