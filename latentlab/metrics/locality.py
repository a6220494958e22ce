"""Whether cells that are near in the image are alike in the latent, and classes near each other."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Classes = NDArray[np.intp]
NEAR, FAR = 2.0, 8.0
"""Cells closer than the first are near, those beyond the second far; in cells of a 16×16 grid."""


def cosines_by_distance(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean cosines (n, b) of two cells by distance, and the distances (b,) in cells.

    Cells are the channels at one position of latents (n, C, h, w), centered and scaled over all
    positions by the caller. Distances are whole cells, rounded.

    Examples
    --------
    >>> import torch
    >>> cosines, distances = cosines_by_distance(torch.ones(1, 3, 4, 4))
    >>> round(cosines.min().item(), 6), distances.tolist()
    (1.0, [1.0, 2.0, 3.0, 4.0])
    """
    import torch

    height, width = latents.shape[-2:]
    cells = latents.double().flatten(2).movedim(1, 2)
    cells = cells / cells.norm(dim=2, keepdim=True).clamp_min(1e-12)
    bins, counts = _bins(height, width), _counts(height, width)
    found = []
    for one in cells:
        found.append(torch.bincount(bins, (one @ one.T).flatten(), minlength=len(counts)) / counts)
    return torch.stack(found)[:, 1:], torch.arange(1, len(counts)).double()


def locality(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return LDS and CDS (n,), float64, of latents (n, C, h, w); see :func:`cosines_by_distance`.

    LDS is the mean cosine of all pairs of near cells minus that of far ones. CDS is minus the slope
    of the mean cosine against distance, which counts in sides of the latent.

    Raises
    ------
    ShapeError : a latent too small to have near and far cells.

    Examples
    --------
    >>> import torch
    >>> noise = torch.randn(8, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> lds, cds = locality(noise)
    >>> bool(lds.mean().abs() < 0.01), bool(cds.mean().abs() < 0.01)
    (True, True)
    """
    height, width = latents.shape[-2:]
    scale = min(height, width) / 16
    near, far = max(1.0, NEAR * scale), FAR * scale
    if far < near + 1:
        raise ShapeError(f"latents of {height}×{width} cells", "at least 4×4", "use a larger size")
    cosines, distances = cosines_by_distance(latents)
    pairs = _counts(height, width)[1:]
    is_near, is_far = ((chosen * pairs) for chosen in (distances <= near, distances > far))
    lds = cosines @ (is_near / is_near.sum()) - cosines @ (is_far / is_far.sum())
    x = distances / min(height, width)
    kept = x <= 1
    x = x[kept] - x[kept].mean()
    return lds, -(cosines[:, kept] @ x) / x.square().sum()


@cache
def _bins(height: int, width: int) -> Tensor:
    """Return the rounded distance (h²w²,) of every two cells."""
    import torch

    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([down, across]).flatten(1).double()
    gaps = places[:, :, None] - places[:, None]
    return gaps.square().sum(0).sqrt().round().long().flatten()


@cache
def _counts(height: int, width: int) -> Tensor:
    """Return how many pairs of cells have each rounded distance, float64."""
    import torch

    return torch.bincount(_bins(height, width)).double()


def same_class_neighbors(rows: ArrayLike, labels: ArrayLike, k: int) -> Array:
    """Return the share (n,) of a row's k nearest others by cosine that are of its class.

    Parameters
    ----------
    rows : array (n, d)
    labels : array (n,) of int or text
    k : int

    Examples
    --------
    >>> rows = [[1, 0], [1, 0.1], [0, 1], [0.1, 1]]
    >>> same_class_neighbors(rows, [0, 0, 1, 1], 1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    nearest, classes = _classes_nearby(rows, labels, k)
    return np.asarray((nearest == classes[:, None]).mean(1), np.float64)


def neighbors_hit(rows: ArrayLike, labels: ArrayLike, k: int) -> Array:
    """Return 1 (n,) where most of a row's k nearest others by cosine are of its class, else 0.

    Their mean is the accuracy of the classifier of k nearest neighbors, each row left out in turn.
    Of classes that are as frequent the first in the order of the labels wins, as in scikit-learn.
    Parameters and errors as for :func:`same_class_neighbors`.

    Examples
    --------
    >>> rows = [[1, 0], [1, 0.1], [1, 0.2], [0, 1]]
    >>> neighbors_hit(rows, ["a", "a", "a", "b"], 3).tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    nearest, classes = _classes_nearby(rows, labels, k)
    votes = np.zeros((len(classes), int(classes.max()) + 1), np.int64)
    np.add.at(votes, (np.arange(len(classes))[:, None], nearest), 1)
    return np.asarray(votes.argmax(1) == classes, np.float64)


def _classes_nearby(rows: ArrayLike, labels: ArrayLike, k: int) -> tuple[Classes, Classes]:
    """Return the numbered classes (n, k) of each row's nearest others, and of the rows (n,)."""
    values = np.asarray(rows, np.float64)
    classes = np.unique(np.asarray(labels), return_inverse=True)[1]
    if len(values) < k + 1 or len(values) != len(classes):
        raise ShapeError(
            f"{len(values)} samples and {len(classes)} labels", f"at least {k + 1}, each with a "
            "label", "pass more samples",
        )  # fmt: skip
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    return classes[np.argpartition(-alike, k - 1, axis=1)[:, :k]], classes


def interpolation_information(latents: ArrayLike, labels: ArrayLike) -> float:
    """Return VIV of latents (n, C, H, W) with a class for each: π/2 for white noise, its bound.

    (π/2) Σ √λ / Σ λ of the within-class covariance, taken as Σ_s ⊗ Σ_c: the sum of the square
    roots of its eigenvalues, scaled to a total variance of 1 each. The mean over classes.

    Raises
    ------
    ShapeError : a class with too few latents, n · C ≤ H · W, whose covariance would be singular.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(400, 4, 8, 8))
    >>> round(interpolation_information(noise, np.zeros(400)) / (np.pi / 2), 2)
    0.99
    """
    values, classes = np.asarray(latents, np.float64), np.asarray(labels)
    found = []
    for name in np.unique(classes):
        members = values[classes == name]
        n, c, height, width = members.shape
        if n * c <= 2 * height * width or n * height * width <= c or n < 3:
            needed = 2 * height * width // c + 1
            raise ShapeError(
                f"{n} latents of class {name}", f"at least {max(3, needed)}", "pass more images"
            )
        found.append(_viv((members - members.mean(0)).reshape(n, c, -1)))
    return float(np.mean(found))


def _viv(centered: Array) -> float:
    """Return VIV of latents (n, C, cells) of one class, about their mean."""
    n, c, cells = centered.shape
    space, channel = np.eye(cells), np.eye(c)
    for _ in range(5):  # flip-flop (Dutilleul 1999)
        inverse = np.linalg.inv(channel)
        space = np.einsum("ncs,cd,ndt->st", centered, inverse, centered, optimize=True) / (n * c)
        inverse = np.linalg.inv(space)
        channel = np.einsum("ncs,st,ndt->cd", centered, inverse, centered, optimize=True)
        channel /= n * cells
    roots = [np.sqrt(np.maximum(np.linalg.eigvalsh(one), 0)) for one in (space, channel)]
    total = roots[0].sum() * roots[1].sum()
    variance = np.square(roots[0]).sum() * np.square(roots[1]).sum()
    return float(math.pi / 2 * total / math.sqrt(variance * c * cells))
