"""The number of components for a share of the variance."""

from __future__ import annotations

from dataclasses import replace

from latentlab.components.pca import PCA
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Spectrum


def count_or_share(n_components: float | None) -> tuple[int | None, float | None]:
    """Return a count and a share, of which at most one is not None.

    Raises
    ------
    UsageError : neither a whole number nor a share between 0 and 1.

    Examples
    --------
    >>> count_or_share(5), count_or_share(0.9)
    ((5, None), (None, 0.9))
    """
    if n_components is None:
        return None, None
    if isinstance(n_components, float) and 0 < n_components < 1:
        return None, float(n_components)
    if isinstance(n_components, bool) or not hasattr(n_components, "__index__"):
        raise UsageError(
            f"n_components={n_components!r}",
            "a whole number, or a share of the variance between 0 and 1",
            "pass n_components=5 for five components, or n_components=0.9 for 90 % of the variance",
        )
    return n_components.__index__(), None


def count_for_share(spectrum: Spectrum, share: float) -> int:
    """Return the smallest number of components whose share of the variance exceeds ``share``.

    Raises
    ------
    UsageError : only some eigenvalues are known, and they do not reach the share.
    """
    reached = (spectrum.cumulative > share).nonzero()
    if len(reached):
        return int(reached[0]) + 1
    if spectrum.is_complete:
        return len(spectrum.explained_variance)
    raise UsageError(
        f"n_components={share:g} with {len(spectrum.explained_variance)} known eigenvalues, which "
        f"hold {float(spectrum.cumulative[-1]):.1%} of the variance",
        "a share that they reach",
        "pass a number of components, or solver='exact'",
    )


def leading_share(pca: PCA, share: float) -> PCA:
    """Return a PCA with just the components that a share of the variance takes.

    Raises
    ------
    ShapeError : fewer components were kept, because the rows could be read only once.
    """
    count = count_for_share(pca.spectrum, share)
    if count > len(pca.components):
        raise ShapeError(
            f"{count} components for n_components={share:g}, of rows that can be read only once",
            f"at most the {len(pca.components)} that are kept",
            f"pass n_components={count}",
        )
    bounds = None if pca.error_bounds is None else pca.error_bounds[:count]
    return replace(pca, components=pca.components[:count], error_bounds=bounds)
