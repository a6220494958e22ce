"""Metrics of images, latents and models, on crops of the sample photos and the linear control."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from oracles import Pair, oracle

import latentlab

HEADING = "Images, latents and models"
PLACE = 3
SIDE = 48
FAST = (
    "psnr",
    "mse",
    "ssim",
    "edges",
    "color_shift",
    "latents",
    "noise",
    "loops",
    "seams",
    "reach",
)
RGB = [0.299, 0.587, 0.114]


@cache
def linear() -> Any:
    """Return the linear control, whose encoder is orthonormal."""
    return latentlab.load_vae("linear", device="cpu", dtype="float32")


@cache
def folder() -> Path:
    """Return a folder with six crops of a photo."""
    from PIL import Image

    from latentlab.images.examples import sample_path

    photo, place = Image.open(sample_path("sample:china")), Path(mkdtemp())
    for number in range(6):
        left = 90 * number
        photo.crop((left, 60, left + SIDE, 60 + SIDE)).save(place / f"{number}.png")
    return place


@cache
def measured() -> Any:
    """Return what latentlab measures on these crops, as they are."""
    from latentlab.measures.protocols import Protocol

    return latentlab.measure(linear(), folder(), Protocol("plain", size=SIDE), only=FAST)


@cache
def pairs() -> tuple[Any, Any]:
    """Return the crops and their reconstructions (6, H, W, 3) in [0, 1], in 8 bits."""
    from PIL import Image

    levels = np.stack([np.asarray(Image.open(path)) for path in sorted(folder().iterdir())])
    batch = torch.from_numpy(levels / 127.5 - 1).movedim(-1, 1).float()
    decoded = linear().decode(linear().encode(batch).mean).movedim(1, -1).double().numpy()
    return levels / 255, np.rint((decoded + 1).clip(0, 2) / 2 * 255) / 255


def value(name: str) -> float:
    """Return a measured value."""
    found: float = measured().values[name].value
    return found


@oracle(
    numbers=("psnr", "reconstruction_psnr", "psnr_over", "psnr_over_mean", "psnr_alpha"),
    by="scikit-image: `peak_signal_noise_ratio`",
    tolerance=1e-6,
    test="test_measures.py::test_psnr_and_ssim_are_scikit_images",
)
def psnr() -> Pair:
    from skimage.metrics import peak_signal_noise_ratio

    theirs = [peak_signal_noise_ratio(*pair, data_range=1) for pair in zip(*pairs(), strict=True)]
    return value("psnr"), np.mean(theirs)


@oracle(
    numbers=("mse",),
    by="scikit-image: `mean_squared_error`",
    tolerance=1e-6,
    test="test_measures.py::test_psnr_and_ssim_are_scikit_images",
)
def mse() -> Pair:
    from skimage.metrics import mean_squared_error

    return value("mse"), mean_squared_error(*pairs())


@oracle(
    numbers=("ssim",),
    by="scikit-image: `structural_similarity`",
    tolerance=1e-6,
    test="test_measures.py::test_psnr_and_ssim_are_scikit_images",
)
def ssim() -> Pair:
    from skimage.metrics import structural_similarity

    how = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0}
    theirs = [
        structural_similarity(*pair, channel_axis=-1, win_size=11, **how)
        for pair in zip(*pairs(), strict=True)
    ]
    return value("ssim"), np.mean(theirs)


@oracle(
    numbers=("ms_ssim",),
    by="pytorch-msssim",
    tolerance=1e-9,
    test="test_measures.py::test_ms_ssim_is_pytorch_msssims",
)
def ms_ssim() -> Pair:
    import pytorch_msssim

    from latentlab.metrics.ssim import ms_ssim as ours

    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 176, 176, generator=generator).double()
    other = (image + 0.1 * torch.randn(1, 3, 176, 176, generator=generator)).clamp(0, 1)
    # Its own window has the rounding of single precision.
    window = torch.exp(-0.5 * ((torch.arange(11).double() - 5) / 1.5) ** 2)
    window = (window / window.sum()).expand(3, 1, 1, 11)
    how = {"data_range": 1.0, "size_average": False, "win": window}
    return ours(image, other), pytorch_msssim.ms_ssim(image, other, **how)


@oracle(
    numbers=("edges",),
    by="SciPy: `ndimage.sobel` of the luma",
    tolerance=1e-5,
    test="test_measures_latents.py::test_gradients_are_scipys",
)
def edges() -> Pair:
    from scipy.ndimage import sobel

    def gradient(images: Any) -> Any:
        luma = images @ RGB
        return np.stack([sobel(one, axis)[1:-1, 1:-1] for one in luma for axis in (0, 1)])

    x, y = map(gradient, pairs())
    theirs = [np.sum(x * y) / np.sum(x * x), np.sum(y * y) / np.sum(x * x)]
    return [value("edge_retention"), value("gradient_retention")], theirs


@oracle(
    numbers=("color_shift",),
    by="scikit-image: `rgb2lab`",
    tolerance=1e-4,
    test="test_measures_latents.py::test_lab_is_scikit_images",
)
def color_shift() -> Pair:
    from skimage.color import rgb2lab

    before, after = (rgb2lab(one).mean((1, 2)) for one in pairs())
    apart = after - before
    ours = [value(name) for name in ("color_shift", "shift_l", "shift_a", "shift_b")]
    return ours, [np.linalg.norm(apart, axis=1).mean(), *apart.mean(0)]


@cache
def latents() -> Any:
    """Return the latents of the crops, (6, C, h, w), float64."""
    batch = torch.from_numpy(pairs()[0] * 2 - 1).movedim(-1, 1).float()
    return linear().encode(batch).mean.double().numpy()


@oracle(
    numbers=("latents", "latent_mean", "latent_std", "channels.mean", "channels.std"),
    by="NumPy: over all cells at once",
    tolerance=1e-5,
    test="test_measures_latents.py::test_latent_statistics_are_numpys",
)
def scale() -> Pair:
    theirs = [latents().mean(), latents().std()]
    return [value("latent_mean"), value("latent_std")], theirs


@oracle(
    numbers=(
        *("channels.mean", "channels.std", "channels.skewness", "channels.excess_kurtosis"),
        *("channels.correlation", "constants"),
    ),
    by="SciPy: `stats.skew` and `kurtosis`; NumPy: `corrcoef`",
    tolerance=1e-9,
    test="test_store_statistics.py::test_merged_over_seven_uneven_shards_equals_numpy",
)
def store_statistics() -> Pair:
    from scipy import stats

    from latentlab.store.statistics import Statistics

    values = np.random.default_rng(0).gamma(3, size=(40, 3, 6, 5))
    found = Statistics(3)
    for block in torch.from_numpy(values).split(7):
        found.add(block)
    facts, cells = found.facts(), values.swapaxes(0, 1).reshape(3, -1)
    channels = facts["channels"]
    names = ("mean", "std", "skewness", "excess_kurtosis")
    theirs = [cells.mean(1), cells.std(1), stats.skew(cells, 1), stats.kurtosis(cells, 1)]
    ours = [*(channels[name] for name in names), *channels["correlation"]]
    ours.append([facts["constants"]["scaling_factor"]["value"]] * 3)
    return ours, [*theirs, *np.corrcoef(cells), [1 / values.std()] * 3]


@oracle(
    numbers=("channels.percentiles",),
    by="NumPy: `percentile` (tolerance: the rounding of float16)",
    tolerance=1e-3,
    test="test_store_statistics.py::test_percentiles_are_within_the_rounding_of_float16",
)
def percentiles() -> Pair:
    from latentlab.store.statistics import PERCENTILES, Statistics

    values = np.random.default_rng(0).normal(size=(60, 2, 8, 8))
    found = Statistics(2)
    found.add(torch.from_numpy(values))
    cells = values.swapaxes(0, 1).reshape(2, -1)
    theirs = np.percentile(cells, PERCENTILES, axis=1, method="higher")
    ours = found.facts()["channels"]["percentiles"]
    rows = [*ours.values()] if isinstance(ours, dict) else ours
    return rows, theirs if np.shape(rows) == theirs.shape else theirs.T


@oracle(
    numbers=("kl",),
    by="PyTorch: `distributions.kl_divergence`",
    tolerance=1e-6,
    test="test_measures_latents.py::test_the_divergence_is_torchs",
)
def divergence() -> Pair:
    from latentlab.metrics.divergence import divergence_by_channel

    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(2, 2, 3, 4, 5, generator=generator).double()
    normal = torch.distributions.Normal
    nats = torch.distributions.kl_divergence(normal(mean, (logvar / 2).exp()), normal(0.0, 1.0))
    return divergence_by_channel(mean, logvar), nats.sum((2, 3))


@oracle(
    numbers=("noise",),
    by="closed form: the error of an orthonormal decoder is σ² C / (3 stride²) (tolerance: 0.2 dB, "
    "the sampling error)",
    tolerance=5e-3,
    test="test_measures_behavior.py::test_noise_of_an_orthonormal_decoder",
)
def noise() -> Pair:
    # Without pixels at black or white, which clamping would change: σ = 0.05 alone.
    error = linear().spec.channels / (3 * linear().spec.stride ** 2) * 0.05**2
    return value("noise_0.05"), 10 * np.log10(4 / error)


@oracle(
    numbers=("loops",),
    by="scikit-image: `peak_signal_noise_ratio` after each loop",
    tolerance=1e-6,
    test="test_measures_behavior.py::test_loops_of_a_projection_settle",
)
def loops() -> Pair:
    from skimage.metrics import peak_signal_noise_ratio

    before = torch.from_numpy(pairs()[0] * 2 - 1).movedim(-1, 1).float()
    images, theirs = before, []
    for _ in range(4):
        images = linear().decode(linear().encode(images).mean).clamp(-1, 1)
        both = zip(before.double().numpy(), images.double().numpy(), strict=True)
        theirs.append(np.mean([peak_signal_noise_ratio(*pair, data_range=2) for pair in both]))
    return [value(f"loops_{number}") for number in (1, 2, 3, 4)], theirs


@oracle(
    numbers=("seams", "reach"),
    by="closed form: a model of patches has no seams and reaches no other cell",
    tolerance=1e-6,
    test="test_measures_behavior.py::test_patches_reach_no_other_cell_and_have_no_seams",
)
def patches() -> Pair:
    names = ("tiled_encode", "tiled_decode", "decoder_reach", "encoder_reach")
    return [value(name) for name in names], np.zeros(4)


@oracle(
    numbers=("sec", "low_pass", "spectrum"),
    by="SciPy: `fft.dctn`, of which they are sums",
    tolerance=1e-9,
    test="test_measures_latents.py::test_the_transform_is_scipys_and_keeps_energy",
)
def transform() -> Pair:
    from scipy.fft import dctn

    from latentlab.metrics.dct import dct2

    return dct2(torch.from_numpy(latents())), dctn(latents(), axes=(2, 3), norm="ortho")


@oracle(
    numbers=("feature_distance", "interpolation", "rfid", "fdd"),
    by="SciPy: `linalg.sqrtm` in the closed form for Gaussians (the distance, not the features)",
    tolerance=1e-8,
    test="test_distances.py::test_the_distance_of_gaussians_is_the_closed_form",
)
def frechet() -> Pair:
    from scipy.linalg import sqrtm

    from latentlab.metrics.frechet import frechet_distance

    a, b = np.random.default_rng(0).normal(size=(2, 60, 5))
    b = b * [1, 2, 1, 0.5, 1] + 0.3
    left, right = (np.cov(one.T) for one in (a, b))
    root = sqrtm(left @ right).real
    theirs = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(left + right - 2 * root)
    return frechet_distance(a, b), theirs


@oracle(
    numbers=("semantics",),
    by="scikit-learn: `NearestNeighbors` by cosine (`lnc`; `viv` and the probe: white noise)",
    tolerance=1e-9,
    test="test_measures_behavior.py::test_neighbors_of_a_class_are_scikit_learns",
)
def neighbors() -> Pair:
    from sklearn.neighbors import NearestNeighbors

    from latentlab.metrics.locality import same_class_neighbors

    rows, labels = np.random.default_rng(0).normal(size=(60, 8)), np.arange(60) % 3
    near = NearestNeighbors(n_neighbors=5, metric="cosine").fit(rows).kneighbors()[1]
    theirs = (labels[near] == labels[:, None]).mean(1)
    return same_class_neighbors(rows, labels, 5), theirs


@oracle(
    numbers=("geometry",),
    by="closed form: an orthonormal decoder has gain 1 in every direction",
    tolerance=1e-5,
    test="test_measures_behavior.py::test_the_geometry_of_an_orthonormal_decoder",
)
def geometry() -> Pair:
    from latentlab.pullback import decoder_map
    from latentlab.pullback.traces import estimate_traces

    z = latentlab.encode(linear(), "sample:flower", size=16)
    found = estimate_traces(decoder_map(linear(), z), probes=4)
    return [found.trace.value, found.trace_squared.value], [z.values.numel()] * 2


@oracle(
    numbers=("share_of_three", "rgb_factors", "rgb_bias", "r2"),
    by="NumPy: `pinv` of the linear control's answers to red, green and blue",
    tolerance=1e-5,
    test="test_palette.py::test_the_map_of_the_linear_control_is_recovered",
)
def palette() -> Pair:
    from latentlab.encoding.palette import find_palette

    found = find_palette(linear(), levels=3)
    side = linear().spec.multiple
    colors = torch.cat([torch.zeros(1, 3), torch.eye(3)])[:, :, None, None]
    answers = linear().encode(colors.expand(4, 3, side, side)).mean.double().mean((2, 3)).numpy()
    inverse = np.linalg.pinv(answers[1:] - answers[0])
    return [*found.rgb_factors, found.rgb_bias], [*inverse, -answers[0] @ inverse]
