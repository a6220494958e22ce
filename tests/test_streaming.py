"""PCA of streams against NumPy and SciPy, however it is found and however many share it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentlab.components import solvers
from latentlab.components.fitting import fit_pca
from latentlab.components.solvers import shared_scatter, streamed_gram
from latentlab.errors import NonFiniteError, ShapeError, UsageError
from latentlab.linalg import sums as scatter
from latentlab.linalg.rows import RowStream, moments_of_rows
from latentlab.linalg.sums import leading_eigenpairs


def falling(rows: int, columns: int, *, offset: float = 3.0, seed: int = 0) -> Tensor:
    """Return rows (N, D) far from zero, whose variances fall as those of images do."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(columns, columns, generator=generator).double())[0]
    return ((samples * torch.arange(1, columns + 1).rsqrt()) @ turn + offset).float()


def stream_of(matrix: Tensor) -> RowStream:
    """Return a matrix as a stream."""
    return RowStream(matrix.split, *matrix.shape)


def exact(matrix: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return variances and components by NumPy's singular values."""
    centered = matrix.double().numpy() - matrix.double().numpy().mean(0)
    _, values, vectors = np.linalg.svd(centered, full_matrices=False)
    return values**2 / (len(matrix) - 1), vectors


@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (2, 5)])
def test_exact_ways_agree_with_numpy(method: str, shape: tuple[int, int]) -> None:
    matrix = falling(*shape)
    found = fit_pca(stream_of(matrix), solver=method)
    variances, vectors = exact(matrix)
    known = min(shape[0] - 1, shape[1])
    assert (found.solver, found.error_bounds) == (method, None)
    np.testing.assert_allclose(
        found.spectrum.explained_variance, variances[:known], rtol=1e-9, atol=1e-12
    )
    assert found.spectrum.total_variance == pytest.approx(variances.sum(), rel=1e-10)
    kept = min(8, len(found.components))
    overlaps = np.abs((found.components[:kept].double().numpy() * vectors[:kept]).sum(1))
    np.testing.assert_allclose(overlaps, 1, atol=1e-5)
    np.testing.assert_allclose(found.mean, matrix.double().mean(0), rtol=1e-6)


def test_randomized_bounds_hold_and_are_small() -> None:
    matrix = falling(400, 300)
    found = fit_pca(stream_of(matrix), n_components=10, solver="randomized")
    variances, vectors = exact(matrix)
    bounds = found.error_bounds
    assert bounds is not None
    errors = np.abs(found.spectrum.explained_variance.numpy() - variances[:10])
    assert (errors <= bounds.numpy() + 1e-12).all()
    assert float(bounds[0]) < 0.01 * variances[0]
    assert found.spectrum.total_variance == pytest.approx(variances.sum(), rel=1e-10)
    assert not found.spectrum.is_complete
    assert abs(found.components[0].double().numpy() @ vectors[0]) > 0.999


def test_a_rough_search_has_bounds_that_are_wide_and_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "_PASSES", 1)
    matrix = torch.randn(200, 150, generator=torch.Generator().manual_seed(3))
    found = fit_pca(stream_of(matrix), n_components=5, solver="randomized")
    variances, _ = exact(matrix)
    assert found.error_bounds is not None
    for value, bound in zip(found.spectrum.explained_variance, found.error_bounds, strict=True):
        assert np.abs(variances - float(value)).min() <= float(bound)
    assert float(found.error_bounds[0]) > 0.05 * variances[0]


@pytest.mark.parametrize(
    ("shape", "largest", "method"),
    [((90, 30), 50, "covariance"), ((30, 90), 50, "gram"), ((70, 90), 50, "randomized"),
     ((20, 30), 50, "gram"), ((90, 30), 20, "randomized")],
)  # fmt: skip
def test_the_way_follows_from_what_is_small(
    shape: tuple[int, int], largest: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solvers, "LARGEST_SIDE", largest)
    assert fit_pca(stream_of(falling(*shape)), n_components=3).solver == method


def test_the_gram_matrix_needs_only_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = falling(61, 20)
    seen: list[int] = []

    def read(rows: int) -> Iterator[Tensor]:
        for chunk in matrix.split(min(rows, 9)):
            seen.append(len(chunk))
            yield chunk

    monkeypatch.setattr(solvers, "available_memory", lambda: 4 * 8 * 20 * 25)
    monkeypatch.setattr(RowStream, "chunk", property(lambda self: 9))
    mean, gram = streamed_gram(RowStream(read, 61, 20))
    centered = matrix.double() - matrix.double().mean(0)
    torch.testing.assert_close(mean, matrix.double().mean(0))
    torch.testing.assert_close(gram, centered @ centered.T, rtol=1e-10, atol=1e-10)
    assert max(seen) <= 9


def test_a_mean_far_away_costs_no_precision() -> None:
    matrix = falling(500, 20, offset=1000.0)
    mean, scatter = shared_scatter(stream_of(matrix))
    centered = matrix.double() - matrix.double().mean(0)
    torch.testing.assert_close(mean, matrix.double().mean(0))
    torch.testing.assert_close(scatter, centered.T @ centered, rtol=1e-9, atol=1e-9)
    _, total = moments_of_rows(stream_of(matrix))
    assert total == pytest.approx(float(centered.square().sum()) / 499, rel=1e-10)


def test_few_eigenvectors_of_a_large_matrix_agree_with_scipy() -> None:
    from scipy.linalg import eigh

    generator = torch.Generator().manual_seed(1)
    basis = torch.randn(2100, 40, dtype=torch.float64, generator=generator)
    symmetric = basis * torch.arange(40, 0, -1) @ basis.T / 2100
    symmetric += 0.01 * torch.eye(2100, dtype=torch.float64)
    values, vectors = leading_eigenpairs(symmetric, 6)
    wanted, exact_vectors = eigh(symmetric.numpy(), subset_by_index=[2094, 2099])
    assert len(values) == 2100
    np.testing.assert_allclose(values[:6], wanted[::-1], rtol=1e-9)
    np.testing.assert_allclose(
        np.abs((vectors.numpy() * exact_vectors[:, ::-1]).sum(0)), 1, atol=1e-9
    )


@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_few_eigenvectors_are_right_at_any_scale(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scatter, "_LARGE", 32)
    samples = falling(900, 400).double()
    symmetric = scale * samples.T @ samples
    # All vectors of a matrix are not needed for a few.
    monkeypatch.setattr(scatter, "eigenpairs", None)
    values, vectors = leading_eigenpairs(symmetric, 5)
    _, exact_vectors = np.linalg.eigh(symmetric.numpy() / scale)
    overlaps = np.abs((vectors.numpy() * exact_vectors[:, :-6:-1]).sum(0))
    np.testing.assert_allclose(overlaps, 1, atol=1e-9)
    residuals = symmetric @ vectors - vectors * values[:5]
    assert float(residuals.norm(dim=0).max()) < 1e-12 * float(values[0])


def test_all_eigenvectors_where_a_search_finds_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "_LARGE", 32)
    values = torch.arange(200.0, 0, -1).double()
    wrong = values[2:5].clone(), torch.eye(200, dtype=torch.float64)[:, 2:5]
    monkeypatch.setattr(scatter, "krylov_eigenpairs", lambda *_, **__: (*wrong, 0.0))
    found, vectors = leading_eigenpairs(values.diag(), 3)
    np.testing.assert_allclose(found, values, rtol=1e-12)
    np.testing.assert_allclose(vectors.diagonal().abs(), 1, rtol=1e-12)


def test_few_eigenvectors_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "_LARGE", 32)
    values, vectors = leading_eigenpairs(torch.zeros(40, 40, dtype=torch.float64), 3)
    assert not values.any()
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(3, dtype=torch.float64))


class Together:
    """Ranks that are threads: sums over all that come to the same point."""

    def __init__(self, world: int) -> None:
        self.world = world
        self.barrier = threading.Barrier(world)
        self.sums: dict[str, Tensor] = {}
        self.lock = threading.Lock()

    def add_up(self, values: Tensor, what: str) -> Tensor:
        """Return the sum over all ranks, in place."""
        with self.lock:
            assert what not in self.sums or self.sums[what].shape == values.shape
            self.sums[what] = self.sums.get(what, torch.zeros_like(values)) + values
        self.barrier.wait(20)
        return values.copy_(self.sums[what])


@pytest.mark.parametrize("method", ["covariance", "randomized"])
def test_ranks_that_share_the_rows_find_the_same(method: str) -> None:
    matrix = falling(230, 40)
    alone = fit_pca(stream_of(matrix), n_components=6, solver=method)
    ranks, found = Together(3), {}

    def work(rank: int) -> None:
        mine = matrix[rank::3].contiguous()
        rows = RowStream(mine.split, *matrix.shape, ranks=ranks)  # type: ignore[arg-type]
        found[rank] = fit_pca(rows, n_components=6, solver=method)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    for other in found.values():
        np.testing.assert_allclose(
            other.spectrum.explained_variance[:6],
            alone.spectrum.explained_variance[:6],
            rtol=1e-5,
        )
        torch.testing.assert_close(other.components, alone.components, rtol=1e-4, atol=1e-4)


def broken(value: float) -> Tensor:
    matrix = falling(30, 6)
    matrix[17, 3] = value
    return matrix


@pytest.mark.parametrize("method", ["covariance", "gram", "randomized"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(method: str, value: float) -> None:
    with pytest.raises(NonFiniteError, match="finite"):
        fit_pca(stream_of(broken(value)), n_components=2, solver=method)


@pytest.mark.parametrize("method", ["covariance", "gram", "randomized"])
def test_rows_that_are_all_alike_are_refused(method: str) -> None:
    with pytest.raises(UsageError, match="alike"):
        fit_pca(stream_of(torch.ones(20, 5)), n_components=2, solver=method)


@pytest.mark.parametrize(
    ("matrix", "options", "said"),
    [
        (torch.ones(1, 5), {}, "at least two samples"),
        (falling(20, 5), {"n_components": 6}, "6 components"),
        (falling(20, 5), {"n_components": 6, "solver": "randomized"}, "6 components"),
        (falling(20, 5), {"solver": "magic"}, "solver='magic'"),
    ],
)
def test_bad_requests_are_one_clear_line(
    matrix: Tensor, options: dict[str, Any], said: str
) -> None:
    with pytest.raises((ShapeError, UsageError), match=said):
        fit_pca(stream_of(matrix), **options)


def test_chunks_of_another_width_are_refused() -> None:
    rows = RowStream(lambda rows: iter([torch.zeros(3, 4), torch.zeros(3, 5)]), 6, 4)
    with pytest.raises(ShapeError, match="a chunk of shape"):
        fit_pca(rows)


def test_centered_chunks_share_memory_and_may_grow() -> None:
    matrix = falling(30, 4)
    rows = RowStream(lambda rows: iter(matrix.split([3, 20, 7])), 30, 4)
    shift = torch.arange(4.0, dtype=torch.float64)
    done, places = 0, []
    for block in rows.centered(shift):
        torch.testing.assert_close(block, matrix[done : done + len(block)].double() - shift)
        done += len(block)
        places.append(block.data_ptr())
    assert done == 30
    assert places[1] == places[2]
