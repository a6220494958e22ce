"""What is wrong with a sampler, in plain words: :func:`check_neighborhood`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.encoding.encoder import encode
from latentlab.images.image import Image
from latentlab.latents import Latent, Neighborhood
from latentlab.layouts import Window
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Sampler
from latentlab.neighborhoods.sampling import sample_around
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.testing.reports import Report, attempt, check_words, instance_of, listed

SAMPLES = 12
"""Samples that a neighborhood is checked with."""

_SMALLEST = 4
"""Cells of the shorter side of a latent, in which a region that is not at the border fits."""

Drawn = list[tuple[Tensor, Mapping[str, Tensor]]]


def check_neighborhood(
    sampler: str | type[Sampler] | Sampler,
    *,
    vae: LatentVAE | None = None,
    latent: Latent | None = None,
    **options: Any,
) -> Report:
    """Return what is wrong with a sampler, in plain words.

    Shapes, dtypes and numbers of what it draws, its factors, seeds, regions and the way back to
    latents, its rendering, and what it says about itself. Samples that do not depend on the seed
    are a remark.

    Parameters
    ----------
    sampler : a subclass of Sampler, an instance, or a registered name
    vae : LatentVAE, optional; a :class:`LinearVAE` by default, and then it is noticed whether
        images are encoded
    latent : Latent of the VAE, optional; that of a smooth image of 32×40 pixels by default
    **options : the sampler's own

    Examples
    --------
    >>> print(check_neighborhood("gaussian", radius=0.2))
    gaussian: no problem
    """
    vae = vae or LinearVAE()
    latent = latent or encode(vae, Image(smooth_image(), name="smooth"))
    problems: list[str] = []
    make = partial(instance_of, SAMPLERS, sampler, options)
    made: Sampler | None = attempt("making it with its options", make, problems)
    if made is None:
        return Report(str(getattr(sampler, "__name__", sampler)), tuple(problems))
    check_words(made, problems)
    drawn = attempt("draw", partial(_draw, made, vae, latent, problems), problems)
    if drawn:
        problems += _check_draws(made, latent, drawn)
        problems += _check_declared(made, latent, drawn)
        if not problems:
            layout = partial(listed, _check_layout, made, latent, drawn[0][0])
            problems += attempt("layout", layout, problems) or []
    remarks: list[str] = []
    if not problems:
        problems += _check_rows(made, vae, latent, remarks)
    return Report(made.name, tuple(problems), tuple(remarks))


def _draw(sampler: Sampler, vae: LatentVAE, latent: Latent, problems: list[str]) -> Drawn:
    """Return all that a sampler draws; what it should not do meanwhile becomes a problem."""
    before, encoded = latent.values.clone(), getattr(vae, "encoded", 0)
    total = sampler.n_latents(SAMPLES)
    generator = torch.Generator().manual_seed(0)
    # One more than is asked for, so that one that never ends is found.
    drawn = [*islice(sampler.draw(vae, latent, total, generator), total + 1)]
    wrong = [one for one in drawn if not (isinstance(one, tuple) and len(one) == 2)]
    if wrong:
        problems.append(
            f"draw yields {type(wrong[0]).__name__}: expected pairs of latents (b, C, h, w) and a "
            "mapping of factor to values (b,), which may be empty."
        )
        return []
    if not torch.equal(latent.values, before):
        problems.append("draw overwrites the latent: compute on a copy.")
    if getattr(vae, "encoded", 0) > encoded and not sampler.encodes:
        problems.append(
            "draw encodes images, but it says encodes = False: set it to True, so that the "
            "precision of the encoder is looked at."
        )
    return drawn


def _check_draws(sampler: Sampler, latent: Latent, drawn: Drawn) -> Iterator[str]:
    wanted, total = tuple(latent.values.shape), sampler.n_latents(SAMPLES)
    for latents, factors in drawn:
        if latents.ndim != 4 or tuple(latents.shape[1:]) != wanted:
            shape, right = tuple(latents.shape), ", ".join(map(str, wanted))
            yield f"draw yields latents of shape {shape}: expected (b, {right})."
            return
        if latents.dtype != torch.float32:
            yield f"draw yields latents of {latents.dtype}: expected torch.float32."
            return
        if not torch.isfinite(latents).all():
            yield "draw yields NaN or infinite numbers."
            return
        for name, values in factors.items():
            if tuple(values.shape) != (len(latents),):
                yield (
                    f"draw yields the factor {name!r} of shape {tuple(values.shape)} for "
                    f"{len(latents)} latents: expected ({len(latents)},), one value for each."
                )
                return
    if len({frozenset(factors) for _, factors in drawn}) > 1:
        yield "draw yields other factors at one time than at another: expected the same each time."
    count = sum(len(latents) for latents, _ in drawn)
    if count > total:
        yield f"draw yields more than the {total} latents that were asked for: stop after them."


def _check_declared(sampler: Sampler, latent: Latent, drawn: Drawn) -> Iterator[str]:
    """Yield what a sampler says about itself, but does not keep."""
    factors = drawn[0][1]
    for name in sampler.nulls:
        if name not in NULLS:
            yield f"its nulls name {name!r}: expected some of {', '.join(NULLS)}."
    unknown = sorted(set(sampler.amounts) - set(factors))
    if unknown:
        found = f"only {', '.join(factors)}" if factors else "none"
        yield f"its amounts describe {', '.join(unknown)}, but draw yields {found}: name factors."
    if not sampler.is_rendered:
        return
    unknown = sorted(set(sampler.ranges()) - set(factors))
    if unknown or not sampler.ranges():
        found = ", ".join(unknown) if unknown else "no factor"
        yield f"is_rendered is True, but its ranges name {found}: name factors that draw yields."
    if latent.image is not None:
        yield from _check_images(sampler, latent, factors)


def _check_images(sampler: Sampler, latent: Latent, factors: Mapping[str, Tensor]) -> Iterator[str]:
    count = len(next(iter(factors.values()), torch.zeros(1)))
    height, width = latent.spec.image_size(latent.values.shape[1:])
    problems: list[str] = []
    images = attempt("render", lambda: sampler.render(latent, factors), problems)
    yield from problems
    if images is None:
        return
    wanted = (count, 3, height, width)
    if tuple(images.shape) != wanted:
        yield f"render returns images of shape {tuple(images.shape)}: expected {wanted}."
    elif not bool((images.abs() <= 1 + 1e-4).all()):
        yield "render returns images beyond [-1, 1], or NaN: clamp them."


def _check_layout(sampler: Sampler, latent: Latent, latents: Tensor) -> Iterator[str]:
    layout = sampler.layout(latent, Window(0, 0, *latent.values.shape[1:]))
    rows = layout.flatten(latents)
    if rows.ndim != 2 or rows.shape[1] != layout.n_features:
        yield (
            f"its layout flattens latents to rows of shape {tuple(rows.shape)}, but says "
            f"n_features = {layout.n_features}: correct one of them."
        )
        return
    lifted = layout.lift(rows[0])
    if lifted.shape != latent.values.shape:
        yield (
            f"its layout lifts a row to shape {tuple(lifted.shape)}: expected "
            f"{tuple(latent.values.shape)}, that of the latent."
        )


def _check_rows(
    sampler: Sampler, vae: LatentVAE, latent: Latent, remarks: list[str]
) -> Iterator[str]:
    problems: list[str] = []

    def sample(what: str, **how: Any) -> Neighborhood | None:
        run = partial(sample_around, vae, latent, sampler, n_samples=SAMPLES, **how)
        found: Neighborhood | None = attempt(what, run, problems)
        return found

    first, again, other = (sample("sampling", seed=seed) for seed in (1, 1, 2))
    yield from problems[:1]
    if first is None or again is None or other is None:
        return
    if not torch.equal(first.samples, again.samples):
        yield (
            "two neighborhoods with the same seed differ: draw random numbers only from the "
            "generator that draw is given."
        )
    elif torch.equal(first.samples, other.samples):
        remarks.append(
            "the seed changes nothing. That is right where nothing is random; else draw from the "
            "generator that draw is given."
        )
    if latent.spec.has_grid and min(latent.values.shape[1:]) >= _SMALLEST:
        part = sample("sampling in a region", seed=1, region=_region(latent))
        yield from problems
        if part is not None:
            yield from _check_region(part, latent)


def _region(latent: Latent) -> tuple[int, int, int, int]:
    """Return a region in pixels that begins within one cell and ends within another."""
    stride, window = latent.spec.stride, _cells(latent)
    down, across = (stride * side - stride // 2 for side in (window.height, window.width))
    return window.left * stride, window.top * stride, across, down


def _cells(latent: Latent) -> Window:
    """Return the cells that the region touches, none of them at the border."""
    height, width = latent.values.shape[1:]
    return Window(height // 4, width // 4, height // 2, width // 2)


def _check_region(hood: Neighborhood, latent: Latent) -> Iterator[str]:
    inside = torch.zeros(latent.values.shape[1:], dtype=torch.bool)
    _cells(latent).crop(inside)[:] = True
    lifted = hood.lift(torch.ones(hood.n_features))
    if not torch.equal(lifted.abs().sum(0) > 0, inside):
        yield (
            "a row of ones in a region is not lifted to the cells of that region and no others: "
            "pass the window to the layout."
        )
