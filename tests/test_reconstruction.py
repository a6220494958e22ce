"""Reconstructions: what a model loses, shown and measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine, save_image
from linear_vae import LinearVAE, smooth_image
from PIL import Image as Pillow
from skimage.metrics import peak_signal_noise_ratio

import latentlab
from latentlab.encoding.encoder import encode
from latentlab.errors import UsageError
from latentlab.images.image import Image
from latentlab.latents import Latent


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
