"""The affine map between flat colors and latents: exact on the linear control."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image
from skimage.measure import block_reduce
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

import latentlab
from latentlab.encoding.palette import find_palette
from latentlab.errors import UsageError
from latentlab.recipes import palettes
from latentlab.testing.linear_vae import LinearVAE


@pytest.mark.parametrize(
    "vae", [LinearVAE(), latentlab.load_vae("linear")], ids=["test", "built in"]
)
def test_the_map_of_the_linear_control_is_recovered(vae: latentlab.LatentVAE) -> None:
    found = find_palette(vae, levels=4)
    side = vae.spec.multiple
    images = torch.cat([torch.zeros(1, 3), torch.eye(3)])[:, :, None, None].expand(4, 3, side, side)
    answers = vae.encode(images).mean.double().mean((2, 3)).detach().numpy()
    offset, matrix = answers[0], answers[1:] - answers[0]  # latent = offset + color @ matrix
    inverse = np.linalg.pinv(matrix)
    np.testing.assert_allclose(found.rgb_factors, inverse, atol=1e-6)
    np.testing.assert_allclose(found.rgb_bias, -offset @ inverse, atol=1e-6)
    assert found.rank == 3
    assert found.r2 == pytest.approx(1, abs=1e-9)
    assert found.r2_held_out == pytest.approx(1, abs=1e-9)
    assert float(found.explained_variance_ratio[:3].sum()) == pytest.approx(1, abs=1e-9)


def test_shares_are_of_the_total_variance() -> None:
    found = find_palette(latentlab.load_vae("mini", dtype="float32"), levels=3)
    latents = found.latents.numpy()
    values = np.linalg.svd(latents - latents.mean(0), compute_uv=False) ** 2
    np.testing.assert_allclose(found.explained_variance_ratio, values / values.sum(), atol=1e-9)
    assert 0.5 < float(found.explained_variance_ratio[:3].sum()) < 1
    assert 0.9 < found.r2_held_out < found.r2
    gray = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    cells = gray[0].flatten(1).double().numpy()
    cells = cells - cells.mean(1, keepdims=True)
    inside = (found.components[:3].numpy() @ cells) ** 2
    assert found.share_of(gray[0]) == pytest.approx(inside.sum() / (cells**2).sum(), rel=1e-9)


def test_the_command_writes_factors_and_previews(tmp_path: Path, cli: CommandLine) -> None:
    out = tmp_path / "run"
    facts = cli("palette", "-m", "mini", "--levels", 3, "--out", out, "--json").facts
    assert {Path(name).name for name in facts["files"]} == {
        *("palette.png", "rgb_factors.json", "palette.json", "run.json")
    }
    factors = json.loads((out / "rgb_factors.json").read_text())
    assert np.shape(factors["latent_rgb_factors"]) == (16, 3)
    assert factors["latent_rgb_factors"] == facts["rgb_factors"]
    assert set(facts["photos"]) == {"flower", "china"}
    vae = latentlab.load_vae("mini")
    subspace = PCA(3).fit(find_palette(vae, levels=3).latents.numpy()).components_
    for name, photo in facts["photos"].items():
        latent = latentlab.encode(vae, f"sample:{name}", size=palettes._SIDE)
        assert latent.image is not None
        cells = latent.values.double().flatten(1).numpy()
        inside = subspace @ (cells - cells.mean(1, keepdims=True))
        share = (inside**2).sum() / (len(cells[0]) * cells.var(1).sum())
        assert photo["subspace_share"] == pytest.approx(share, rel=1e-5)
        stride = vae.spec.stride
        small = block_reduce(latent.image.pixels.double().numpy(), (1, stride, stride), np.mean)
        preview = cells.T @ facts["rgb_factors"] + facts["rgb_bias"]
        r2 = r2_score(small.reshape(3, -1).T, preview, multioutput="variance_weighted")
        assert photo["r2"] == pytest.approx(r2, abs=1e-5)
        assert r2 > 0.8
    with Image.open(out / "palette.png") as image:
        assert min(image.size) > 256
    assert "held-out colors" in cli("palette", "-m", "linear", "--levels", 3).out


def test_levels_are_checked() -> None:
    with pytest.raises(UsageError, match="from 3 to 16"):
        find_palette(latentlab.load_vae("linear"), levels=2)
