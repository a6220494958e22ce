"""Points in a plane: what is near stays near, and the same seed gives the same places."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.manifold import TSNE, trustworthiness

from latentlab.errors import MissingExtraError, UsageError
from latentlab.linalg import embedding
from latentlab.linalg.embedding import check_embedding, embed


def groups(count: int = 40) -> np.ndarray:
    """Return three groups of points in eight dimensions, far from one another."""
    rng = np.random.default_rng(0)
    centers = 30 * rng.normal(size=(3, 8))
    return np.concatenate([center + rng.normal(size=(count, 8)) for center in centers])


def test_tsne_is_that_of_scikit_learn_and_keeps_what_is_near() -> None:
    points = groups(32)
    places = embed(points, "tsne", seed=3)
    wanted = TSNE(perplexity=30, init="pca", learning_rate="auto", random_state=3)
    np.testing.assert_allclose(
        places, (found := wanted.fit_transform(points)) - found.mean(0), atol=1e-3
    )
    assert trustworthiness(points, places, n_neighbors=5) > 0.95


def test_few_points_have_a_place_and_fewer_are_refused() -> None:
    assert np.isfinite(embed(groups(2)[:5], "tsne")).all()
    with pytest.raises(UsageError, match="5 or more"):
        embed(groups(2)[:4], "tsne")


def test_umap_is_asked_with_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Stub:
        def __init__(self, **how: Any) -> None:
            asked.update(how)

        def fit_transform(self, points: np.ndarray) -> np.ndarray:
            return points[:, :2] + 7

    monkeypatch.setattr(embedding, "find_spec", lambda name: name == "umap")
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Stub))
    points = groups(5)
    places = embed(points, "umap", seed=4)
    np.testing.assert_allclose(places, points[:, :2] - points[:, :2].mean(0))
    assert asked == {"n_neighbors": 8, "random_state": 4, "n_jobs": 1}


def test_what_is_missing_or_unknown_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"latentlab\[umap\]"):
        check_embedding("umap")
    with pytest.raises(UsageError, match="tsne or umap"):
        check_embedding("mds")
