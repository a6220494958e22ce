"""Every examination finds the defect that was planted, and nothing in a healthy model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from skimage import color
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook

from latentlab.errors import ImageError
from latentlab.examinations import latents, places, reconstruction
from latentlab.examinations.behavior import examine_family, largest_activation
from latentlab.examinations.findings import below, beyond
from latentlab.images.colors import to_lab
from latentlab.latents import LatentSpec
from latentlab.loaders import load_vae, wrap_vae
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.normalization import NORMALIZATIONS
from latentlab.recipes.diagnosing import diagnose
from latentlab.testing.linear_vae import LinearVAE

FOLDER = Path(__file__).resolve().parents[1] / "scripts" / "calibration"
LEVEL = 1 / 127.5
PLANTED = (
    *("checkerboard of ±3 levels", "a line of −7 levels at each cell"),
    *("9 levels more red, 3 less green and blue", "Gaussian blur, σ 1 pixel"),
    *("the 2×2 lowest frequencies of 8×8 pixels", "a corner of 8×8 pixels, 12 levels brighter"),
    *("a border of 8 pixels, 8 levels brighter", "a spot of 8×8 pixels, 14 levels brighter"),
    *("a droplet of 10 σ", "a value of −60 σ", "a constant channel", "raw latents of FLUX.1"),
    *("normalized twice as SD 1", "10⁶ inside the decoder"),
    *("noise of 2 levels at each decode", "a sample instead of the mean"),
    *("a tenth of the batch's mean taken off", "NaN in the latents of dark images"),
    "the name of another family",
)


@pytest.fixture(scope="module")
def calibration() -> Iterator[SimpleNamespace]:
    """Yield the defects and the images with which examinations are calibrated."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        import defects
        import photos

        yield SimpleNamespace(defects=defects, photos=photos)
    for name in {"defects", "photos", "samples"} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def images(calibration: SimpleNamespace) -> Tensor:
    found: Tensor = calibration.photos.crops(8, seed=3)
    return found


@pytest.fixture(scope="module")
def healthy() -> LatentVAE:
    return load_vae("linear", device="cpu")


def test_a_healthy_model_has_no_finding(healthy: LatentVAE, images: Tensor) -> None:
    diagnosis = diagnose(healthy, images)
    assert diagnosis.found == ()
    assert diagnosis.unexamined == ()
    assert len(diagnosis.healthy) == 17


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_defect_is_found(
    planted: str, calibration: SimpleNamespace, healthy: LatentVAE, images: Tensor
) -> None:
    defect = calibration.defects.DEFECTS[planted]
    diagnosis = diagnose(defect.plant(healthy, 0), images)
    for finding in (diagnosis[name] for name in defect.findings):
        assert finding.found
        assert finding.says
        assert finding.advice
        assert finding.reason


def test_every_defect_is_tested(calibration: SimpleNamespace) -> None:
    assert set(PLANTED) == set(calibration.defects.DEFECTS)


# Values against closed forms


def flat(levels: float = 0.0, side: int = 64, count: int = 2) -> list[Tensor]:
    return [torch.full((3, side, side), levels * LEVEL)] * count


@pytest.mark.parametrize("period", [2, 4, 8])
def test_the_amplitude_of_a_lattice(period: int) -> None:
    wave = torch.cos(2 * torch.pi * torch.arange(64) / period)
    pattern = 4 * LEVEL * wave.expand(3, 64, 64)
    finding = reconstruction.examine_lattice(flat(), [x + pattern for x in flat()], 8)
    rms = 4 if period == 2 else 4 / 2**0.5
    assert finding.value == pytest.approx(rms, rel=1e-4)


def test_blocks_that_differ_are_no_lattice() -> None:
    """Independent blocks are an ordinary loss: their energy at the cells' frequencies is chance."""
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    steps = [6 * LEVEL * one.repeat_interleave(8, 1).repeat_interleave(8, 2) for one in noise]
    finding = reconstruction.examine_lattice(flat(side=128), steps, 8)
    assert finding.value is not None
    assert finding.value < 1.0
    assert not finding.found


def test_lab_is_that_of_scikit_image() -> None:
    rgb = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0)).double()
    rgb[..., 0, :5] *= 0.02  # the linear part of the curve
    expected = color.rgb2lab(rgb[0].permute(1, 2, 0).numpy())
    assert np.allclose(to_lab(rgb)[0].permute(1, 2, 0), expected, atol=1e-3)


def test_the_length_of_a_color_shift() -> None:
    shift = torch.tensor([9.0, -3.0, -3.0]).view(3, 1, 1) * LEVEL
    finding = reconstruction.examine_color(flat(), [x + shift for x in flat()])
    gray, red = (
        color.rgb2lab(((1 + x[:, :1, :1]) / 2).permute(1, 2, 0).numpy()).ravel()
        for x in (flat()[0], flat()[0] + shift)
    )
    assert finding.value == pytest.approx(np.linalg.norm(red - gray), abs=1e-3)


def test_the_gain_of_a_filter_is_the_blur(images: Tensor) -> None:
    blur, detail = reconstruction.examine_sharpness([*images], [0.7 * x for x in images])
    assert blur.value == pytest.approx(0.7, rel=1e-5)
    assert detail.value == pytest.approx(0.49, rel=1e-5)


def test_a_projection_loses_detail_and_is_not_blurred(images: Tensor) -> None:
    """What is left after noise was taken out has gain 1 whatever its energy: ⟨R, R⟩ = ⟨R, X⟩."""
    spectra = torch.fft.fft2(images.double())
    rows = (torch.fft.fftfreq(images.shape[-2]) * images.shape[-2]).round().abs()
    spectra[..., rows % 3 == 0, :] = 0
    kept = torch.fft.ifft2(spectra).real.float()
    blur, detail = reconstruction.examine_sharpness([*images], [*kept])
    assert blur.value == pytest.approx(1, abs=0.1)
    assert detail.value is not None
    assert detail.value < 0.8


def test_places_measure_levels_and_say_where() -> None:
    spoiled = [x.clone() for x in flat(side=96)]
    for x in spoiled:
        x[:, -8:, -8:] += 20 * LEVEL  # bottom right
        x[:, 40:48, 16:24] += 30 * LEVEL
    corners, borders, spots = places.examine_places(flat(side=96), spoiled, 8)
    assert corners.value == pytest.approx(20, rel=1e-4)
    assert "bottom right" in corners.says
    assert borders.value == pytest.approx(0, abs=1e-6)
    assert spots.value == pytest.approx(30, rel=1e-4)
    assert spots.place is not None
    assert spots.place.box == (16, 40, 8, 8)


def test_a_border_is_no_corner_and_a_shift_of_all_is_nothing() -> None:
    spoiled = [x.clone() + 30 * LEVEL for x in flat(side=96)]
    for x in spoiled:
        x[:, :, :8] += 12 * LEVEL
    corners, borders, spots = places.examine_places(flat(side=96), spoiled, 8)
    assert borders.value == pytest.approx(12, rel=1e-4)
    assert "left" in borders.says
    assert corners.value == pytest.approx(0, abs=1e-4)
    assert spots.value == pytest.approx(0, abs=1e-4)


def random_latents(scale: float = 1.0, channels: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [*scale * torch.randn(4, channels, 24, 24, generator=generator)]


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_raw_latents_are_recognized_where_their_scale_tells(name: str) -> None:
    affine = NORMALIZATIONS[name]
    channels = 16 if name in ("flux1", "sd3") else 4
    raw = [*affine.from_model(torch.stack(random_latents(channels=channels)))]
    finding = latents.examine_normalization(raw)
    if name == "sd3":  # 1 / 1.5305 is a scale that healthy models have, too
        assert not finding.found
    else:
        assert finding.found
        assert f"raw latents of {name}" in finding.says
        assert finding.value == pytest.approx(1 / affine.scale[0], rel=0.02)
        assert finding.says.endswith("gives 1")


def test_latents_normalized_twice_are_recognized() -> None:
    finding = latents.examine_normalization(random_latents(0.13025))
    assert finding.found
    assert "normalized twice as sdxl; z / 0.13025 gives 1" in finding.says
    assert "MODEL@none" in finding.advice


def test_a_scale_of_no_family_is_far_and_unnamed() -> None:
    assert latents.examine_deviation(random_latents(400)).found
    assert not latents.examine_normalization(random_latents(400)).found


def test_dead_droplet_and_hole_are_measured() -> None:
    values = random_latents()
    for latent in values:
        latent[2] = 0.004 * latent[2]
    finding = latents.examine_channels(values)
    assert finding.value == pytest.approx(0.004, rel=0.05)
    assert "channel 2 of 4" in finding.says
    assert latents.typical_deviation(values) == pytest.approx(1, abs=0.02)  # of those alive
    for latent in values:
        latent[1] = 0.004 * latent[1]
    half = latents.examine_channels(values)  # the median of four channels is that of a dead one
    assert half.found
    assert "channels 1, 2 of 4" in half.says
    assert latents.typical_deviation(values) == pytest.approx(1, abs=0.02)
    values = random_latents()
    values[1][:, 10, 7] = torch.tensor([9.0, -9.0, 9.0, -9.0])
    droplet, hole = latents.examine_droplets(values, 8), latents.examine_outliers(values, 8)
    assert droplet.found
    assert droplet.place is not None
    assert (droplet.place.image, droplet.place.box) == (1, (56, 80, 8, 8))
    assert hole.value == pytest.approx(9, rel=0.1)


def test_gaussian_latents_are_healthy() -> None:
    values = random_latents(channels=16)
    assert not latents.examine_droplets(values, 8).found
    assert not latents.examine_outliers(values, 8).found
    assert not latents.examine_channels(values).found
    assert latents.typical_deviation(values) == pytest.approx(1, abs=0.01)


def test_a_name_tells_the_family() -> None:
    spec = LatentSpec("ae", channels=4, stride=8)
    assert examine_family(spec, ("ae", "/models/flux1-dev")).found
    assert not examine_family(spec, ("ae", "/flux1/models/ae")).found  # a folder above is no name
    assert not examine_family(spec, ("taesd", "taesd")).found
    assert not examine_family(spec, ("taesd3000", "my own")).found


def test_activations_are_those_of_the_layers() -> None:
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert largest_activation(load_vae("linear", device="cpu"), image) is None
    mini, seen = load_vae("mini", device="cpu"), []
    hook = register_module_forward_hook(lambda _, __, output: seen.append(output))
    try:
        found = largest_activation(mini, image)
    finally:
        hook.remove()
    sizes = [float(output.abs().max()) for output in seen if isinstance(output, Tensor)]
    assert found == max(sizes)


def test_a_value_that_is_no_number_is_not_judged() -> None:
    for judge in (beyond, below):
        finding = judge("x", float("nan"), 1, "levels")
        assert finding.found is None
        assert finding.value is None


# Images of any kind


def test_one_image_copies_and_mixed_sizes(healthy: LatentVAE, images: Tensor) -> None:
    copies = diagnose(healthy, [images[0], images[0]], size=128)
    assert copies.n_images == 1
    assert any("copies" in note for note in copies.notes)
    mixed = diagnose(healthy, [images[0], images[1, :, :96], images[2]], size="native")
    assert mixed.n_images == 3
    assert mixed.found == ()
    tiny = diagnose(healthy, [images[0, :, :16, :16]], size="native")
    assert tiny["lattice"].found is None
    assert "are needed" in tiny["lattice"].problem
    assert tiny["unit variance"].value is not None


def test_an_unreadable_image_is_left_out(healthy: LatentVAE, images: Tensor) -> None:
    said: list[str] = []
    found = diagnose(healthy, [images[0], "nothing.png"], size=128, say=said.append)
    assert found.n_images == 1
    assert any(note.startswith("left out") for note in said)
    with pytest.raises(ImageError, match="no image to examine"):
        diagnose(healthy, ["nothing.png"])


def test_everything_nan_is_one_finding(images: Tensor) -> None:
    vae = LinearVAE()
    vae.basis = vae.basis * float("nan")
    found = diagnose(vae, images)
    assert [one.name for one in found.found] == ["finite"]
    assert found["lattice"].problem == "no image has a finite latent and reconstruction"


def test_an_examination_that_fails_does_not_stop_the_others(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("no such number")

    monkeypatch.setattr(reconstruction, "examine_lattice", fail)
    found = diagnose(LinearVAE(), images)
    assert found["lattice"].problem == "ValueError: no such number"
    assert found["blur"].value is not None


def test_a_model_that_encodes_nothing_raises_what_it_raises(images: Tensor) -> None:
    def broken(_: Tensor) -> Tensor:
        raise RuntimeError("no such layer")

    encode: Callable[[Tensor], Tensor] = broken
    vae = wrap_vae(encode=encode, decode=broken, spec=LatentSpec("broken", 4, 8))
    with pytest.raises(RuntimeError, match="no such layer"):
        diagnose(vae, images)


def test_sample_images_stand_in_and_are_said(healthy: LatentVAE) -> None:
    found = diagnose(healthy, size=64)
    assert "sample images" in found.notes[0]
    assert found.n_images == 2


def test_flat_images_show_nothing_and_are_no_fault_of_the_model(healthy: LatentVAE) -> None:
    found = diagnose(healthy, torch.full((1, 3, 64, 64), 0.3))
    assert found.found == ()
    assert found["lattice"].problem == "the images are flat: pass photos"
    assert found["repeats"].found is False


def test_an_encoder_that_says_nothing_has_dead_channels(images: Tensor) -> None:
    vae = LinearVAE()
    vae.basis = 0 * vae.basis
    found = diagnose(vae, images)
    assert found["dead channels"].found
    assert found["unit variance"].problem == "the latents do not vary"
