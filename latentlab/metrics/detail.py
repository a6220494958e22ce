"""How much of an image's edges a reconstruction keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor


def gradient_products(images: Tensor, others: Tensor) -> Tensor:
    """Return Σ∇x·∇y, Σ|∇x|² and Σ|∇y|² (n, 3), float64, of images x and others y (n, 1, H, W).

    Gradients are Sobel's, where his window lies inside the image. The first over the second is the
    share of the edges that is kept, the third over the second the share of gradient energy.

    Raises
    ------
    ShapeError : images of less than 3×3 pixels.

    Examples
    --------
    >>> import torch
    >>> ramp = torch.arange(5.0).expand(1, 1, 5, 5)
    >>> cross, whole, other = gradient_products(ramp, ramp / 2)[0].tolist()
    >>> cross / whole, other / whole
    (0.5, 0.25)
    """
    import torch

    if min(images.shape[-2:]) < 3:
        raise ShapeError(
            f"images of shape {tuple(images.shape)}", "at least 3×3 pixels", "choose a larger size"
        )
    x, y = (torch.stack(_sobel(one.double()[:, 0]), 1).flatten(1) for one in (images, others))
    return torch.stack([(x * y).sum(1), (x * x).sum(1), (y * y).sum(1)], 1)


def _sobel(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Return Sobel's derivatives along x and y (n, H − 2, W − 2) of luma (n, H, W)."""
    rows = luma[:, :-2] + 2 * luma[:, 1:-1] + luma[:, 2:]
    columns = luma[..., :-2] + 2 * luma[..., 1:-1] + luma[..., 2:]
    return rows[..., 2:] - rows[..., :-2], columns[:, 2:] - columns[:, :-2]
