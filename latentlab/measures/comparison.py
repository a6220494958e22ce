"""Several models on the same images: values, paired differences, and which are real."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.errors import UsageError
from latentlab.figures.tables import frame_of
from latentlab.measures.base import Measure
from latentlab.measures.curves import PANELS, Panel, panels_of
from latentlab.measures.running import Measured
from latentlab.metrics.bootstrap import (
    FEWEST,
    Array,
    Studentized,
    joint_members,
    joint_quantile,
    studentize_difference,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISPUTED_BY = ("psnr", "mse", "ssim")
"""Values by whose differences images are disputed: the first that was measured."""


@dataclass(frozen=True, eq=False)
class Difference:
    """What one model has more than another, over the same images.

    Parameters
    ----------
    first, other : int, numbers of the models; the value is first − other
    value : float
    low, high : ends of an interval that holds together with those of all other differences in
        95 % of cases; None where a value is not from single images, or is the same in nearly all
    n : int, images that both have
    better : number of the better model; None if neither is, or it cannot be told
    """

    first: int
    other: int
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    better: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What metrics found for several models on the same images.

    Parameters
    ----------
    models : what they are called
    measured : Measured, one a model, under one protocol

    Raises
    ------
    UsageError : fewer than two models, or other protocols.
    """

    models: tuple[str, ...]
    measured: tuple[Measured, ...]

    def __post_init__(self) -> None:
        protocols = {one.protocol for one in self.measured}
        if len(self.models) != len(self.measured) or len(self.models) < 2 or len(protocols) > 1:
            raise UsageError(
                f"{len(self.measured)} models under {len(protocols)} protocols",
                "at least two models under one",
                "measure them again with one protocol",
            )

    @property
    def names(self) -> list[str]:
        """Return the names of all values, in the order of the metrics."""
        return [*dict.fromkeys(name for one in self.measured for name in one.values)]

    @cached_property
    def differences(self) -> dict[str, list[Difference]]:
        """Return value name → difference of every pair of models that have it."""
        found = {(name, pair): self._studentized(name, pair) for name, pair in self._pairs()}
        paired = {key: one for key, one in found.items() if one is not None}
        members = set(joint_members([*paired.values()]))
        joint = joint_quantile([*members])
        table: dict[str, list[Difference]] = {name: [] for name in self.names}
        for name, pair in self._pairs():
            one = paired.get((name, pair))
            # The others have no interval, and the joint one does not hold for them.
            reach = joint if one in members else math.inf
            table[name].append(self._difference(name, pair, one, reach))
        return table

    def _pairs(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for name in self.names:
            having = [k for k, one in enumerate(self.measured) if name in one.values]
            yield from ((name, pair) for pair in combinations(having, 2))

    def _studentized(self, name: str, pair: tuple[int, int]) -> Studentized | None:
        first, other = (self.measured[k] for k in pair)
        if name not in first.columns or name not in other.columns:
            return None
        rows = self._common(name, pair)
        if len(rows[0]) < FEWEST:
            return None
        return studentize_difference(*rows, first.columns[name].statistic)

    def _common(self, name: str, pair: tuple[int, int]) -> tuple[Array, Array]:
        """Return the columns of the images that both models have."""
        first, other = (self.measured[k] for k in pair)
        places = {path: row for row, path in enumerate(other.paths)}
        a, b = first.columns[name].rows, other.columns[name].rows
        shared = [
            (row, places[path])
            for row, path in enumerate(first.paths)
            if path in places and row < len(a) and places[path] < len(b)
        ]
        rows = a[[row for row, _ in shared]], b[[row for _, row in shared]]
        kept = np.isfinite(rows[0]).all(1) & np.isfinite(rows[1]).all(1)
        return rows[0][kept], rows[1][kept]

    def _difference(
        self, name: str, pair: tuple[int, int], found: Studentized | None, reach: float
    ) -> Difference:
        first, other = pair
        if found is None:
            values = [self.measured[k].values[name].value for k in pair]
            return Difference(first, other, values[0] - values[1])
        low, high = found.interval(reach)
        better = None
        wanted = self.better_of(name)
        if low is not None and high is not None and wanted and (low > 0 or high < 0):
            better = first if (low > 0) == (wanted == "higher") else other
        return Difference(first, other, found.value, low, high, found.n, better)

    def better_of(self, name: str) -> str:
        """Return which values of this name are better: higher, lower, or empty for neither."""
        return self._measure(name).better_of(name)

    def unit_of(self, name: str) -> str:
        """Return the unit of a value."""
        return self._measure(name).unit_of(name)

    def _measure(self, name: str) -> Measure:
        return next(one.measures[name] for one in self.measured if name in one.measures)

    def best(self, name: str) -> int | None:
        """Return the model that is better than every other one; None if there is none."""
        having = {k for one in self.differences[name] for k in (one.first, one.other)}
        for k in having:
            mine = [one for one in self.differences[name] if k in (one.first, one.other)]
            if mine and all(one.better == k for one in mine):
                return k
        return None

    @property
    def disputed_by(self) -> str:
        """Return the value by whose differences images are disputed; empty if there is none."""
        everywhere = (one for one in DISPUTED_BY if all(one in m.columns for m in self.measured))
        return next(everywhere, "")

    def disputed(self) -> list[tuple[str, float]]:
        """Return path and range of the values over the models, the most disputed image first."""
        name = self.disputed_by
        if not name:
            return []
        values = [
            dict(zip(one.paths, one.columns[name].each(), strict=False)) for one in self.measured
        ]
        shared = [path for path in values[0] if all(path in one for one in values)]
        ranges = [(path, float(np.ptp([one[path] for one in values]))) for path in shared]
        known = [pair for pair in ranges if np.isfinite(pair[1])]
        return sorted(known, key=lambda pair: -pair[1])

    def facts(self) -> dict[str, Any]:
        """Return the contents of ``comparison.json``."""
        first = self.measured[0]
        return {
            "models": list(self.models),
            "n_images": max(len(one.paths) for one in self.measured),
            "protocol": first.protocol.facts(),
            "table": [self._row(name) for name in self.names],
            "comparisons": sum(map(len, self.differences.values())),
            "disputed": [
                {"path": path, "range": value} for path, value in self.disputed()[:MOST_DISPUTED]
            ],
            "skipped": [
                {
                    "model": model,
                    "images": dict(one.skipped_images),
                    "metrics": dict(one.skipped_metrics),
                }
                for model, one in zip(self.models, self.measured, strict=True)
            ],
        }

    @property
    def panels(self) -> dict[str, Panel]:
        """Return title of a panel → model → x and y, for the curves that were measured."""
        pairs = zip(self.models, self.measured, strict=True)
        return panels_of({name: one.curves for name, one in pairs})

    def plot(self) -> Figure:
        """Return a figure of the models' curves over each other.

        Raises
        ------
        UsageError : no metric with a curve was measured.
        """
        from latentlab.figures.comparison import draw_panels

        if not (panels := self.panels):
            raise UsageError(
                "values without curves", "spectrum, latents, noise or loops", "measure one of these"
            )
        labels = {title: (x, y) for title, x, y in PANELS.values()}
        logarithmic = [PANELS["latent_profile"][0]]
        return draw_panels(panels, axes=labels, logarithmic=logarithmic)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each metric and model.

        ``metric``, ``unit``, ``model``, ``value``, ``low`` and ``high`` of the 95 % interval, ``n``
        and ``note``, as in ``comparison.csv``.
        """
        from latentlab.measures.tables import rows_of

        return frame_of(rows_of(self.facts()))

    def __repr__(self) -> str:
        return f"Comparison of {', '.join(self.models)} in {len(self.names)} values"

    def _repr_html_(self) -> str:
        from latentlab.measures.tables import html

        return html(self.facts())

    def _row(self, name: str) -> dict[str, Any]:
        best = self.best(name)
        return {
            "metric": name,
            "unit": self.unit_of(name),
            "better": self.better_of(name),
            "best": None if best is None else self.models[best],
            "values": {
                model: one.values[name].facts()
                for model, one in zip(self.models, self.measured, strict=True)
                if name in one.values
            },
            "differences": [
                {
                    "first": self.models[one.first],
                    "other": self.models[one.other],
                    **{key: getattr(one, key) for key in ("value", "low", "high", "n")},
                    "better": None if one.better is None else self.models[one.better],
                }
                for one in self.differences[name]
            ],
        }


MOST_DISPUTED = 12
"""How many of the most disputed images are named."""


def names_of(models: Sequence[str]) -> tuple[str, ...]:
    """Return distinct names: those that occur twice get a number.

    Examples
    --------
    >>> names_of(["mini", "linear", "mini"])
    ('mini', 'linear', 'mini (2)')
    """
    found: list[str] = []
    for name in models:
        count = sum(1 for earlier in models[: len(found)] if earlier == name)
        found.append(f"{name} ({count + 1})" if count else name)
    return tuple(found)
