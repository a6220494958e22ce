"""Where samples lie along principal components, and how far they lie from their span."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from latentlab.components.pca import PCA

SCORED = 16
"""Components that a table of scores has."""


def score_chunks(
    pca: PCA, chunks: Iterable[Tensor], n_components: int = SCORED
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield scores (n, k) and residuals (n,), float64, of chunks of rows (n, n_features).

    A residual is the distance of a row from the span of the first k components through the mean:
    its squared distance from the mean is the sum of its squared scores and its squared residual.
    """
    basis, mean = pca.components[:n_components].double(), pca.mean.double()
    for chunk in chunks:
        centered = chunk.double() - mean
        scores = centered @ basis.T
        rest = centered.square().sum(1) - scores.square().sum(1)
        yield scores, rest.clamp_min(0).sqrt()


@dataclass
class Extremes:
    """The rows with the lowest and the highest scores, of any number of rows.

    Parameters
    ----------
    n_components : int, components that are watched
    count : int, rows to keep at each end
    seen : int, rows so far
    """

    n_components: int
    count: int = 6
    seen: int = 0
    lowest: dict[int, list[tuple[float, int, str]]] = field(default_factory=dict)
    highest: dict[int, list[tuple[float, int, str]]] = field(default_factory=dict)

    def add(self, scores: Tensor, start: int, names: list[str]) -> None:
        """Take the scores (n, k) of the rows ``start`` … ``start + n − 1``, and their names."""
        self.seen = start + len(scores)
        for component in range(min(self.n_components, scores.shape[1])):
            column = scores[:, component]
            keep = min(self.count, len(column))
            for ends, sign in ((self.lowest, -1), (self.highest, 1)):
                # Ties keep the first row, whatever the size of the chunks.
                rows = (sign * column).argsort(descending=True, stable=True)[:keep].tolist()
                found = [(sign * float(column[row]), start + row, names[row]) for row in rows]
                pool = ends.get(component, []) + found
                ends[component] = nlargest(self.count, pool, key=lambda one: (one[0], -one[1]))

    def names(self) -> dict[str, dict[str, list[str]]]:
        """Return component → names of its extreme rows, from the most extreme on.

        Of few rows, at most half are called lowest and half highest.
        """
        most = max(1, self.seen // 2)
        return {
            f"PC {component + 1}": {
                "lowest": [name for *_, name in self.lowest[component][:most]],
                "highest": [name for *_, name in self.highest[component][:most]],
            }
            for component in sorted(self.lowest)
        }


def spread_out(points: Tensor, count: int) -> list[int]:
    """Return the rows of at most ``count`` points (n, 2) that cover the cloud evenly.

    Each next point is the farthest from those before it (Gonzalez, 1985), after both axes are
    scaled to one range.

    Examples
    --------
    >>> spread_out(torch.tensor([[0.0, 0], [0.1, 0], [5, 0], [9, 0]]), 3)
    [0, 3, 2]
    """
    scale = (points.amax(0) - points.amin(0)).clamp_min(1e-12)
    unit = points / scale
    chosen = [0]
    distances = (unit - unit[0]).square().sum(1)
    while len(chosen) < min(count, len(points)) and float(distances.max()) > 0:
        chosen.append(int(distances.argmax()))
        distances = torch.minimum(distances, (unit - unit[chosen[-1]]).square().sum(1))
    return chosen
