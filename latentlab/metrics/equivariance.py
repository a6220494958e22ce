"""Turns, flips, scales and shifts, of images and of latents alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

FLIPS = ("flip_x", "flip_y")
TURNS = ("turn_90", "turn_180", "turn_270")
EXACT = (*FLIPS, *TURNS)
"""Transforms that move cells and change none."""


def apply_exact(name: str, values: Tensor) -> Tensor:
    """Return values (…, H, W) flipped or turned; turns are counterclockwise.

    Examples
    --------
    >>> import torch
    >>> apply_exact("turn_90", torch.tensor([[1, 2], [3, 4]])).tolist()
    [[2, 4], [1, 3]]
    """
    actions: dict[str, Callable[[Tensor], Tensor]] = {
        "flip_x": lambda x: x.flip(-1),
        "flip_y": lambda x: x.flip(-2),
        "turn_90": lambda x: x.rot90(1, (-2, -1)),
        "turn_180": lambda x: x.rot90(2, (-2, -1)),
        "turn_270": lambda x: x.rot90(3, (-2, -1)),
    }
    return actions[name](values)


def resized(values: Tensor, height: int, width: int) -> Tensor:
    """Return values (n, c, H, W) at another size, bilinear and antialiased."""
    from torch.nn.functional import interpolate

    return interpolate(values, (height, width), mode="bilinear", antialias=True)


def shifted(values: Tensor, cells: float) -> Tensor:
    """Return values (n, c, H, W) moved right and down by cells, bilinear, without the frame.

    The frame of one cell more than the shift, which would come from outside, is cut off on all
    sides, so that any two shifts of as many whole cells have one shape.

    Raises
    ------
    ShapeError : nothing would be left.

    Examples
    --------
    >>> import torch
    >>> shifted(torch.arange(25.0).view(1, 1, 5, 5), 1.0).flatten().tolist()
    [6.0]
    """
    import math

    whole = math.floor(cells)
    part, frame = cells - whole, math.ceil(cells) + 1
    height, width = values.shape[-2:]
    if min(height, width) <= 2 * frame:
        raise ShapeError(
            f"{height}×{width} cells", f"more than {2 * frame}", "choose a larger size"
        )

    def at(down: int, right: int) -> Tensor:
        return values[
            ..., frame - down : height - frame - down, frame - right : width - frame - right
        ]

    found = (1 - part) ** 2 * at(whole, whole)
    if part:
        found = found + part * (1 - part) * (at(whole + 1, whole) + at(whole, whole + 1))
        found = found + part**2 * at(whole + 1, whole + 1)
    return found


def rolled(values: Tensor, cells: float) -> Tensor:
    """Return values (n, c, H, W) moved right and down by cells, bilinear, around the edges.

    Examples
    --------
    >>> import torch
    >>> rolled(torch.tensor([[[[0.0, 4.0], [0.0, 0.0]]]]), 0.5).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    import math

    whole = math.floor(cells)
    part = cells - whole
    for axis in (-2, -1):
        moved = values.roll(whole, axis)
        values = (1 - part) * moved + part * moved.roll(1, axis) if part else moved
    return values


def residual(expected: Tensor, found: Tensor) -> Tensor:
    """Return ‖expected − found‖² and ‖found‖² (n, 2), float64, of each of values (n, …)."""
    import torch

    a, b = expected.double().flatten(1), found.double().flatten(1)
    return torch.stack([(a - b).square().sum(1), b.square().sum(1)], 1)


def channel_sums(expected: Tensor, found: Tensor) -> Tensor:
    """Return sums (n, C, 4), float64, over the cells of each channel of values (n, C, H, W).

    Those of (expected − found)², found², found and 1: what :func:`normalized_residual` needs once
    mean and variance of the channels are known.

    Examples
    --------
    >>> import torch
    >>> channel_sums(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0)).flatten().tolist()
    [36.0, 36.0, 12.0, 4.0]
    """
    import torch

    a, b = expected.double().flatten(2), found.double().flatten(2)
    parts = ((a - b).square().sum(2), b.square().sum(2), b.sum(2), torch.ones_like(b).sum(2))
    return torch.stack(parts, 2)


def normalized_residual(sums: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return ‖expected − found‖² and ‖found‖² (n, 2) of values with mean 0, variance 1 by channel.

    Parameters
    ----------
    sums : Tensor, (n, C, 4), of :func:`channel_sums`
    mean, variance : Tensor, (C,), by which the channels are normalized

    Examples
    --------
    >>> import torch
    >>> sums = channel_sums(torch.zeros(1, 1, 1, 2), torch.tensor([[[[3.0, 7.0]]]]))
    >>> normalized_residual(sums, torch.tensor([5.0]), torch.tensor([4.0])).tolist()
    [[14.5, 2.0]]
    """
    import torch

    apart, squares, values, cells = sums.unbind(2)
    centered = squares - 2 * mean * values + mean.square() * cells
    return torch.stack([(one / variance).sum(1) for one in (apart, centered)], 1)
