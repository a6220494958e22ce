"""The statistics of latents, in one pass and flat memory: what a trainer's constants come from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latentlab.errors import FileError, ShapeError, UsageError
from latentlab.metrics.moments import Moments, alive_channels
from latentlab.store.block_sums import BlockSums
from latentlab.store.shards import Shape
from latentlab.store.tallies import Summary, Tallies

PERCENTILES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)
_Z = 1.959963984540054
_FAR = 8.0
"""A cell is an outlier if its norm is this many scaled MADs above the median norm."""


@dataclass(eq=False)
class Statistics:
    """What is known about the latents so far; ``add`` more, or ``merge`` those of another shard.

    Parameters
    ----------
    channels : int, C
    every : int; histograms count each latent whose number is a multiple of this
    keep : bool, whether two numbers of each latent and channel are kept, to find the farthest
    exact : torch.float16 or torch.bfloat16, where all latents have this dtype: their histograms
        are complete then, and give the third and fourth moment too
    compiled : bool, whether loops that numba compiles sum and count latents of such a dtype
    """

    channels: int
    every: int = 1
    keep: bool = False
    exact: torch.dtype | None = None
    compiled: bool = False
    latents: int = 0
    values: int = 0
    non_finite: int = 0
    broken: int = 0
    merged: Moments | None = None
    places: dict[Shape, tuple[int, Tensor]] = field(default_factory=dict)
    summaries: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.exact is not None and self.every > 1:
            raise UsageError(
                f"exact statistics of every {self.every}th latent",
                "every=1, as moments come from complete histograms",
                "leave out exact or every",
            )
        compiled = self.compiled and self.exact is not None
        self.tallies = Tallies(self.channels, self.exact or torch.float16, compiled=compiled)
        self._begun = 0
        # Σw², Σw²v and Σw²vvᵀ of v = (mean, mean square) of each latent, w its cells; the last
        # column is that of all channels together.
        self.weights = torch.zeros(2, dtype=torch.float64)
        self.firsts = torch.zeros(2, self.channels + 1, dtype=torch.float64)
        self.seconds = torch.zeros(3, self.channels + 1, dtype=torch.float64)
        self.shift: Tensor | None = None
        self._count = 0
        self._powers = torch.zeros(4, self.channels, dtype=torch.float64)
        self._products = torch.zeros(self.channels, self.channels, dtype=torch.float64)

    @property
    def cells(self) -> Moments | None:
        """Return the moments of all cells so far; None without any."""
        if self.shift is None or not self._count:
            return self.merged
        own = Moments.about(self.shift, self._count, self._powers, self._products)
        found = own if self.merged is None else own.merge(self.merged)
        if self.exact is None:
            return found
        values = self.tallies.merged().values
        third, fourth = (values.central_sum(found.mean, power) for power in (3, 4))
        return replace(found, third=third, fourth=fourth)

    def shift_for(self, latents: Tensor) -> Tensor:
        """Return the point (C,) about which powers are summed: the mean of the first latent.

        Zero where that is less than a deviation away, so that nothing has to be subtracted.
        """
        if self.shift is None:
            deviations, means = torch.std_mean(latents.double().flatten(2), 2, correction=0)
            whole = means.isfinite().all(1)
            if not whole.any():
                return torch.zeros(self.channels, dtype=torch.float64)
            first, spread = means[whole][0], deviations[whole][0]
            self.shift = torch.where(first.abs() < spread, 0.0, first)
        return self.shift

    def add(self, latents: Tensor) -> None:
        """Take latents (n, C, h, w); those with NaN or infinity are counted and left out."""
        self.take(self.job(latents)())

    def job(self, latents: Tensor) -> Callable[[], Summary]:
        """Return what makes the summary of the next latents, on any thread; ``take`` it then.

        Raises
        ------
        ShapeError : statistics of one dtype get latents of another.
        """
        if self.exact not in (None, latents.dtype):
            raise ShapeError(
                f"latents of {latents.dtype}", f"{self.exact}", "leave out exact, or convert them"
            )
        numbers = torch.arange(self._begun, self._begun + len(latents))
        self._begun += len(latents)
        counted = numbers % self.every == 0
        powers = 4 if self.exact is None else 2
        shift = self.shift_for(latents)
        return partial(Summary.of, latents, shift, counted, self.tallies, powers=powers)

    def take(self, block: Summary) -> None:
        """Take the summary of latents, in the order in which they were begun."""
        self.latents += block.latents
        self.values += block.values
        self.non_finite += block.non_finite
        self.broken += int((~block.whole).sum())
        if block.sums is not None:
            self._add_finite(block.sums)
        if self.keep and not block.whole.all():  # in the order of the latents
            known = self.summaries.pop() if block.sums else torch.zeros(0, 2, self.channels)
            placed = torch.full((block.latents, 2, self.channels), math.nan)
            placed[block.whole] = known
            self.summaries.append(placed)

    def _add_finite(self, sums: BlockSums) -> None:
        assert self.shift is not None
        count, shape = len(sums.whole), sums.shape
        self._count += count * sums.cells
        sides = sums.places.sum((1, 2)), sums.products.diagonal()
        self._powers[: len(sums.powers)] += torch.stack([*sides, *sums.powers[2:].sum(1)])
        self._products += sums.products
        known, total = self.places.get(shape, (0, torch.zeros(shape, dtype=torch.float64)))
        total.add_(sums.places).add_(count * self.shift[:, None, None])
        self.places[shape] = known + count, total
        first, second = sums.powers[:2] / sums.cells
        means, squares = first + self.shift, second + 2 * self.shift * first + self.shift**2
        both = [torch.cat([one, one.mean(1, keepdim=True)], 1) for one in (means, squares)]
        weight = float(sums.cells)
        self.weights += torch.tensor([weight, weight**2]).double() * count
        self.firsts += torch.stack([one.sum(0) for one in both]) * weight**2
        pairs = (both[0] ** 2, both[0] * both[1], both[1] ** 2)
        self.seconds += torch.stack([one.sum(0) for one in pairs]) * weight**2
        if self.keep:
            self.summaries.append(torch.stack([means, squares], 1).float())

    def merge(self, other: Statistics) -> Statistics:
        """Return this with the latents of another, which come after."""
        if other.channels != self.channels:
            raise ShapeError(
                f"statistics of {other.channels} channels", f"{self.channels}", "use one model"
            )
        if other.exact != self.exact:
            raise ShapeError(
                f"statistics of {other.exact or 'any dtype'}",
                f"{self.exact or 'any dtype'}",
                "pass the same exact to both",
            )
        for name in ("latents", "values", "non_finite", "broken", "weights", "firsts", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if (cells := other.cells) is not None:
            self.merged = cells if self.merged is None else self.merged.merge(cells)
        for shape, (count, total) in other.places.items():
            known, before = self.places.get(shape, (0, torch.zeros_like(total)))
            self.places[shape] = known + count, before + total
        self.tallies.merge(other.tallies)
        self.summaries += other.summaries
        return self

    def facts(self) -> dict[str, Any]:
        """Return all statistics, JSON-ready; numbers are those of the values as they are read.

        Raises
        ------
        FileError : no latent is finite.
        """
        cells = self.cells
        if cells is None:
            raise FileError("no finite latent", "at least one", "see the program that wrote them")
        std = cells.variance.sqrt()
        quantiles = self.tallies.merged().values.quantiles(torch.tensor(PERCENTILES).double() / 100)
        alive = alive_channels(std)
        return {
            "latents": self.latents,
            "shapes": {"x".join(map(str, shape)): n for shape, (n, _) in self.places.items()},
            "cells": cells.count,
            "non_finite_share": self.non_finite / self.values,
            "latents_non_finite": self.broken,
            "channels": {
                "mean": cells.mean.tolist(),
                "std": std.tolist(),
                "skewness": cells.skewness.tolist(),
                "excess_kurtosis": cells.kurtosis.tolist(),
                "percentiles": {
                    f"P{p:g}": column.tolist()
                    for p, column in zip(PERCENTILES, quantiles.T, strict=True)
                },
                "correlation": cells.correlation.tolist(),
                "dead": (~alive).nonzero()[:, 0].tolist(),
            },
            "percentiles_of_every": self.every,
            "outlier_cells": self._outliers(),
            "spatial": self._spatial(std),
            "constants": self._constants(cells),
        }

    def _outliers(self) -> dict[str, Any]:
        """Return how many cells have a norm far above the others'."""
        norms = self.tallies.merged().norms
        quarters = norms.quantiles(torch.tensor([0.25, 0.5, 0.75]).double())[0]
        limit = float(quarters[1] + _FAR * (quarters[2] - quarters[0]) / 1.349)
        count, of = norms.count_above(limit), int(norms.counts.sum())
        return {"norm_above": limit, "count": count, "of": of, "share": count / of}

    def _spatial(self, std: Tensor) -> dict[str, Any]:
        """Return how far corners and edges are from the mean, for the commonest shape."""
        shape, (count, total) = max(self.places.items(), key=lambda one: one[1][0])
        mean = total / count
        center = mean.flatten(1).mean(1)
        unit = std.clamp_min(1e-30)
        corners = mean[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        edges = torch.cat([mean[:, 0], mean[:, -1], mean[:, :, 0], mean[:, :, -1]], 1)
        largest = ((mean - center[:, None, None]) / unit[:, None, None]).abs().amax((1, 2))
        return {
            "shape": [*shape],
            "latents": count,
            "corners": ((corners.mean(1) - center) / unit).tolist(),
            "edges": ((edges.mean(1) - center) / unit).tolist(),
            "largest": largest.tolist(),
            "standard_error": 1 / math.sqrt(count),
        }

    def _constants(self, cells: Moments) -> dict[str, Any]:
        """Return what a trainer needs, with 95 % intervals over latents, not over cells."""
        mean = torch.cat([cells.mean, cells.mean.mean()[None]])
        between = cells.mean.var(unbiased=False)
        variance = torch.cat([cells.variance, (cells.variance.mean() + between)[None]])
        std, ends = variance.sqrt(), _Z * self._errors(mean, variance)
        spread = ends[1] / (2 * std.clamp_min(1e-30))
        low, high = (std - spread).clamp_min(0), std + spread
        c = self.channels
        scale = [float(one) for one in (1 / std[c], 1 / high[c], 1 / low[c])]
        return {
            "latents_mean": _with_ends(mean[:c], mean[:c] - ends[0, :c], mean[:c] + ends[0, :c]),
            "latents_std": _with_ends(std[:c], low[:c], high[:c]),
            "shift_factor": _with_ends(mean[c], mean[c] - ends[0, c], mean[c] + ends[0, c]),
            "scaling_factor": dict(zip(("value", "lower", "upper"), scale, strict=True)),
            "level": 0.95,
            "formula": "(z - shift_factor) * scaling_factor, or (z - latents_mean) / latents_std",
        }

    def _errors(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Return standard errors (2, C + 1) of mean and variance, by the delta method.

        Latents are independent, their cells are not. The variance is q − m², so that a latent
        moves it by q_i − 2·m·m_i.
        """
        total, squares = self.weights
        square = variance + mean**2
        (m, q), (mm, mq, qq) = self.firsts, self.seconds
        var_m = mm - 2 * mean * m + squares * mean**2
        cov = mq - mean * q - square * m + squares * mean * square
        var_q = qq - 2 * square * q + squares * square**2
        influence = var_q - 4 * mean * cov + 4 * mean**2 * var_m
        n = self.latents - self.broken
        correction = n / max(1, n - 1)
        found = torch.stack([var_m, influence]).clamp_min(0) * correction
        return found.sqrt() / total if n > 1 else torch.full_like(found, math.nan)

    def farthest(self, count: int) -> list[tuple[int, float]]:
        """Return number and distance of the latents farthest from the rest, not finite ones first.

        A latent is described by the mean and the logarithm of the mean square of each channel.
        The distance is the root mean square of their robust z-scores (median and MAD).
        """
        described = torch.cat(self.summaries).double()
        described[:, 1] = described[:, 1].clamp_min(1e-30).log()
        rows = described.flatten(1)
        whole = rows.isfinite().all(1)
        if not whole.any():
            return [(number, math.inf) for number in range(min(count, len(rows)))]
        center = rows[whole].median(0).values
        spread = 1.4826 * (rows[whole] - center).abs().median(0).values
        scores = ((rows - center) / spread.clamp_min(1e-9)).square().mean(1).sqrt()
        scores[~whole] = math.inf
        order = scores.argsort(descending=True, stable=True)[:count]
        return [(int(number), float(scores[number])) for number in order]


def _with_ends(value: Tensor, lower: Tensor, upper: Tensor) -> dict[str, Any]:
    return {"value": value.tolist(), "lower": lower.tolist(), "upper": upper.tolist()}
