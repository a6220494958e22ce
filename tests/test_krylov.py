"""Leading components alone: against SciPy and scikit-learn, and certified bounds that must hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from sklearn.decomposition import PCA

import latentlab
from latentlab.components import leading, solvers
from latentlab.components.leading import LARGEST_BOUND, by_krylov
from latentlab.errors import NonFiniteError, ShapeError, UsageError
from latentlab.linalg.krylov import is_below, krylov_eigenpairs
from latentlab.linalg.rows import RowStream
from latentlab.sklearn import LatentPCA


def planted(shape: tuple[int, int], deviations: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return rows (N, D), float64, with exactly these singular values after centering."""
    generator = np.random.default_rng(seed)
    left = generator.normal(size=(shape[0], len(deviations)))
    left = np.linalg.qr(left - left.mean(0))[0]
    right = np.linalg.qr(generator.normal(size=(shape[1], len(deviations))))[0]
    return left * deviations @ right.T


def eigenvalues(rows: np.ndarray, count: int) -> np.ndarray:
    """Return the leading eigenvalues of the covariance, or of the Gram matrix, by SciPy."""
    centered = rows.astype(np.float64) - rows.astype(np.float64).mean(0)
    smaller = centered.T if len(rows) > rows.shape[1] else centered
    side = len(smaller)
    found = eigh(smaller @ smaller.T, eigvals_only=True, subset_by_index=[side - count, side - 1])
    return found[::-1] / (len(rows) - 1)


def certified(rows: np.ndarray, count: int, seed: int = 0) -> latentlab.PCA | None:
    matrix = torch.from_numpy(rows)
    return by_krylov(RowStream(matrix.split, *matrix.shape, matrix), matrix, count, seed)


WIDE = (480, 700)
LOG_LIKE = 1 / np.sqrt(np.arange(1, 401))
SPECTRA = {
    "log-like": LOG_LIKE,
    "steep": 0.7 ** np.arange(100),
    "rank 12": LOG_LIKE[:12],
    "clusters": np.repeat([4.0, 3.0, 2.0, 1.0], [3, 50, 1, 346]) ** 0.5,
    "almost equal": np.sort(1 + 1e-4 * np.random.default_rng(1).random(400))[::-1],
    "one above noise": np.array([30.0, *np.linspace(1.01, 0.99, 399)]),
}


@settings(max_examples=30)
@given(
    name=st.sampled_from(sorted(SPECTRA)),
    wide=st.booleans(),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 3.0, 100.0]),
    count=st.integers(1, 12),
    seed=st.integers(0, 3),
)
def test_certified_bounds_hold_for_any_spectrum(
    name: str, wide: bool, scale: float, offset: float, count: int, seed: int
) -> None:
    rows = planted(WIDE if wide else WIDE[::-1], SPECTRA[name], seed=seed)
    rows = (scale * (rows + offset * rows.std())).astype(np.float32)
    found = certified(rows, count, seed)
    if found is None:
        # Exactly equal eigenvalues or only noise on both sides of the last: no gap to certify.
        assert name in ("clusters", "almost equal") or (name, count > 1) == (
            "one above noise",
            True,
        )
        return
    true = eigenvalues(rows, count)
    bounds = found.error_bounds
    assert bounds is not None
    assert (np.abs(found.explained_variance.numpy() - true) <= bounds.numpy()).all()
    assert float(bounds.max()) <= LARGEST_BOUND * true[0] * (1 + 1e-9)
    total = rows.astype(np.float64).var(0, ddof=1).sum()
    assert found.spectrum.total_variance == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("shape", [(300, 900), (900, 300)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_components_and_shares_equal_scikit_learns(shape: tuple[int, int], offset: float) -> None:
    rows = (planted(shape, 1 / np.arange(1, 300)) + offset * 1e-3).astype(np.float32)
    found = latentlab.fit_pca(rows, 6, "krylov")
    theirs = PCA(6, svd_solver="full").fit(rows.astype(np.float64))
    assert (found.solver, found.spectrum.is_complete) == ("krylov", False)
    np.testing.assert_allclose(found.explained_variance, theirs.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(
        found.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-9
    )
    cosines = (found.components.double().numpy() * theirs.components_).sum(1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-6)
    np.testing.assert_allclose(found.mean, theirs.mean_, rtol=1e-6, atol=1e-7)


def test_few_components_of_many_rows_are_found_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "SMALLEST_SIDE", 480)
    rows = planted(WIDE, LOG_LIKE)
    for few in (latentlab.fit_pca(rows, 4), LatentPCA(4).fit(rows).pca_):
        assert (few.solver, len(few.spectrum.explained_variance)) == ("krylov", 4)
    for complete in (
        latentlab.fit_pca(rows),
        latentlab.fit_pca(rows, 0.5),
        latentlab.fit_pca(rows, 31),
        latentlab.fit_pca(rows, 4, "exact"),
        latentlab.fit_pca(rows[:479], 4),
        latentlab.fit_pca(RowStream(torch.from_numpy(rows).split, *rows.shape), 4),
    ):
        assert (complete.solver, complete.spectrum.is_complete) == ("gram", True)


def test_what_needs_the_complete_spectrum_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path, linear_vae
) -> None:
    from latentlab.recipes.analysis import analyze

    monkeypatch.setattr(leading, "SMALLEST_SIDE", 20)
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = analyze(
        linear_vae, image, n_samples=24, n_components=1, nulls=["parallel"], folder=tmp_path / "r"
    )
    assert (found.pca.solver, found.pca.spectrum.is_complete) == ("gram", True)
    assert found.facts["participation_ratio"] is not None
    assert found.facts["eigenvalue_error_bounds"] is None


@pytest.mark.parametrize(("name", "count"), [("almost equal", 3), ("log-like", 100)])
def test_all_eigenvalues_where_none_can_be_certified(name: str, count: int) -> None:
    rows = planted(WIDE, SPECTRA[name])
    with pytest.warns(UserWarning, match="All eigenvalues were computed") as told:
        found = latentlab.fit_pca(rows, count, "krylov")
    assert told[0].filename == __file__
    assert (found.solver, found.spectrum.is_complete, found.error_bounds) == ("gram", True, None)
    np.testing.assert_allclose(found.explained_variance, eigenvalues(rows, count), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_what_float32_cannot_multiply_is_solved_exactly(scale: float) -> None:
    rows = planted((480, 500), LOG_LIKE) * scale
    with pytest.warns(UserWarning, match="All eigenvalues"):
        found = latentlab.fit_pca(rows, 3, "krylov")
    np.testing.assert_allclose(found.explained_variance, eigenvalues(rows, 3), rtol=1e-9)


def test_an_overlooked_eigenvalue_is_noticed() -> None:
    values = torch.cat([torch.arange(60.0, 0, -1), torch.full((140,), 0.1)]).double()
    turn = torch.linalg.qr(torch.randn(200, 200, generator=torch.Generator().manual_seed(0)))[0]
    turn = torch.linalg.qr(turn.double())[0]
    symmetric = turn * values @ turn.T
    first, without_third = [0, 1, 2, 3], [0, 1, 3, 4]
    for chosen, held in ((first, True), (without_third, False)):
        pairs = values[chosen], turn[:, chosen]
        assert is_below(symmetric.clone(), *pairs, 56.5) is held


def test_krylov_pairs_are_those_of_scipy_also_when_equal() -> None:
    values = np.repeat([5.0, 4.0, 3.0, 1.0], [2, 45, 1, 252])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 300)))[0]
    symmetric = turn * values @ turn.T
    found = krylov_eigenpairs(torch.from_numpy(symmetric), 2, tolerance=1e-10)
    assert found is not None
    theirs = eigh(symmetric, subset_by_index=[298, 299])
    np.testing.assert_allclose(found[0], theirs[0][::-1], rtol=1e-12)
    overlap = np.linalg.svd(found[1].numpy().T @ theirs[1], compute_uv=False)
    np.testing.assert_allclose(overlap, 1, atol=1e-9)
    assert found[2] == pytest.approx(4)


def test_the_bounds_are_saved_with_the_result(tmp_path) -> None:
    found = latentlab.fit_pca(planted(WIDE, LOG_LIKE), 3, "krylov")
    latentlab.save(found, tmp_path)
    facts = json.loads((tmp_path / "pca.json").read_text())
    assert (facts["solver"], facts["k50"], facts["participation_ratio"]) == ("krylov", None, None)
    assert facts["eigenvalue_error_bounds"] == found.error_bounds.tolist()


def test_bad_requests_are_one_clear_line() -> None:
    rows = torch.from_numpy(planted(WIDE, SPECTRA["rank 12"]))
    with pytest.raises(UsageError, match="not in memory"):
        latentlab.fit_pca(RowStream(rows.split, *rows.shape), 3, "krylov")
    with pytest.raises(UsageError, match="iterator"):
        latentlab.fit_pca(iter(rows.split(9)), 3, "krylov")
    with pytest.raises(ShapeError, match="1 to 12"):
        latentlab.fit_pca(rows, 20, "krylov")
    with pytest.raises(ShapeError, match="1 to 479"):
        latentlab.fit_pca(rows, 480, "krylov")
    with pytest.raises(UsageError, match="alike"):
        latentlab.fit_pca(torch.ones(240, 300), 2, "krylov")
    rows[3, 4] = torch.nan
    with pytest.raises(NonFiniteError, match="finite"):
        latentlab.fit_pca(rows, 3, "krylov")


def test_exact_is_never_randomized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "LARGEST_SIDE", 20)
    rows = torch.from_numpy(planted((60, 40), LOG_LIKE[:30]))
    stream = RowStream(rows.split, *rows.shape)
    assert latentlab.fit_pca(stream, 3).solver == "randomized"
    assert latentlab.fit_pca(stream, 3, "exact").solver == "covariance"
