"""Spectra, null models and shares of factors, on copies of a photo and on planted samples."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from oracles import Pair, oracle

import latentlab

HEADING = "Spectra, null models, factors"
PLACE = 1
N = 40


@cache
def copies() -> tuple[Any, Any, Any]:
    """Return 40 copies of a photo, their PCA and their rows as NumPy's float64."""
    vae = latentlab.load_vae("mini", device="cpu", dtype="float32")
    z = latentlab.encode(vae, "sample:flower", size=64)
    hood = latentlab.neighborhood(vae, z, "augment", n_samples=N)
    return hood, latentlab.fit_pca(hood), hood.samples.double().numpy()


@cache
def singular() -> Any:
    """Return NumPy's singular values of the centered rows."""
    rows = copies()[2]
    return np.linalg.svd(rows - rows.mean(0), compute_uv=False)[: N - 1]


def planted(n: int, d: int, seed: int = 0) -> Any:
    """Return rows (n, d) whose k-th feature has the variance 1/k."""
    return np.random.default_rng(seed).normal(size=(n, d)) / np.sqrt(np.arange(1, d + 1))


@oracle(
    numbers=("explained_variance",),
    by="NumPy: squared singular values / (N − 1)",
    tolerance=1e-9,
    test="test_pca.py::test_spectrum_equals_numpys_singular_values",
)
def eigenvalues() -> Pair:
    return copies()[1].explained_variance, (singular() ** 2 / (N - 1))[
        : len(copies()[1].components)
    ]


@oracle(
    numbers=("explained_variance_ratio", "cumulative", "components.explained_variance_ratio"),
    by="NumPy: running sums of squared singular values",
    tolerance=1e-9,
    test="test_pca.py::test_shares_are_of_the_total_variance_also_when_few_components_are_kept",
)
def shares() -> Pair:
    squares = singular() ** 2
    return copies()[1].spectrum.cumulative, np.cumsum(squares) / squares.sum()


@oracle(
    numbers=("total_variance",),
    by="NumPy: sum of the variances of all features",
    tolerance=1e-9,
    test="test_pca.py::test_any_matrix_gives_a_falling_spectrum_that_sums_to_its_variance",
)
def total() -> Pair:
    return copies()[1].spectrum.total_variance, copies()[2].var(0, ddof=1).sum()


@oracle(
    numbers=("k50", "k90", "k95", "k99"),
    by="NumPy: first rank whose share reaches 50, 90, 95, 99 %",
    tolerance=0,
    test="test_nulls.py::test_components_for_counts_from_one_and_knows_when_it_cannot_tell",
)
def ranks() -> Pair:
    summary = copies()[1].summary()
    reached = np.cumsum(singular() ** 2) / (singular() ** 2).sum()
    theirs = [np.searchsorted(reached, share) + 1 for share in (0.5, 0.9, 0.95, 0.99)]
    return [summary[name] for name in ("k50", "k90", "k95", "k99")], theirs


@oracle(
    numbers=("participation_ratio", "effective_dimension.value"),
    by="NumPy: (tr S)² / tr S² of the Gram matrix",
    tolerance=1e-9,
    test="test_intervals.py::test_values_are_those_of_the_spectrum_and_lie_inside",
)
def ratio() -> Pair:
    rows = copies()[2] - copies()[2].mean(0)
    gram = rows @ rows.T
    return copies()[1].summary()["participation_ratio"], np.trace(gram) ** 2 / np.sum(gram**2)


@oracle(
    numbers=("participation_ratio_corrected", "effective_dimension.corrected.value"),
    by="NumPy: means over four distinct rows, by brute force",
    tolerance=1e-9,
    test="test_intervals.py::test_the_corrected_ratio_is_a_mean_over_four_distinct_rows",
)
def corrected_ratio() -> Pair:
    from itertools import permutations

    from latentlab.metrics.spectrum import participation_ratio_corrected

    rows = planted(9, 4)
    centered = rows - rows.mean(0)
    values = np.linalg.svd(centered, compute_uv=False) ** 2 / 8
    i, j, k, m = np.array([*permutations(range(9), 4)]).T
    first, other = rows[i] - rows[j], rows[k] - rows[m]
    # Of independent differences: E‖a‖² E‖b‖² = 4 (tr Σ)², E (a·b)² = 4 tr Σ².
    squares = ((first * other).sum(1) ** 2).mean()
    traces = ((first**2).sum(1) * (other**2).sum(1)).mean()
    ours = participation_ratio_corrected(values, 9, (centered**2).sum(1))
    return ours, traces / squares


@oracle(
    numbers=("log_fit_r2", "linear_fit_r2", "null.log_fit_r2", "null.linear_fit_r2"),
    by="SciPy: `stats.linregress`",
    tolerance=1e-9,
    test="test_nulls.py::test_fits_equal_scipys_regression",
)
def fits() -> Pair:
    from scipy.stats import linregress

    summary, curve = copies()[1].summary(), np.cumsum(singular() ** 2) / (singular() ** 2).sum()
    k = np.arange(1, N)
    theirs = [linregress(x, curve).rvalue ** 2 for x in (np.log(k), k)]
    return [summary["log_fit_r2"], summary["linear_fit_r2"]], theirs


@oracle(
    numbers=("decay.exponent",),
    by="NumPy: `polyfit` of ln λ against ln k with weights 1/k",
    tolerance=1e-9,
    test="test_verdict.py::test_local_slopes_of_a_power_law_are_its_exponent",
)
def exponent() -> Pair:
    from latentlab.chance.decay import exponent_of

    values, k = singular()[:20] ** 2, np.arange(1, 21)
    slope = np.polyfit(np.log(k), np.log(values), 1, w=k**-0.5)[0]
    return exponent_of(torch.from_numpy(values)), -slope


@oracle(
    numbers=(
        *("effective_dimension.lower", "effective_dimension.upper"),
        *("effective_dimension.corrected.lower", "effective_dimension.corrected.upper"),
    ),
    by="NumPy: every row left out in turn; SciPy: Student's t",
    tolerance=1e-9,
    test="test_intervals.py::test_the_jackknife_leaves_each_row_out_of_sums_over_pairs",
)
def jackknife() -> Pair:
    from scipy.stats import t as student

    from latentlab.chance.ratio import intervals_of_ratio
    from latentlab.chance.row_groups import GramSums, RowGroups

    rows = torch.from_numpy(planted(9, 5))
    rows -= rows.mean(0)
    sums = GramSums(rows, RowGroups(torch.arange(9), ""))
    found = intervals_of_ratio(sums, rows, latentlab.fit_pca(rows).spectrum)[0]
    gram, logs = (rows @ rows.T).numpy(), []
    for left in range(9):
        kept = np.delete(np.delete(gram, left, 0), left, 1)
        logs.append(np.log(np.trace(kept) ** 2 / np.sum(kept**2)))
    apart = np.array(logs) - np.mean(logs)
    squares = np.sum(apart**2)
    wide = student.ppf(0.975, max(squares**2 / np.sum(apart**4), 1.5))
    bend = np.clip(-np.sum(apart**3) / squares**1.5 / 2 * wide, -0.95, 0.95)
    reach = [abs(np.log1p(sign * bend) / bend * wide) for sign in (1, -1)]
    error, value = np.sqrt(8 / 9 * squares), found.value
    theirs = [value / np.exp(error * reach[0]), value * np.exp(error * reach[1])]
    return [found.lower, found.upper], theirs


@oracle(
    numbers=("eigenvalue_error_bounds",),
    by="NumPy: how far eigenvalues of the randomized and krylov solvers lie outside their bounds",
    tolerance=0,
    test="test_streaming.py::test_randomized_bounds_hold_and_are_small",
)
def bounds() -> Pair:
    beyond = []
    for solver, slack in (("randomized", 1e-12), ("krylov", 0.0)):
        rows = planted(400, 360) * 0.95 ** np.arange(360)
        found = latentlab.fit_pca(rows, 8, solver)
        assert found.solver == solver
        true = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:8] ** 2 / 399
        apart = np.abs(found.explained_variance.numpy() - true)
        beyond.append(apart - found.error_bounds.numpy() - slack)
    return np.maximum(np.concatenate(beyond), 0), np.zeros(16)


@oracle(
    numbers=(
        "null.curve",
        "null.eigenvalues",
        "null.threshold",
        "null.largest_eigenvalue_quantile",
    ),
    by="NumPy: 1,000 draws of isotropic noise (tolerance: their sampling error)",
    tolerance=0.02,
    test="test_nulls.py::test_isotropic_curve_equals_that_of_drawn_noise",
)
def isotropic() -> Pair:
    from latentlab.chance.nulls import isotropic as null

    generator, drawn = np.random.default_rng(0), []
    for _ in range(1000):
        rows = generator.normal(size=(40, 100))
        drawn.append(np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:39] ** 2 / 39)
    largest = np.quantile(np.array(drawn)[:, 0], [0.95, 0.99])
    law = (null._TRACY_WIDOM_95, null._TRACY_WIDOM_99)
    ours = [null.isotropic_largest(40, 100, one) for one in law]
    expected = null.isotropic_spectrum(40, 100).explained_variance
    return [*expected, *ours], [*np.mean(drawn, 0), *largest]


@oracle(
    numbers=("null.curve", "null.eigenvalues", "null.eigenvalues_lower", "null.eigenvalues_upper"),
    by="NumPy: 300 times every column permuted by itself (tolerance: sampling error)",
    tolerance=0.03,
    test="test_nulls_drawn.py::test_draws_are_distributed_as_by_brute_force",
)
def permuted() -> Pair:
    from latentlab.chance.nulls import NULLS

    rows = planted(24, 30) * np.arange(1, 25)[:, None] ** 0.5
    samples = torch.from_numpy(rows)
    ours = NULLS.make("parallel").draw(samples, latentlab.fit_pca(samples).spectrum, draws=300)
    generator, drawn = np.random.default_rng(1), []
    for _ in range(300):
        mixed = generator.permuted(rows, axis=0)
        drawn.append(np.linalg.svd(mixed - mixed.mean(0), compute_uv=False)[:23] ** 2 / 23)
    return ours.spectra.numpy().mean(0), np.mean(drawn, 0)


@oracle(
    numbers=("elbow.index", "elbow.drop", "components_above_null", "null.components_above"),
    by="three directions that were planted in noise; NumPy: the ratio of eigenvalues there",
    tolerance=1e-9,
    test="test_verdict.py::test_planted_components_end_in_an_elbow",
)
def elbow() -> Pair:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(120, 60))
    directions = np.linalg.qr(generator.normal(size=(60, 3)))[0]
    rows += 12 * generator.normal(size=(120, 3)) @ directions.T
    found = latentlab.judge(torch.from_numpy(rows), latentlab.fit_pca(rows), nulls=["parallel"])
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    assert found.elbow is not None
    ours = [found.elbow.index, found.elbow.drop, found.components_above]
    return ours, [3, values[2] / values[3], 3]


@oracle(
    numbers=("additivity.shares.value", "controls.additivity.value", "controls.additivity"),
    by="scikit-learn: `Ridge` with every sample left out in turn",
    tolerance=2e-3,
    test="test_factor_model.py::test_shares_are_those_of_scikit_learn_leaving_one_out",
)
def additivity() -> Pair:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    from latentlab.directions.additivity import leave_one_out, terms_of

    hood, _, rows = copies()
    factors = torch.stack([*hood.factors.values()], 1).double()
    gains = [name in ("zoom", "brightness", "contrast", "saturation") for name in hood.factors]
    factors[:, gains] = factors[:, gains].log()
    centered = torch.from_numpy(rows - rows.mean(0))
    terms = terms_of(factors, "linear")
    penalty = leave_one_out(centered @ centered.T, terms).penalty
    left = cross_val_predict(Ridge(penalty), terms.numpy(), rows, cv=LeaveOneOut())
    means = (rows.sum(0) - rows) / (N - 1)
    theirs = 1 - np.sum((rows - left) ** 2) / np.sum((rows - means) ** 2)
    return latentlab.factor_model(hood).shares["linear"].value, theirs


@oracle(
    numbers=(
        *("controls.participation_ratio", "controls.k50", "controls.k90", "controls.k95"),
        *("controls.k99", "controls.effective_dimension.value"),
    ),
    by="NumPy: squared singular values of other rows, as those of the pixels are",
    tolerance=1e-9,
    test="test_controls.py::test_pixels_have_the_spectrum_of_all_pixels",
)
def pixels() -> Pair:
    rows = planted(30, 50, seed=3)
    summary = latentlab.fit_pca(rows).summary()
    squares = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:29] ** 2
    reached = np.cumsum(squares) / squares.sum()
    theirs = [np.searchsorted(reached, share) + 1 for share in (0.5, 0.9, 0.95, 0.99)]
    ours = [summary[name] for name in ("k50", "k90", "k95", "k99", "participation_ratio")]
    return ours, [*theirs, squares.sum() ** 2 / np.sum(squares**2)]


@oracle(
    numbers=("extremes", "scores.csv"),
    by="scikit-learn: `PCA.transform`, up to signs",
    tolerance=1e-5,
    test="test_scores.py::test_scores_and_residuals_are_those_of_scikit_learn",
)
def scores() -> Pair:
    from sklearn.decomposition import PCA

    hood, pca, rows = copies()
    theirs = PCA(4, svd_solver="full").fit(rows).transform(rows)
    return np.abs(pca.transform(hood.samples)[:, :4].numpy()), np.abs(theirs)
