"""Whether directions are patterns of the latent grid that change neighboring cells oppositely.

A decoder may respond most to latents that no encoder produces, such as a checkerboard of cells.
Such a direction changes many pixels, but nothing that has a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from latentlab.layouts import Window

# Random directions have 75 %, with little spread; directions found in samples less than 50 %.
_ALTERNATING = 0.9
_FEWEST_CELLS = 4


def alternation(vectors: Tensor, window: Window) -> Tensor:
    """Return the share (k,), float64, of each direction's energy above half the highest frequency.

    By the cosine transform over the cells of the window, across or down. A direction that is 1 and
    −1 in turn has a share near 1, a smooth one near 0, a random one about 3/4. 0 where the window
    is smaller than 4×4 cells, too few to tell.

    Parameters
    ----------
    vectors : Tensor, (k, C, h, w)
    window : Window of the cells where the directions are not zero

    Examples
    --------
    >>> from latentlab.layouts import Window
    >>> turns = torch.tensor([1.0, -1.0]).repeat(4)
    >>> board = torch.outer(turns, turns)
    >>> vectors = torch.stack([board, board.abs()])[:, None]
    >>> alternation(vectors, Window(0, 0, 8, 8)).round(decimals=1).tolist()
    [1.0, 0.0]
    """
    from scipy.fft import dctn

    cells = window.crop(vectors).double().cpu().numpy()
    height, width = cells.shape[2:]
    if min(height, width) < _FEWEST_CELLS:
        return torch.zeros(len(cells), dtype=torch.float64)
    energy = torch.from_numpy(dctn(cells, axes=(2, 3), norm="ortho")).square()
    coarse = energy[:, :, : -(-height // 2), : -(-width // 2)].sum((1, 2, 3))
    total = energy.sum((1, 2, 3))
    return (total - coarse) / total.clamp_min(torch.finfo(total.dtype).tiny)


def note_on_grain(vectors: Tensor, window: Window, labels: Sequence[str]) -> tuple[str, ...]:
    """Return one line that names the directions (k, C, h, w) that alternate; none if none does."""
    shares = alternation(vectors, window)
    found = [index for index, share in enumerate(shares.tolist()) if share > _ALTERNATING]
    if not found:
        return ()
    names = ", ".join(labels[index] for index in found)
    verb = "changes" if len(found) == 1 else "change"
    return (
        f"{names} {verb} neighboring latent cells in opposite ways ({shares[found].min():.0%} of "
        "the energy lies above half the grid's highest frequency; random directions: 75%): a "
        "pattern of the latent grid rather than something in the image",
    )
