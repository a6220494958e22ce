"""The large sums behind PCA, in float64 over blocks of a few megabytes.

Neither a float64 nor a centered copy of the samples ever exists.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from latentlab.errors import NonFiniteError
from latentlab.linalg.krylov import krylov_eigenpairs
from latentlab.machine.threads import threads_for

_BLOCK_VALUES = 2**20  # 8 MB in float64
WIDE_BLOCK = 2**22
_STRIP_ROWS, _STRIPS = 128, 8
_LARGE = 2048
_CONVERGED, _SAME = 1e-13, 1e-10


def rows_in_block(n_columns: int) -> int:
    """Return how many rows of this many columns make one block."""
    return max(1, _BLOCK_VALUES // n_columns)


def column_blocks(
    matrix: Tensor, dtype: torch.dtype = torch.float64, values: int = _BLOCK_VALUES
) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of columns and those columns in a dtype, all in the same memory.

    Wide blocks take less time of a machine that is busy, and more memory.
    """
    n_rows, n_columns = matrix.shape
    width = min(n_columns, max(64, values // n_rows))
    memory = matrix.new_empty(n_rows * width, dtype=dtype)
    for start in range(0, n_columns, width):
        columns = slice(start, min(start + width, n_columns))
        block = memory[: n_rows * (columns.stop - start)].view(n_rows, -1)
        yield columns, block.copy_(matrix[:, columns])


def gram_matrix(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) of rows (N, D) and the Gram matrix (N, N) of the centered rows."""
    mean = matrix.new_empty(matrix.shape[1], dtype=torch.float64)
    gram = matrix.new_zeros(len(matrix), len(matrix), dtype=torch.float64)
    for columns, block in column_blocks(matrix):
        mean[columns] = block.mean(0)
        block -= mean[columns]
        add_products(gram, block)
    return mean, mirror_lower(gram)


def add_products(symmetric: Tensor, vectors: Tensor) -> None:
    """Add the inner products of vectors (n, m) to the lower triangle of a matrix (n, n).

    One strip of rows at a time, up to the diagonal, so that little more than half of all products
    are computed. Eight strips of a large matrix cost 6 % more products than strips of 128 rows, and
    a quarter less time.
    """
    height = max(_STRIP_ROWS, len(vectors) // _STRIPS)
    for start in range(0, len(vectors), height):
        stop = start + height
        symmetric[start:stop, :stop].addmm_(vectors[start:stop], vectors[:stop].T)


def mirror_lower(symmetric: Tensor) -> Tensor:
    """Return the matrix (n, n) after copying its lower triangle to the upper one, in place."""
    for start in range(0, len(symmetric), _STRIP_ROWS):
        stop = start + _STRIP_ROWS
        symmetric[:start, start:stop] = symmetric[start:stop, :start].T
        middle = symmetric[start:stop, start:stop]
        middle.copy_(middle.tril() + middle.tril(-1).T)
    return symmetric


def eigenpairs(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, descending and not negative, and eigenvectors as columns.

    Raises
    ------
    NonFiniteError : NaN or infinity in the matrix.
    """
    check_finite(symmetric)
    with threads_for(len(symmetric)):
        values, vectors = torch.linalg.eigh(symmetric)
    return values.flip(0).clamp_min(0), vectors.flip(1)


def leading_eigenpairs(symmetric: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return all eigenvalues, descending and not negative, and the first eigenvectors as columns.

    For few vectors of a large matrix, the values are computed alone and block Krylov iteration
    finds the vectors. All vectors would take several times as long and twice the memory. They are
    computed only where the iteration does not find the vectors of the largest values.

    Raises
    ------
    NonFiniteError : NaN or infinity in the matrix.
    """
    side = len(symmetric)
    if side >= _LARGE and 0 < count <= side // 8:
        check_finite(symmetric)
        values = torch.linalg.eigvalsh(symmetric).flip(0).clamp_min(0)
        found = krylov_eigenpairs(symmetric, count, tolerance=_CONVERGED)
        if found and bool(((found[0] - values[: len(found[0])]).abs() < _SAME * values[0]).all()):
            return values, found[1][:, :count]
    values, vectors = eigenpairs(symmetric)
    return values, vectors[:, :count]


def combine_rows(weights: Tensor, matrix: Tensor, mean: Tensor) -> Tensor:
    """Return unit-length combinations (k, D) of the centered rows with weights (k, N)."""
    combined = matrix.new_empty(len(weights), matrix.shape[1], dtype=torch.float32)
    squares = weights.new_zeros(len(weights))
    for columns, block in column_blocks(matrix):
        block -= mean[columns]
        product = weights @ block
        squares += product.square().sum(1)
        combined[:, columns] = product
    return combined.div_(squares.sqrt()[:, None].float())


def project_rows(matrix: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Return the centered rows (N, D) times a basis (D, k), a block at a time."""
    blocks = torch.split(matrix, rows_in_block(matrix.shape[1]))
    return torch.cat([(block - mean) @ basis for block in blocks])


def column_moments(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and variance (D,) of every feature."""
    mean = matrix.new_empty(matrix.shape[1], dtype=torch.float64)
    variance = torch.empty_like(mean)
    for columns, block in column_blocks(matrix):
        mean[columns] = block.mean(0)
        variance[columns] = block.var(0)
    check_finite(mean)
    return mean, variance


def check_finite(sums: Tensor) -> None:
    """Raise NonFiniteError if sums of samples contain NaN or infinity."""
    # A sum is finite only if all its terms are, and it needs no copy of them.
    if not torch.isfinite(sums.sum(dtype=torch.float64)):
        raise NonFiniteError(
            "NaN or infinite samples",
            "finite latents",
            "load the model with dtype float32 or bfloat16 and encode again",
        )
