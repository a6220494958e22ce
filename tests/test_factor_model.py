"""The factor model where it is known what the factors do, and scikit-learn beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from torch import Tensor

import latentlab
from latentlab.directions.additivity import (
    MODELS,
    Share,
    leave_one_out,
    share_of,
    standardize,
    terms_of,
)
from latentlab.directions.factor_model import factor_model
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Neighborhood
from latentlab.loaders import load_vae
from latentlab.testing.planted import whole


def planted(
    n: int = 120, *, noise: float = 0.5, cross: float = 0.0, seed: int = 0
) -> tuple[Neighborhood, Tensor]:
    """Return samples that are factors times known patterns, and these patterns (3, D)."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(n, 3, generator=generator)
    patterns = torch.randn(3, 48, generator=torch.Generator().manual_seed(99)) / 48**0.5
    product = factors[:, :1] * factors[:, 1:2] * patterns.roll(1, 1)[:1]
    rows = factors @ patterns + cross * product
    rows = rows + noise * torch.randn(n, 48, generator=generator) / 48**0.5
    hood = whole(rows.reshape(n, 3, 4, 4))
    named = dict(zip(("a", "b", "c"), factors.T, strict=True))
    return replace(hood, sampling=replace(hood.sampling, factors=named)), patterns


def test_shares_are_those_of_scikit_learn_leaving_one_out() -> None:
    hood, _ = planted(40, noise=0.1)
    factors = torch.stack([*hood.factors.values()], 1).double()
    model = factor_model(hood)
    standard = (factors - factors.mean(0)) / factors.std(0)
    for name in ("linear", "cubic"):
        terms = terms_of(standard, name).numpy()
        rows = hood.samples.double().numpy()
        left = cross_val_predict(LinearRegression(), terms, rows, cv=LeaveOneOut())
        means = cross_val_predict(LinearRegression(), terms * 0, rows, cv=LeaveOneOut())
        expected = 1 - ((rows - left) ** 2).sum() / ((rows - means) ** 2).sum()
        assert model.shares[name].value == pytest.approx(expected, abs=2e-3)


def test_only_products_explain_what_products_do() -> None:
    hood, _ = planted(200, noise=0.05, cross=1.0)
    shares = factor_model(hood).shares
    assert shares["pairwise"].value > 0.97
    assert shares["linear"].value < shares["pairwise"].value - 0.15
    assert [*shares] == [*MODELS]
    assert [share.terms for share in shares.values()] == [3, 9, 12]


def test_factors_that_explain_nothing_have_a_share_around_zero() -> None:
    hood, _ = planted(100, noise=0.5)
    mixed = {name: values[torch.randperm(100)] for name, values in hood.factors.items()}
    share = factor_model(replace(hood, sampling=replace(hood.sampling, factors=mixed))).shares
    assert all(abs(one.value) < 0.05 for one in share.values())


def test_patterns_are_what_the_factors_change_and_weights_are_not() -> None:
    # Weights must look away from correlated noise; patterns must not.
    hood, patterns = planted(400, noise=0.2)
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(400, 1, generator=generator) * 1.5
    hood = replace(hood, samples=hood.samples + shared * (patterns[:1] + patterns[:1].roll(5, 1)))
    model = factor_model(hood)
    found = model.patterns.rows * model.patterns.step_lengths[:, None]
    true = patterns * torch.stack([*hood.factors.values()], 1).std(0)[:, None]
    assert float((found[1:] - true[1:]).norm() / true[1:].norm()) < 0.25
    cosines = torch.nn.functional.cosine_similarity(model.weights, patterns)
    assert float(torch.nn.functional.cosine_similarity(found, patterns).min()) > 0.8
    assert float(cosines.min()) < 0.9
    read = model.transform(hood.samples)
    for column, values in enumerate(hood.factors.values()):
        assert float(torch.corrcoef(torch.stack([read[:, column], values]))[0, 1]) > 0.9


def linear_share(n: int, seed: int) -> Share:
    hood, _ = planted(n, noise=1.0, seed=seed)
    factors = torch.stack([*hood.factors.values()], 1).double()
    centered = hood.samples.double() - hood.samples.double().mean(0)
    return share_of(centered @ centered.T, factors, "linear")


@pytest.mark.slow
def test_the_interval_holds_the_share_of_many_samples() -> None:
    truth = linear_share(2000, 1000).value
    shares = [linear_share(80, seed) for seed in range(40)]
    # Fits to 80 samples predict a little worse than the best fit.
    assert sum(share.lower <= truth <= share.upper for share in shares) >= 35


def test_no_interval_holds_more_than_all_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(20, 20, generator=generator, dtype=torch.float64)
    noise *= torch.rand(20, 1, generator=generator, dtype=torch.float64) ** 4
    rows = factors @ torch.randn(2, 20, generator=generator, dtype=torch.float64) + 0.6 * noise
    around = rows - rows.mean(0)
    found = share_of(around @ around.T, factors, "linear")
    assert found.lower < found.value < found.upper == 1


def test_the_interval_spans_the_share_of_samples_that_no_scale_has_seen() -> None:
    """Of cubes of normal factors a far-out sample enlarges the scale, and new ones do not."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(48, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(48, 30, generator=generator, dtype=torch.float64)
    rows = factors @ torch.randn(4, 30, generator=generator, dtype=torch.float64) + 2 * noise
    around = rows - rows.mean(0)
    found = share_of(around @ around.T, factors, "cubic")
    errors, whole, group = 0.0, 0.0, np.arange(48) % 20
    for number in range(20):
        new = group == number
        known = factors.numpy()[~new]
        scaled = (factors.numpy() - known.mean(0)) / known.std(0, ddof=1)
        terms = np.concatenate([scaled, scaled**2, scaled**3], 1)
        terms = terms / terms[~new].std(0, ddof=1)
        penalty = ridge_penalty(rows[~new], terms[~new])
        fit = Ridge(alpha=penalty).fit(terms[~new], rows[~new].numpy())
        errors += np.square(rows[new].numpy() - fit.predict(terms[new])).sum()
        whole += np.square(rows[new].numpy() - rows[~new].numpy().mean(0)).sum()
    apart = 1 - errors / whole
    assert apart < found.value - 0.01
    assert found.value - found.lower - (found.upper - found.value) == pytest.approx(
        found.value - apart, abs=1e-6
    )


def ridge_penalty(rows: torch.Tensor, terms: np.ndarray) -> float:
    around = rows - rows.mean(0)
    return leave_one_out(around @ around.T, standardize(torch.from_numpy(terms))).penalty or 0.0


def test_half_is_the_share_of_either_half_by_itself() -> None:
    hood, _ = planted(60, noise=1.0)
    halves = []
    for start in (0, 1):
        named = {name: values[start::2] for name, values in hood.factors.items()}
        part = replace(hood, samples=hood.samples[start::2])
        part = replace(part, sampling=replace(hood.sampling, factors=named))
        halves.append(factor_model(part).shares)
    for name, share in factor_model(hood).shares.items():
        expected = sum(half[name].value for half in halves) / 2
        assert share.half == pytest.approx(expected, abs=1e-6)
        assert halves[0][name].half is None or halves[0][name].terms == share.terms


def test_constant_factors_are_left_out_by_name_and_gains_are_read_as_gains() -> None:
    vae = load_vae("linear")
    latent = latentlab.encode(vae, "sample:flower", size=64)
    hood = latentlab.neighborhood(vae, latent, n_samples=40, blur=0, shift=0, rotation=0, zoom=0)
    fixed = {**hood.factors, "zoom": torch.ones(40)}
    model = latentlab.factor_model(replace(hood, sampling=replace(hood.sampling, factors=fixed)))
    assert model.constant == ("zoom",)
    assert "zoom" not in model.names
    assert model.summary()["constant_factors"] == ["zoom"]
    read = model.transform(hood.samples)[:, model.names.index("brightness")]
    torch.testing.assert_close(read, hood.factors["brightness"].double(), atol=0.03, rtol=0)
    walk = latentlab.traverse(vae, latent, model.patterns, n_components=1, steps=3)
    assert walk.unit == "σ of the factor"


def test_what_has_no_factors_or_too_few_samples_is_refused() -> None:
    hood, _ = planted(40)
    bare = replace(hood, sampling=replace(hood.sampling, factors={}))
    with pytest.raises(UsageError, match="without known factors"):
        factor_model(bare)
    with pytest.raises(ShapeError, match="at least 8"):
        factor_model(planted(6)[0])
    with pytest.raises(ShapeError, match="same neighborhood"):
        factor_model(hood).transform(torch.zeros(2, 5))
