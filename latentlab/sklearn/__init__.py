"""latentlab's PCA as an estimator of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from latentlab.components.fitting import fit_pca

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


class LatentPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Principal components by :func:`latentlab.fit_pca`, for pipelines of scikit-learn.

    Parameters
    ----------
    n_components : int, or a share of the variance between 0 and 1; by default 64 or the rank
    solver : as for :func:`latentlab.fit_pca`
    random_state : int, seed of the krylov and the randomized solver

    Attributes
    ----------
    components_ : array (n_components, n_features), orthonormal rows
    explained_variance_, explained_variance_ratio_ : array (n_components,)
    mean_ : array (n_features,)
    pca_ : PCA

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(30, 5))
    >>> LatentPCA(n_components=2).fit_transform(rows).shape
    (30, 2)
    """

    def __init__(
        self, n_components: float | None = None, *, solver: str = "auto", random_state: int = 0
    ) -> None:
        self.n_components = n_components
        self.solver = solver
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> LatentPCA:
        """Fit the components of rows (n_samples, n_features); return the estimator."""
        rows = validate_data(self, X, dtype="float64", ensure_min_samples=2)
        self.pca_ = fit_pca(rows, self.n_components, self.solver, seed=self.random_state)
        self.components_ = self.pca_.components.double().numpy()
        self.mean_ = self.pca_.mean.double().numpy()
        self.explained_variance_ = self.pca_.explained_variance.numpy()
        self.explained_variance_ratio_ = self.pca_.explained_variance_ratio.numpy()
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the scores (n_samples, n_components) of rows."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype="float64", reset=False)
        scores: NDArray[np.float64] = self.pca_.transform(rows).numpy()
        return scores

    def inverse_transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the rows (n_samples, n_features) that have these scores."""
        check_is_fitted(self)
        rows: NDArray[np.float64] = self.pca_.inverse_transform(X).numpy()
        return rows

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)
