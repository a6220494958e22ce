"""Angles between spans beside SciPy's, and chance beside a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.stats import ortho_group

from latentlab.errors import ShapeError, UsageError
from latentlab.linalg.subspaces import (
    grassmann_distance,
    principal_angles,
    random_overlap,
    random_overlap_deviation,
    subspace_overlap,
)


def rows(k: int, dimensions: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((k, dimensions)))


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_angles_are_those_of_scipy(k: int, m: int, seed: int) -> None:
    a, b = rows(k, 9, seed), rows(m, 9, seed + 100)
    expected = subspace_angles(a.numpy().T, b.numpy().T)[::-1]
    np.testing.assert_allclose(
        principal_angles(a, b).numpy(), expected, atol=1e-7
    )  # SciPy: 3e-8 off
    overlap = np.mean(np.cos(expected) ** 2)
    assert subspace_overlap(a, b) == pytest.approx(overlap, abs=1e-12)
    distance = math.sqrt((expected**2).sum())
    assert grassmann_distance(a, b) == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize("angle", [1e-9, 1e-4, 0.7, math.pi / 2 - 1e-9])
def test_known_angles_are_exact_at_both_ends(angle: float) -> None:
    axes = torch.eye(5, dtype=torch.float64)
    tilted = axes[0] * math.cos(angle) + axes[2] * math.sin(angle)
    found = principal_angles(axes[:2], torch.stack([tilted, axes[1]]))
    np.testing.assert_allclose(found.numpy(), [0, angle], atol=1e-15, rtol=1e-9)


def test_spans_count_and_not_the_rows_that_span_them() -> None:
    a, b = rows(3, 8, 0), rows(4, 8, 1)
    mixed = rows(3, 3, 2) @ a
    turn = torch.from_numpy(ortho_group.rvs(8, random_state=0))
    assert grassmann_distance(a, mixed) == pytest.approx(0, abs=1e-7)
    assert subspace_overlap(a @ turn, b @ turn) == pytest.approx(subspace_overlap(a, b))
    assert subspace_overlap(a, torch.cat([1e-3 * a, b])) == pytest.approx(1)


@pytest.mark.parametrize(("k", "m", "dimensions"), [(2, 5, 12), (4, 4, 30), (1, 1, 6)])
def test_chance_is_that_of_simulated_random_spans(k: int, m: int, dimensions: int) -> None:
    drawn = np.random.default_rng(3)
    overlaps = []
    for _ in range(4000):
        a = np.linalg.qr(drawn.standard_normal((dimensions, k)))[0]
        b = np.linalg.qr(drawn.standard_normal((dimensions, m)))[0]
        overlaps.append(np.square(a.T @ b).sum() / min(k, m))
    error = np.std(overlaps) / math.sqrt(len(overlaps))
    assert random_overlap(k, m, dimensions) == pytest.approx(np.mean(overlaps), abs=4 * error)
    deviation = random_overlap_deviation(k, m, dimensions)
    assert deviation == pytest.approx(np.std(overlaps), rel=0.06)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (rows(2, 4, 0), rows(2, 5, 0)),
        (rows(5, 4, 0), rows(1, 4, 0)),
        (rows(2, 4, 0)[0], rows(1, 4, 0)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(a: torch.Tensor, b: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"two matrices \(k, D\) and \(m, D\)"):
        principal_angles(a, b)
    with pytest.raises(ShapeError):
        subspace_overlap(a, b)


@pytest.mark.parametrize("bad", [torch.ones(2, 4), torch.full((1, 4), math.nan), torch.zeros(1, 4)])
def test_dependent_rows_and_nan_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="linearly independent"):
        subspace_overlap(bad, torch.eye(4)[:1])


def test_more_dimensions_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="spans of 5 and 1 dimensions among 4"):
        random_overlap(5, 1, 4)
