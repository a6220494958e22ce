"""Metrics under protocols against scikit-image, and the command that prints them."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_msssim
import torch
from command_line import CommandLine
from PIL import Image as Pillow
from rich.console import Console
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from latentlab.cli.metrics import summarize
from latentlab.errors import FileError, ImageError, UsageError
from latentlab.images.framing import Framing, frame_levels
from latentlab.measures import MEASURES, running
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import PROTOCOLS, Protocol, find_protocol
from latentlab.measures.running import measure_images
from latentlab.metrics.ssim import SCALE_WEIGHTS, ms_ssim, ssim
from latentlab.recipes import evaluating
from latentlab.recipes.evaluating import Question, analyze_metrics, measure, spread
from latentlab.store.preparing import Prepared
from latentlab.testing.linear_vae import LinearVAE

SMALL = {name: replace(one.sized(32), latent="mean") for name, one in PROTOCOLS.items() if one.size}
VARIANTS = {
    **SMALL,
    "native": PROTOCOLS["native"],
    "luma": Protocol("luma", size=32, color="luma"),
    "truncated": Protocol("truncated", size=32, rounding="truncate"),
    "unclamped": Protocol("unclamped", size=32, clamp=False, rounding="none"),
    "range": Protocol("range", size=32, data_range=2.0),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with seven smooth images of 48×40 pixels and noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):
        coarse = Pillow.fromarray(rng.integers(0, 255, (5, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((48, 40), Pillow.Resampling.BICUBIC), np.int16)
        noisy = (smooth + rng.integers(-9, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        Pillow.fromarray(noisy).save(folder / f"{number}.png")
    return folder


def reconstructed(vae: LinearVAE, path: Path, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Return image and reconstruction (H, W, c) in [0, 1], made with Pillow and NumPy alone."""
    with Pillow.open(path) as image:
        side = protocol.size
        if protocol.crop == "square":
            image = image.crop((4, 0, 44, 40))
        if protocol.crop != "none":
            shape = (side, side) if protocol.crop == "square" else (round(48 * side / 40), side)
            image = image.resize(shape, Pillow.Resampling[protocol.filter.upper()])
            left = (image.width - side) // 2
            image = image.crop((left, 0, left + side, side))
        levels = np.asarray(image)
    batch = torch.from_numpy(levels / 127.5 - 1).movedim(-1, 0)[None].float()
    decoded = vae.decode(vae.encode(batch).mean)[0].movedim(0, -1).double().numpy()
    unit = (decoded + 1) / 2
    unit = unit.clip(0, 1) if protocol.clamp else unit
    if protocol.rounding != "none":
        unit = (np.rint if protocol.rounding == "round" else np.floor)(unit * 255) / 255
    both = levels / 255, unit
    if protocol.color == "luma":
        both = tuple((one @ [0.299, 0.587, 0.114])[..., None] for one in both)
    return both


@pytest.mark.parametrize("name", VARIANTS)
def test_psnr_and_ssim_are_scikit_images(name: str, photos: Path, linear_vae: LinearVAE) -> None:
    protocol = VARIANTS[name]
    found = measure(linear_vae, photos, protocol, only=["psnr", "mse", "ssim"])
    pairs = [reconstructed(linear_vae, path, protocol) for path in sorted(photos.iterdir())]
    reach = protocol.data_range
    decibels = [peak_signal_noise_ratio(*pair, data_range=reach) for pair in pairs]
    error = np.mean([np.square(a - b).mean() for a, b in pairs])
    if protocol.psnr == "pooled":
        decibels = [10 * np.log10(reach**2 / error)]
    gaussian = {"gaussian_weights": True, "use_sample_covariance": False}
    window = gaussian if protocol.ssim_window == "gaussian" else {}
    how = {"win_size": protocol.ssim_side, "data_range": reach, "channel_axis": -1, **window}
    similar = [structural_similarity(*pair, **how) for pair in pairs]
    assert found.values["psnr"].value == pytest.approx(np.mean(decibels), abs=1e-6)
    assert found.values["mse"].value == pytest.approx(error, abs=1e-8)
    assert found.values["ssim"].value == pytest.approx(np.mean(similar), abs=1e-6)
    assert found.values["psnr"].low < found.values["psnr"].value < found.values["psnr"].high


def test_ms_ssim_is_a_pyramid_of_scikit_images_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 176, 208, generator=generator).double()
    other = (image + 0.1 * torch.randn(1, 1, 176, 208, generator=generator)).clamp(0, 1)
    how = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0}
    product, (x, y) = 1.0, (one[0, 0].numpy() for one in (image, other))
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            x, y = (one.reshape(len(one) // 2, 2, -1, 2).mean((1, 3)) for one in (x, y))
        whole = structural_similarity(x, y, full=True, **how)[1][5:-5, 5:-5]
        if scale < len(SCALE_WEIGHTS) - 1:
            # Contrast is what SSIM is once the luminance term is divided out.
            mx, my = (gaussian_filter(one, 1.5, truncate=3.5)[5:-5, 5:-5] for one in (x, y))
            whole = whole * (mx**2 + my**2 + 1e-4) / (2 * mx * my + 1e-4)
        product *= whole.mean() ** weight
    assert float(ms_ssim(image, other)) == pytest.approx(product, abs=1e-7)


def test_images_may_have_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    image, other = torch.rand(2, 1, 1, 12, 13, generator=generator).double()
    with torch.inference_mode():
        ssim(image, other, sigma=1.4)
    image.requires_grad_()
    assert torch.autograd.gradcheck(lambda one: ssim(one, other, sigma=1.4), image)
    large = torch.rand(1, 1, 161, 161, generator=generator).requires_grad_()
    ms_ssim(large, large.detach().flip(3)).sum().backward()
    assert large.grad is not None
    assert bool(large.grad.isfinite().all())


@pytest.mark.parametrize("sides", [(176, 208), (161, 163), (200, 171)])
def test_ms_ssim_is_pytorch_msssims(sides: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 2, 3, *sides, generator=generator).double()
    image = torch.nn.functional.avg_pool2d(noise[0] + 0.5, 5, 1, 2).clamp(0, 1)
    other = (image + 0.1 * noise[1]).clamp(0, 1)
    # Its own window has the rounding of single precision, which alone makes 1e-6.
    offsets = torch.arange(11).double() - 5
    window = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    window = (window / window.sum()).expand(3, 1, 1, 11)
    for ours, theirs in ((ms_ssim, pytorch_msssim.ms_ssim), (ssim, pytorch_msssim.ssim)):
        found = theirs(image, other, data_range=1.0, size_average=False, win=window)
        torch.testing.assert_close(ours(image, other), found, rtol=0, atol=1e-9)
        single = theirs(image, other, data_range=1.0, size_average=False)
        torch.testing.assert_close(ours(image, other), single, rtol=0, atol=1e-5)


def test_images_that_are_too_small_for_the_window() -> None:
    with pytest.raises(UsageError, match="at least the window's 11 pixels"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(UsageError, match="above 160"):
        ms_ssim(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))


def test_adm_halves_with_a_box_before_it_resizes() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
    with io.BytesIO() as file:
        Pillow.fromarray(levels).save(file, "PNG")
        found = frame_levels(file.getvalue(), "x", Framing("adm", "bicubic", 32))
    halved = Pillow.fromarray(levels).resize((45, 35), Pillow.Resampling.BOX)
    expected = np.asarray(halved.resize((41, 32), Pillow.Resampling.BICUBIC))[:, 4:36]
    assert np.array_equal(found, expected)


def test_a_protocol_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "coco-256"\nsize = 128\nssim_sigma = 2\n')
    found = find_protocol(str(file))
    assert (found.name, found.size, found.psnr, found.ssim_sigma) == ("mine", 128, "pooled", 2)
    for text, told in {
        'crop = "round"': "crop = 'round'",
        "size = 12.5": "size = 12.5",
        "sise = 128": "sise",
        "size =": "TOML",
        "clamp = 1": "clamp = 1",
        "ssim_side = 8": "odd window",
        "ssim_sigma = 0": "at least 0.1 pixels",
        "ssim_sigma = nan": "at least 0.1 pixels",
        "data_range = inf": "positive range",
        "base = 3": "base = 3",
        "base = [1]": "base = ",
        f"base = '{file}'": "one of latentlab-256",
    }.items():
        file.write_text(text)
        with pytest.raises((UsageError, FileError), match=told):
            find_protocol(str(file))
    with pytest.raises(UsageError, match="one of latentlab-256"):
        find_protocol("imagenet")


def test_a_sample_of_the_posterior_does_not_depend_on_the_batch(
    photos: Path, linear_vae: LinearVAE
) -> None:
    vae, sampled = linear_vae, Protocol("sampled", size=32, latent="sample")
    first = measure(vae, photos, sampled, only=["mse"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "batch_size", lambda *_: 1)
        alone = measure(vae, photos, sampled, only=["mse"])
    assert alone.values["mse"].value == pytest.approx(first.values["mse"].value, rel=1e-4)
    mean = measure(vae, photos, Protocol("mean", size=32), only=["mse"])
    assert mean.values["mse"].value != pytest.approx(first.values["mse"].value, rel=1e-4)


def test_bad_images_are_named_and_the_rest_is_measured(photos: Path, linear_vae: LinearVAE) -> None:
    (photos / "again.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "broken.png").write_bytes(b"nothing")
    found = measure(linear_vae, photos, SMALL["latentlab-256"], only=["psnr", "ms_ssim"])
    assert len(found.paths) == found.values["psnr"].n == 7
    assert found.skipped_images["again.png" if "0.png" in found.paths else "0.png"].startswith(
        "the"
    )
    assert "no image that Pillow can read" in found.skipped_images["broken.png"]
    assert "above 160 pixels" in found.skipped_metrics["ms_ssim"]


@pytest.mark.parametrize("small", [0, 3])
def test_one_small_image_takes_no_metric_from_the_others(linear_vae: LinearVAE, small: int) -> None:
    rng = np.random.default_rng(0)
    sides = [176] * 7
    sides[small] = 48
    levels = [rng.integers(0, 255, (side, side, 3), np.uint8) for side in sides]
    images = [Prepared(str(k), one, 0, str(k)) for k, one in enumerate(levels)]
    measures = {name: MEASURES.make(name) for name in ("ms_ssim", "mse")}
    found = measure_images(linear_vae, images, measures, PROTOCOLS["native"])
    assert found.skipped_metrics == {}
    assert (found.values["ms_ssim"].n, found.values["mse"].n) == (6, 7)
    assert "1 image left out: Got" in found.values["ms_ssim"].note
    each = found.columns["ms_ssim"].each()
    assert [k for k, one in enumerate(each) if np.isnan(one)] == [small]


def test_a_metric_of_few_images_takes_no_more_of_a_batch(linear_vae: LinearVAE) -> None:
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(12)]
    images = [Prepared(str(k), one, 0, str(k)) for k, one in enumerate(levels)]
    measures = {name: MEASURES.make(name) for name in ("geometry", "loops", "mse")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "batch_size", lambda *_: 5)
        found = measure_images(linear_vae, images, measures, PROTOCOLS["native"])
    assert found.values["decoder_gain"].n == len(found.columns["decoder_gain"].rows) == 8
    assert found.values["loops_1"].n == found.values["mse"].n == 12
    batch = Batch(linear_vae, PROTOCOLS["native"], torch.rand(4, 3, 32, 32), tuple("abcd"))
    before, whole = batch.decoded, linear_vae.decoded
    head = batch.head(3)
    assert head.paths == ("a", "b", "c")
    assert torch.equal(head.decoded, before[:3])
    assert torch.equal(head.posterior.logvar, batch.posterior.logvar[:3])
    assert linear_vae.decoded == whole


def test_one_image_has_a_value_without_an_interval(photos: Path, linear_vae: LinearVAE) -> None:
    found = measure(linear_vae, photos, SMALL["latentlab-256"], only=["psnr"], n_images=1)
    value = found.values["psnr"]
    assert (value.n, value.low, value.high) == (1, None, None)
    assert "no interval from 1 image: it needs 5" in value.note


def test_one_image_is_no_plural(cli: CommandLine, photos: Path) -> None:
    for name in ("1", "2", "3", "4", "5", "6"):
        (photos / f"{name}.png").unlink()
    done = cli("metrics", photos, "-m", cli.model, "--size", "32", "--only", "psnr")
    assert ", 1 image" in done.out
    assert "1 images" not in done.out


def test_a_model_that_gives_nan_measures_nothing(photos: Path, linear_vae: LinearVAE) -> None:
    linear_vae._encode = lambda images: (images[:, :, ::4, ::4].repeat(1, 2, 1, 1) * np.nan, None)
    with pytest.raises(ImageError, match="NaN"):
        measure(linear_vae, photos, SMALL["latentlab-256"], only=["psnr"])


def test_the_spread_of_protocols(photos: Path, linear_vae: LinearVAE) -> None:
    rows = spread(linear_vae, photos, SMALL["latentlab-256"], n_images=3)
    name = "latentlab-256, 32 px"
    plain, doubled = (rows[key]["psnr"]["value"] for key in (name, f"{name}, range 2"))
    assert doubled - plain == pytest.approx(20 * np.log10(2))


def test_a_protocol_under_which_nothing_is_measured_leaves_the_rest(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "a|b"\nsize = 36\n')
    read = evaluating.read_framed

    def unreadable(folder: Path, protocol: Protocol, *rest: Any, **given: Any) -> Any:
        if protocol.name == "native":
            raise ImageError("no image that can be measured", "at least one", "name another")
        return read(folder, protocol, *rest, **given)

    monkeypatch.setattr(evaluating, "read_framed", unreadable)
    said: list[str] = []
    saved = analyze_metrics(
        LinearVAE(stride=12),
        photos,
        Question(find_protocol(str(file)), ("psnr",)),
        with_spread=True,
        folder=tmp_path / "out",
        say=said.append,
    )
    rows = saved.facts["spread"]
    assert {"a|b", *PROTOCOLS} <= set(rows)
    assert rows["a|b"]["psnr"]["n"] == 7
    assert "no image that can be measured" in rows["native"]["note"]
    assert "multiple of" in rows["coco-256"]["note"]
    assert any(line.startswith("not measured under native") for line in said)
    assert saved.facts["metrics"]["psnr"]["n"] == 7
    text = io.StringIO()
    Console(file=text, width=300).print(*summarize(saved.facts))
    assert "no image that can be measured" in text.getvalue()


def test_the_command_keeps_its_contract(cli: CommandLine, photos: Path) -> None:
    done = cli(
        "metrics", photos, "-m", cli.model, "--size", "32", "--only", "psnr,ms_ssim", "--json"
    )
    facts = done.facts
    assert {"model", "n_images", "protocol", "metrics", "skipped", "files"} <= set(facts)
    assert set(facts["metrics"]["psnr"]) == {"value", "low", "high", "n", "note"}
    assert facts["protocol"]["name"] == "latentlab-256, 32 px"
    assert "ms_ssim" in facts["skipped"]["metrics"]
    rows = Path(facts["files"][0]).read_text().splitlines()
    assert rows[0] == "model,path,psnr"
    assert len(rows) == 8


def test_the_command_prints_its_protocol_and_what_it_left_out(
    cli: CommandLine, photos: Path
) -> None:
    done = cli("metrics", photos, "-m", cli.model, "--size", "32", "--only", "psnr,ms_ssim")
    assert "protocol latentlab-256, 32 px: square, lanczos 32×32" in done.out
    assert "left out ms_ssim" in done.out


def test_images_go_through_the_model_once_and_no_batch_is_kept(
    linear_vae: LinearVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["psnr", "mse", "ssim", "edges", "color_shift", "kl", "posterior_std", "latents", "sec"]
    measures = {name: MEASURES.make(name) for name in names}
    alive: weakref.WeakSet[Batch] = weakref.WeakSet()
    most = 0

    class Watched(Batch):
        def __init__(self, *given: object) -> None:
            nonlocal most
            super().__init__(*given)
            alive.add(self)
            most = max(most, len(alive))

    def images() -> Iterator[Prepared]:
        rng = np.random.default_rng(0)
        for number in range(60):
            yield Prepared(str(number), rng.integers(0, 255, (64, 64, 3), np.uint8), 0, str(number))

    monkeypatch.setattr(running, "Batch", Watched)
    found = measure_images(linear_vae, images(), measures, PROTOCOLS["native"])
    assert linear_vae.encoded == linear_vae.decoded == len(found.paths) == 60
    assert most <= 2
    assert found.skipped_metrics == {}


def test_images_of_many_sizes_keep_theirs(photos: Path, linear_vae: LinearVAE) -> None:
    with Pillow.open(photos / "0.png") as image:
        image.resize((33, 61)).save(photos / "other.png")
        image.resize((3, 61)).save(photos / "thin.png")
    found = measure(linear_vae, photos, PROTOCOLS["native"], only=["psnr", "latents", "sec", "kl"])
    assert found.values["psnr"].n == 8
    assert "3×61" in found.skipped_images["thin.png"]
    assert found.skipped_metrics == {}


def test_folders_without_images_and_unknown_names(cli: CommandLine, photos: Path) -> None:
    Path("empty").mkdir()
    assert cli("metrics", "empty", "-m", cli.model).code == 3
    assert cli("metrics", photos, "-m", cli.model, "--only", "fid").code == 2
    assert cli("metrics", photos, "-m", cli.model, "--protocol", "imagenet").code == 2
    assert cli("metrics", photos, "-m", cli.model, "--only", "dimension", "--size", "32").code == 1
    (photos / "only").mkdir()
    (photos / "only" / "broken.png").write_bytes(b"nothing")
    assert cli("metrics", photos / "only", "-m", cli.model, "--size", "32").code == 3
