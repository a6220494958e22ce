"""Drawn nulls against brute force, and the calibration of what counts as above chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import limit_of_quantile
from latentlab.chance.nulls.isotropic import isotropic_largest, isotropic_null
from latentlab.chance.nulls.parallel import Parallel
from latentlab.chance.nulls.scrambled import ROUND, estimate_seconds, pays_in_rounds
from latentlab.chance.verdict import AFFORDABLE
from latentlab.components.fitting import fit_pca
from latentlab.errors import MemoryLimitError, NonFiniteError, ShapeError, UsageError
from latentlab.layouts import TokenLayout, Window
from latentlab.testing.planted import hood_of, noise, rotated, spikes, whole

# Wide enough for rounds; wide; tall.
SHAPES = [(12, 240), (20, 40), (90, 8)]


def uneven(n_samples: int, n_features: int, seed: int = 0) -> torch.Tensor:
    """Return correlated samples whose features and rows differ in size."""
    columns = torch.arange(1, n_features + 1) ** -0.5
    rows = 1 + torch.arange(n_samples)[:, None] / n_samples
    return spikes(n_samples, n_features, 3, 4.0, seed) * columns * rows + 5


def brute_force(name: str, samples: torch.Tensor, draws: int) -> np.ndarray:
    """Return eigenvalues (draws, n) by scrambling a copy and taking its singular values."""
    generator = np.random.default_rng(99)
    centered = samples.double().numpy() - samples.double().numpy().mean(0)
    found = []
    for _ in range(draws):
        if name == "parallel":
            drawn = np.stack([generator.permutation(column) for column in centered.T], 1)
        else:
            drawn = centered * generator.choice([-1.0, 1.0], centered.shape)
        drawn = drawn - drawn.mean(0)
        values = np.linalg.svd(drawn, compute_uv=False)[: min(len(drawn) - 1, drawn.shape[1])] ** 2
        found.append(values / values.sum() * centered.var(0, ddof=1).sum())
    return np.array(found)


@pytest.mark.parametrize("name", ["parallel", "signflip"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_draws_are_distributed_as_by_brute_force(name: str, shape: tuple[int, int]) -> None:
    samples = uneven(*shape)
    spectrum = fit_pca(samples).spectrum
    ours = NULLS.make(name).draw(samples, spectrum, draws=400).spectra.numpy()
    expected = brute_force(name, samples, 400)
    error = np.sqrt((ours.var(0) + expected.var(0)) / 400)
    assert (np.abs(ours.mean(0) - expected.mean(0)) < 4.5 * error + 1e-6 * expected[0, 0]).all()
    np.testing.assert_allclose(ours[:, 0].std(), expected[:, 0].std(), rtol=0.2)
    np.testing.assert_allclose(
        np.quantile(ours[:, 0], 0.95), np.quantile(expected[:, 0], 0.95), rtol=0.03
    )


@pytest.mark.parametrize("name", ["parallel", "signflip"])
def test_scrambling_a_block_again_is_scrambling_its_rows(name: str) -> None:
    samples = uneven(15, 300)
    scramble = NULLS.make(name).scramble(samples, fit_pca(samples).spectrum)
    block = scramble.block(np.arange(40), np.random.default_rng(0))
    again = scramble.again(block.T @ block, np.random.default_rng(1))
    generator = np.random.default_rng(1)
    if name == "parallel":
        rows = block.T[generator.permutation(15)]
    else:
        rows = block.T * (2.0 * generator.integers(0, 2, (15,), np.int8) - 1)[:, None]
    np.testing.assert_allclose(again, rows @ rows.T, rtol=1e-4, atol=1e-4)


def test_every_column_keeps_its_values_and_sign_flips_keep_their_size() -> None:
    samples = uneven(15, 300)
    spectrum = fit_pca(samples).spectrum
    centered = (samples - samples.mean(0))[:, 10:50].T.numpy()
    permuted = (
        NULLS.make("parallel")
        .scramble(samples, spectrum)
        .block(np.arange(10, 50), np.random.default_rng(0))
    )
    np.testing.assert_allclose(np.sort(permuted), np.sort(centered), atol=1e-5)
    assert len({tuple(np.argsort(row)) for row in permuted}) == 40
    flipped = (
        NULLS.make("signflip")
        .scramble(samples, spectrum)
        .block(np.arange(10, 50), np.random.default_rng(0))
    )
    np.testing.assert_allclose(np.abs(flipped), np.abs(centered), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parallel", "signflip"])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_draws_of_a_round_hardly_resemble_one_another(name: str, power: float) -> None:
    samples = noise(20, 300) * torch.arange(1, 301) ** -power
    spectrum = fit_pca(samples).spectrum
    model = NULLS.make(name)
    assert model.scramble(samples, spectrum).in_rounds
    largest = model.draw(samples, spectrum, draws=40 * ROUND).spectra[:, 0].view(40, ROUND)
    within = float(largest.var(1).mean())
    between = float(largest.mean(1).var()) - within / ROUND
    # Were only the rounds independent, as many as five for a hundred draws, this would be 1.
    assert between / (between + within) < 0.06


def test_the_columns_of_a_round_are_all_there_once() -> None:
    samples = uneven(10, 333)
    heavy, blocks = NULLS.make("parallel").scramble(samples, fit_pca(samples).spectrum).blocks()
    np.testing.assert_array_equal(np.sort(np.concatenate([heavy, *blocks])), np.arange(333))
    spread = samples.var(0)
    assert float(spread[heavy].min()) >= max(float(spread[block].max()) for block in blocks)
    # No block comes near the size of the samples.
    assert max(len(block) for block in blocks) < 333 / 16


def test_tall_samples_meet_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = uneven(90, 8)
    spectrum = fit_pca(samples).spectrum
    monkeypatch.setattr("latentlab.chance.nulls.scrambled._BLOCK_VALUES", 3 * 90)
    assert len(NULLS.make("parallel").scramble(samples, spectrum).blocks()[1]) == 3
    ours = NULLS.make("parallel").draw(samples, spectrum, draws=300).spectra.numpy()
    expected = brute_force("parallel", samples, 300)
    np.testing.assert_allclose(ours.mean(0), expected.mean(0), rtol=0.02)
    np.testing.assert_allclose(ours.std(0), expected.std(0), rtol=0.25)


def test_the_seed_decides_what_is_drawn() -> None:
    samples = uneven(12, 240)
    spectrum = fit_pca(samples).spectrum
    one, same, other = (
        NULLS.make("parallel").draw(samples, spectrum, draws=25, seed=seed).spectra
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one[:, 0].unique()) == 25


def test_samples_may_lie_on_disk(tmp_path) -> None:
    samples = uneven(12, 240)
    mapped = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(12, 240))
    mapped[:] = samples.numpy()
    spectrum = fit_pca(samples).spectrum
    on_disk = NULLS.make("parallel").draw(torch.from_numpy(mapped), spectrum, draws=5)
    assert torch.equal(
        on_disk.spectra, NULLS.make("parallel").draw(samples, spectrum, draws=5).spectra
    )


def test_an_interrupt_ends_the_drawing() -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        assert (what, total) == ("parallel null", 100)
        if done == 3:
            raise KeyboardInterrupt

    samples = uneven(12, 240)
    with pytest.raises(KeyboardInterrupt):
        NULLS.make("parallel").draw(samples, fit_pca(samples).spectrum, progress=interrupt)


def test_each_turned_channel_is_in_one_of_its_eight_positions_and_all_occur() -> None:
    layout = TokenLayout((3, 5, 5), Window(0, 0, 5, 5))
    latent = torch.arange(75.0).view(1, 3, 5, 5) ** 2
    hood = hood_of(layout.flatten(latent), whole(latent).origin, layout, "tokens")
    matrix = NULLS.make("turned").scramble(hood, fit_pca(hood).spectrum)
    cells = latent[0].numpy() - latent[0].numpy().mean((1, 2), keepdims=True)
    positions = [
        [np.rot90(one, k).T if mirror else np.rot90(one, k) for k in range(4) for mirror in (0, 1)]
        for one in cells
    ]
    seen = set()
    generator = np.random.default_rng(0)
    for _ in range(60):
        for channel, row in enumerate(matrix.block(np.arange(3), generator)):
            same = [np.allclose(row.reshape(5, 5), one) for one in positions[channel]]
            seen.add((channel, same.index(True)))
    assert len(seen) == 3 * 8


# Calibration


@pytest.mark.parametrize(
    "shape", [(40, 150), pytest.param((20, 260), marks=pytest.mark.slow)], ids=str
)
def test_of_100_isotropic_samples_at_least_95_show_no_component(shape: tuple[int, int]) -> None:
    found = {"parallel": 0, "isotropic": 0}
    for seed in range(100):
        samples = noise(*shape, seed=seed)
        spectrum = fit_pca(samples, n_components=1).spectrum
        drawn = NULLS.make("parallel").draw(samples, spectrum, draws=40, seed=seed)
        found["parallel"] += drawn.count_above(spectrum) == 0
        found["isotropic"] += isotropic_null(spectrum).count_above(spectrum) == 0
    assert min(found.values()) >= 95, found


@pytest.mark.slow
def test_five_components_at_twice_the_detection_edge_are_found() -> None:
    # Equal components spread as 1/√N: with fewer samples the weakest sinks into the noise.
    for seed in range(4):
        samples = spikes(1000, 2000, 5, 2.0, seed)
        spectrum = fit_pca(samples, n_components=6).spectrum
        assert isotropic_null(spectrum).count_above(spectrum) == 5, seed
        if seed < 1:
            null = NULLS.make("parallel").draw(samples, spectrum, draws=40, seed=seed)
            assert null.count_above(spectrum) == 5, seed


@pytest.mark.slow
def test_with_few_samples_twice_the_edge_is_not_enough_for_any_threshold() -> None:
    # Five equal components spread as 1/√N, and the weakest comes down to the edge of the noise.
    # Of all five, about half of the samples show every one, and nearly all at least four.
    spectra = [fit_pca(spikes(256, 4096, 5, 2.0, seed)).spectrum for seed in range(100)]
    counts = torch.tensor([isotropic_null(one).count_above(one) for one in spectra])
    assert int(counts.max()) == 5
    assert int((counts >= 4).sum()) >= 95
    # That is no fault of the threshold: even the best one, chosen knowing the answer, falls short.
    fifth, sixth = torch.stack([one.explained_variance[4:6] for one in spectra]).T
    thresholds = torch.cat([fifth, sixth])[:, None]
    exact = ((fifth >= thresholds) & (sixth < thresholds)).sum(1)
    assert int(exact.max()) < 95


def test_with_few_samples_five_components_at_three_times_the_edge_are_found() -> None:
    for seed in range(20):
        spectrum = fit_pca(spikes(256, 4096, 5, 3.0, seed)).spectrum
        assert isotropic_null(spectrum).count_above(spectrum) == 5


def test_each_eigenvalue_against_its_own_rank_would_count_noise() -> None:
    samples = spikes(100, 1000, 5, 2.0)
    spectrum = fit_pca(samples).spectrum
    null = NULLS.make("parallel").draw(samples, spectrum, draws=60)
    assert null.count_above(spectrum) <= 5
    rank_by_rank = spectrum.explained_variance > null.eigenvalue_limits
    assert int(rank_by_rank.long().cumprod(0).sum()) > 5


def test_rotating_the_space_changes_neither_the_isotropic_null_nor_the_count() -> None:
    samples = spikes(150, 300, 5, 4.0)
    turned = rotated(samples)
    spectra = [fit_pca(matrix).spectrum for matrix in (samples, turned)]
    one, other = (isotropic_null(spectrum) for spectrum in spectra)
    torch.testing.assert_close(one.spectra, other.spectra, rtol=1e-5, atol=0)
    assert one.threshold == pytest.approx(other.threshold, rel=1e-5)
    pairs = zip((samples, turned), spectra, strict=True)
    drawn = [NULLS.make("parallel").draw(matrix, spectrum, draws=60) for matrix, spectrum in pairs]
    # Single draws of permuted columns depend on the axes; what they say of the samples does not.
    assert not torch.equal(drawn[0].spectra, drawn[1].spectra)
    assert [null.count_above(spectra[0]) for null in drawn] == [5, 5]
    assert drawn[0].threshold == pytest.approx(drawn[1].threshold, rel=0.03)


def test_parallel_analysis_knows_correlation_between_features_only() -> None:
    loud = noise(200, 300)
    loud[:, :5] *= 5
    spectrum = fit_pca(loud).spectrum
    assert isotropic_null(spectrum).count_above(spectrum) == 5
    assert NULLS.make("parallel").draw(loud, spectrum, draws=60).count_above(spectrum) == 0
    turned = rotated(loud)
    assert NULLS.make("parallel").draw(turned, spectrum, draws=60).count_above(spectrum) == 5


def test_sign_flips_allow_for_loud_samples_and_permutations_do_not() -> None:
    samples = noise(80, 400) * torch.linspace(0.2, 3, 80)[:, None]
    spectrum = fit_pca(samples).spectrum
    assert NULLS.make("parallel").draw(samples, spectrum, draws=60).count_above(spectrum) > 0
    assert NULLS.make("signflip").draw(samples, spectrum, draws=60).count_above(spectrum) == 0


@pytest.mark.parametrize("shape", [(60, 200), (256, 64), (20, 20)], ids=str)
def test_the_largest_eigenvalue_of_noise_is_that_of_tracy_and_widom(shape: tuple[int, int]) -> None:
    largest = []
    for seed in range(400):
        values = noise(*shape, seed=seed).numpy()
        values = values - values.mean(0)
        largest.append(np.linalg.svd(values, compute_uv=False)[0] ** 2 / (shape[0] - 1))
    share = np.mean(np.array(largest) <= isotropic_largest(*shape))
    assert abs(share - 0.95) < 0.03


def test_the_limit_of_a_quantile_holds_whatever_the_distribution() -> None:
    for count in (60, 100, 250):
        rank = int(limit_of_quantile(torch.arange(1.0, count + 1)))
        # The rank-th smallest is below the quantile if at least that many draws are.
        assert binom.sf(rank - 1, count, 0.95) <= 0.05 < binom.sf(rank - 2, count, 0.95)
    assert limit_of_quantile(torch.tensor([3.0, 1.0, 2.0])) == 3.0


# Bad input


@pytest.mark.parametrize("name", ["parallel", "signflip"])
def test_constant_columns_change_nothing(name: str) -> None:
    samples = uneven(20, 40)
    samples[:, ::4] = 7.0
    spectrum = fit_pca(samples).spectrum
    null = NULLS.make(name).draw(samples, spectrum, draws=20)
    assert torch.isfinite(null.spectra).all()
    torch.testing.assert_close(
        null.spectra.sum(1), torch.full((20,), spectrum.total_variance, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", ["isotropic", "parallel", "signflip"])
@pytest.mark.parametrize("shape", [(10, 1), (3, 50), (3, 1), (3, 2)], ids=str)
def test_a_single_component_is_never_above_chance(name: str, shape: tuple[int, int]) -> None:
    samples = noise(*shape)
    spectrum = fit_pca(samples).spectrum
    assert NULLS.make(name).draw(samples, spectrum, draws=20).count_above(spectrum) == 0


@pytest.mark.parametrize("name", ["isotropic", "parallel", "signflip"])
def test_two_samples_are_too_few(name: str) -> None:
    samples = noise(2, 9)
    with pytest.raises(ShapeError, match="2 samples, but expected at least 3"):
        NULLS.make(name).draw(samples, fit_pca(samples).spectrum)


@pytest.mark.parametrize("name", ["parallel", "signflip"])
def test_nan_is_refused(name: str) -> None:
    samples = noise(10, 30)
    spectrum = fit_pca(samples).spectrum
    samples[3, 4] = torch.nan
    with pytest.raises(NonFiniteError, match="NaN"):
        NULLS.make(name).draw(samples, spectrum)


def test_the_spectrum_of_other_samples_is_refused() -> None:
    with pytest.raises(ShapeError, match="10×30"):
        NULLS.make("parallel").draw(noise(11, 30), fit_pca(noise(10, 30)).spectrum)


def test_a_gram_matrix_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(100, 300)
    spectrum = fit_pca(samples).spectrum
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.0001")
    with pytest.raises(MemoryLimitError, match="null of 100 samples"):
        NULLS.make("parallel").draw(samples, spectrum)


def test_a_partial_spectrum_is_compared_as_far_as_it_is_known() -> None:
    samples = spikes(100, 300, 5, 6.0)
    partial = fit_pca(samples, 3, "randomized").spectrum
    null = NULLS.make("parallel").draw(samples, partial, draws=20)
    assert null.spectra.shape == (20, 99)
    assert null.count_above(partial) == 3
    assert np.isnan(null.chance_of_curve(partial))


def test_unknown_nulls_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="isotropic, parallel, signflip, stationary, turned"):
        NULLS.make("broken-stick")


def test_a_null_of_ones_own_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NULLS, "_entries", {**NULLS._entries})

    @NULLS.register("mine")
    class Mine(Parallel):
        default_draws = 7

    samples = noise(10, 30)
    drawn = NULLS.make("mine").draw(samples, fit_pca(samples).spectrum)
    assert (drawn.name, drawn.draws) == ("mine", 7)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_estimate_depends_on_sizes_and_on_no_clock(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for clock in ("perf_counter", "monotonic", "process_time", "time"):
        monkeypatch.setattr(f"time.{clock}", lambda: pytest.fail("it looks at a clock"))
    null, samples = NULLS.make("parallel"), uneven(*shape)
    found = null.seconds(samples, fit_pca(samples).spectrum)
    other = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    monkeypatch.undo()
    assert 0 < found == null.seconds(other, fit_pca(other).spectrum) < 5


@pytest.mark.parametrize(("rows", "columns"), [(256, 2_000_000), (1024, 60_000), (20_000, 16)])
def test_the_nulls_of_usual_sizes_are_drawn_and_very_large_ones_are_not(
    rows: int, columns: int
) -> None:
    def seconds(rows: int) -> float:
        in_rounds = pays_in_rounds(rows, columns)
        return estimate_seconds(rows, columns, 100, in_rounds=in_rounds)

    assert seconds(rows) < AFFORDABLE < seconds(100 * rows)
    # docs/benchmarks.md and docs/benchmarks-epyc.md measured 4.15 s and 2.05 s
    assert 1.0 < estimate_seconds(256, 32_768, 100, in_rounds=True) < 8.3
