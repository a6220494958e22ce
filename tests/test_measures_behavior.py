"""Equivariance, robustness, dimension, locality and geometry where the answer is known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from scipy.spatial import distance
from skimage.color import rgb2lab
from sklearn.datasets import load_digits
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from latentlab.components.fitting import fit_pca
from latentlab.errors import FileError, ShapeError, UsageError
from latentlab.images.arrays import from_uint8, to_uint8
from latentlab.latents import LatentSpec
from latentlab.loaders.base import LatentVAE, ModelOrigin
from latentlab.measures import MEASURES
from latentlab.measures.base import Columns, PerImage, Value
from latentlab.measures.batch import Batch
from latentlab.measures.comparison import Comparison
from latentlab.measures.locality import read_labels
from latentlab.measures.protocols import Protocol
from latentlab.measures.running import Measured, measure_images
from latentlab.metrics import dimension, equivariance, locality
from latentlab.metrics.spectrum import participation_ratio_corrected
from latentlab.neighborhoods.augment import Augment, change_image
from latentlab.results.folders import finite
from latentlab.store.preparing import Prepared
from latentlab.testing.linear_vae import LinearVAE, smooth_image

PLAIN = Protocol("plain", crop="none", size=0)


class Pooling(LatentVAE):
    """Means of 4×4 pixels and back: equivariant wherever cells move whole."""

    def __init__(self) -> None:
        spec = LatentSpec("pooling", 3, 4)
        super().__init__(
            spec, ModelOrigin("tests", "x"), device=torch.device("cpu"), dtype=torch.float32
        )

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.nn.functional.avg_pool2d(images, 4), None

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.repeat_interleave(4, -1).repeat_interleave(4, -2)


def measured(vae: LatentVAE, name: str, n: int = 5, side: int = 48, **options: object) -> Measured:
    levels = [to_uint8(smooth_image(side, side, seed=seed)).numpy() for seed in range(n)]
    images = [Prepared(f"{k % 2}/{k}", one, sha256=str(k)) for k, one in enumerate(levels)]
    found = measure_images(vae, images, {name: MEASURES.make(name, options)}, PLAIN)
    assert found.skipped_metrics == {}
    return found


def test_average_pooling_is_equivariant() -> None:
    values = measured(Pooling(), "equivariance").values
    for kind in ("flips", "turns", "shift"):
        assert values[f"encoder_{kind}"].value < 1e-10, kind
        assert values[f"decoder_{kind}"].value < 1e-10, kind
    for kind in ("half_shift", "pixel_shift"):
        assert 1e-6 < values[f"encoder_{kind}"].value < 0.05
        # Repeated pixels are moved, and cells in steps.
        assert 0.05 < values[f"decoder_{kind}"].value < 0.5
    assert values["encoder_scales"].value < 0.05


def test_cells_of_one_pixel_are_not_moved_by_half() -> None:
    vae, images = Pooling(), torch.stack([smooth_image(32, 32, seed=0)])
    vae.spec = LatentSpec("pixels", 3, 1)
    vae._encode = lambda images: (images, None)  # type: ignore[method-assign]
    vae._decode = lambda latents: latents  # type: ignore[method-assign]
    batch = Batch(vae, PLAIN, images, ("0",))
    found = MEASURES.make("equivariance").columns(batch)
    assert {name for name in found if "shift" in name} == {
        *("encoder_shift", "encoder_pixel_shift", "decoder_shift", "decoder_pixel_shift")
    }


def test_a_decoder_that_interpolates_moves_by_fractions_of_a_cell() -> None:
    vae, images = Pooling(), torch.stack([smooth_image(48, 48, seed=seed) for seed in range(2)])
    # Of a latent that changes along one axis alone linearly, every fraction of a cell is exact.
    ramp = torch.linspace(-0.5, 0.5, 12).expand(2, 3, 12, 12).clone()

    def upsampled(latents: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(latents, scale_factor=4, mode="bilinear")

    vae._decode = upsampled  # type: ignore[method-assign]
    batch = Batch(vae, PLAIN, images, ("0", "1"))
    batch.latents = ramp
    found = MEASURES.make("equivariance").columns(batch)
    plain, inner = upsampled(ramp).numpy(), slice(8, -8)
    for name, pixels in (("half_shift", 2), ("pixel_shift", 1), ("shift", 4)):
        apart, size = found[f"decoder_{name}"].numpy().T
        assert (apart / size).max() < 1e-10, name
        moved = np.roll(plain, (pixels, pixels), (2, 3))[..., inner, inner]
        assert size == pytest.approx(np.square(moved.astype(np.float64)).sum((1, 2, 3)), rel=1e-5)


def test_an_unsymmetric_model_is_not_equivariant(linear_vae: LinearVAE) -> None:
    values = measured(linear_vae, "equivariance").values
    assert values["encoder_flips"].value > 0.02
    assert values["encoder_shift"].value < 1e-10, "every patch is transformed alike"


@pytest.mark.parametrize("gain", [1.0, 1000.0])
def test_channels_are_normalized_before_they_are_compared(
    linear_vae: LinearVAE, gain: float
) -> None:
    plain = linear_vae._encode

    def loud(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean, logvar = plain(images)
        scale = torch.ones(mean.shape[1])
        scale[0], scale[1] = gain, 0.0  # a loud channel and a dead one
        return mean * scale.view(-1, 1, 1) + 3, logvar

    linear_vae._encode = loud  # type: ignore[method-assign]
    found = measured(linear_vae, "equivariance").values["encoder_flips"].value
    images = torch.stack([smooth_image(48, 48, seed=seed) for seed in range(5)])
    images = from_uint8(to_uint8(images))

    def latents(moved: torch.Tensor) -> np.ndarray:
        return np.delete(loud(moved)[0].double().numpy(), 1, axis=1)

    whole = latents(images)
    mean, deviation = whole.mean((0, 2, 3)), whole.std((0, 2, 3))

    def unit(values: np.ndarray) -> np.ndarray:
        return (values - mean[:, None, None]) / deviation[:, None, None]

    apart = size = 0.0
    for axis in (2, 3):
        other = unit(latents(images.flip(axis)))
        apart += np.square(np.flip(unit(whole), axis) - other).sum()
        size += np.square(other).sum()
    assert found == pytest.approx(apart / size, rel=1e-5)


def test_half_a_cell_is_the_mean_of_its_neighbors() -> None:
    values = torch.arange(49.0).view(1, 1, 7, 7)
    found = equivariance.shifted(values, 0.5)
    assert found.shape == (1, 1, 3, 3)
    assert float(found[0, 0, 0, 0]) == float(values[0, 0, 1:3, 1:3].mean())
    with pytest.raises(ShapeError, match="more than 4"):
        equivariance.shifted(values[..., :4, :4], 1.0)


def test_noise_of_an_orthonormal_decoder(linear_vae: LinearVAE) -> None:
    plain = linear_vae._decode
    linear_vae._decode = lambda latents: 0.1 * plain(latents)  # so that nothing is clamped
    found = measured(linear_vae, "noise", side=64)
    for sigma in (0.05, 0.1, 0.2):
        error = 6 / 48 * (0.1 * sigma) ** 2
        expected = 10 * math.log10(4 / error)
        assert found.values[f"noise_{sigma:g}"].value == pytest.approx(expected, abs=0.2)
    assert list(found.curves["noise"]) == ["0.05", "0.1", "0.2", "0.5", "1"]


def test_loops_of_a_projection_settle(linear_vae: LinearVAE) -> None:
    plain = linear_vae._decode
    linear_vae._decode = lambda latents: 0.5 * plain(latents)
    values = measured(linear_vae, "loops").values
    assert values["loop_settles"].value == pytest.approx(0.25, rel=1e-4)
    assert values["loops_1"].value > values["loops_2"].value > values["loops_4"].value


def test_where_loops_drift_is_scikit_images_and_scipys(linear_vae: LinearVAE) -> None:
    plain = linear_vae._decode
    linear_vae._decode = lambda latents: (
        0.8 * plain(latents) + torch.tensor([0.1, 0, 0])[:, None, None]
    )
    found = measured(linear_vae, "loops", n=3)
    colors, gained, lost, moved = [], [], [], []
    for seed in range(3):
        levels = to_uint8(smooth_image(48, 48, seed=seed))
        latents = first = linear_vae.encode(from_uint8(levels)[None]).mean
        images = begun = linear_vae.decode(latents).clamp(-1, 1)
        for _ in range(3):
            latents = linear_vae.encode(images).mean
            images = linear_vae.decode(latents).clamp(-1, 1)
        pair = [(one[0].movedim(0, -1).double().numpy() + 1) / 2 for one in (begun, images)]
        before, after = (rgb2lab(one).mean((0, 1)) for one in pair)
        colors.append(np.linalg.norm(after - before))
        for energies, one in zip((lost, gained), pair, strict=True):
            luma = one @ [0.299, 0.587, 0.114]
            slopes = [ndimage.sobel(luma, axis)[1:-1, 1:-1] for axis in (0, 1)]
            energies.append(np.square(slopes).sum())
        moved.append((latents - first)[0].double().square().mean((1, 2)).numpy())
    values = found.values
    assert values["loop_color"].value == pytest.approx(np.mean(colors), rel=1e-3)
    assert values["loop_color"].value > 2
    assert values["loop_detail"].value == pytest.approx(np.sum(gained) / np.sum(lost), rel=1e-4)
    assert values["loop_detail"].value < 0.5
    expected = np.sqrt(np.mean(moved, 0))
    np.testing.assert_allclose(found.curves["loop_channels"], expected, rtol=1e-4)
    assert "loop_channels" not in found.columns


def test_precision_is_pytorchs_rounding() -> None:
    import latentlab

    found = measured(latentlab.load_vae("linear", dtype="float32"), "precision", side=32).values
    assert found["float16_overflow"].value == found["bfloat16_overflow"].value == 0
    assert 1e-4 < found["float16_encode"].value < found["bfloat16_encode"].value < 0.02
    assert found["float16_decode"].value > found["bfloat16_decode"].value > 40


class Overflowing(LinearVAE):
    """The linear VAE with weights, whose latents in float16 are infinite."""

    def cast(self, dtype: torch.dtype) -> LinearVAE:
        copy = LinearVAE()
        if dtype == torch.float16:
            plain = copy._encode
            copy._encode = lambda images: (plain(images)[0] / 0, plain(images)[1])
        return copy


def test_precision_that_overflows_keeps_what_is_known() -> None:
    vae = Overflowing()
    found = measured(vae, "precision", side=32)
    values = found.values
    assert values["float16_overflow"].value == 1
    assert math.isnan(values["float16_encode"].value)
    low, high = stats.binomtest(5, 5).proportion_ci(method="wilson")
    assert (values["float16_overflow"].low, values["float16_overflow"].high) == (
        pytest.approx(low),
        pytest.approx(high),
    )
    assert values["float16_overflow"].note == "Wilson's interval"
    assert values["float16_encode"].n == 0
    assert "0 images with a finite value" in values["float16_encode"].note
    assert values["bfloat16_overflow"].value == 0
    assert values["bfloat16_encode"].n == 5
    kept = json.loads(json.dumps(finite(found.facts()), allow_nan=False))
    assert kept["metrics"]["float16_decode"]["value"] is None


@pytest.mark.parametrize(
    ("metric", "name"),
    [("precision", "float16_overflow"), ("semantics", "lnc_5"), ("clamped", "clamp_fraction")],
)
@pytest.mark.parametrize("hits", [0, 1, 3, 8])
def test_intervals_of_shares_stay_within_0_and_1(metric: str, name: str, hits: int) -> None:
    measure = MEASURES.make(metric)
    rows = np.array([[1.0]] * hits + [[0.0]] * (8 - hits))
    low, high = Columns(rows, measure, name).interval()
    assert 0 <= low <= hits / 8 <= high <= 1
    assert high - low > 0.2


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        *(("equivariance", "decoder_flips"), ("seams", "tiled_decode"), ("lpips", "lpips")),
        *(("reach", "decoder_reach"), ("precision", "float16_encode"), ("loops", "loop_settles")),
    ],
)
def test_intervals_of_what_cannot_be_negative_end_at_0(metric: str, name: str) -> None:
    heavy = np.array([[0.02, 1], [0.05, 1], [0.01, 1], [3.0, 1], [0.02, 1], [0.04, 1]])
    measure = MEASURES.make(metric)
    assert isinstance(measure, PerImage)
    rows = heavy if metric in ("equivariance", "seams", "precision", "loops") else heavy[:, :1]
    low, high = Columns(rows, measure, name).interval()
    assert low == 0
    assert high is not None
    assert high > 0.5


def test_loops_that_are_settled_at_once_keep_their_psnr(linear_vae: LinearVAE) -> None:
    linear_vae._encode = lambda images: (torch.ones(len(images), 6, 12, 12),) * 2
    values = measured(linear_vae, "loops").values
    assert math.isnan(values["loop_settles"].value)
    assert values["loop_settles"].n == 5
    assert values["loops_4"].value > 0


def test_patches_reach_no_other_cell_and_have_no_seams(linear_vae: LinearVAE) -> None:
    values = measured(linear_vae, "reach").values
    assert values["decoder_reach"].value == values["encoder_reach"].value == 0
    values = measured(linear_vae, "seams", side=64).values
    assert values["tiled_decode"].value < 1e-5
    assert values["tiled_encode"].value < 1e-5


def test_a_blur_reaches_as_far_as_it_is_wide() -> None:
    vae = Pooling()
    plain = vae._decode
    vae._decode = lambda latents: torch.nn.functional.avg_pool2d(plain(latents), 17, 1, 8)
    assert measured(vae, "reach").values["decoder_reach"].value == 2
    assert measured(vae, "seams", side=64).values["tiled_decode"].value > 1e-3


def test_dimensions_of_the_digits_are_scikit_dimensions() -> None:
    digits = load_digits().data
    distances = dimension.neighbor_distances(digits, 20)
    theirs = NearestNeighbors(n_neighbors=21).fit(digits).kneighbors()[0][:, :20]
    assert np.allclose(distances, theirs)
    assert dimension.two_nn(distances) == pytest.approx(8.9082, abs=1e-3)
    for k, expected in ((5, 8.1099), (10, 7.4195), (20, 6.8448)):
        inverse = dimension.inverse_dimensions(distances, k)
        assert 1 / inverse.mean() == pytest.approx(expected, abs=1e-3)


def test_the_spectrum_of_the_digits_is_numpys() -> None:
    digits = load_digits().data
    variances = np.linalg.eigvalsh(np.cov(digits.T))
    facts = fit_pca(torch.from_numpy(digits)).summary()
    expected = variances.sum() ** 2 / np.square(variances).sum()
    assert facts["participation_ratio"] == pytest.approx(expected, abs=1e-3)
    assert facts["participation_ratio"] == pytest.approx(13.1685, abs=1e-3)
    assert (facts["k90"], facts["k95"]) == (21, 29)


@pytest.mark.slow
def test_cubes_of_many_dimensions_read_low() -> None:
    rows = np.random.default_rng(0).random((5000, 20))
    assert dimension.two_nn(dimension.neighbor_distances(rows, 2)) == pytest.approx(15.8, rel=0.04)


def test_a_planted_dimension_and_too_few_images(linear_vae: LinearVAE) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(3, 6 * 8 * 8, generator=generator)
    latents = (torch.randn(300, 3, generator=generator) @ basis).view(300, 6, 8, 8)
    tally = MEASURES.make("dimension").begin(PLAIN)
    batch = Batch(linear_vae, PLAIN, torch.zeros(300, 3, 32, 32), tuple(map(str, range(300))))
    batch.latents = latents
    tally.add(batch)
    values = tally.finish().values
    assert values["two_nn"].value == pytest.approx(3, abs=0.4)
    assert values["mle_10"].low < 3.1 < values["mle_10"].high + 0.3
    rows = latents.flatten(1).double().numpy()
    rows -= rows.mean(0)
    variances = np.linalg.svd(rows, compute_uv=False) ** 2 / 299
    expected = participation_ratio_corrected(variances, 300, np.square(rows).sum(1))
    assert values["participation_ratio"].value == pytest.approx(expected)
    few = MEASURES.make("dimension").begin(PLAIN)
    with pytest.raises(Exception, match="at least 50"):
        few.finish()


def test_the_dimension_of_changed_copies_is_numpys(linear_vae: LinearVAE) -> None:
    found = measured(linear_vae, "augmentation", n=2, side=32)
    ratios, curves = [], []
    for seed in range(2):
        levels = to_uint8(smooth_image(32, 32, seed=seed))
        factors = Augment().draw_factors(32, torch.Generator().manual_seed(seed))
        copies = change_image(from_uint8(levels), factors)
        rows = linear_vae.encode(copies).mean.flatten(1).double().numpy()
        variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1][:31]
        sizes = np.square(rows - rows.mean(0)).sum(1)
        ratios.append(participation_ratio_corrected(variances, 32, sizes))
        curves.append(np.cumsum(variances) / variances.sum())
    value = found.values["augment_dimension"].value
    assert value == pytest.approx(np.mean(ratios), rel=1e-4)
    np.testing.assert_allclose(found.curves["augment_variance"], np.mean(curves, 0), atol=1e-4)


def test_parts_of_a_dimension_are_those_without_each_row() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4))
    near, others = dimension.nearest_others(rows, 6)
    theirs = NearestNeighbors(n_neighbors=6).fit(rows).kneighbors()
    assert np.allclose(near, theirs[0])
    assert np.array_equal(others, theirs[1])

    def estimate(some: np.ndarray) -> float:
        lengths = np.log(NearestNeighbors(n_neighbors=5).fit(some).kneighbors()[0])
        return float(1 / (lengths[:, [4]] - lengths[:, :4]).mean(1).mean())

    whole = estimate(rows)
    expected = [60 * whole - 59 * estimate(np.delete(rows, k, 0)) for k in range(60)]
    expected = np.array(expected) - np.mean(expected) + whole
    np.testing.assert_allclose(dimension.jackknifed_dimensions(near, others, 5), expected)


def test_dimensions_of_two_models_differ_by_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    shared, more = rng.random((2, 80, 3))
    kept = []
    for rows in (shared, np.hstack([shared, more])):
        tally = MEASURES.make("dimension").begin(PLAIN)
        tally.add(Rows(torch.from_numpy(rows[:50])[:, None, None]))  # type: ignore[arg-type]
        tally.add(Rows(torch.from_numpy(rows[50:])[:, None, None], 50))  # type: ignore[arg-type]
        found, measure = tally.finish(), MEASURES.make("dimension")
        named = dict.fromkeys(found.values, measure)
        paths = tuple(map(str, range(80)))
        kept.append(Measured("x", PLAIN, paths, found.values, found.columns, {}, named))
    (difference,) = Comparison(("three", "six"), tuple(kept)).differences["mle_10"]
    values = [one.values["mle_10"].value for one in kept]
    assert difference.value == pytest.approx(values[0] - values[1])
    assert difference.low < difference.value < difference.high < -0.5
    assert difference.better is None, "nothing is better there"
    assert np.mean(kept[0].columns["mle_10"].each()) == pytest.approx(values[0])


def test_intervals_of_dimensions_are_as_wide_as_estimates_vary() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(20, 3)))[0].T
    drawn = [found_for(rng.random((200, 3)) @ turn) for _ in range(20)]
    for name in ("two_nn", "mle_5", "mle_20", "participation_ratio"):
        values = np.array([one[name].value for one in drawn])
        held = [one[name].low <= values.mean() <= one[name].high for one in drawn]
        assert sum(held) >= 16, name
        widths = [np.log(one[name].high / one[name].low) for one in drawn]
        # Two Student's quantiles of about 2.2. A cube's participation ratio is the largest that
        # there is, where the jackknife is too wide.
        largest = 9 if name == "participation_ratio" else 7
        assert 3 < np.mean(widths) / np.log(values).std() < largest, name
    assert drawn[0]["participation_ratio"].value == pytest.approx(3, abs=0.3)


def test_duplicates_cost_the_interval_and_not_the_dimension() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(20, 3)))[0].T
    rows = rng.random((20, 3)) @ turn
    found = found_for(np.concatenate([rows, np.ones((40, 20))]))
    for name in ("two_nn", "mle_5"):
        assert (found[name].low, found[name].high, found[name].n) == (None, None, 20)
        assert found[name].note.endswith("no interval: too few images differ")
        assert np.isfinite(found[name].value)
    assert found["participation_ratio"].low is not None


@dataclass
class Rows:
    """As much of a batch as the metric reads."""

    latents: torch.Tensor
    first: int = 0

    def __len__(self) -> int:
        return len(self.latents)


def found_for(rows: np.ndarray) -> Mapping[str, Value]:
    """Return what the metric finds for rows as latents of one channel."""
    tally = MEASURES.make("dimension", {}).begin(PLAIN)
    latents = torch.from_numpy(rows)[:, None, None]
    tally.add(Rows(latents))  # type: ignore[arg-type]
    return tally.finish().values


def test_locality_of_noise_and_of_a_ramp() -> None:
    noise = torch.randn(20, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    lds, cds = locality.locality(noise)
    assert abs(float(lds.mean())) < 0.01
    assert abs(float(cds.mean())) < 0.01
    angles = torch.linspace(0, math.pi, 16)
    turning = torch.stack([angles.cos(), angles.sin()])[None, :, None].expand(1, 2, 16, 16)
    lds, cds = locality.locality(turning)
    assert float(lds) > 0.5
    assert float(cds) > 0.5
    cosines, distances = locality.cosines_by_distance(noise[:1])
    cells = noise[0].flatten(1).T.double().numpy()
    cells /= np.linalg.norm(cells, axis=1, keepdims=True)
    places = np.stack(np.unravel_index(np.arange(256), (16, 16)), 1)
    far = np.linalg.norm(places[:, None] - places, axis=2).round()
    expected = (cells @ cells.T)[far == 3].mean()
    assert float(cosines[0, distances == 3]) == pytest.approx(expected)


def test_locality_is_a_mean_over_pairs() -> None:
    noise = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)
    cells = smooth[0].flatten(1).T.double().numpy()
    cells /= np.linalg.norm(cells, axis=1, keepdims=True)
    places = np.stack(np.unravel_index(np.arange(256), (16, 16)), 1)
    gaps = distance.squareform(distance.pdist(places)).round()
    cosines = cells @ cells.T
    expected = cosines[(gaps > 0) & (gaps <= 2)].mean() - cosines[gaps > 8].mean()
    assert float(locality.locality(smooth)[0]) == pytest.approx(expected, abs=1e-9)


def test_white_noise_has_a_viv_of_half_pi() -> None:
    noise = np.random.default_rng(0).normal(size=(400, 4, 8, 8))
    assert locality.interpolation_information(noise, np.zeros(400)) == pytest.approx(
        math.pi / 2, rel=0.02
    )
    smooth = noise.cumsum(-1).cumsum(-2)
    assert locality.interpolation_information(smooth, np.zeros(400)) < 1.2
    with pytest.raises(ShapeError, match="at least 33"):
        locality.interpolation_information(noise[:20], np.zeros(20))


def test_neighbors_of_a_class_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    found = locality.same_class_neighbors(rows, labels, 5)
    theirs = NearestNeighbors(n_neighbors=5, metric="cosine").fit(rows)
    nearest = theirs.kneighbors(return_distance=False)
    assert np.allclose(found, (labels[nearest] == labels[:, None]).mean(1))
    for k, names in ((5, np.array(["b", "c", "a"])), (10, np.arange(3))):
        voting = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        expected = cross_val_predict(voting, rows, names[labels], cv=LeaveOneOut())
        found = locality.neighbors_hit(rows, names[labels], k)
        assert found.tolist() == (expected == names[labels]).tolist()


def test_classes_are_read_off_and_shuffled_ones_are_not(linear_vae: LinearVAE) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(60, 6, 4, 4, generator=generator)
    latents[::2, 0] += 3
    paths = tuple(f"{k % 2}/{k}.png" for k in range(60))
    tally = MEASURES.make("semantics", {"labels": "folders"}).begin(PLAIN)
    batch = Batch(linear_vae, PLAIN, torch.zeros(60, 3, 16, 16), paths)
    batch.latents = latents
    tally.add(batch)
    values = tally.finish().values
    assert values["probe"].value > 0.95
    assert values["probe"].note.startswith("five folds")
    assert 0.85 < values["probe"].low <= values["probe"].value <= values["probe"].high <= 1
    assert values["lnc_5"].low > 0.7
    assert 0.25 < values["probe_chance"].value < 0.75
    assert values["lnc_5_chance"].low < 0.5 < values["lnc_5_chance"].high + 0.05
    assert values["knn_10"].low > 0.9
    assert values["knn_10_chance"].low < 0.6


def test_classes_are_read_off_normalized_channels(linear_vae: LinearVAE) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(40, 6, 4, 4, generator=generator)
    latents[::2, 0] += 2

    def values(latents: torch.Tensor) -> dict[str, float]:
        paths = tuple(f"{k % 2}/{k}.png" for k in range(len(latents)))
        tally = MEASURES.make("semantics", {"labels": "folders"}).begin(PLAIN)
        batch = Batch(linear_vae, PLAIN, torch.zeros(len(latents), 3, 16, 16), paths)
        batch.latents = latents
        tally.add(batch)
        return {name: one.value for name, one in tally.finish().values.items()}

    plain = values(latents)
    assert {"lnc_5", "knn_10", "knn_10_chance", "viv"} < set(plain)
    # A loud channel that says nothing, shifted, and a dead one.
    loud = latents * torch.tensor([1.0, 1, 1, 1, 1, 300])[:, None, None] + 3
    with_dead = torch.cat([loud, torch.full((40, 1, 4, 4), 7.0)], 1)
    assert values(with_dead) == pytest.approx(plain, abs=1e-3)
    with pytest.raises(UsageError, match="never vary"):
        values(torch.ones(40, 6, 4, 4))


def test_labels_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("path,label\na.png,cat\nb.png,dog\n")
    assert read_labels(str(file), ("a.png",)) == {"a.png": "cat", "b.png": "dog"}
    file.write_text("file,class\na.png,cat\n")
    with pytest.raises(FileError, match="columns path and label"):
        read_labels(str(file), ("a.png",))


@pytest.mark.parametrize("row", ["b.png", "b.png,", "b.png,dog,cat", f"b.png,{'x' * 200_000}"])
def test_a_wrong_row_of_labels_is_said_before_the_first_image(row: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(f"path,label\na.png,cat\n{row}\n")
    measure = MEASURES.make("semantics", {"labels": str(file)})
    with pytest.raises(FileError, match=r"line 3|field larger"):
        measure.begin(PLAIN)


def test_values_of_labeled_images_are_theirs(linear_vae: LinearVAE, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    paths = tuple(f"{k}.png" for k in range(25))
    file.write_text("path,label\n" + "".join(f"{p},{k % 2}\n" for k, p in enumerate(paths) if k))
    latents = torch.randn(25, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    latents[::2, 0] += 3
    tally = MEASURES.make("semantics", {"labels": str(file)}).begin(PLAIN)
    for first in (0, 10, 20):
        some = slice(first, min(first + 10, 25))
        batch = Batch(
            linear_vae, PLAIN, torch.zeros(10, 3, 16, 16)[: len(paths[some])], paths[some]
        )
        batch.first, batch.latents = first, latents[some]
        tally.add(batch)
    found = tally.finish()
    units = latents[1:].double().numpy()
    units = (units - units.mean((0, 2, 3), keepdims=True)) / units.std((0, 2, 3), keepdims=True)
    rows = units.reshape(24, -1)
    theirs = NearestNeighbors(n_neighbors=5, metric="cosine").fit(rows - rows.mean(0))
    labels = np.arange(1, 25) % 2
    nearest = theirs.kneighbors(return_distance=False)
    each = found.columns["lnc_5"].each()
    assert np.isnan(each[0])
    assert np.allclose(each[1:], (labels[nearest] == labels[:, None]).mean(1))
    assert found.values["lnc_5"].n == 24


def test_the_geometry_of_an_orthonormal_decoder(linear_vae: LinearVAE) -> None:
    found = measured(linear_vae, "geometry", n=2, side=16, probes=4).values
    assert found["decoder_gain"].value == pytest.approx(1, rel=1e-4)
    assert found["decoder_trace"].value == pytest.approx(6 * 16, rel=1e-4)
    assert found["decoder_dimension"].value == pytest.approx(6 * 16, rel=1e-3)
