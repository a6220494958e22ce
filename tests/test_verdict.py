"""The elbow on planted spectra, and what the verdict says and does not say."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from latentlab import judge
from latentlab.chance.elbow import find_elbow, local_slopes
from latentlab.chance.nulls import NULLS
from latentlab.chance.sentences import CLAIMS, claim
from latentlab.chance.verdict import affordable_nulls
from latentlab.components.fitting import fit_pca
from latentlab.encoding.encoder import encode
from latentlab.errors import ShapeError, UsageError
from latentlab.images.reading import read_image
from latentlab.latents import Neighborhood, Spectrum
from latentlab.layouts import TokenLayout, Window
from latentlab.loaders import load_vae
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.results.folders import finite
from latentlab.testing.planted import fields, hood_of, noise, rotated, spikes, whole

BOTH = ("parallel", "stationary")


def planted_fields(count: int, times: float, seed: int = 0) -> Neighborhood:
    """Return 100 latents (2, 16, 16) with components in random directions."""
    return whole(spikes(100, 512, count, times, seed).view(100, 2, 16, 16))


# The elbow


@pytest.mark.parametrize("count", [1, 3, 8])
def test_planted_components_end_in_an_elbow(count: int) -> None:
    hood = planted_fields(count, 10.0)
    judgment = judge(hood, fit_pca(hood).spectrum, nulls=BOTH)
    assert judgment.elbow is not None
    assert judgment.elbow.index == count == judgment.components_above
    assert judgment.elbow.strength > 1
    variances = judgment.spectrum.explained_variance
    assert judgment.elbow.drop == pytest.approx(float(variances[count - 1] / variances[count]))
    assert f"An elbow after {count} component" in judgment.verdict


@pytest.mark.parametrize("noise_level", [1e-2, 1e-4])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_signal_over_little_noise_ends_in_an_elbow(count: int, noise_level: float) -> None:
    # The permuted null keeps the signal's whole variance, under which its last components lie.
    rows = noise(100, count, 1) @ noise(count, 512, 2) + noise_level * noise(100, 512, 3)
    hood = whole(rows.view(100, 2, 16, 16))
    judgment = judge(hood, fit_pca(hood).spectrum, nulls=BOTH)
    assert judgment.elbow is not None
    assert judgment.elbow.index == judgment.components_above == count


def test_loud_rows_are_no_elbow() -> None:
    generator = torch.Generator().manual_seed(0)
    for seed in range(5):
        chi2 = torch.randn(100, 3, generator=generator).square().sum(1)
        rows = noise(100, 288, seed) / chi2.sqrt()[:, None]
        hood = whole(rows.view(100, 2, 12, 12))
        judgment = judge(hood, fit_pca(hood).spectrum, nulls=BOTH)
        assert judgment.elbow is None
        assert "signflip" in [null.name for null in judgment.nulls]


def test_copies_of_an_image_are_not_counted_against_chance() -> None:
    hood = whole(planted_fields(3, 10.0).samples.view(100, 2, 16, 16), "augment")
    judgment = judge(hood, fit_pca(hood).spectrum, nulls=BOTH)
    assert judgment.components_above == 3
    assert judgment.uncounted == "copies of one image contain no noise"
    assert "chance" not in judgment.verdict
    assert judgment.facts()["components_not_counted"] == judgment.uncounted


def test_a_sentence_needs_the_name_of_a_claim() -> None:
    with pytest.raises(KeyError, match="calibration"):
        claim("nonsense", "The model is beautiful.")


@pytest.mark.slow
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 3.0])
def test_power_laws_have_no_elbow(power: float) -> None:
    for seed in range(3):
        hood = whole(fields(100, (1, 20, 20), power, seed))
        judgment = judge(hood, fit_pca(hood).spectrum, nulls=BOTH)
        assert judgment.elbow is None
        assert "No elbow: " in judgment.verdict


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_power_laws_that_are_no_fields_have_no_elbow(power: float) -> None:
    for seed in range(5):
        samples = rotated(noise(120, 400, seed) * torch.arange(1, 401) ** (-power / 2))
        pca = fit_pca(samples)
        null = NULLS.make("parallel").draw(samples, pca.spectrum, draws=40)
        assert find_elbow(pca.spectrum, [null]) is None


def test_isotropic_noise_has_no_elbow() -> None:
    samples = noise(100, 300)
    spectrum = fit_pca(samples).spectrum
    null = NULLS.make("parallel").draw(samples, spectrum, draws=60)
    assert find_elbow(spectrum, [null]) is None


@pytest.mark.parametrize("sample", ["flower", "china"])
def test_the_augment_neighborhood_has_no_elbow(sample: str) -> None:
    vae = load_vae("linear")
    latent = encode(vae, read_image(f"sample:{sample}", size=128, multiple=vae.spec.multiple))
    hood = neighborhood(vae, latent, "augment", n_samples=100)
    judgment = judge(hood, fit_pca(hood).spectrum, nulls=BOTH)
    assert judgment.components_above >= 5
    assert judgment.elbow is None


def test_an_elbow_must_exceed_both_nulls() -> None:
    hood = planted_fields(3, 10.0)
    pca = fit_pca(hood)
    found = judge(hood, pca.spectrum, nulls=("parallel",))
    assert found.elbow is None
    assert "takes both nulls: --nulls parallel,stationary" in found.verdict
    # The same drop in a null that has it too is none.
    parallel = NULLS.make("parallel").draw(hood, pca.spectrum, draws=60)
    dropping = parallel.__class__(
        **{**vars(parallel), "spectra": pca.spectrum.explained_variance.expand(60, -1)}
    )
    assert find_elbow(pca.spectrum, [parallel]) is not None
    assert find_elbow(pca.spectrum, [parallel, dropping]) is None


def test_local_slopes_of_a_power_law_are_its_exponent() -> None:
    values = 3 * torch.arange(1, 50).double() ** -1.7
    torch.testing.assert_close(local_slopes(values), torch.full((48,), 1.7).double())
    assert torch.isfinite(local_slopes(torch.tensor([1.0, 0.5, 0.0, 0.0]))).all()


# The verdict


def test_the_verdict_counts_describes_and_says_what_it_cannot() -> None:
    hood = planted_fields(5, 10.0)
    judgment = judge(hood, fit_pca(hood).spectrum, nulls=BOTH)
    fit = judgment.nulls[1].log_fit_r2
    assert judgment.verdict.startswith(
        "5 components rise above chance (columns permuted; 5 above stationary fields). Effective"
    )
    assert f"(columns permuted {fit:.3f}".replace("0.", ".") in judgment.verdict
    assert "depends on N" in judgment.verdict
    assert "rises above what stationary fields" in judgment.verdict
    assert judgment.verdict.endswith("see `latentlab directions --labels`.")
    assert judgment.verdict.count(". ") <= 6
    assert {sentence.name for sentence in judgment.sentences} <= {*CLAIMS, ""}


def test_nothing_is_said_of_a_null_that_was_not_drawn() -> None:
    hood = whole(noise(40, 128).view(40, 2, 8, 8))
    verdict = judge(hood, fit_pca(hood).spectrum, nulls=()).verdict
    assert "above chance (isotropic noise)" in verdict
    assert "stationary" not in verdict
    assert "columns permuted" not in verdict


def test_no_curve_is_called_log_like_and_a_field_no_more_than_stationary() -> None:
    hood = whole(fields(128, (1, 32, 32), 2.0))
    verdict = judge(hood, fit_pca(hood).spectrum, nulls=BOTH).verdict
    assert "log-like" not in verdict
    assert re.search(r"R² \.9\d\d at N = 128 .* and \.9\d\d at half of that", verdict)
    assert "shows no more than stationary fields" in verdict


@pytest.mark.parametrize("name", ["gaussian", "posterior"])
def test_noise_that_was_put_in_says_nothing_of_the_model(name: str) -> None:
    hood = whole(noise(40, 128).view(40, 2, 8, 8), name)
    verdict = judge(hood, fit_pca(hood).spectrum).verdict
    assert verdict.startswith("No component rises above chance. ")
    assert "put in" in verdict
    assert "disentangled" not in verdict


def test_the_cells_of_one_latent_are_said_to_be_alike() -> None:
    layout = TokenLayout((6, 16, 16), Window(0, 0, 16, 16))
    latents = fields(1, (6, 16, 16), 1.0)
    latents[:, 1:3] += 10 * latents[:, :1]
    origin = whole(fields(2, (6, 4, 4), 1.0)).origin
    hood = hood_of(layout.flatten(latents), origin, layout, "tokens")
    judgment = judge(hood, fit_pca(hood).spectrum)
    assert judgment.main == "turned"
    # The grid has no half, so this null has no fit for half of the cells.
    assert re.search(r"R² \S+ at N = \S+ \([^)]+\) and \.\d+ at half of that\.", judgment.verdict)
    assert judgment.components_above >= 1
    assert judgment.elbow is None
    # Permuted cells are no match for cells that are alike.
    permuted = judge(hood, fit_pca(hood).spectrum, nulls=("parallel",))
    assert permuted.uncounted == "neighboring cells are alike"
    assert "above" not in permuted.verdict
    with pytest.raises(UsageError, match="stationary null for tokens"):
        judge(hood, fit_pca(hood).spectrum, nulls=BOTH)


def test_rotating_the_space_changes_the_spectrums_numbers_by_rounding_only() -> None:
    samples = spikes(100, 300, 5, 8.0)
    one, other = (judge(some, fit_pca(some).spectrum) for some in (samples, rotated(samples)))
    assert one.components_above == other.components_above == 5
    facts = one.facts(), other.facts()
    for key in ("value", "lower", "upper"):
        assert facts[0]["effective_dimension"][key] == pytest.approx(
            facts[1]["effective_dimension"][key], rel=1e-4
        )
    assert one.verdict.split(". ")[:2] == other.verdict.split(". ")[:2]


def test_facts_hold_every_number_and_are_json() -> None:
    hood = planted_fields(3, 10.0)
    pca = fit_pca(hood)
    judgment = judge(hood, pca.spectrum, nulls=("signflip", *BOTH), left_out={"other": "why"})
    facts = json.loads(json.dumps(finite(judgment.facts()), allow_nan=False))
    assert (facts["components_above_null"], facts["components_above_null_of"]) == (3, "parallel")
    assert list(facts["null"]) == ["isotropic", "signflip", "parallel", "stationary"]
    for null in facts["null"].values():
        assert len(null["curve"]) == len(null["curve_lower"]) == len(null["curve_upper"]) == 99
        assert null["curve"][-1] == pytest.approx(1)
        assert null["largest_eigenvalue_quantile"] <= null["threshold"]
        assert {"log_fit_r2", "linear_fit_r2", "components_above", "draws"} <= null.keys()
    dimension = facts["effective_dimension"]
    assert dimension["value"] == pytest.approx(pca.summary()["participation_ratio"])
    assert dimension["lower"] < dimension["value"] < dimension["upper"]
    assert dimension["corrected"]["value"] == facts["participation_ratio_corrected"]
    assert (dimension["level"], facts["elbow"]["index"]) == (0.95, 3)
    assert facts["intervals"]["k90"]["lower"] <= facts["intervals"]["k90"]["value"]
    assert facts["nulls_left_out"] == {"other": "why"}
    assert facts["verdict"] == judgment.verdict


def test_fits_of_nulls_for_half_the_rows_are_those_of_noise_of_so_many() -> None:
    samples = noise(40, 2000, 0)
    judgment = judge(samples, fit_pca(samples), nulls=("parallel",))

    def fit_of_noise(rows: int) -> float:
        generator, curves = np.random.default_rng(1), []
        for _ in range(20):
            drawn = generator.normal(size=(rows, 2000))
            values = np.linalg.svd(drawn - drawn.mean(0), compute_uv=False)[: rows - 1] ** 2
            curves.append(values.cumsum() / values.sum())
        return float(linregress(np.log(np.arange(1, rows)), np.mean(curves, 0)).rvalue ** 2)

    half, whole_sample = fit_of_noise(20), fit_of_noise(40)
    assert abs(half - whole_sample) > 0.02
    assert judgment.halves == pytest.approx({"isotropic": half, "parallel": half}, abs=0.003)


def test_the_same_seed_judges_alike() -> None:
    hood = planted_fields(3, 10.0)
    pca = fit_pca(hood)
    one, same, other = (
        finite(judge(hood, pca.spectrum, nulls=BOTH, seed=seed).facts()) for seed in (0, 0, 1)
    )
    assert one == same
    assert one["null"]["parallel"]["threshold"] != other["null"]["parallel"]["threshold"]


# Bad input


def test_two_samples_have_a_verdict_of_their_own() -> None:
    samples = noise(2, 30)
    pca = fit_pca(samples)
    judgment = judge(samples, pca.spectrum, nulls=())
    assert judgment.verdict.startswith("Two samples have one component")
    assert judgment.facts()["components_above_null"] is None
    assert judgment.facts()["effective_dimension"] is None
    with pytest.raises(ShapeError, match="2 samples"):
        judge(samples, pca.spectrum)


@pytest.mark.parametrize("shape", [(3, 20), (5, 1), (4, 2)], ids=str)
def test_very_small_samples_are_judged(shape: tuple[int, int]) -> None:
    samples = noise(*shape)
    judgment = judge(samples, fit_pca(samples).spectrum)
    assert judgment.components_above == 0
    assert judgment.intervals is None
    assert "nan" not in judgment.verdict.lower()


def test_partial_spectra_are_counted_and_no_more() -> None:
    samples = spikes(100, 300, 8, 10.0)
    judgment = judge(samples, fit_pca(samples, 4, "randomized").spectrum)
    assert "At least 4 components rise above chance." in judgment.verdict
    assert "partial" in judgment.verdict
    assert judgment.facts()["effective_dimension"] is None
    assert math.isnan(judgment.facts()["null"]["parallel"]["p_of_curve"])


def test_unknown_nulls_are_refused() -> None:
    samples = noise(10, 30)
    with pytest.raises(
        UsageError, match="null 'nonsense', but expected one of isotropic, parallel"
    ):
        judge(samples, fit_pca(samples).spectrum, nulls=("nonsense",))


# What is cheap enough to be drawn unasked


def test_nulls_are_chosen_by_their_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    hood = planted_fields(3, 10.0)
    spectrum = fit_pca(hood).spectrum
    for name, seconds in (("parallel", 3.0), ("stationary", 2.0)):
        monkeypatch.setattr(NULLS[name], "seconds", lambda *_, cost=seconds: cost)
    assert affordable_nulls(hood, spectrum, BOTH, seconds=6.0) == (["parallel", "stationary"], {})
    chosen, left_out = affordable_nulls(hood, spectrum, BOTH, seconds=4.0)
    assert chosen == ["parallel"]
    assert "about 2 s" in left_out["stationary"]
    assert affordable_nulls(hood, spectrum, seconds=1.0)[0] == []


def test_nulls_that_make_no_sense_are_left_out_with_the_reason() -> None:
    samples = noise(10, 30)
    chosen, left_out = affordable_nulls(samples, fit_pca(samples).spectrum, BOTH)
    assert chosen == ["parallel"]
    assert "a plain matrix" in left_out["stationary"]
    pair = noise(2, 30)
    assert "at least 3" in affordable_nulls(pair, fit_pca(pair).spectrum)[1]["parallel"]


def test_a_spectrum_without_noise_drops_after_its_last_component() -> None:
    variances = torch.tensor([4.0, 3.0, 2.0, *[0.0] * 20], dtype=torch.float64)
    spectrum = Spectrum(variances, 9.0, 24, 100)
    assert find_elbow(spectrum, []).index == 3
