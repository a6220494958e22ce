"""Reconstructions: what a model loses, shown and measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from command_line import CommandLine, save_image
from PIL import Image as Pillow
from skimage.metrics import peak_signal_noise_ratio
from tiny_models import save_tiny

import latentlab
from latentlab.encoding.encoder import encode
from latentlab.errors import MemoryLimitError, ShapeError, UsageError
from latentlab.images.image import Image
from latentlab.images.reading import read_image
from latentlab.latents import Latent
from latentlab.neighborhoods.augment import Augment, change_image
from latentlab.testing.linear_vae import LinearVAE, smooth_image


def test_error_and_psnr_are_those_of_the_pixels(linear_vae: LinearVAE) -> None:
    image = Image(0.9 * smooth_image(), name="smooth")
    found = latentlab.reconstruct(linear_vae, image)
    theirs, ours = image.pixels.numpy(), found.decoded.numpy()
    assert found.psnr == pytest.approx(
        peak_signal_noise_ratio(theirs, ours, data_range=2.0), abs=1e-4
    )
    expected = np.abs(theirs - ours).mean(0) / 2
    np.testing.assert_allclose(found.errors.numpy(), expected, atol=1e-7)
    facts = found.summary()
    assert facts["mean_error"] == pytest.approx(expected.mean(), rel=1e-5)
    assert facts["error_p99"] == pytest.approx(np.quantile(expected, 0.99), rel=1e-5)


def test_the_error_map_is_where_the_difference_is(linear_vae: LinearVAE) -> None:
    image = Image(torch.zeros(3, 32, 32))
    image.pixels[:, :4, :4] = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1)) / 3
    errors = latentlab.reconstruct(linear_vae, image).errors
    assert errors[:4, :4].min() > 0
    assert errors[4:].abs().max() < 1e-6


def test_a_latent_without_its_image_is_refused(linear_vae: LinearVAE) -> None:
    latent = Latent(torch.zeros(6, 8, 8), linear_vae.spec)
    with pytest.raises(UsageError, match="image"):
        latentlab.reconstruct(linear_vae, latent)


def test_the_command_reconstructs_several_images(cli: CommandLine, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    save_image(other)
    called = cli("reconstruct", cli.image, other, "-m", cli.model, "--out", tmp_path / "out")
    assert called.code == 0, called.err
    assert "photo" in called.out
    assert "other" in called.out
    for name in ("photo", "other"):
        folder = tmp_path / "out" / name
        facts = json.loads((folder / "reconstruction.json").read_text())
        assert {*facts["files"]} == {"reconstruction.png", "decoded.png", "reconstruction.json"}
        assert json.loads((folder / "run.json").read_text())["reconstruct"]["model"]
        vae = latentlab.load_vae(cli.model)
        expected = latentlab.decode(vae, encode(vae, cli.image if name == "photo" else other))
        with Pillow.open(folder / "decoded.png") as decoded:
            levels = (expected.clamp(-1, 1) + 1) * 127.5
            difference = np.asarray(decoded, float) - levels.movedim(0, -1).numpy()
        assert np.abs(difference).max() <= 0.51


def test_one_image_prints_one_object(cli: CommandLine, tmp_path: Path) -> None:
    facts = cli("reconstruct", cli.image, "-m", cli.model, "--out", tmp_path, "--json").facts
    assert facts["psnr"] > 5
    assert (tmp_path / "decoded.png").is_file()
    both = cli("reconstruct", cli.image, cli.image, "-m", cli.model, "--out", tmp_path, "--json")
    assert [run["psnr"] for run in both.facts["images"]] == [facts["psnr"]] * 2


# Transparent images


def rgba_image(side: int = 32) -> Pillow.Image:
    """Return a ramp whose opacity falls from left to right, over a color that white would hide."""
    ramp = Pillow.linear_gradient("L").resize((side, side))
    color = Pillow.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180)))
    color.putalpha(ramp.rotate(90))
    return color


def test_alpha_is_encoded_where_the_model_has_it(tmp_path: Path) -> None:
    theirs: Any = save_tiny("AutoencoderKLQwenImage", tmp_path / "qwen", input_channels=4)
    vae = latentlab.load_vae(tmp_path / "qwen", device="cpu")
    image = rgba_image()
    straight = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1
    latent = latentlab.encode(vae, image)
    empty = SimpleNamespace(vae=theirs, latent_channels=4)
    encode = diffusers.QwenImageLayeredPipeline._encode_vae_image
    with torch.no_grad():
        expected = encode(empty, straight[None, :, None], None)[0, :, 0]
    torch.testing.assert_close(latent.values, expected, rtol=1e-5, atol=1e-5)
    assert latent.image is not None
    assert "transparency encoded" in latent.image.preprocessing
    found = latentlab.reconstruct(vae, image)
    raw = vae.normalization.from_model(expected[None])  # type: ignore[attr-defined]
    with torch.no_grad():
        decoded = theirs.decode(raw[:, :, None]).sample[0, :, 0]
    assert found.decoded_rgba is not None
    torch.testing.assert_close(found.decoded_rgba, decoded, rtol=1e-5, atol=1e-5)
    facts = found.summary()
    levels = [np.asarray((one + 1) / 2, np.float64) for one in (straight, decoded)]
    for name, level in (("black", 0.0), ("white", 1.0)):
        over = [one[:3] * one[3:] + level * (1 - one[3:]) for one in levels]
        right = peak_signal_noise_ratio(*over, data_range=1.0)
        assert facts["psnr_over"][name] == pytest.approx(right, abs=1e-3)
    assert facts["psnr"] == pytest.approx(facts["psnr_over"]["white"])
    assert len(facts["psnr_over"]) == 9
    with pytest.warns(UserWarning, match="opaque image over white"):
        latentlab.neighborhood(vae, latent, "crops", n_samples=2)


def test_augment_moves_the_opacity_and_leaves_it_alone_when_it_recolors(tmp_path: Path) -> None:
    save_tiny("AutoencoderKLQwenImage", tmp_path / "qwen", input_channels=4)
    vae = latentlab.load_vae(tmp_path / "qwen", device="cpu")
    latent = latentlab.encode(vae, rgba_image())
    assert latent.image is not None
    assert latent.image.rgba is not None
    opacity = latent.image.rgba[3:]
    still = dict.fromkeys(
        ("shift", "rotation", "zoom", "brightness", "contrast", "saturation", "hue", "blur"), 0.0
    )
    hood = latentlab.neighborhood(vae, latent, "augment", n_samples=2, **{**still, "hue": 1e-4})
    torch.testing.assert_close(hood.samples[0], latent.values.flatten(), atol=1e-3, rtol=1e-3)
    moved = {"shift_x": torch.tensor([0.25]), "rotation": torch.tensor([30.0])}
    both = change_image(latent.image.rgba, moved)
    alone = change_image(opacity.expand(3, -1, -1), moved)
    torch.testing.assert_close(both[:, 3], alone[:, 0], atol=1e-3, rtol=0)
    assert float((both[:, 3] - opacity).abs().max()) > 0.1
    bright = change_image(latent.image.rgba, {"brightness": torch.tensor([1.5])})
    torch.testing.assert_close(bright[:, 3], opacity)
    assert float((bright[:, :3] - latent.image.rgba[:3]).abs().max()) > 0.1
    rendered = Augment().render(latent, moved)
    assert rendered.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("source", ["transparent", "opaque", "latent"])
def test_the_opacity_passes_through_the_loop_of_reencode(source: str, tmp_path: Path) -> None:
    theirs: Any = save_tiny("AutoencoderKLQwenImage", tmp_path / "qwen", input_channels=4)
    vae = latentlab.load_vae(tmp_path / "qwen", device="cpu")
    image = rgba_image() if source != "opaque" else rgba_image().convert("RGB")
    latent = latentlab.encode(vae, image)
    if source == "latent":
        latent = replace(latent, image=None)
    hood = latentlab.neighborhood(vae, latent, "reencode", n_samples=2, radius=1e-6)
    raw = vae.normalization.from_model(latent.values[None])  # type: ignore[attr-defined]
    with torch.no_grad():
        decoded = theirs.decode(raw[:, :, None]).sample
        if source == "opaque":
            opacity = (decoded[:, 3:] + 1) / 2
            over_white = decoded[:, :3] * opacity + 1 - opacity
            decoded = torch.cat([over_white, torch.ones_like(opacity)], 1)
        again = theirs.encode(decoded).latent_dist.mode()[:, :, 0]
    expected = vae.normalization.to_model(again)  # type: ignore[attr-defined]
    torch.testing.assert_close(hood.samples[:1], expected.flatten(1), rtol=1e-3, atol=1e-4)
    cells = latentlab.neighborhood(vae, latent, "tokens").samples
    torch.testing.assert_close(cells, latent.values.flatten(1).T)


def test_transparent_reconstructions_have_the_guards_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny("AutoencoderKLQwenImage", tmp_path / "qwen", input_channels=4)
    vae = latentlab.load_vae(tmp_path / "qwen", device="cpu")
    latent = latentlab.encode(vae, rgba_image())
    right = latentlab.reconstruct(vae, latent).decoded_rgba
    assert right is not None

    def exhaust(latents: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(vae, "_decode_rgba", exhaust)
        with pytest.raises(MemoryLimitError, match="decoding 32×32 pixels"):
            latentlab.reconstruct(vae, latent)
    half = vae.cast(torch.float16)
    monkeypatch.setattr(half, "_decode_rgba", lambda z: torch.full((1, 4, 32, 32), torch.nan))
    with pytest.warns(UserWarning, match="float32 was used instead"):
        again = latentlab.reconstruct(half, latent).decoded_rgba
    assert again is not None
    torch.testing.assert_close(again, right, atol=5e-3, rtol=0)  # weights rounded to float16


def test_alpha_is_laid_over_white_where_the_model_has_none() -> None:
    vae = latentlab.load_vae("linear", device="cpu")
    found = latentlab.reconstruct(vae, rgba_image())
    assert found.latent.image is not None
    assert "transparency over white" in found.latent.image.preprocessing
    assert "psnr_over" not in found.summary()
    with pytest.raises(ShapeError, match="alpha channel"):
        vae.decode_rgba(found.latent.values[None])


def test_a_transparent_image_is_resized_by_its_opacity(tmp_path: Path) -> None:
    """Colors behind transparent pixels never show at the edge of what is opaque."""
    levels = np.zeros((32, 32, 4), np.uint8)
    levels[:, :16] = (255, 0, 0, 255)
    levels[:, 16:] = (0, 255, 0, 0)
    Pillow.fromarray(levels).save(tmp_path / "a.png")
    rgba = read_image(tmp_path / "a.png", size=16).rgba
    assert rgba is not None
    shown = rgba[3] > -0.9
    assert float(rgba[1][shown].max()) < -0.9
