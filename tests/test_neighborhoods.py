"""Each sampler's own promise; test_contracts.py has what all of them keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentlab.chance.nulls.isotropic import isotropic_edge
from latentlab.components.fitting import fit_pca
from latentlab.encoding.encoder import encode
from latentlab.errors import ImageError, ShapeError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.latents import Latent, LatentSpec
from latentlab.loaders import load_vae
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods.augment import Augment, blur, change_image
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.testing.linear_vae import LinearVAE, smooth_image

SAMPLES = 12


def save_smooth(path: Path, seed: int) -> Path:
    Image.fromarray(to_uint8(smooth_image(seed=seed)).numpy()).save(path)
    return path


def test_gaussian_stays_below_the_edge_of_chance(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=128, radius=0.2)
    spectrum = fit_pca(hood).spectrum
    noise = spectrum.total_variance / spectrum.n_features
    edge = noise * isotropic_edge(spectrum.n_samples, spectrum.n_features)
    assert float(spectrum.explained_variance[0]) < 1.05 * edge
    radius = 0.2 * float(linear_latent.values.std())
    assert noise**0.5 == pytest.approx(radius, rel=0.02)


def gaussian_excess(vae: LatentVAE) -> float:
    """Return the largest eigenvalue of a gaussian neighborhood over the edge of chance."""
    hood = neighborhood(vae, encode(vae, "sample:flower", size=128), "gaussian", n_samples=128)
    spectrum = fit_pca(hood).spectrum
    noise = spectrum.total_variance / spectrum.n_features
    return float(spectrum.explained_variance[0]) / (noise * isotropic_edge(128, hood.n_features))


@pytest.mark.parametrize("model", ["mini", "linear", "linear32"])
def test_gaussian_shows_nothing_on_any_built_in_model(model: str) -> None:
    assert 0.9 < gaussian_excess(load_vae(model)) < 1.05


@pytest.mark.shared
def test_gaussian_shows_nothing_on_taef2(shared: Path) -> None:
    assert 0.9 < gaussian_excess(load_vae(shared / "models" / "taef2")) < 1.05


def test_posterior_has_the_encoders_own_variances(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "posterior", n_samples=400)
    measured = hood.samples.view(400, 6, -1).var(0).mean(1)
    torch.testing.assert_close(measured, linear_vae.log_variances.exp(), rtol=0.05, atol=0)


def test_posterior_of_a_model_without_one_is_refused(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    bare = Latent(linear_latent.values, linear_latent.spec)
    with pytest.raises(UsageError, match="log-variance"):
        neighborhood(linear_vae, bare, "posterior", n_samples=3)


def test_reencoding_with_an_exact_inverse_leaves_gaussian_noise(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    looped = neighborhood(linear_vae, linear_latent, "reencode", n_samples=5, seed=3)
    direct = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=5, seed=3)
    torch.testing.assert_close(looped.samples, direct.samples, atol=1e-5, rtol=1e-4)


def test_tokens_are_all_cells_of_the_latent(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    hood = neighborhood(linear_vae, linear_latent, "tokens")
    assert torch.equal(hood.samples, linear_latent.values.flatten(1).T)


def test_fewer_tokens_are_drawn_without_repetition(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "tokens", n_samples=50)
    assert len(hood.samples.unique(dim=0)) == 50


def test_knn_returns_the_image_itself_first_and_passes_over_what_is_no_image(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    for seed in range(3):
        save_smooth(tmp_path / f"{seed}.png", seed)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"left out of .*broken\.png"):
        hood = neighborhood(linear_vae, linear_latent, "knn", n_samples=9, folder=str(tmp_path))
    assert hood.n_samples == 3
    torch.testing.assert_close(hood.samples[0], linear_latent.values.flatten(), atol=0.05, rtol=0)
    assert float(hood.factors["distance"][0]) < 0.01
    assert (hood.factors["distance"].diff() > 0).all()


def test_frames_are_the_clips_frames_in_order(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    clip = [Image.fromarray(to_uint8(smooth_image(seed=seed)).numpy()) for seed in range(5)]
    clip[0].save(tmp_path / "clip.gif", save_all=True, append_images=clip[1:])
    hood = neighborhood(linear_vae, linear_latent, "frames", video=str(tmp_path / "clip.gif"))
    assert hood.n_samples == 5
    assert hood.factors["time"].tolist() == [0, 1, 2, 3, 4]


def test_augment_keeps_the_factor_values_within_their_ranges(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(
        linear_vae, linear_latent, n_samples=200, rotation=20, zoom=0.5, hue=0, blur=0
    )
    assert "hue" not in hood.factors
    assert "blur" not in hood.factors
    rotation, zoom = hood.factors["rotation"], hood.factors["zoom"]
    assert -20 <= rotation.min() < -15 < 15 < rotation.max() <= 20
    assert 1 / 1.5 <= zoom.min() < 0.75 < 1.3 < zoom.max() <= 1.5


def test_changing_nothing_returns_the_image() -> None:
    image = smooth_image()
    still = {name: torch.zeros(2) for name in ("shift_x", "shift_y", "rotation", "hue", "blur")}
    still |= {name: torch.ones(2) for name in ("zoom", "brightness", "contrast", "saturation")}
    changed = change_image(image, still)
    torch.testing.assert_close(changed, image.expand(2, -1, -1, -1), atol=2e-5, rtol=0)


def test_positive_shifts_go_right_and_down() -> None:
    image = torch.full((3, 40, 40), -1.0)
    image[:, 18:22, 18:22] = 1
    factors = {"shift_x": torch.tensor([0.25]), "shift_y": torch.tensor([0.1])}
    rows, columns = (change_image(image, factors)[0, 0] > 0.5).nonzero(as_tuple=True)
    assert float(columns.double().mean()) == pytest.approx(19.5 + 10, abs=0.01)
    assert float(rows.double().mean()) == pytest.approx(19.5 + 4, abs=0.01)


def test_positive_rotation_is_counterclockwise_also_in_an_oblong_image() -> None:
    image = torch.full((3, 40, 80), -1.0)
    image[:, 18:22, 55:59] = 1  # to the right of the center
    turned = change_image(image, {"rotation": torch.tensor([90.0])})[0, 0]
    rows, columns = (turned > 0.5).nonzero(as_tuple=True)
    assert float(columns.double().mean()) == pytest.approx(39.5, abs=0.3)
    assert float(rows.double().mean()) == pytest.approx(19.5 - 17, abs=0.3)


def test_zoom_enlarges() -> None:
    image = torch.full((3, 60, 60), -1.0)
    image[:, 25:35, 25:35] = 1
    zoomed = change_image(image, {"zoom": torch.tensor([2.0])})[0, 0]
    assert int((zoomed > 0).sum()) == pytest.approx(400, rel=0.05)


def test_color_gains_do_what_their_names_say() -> None:
    image = smooth_image() * 0.3
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)

    def light(images: torch.Tensor) -> torch.Tensor:
        return (((images[0] + 1) / 2) * luma).sum(0)

    before = light(image[None])
    gain = torch.tensor([1.2])
    torch.testing.assert_close(light(change_image(image, {"brightness": gain})), before * 1.2)
    contrasted = light(change_image(image, {"contrast": gain}))
    torch.testing.assert_close(contrasted.std(), before.std() * 1.2)
    torch.testing.assert_close(contrasted.mean(), before.mean())
    for name, value in (("saturation", 1.2), ("hue", 30.0)):
        recolored = change_image(image, {name: torch.tensor([value])})
        torch.testing.assert_close(light(recolored), before, atol=2e-4, rtol=0)
        assert (recolored[0] - image).abs().max() > 0.01
    gray = change_image(image, {"saturation": torch.tensor([0.0])})[0]
    torch.testing.assert_close(gray[0], gray[2], atol=2e-3, rtol=0)


def test_blur_equals_scipys_gaussian_filter() -> None:
    from scipy.ndimage import gaussian_filter

    image = smooth_image() + 0.1 * torch.randn(3, 32, 40)
    blurred = blur(image.expand(2, -1, -1, -1), torch.tensor([1.5, 0.0]))
    expected = gaussian_filter(image[1].numpy(), 1.5, mode="mirror", radius=5)
    np.testing.assert_allclose(blurred[0, 1].numpy(), expected, atol=1e-5)
    torch.testing.assert_close(blurred[1], image)


def test_a_copy_does_not_depend_on_those_made_with_it() -> None:
    image = smooth_image() + 0.1 * torch.randn(
        3, 32, 40, generator=torch.Generator().manual_seed(0)
    )
    factors = Augment().draw_factors(11, torch.Generator().manual_seed(1))
    together = change_image(image, factors)
    for index, copy in enumerate(together):
        alone = {name: values[index : index + 1] for name, values in factors.items()}
        torch.testing.assert_close(change_image(image, alone)[0], copy, atol=2e-6, rtol=0)


def test_images_are_encoded_a_batch_at_a_time(
    linear_vae: LinearVAE, linear_latent: Latent, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    original = LatentVAE.encode

    def watch(self: LatentVAE, images: torch.Tensor):
        sizes.append(len(images))
        return original(self, images)

    monkeypatch.setattr(LatentVAE, "encode", watch)
    neighborhood(linear_vae, linear_latent, "augment", n_samples=40)
    assert max(sizes) < 40
    assert sum(sizes) == 40


def test_progress_ends_at_the_total(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    calls: list[tuple[str, int, int]] = []
    neighborhood(
        linear_vae, linear_latent, "crops", n_samples=6, progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == ("sampling crops", 6, 6)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("augment", {"rotate": 3}, "shift, rotation, zoom"),
        ("augment", {"rotation": "far"}, "float"),
        ("augment", {"zoom": -1}, "0 or more"),
        ("augment", dict.fromkeys(vars(Augment()), 0), "at least one factor"),
        ("gaussian", {"radius": 0}, "above 0"),
        ("reencode", {"radius": "inf"}, "above 0"),
        ("tokens", {"patch": 2}, "expected none"),
        ("crops", {"smallest": 1.5}, "between 0 and 1"),
        ("knn", {}, "folder=DIR"),
        ("frames", {}, "video=FILE"),
        ("spiral", {}, "augment, colors"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent, name: str, wrong: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        neighborhood(linear_vae, linear_latent, name, n_samples=4, **wrong)


@pytest.mark.parametrize("region", [(0, 0, 41, 8), (-4, 0, 8, 8), (0, 0, 0, 8), (8, 30, 8, 8)])
def test_regions_outside_the_image_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent, region: tuple[int, int, int, int]
) -> None:
    with pytest.raises(ShapeError, match="40×32 image"):
        neighborhood(linear_vae, linear_latent, "gaussian", n_samples=4, region=region)


def test_one_sample_is_refused(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    with pytest.raises(ShapeError, match="at least 2"):
        neighborhood(linear_vae, linear_latent, "gaussian", n_samples=1)


def test_a_latent_without_its_image_cannot_be_augmented(linear_vae: LinearVAE) -> None:
    bare = Latent(torch.zeros(6, 8, 8), LatentSpec("linear", 6, 4))
    with pytest.raises(UsageError, match="encoded image"):
        neighborhood(linear_vae, bare, "augment", n_samples=4)


def test_an_empty_folder_has_no_neighbors(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    with pytest.raises(ImageError):
        neighborhood(linear_vae, linear_latent, "knn", n_samples=4, folder=str(tmp_path))


def test_samples_beyond_memory_go_to_disk_and_give_the_same(
    linear_vae: LinearVAE, linear_latent: Latent, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=40)
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.0001")
    on_disk = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=40)
    assert torch.equal(in_memory.samples, on_disk.samples)
    torch.testing.assert_close(fit_pca(in_memory).components, fit_pca(on_disk).components)


def test_encoding_keeps_the_posterior_and_the_image(linear_vae: LinearVAE) -> None:
    latent = encode(linear_vae, smooth_image())
    assert latent.logvar is not None
    assert latent.logvar.shape == latent.values.shape == (6, 8, 10)
    assert latent.image is not None
    assert torch.equal(latent.image.pixels, smooth_image())


def test_a_file_is_its_own_nearest_image_to_the_last_bit(
    linear_vae: LinearVAE, tmp_path: Path
) -> None:
    for seed in range(2):
        save_smooth(tmp_path / f"{seed}.png", seed)
    latent = encode(linear_vae, tmp_path / "1.png", size=24)
    hood = neighborhood(linear_vae, latent, "knn", n_samples=2, folder=str(tmp_path))
    assert float(hood.factors["distance"][0]) == 0
    assert torch.equal(hood.samples[0], latent.values.flatten())


@pytest.mark.parametrize(
    ("name", "options", "label"),
    [
        ("augment", {}, "augment"),
        ("augment", {"rotation": 20, "hue": 0}, "augment, rotation 20, hue 0"),
        ("gaussian", {}, "gaussian, radius 0.1"),
        ("tokens", {"region": (0, 4, 8, 8)}, "tokens, region 0,4,8,8"),
    ],
)
def test_labels_say_what_would_change_the_numbers(
    linear_vae: LinearVAE, linear_latent: Latent, name: str, options: dict, label: str
) -> None:
    hood = neighborhood(linear_vae, linear_latent, name, n_samples=3, **options)
    assert hood.sampling.label == label


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_samples": 4.0}, "n_samples=4.0"),
        ({"seed": 2**64}, "seed="),
        ({"region": (0, 0, 10)}, "four whole numbers"),
        ({"region": (0.5, 0, 9, 9)}, "four whole numbers"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent, wrong: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        neighborhood(linear_vae, linear_latent, "gaussian", **{"n_samples": 4, **wrong})


def test_half_a_cell_is_no_patch(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    with pytest.raises(UsageError, match=r"patch=2\.7"):
        neighborhood(linear_vae, linear_latent, "patches", patch=2.7)


def test_flat_colors_of_a_linear_model_span_three_components(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "colors", n_samples=20)
    shares = fit_pca(hood).explained_variance_ratio
    assert float(shares[:3].sum()) == pytest.approx(1, abs=1e-5)
    rgb = torch.stack([hood.factors[name] for name in ("red", "green", "blue")], 1)
    sides = (20, 3, *linear_latent.spec.image_size(linear_latent.values.shape[1:]))
    images = (2 * rgb - 1)[:, :, None, None].expand(sides)
    torch.testing.assert_close(hood.samples, linear_vae.encode(images).mean.flatten(1))
