"""How much directions change, measured on the images one step either way.

A regression of a factor on the samples' scores says how well a score reads the factor. It does not
say how much of the factor one step adds: that is in the decoded images alone (Haufe et al. 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from latentlab.directions.amounts import STATISTICS
from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.latents import Directions, Latent, Neighborhood
from latentlab.layouts import Window
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.image_statistics import measure_images, turn_of_hue
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Sampler

# Templates are differences over so much of a factor's range: small, so that they are derivatives,
# and large beside rounding.
_SMALL = 1 / 16
_RELATIVE = 1e-3
_POOLS = (1, 2, 4, 8, 16)
_FEWEST_PIXELS = 8
_LINEAR = 0.2


@dataclass(frozen=True, eq=False)
class StepImages:
    """The image, and the images one step either way along each direction.

    Parameters
    ----------
    center : Tensor, (3, H, W)
    low, high : Tensor, (k, 3, H, W); all clamped to [−1, 1], as they are shown
    """

    center: Tensor
    low: Tensor
    high: Tensor

    @property
    def changes(self) -> Tensor:
        """Return half the differences (k, 3, H, W), the change for one step."""
        return (self.high - self.low) / 2


def decode_steps(vae: LatentVAE, latent: Latent, directions: Directions) -> StepImages:
    """Return the images of z, z − σ_k v_k and z + σ_k v_k; 2k + 1 latents are decoded."""
    lengths = directions.step_lengths.to(directions.vectors)
    steps = directions.vectors * lengths[:, None, None, None]
    latents = torch.cat([latent.values[None], latent.values - steps, latent.values + steps])
    images = torch.stack([*decode_each(vae, latents)]).clamp(-1, 1)
    low, high = images[1:].chunk(2)
    return StepImages(images[0], low, high)


def statistic_effects(images: StepImages, names: Sequence[str]) -> Tensor:
    """Return the change (k, m), float64, of image statistics for one step, in their units."""
    low, high = (measure_with_turn(some, images.center) for some in (images.low, images.high))
    columns = []
    for name in names:
        amount = STATISTICS[name]
        change = (high[name] - low[name]) / 2 * amount.scale
        whole = (high[name] + low[name]) / 2 if amount.relative else torch.ones_like(change)
        columns.append(change / whole.abs().clamp_min(torch.finfo(whole.dtype).tiny))
    return torch.stack(columns, 1)


def measure_with_turn(images: Tensor, center: Tensor) -> dict[str, Tensor]:
    """Return statistic → values (n,), the hue as its turn from that of one image (3, H, W).

    Without the hue if that image is nearly gray: it has none.
    """
    measured = {**measure_images(images), "hue": turn_of_hue(images, center)}
    if bool(measured["hue"].isnan().any()):
        del measured["hue"]
    return measured


def factor_effects(
    vae: LatentVAE,
    latent: Latent,
    images: StepImages,
    neighborhood: Neighborhood,
    names: Sequence[str],
) -> Tensor:
    """Return how much one step changes each factor (k, m), float64, in the factors' units.

    The change of the image is written as a combination of templates, the changes of the image for
    a small change of each factor, encoded and decoded by the same model: least squares over all
    pixels. An image is not linear in a shift, so a factor is read at the finest resolution at which
    a true change by the whole range reads as itself within a fifth, and then calibrated on it.

    NaN for a factor that the sampler cannot render, or whose template is empty, such as the hue of
    a gray image.
    """
    options = dict(neighborhood.sampling.options)
    options.pop("region", None)
    sampler = SAMPLERS.make(neighborhood.name, options)
    ranges = sampler.ranges()
    known = [name for name in names if name in ranges]
    found = images.low.new_full((len(images.low), len(names)), torch.nan, dtype=torch.float64)
    if known and latent.image is not None:
        window = neighborhood.layout.window
        templates = Templates.measure(vae, latent, sampler, known, window)
        effects = templates.measure_effects(images.changes)
        for name, column in zip(templates.names, effects.T, strict=True):
            found[:, names.index(name)] = sampler.amounts[name].scale * column
    return found


@dataclass(frozen=True, eq=False)
class Templates:
    """The changes of the decoded image for small changes of factors.

    Parameters
    ----------
    vae, latent, sampler : what renders, encodes and decodes
    names : factors whose change shows in the image
    rows : Tensor, (m, 3, H, W), the change of the image for one natural unit of each factor
    steps : half the change of each factor that the rows are differences over
    where : Window, the cells of the latent that are compared
    """

    vae: LatentVAE
    latent: Latent
    sampler: Sampler
    names: tuple[str, ...]
    rows: Tensor
    steps: tuple[float, ...]
    where: Window

    @classmethod
    def measure(
        cls,
        vae: LatentVAE,
        latent: Latent,
        sampler: Sampler,
        names: Iterable[str],
        where: Window,
    ) -> Templates:
        """Return the templates of these factors, without those that leave the image as it is."""
        rows, steps = {}, {}
        for name in names:
            half, amount = _half_range(sampler, name), sampler.amounts[name]
            steps[name] = min(half, max(_SMALL * half, amount.visible / amount.scale / 2))
            rows[name] = _change(vae, latent, sampler, name, steps[name]) / steps[name]
        # By what the whole range would change.
        sizes = {name: float(row.norm()) * steps[name] for name, row in rows.items()}
        shown = tuple(name for name in rows if sizes[name] > _RELATIVE * max(sizes.values()))
        stacked = torch.stack([rows[name] for name in shown])
        chosen = tuple(steps[name] for name in shown)
        return cls(vae, latent, sampler, shown, stacked, chosen, where)

    def measure_effects(self, changes: Tensor) -> Tensor:
        """Return the factors' changes (k, m), float64, that changes (k, 3, H, W) of images show."""
        finest = max(1, min(self.rows.shape[-2:]) // _FEWEST_PIXELS)
        pools = [pool for pool in _POOLS if pool <= finest]
        readers = [(self._reader(pool), self._flat(changes, pool)) for pool in pools]
        columns = []
        for column, name in enumerate(self.names):
            half = _half_range(self.sampler, name)
            whole = _change(self.vae, self.latent, self.sampler, name, half)
            seen = [
                float(self._flat(whole[None], pool)[0] @ reader[:, column])
                for pool, (reader, _) in zip(pools, readers, strict=True)
            ]
            linear = [k for k, one in enumerate(seen) if abs(one / half - 1) < _LINEAR]
            best = linear[0] if linear else max(range(len(seen)), key=lambda k: seen[k])
            reader, flat = readers[best]
            points = {0.0: 0.0, self.steps[column]: self.steps[column], seen[best]: half}
            readings = flat @ reader[:, column]
            if float(readings.abs().max()) > 2 * self.steps[column]:
                part = _change(self.vae, self.latent, self.sampler, name, half / 3)
                points[float(self._flat(part[None], pools[best])[0] @ reader[:, column])] = half / 3
            columns.append(_interpolate(readings, points))
        return torch.stack(columns, 1)

    def _reader(self, pool: int) -> Tensor:
        """Return the weights (pixels, m) that read each factor off a change: least squares."""
        rows = self._flat(self.rows, pool)
        lengths = rows.norm(dim=1).clamp_min(torch.finfo(rows.dtype).tiny)
        units = rows / lengths[:, None]
        inverse: Tensor = torch.linalg.pinv(units @ units.T, rtol=1e-6, hermitian=True)
        weights: Tensor = units.T @ inverse / lengths
        return weights

    def _flat(self, images: Tensor, pool: int) -> Tensor:
        """Return the pixels (n, pixels), float64, of the cells that are compared, after pooling."""
        spec = self.latent.spec
        part = self.where.scaled(spec.stride).crop(images) if spec.has_grid else images
        return avg_pool2d(part.double(), pool).flatten(1)


def _interpolate(readings: Tensor, points: Mapping[float, float]) -> Tensor:
    """Return the values at readings (k,), odd in them, and proportional beyond the last point."""
    import numpy as np

    seen = sorted(points)
    true = np.maximum.accumulate([points[one] for one in seen])
    size = readings.abs()
    inside = torch.from_numpy(np.interp(size.numpy(), seen, true))
    return readings.sign() * torch.where(size > seen[-1], size * true[-1] / seen[-1], inside)


def _half_range(sampler: Sampler, name: str) -> float:
    low, high = sampler.ranges()[name]
    return (high - low) / 2


def _change(vae: LatentVAE, latent: Latent, sampler: Sampler, name: str, half: float) -> Tensor:
    """Return half the difference (3, H, W) of the decoded images, a factor ``half`` either way."""
    low, high = sampler.ranges()[name]
    values = torch.tensor([-half, half]) + (low + high) / 2
    values = values.exp() if sampler.amounts[name].gain else values
    encoded = encode_batch(vae, sampler.render(latent, {name: values})).mean
    first, last = (image.clamp(-1, 1) for image in decode_each(vae, encoded))
    return (last - first) / 2
