"""The directions along which a decoded image changes most: leading right singular vectors.

Rayleigh–Ritz on a growing Krylov space of G = JᵀJ, with full reorthogonalization. With blocks of
one vector this is the Lanczos method (Golub and Kahan 1965 for J itself), which needs by far the
fewest products: with the decoder ``mini`` at 128 px, the residuals of eight values are below 1e-3
after 100 products; with eight vectors at a time they are 3e-2 after 160. By itself it cannot find
a value that occurs twice. Therefore a second space is begun from a fresh random vector at the end,
and the search continues if that finds a value among the first k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from latentlab.errors import ShapeError, UsageError
from latentlab.figures.tables import as_rows, frame_of, html_table
from latentlab.latents import Progress
from latentlab.linalg.bases import fix_signs
from latentlab.machine.memory import available_memory, check_memory
from latentlab.pullback.products import DecoderMap

# Anything smaller is rounding in products of float32.
_VANISHING = 1e-5
_NEGLIGIBLE = 1e-2
_RISE = 1e-4
_SPARE = 8


@dataclass(frozen=True, eq=False, repr=False)
class SingularDirections:
    """Leading singular values of a decoder's Jacobian, and where they point.

    Parameters
    ----------
    rows : Tensor, (k, D), float32, orthonormal right singular vectors in the map's layout; the
        largest entry of each is positive
    values : Tensor, (k,), float64, descending: length of the change of the features for one
        model-space unit along each row. For pixel values in [−1, 1] they are twice the values for
        images in [0, 1].
    residuals : Tensor, (k,), float64, ‖Jᵀu − s v‖ / s with u = Jv / s. A value is at least the
        true one minus residual² / gap. In the denominator, values below a hundredth of the largest
        are replaced by that hundredth.
    products : int, products (jvp and vjp) that were computed
    converged : bool, whether all residuals are within the tolerance and a second search from a
        fresh vector found no missing value
    """

    rows: Tensor
    values: Tensor
    residuals: Tensor
    products: int
    converged: bool

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with ``value`` and ``residual`` of each direction."""
        columns = {"value": self.values.tolist(), "residual": self.residuals.tolist()}
        return frame_of(as_rows(columns))

    def _repr_html_(self) -> str:
        rows = zip(self.values.tolist(), self.residuals.tolist(), strict=True)
        state = "converged" if self.converged else "not converged"
        notes = [f"{state} after {self.products} products with the Jacobian"]
        return html_table(("change of the image per unit", "residual"), rows, notes=notes)

    def __repr__(self) -> str:
        largest = ", ".join(f"{value:.3g}" for value in self.values[:4].tolist())
        return f"SingularDirections({len(self.values)}: {largest} …, {self.products} products)"


def top_singular(
    decoder: DecoderMap,
    k: int,
    *,
    tolerance: float = 1e-2,
    max_products: int = 160,
    check_steps: int = 10,
    start: Tensor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> SingularDirections:
    """Return the k directions that change the decoded image most, and how much.

    Parameters
    ----------
    decoder : DecoderMap
    k : int, at most D
    tolerance : float, largest relative residual at which to stop. Values below 1e-5 count as 1e-5,
        since products of float32 are not more exact. Errors of values are of the order of
        tolerance², and errors of directions of the order of tolerance / relative gap.
    max_products : int, largest number of products (jvp and vjp)
    check_steps : int, steps of the final search, from a fresh random vector, for values that occur
        more than once; 0 omits it
    start : Tensor, (m, D), optional; rows to begin from instead of random ones, such as the
        directions at a nearby latent
    seed : int
    progress : called as ``progress("jacobian", products, max_products)``

    Raises
    ------
    ShapeError : k or the rows of ``start`` do not fit D.
    UsageError : an invalid tolerance, or too few products for k directions.
    ZeroJacobianError : no direction changes the image.
    NonFiniteError : NaN in a product.
    MemoryLimitError : no room for two matrices of about 2k + 8 rows of float64.

    Notes
    -----
    On a GPU up to 8 vectors are multiplied at a time, since that takes as long as one. In addition
    to the memory of the products, the search needs two float64 matrices of at most about
    max_products/2 rows (D = 32,768: 43 MB for 160 products). If that exceeds a quarter of the
    available memory, the basis is reduced to its best vectors from time to time.

    Examples
    --------
    >>> import latentlab
    >>> from latentlab.pullback import decoder_map
    >>> vae = latentlab.load_vae("linear")
    >>> latent = latentlab.encode(vae, "sample:flower", size=64)
    >>> top_singular(decoder_map(vae, latent), 3).values  # an orthonormal decoder
    tensor([1.0000, 1.0000, 1.0000], dtype=torch.float64)
    """
    width = min(k, decoder.copies)
    _check_arguments(decoder, k, tolerance, width, max_products)
    basis = _Basis(decoder, _most_rows(decoder, k, width, max_products), seed)
    look = _SecondLook(check_steps if width < k else 0, max(_RISE, tolerance**2))
    begun, converged = decoder.count.total, False
    fresh = basis.random(width) if start is None else basis.novel(start.double())
    while len(fresh) and decoder.count.total - begun + 2 * len(fresh) <= max_products:
        basis.add(fresh, keep=k + _SPARE)
        ritz = basis.ritz(k)
        if start is None and not float(ritz.values[0]) > 0:
            raise decoder.zero_jacobian()
        if progress:
            progress("jacobian", decoder.count.total - begun, max_products)
        enough = max(tolerance, _VANISHING)
        converged = len(ritz.values) == k and bool((ritz.residuals <= enough).all())
        if converged:
            fresh = look.next(basis, ritz.values)
        else:
            worst = ritz.residuals.argsort(descending=True)[:width]
            fresh = basis.novel(ritz.remainders[worst], scale=float(ritz.values[0]))
            fresh = fresh if len(fresh) else basis.random(width)
    if len(basis.rows) < k:
        raise _too_few(k, max_products)
    if not float(ritz.values[0]) > 0:
        raise decoder.zero_jacobian()
    return SingularDirections(
        rows=fix_signs(ritz.vectors).float(),
        values=ritz.values.clamp(min=0).sqrt(),
        residuals=ritz.residuals,
        products=decoder.count.total - begun,
        converged=converged and not len(fresh),
    )


@dataclass(frozen=True, eq=False)
class _Ritz:
    """The largest eigenvalues λ (k,) of G within a basis, descending, and their vectors v (k, D).

    Their images are Gv, their remainders Gv − λv, and their residuals ‖Gv − λv‖ / λ.
    """

    values: Tensor
    vectors: Tensor
    images: Tensor
    remainders: Tensor
    residuals: Tensor


class _Basis:
    """Orthonormal rows V with their images GV, and the inner products of both."""

    def __init__(self, decoder: DecoderMap, most_rows: int, seed: int) -> None:
        self.decoder = decoder
        self.most_rows = most_rows
        self.generator = torch.Generator().manual_seed(seed)
        self.rows = torch.zeros(0, decoder.n_features, dtype=torch.float64)
        self.images = self.rows
        self.inner = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, fresh: Tensor, *, keep: int) -> None:
        """Add orthonormal rows that are orthogonal to the others, at two products each.

        A basis that would grow too large is first reduced to its ``keep`` best vectors.
        """
        if len(self.rows) + len(fresh) > self.most_rows:
            best = self.ritz(keep)
            self.rows, self.images = best.vectors, best.images
            self.inner = torch.diag(best.values)
        images = self.decoder.pull(self.decoder.push(fresh.float())).double()
        self.rows = torch.cat([self.rows, fresh])
        self.images = torch.cat([self.images, images])
        # G is symmetric apart from rounding, so that the new columns are also the new rows.
        across, old = self.rows @ images.T, len(self.inner)
        self.inner = pad(self.inner, (0, len(fresh), 0, len(fresh)))
        self.inner[:, old:], self.inner[old:] = across, across.T
        self.inner[old:, old:] = (across[old:] + across[old:].T) / 2

    def ritz(self, k: int) -> _Ritz:
        """Return the Ritz pairs of the k largest values, or all pairs if there are fewer."""
        values, turn = torch.linalg.eigh(self.inner)
        values, turn = values.flip(0)[:k], turn.flip(1)[:, :k]
        vectors, images = turn.T @ self.rows, turn.T @ self.images
        remainders = images - values[:, None] * vectors
        floor = _NEGLIGIBLE**2 * values[0].clamp(min=torch.finfo(torch.float64).tiny)
        residuals = remainders.norm(dim=1) / values.clamp(min=floor)
        return _Ritz(values, vectors, images, remainders, residuals)

    def novel(self, candidates: Tensor, *, scale: float | None = None) -> Tensor:
        """Return orthonormal rows (≤ n, D) that candidates add to the basis.

        Parameters
        ----------
        candidates : Tensor, (n, D)
        scale : float, optional; length against which a remainder is negligible. By default the
            length of each candidate.
        """
        added = self.rows[:0]
        for candidate in candidates[: self.decoder.n_features - len(self.rows)]:
            length = float(candidate.norm()) if scale is None else scale
            for _ in range(2):
                candidate = candidate - (self.rows @ candidate) @ self.rows
                candidate = candidate - (added @ candidate) @ added
            if float(candidate.norm()) > _VANISHING * length:
                added = torch.cat([added, candidate[None] / candidate.norm()])
        return added

    def random(self, count: int) -> Tensor:
        """Return random orthonormal rows outside the basis; none if it spans the whole space."""
        shape = count, self.decoder.n_features
        return self.novel(torch.randn(shape, generator=self.generator, dtype=torch.float64))


class _SecondLook:
    """A search from a fresh random vector for values that occur more often than they were found.

    A Krylov space contains one vector of each eigenspace. In the rest of the space a missing value
    is the largest, so that a few steps find it.
    """

    def __init__(self, steps: int, rise: float) -> None:
        self.steps = steps
        self.rise = rise
        self.left = 0
        self.known: Tensor | None = None

    def next(self, basis: _Basis, values: Tensor) -> Tensor:
        """Return the row to continue with; none once the search has ended and found nothing."""
        if self.known is None or bool((values > self.known * (1 + self.rise)).any()):
            self.known, self.left = values, self.steps
            return basis.random(1 if self.steps else 0)
        self.left -= 1
        following = basis.images[-1:] if self.left > 0 else basis.images[:0]
        return basis.novel(following, scale=float(values[0]))


def _most_rows(decoder: DecoderMap, k: int, width: int, max_products: int) -> int:
    """Return the largest number of rows of a basis, which products or memory limit."""
    least = 2 * k + _SPARE + width
    row = 2 * 8 * decoder.n_features  # bytes of a row and its image in float64
    check_memory(
        least * row,
        f"a basis of {least} rows of {decoder.n_features:,} numbers",
        "lower --components or --size, or choose a --region",
    )
    return max(least, min(max_products // 2 + width, available_memory() // 4 // row))


def _check_arguments(
    decoder: DecoderMap, k: int, tolerance: float, width: int, max_products: int
) -> None:
    if not 1 <= k <= decoder.n_features:
        raise ShapeError(
            f"{k} directions",
            f"1 to {decoder.n_features}, the length of a row",
            "lower --components or enlarge the region",
        )
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance={tolerance}", "a number between 0 and 1", "pass, say, 0.01")
    if max_products < 2 * k + width:
        raise _too_few(k, max_products)


def _too_few(k: int, max_products: int) -> UsageError:
    return UsageError(
        f"max_products={max_products}",
        f"at least {4 * k} for {k} directions",
        "raise max_products or lower --components",
    )
