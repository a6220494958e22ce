"""Leading components of rows in memory, with error bounds that are certified.

Products in float32 find them. One pass in float64 then measures what that left: the residual of the
vectors, the error of the float32 products, and the total variance. A Cholesky factorization shows
that no larger eigenvalue was overlooked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.components.checks import check_component_count, check_room, check_variance
from latentlab.components.pca import PCA
from latentlab.latents import Spectrum
from latentlab.linalg.krylov import is_below, krylov_eigenpairs
from latentlab.linalg.rows import RowStream, mean_of_rows
from latentlab.linalg.sums import WIDE_BLOCK, add_products, column_blocks, mirror_lower

LARGEST_BOUND = 1e-6
"""Largest error bound of an eigenvalue, over the largest eigenvalue."""
SMALLEST_SIDE = 2048
"""From this min(N, D) on, leading components are found without the others."""
SHARE_OF_SIDE = 16
"""At most min(N, D) over this many components are found that way."""
_TOLERANCE = LARGEST_BOUND / 100
_PROBES, _SAFETY = 8, 10.0


def by_krylov(rows: RowStream, matrix: Tensor, n_components: int, seed: int) -> PCA | None:
    """Return the leading components of rows in memory; None if the bounds are not small enough.

    The side is that of the smaller of covariance and Gram matrix. Its eigenvectors V from float32
    products (block Krylov) are taken through the rows once in float64, which gives Θ, the residual
    R = CV − VΘ and, by random vectors, a bound on the error of the float32 products. Let η_i be
    the distance from θ_i to the eigenvalues outside the span of V, which Cholesky's factorization
    shows to be smaller. Then |λ_i − θ_i| ≤ 2‖R‖² / (η_i + √(η_i² + 4‖R‖²)) ≤ ‖R‖ (Li and Li 2005,
    Linear Algebra Appl. 395, theorem 2), to which the rounding of float64 is added.

    Raises
    ------
    ShapeError, UsageError : as :func:`latentlab.fit_pca`.
    """
    side = min(rows.n_samples, rows.n_features)
    check_component_count(n_components, min(rows.n_samples - 1, rows.n_features), rows.n_samples)
    check_room(side)
    view = _View(rows, matrix, n_components)
    product = view.product()
    if not torch.isfinite(product).all() or not float(product.diagonal().max()) > 0:
        return None  # beyond float32, or no variance at all: for the exact solvers to tell
    found = krylov_eigenpairs(product, n_components, tolerance=_TOLERANCE, seed=seed)
    if found is None:
        return None
    values, vectors, following = found
    generator = torch.Generator().manual_seed(seed)
    probes = torch.randn(side, _PROBES, generator=generator, dtype=torch.float64)
    measured = view.measure(vectors, probes, product @ probes)
    check_variance(measured.total)
    middle = (float(values[-1]) + following) / 2
    if not is_below(product, values, vectors, middle):
        return None
    # What Cholesky's factorization itself may have rounded away: n²·eps·limit (Higham, 10.7).
    rounding = side * torch.finfo(torch.float64).eps
    distances = measured.values - middle * (1 + side * rounding) - measured.product_error
    if not float(distances[-1]) > 0:
        return None
    bounds = _bounds(distances, measured.residual) + rounding * measured.values[0]
    if float(bounds.max()) > LARGEST_BOUND * float(measured.values[0]):
        return None
    return view.pca(measured, bounds)


def suits(rows: RowStream, n_components: int | None) -> bool:
    """Return whether leading components alone are asked for, few of many, of rows in memory."""
    side = min(rows.n_samples, rows.n_features)
    few = n_components is not None and SHARE_OF_SIDE * n_components <= side
    matrix = rows.matrix
    return few and side >= SMALLEST_SIDE and matrix is not None and matrix.device.type == "cpu"


def warn_of_exact(solver: str) -> None:
    """Say that leading components were asked for, and that all eigenvalues were computed."""
    warnings.warn(
        f"The leading eigenvalues could not be bounded to {LARGEST_BOUND:g} of the largest, for "
        "example because many are almost equal or most were asked for. All eigenvalues were "
        f"computed instead (solver={solver!r}).",
        stacklevel=6,  # where fit_pca is called, behind its decorator
    )


def _bounds(distances: Tensor, residual: float) -> Tensor:
    return 2 * residual**2 / (distances + (distances.square() + 4 * residual**2).sqrt())


@dataclass(frozen=True, eq=False)
class _Measured:
    """What a pass in float64 says of vectors: values, and images (k, other side) by the rows."""

    values: Tensor
    vectors: Tensor
    images: Tensor
    residual: float
    product_error: float
    mean: Tensor
    total: float


@dataclass(frozen=True, eq=False)
class _View:
    """Centered rows from the side on which they are fewer: (side, other side)."""

    rows: RowStream
    matrix: Tensor
    n_components: int

    @property
    def is_wide(self) -> bool:
        return self.rows.n_samples <= self.rows.n_features

    def blocks(self, dtype: torch.dtype, mean: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield blocks (side, n) of the centered rows, all in the same memory.

        Of a wide matrix the mean is not read but written.
        """
        if self.is_wide:
            for columns, block in column_blocks(self.matrix, dtype, WIDE_BLOCK):
                mean[columns] = block.mean(0)
                block -= mean[columns]
                yield columns, block
            return
        count = max(1, WIDE_BLOCK // self.rows.n_features)
        memory = torch.empty(count, self.rows.n_features, dtype=dtype)
        for start in range(0, self.rows.n_samples, count):
            part = self.matrix[start : start + count]
            block = memory[: len(part)].copy_(part).sub_(mean)
            yield slice(start, start + len(part)), block.T

    def product(self) -> Tensor:
        """Return the covariance or Gram matrix over N − 1, float64 from products in float32."""
        side = min(self.matrix.shape)
        mean = self._mean()
        rounded = mean.float()
        product = torch.zeros(side, side, dtype=torch.float32)
        for _, block in self.blocks(torch.float32, rounded):
            add_products(product, block)
        exact = mirror_lower(product).double()
        if self.is_wide:  # Shifts common to all rows, as from a rounded mean, drop out.
            exact -= exact.mean(0)
            exact -= exact.mean(1, keepdim=True)
        else:
            shift = mean - rounded
            exact.addr_(shift, shift, alpha=-self.rows.n_samples)
        return exact.div_(self.rows.n_samples - 1)

    def _mean(self) -> Tensor:
        if self.is_wide:
            return torch.zeros(self.rows.n_features, dtype=torch.float64)
        return mean_of_rows(self.rows)

    def measure(self, vectors: Tensor, probes: Tensor, products: Tensor) -> _Measured:
        """Return Rayleigh–Ritz values of vectors in float64 with their residual.

        ‖Eg‖² of a Gaussian g has the mean ‖E‖_F². Ten times the root of its average over eight g
        is below ‖E‖_F with a probability of 1e-7 at most, which E of rank one would reach.

        Parameters
        ----------
        probes : Tensor, (side, n), standard normal
        products : Tensor, (side, n), of the probes with the matrix of float32 products
        """
        images, back, mean, total = self._there_and_back(torch.cat([vectors, probes], 1))
        kept = vectors.shape[1]
        inner = vectors.T @ back[:, :kept]
        values, rotation = torch.linalg.eigh((inner + inner.T) / 2)
        values, rotation = values.flip(0), rotation.flip(1)
        turned = vectors @ rotation
        residual = back[:, :kept] @ rotation - turned * values
        error = (back[:, kept:] - products).square().sum(0).mean().sqrt()
        return _Measured(
            values,
            turned,
            rotation.T @ images[:kept],
            float(torch.linalg.matrix_norm(residual, 2)),
            _SAFETY * float(error),
            mean,
            total,
        )

    def _there_and_back(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Return images AᵀV as rows, AAᵀV over N − 1, the mean, and the total variance."""
        turned, mean, total = vectors.T.contiguous(), self._mean(), 0.0
        images = turned.new_empty(len(turned), max(self.matrix.shape))
        back = torch.zeros_like(turned)
        for where, block in self.blocks(torch.float64, mean):
            total += float(torch.linalg.vector_norm(block)) ** 2
            image = turned @ block
            images[:, where] = image
            back.addmm_(image, block.T)
        others = self.rows.n_samples - 1
        return images, back.div_(others).T, mean, total / others

    def pca(self, measured: _Measured, bounds: Tensor) -> PCA:
        """Return the leading components, of unit length, with the bounds of their variances."""
        kept, n_samples, n_features = self.n_components, self.rows.n_samples, self.rows.n_features
        found = measured.images if self.is_wide else measured.vectors.T
        components = found[:kept]
        spectrum = Spectrum(measured.values[:kept].clone(), measured.total, n_samples, n_features)
        return PCA(
            spectrum,
            components / components.norm(dim=1, keepdim=True),
            measured.mean,
            solver="krylov",
            error_bounds=bounds[:kept].clone(),
        )
