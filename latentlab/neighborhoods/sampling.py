"""From a sampler's name to the rows of a PCA."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Latent, Neighborhood, Progress, Sampling
from latentlab.layouts import Layout, Window
from latentlab.loaders.base import LatentVAE
from latentlab.machine.memory import allocate_matrix
from latentlab.neighborhoods import DEFAULT_NEIGHBORHOOD, SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler


def neighborhood(
    vae: LatentVAE,
    latent: Latent,
    name: str = DEFAULT_NEIGHBORHOOD,
    *,
    n_samples: int | None = None,
    seed: int = 0,
    region: tuple[int, int, int, int] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Neighborhood:
    """Return samples around a latent, as rows for PCA, with the way back to latents.

    Parameters
    ----------
    vae : LatentVAE that encoded the latent
    latent : Latent
    name : str, a registered sampler: augment, posterior, gaussian, reencode, tokens, patches,
        crops, knn, frames, colors
    n_samples : int, optional; number of rows. By default 256; for tokens and patches every
        position (a smaller number draws some of them at random).
    seed : int
    region : (x, y, width, height) in pixels, optional; the part of the image to analyze,
        with every cell that it touches
    progress : called as ``progress("sampling augment", done, total)``
    **options : the sampler's own, such as ``radius=0.1`` or ``rotation=15``

    Returns
    -------
    Neighborhood : rows in model-space units

    Raises
    ------
    UsageError : unknown name or option, or an invalid value.
    ShapeError : fewer than two samples, or a region outside the image.
    MemoryLimitError : the samples fit neither into memory nor onto disk.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> z = latentlab.encode(vae, "sample:flower", size=64)
    >>> neighborhood(vae, z, "gaussian", n_samples=8, radius=0.2).samples.shape
    torch.Size([8, 1024])
    """
    return sample_around(
        vae,
        latent,
        SAMPLERS.make(name, options),
        n_samples=n_samples,
        seed=seed,
        region=region,
        progress=progress,
    )


def sample_around(
    vae: LatentVAE,
    latent: Latent,
    sampler: Sampler,
    *,
    n_samples: int | None = None,
    seed: int = 0,
    region: tuple[int, int, int, int] | None = None,
    progress: Progress | None = None,
) -> Neighborhood:
    """Return what a sampler draws around a latent; all else as for :func:`neighborhood`."""
    name = sampler.name
    if n_samples is not None and (not isinstance(n_samples, int) or n_samples < 2):
        raise ShapeError(
            f"n_samples={n_samples}",
            "at least 2, because one sample has no variance",
            "raise n_samples (--samples)",
        )
    if not (isinstance(seed, int) and 0 <= seed < 2**63):
        raise UsageError(f"seed={seed}", "a whole number from 0 to 2⁶³ − 1", "pass, say, seed=0")
    if sampler.needs_grid and not latent.spec.has_grid:
        others = ", ".join(one for one, kind in SAMPLERS.classes().items() if not kind.needs_grid)
        raise _no_grid(
            f"the neighborhood {name}", latent, f"one of {others}", "choose one of these"
        )
    window = _window_of(region, latent)
    layout = sampler.layout(latent, window)
    generator = torch.Generator().manual_seed(seed)
    total = sampler.n_latents(n_samples)
    draws = sampler.draw(vae, latent, total, generator)
    rows, factors = _collect(draws, layout, total, name, progress)
    rows = _thin(rows, n_samples, generator)
    sampling = Sampling(
        name=name,
        layout=layout,
        origin=latent,
        seed=seed,
        options={**asdict(sampler), **({"region": list(region)} if region else {})},
        label=_label(sampler, region),
        factors=factors,
        statement=sampler.statement_for(vae),
        n_samples=len(rows),
    )
    return Neighborhood(rows, sampling)


def draw_again(
    vae: LatentVAE,
    sampling: Sampling,
    latent: Latent,
    *,
    n_samples: int | None,
    seed: int,
    progress: Progress | None = None,
) -> Neighborhood:
    """Return a neighborhood of a latent with the sampler and the settings of another."""
    options = dict(sampling.options)
    region = options.pop("region", None)
    return neighborhood(
        vae,
        latent,
        sampling.name,
        n_samples=n_samples,
        seed=seed,
        region=tuple(region) if region else None,
        progress=progress,
        **options,
    )


def resample(
    vae: LatentVAE,
    hood: Neighborhood,
    n_samples: int = 64,
    progress: Progress | None = None,
) -> Neighborhood | None:
    """Return fresh samples of a neighborhood, drawn with the next seed.

    None if no factors are known, or if nothing is random and the samples would be the same.
    """
    if not hood.factors:
        return None
    seed = (hood.sampling.seed + 1) % 2**63
    fresh = draw_again(
        vae, hood.sampling, hood.origin, n_samples=n_samples, seed=seed, progress=progress
    )
    seen = hood.samples[: fresh.n_samples]
    return None if torch.equal(fresh.samples[: len(seen)], seen) else fresh


def _label(sampler: Sampler, region: tuple[int, int, int, int] | None) -> str:
    """Return the sampler's name, its options that differ from the defaults, and the region."""
    numbers = [field for field in fields(sampler) if not isinstance(field.default, str)]
    chosen = [
        f"{field.name} {getattr(sampler, field.name):g}"
        for field in numbers
        if len(numbers) == 1 or getattr(sampler, field.name) != field.default
    ]
    where = [f"region {','.join(map(str, region))}"] if region else []
    return ", ".join([sampler.name, *chosen, *where])


def _window_of(region: tuple[int, int, int, int] | None, latent: Latent) -> Window:
    """Return the cells that a region in pixels touches; all cells without a region."""
    stride = latent.spec.stride
    height, width = latent.values.shape[-2:]
    if region is None:
        return Window(0, 0, height, width)
    if not latent.spec.has_grid:
        raise _no_grid("a region", latent, "the whole latent", "leave the region out")
    if len(region) != 4 or not all(isinstance(number, int) for number in region):
        raise ShapeError(f"region {region}", "four whole numbers", "pass (x, y, width, height)")
    x, y, region_width, region_height = region
    if (
        min(x, y) < 0
        or min(region_width, region_height) < 1
        or (x + region_width > width * stride or y + region_height > height * stride)
    ):
        raise ShapeError(
            f"region {x},{y},{region_width},{region_height}",
            f"x,y,width,height inside the {width * stride}×{height * stride} image",
            "choose a part of the image as it is encoded, after cropping and resizing",
        )
    top, left = y // stride, x // stride
    bottom = math.ceil((y + region_height) / stride)
    right = math.ceil((x + region_width) / stride)
    return Window(top, left, bottom - top, right - left)


def _no_grid(what: str, latent: Latent, expected: str, advice: str) -> UsageError:
    spec = latent.spec
    kind = f"{spec.tokens:,} tokens" if spec.tokens > 1 else "plain vectors"
    got = f"{what} for {spec.name}, whose latents are {kind} without a grid"
    return UsageError(got, expected, advice)


def _collect(
    draws: Draws, layout: Layout, total: int, name: str, progress: Progress | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return all rows (N, D), in memory allocated once, and the factors of the latents."""
    rows_each = math.prod(layout.grid or ())
    matrix = allocate_matrix(total * rows_each, layout.n_features)
    done, factors = 0, defaultdict(list)
    for latents, some in draws:
        rows = layout.flatten(latents)
        matrix[done : done + len(rows)] = rows
        done += len(rows)
        for factor, values in some.items():
            factors[factor].append(values)
        if progress:
            progress(f"sampling {name}", done // rows_each, total)
    if done < 2:
        raise UsageError(
            f"{done} sample from {name}",
            "at least 2, since one has no variance",
            "pass a larger image or region, a longer clip or a folder of more images",
        )
    return matrix[:done], {factor: torch.cat(values) for factor, values in factors.items()}


def _thin(rows: Tensor, samples: int | None, generator: torch.Generator) -> Tensor:
    """Return at most this many rows, drawn without replacement, in their original order."""
    if samples is None or len(rows) <= samples:
        return rows
    chosen = torch.randperm(len(rows), generator=generator)[:samples]
    return rows[chosen.sort().values]
