"""Rank correlations between many columns at once, and the null of the largest one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's correlations (k, m), float64, of columns (n, k) with columns (n, m).

    Ties share their mean rank. A column that is constant correlates 0 with everything.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(5.0)
    >>> spearman(x[:, None], torch.stack([x.exp(), -x, 0 * x], 1)).tolist()
    [[1.0, -1.0, 0.0]]
    """
    return unit_ranks(first).T @ unit_ranks(second)


def largest_by_chance(
    first: Tensor,
    second: Tensor,
    *,
    generator: torch.Generator,
    level: float = 0.95,
    permutations: int = 1000,
) -> float:
    """Return what the largest |Spearman| between any two columns stays below if all are unrelated.

    This is the ``level`` quantile, over random orders of the second columns' rows, of the largest
    absolute correlation of a column (n, k) with a column (n, m). It grows with k and m, so that in
    1 − ``level`` of the cases at least one of the k · m pairs is called related by mistake.

    Parameters
    ----------
    first : Tensor, (n, k)
    second : Tensor, (n, m)
    generator : torch.Generator
    level : float in (0, 1)
    permutations : int
    """
    import torch

    ours, theirs = unit_ranks(first), unit_ranks(second)
    largest = [
        (ours[torch.randperm(len(ours), generator=generator)].T @ theirs).abs().max()
        for _ in range(permutations)
    ]
    return float(torch.stack(largest).quantile(level))


def unit_ranks(columns: Tensor) -> Tensor:
    """Return the columns' ranks (n, k), float64, centered and of unit length, or 0."""
    import torch
    from scipy.stats import rankdata

    ranks = torch.from_numpy(rankdata(columns.double().cpu().numpy(), axis=0))
    centered = ranks - ranks.mean(0)
    unit: Tensor = centered / centered.norm(dim=0).clamp_min(1e-12)
    return unit
