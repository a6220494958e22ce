"""Disentanglement metrics: planted codes whose scores are known, and SciPy and scikit-learn."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from latentlab.digits.objective import total_correlation
from latentlab.errors import UsageError
from latentlab.metrics.beta_vae import beta_vae_score
from latentlab.metrics.dci import DCI, completeness_of, dci, disentanglement_of
from latentlab.metrics.factor_vae import factor_vae_score
from latentlab.metrics.fixed_factor import agreeing_batches
from latentlab.metrics.mig import corrected_gaps, information_gaps, mig
from latentlab.metrics.modularity import modularity, modularity_of
from latentlab.metrics.mutual_information import discretize, entropy, mutual_information
from latentlab.metrics.sap import sap

LEVELS = (4, 5, 6)


@pytest.fixture(scope="module")
def factors() -> np.ndarray:
    """Return independent factors (3000, 3) with 4, 5 and 6 values."""
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(levels, size=3000) for levels in LEVELS], axis=1)


@pytest.fixture(scope="module")
def identity(factors: np.ndarray) -> np.ndarray:
    return factors.astype(float)


@pytest.fixture(scope="module")
def rotated(identity: np.ndarray) -> np.ndarray:
    """Return the identity code, standardized and rotated at random: the entangled control."""
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    return (identity - identity.mean(0)) / identity.std(0) @ rotation


def read(codes: np.ndarray, factors: np.ndarray) -> DCI:
    return dci(codes[:1000], factors[:1000], codes[1000:2000], factors[1000:2000], trees=20)


def all_scores(codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
    votes, trees = {"train": 500, "test": 300}, read(codes, factors)
    return {
        "mig": mig(codes, factors),
        "sap": sap(codes[:1500], factors[:1500], codes[1500:], factors[1500:]),
        "disentanglement": trees.disentanglement,
        "completeness": trees.completeness,
        "informativeness": trees.informativeness,
        "modularity": modularity(codes, factors),
        "factor_vae": factor_vae_score(codes, factors, **votes),
        "beta_vae": beta_vae_score(codes, factors, **votes),
    }


@pytest.fixture(scope="module")
def aligned(identity: np.ndarray, factors: np.ndarray) -> dict[str, float]:
    """Return all scores of the identity code."""
    return all_scores(identity, factors)


def test_mutual_information_and_entropy_equal_scikit_learns_and_scipys() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(7, size=(500, 2)), rng.integers(5, size=(500, 3))
    second[:, 0] = first[:, 0] // 2
    expected = [[mutual_info_score(a, b) for b in second.T] for a in first.T]
    np.testing.assert_allclose(mutual_information(first, second), expected, atol=1e-12)
    shares = [np.bincount(column) / 500 for column in second.T]
    np.testing.assert_allclose(entropy(second), [scipy_entropy(share) for share in shares])


def test_bins_are_those_of_numpys_histogram() -> None:
    values = np.random.default_rng(3).normal(size=(400, 2))
    binned = discretize(values)
    for column, bins in zip(values.T, binned.T, strict=True):
        counts, _ = np.histogram(column, bins=20)
        assert np.bincount(bins, minlength=20).tolist() == counts.tolist()
    assert discretize(np.array([[5], [-2], [5]]))[:, 0].tolist() == [1, 0, 1]


def test_the_identity_code_scores_at_least_nine_tenths_on_everything(
    aligned: dict[str, float],
) -> None:
    scores = dict(aligned)
    # A linear reader of one latent tells the middle levels apart less well: SAP is a gap.
    assert scores.pop("sap") > 0.35
    assert all(score >= 0.9 for score in scores.values()), scores


def test_a_continuous_identity_code_scores_high_in_sap_too() -> None:
    z = np.random.default_rng(4).normal(size=(4000, 4))
    assert sap(z, z) >= 0.9


def test_the_rotated_control_scores_lower_where_a_metric_sees_axes(
    aligned: dict[str, float], rotated: np.ndarray, factors: np.ndarray
) -> None:
    entangled = all_scores(rotated, factors)
    for name in ("mig", "sap", "disentanglement", "completeness", "modularity"):
        assert entangled[name] < aligned[name] - 0.05, name
    assert entangled["mig"] < 0.5 < 0.9 < aligned["mig"]


def test_a_duplicated_code_costs_mig_and_sap_but_not_disentanglement(
    identity: np.ndarray, factors: np.ndarray
) -> None:
    twice = np.hstack((identity, identity))
    assert mig(twice, factors) <= 0.1
    assert sap(twice, factors) <= 0.2
    assert read(twice, factors).disentanglement >= 0.9


def test_shuffled_factors_score_nothing(identity: np.ndarray, factors: np.ndarray) -> None:
    shuffled = np.random.default_rng(5).permutation(factors)
    assert mig(identity, shuffled) < 0.02
    assert sap(identity[:1500], shuffled[:1500]) < 0.1
    assert factor_vae_score(identity, shuffled, train=500, test=300) < 0.6


def test_one_code_for_two_factors_scores_what_the_entropy_says() -> None:
    importance = np.kron(np.eye(5), np.ones((1, 2)))
    assert disentanglement_of(importance) == pytest.approx(1 - math.log(2) / math.log(10))
    assert completeness_of(importance) == pytest.approx(1)
    assert modularity_of(importance) == pytest.approx(1 - 1 / 9)


def test_empty_codes_count_nothing_in_modularity() -> None:
    assert modularity_of(np.vstack((np.eye(10), np.zeros((5, 10))))) == pytest.approx(2 / 3)


def test_gaps_equal_the_formula_on_scikit_learns_mutual_information(factors: np.ndarray) -> None:
    rng = np.random.default_rng(6)
    codes = np.where(rng.random(factors.shape) < 0.7, factors, rng.integers(4, size=factors.shape))
    for factor, gap in enumerate(information_gaps(codes, factors)):
        told = sorted(mutual_info_score(code, factors[:, factor]) for code in codes.T)
        whole = scipy_entropy(np.bincount(factors[:, factor]))
        assert gap == pytest.approx((told[-1] - told[-2]) / whole)


def test_still_latents_do_not_vote(identity: np.ndarray, factors: np.ndarray) -> None:
    padded = np.hstack((identity, np.full((len(identity), 2), 0.3)))
    assert factor_vae_score(padded, factors, train=500, test=300) >= 0.9
    assert factor_vae_score(padded[:, 3:], factors, train=10, test=10) == 0


def test_continuous_factors_are_read_by_regression() -> None:
    z = np.random.default_rng(7).normal(size=(1500, 3))
    found = dci(z[:1000], z[:1000], z[1000:], z[1000:], trees=50)
    assert found.disentanglement > 0.9
    assert found.completeness > 0.9
    assert found.informativeness > 0.9


def test_a_factor_that_never_varies_is_left_out_of_every_score(
    identity: np.ndarray, factors: np.ndarray, aligned: dict[str, float]
) -> None:
    with_constant = np.hstack((factors, np.full((len(factors), 1), 3)))
    assert np.isnan(information_gaps(identity, with_constant)[3])
    for name, score in all_scores(identity, with_constant).items():
        assert score == pytest.approx(aligned[name], abs=0.02), name
    noise = np.random.default_rng(8).normal(size=(1500, 4))
    floats = np.hstack((noise[:, :3] + 1e5, np.full((1500, 1), 0.1)))
    assert mig(noise, floats) == pytest.approx(mig(noise, floats[:, :3]))
    assert sap(noise, floats) == pytest.approx(sap(noise, floats[:, :3]))
    for metric in (mig, sap, modularity, factor_vae_score, beta_vae_score):
        with pytest.raises(UsageError, match="never vary"):
            metric(noise, floats[:, 3:])


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_the_unit_of_a_code_does_not_matter(
    scale: float, identity: np.ndarray, factors: np.ndarray
) -> None:
    votes = {"train": 300, "test": 200}
    expected = factor_vae_score(identity, factors, **votes)
    assert factor_vae_score(scale * identity, factors, **votes) == expected


def test_a_latent_of_noise_is_empty_in_modularity(
    identity: np.ndarray, factors: np.ndarray
) -> None:
    noise = np.random.default_rng(9).normal(size=(len(identity), 3))
    assert modularity(np.hstack((identity, noise)), factors) == pytest.approx(0.5, abs=0.01)
    named = [
        modularity(noise[:200], np.random.default_rng(seed).permutation(factors)[:200]) > 0
        for seed in range(20)
    ]
    assert sum(named) <= 4  # 5 % expected


def test_corrected_gaps_of_few_samples_are_those_of_many() -> None:
    rng = np.random.default_rng(10)

    def planted(count: int) -> tuple[np.ndarray, np.ndarray]:
        values = rng.uniform(size=(count, 3))
        codes = values + 0.1 * rng.normal(size=(count, 3))
        return np.hstack((codes, rng.normal(size=(count, 1)))), values

    truth = mig(*planted(50_000))
    few = [planted(200) for _ in range(6)]
    corrected = np.mean([corrected_gaps(*one).mean() for one in few])
    assert corrected == pytest.approx(truth, rel=0.12)
    assert np.mean([mig(*one) for one in few]) < 0.75 * truth


@pytest.mark.parametrize(("deviation", "batch"), [(1.0, 1), (1e-4, 128)])
def test_the_total_correlation_of_independent_latents_is_the_constant_that_is_documented(
    deviation: float, batch: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = (1 - deviation**2) ** 0.5 * torch.randn(128, 4, generator=generator)
    z = mean + deviation * torch.randn(128, 4, generator=generator)
    logvar = torch.full_like(mean, 2 * math.log(deviation))
    found = float(total_correlation(z, mean, logvar, 60_000))
    assert found == pytest.approx(3 * math.log(batch * 60_000), rel=0.002)


# Independent implementations, which share nothing but the rows that were drawn


@pytest.fixture(scope="module")
def mixed() -> tuple[np.ndarray, np.ndarray]:
    """Return codes (400, 4) that mix the classes (400, 3) of factors, and a latent of noise."""
    rng = np.random.default_rng(11)
    factors = np.stack([rng.integers(levels, size=400) for levels in (2, 3, 4)], axis=1)
    codes = factors @ np.array([[1, 0.4, 0, 0], [0, 1, 0.3, 0], [0.2, 0, 1, 0]])
    return codes + 0.3 * rng.normal(size=(400, 4)), factors


def test_modularity_is_an_independent_implementation(
    mixed: tuple[np.ndarray, np.ndarray],
) -> None:
    codes, factors = mixed
    binned = np.stack([np.digitize(z, np.histogram(z, 20)[1][1:-1]) for z in codes.T], 1)

    def information(z: np.ndarray, v: np.ndarray) -> float:
        table = np.histogram2d(z, v, (range(21), range(v.max() + 2)))[0] / len(z)
        return float(
            scipy_entropy(table.sum(0)) + scipy_entropy(table.sum(1)) - scipy_entropy(table.ravel())
        )

    def informations(v: np.ndarray) -> np.ndarray:
        return np.array([[information(z, one) for one in v.T] for z in binned.T])

    rng = np.random.default_rng(0)
    by_chance = np.stack([informations(rng.permutation(factors)) for _ in range(100)])
    table, scores = informations(factors), []
    for row, chance in zip(table, by_chance.mean(0), strict=True):
        if row.max() <= np.quantile(by_chance.max((1, 2)), 0.95):
            scores.append(0.0)
            continue
        squares = sorted(max(0.0, one) ** 2 for one in row - chance)
        scores.append(1 - sum(squares[:-1]) / squares[-1] / (len(squares) - 1))
    assert scores[-1] == 0 < min(scores[:-1])
    assert modularity(codes, factors) == pytest.approx(np.mean(scores), abs=1e-6)


def test_sap_is_an_independent_implementation(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    codes, factors = mixed
    gaps = []
    for v in factors.T:
        accuracies = []
        for z in codes.T:
            reader = make_pipeline(
                StandardScaler(), LinearSVC(C=0.01, class_weight="balanced", random_state=0)
            )
            reader.fit(z[:250, None], v[:250])
            accuracies.append(np.mean(reader.predict(z[250:, None]) == v[250:]))
        gaps.append(sorted(accuracies)[-1] - sorted(accuracies)[-2])
    found = sap(codes[:250], factors[:250], codes[250:], factors[250:])
    assert found == pytest.approx(np.mean(gaps), abs=1e-6)
    noise = np.random.default_rng(0).normal(size=(400, 1))
    values = factors + noise
    squares = np.corrcoef(codes.T, values.T)[:4, 4:] ** 2
    ranked = np.sort(squares, 0)
    assert sap(codes, values) == pytest.approx((ranked[-1] - ranked[-2]).mean(), abs=1e-6)


def test_dci_is_an_independent_implementation(mixed: tuple[np.ndarray, np.ndarray]) -> None:
    codes, factors = mixed
    scaler = StandardScaler().fit(codes[:250])
    z, test_z = scaler.transform(codes[:250]), scaler.transform(codes[250:])
    # Trees that may choose between equal splits depend on order and sign, which are fixed so.
    signs = [1 if one.max() > -one.min() else -1 for one in z.T]
    order = np.argsort((z * signs)[0])
    z, test_z = (z * signs)[:, order], (test_z * signs)[:, order]
    trees = [
        GradientBoostingClassifier(n_estimators=10, random_state=0).fit(z, v[:250])
        for v in factors.T
    ]
    table = np.stack([one.feature_importances_ for one in trees], 1)
    shares = table.sum(1) / table.sum(), table.sum(0) / table.sum()
    apart = 1 - scipy_entropy(table, base=3, axis=1), 1 - scipy_entropy(table, base=4, axis=0)
    found = dci(codes[:250], factors[:250], codes[250:], factors[250:], trees=10)
    assert found.disentanglement == pytest.approx(shares[0] @ apart[0], abs=1e-6)
    assert found.completeness == pytest.approx(shares[1] @ apart[1], abs=1e-6)
    hits = [one.score(test_z, v[250:]) for one, v in zip(trees, factors.T, strict=True)]
    assert found.informativeness == pytest.approx(np.mean(hits), abs=1e-6)


def test_dci_of_codes_on_a_grid_does_not_depend_on_units_and_signs() -> None:
    factors = np.stack(np.unravel_index(np.random.default_rng(0).permutation(60), (5, 4, 3)), 1)
    codes = factors @ np.array([[1, 1, 0], [1, 0, 1], [0, 1, -1]])  # −max is as large as max
    plain = dci(codes, factors, codes, factors, trees=5)
    for unit in (0.1, 1 / 3, -0.7):
        other = dci(codes * unit, factors, codes * unit, factors, trees=5)
        assert asdict(other) == pytest.approx(asdict(plain), abs=1e-9), unit


def test_factor_vae_is_an_independent_implementation(
    mixed: tuple[np.ndarray, np.ndarray],
) -> None:
    codes, factors = mixed
    lively = codes[:, :3] @ np.array([[1, 0.9, 0.8], [-0.9, 1, 0.7], [0.3, -0.8, 1]])
    codes = np.hstack((lively, 0.01 * codes[:, 3:]))  # the last keeps too still to vote
    rng = np.random.default_rng(0)

    def votes(count: int) -> list[tuple[int, int]]:
        return [
            (int(np.argmin(np.var(lively[rows], 0) / np.var(lively, 0))), factor)
            for factor, rows in agreeing_batches(factors, count, rng)
        ]

    learned, checked = votes(300), votes(200)
    meant = [
        Counter(k for latent, k in learned if latent == one).most_common(1) for one in range(3)
    ]
    right = [bool(meant[latent]) and meant[latent][0][0] == k for latent, k in checked]
    found = factor_vae_score(codes, factors, train=300, test=200)
    assert found == pytest.approx(np.mean(right), abs=1e-6)
    assert 0.4 < found < 1


def test_beta_vae_is_an_independent_implementation(
    mixed: tuple[np.ndarray, np.ndarray],
) -> None:
    codes, factors = mixed
    z, rng = (codes - codes.mean(0)) / codes.std(0), np.random.default_rng(0)

    def pairs(count: int) -> tuple[np.ndarray, list[int]]:
        drawn = [*agreeing_batches(factors, count, rng, batch=128)]
        means = [np.mean([abs(z[r[k]] - z[r[k + 64]]) for k in range(64)], 0) for _, r in drawn]
        return np.array(means), [factor for factor, _ in drawn]

    reader = LogisticRegression(max_iter=1000).fit(*pairs(300))
    means, shared = pairs(200)
    expected = np.mean(reader.predict(means) == shared)
    assert beta_vae_score(codes, factors, train=300, test=200) == pytest.approx(expected, abs=1e-6)


def test_batches_agree_in_one_factor_whose_values_come_as_often_as_they_occur() -> None:
    factors = np.array([[0, 0]] * 30 + [[0, 1]] * 30 + [[1, 2]] * 40)
    drawn = [*agreeing_batches(factors, 400, np.random.default_rng(0))]
    for factor, rows in drawn:
        assert len(np.unique(factors[rows, factor])) == 1
        assert len(rows) == 64
    of_first = [factors[rows[0], 0] for factor, rows in drawn if factor == 0]
    assert 150 < len(of_first) < 250
    assert np.mean(of_first) == pytest.approx(0.4, abs=0.1)
    every = np.concatenate([rows for factor, rows in drawn if factor == 0])
    assert len(np.unique(every)) == 100
