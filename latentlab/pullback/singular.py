"""The directions along which a decoded picture changes most: leading right singular vectors.

Rayleigh–Ritz on a growing Krylov space of G = JᵀJ, with full reorthogonalization. With blocks of
one vector this is Lanczos' method (Golub and Kahan 1965 for J itself), which needs the fewest
products by far: with the decoder ``mini`` at 128 px, eight values have residuals under 1e-3 after
100 products, where eight vectors at a time have 3e-2 after 160. What it cannot see by itself is
a value that occurs twice, so a second space is begun from a fresh random vector at the end, and
the search goes on if that one finds anything among the first k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Progress
from latentlab.memory import available_memory, check_memory
from latentlab.pullback.products import DecoderMap
from latentlab.spectra import fix_signs

# In products of float32 anything smaller is rounding.
_VANISHING = 1e-5
_NEGLIGIBLE = 1e-2
_RISE = 1e-4
_SPARE = 8
_BYTES = 2 * 8


@dataclass(frozen=True, eq=False, repr=False)
class SingularDirections:
    """Leading singular values of a decoder's Jacobian, and where they point.

    Parameters
    ----------
    rows : Tensor, (k, D), float32, orthonormal right singular vectors in the map's layout; the
        largest entry of each is positive
    values : Tensor, (k,), float64, descending: change of the features for one unit of latent in
        model space along each row. With pixel values in [−1, 1] as features they are twice those
        of pictures in [0, 1].
    residuals : Tensor, (k,), float64, ‖Jᵀu − s v‖ / s with u = Jv / s. A value is at least the
        true one less residual² / gap. Values under a hundredth of the largest count as that.
    products : int, how many products (jvp and vjp) it took
    converged : bool, whether all residuals are within the tolerance and a second search from a
        fresh vector found nothing that was missing
    """

    rows: Tensor
    values: Tensor
    residuals: Tensor
    products: int
    converged: bool

    def __repr__(self) -> str:
        largest = ", ".join(f"{value:.3g}" for value in self.values[:4].tolist())
        return f"SingularDirections({len(self.values)}: {largest} …, {self.products} products)"


def top_singular(
    decoder: DecoderMap,
    k: int,
    *,
    tolerance: float = 1e-2,
    block: int | None = None,
    max_products: int = 160,
    check_steps: int = 10,
    start: Tensor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> SingularDirections:
    """Return the k directions that change the decoded picture most, and how much.

    Parameters
    ----------
    decoder : DecoderMap
    k : int, at most D
    tolerance : float, largest relative residual to stop at; below 1e-5, where products of float32
        end in rounding, as that. Errors of values are of the order of its square, those of
        directions of the order of itself over the relative gap.
    block : int, vectors at a time; by default 1, or on a GPU up to 8, which run there as one
    max_products : int, products (jvp and vjp) after which the search ends in any case
    check_steps : int, how far to follow a fresh random vector in the end in search of values that
        occur more than once; 0 leaves that out
    start : Tensor, (m, D), optional; rows to begin from instead of random ones, such as the
        directions at a latent nearby
    seed : int
    progress : called as ``progress("jacobian", products, max_products)``

    Raises
    ------
    ShapeError : k or rows to start from that do not fit D.
    UsageError : a tolerance, block or number of products that makes no sense.
    ZeroJacobianError : nothing changes the picture.
    NonFiniteError : NaN in a product.
    MemoryLimitError : no room for a basis of 2k + 8 rows of float64, twice.

    Notes
    -----
    Memory beside the products' own: two matrices of at most max_products/2 + block rows, float64
    (D = 32,768: 43 MB for 160 products). Where a quarter of the available memory is less, the
    basis is cut back to its best vectors from time to time.

    Examples
    --------
    >>> import latentlab
    >>> from latentlab.pullback import decoder_map
    >>> vae = latentlab.load_vae("linear")
    >>> latent = latentlab.encode(vae, "sample:flower", size=64)
    >>> top_singular(decoder_map(vae, latent), 3).values  # an orthonormal decoder
    tensor([1.0000, 1.0000, 1.0000], dtype=torch.float64)
    """
    width = min(k, decoder.copies) if block is None else block
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
            fresh = basis.novel(ritz.worst(width), scale=float(ritz.values[0]))
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
    """The best that a basis knows of the k largest eigenvalues (≤ k,) of G, descending."""

    values: Tensor
    vectors: Tensor
    remainders: Tensor

    @property
    def residuals(self) -> Tensor:
        floor = _NEGLIGIBLE**2 * self.values[0].clamp(min=torch.finfo(torch.float64).tiny)
        relative: Tensor = self.remainders.norm(dim=1) / self.values.clamp(min=floor)
        return relative

    def worst(self, count: int) -> Tensor:
        """Return the remainders Gv − λv of the vectors that are furthest from eigenvectors."""
        return self.remainders[self.residuals.argsort(descending=True)[:count]]


class _Basis:
    """Orthonormal rows V with their images GV, and what G is within their span."""

    def __init__(self, decoder: DecoderMap, most_rows: int, seed: int) -> None:
        self.decoder = decoder
        self.most_rows = most_rows
        self.generator = torch.Generator().manual_seed(seed)
        self.rows = torch.zeros(0, decoder.n_features, dtype=torch.float64)
        self.images = self.rows
        self.inner = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, fresh: Tensor, *, keep: int) -> None:
        """Take in orthonormal rows that are orthogonal to the others, at two products each."""
        if len(self.rows) + len(fresh) > self.most_rows:
            self._cut_back(keep)
        images = self.decoder.pull(self.decoder.push(fresh.float())).double()
        self.rows = torch.cat([self.rows, fresh])
        self.images = torch.cat([self.images, images])
        # G is symmetric but for rounding: the new columns are the new rows.
        across = self.rows @ images.T
        own = len(self.rows) - len(fresh)
        grown = torch.zeros(len(self.rows), len(self.rows), dtype=torch.float64)
        grown[:own, :own] = self.inner
        grown[:, own:], grown[own:] = across, across.T
        grown[own:, own:] = (across[own:] + across[own:].T) / 2
        self.inner = grown

    def ritz(self, k: int) -> _Ritz:
        """Return the Ritz pairs of the k largest values, or of all if there are fewer."""
        values, turn = torch.linalg.eigh(self.inner)
        values, turn = values.flip(0)[:k], turn.flip(1)[:, :k]
        vectors = turn.T @ self.rows
        return _Ritz(values, vectors, turn.T @ self.images - values[:, None] * vectors)

    def novel(self, candidates: Tensor, *, scale: float | None = None) -> Tensor:
        """Return orthonormal rows for what candidates add to the basis, if anything.

        Parameters
        ----------
        candidates : Tensor, (n, D)
        scale : float, what lengths are compared with; by default each candidate's own
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
        """Return random orthonormal rows outside the basis; none where it is everything."""
        shape = count, self.decoder.n_features
        return self.novel(torch.randn(shape, generator=self.generator, dtype=torch.float64))

    def _cut_back(self, keep: int) -> None:
        values, turn = torch.linalg.eigh(self.inner)
        turn = turn.flip(1)[:, :keep]
        self.rows, self.images = turn.T @ self.rows, turn.T @ self.images
        self.inner = torch.diag(values.flip(0)[:keep])


class _SecondLook:
    """A search from a fresh random vector, for values that occur more often than they were found.

    A Krylov space holds one vector of each eigenspace. In the rest of the space a missing one is
    the largest, so that a few steps show it.
    """

    def __init__(self, steps: int, rise: float) -> None:
        self.steps = steps
        self.rise = rise
        self.left = 0
        self.known: Tensor | None = None

    def next(self, basis: _Basis, values: Tensor) -> Tensor:
        """Return the row to go on with; none when the search has ended and found nothing."""
        if self.known is None or bool((values > self.known * (1 + self.rise)).any()):
            self.known, self.left = values, self.steps
            return basis.random(1 if self.steps else 0)
        self.left -= 1
        following = basis.images[-1:] if self.left > 0 else basis.images[:0]
        return basis.novel(following, scale=float(values[0]))


def _most_rows(decoder: DecoderMap, k: int, width: int, max_products: int) -> int:
    """Return how many rows a basis may have: all that products allow, or that memory does."""
    least = 2 * k + _SPARE + width
    row = _BYTES * decoder.n_features
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
    if not 0 < tolerance < 1 or width < 1:
        raise UsageError(
            f"tolerance={tolerance} and block={width}",
            "a tolerance between 0 and 1 and a block of at least 1",
            "pass, say, tolerance=0.01",
        )
    if max_products < 2 * k + width:
        raise _too_few(k, max_products)


def _too_few(k: int, max_products: int) -> UsageError:
    return UsageError(
        f"max_products={max_products}",
        f"at least {4 * k} for {k} directions",
        "raise max_products or lower --components",
    )
