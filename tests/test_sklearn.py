"""The estimator against scikit-learn's own checks and its own PCA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentlab.errors import ShapeError
from latentlab.sklearn import LatentPCA

SHAPES = [(60, 12), (12, 60), (30, 30)]


def colored(n_samples: int, n_features: int) -> np.ndarray:
    """Return rows far from zero, whose variances fall."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(n_features, n_features)))[0]
    scales = np.arange(1, n_features + 1) ** -0.7
    return (generator.normal(size=(n_samples, n_features)) * scales) @ turn + 3


@parametrize_with_checks([LatentPCA(), LatentPCA(n_components=1)])
def test_scikit_learns_checks_pass(estimator: BaseEstimator, check: Any) -> None:
    # check_array_api_input skips itself unless SCIPY_ARRAY_API is set; all others must pass.
    check(estimator)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("solver", ["auto", "gram", "covariance"])
def test_components_variances_and_scores_equal_scikit_learns(
    shape: tuple[int, int], solver: str
) -> None:
    rows = colored(*shape)
    ours = LatentPCA(5, solver=solver).fit(rows)
    theirs = PCA(5, svd_solver="full").fit(rows)
    signs = np.sign((ours.components_ * theirs.components_).sum(1))
    close = {"rtol": 0, "atol": 1e-6}
    np.testing.assert_allclose(ours.components_, signs[:, None] * theirs.components_, **close)
    np.testing.assert_allclose(ours.mean_, theirs.mean_, **close)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, **close)
    np.testing.assert_allclose(
        ours.explained_variance_ratio_, theirs.explained_variance_ratio_, **close
    )
    scores = theirs.transform(rows)
    np.testing.assert_allclose(ours.transform(rows), signs * scores, **close)
    np.testing.assert_allclose(
        ours.inverse_transform(signs * scores), theirs.inverse_transform(scores), **close
    )


def test_the_randomized_solver_follows_its_random_state() -> None:
    rows = colored(80, 70)
    one, same, other = (
        LatentPCA(3, solver="randomized", random_state=seed).fit(rows) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.components_, same.components_)
    assert (one.components_ != other.components_).any()
    expected = PCA(3, svd_solver="full").fit(rows)
    np.testing.assert_allclose(one.explained_variance_, expected.explained_variance_, rtol=0.02)


def test_it_is_a_step_of_a_pipeline() -> None:
    rows = colored(60, 12)
    ours = make_pipeline(StandardScaler(), clone(LatentPCA(4)))
    theirs = make_pipeline(StandardScaler(), PCA(4, svd_solver="full"))
    scores, expected = ours.fit_transform(rows), theirs.fit_transform(rows)
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), rtol=0, atol=1e-5)
    assert list(ours.get_feature_names_out()) == [f"latentpca{number}" for number in range(4)]


def test_more_components_than_the_rank_are_refused_as_by_fit_pca() -> None:
    with pytest.raises(ShapeError, match="13 components, but expected 1 to 12"):
        LatentPCA(13).fit(colored(60, 12))
