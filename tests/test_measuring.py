"""Measured normalization: the statistics are NumPy's, and applying them gives mean 0 and σ 1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine, save_image
from scipy.stats import bootstrap, t
from tiny_models import save_tiny

from latentlab.encoding.encoder import encode
from latentlab.errors import ImageError, UsageError
from latentlab.loaders import load_vae
from latentlab.recipes.measuring import measure_scale, pool_moments

FAMILY = "AutoencoderKLKVAE"


def moments_of(cells: np.ndarray) -> np.ndarray:
    """Return the moments (N, 2, C) of cells (N, C, cells)."""
    return np.stack([cells.mean(2), (cells**2).mean(2)], 1)


def test_statistics_are_those_of_all_cells() -> None:
    cells = np.random.default_rng(0).normal(3, [[1], [2], [5]], (40, 3, 60))
    mean, deviation, _ = pool_moments(moments_of(cells))
    pooled = cells.transpose(1, 0, 2).reshape(3, -1)
    np.testing.assert_allclose(mean, pooled.mean(1), rtol=1e-12)
    np.testing.assert_allclose(deviation, pooled.std(1), rtol=1e-12)


def test_margins_are_those_of_images_that_differ() -> None:
    generator = np.random.default_rng(1)
    cells = generator.normal(size=(200, 1, 16)) + generator.normal(size=(200, 1, 1))
    moments = moments_of(cells)
    _, _, (mean_margin, std_margin) = pool_moments(moments)
    means = moments[:, 0, 0]
    expected = t.ppf(0.975, 199) * means.std(ddof=1) / np.sqrt(200)
    assert mean_margin[0] == pytest.approx(expected, rel=1e-9)

    def deviation(mean: np.ndarray, square: np.ndarray, axis: int) -> np.ndarray:
        return np.sqrt(square.mean(axis) - mean.mean(axis) ** 2)

    drawn = bootstrap(
        (means, moments[:, 1, 0]), deviation, paired=True, vectorized=True, rng=0, n_resamples=2000
    )
    assert std_margin[0] == pytest.approx(1.96 * drawn.standard_error, rel=0.15)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        save_image(images / f"{number}.png", 40 + 10 * number, 64)
    (images / "bad.png").write_bytes(b"no image")
    return images


@pytest.mark.filterwarnings("error")
def test_the_measured_scale_standardizes_the_images_it_was_measured_on(
    cli: CommandLine, folder: Path, tmp_path: Path
) -> None:
    save_tiny(FAMILY, tmp_path / "model")
    out = tmp_path / "scale.json"
    model = str(tmp_path / "model")
    facts = cli("models", "--measure", model, "--images", folder, "--out", out, "--json").facts
    assert (facts["n_images"], facts["size"], facts["files"]) == (4, 256, [str(out)])
    assert json.loads(out.read_text())["latents_std"] == facts["latents_std"]
    vae = load_vae(f"{model}@{out}", device="cpu")
    assert vae.origin.normalization.endswith("(measured over 4 images, scale.json)")
    paths = sorted(path for path in folder.iterdir() if path.name != "bad.png")
    latents = torch.stack([encode(vae, path, size=256).values for path in paths])
    cells = latents.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(cells.mean(1), torch.zeros(4).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(cells.std(1), torch.ones(4).double(), rtol=0, atol=1e-4)


def test_other_weights_and_damaged_files_are_refused(folder: Path, tmp_path: Path) -> None:
    for name, family in (("model", FAMILY), ("other", "AutoencoderKL")):
        save_tiny(family, tmp_path / name)
    vae = load_vae(tmp_path / "model", device="cpu", normalization="none")
    facts = measure_scale(vae, folder, size=16).facts()
    path = tmp_path / "scale.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="of other weights"):
        load_vae(tmp_path / "other", normalization=str(path))
    for damage in ("{", "[]", json.dumps(facts | {"latents_std": [0.0] * 4})):
        path.write_text(damage)
        with pytest.raises(UsageError, match=r"which cannot be read .* latentlab models --measure"):
            load_vae(tmp_path / "model", normalization=str(path))


def test_what_cannot_be_measured_is_refused(cli: CommandLine, folder: Path, tmp_path: Path) -> None:
    save_tiny("AutoencoderKL", tmp_path / "model")
    vae = load_vae(tmp_path / "model", device="cpu")
    with pytest.raises(UsageError, match=r"normalization=.none"):
        measure_scale(vae, folder)
    raw = load_vae(tmp_path / "model", device="cpu", normalization="none")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="with 0 images that can be read"):
        measure_scale(raw, bad, size=16)
    assert cli("models", "--measure", "mini").error.endswith("Pass --images FOLDER.")
