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


def chance_threshold(
    columns: Tensor, *, generator: torch.Generator, level: float = 0.95, permutations: int = 1000
) -> float:
    """Return what the largest |Spearman| between these columns and an unrelated one stays below.

    This is the ``level`` quantile, over random orders of n samples, of the largest absolute
    correlation with any of the columns (n, m). It grows with m.

    Parameters
    ----------
    columns : Tensor, (n, m)
    generator : torch.Generator
    level : float in (0, 1)
    permutations : int
    """
    import torch

    ranks = unit_ranks(columns)
    n = len(columns)
    order = unit_ranks(torch.arange(n, dtype=torch.float64)[:, None])[:, 0]
    shuffled = torch.stack(
        [order[torch.randperm(n, generator=generator)] for _ in range(permutations)]
    )
    return float((shuffled @ ranks).abs().amax(1).quantile(level))


def unit_ranks(columns: Tensor) -> Tensor:
    """Return the columns' ranks (n, k), float64, centered and of unit length, or 0."""
    import torch
    from scipy.stats import rankdata

    ranks = torch.from_numpy(rankdata(columns.double().cpu().numpy(), axis=0))
    centered = ranks - ranks.mean(0)
    unit: Tensor = centered / centered.norm(dim=0).clamp_min(1e-12)
    return unit
