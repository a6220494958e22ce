"""Leading eigenpairs of a symmetric matrix by block Krylov iteration, and what bounds the rest."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 32
GUARD = 8
"""How many eigenvalues beyond those asked for may be taken, to end where a gap is wide."""
_FIRST, _GROWTH = 3, 1.25
_NEGLIGIBLE = 1e-12


def krylov_eigenpairs(
    symmetric: Tensor, count: int, *, tolerance: float, seed: int = 0
) -> tuple[Tensor, Tensor, float] | None:
    """Return leading eigenvalues, descending, their vectors as columns, and the value after them.

    At least ``count`` of them and at most ``GUARD`` more: as many as end before the widest gap.
    The basis is orthogonalized in full, and Rayleigh–Ritz is tried each time it has grown by a
    quarter. Source: Golub and Van Loan, Matrix Computations, 10.3.6.

    Parameters
    ----------
    symmetric : Tensor, (n, n), float64
    tolerance : float, the residual norm ‖Sv − θv‖ of every pair over the largest eigenvalue

    Returns
    -------
    None if a basis of half of all dimensions does not suffice.

    Examples
    --------
    >>> powers = (0.5 ** torch.arange(400.0)).double()
    >>> values, vectors, after = krylov_eigenpairs(powers.diag(), 3, tolerance=1e-9)
    >>> len(values), values.round(decimals=9).tolist(), vectors.shape[0]
    (3, [1.0, 0.5, 0.25], 400)
    """
    most, tried = len(symmetric) // 2, _FIRST * (count + GUARD)
    if most < max(2 * BLOCK, tried):
        return None
    for basis, images in _growing_bases(symmetric, most, seed):
        size = basis.shape[1]
        if size < min(tried, most):
            continue
        values, rotation = torch.linalg.eigh(basis.T @ images)
        values, rotation = values.flip(0), rotation.flip(1)
        kept = end_before_gap(values, count)
        turned = rotation[:, :kept]
        residuals = (images @ turned - basis @ (turned * values[:kept])).norm(dim=0)
        if float(residuals.max()) <= tolerance * float(values[0]):
            return values[:kept], basis @ turned, float(values[kept])
        tried = int(_GROWTH * size)
    return None


def end_before_gap(values: Tensor, count: int) -> int:
    """Return how many of these descending values end before the widest gap, from ``count`` on.

    Examples
    --------
    >>> end_before_gap(torch.tensor([9.0, 8.0, 7.9, 3.0, 2.0]), 2)
    3
    """
    ends = values[count - 1 : count + GUARD + 1]
    return count + int((ends[:-1] - ends[1:]).argmax())


def _growing_bases(symmetric: Tensor, most: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield orthonormal bases (n, m) of ever larger Krylov spaces, and their images."""
    side, generator = len(symmetric), torch.Generator().manual_seed(seed)
    memory = symmetric.new_empty(2, most + BLOCK, side)  # rows, so that any number is contiguous
    size, block = 0, torch.randn(side, BLOCK, generator=generator, dtype=symmetric.dtype)
    while size < most:
        following = size + BLOCK
        block = _orthonormal_block(block, memory[0, :size].T, generator)
        memory[0, size:following] = block.T
        torch.mm(block.T, symmetric, out=memory[1, size:following])
        block, size = memory[1, size:following].T, following
        yield memory[0, :size].T, memory[1, :size].T


def _orthonormal_block(block: Tensor, basis: Tensor, generator: torch.Generator) -> Tensor:
    """Return an orthonormal block (n, b) orthogonal to a basis, random where a column is spent.

    A column is spent if the Krylov space has ended, as it does with equal eigenvalues.
    """
    scale = block.norm(dim=0).max().clamp_min(torch.finfo(block.dtype).tiny)
    block = block / scale
    block, triangle = torch.linalg.qr(_without(block, basis))
    spent = triangle.diagonal().abs() <= _NEGLIGIBLE
    if spent.any():
        drawn = torch.randn(len(block), int(spent.sum()), generator=generator, dtype=block.dtype)
        block = block.clone()
        block[:, spent] = _without(drawn, basis)
        block = torch.linalg.qr(block)[0]
    orthonormal: Tensor = torch.linalg.qr(_without(block, basis))[0]
    return orthonormal


def _without(block: Tensor, basis: Tensor) -> Tensor:
    return block - basis @ (basis.T @ block)


def is_below(symmetric: Tensor, values: Tensor, vectors: Tensor, limit: float) -> bool:
    """Return whether all eigenvalues but these stay below a limit, by Cholesky's factorization.

    The pairs are taken away, S − VΘVᵀ. The limit minus what is left has a Cholesky factor only if
    it is positive definite; no eigenvalue can hide from that, whatever the vectors are.

    Parameters
    ----------
    symmetric : Tensor, (n, n), float64; overwritten
    values, vectors : Tensors, (k,) and (n, k), orthonormal columns
    """
    left = symmetric.neg_().addmm_(vectors * values, vectors.T)
    left.diagonal().add_(limit)
    return int(torch.linalg.cholesky_ex(left)[1]) == 0
