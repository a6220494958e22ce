"""PCA against NumPy, scikit-learn and planted answers."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import decomposition

import latentlab
from latentlab.components.checks import KEPT_COMPONENTS
from latentlab.components.fitting import fit_pca
from latentlab.errors import MemoryLimitError, NonFiniteError, ShapeError, UsageError
from latentlab.layouts import WholeLayout, Window
from latentlab.linalg import sums as scatter
from latentlab.testing.planted import hood_of

SHAPES = [(40, 300), (300, 40), (50, 50), (2, 9), (9, 2), (80, 79), (80, 81)]


def colored(n_samples: int, n_features: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.arange(1, n_features + 1) ** -0.7
    samples = torch.randn(n_samples, n_features, generator=generator) * scales
    mixing = torch.linalg.qr(torch.randn(n_features, n_features, generator=generator))[0]
    return samples @ mixing + 3


@pytest.mark.parametrize("shape", SHAPES)
def test_spectrum_equals_numpys_singular_values(shape: tuple[int, int]) -> None:
    samples = colored(*shape)
    spectrum = fit_pca(samples).spectrum
    centered = samples.double() - samples.double().mean(0)
    expected = np.linalg.svd(centered.numpy(), compute_uv=False) ** 2 / (shape[0] - 1)
    rank = min(shape[0] - 1, shape[1])
    assert len(spectrum.explained_variance) == rank
    np.testing.assert_allclose(spectrum.explained_variance, expected[:rank], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(spectrum.total_variance, centered.var(0).sum(), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_components_equal_scikit_learns_up_to_sign(shape: tuple[int, int]) -> None:
    samples = colored(*shape)
    components = fit_pca(samples, n_components=1).components
    expected = decomposition.PCA(1, svd_solver="full").fit(samples.double().numpy()).components_
    cosine = components.double().numpy() @ expected.T
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_components_are_orthonormal_and_their_largest_entry_is_positive(
    shape: tuple[int, int],
) -> None:
    components = fit_pca(colored(*shape)).components.double()
    identity = torch.eye(len(components), dtype=torch.float64)
    torch.testing.assert_close(components @ components.T, identity, atol=2e-6, rtol=0)
    assert (components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all()


@pytest.mark.parametrize("shape", [(60, 300), (300, 60)])
def test_few_components_of_many_samples_equal_scikit_learns(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scatter, "_LARGE", 32)
    samples = colored(*shape)
    pca = fit_pca(samples, n_components=4)
    expected = decomposition.PCA(4, svd_solver="full").fit(samples.double().numpy())
    cosines = (pca.components.double().numpy() * expected.components_).sum(1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-6)
    assert len(pca.spectrum.explained_variance) == min(shape[0] - 1, shape[1])
    np.testing.assert_allclose(
        pca.spectrum.explained_variance[:4], expected.explained_variance_, rtol=1e-9
    )


def test_shares_are_of_the_total_variance_also_when_few_components_are_kept() -> None:
    pca = fit_pca(colored(60, 200), n_components=3)
    assert len(pca.components) == 3
    assert float(pca.spectrum.cumulative[-1]) == pytest.approx(1)
    assert float(pca.spectrum.explained_variance_ratio[0]) < 0.9


def test_by_default_64_components_are_kept_of_a_complete_spectrum() -> None:
    pca = fit_pca(torch.randn(100, 150, generator=torch.Generator().manual_seed(1)))
    assert len(pca.components) == KEPT_COMPONENTS
    assert len(pca.spectrum.explained_variance) == 99


@pytest.mark.parametrize("fit", [fit_pca, lambda samples: fit_pca(samples, 2, "randomized")])
@pytest.mark.parametrize("shape", [(10, 30), (30, 10)])
def test_the_samples_are_left_as_they_were(fit, shape: tuple[int, int]) -> None:
    samples = colored(*shape).double()
    before = samples.clone()
    fit(samples)
    assert torch.equal(samples, before)


def test_a_large_common_offset_costs_no_accuracy() -> None:
    samples = torch.randn(30, 500, generator=torch.Generator().manual_seed(2))
    spectrum = fit_pca(samples + 1000).spectrum
    # What float32 itself lost when 1000 was added is the tolerance.
    torch.testing.assert_close(
        spectrum.explained_variance, fit_pca(samples).spectrum.explained_variance,
        rtol=1e-3, atol=0,
    )  # fmt: skip


@pytest.mark.parametrize("sizes", [(1, 1, 98), (50, 50), (100,), (33, 0, 33, 34)])
def test_a_stream_gives_what_the_matrix_gives(sizes: tuple[int, ...]) -> None:
    samples = colored(100, 30)
    streamed = fit_pca(iter(samples.split(sizes)))
    whole = fit_pca(samples)
    torch.testing.assert_close(
        streamed.spectrum.explained_variance, whole.spectrum.explained_variance
    )
    torch.testing.assert_close(streamed.components, whole.components, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(streamed.mean, whole.mean)


def test_randomized_agrees_with_exact_where_the_spectrum_falls() -> None:
    samples = colored(200, 400)
    exact, approximate = fit_pca(samples), fit_pca(samples, 5, "randomized")
    torch.testing.assert_close(
        approximate.spectrum.explained_variance,
        exact.spectrum.explained_variance[:5],
        rtol=0.02,
        atol=0,
    )
    assert approximate.spectrum.total_variance == pytest.approx(exact.spectrum.total_variance)
    assert (approximate.components[:2] * exact.components[:2]).sum(1).min() > 0.99


def test_rotating_the_space_changes_nothing_but_the_directions() -> None:
    samples = colored(60, 40)
    square = torch.randn(40, 40, generator=torch.Generator().manual_seed(3))
    rotation = torch.linalg.qr(square)[0]
    torch.testing.assert_close(
        fit_pca(samples @ rotation).spectrum.explained_variance,
        fit_pca(samples).spectrum.explained_variance,
        rtol=1e-4,
        atol=1e-9,
    )


@settings(max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_any_matrix_gives_a_falling_spectrum_that_sums_to_its_variance(
    samples: np.ndarray,
) -> None:
    total = samples.astype(np.float64).var(0, ddof=1).sum()
    if total == 0:
        with pytest.raises(UsageError, match="alike"):
            fit_pca(torch.from_numpy(samples))
        return
    spectrum = fit_pca(torch.from_numpy(samples)).spectrum
    assert (spectrum.explained_variance.diff() <= 0).all()
    assert (spectrum.explained_variance >= 0).all()
    assert float(spectrum.explained_variance.sum()) == pytest.approx(total, rel=1e-6)


def test_components_of_a_neighborhood_lift_to_directions(linear_latent) -> None:
    layout = WholeLayout((6, 8, 10), Window(0, 0, 8, 10))
    hood = hood_of(colored(20, 480), linear_latent, layout)
    pca = fit_pca(hood, n_components=4)
    directions = pca.directions
    assert directions.vectors.shape == (4, 6, 8, 10)
    torch.testing.assert_close(directions.vectors.flatten(1), pca.components)
    torch.testing.assert_close(directions.deviations**2, pca.spectrum.explained_variance[:4])
    assert directions.labels == ("PC 1", "PC 2", "PC 3", "PC 4")


def test_one_sample_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least two"):
        fit_pca(torch.zeros(1, 5))


@pytest.mark.parametrize("n_components", [0, 20, 100])
def test_more_components_than_the_rank_are_refused(n_components: int) -> None:
    with pytest.raises(ShapeError, match=rf"{n_components} components, but expected 1 to 19"):
        fit_pca(torch.randn(20, 64), n_components=n_components)


def test_the_rank_of_repeated_samples_counts_only_once() -> None:
    samples = torch.randn(4, 50).repeat(5, 1)
    with pytest.raises(ShapeError, match="1 to 3"):
        fit_pca(samples, n_components=4)
    assert len(fit_pca(samples).components) == 3


@pytest.mark.parametrize("fit", [fit_pca, lambda samples: fit_pca(samples, 2, "randomized")])
@pytest.mark.parametrize("shape", [(10, 30), (30, 10)])
def test_nan_is_refused(fit, shape: tuple[int, int]) -> None:
    samples = torch.randn(shape)
    samples[3, 4] = torch.nan
    with pytest.raises(NonFiniteError, match="NaN"):
        fit(samples)


def test_a_gram_matrix_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.0001")
    with pytest.raises(MemoryLimitError, match=r"100×100 matrix.*randomized"):
        fit_pca(torch.randn(100, 200))


@pytest.mark.parametrize("chunks", [[torch.ones(3)], [torch.ones(3, 4), torch.ones(3, 5)]])
def test_chunks_that_do_not_fit_are_refused(chunks: list[torch.Tensor]) -> None:
    with pytest.raises(ShapeError, match="chunk of shape"):
        fit_pca(iter(chunks))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (torch.zeros(5), "shape (5,)"),
        (torch.zeros(3, 4, 5), "shape (3, 4, 5)"),
        ([torch.ones(3, 4), torch.ones(2, 4)], "a list that is no matrix"),
        ([[1.0, 2.0], [3.0]], "a list that is no matrix"),
        ("rows", "a str that is no matrix"),
    ],
)
def test_what_is_no_matrix_is_refused(rows: object, said: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(said)):
        fit_pca(rows)
    with pytest.raises(ShapeError, match=re.escape(said)):
        fit_pca(torch.randn(5, 5)).transform(rows)


def test_rows_of_another_length_are_refused() -> None:
    pca = fit_pca(colored(20, 5), 3)
    with pytest.raises(ShapeError, match=r"shape \(2, 4\), but expected \(n, 5\)"):
        pca.transform(torch.zeros(2, 4))
    with pytest.raises(ShapeError, match=r"shape \(2, 5\), but expected \(n, 3\)"):
        pca.inverse_transform(torch.zeros(2, 5))


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_scores_and_the_way_back_equal_scikit_learns(shape: tuple[int, int]) -> None:
    rows = colored(*shape)
    ours = latentlab.fit_pca(rows, 4)
    theirs = decomposition.PCA(4, svd_solver="full").fit(rows.double().numpy())
    signs = np.sign((ours.components.numpy() * theirs.components_).sum(1))
    expected = theirs.transform(rows.double().numpy())
    scores = ours.transform(rows)
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores, signs * expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        ours.inverse_transform(scores), theirs.inverse_transform(expected), rtol=0, atol=1e-6
    )


def test_as_many_components_as_the_rank_lose_nothing() -> None:
    rows = colored(30, 8)
    pca = fit_pca(rows)
    torch.testing.assert_close(
        pca.inverse_transform(pca.transform(rows)), rows.double(), rtol=0, atol=2e-6
    )


def test_arrays_may_be_read_only_and_of_any_type(tmp_path) -> None:
    rows = colored(20, 6).numpy()
    np.save(tmp_path / "rows.npy", rows)
    expected = fit_pca(torch.from_numpy(rows))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for same in (mapped, rows.tolist(), rows.astype(np.float64)):
        found = fit_pca(same)
        torch.testing.assert_close(found.components, expected.components)
        torch.testing.assert_close(found.transform(same), expected.transform(rows))


def test_a_plain_matrix_has_no_directions() -> None:
    with pytest.raises(UsageError, match="neighborhood"):
        _ = fit_pca(torch.randn(5, 5)).directions
