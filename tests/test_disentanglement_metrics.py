"""Disentanglement metrics: planted codes whose scores are known, and SciPy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import mutual_info_score

from latentlab.digits.objective import total_correlation
from latentlab.errors import UsageError
from latentlab.metrics.beta_vae import beta_vae_score
from latentlab.metrics.dci import DCI, completeness_of, dci, disentanglement_of
from latentlab.metrics.factor_vae import factor_vae_score
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
