"""Intervals against brute force over pairs, plain resampling and their own coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from planted import fields, hood_of, noise, whole

from latentlab.chance.intervals import bootstrap_ratios, find_intervals
from latentlab.chance.row_groups import GramSums, ScatterSums, group_rows, sum_up_rows
from latentlab.components.fitting import fit_pca
from latentlab.errors import ShapeError
from latentlab.latents import Neighborhood
from latentlab.layouts import PatchLayout, TokenLayout, Window
from latentlab.metrics.spectrum import participation_ratio, participation_ratio_corrected
from latentlab.neighborhoods.groups import RowGroups


def power_law(n_samples: int, n_features: int, power: float, seed: int = 0) -> torch.Tensor:
    return noise(n_samples, n_features, seed) * torch.arange(1, n_features + 1) ** (-power / 2)


def test_bootstrap_of_the_participation_ratio_is_a_sum_over_pairs_of_different_rows() -> None:
    rows = power_law(7, 5, 1.0).double().numpy()
    gram = rows @ rows.T
    ours = bootstrap_ratios(gram**2, gram.diagonal(), 20, np.random.default_rng(3))
    drawn = np.random.default_rng(3).multinomial(7, np.full(7, 1 / 7), 20)
    for ratio, times in zip(ours, drawn, strict=True):
        chosen = np.repeat(np.arange(7), times)
        own = sum(gram[i, i] ** 2 for i in chosen)
        pairs = [gram[i, j] ** 2 for i in chosen for j in chosen if i != j]
        # 42 ordered pairs of different rows, estimated by those that are there.
        expected = sum(gram[i, i] for i in chosen) ** 2 / (own + 42 * np.mean(pairs))
        assert ratio == pytest.approx(expected)


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
    corrected = participation_ratio_corrected(variances, 60)
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
    assert groups.description == "25 blocks of 5 cells in reading order"
    assert (groups.index.diff() >= 0).all()
    latents = fields(27, (2, 4, 4), 1.0)
    clip = whole(latents, "frames")
    assert group_rows(clip).description == "9 blocks of 3 consecutive frames"


def test_patches_have_their_own_grid() -> None:
    layout = PatchLayout((2, 9, 9), Window(0, 0, 9, 9), 2)
    rows = layout.flatten(fields(1, (2, 9, 9), 1.0))
    hood = hood_of(rows, whole(fields(2, (2, 4, 4), 1.0)).origin, layout, "patches")
    assert group_rows(hood).description == "9 blocks of 2.67×2.67 cells"


def test_crops_are_grouped_by_where_they_lie() -> None:
    hood = whole(fields(81, (2, 4, 4), 1.0), "crops")
    places = torch.rand(2, 81, generator=torch.Generator().manual_seed(0))
    factors = {"x": places[0], "y": places[1]}
    crops = hood_of(hood.samples, hood.origin, hood.layout, "crops", factors=factors)
    groups = group_rows(crops)
    assert torch.bincount(groups.index).tolist() == [9] * 9
    spread = [float(places[:, groups.index == number].var(1).sum()) for number in range(9)]
    assert np.mean(spread) < 0.3 * float(places.var(1).sum())


def test_blocks_widen_the_interval_of_rows_that_are_alike() -> None:
    hood = tokens(32, 32)
    spectrum = fit_pca(hood).spectrum
    blocks = find_intervals(hood, spectrum).participation_ratio
    single = find_intervals(hood.samples, spectrum).participation_ratio
    assert blocks.upper - blocks.lower > 1.5 * (single.upper - single.lower)


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
