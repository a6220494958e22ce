"""How far a change in one place is felt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def reach_of(change: Tensor, center: tuple[int, int], share: float) -> float:
    """Return how many cells from the center a change is at least a share of its largest value.

    Parameters
    ----------
    change : Tensor, (h, w), not negative
    center : (row, column) of the cell that was changed
    share : float in (0, 1]

    Returns
    -------
    float : the larger of the two distances along the axes; 0 for the cell alone

    Examples
    --------
    >>> import torch
    >>> reach_of(torch.tensor([[0.1, 1.0, 0.2]]), (0, 1), 0.15)
    1.0
    """
    import torch

    height, width = change.shape
    rows = (torch.arange(height) - center[0]).abs()[:, None].expand(height, width)
    columns = (torch.arange(width) - center[1]).abs()[None].expand(height, width)
    felt = change >= share * change.max()
    return float(torch.maximum(rows, columns)[felt].max())
