"""Intervals against brute force over pairs, plain resampling and their own coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import linregress
from scipy.stats import t as student_t

from latentlab.chance import intervals
from latentlab.chance.decay import find_decay, last_rank
from latentlab.chance.intervals import find_intervals
from latentlab.chance.ratio import intervals_of_ratio
from latentlab.chance.row_groups import (
    GramSums,
    ScatterSums,
    correlation_with_next,
    group_rows,
    independent_groups,
    sum_up_rows,
)
from latentlab.components.fitting import fit_pca
from latentlab.errors import ShapeError
from latentlab.latents import Neighborhood
from latentlab.layouts import PatchLayout, TokenLayout, Window
from latentlab.metrics.spectrum import (
    components_for,
    participation_ratio,
    participation_ratio_corrected,
)
from latentlab.neighborhoods.groups import RowGroups
from latentlab.testing.planted import fields, hood_of, noise, whole


def power_law(n_samples: int, n_features: int, power: float, seed: int = 0) -> torch.Tensor:
    return noise(n_samples, n_features, seed) * torch.arange(1, n_features + 1) ** (-power / 2)


def test_the_jackknife_leaves_each_row_out_of_sums_over_pairs() -> None:
    rows = power_law(9, 5, 1.0).double()
    rows -= rows.mean(0)
    sums = GramSums(rows, RowGroups(torch.arange(9), ""))
    spectrum = fit_pca(rows).spectrum
    plain, corrected = intervals_of_ratio(sums, rows, spectrum)
    gram = (rows @ rows.T).numpy()
    same, pairs = [], []
    for left in range(9):
        kept = np.delete(np.delete(gram, left, 0), left, 1)
        own = kept.diagonal()
        same.append(kept.trace() ** 2 / (kept**2).sum())
        both = own.sum() ** 2 - (own**2).sum()
        pairs.append(both / ((kept**2).sum() - (own**2).sum()))
    for found, without in ((plain, same), (corrected, pairs)):
        logs = np.log(without) - np.log(without).mean()
        error = math.sqrt(8 / 9 * (logs**2).sum())
        freedom = max((logs**2).sum() ** 2 / (logs**4).sum(), 1.5)
        wide = student_t.ppf(0.975, freedom)
        # Without a row that adds to the ratio it is smaller: contributions have the other sign.
        skew = -(logs**3).sum() / (logs**2).sum() ** 1.5
        # Symmetric on the scale exp(bend x / wide), on which the standard error is constant.
        bend = np.clip(skew / 2 * wide, -0.95, 0.95)
        up, down = (abs(math.log1p(sign * bend) / bend * wide) for sign in (-1, 1))
        assert math.log(found.upper / found.value) == pytest.approx(error * up)
        assert math.log(found.value / found.lower) == pytest.approx(error * down)


def test_the_interval_of_noise_holds_its_ratio_where_repeated_rows_would_halve_it() -> None:
    samples = noise(80, 1000)
    spectrum = fit_pca(samples).spectrum
    found = find_intervals(samples, spectrum).participation_ratio
    truth = 1 / (1 / 79 + 1 / 1000)
    assert found.lower < truth < found.upper
    assert found.upper - found.lower < 0.05 * truth
    generator = torch.Generator().manual_seed(0)
    repeated = [
        fit_pca(samples[torch.randint(80, (80,), generator=generator)]).spectrum for _ in range(20)
    ]
    assert max(participation_ratio(some.explained_variance) for some in repeated) < 0.7 * truth


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_about_95_of_100_intervals_hold_what_other_samples_give(power: float) -> None:
    others = [fit_pca(power_law(60, 300, power, 500 + seed)).spectrum for seed in range(60)]
    ratio = np.mean([participation_ratio(some.explained_variance) for some in others])
    curve = torch.stack([some.cumulative for some in others]).mean(0)
    held = {"ratio": 0, "first": 0, "tenth": 0}
    for seed in range(40):
        samples = power_law(60, 300, power, seed)
        found = find_intervals(samples, fit_pca(samples).spectrum, seed=seed)
        held["ratio"] += found.participation_ratio.lower <= ratio <= found.participation_ratio.upper
        for name, k in (("first", 0), ("tenth", 9)):
            held[name] += bool(found.curve_lower[k] <= curve[k] <= found.curve_upper[k])
    assert min(held.values()) >= 32, held


def test_values_are_those_of_the_spectrum_and_lie_inside() -> None:
    samples = power_law(60, 300, 1.0)
    spectrum = fit_pca(samples).spectrum
    found = find_intervals(samples, spectrum)
    variances = spectrum.explained_variance
    assert found.participation_ratio.value == participation_ratio(variances)
    sizes = (samples - samples.mean(0)).square().sum(1)
    corrected = pytest.approx(participation_ratio_corrected(variances, 60, sizes), rel=1e-5)
    assert found.participation_ratio_corrected.value == corrected
    for interval in (found.participation_ratio, found.participation_ratio_corrected, found.k90):
        assert interval.lower <= interval.value <= interval.upper
    # Parts of four fifths have 47 components; near their last they cannot tell.
    known = ~found.curve_lower.isnan()
    assert known.tolist() == [True] * 42 + [False] * 17
    assert (found.curve_lower[known] <= spectrum.cumulative[known] + 1e-9).all()
    assert (found.curve_upper[known] >= spectrum.cumulative[known] - 1e-9).all()
    assert found.curve_upper.isnan().equal(~known)
    assert float(found.curve_upper[int(found.k90.lower) - 1]) >= 0.9
    assert float(found.curve_lower[int(found.k90.upper) - 1]) >= 0.9


def test_k90_has_no_upper_bound_where_parts_of_the_samples_cannot_tell() -> None:
    # Of noise nearly every component is needed, more than four fifths of the samples have.
    samples = noise(60, 4000)
    spectrum = fit_pca(samples).spectrum
    found = find_intervals(samples, spectrum).k90
    assert found.value == 52  # of 59
    assert (found.lower, found.upper) == (43, math.inf)


def test_intervals_narrow_with_the_square_root_of_the_samples() -> None:
    widths = []
    for count in (100, 400):
        samples = power_law(count, 20, 2.0)
        found = find_intervals(samples, fit_pca(samples).spectrum).participation_ratio
        widths.append(found.upper - found.lower)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.35)


def test_rotating_the_space_changes_no_interval() -> None:
    samples = power_law(40, 60, 1.0)
    turned = samples @ torch.linalg.qr(noise(60, 60, 9))[0]
    one, other = (find_intervals(some, fit_pca(some).spectrum) for some in (samples, turned))
    assert one.participation_ratio.upper == pytest.approx(other.participation_ratio.upper, rel=1e-4)
    bounds = one.curve_lower, other.curve_lower
    torch.testing.assert_close(*bounds, rtol=1e-3, atol=1e-4, equal_nan=True)


# Groups of rows


@pytest.mark.parametrize("shape", [(90, 8), (30, 8)], ids=str)
def test_gram_and_scatter_matrices_tell_the_same(shape: tuple[int, int]) -> None:
    samples = power_law(*shape, 1.0) + 3
    groups = RowGroups(torch.arange(shape[0]) % 10, "")
    scatters, gram = ScatterSums(samples, groups), GramSums(samples, groups)
    torch.testing.assert_close(scatters.products, gram.products)
    torch.testing.assert_close(scatters.traces, gram.traces)
    kept = torch.arange(10) != 4
    rows = samples[kept[groups.index]].double().numpy()
    expected = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    for sums in (scatters, gram):
        np.testing.assert_allclose(sums.eigenvalues_of(kept)[:8], expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(90, 8), (30, 60)], ids=str)
def test_the_fit_to_halves_is_scipys_on_the_same_rows(shape: tuple[int, int]) -> None:
    samples = power_law(*shape, 1.0) + 3
    rows = sum_up_rows(samples, RowGroups(torch.arange(shape[0]), ""))
    _, found = intervals._halves(rows, np.random.default_rng(5))
    generator, expected = np.random.default_rng(5), []
    for _ in range(intervals._HALVES):
        half = samples.double().numpy()[generator.permutation(shape[0]) < shape[0] // 2]
        values = np.linalg.svd(half - half.mean(0), compute_uv=False)[: len(half) - 1] ** 2
        k = np.arange(1, len(values) + 1)
        expected.append(linregress(np.log(k), values.cumsum()).rvalue ** 2)
    assert found == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((90, 8), ScatterSums), ((8, 90), GramSums), ((600, 500), GramSums)],
    ids=str,
)
def test_the_smaller_matrices_are_taken(shape: tuple[int, int], kind: type) -> None:
    samples = noise(*shape)
    assert type(sum_up_rows(samples, group_rows(samples))) is kind


def tokens(height: int, width: int, samples: int | None = None) -> Neighborhood:
    layout = TokenLayout((3, height, width), Window(0, 0, height, width))
    rows = layout.flatten(fields(1, (3, height, width), 1.0))[:samples]
    return hood_of(rows, whole(fields(2, (3, 4, 4), 1.0)).origin, layout, "tokens")


def test_cells_form_square_blocks() -> None:
    groups = group_rows(tokens(32, 32))
    assert groups.description == "25 blocks of 6.4×6.4 cells"
    grid = groups.index.view(32, 32)
    assert torch.bincount(groups.index).min() >= 36
    for number in range(25):
        down, across = (grid == number).nonzero().T
        inside = (1 + down.max() - down.min()) * (1 + across.max() - across.min())
        assert inside == len(down)


def test_cells_drawn_at_random_and_frames_form_runs() -> None:
    groups = group_rows(tokens(32, 32, 125))
    assert groups.description == "12 blocks of 10.4 cells in reading order"
    assert (groups.index.diff() >= 0).all()
    latents = fields(27, (2, 4, 4), 1.0)
    clip = whole(latents, "frames")
    assert group_rows(clip).description == "4 blocks of 6.75 consecutive frames"


def test_patches_have_their_own_grid() -> None:
    layout = PatchLayout((2, 9, 9), Window(0, 0, 9, 9), 2)
    rows = layout.flatten(fields(1, (2, 9, 9), 1.0))
    hood = hood_of(rows, whole(fields(2, (2, 4, 4), 1.0)).origin, layout, "patches")
    assert group_rows(hood).description == "9 blocks of 2.67×2.67 cells"


def test_crops_are_independent_rows() -> None:
    hood = whole(fields(81, (2, 4, 4), 1.0), "crops")
    assert group_rows(hood).description == "81 samples"


def test_rows_of_which_each_resembles_the_next_form_blocks() -> None:
    samples = power_law(100, 300, 1.0)
    spectrum = fit_pca(samples).spectrum
    assert independent_groups(samples, spectrum).description == "100 samples"
    for index in range(1, 100):
        samples[index] = 0.5 * samples[index - 1] + 0.75**0.5 * samples[index]
    assert correlation_with_next(samples) == pytest.approx(0.5, abs=0.1)
    alike = independent_groups(samples, fit_pca(samples).spectrum)
    assert (
        alike.description == "11 blocks of 9.09 consecutive rows, of which each resembles the next"
    )


def test_the_variance_of_rows_left_out_is_that_of_numpy() -> None:
    samples = power_law(40, 12, 1.0).double()
    groups = RowGroups(torch.arange(40) // 2, "")
    kept = torch.arange(20) % 4 > 0
    inside = samples[kept[groups.index]].numpy()
    outside = samples[~kept[groups.index]].numpy() - inside.mean(0)
    basis = np.linalg.svd(inside - inside.mean(0))[2]
    expected = ((outside @ basis.T) ** 2).sum(0) / (outside**2).sum()
    contributions = (
        (samples - samples.mean(0)) @ torch.linalg.svd(samples - samples.mean(0))[2].T
    ) ** 2
    for sums in (ScatterSums(samples, groups), GramSums(samples, groups)):
        np.testing.assert_allclose(sums.held_out_shares(kept)[:12], expected, rtol=1e-6)
        along = contributions.view(20, 2, 12).sum(1)
        torch.testing.assert_close(sums.along_components()[:, :12], along)


def test_the_population_lies_between_the_samples_and_rows_left_out() -> None:
    values = torch.arange(1, 301).double() ** -1
    population = values.cumsum(0) / values.sum()
    found = [find_intervals(one, fit_pca(one).spectrum) for one in map_power_law(12)]
    lower = torch.stack([one.population_lower for one in found]).mean(0)
    middle = torch.stack([one.population for one in found]).mean(0)[:5]
    assert (lower[:40] < population[:40]).all()
    torch.testing.assert_close(middle, population[:5], rtol=0.03, atol=0)
    k90 = components_for(population, 0.9)
    assert all(one.k90.value < k90 < one.population_k90 for one in found)
    exponents = [one.decay.exponent for one in found if one.decay]
    assert len(exponents) >= 6
    assert np.mean(exponents) == pytest.approx(1, abs=0.07)


def map_power_law(count: int) -> list[torch.Tensor]:
    return [power_law(128, 300, 1.0, seed) for seed in range(count)]


def test_blocks_widen_the_interval_of_rows_that_are_alike() -> None:
    hood = tokens(32, 32)
    spectrum = fit_pca(hood).spectrum
    blocks = find_intervals(hood, spectrum).participation_ratio
    single = find_intervals(hood.samples, spectrum).participation_ratio
    # Upwards both end at 3, the number of channels.
    assert blocks.value - blocks.lower > 1.5 * (single.value - single.lower)


def test_many_rows_are_taken_in_512_groups() -> None:
    index = group_rows(torch.zeros(1300, 2)).index
    assert torch.bincount(index).min() == 2
    assert int(index.max()) == 511


# Bad input


def test_partial_spectra_and_very_few_samples_have_none() -> None:
    samples = power_law(40, 60, 1.0)
    assert find_intervals(samples, fit_pca(samples, 5, "randomized").spectrum) is None
    assert find_intervals(samples[:5], fit_pca(samples[:5]).spectrum) is None
    assert find_intervals(samples[:6], fit_pca(samples[:6]).spectrum) is not None


def test_equal_eigenvalues_have_no_upper_bound() -> None:
    samples = torch.eye(12)
    found = find_intervals(samples, fit_pca(samples).spectrum)
    assert found.participation_ratio_corrected.upper == np.inf


def test_constant_columns_and_repeated_rows_are_no_trouble() -> None:
    samples = power_law(10, 30, 1.0).repeat(3, 1)
    samples[:, 3:9] = 5.0
    found = find_intervals(samples, fit_pca(samples).spectrum)
    assert np.isfinite([found.participation_ratio.lower, found.participation_ratio.upper]).all()
    assert torch.isfinite(found.curve_lower[:20]).all()


def test_the_spectrum_of_other_samples_is_refused() -> None:
    with pytest.raises(ShapeError, match="10×30"):
        find_intervals(noise(11, 30), fit_pca(noise(10, 30)).spectrum)


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    samples = noise(10, 30)
    find_intervals(samples, fit_pca(samples).spectrum, progress=lambda *state: told.append(state))
    assert told[-1] == ("intervals", 60, 60)


def unbiased_ratio(rows: np.ndarray) -> float:
    """Return (tr Σ)² / tr Σ², each the mean over distinct rows i, j, k, l (Li and Chen 2012)."""
    count = len(rows)

    def over_four(pairs: np.ndarray) -> float:
        sums, squares = pairs.sum(1), (pairs**2).sum()
        whole = sums.sum() ** 2 - 4 * (sums**2).sum() + 2 * squares
        return float(whole / (count * (count - 1) * (count - 2) * (count - 3)))

    products = rows @ rows.T
    lengths = products.diagonal()
    distances = (lengths[:, None] + lengths - 2 * products) / 2
    np.fill_diagonal(products, 0)
    sums, squares = products.sum(1), (products**2).sum()
    two = squares / (count * (count - 1))
    three = ((sums**2).sum() - squares) / (count * (count - 1) * (count - 2))
    return over_four(distances) / (two - 2 * three + over_four(products))


def test_the_corrected_ratio_is_a_mean_over_four_distinct_rows() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_t(5, (40, 1)) * generator.normal(size=(40, 6)) * [5, 3, 2, 1, 1, 0.5]
    centered = rows - rows.mean(0)
    variances = np.linalg.svd(centered, compute_uv=False) ** 2 / 39
    found = participation_ratio_corrected(variances, 40, (centered**2).sum(1))
    assert found == pytest.approx(unbiased_ratio(rows))


def test_a_decay_is_numpys_weighted_fit_over_the_ranks_that_it_names() -> None:
    k = np.arange(1, 41)
    values = k**-1.5 * (1 + 0.3 * np.sin(k))  # so that other ranks give another exponent
    found = find_decay(torch.from_numpy(values), torch.from_numpy(values), 14, 0.1)
    assert found is not None
    ranks = np.arange(found.first, found.last + 1)
    weights = np.sqrt(1 / ranks)
    slope, _ = np.polyfit(np.log(ranks), np.log(values[ranks - 1]), 1, w=weights)
    assert found.exponent == pytest.approx(-slope, rel=1e-9)
    assert len(ranks) == 14


@pytest.mark.parametrize(("falls_at", "expected"), [(400, 25), (20, 20), (12, 12), (11, 0)])
def test_the_last_rank_of_a_decay_is_where_rows_held_out_have_too_little(
    falls_at: int, expected: int
) -> None:
    shares = torch.full((200,), 1 / 200, dtype=torch.float64)
    held_out = torch.where(torch.arange(200) < falls_at, 0.41, 0.39) * shares
    held_out[30:] = shares[30:]  # what comes after the first rank of too little does not count
    assert last_rank(shares, held_out) == expected
