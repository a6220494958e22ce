"""Latents without a grid: tokens (C, 1, n) and plain vectors (C, 1, 1) of one image size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import latentlab
from latentlab.chance.verdict import affordable_nulls
from latentlab.errors import ShapeError, UsageError
from latentlab.images.image import Image
from latentlab.latents import LatentSpec
from latentlab.loaders.base import LatentVAE
from latentlab.store.foreign import open_latents
from latentlab.testing import check_vae
from latentlab.testing.linear_vae import smooth_image

SIDE = 16


@pytest.fixture(params=[8, 1], ids=["tokens", "vectors"])
def vae(request: pytest.FixtureRequest) -> LatentVAE:
    """Return an orthonormal linear model of 96 numbers an image: 12 × 8 tokens, or a vector."""
    tokens = request.param
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(3 * SIDE * SIDE, 96, generator=generator)).Q
    shape = (96 // tokens, 1, tokens)

    def encode(images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) @ basis).unflatten(1, shape)

    def decode(latents: torch.Tensor) -> torch.Tensor:
        return (latents.flatten(1) @ basis.T).unflatten(1, (3, SIDE, SIDE))

    spec = LatentSpec("sequence", 96 // tokens, tokens=tokens, side=SIDE)
    return latentlab.wrap_vae(encode=encode, decode=decode, spec=spec)


def test_the_whole_way_works_without_a_grid(vae: LatentVAE, tmp_path: Path) -> None:
    assert check_vae(vae).problems == ()
    image = Image(smooth_image(SIDE, SIDE, 0), name="smooth")
    z = latentlab.encode(vae, image)
    assert z.values.shape == (vae.spec.channels, 1, vae.spec.tokens)
    assert "tokens" in z.title
    assert latentlab.reconstruct(vae, z).decoded.shape == (3, SIDE, SIDE)
    hood = latentlab.neighborhood(vae, z, "augment", n_samples=24)
    pca = latentlab.fit_pca(hood)
    right = np.linalg.svd((hood.samples - hood.samples.mean(0)).numpy(), compute_uv=False) ** 2 / 23
    np.testing.assert_allclose(pca.explained_variance[:5], right[:5], rtol=1e-4)
    latentlab.save(pca, tmp_path / "run")
    loaded = latentlab.load(tmp_path / "run")
    assert loaded.sampling.known_origin().spec == vae.spec
    walk = latentlab.traverse(vae, z, pca, n_components=2, steps=3)
    assert len(walk.paths) == 2
    found = latentlab.find_directions(vae, z, hood, 2, finder="jacobian")
    assert found.vectors.shape == (2, *z.values.shape)


def test_what_needs_a_grid_says_so(vae: LatentVAE) -> None:
    z = latentlab.encode(vae, Image(smooth_image(SIDE, SIDE, 0)))
    with pytest.raises(UsageError, match=r"without a grid, but expected one of .*gaussian"):
        latentlab.neighborhood(vae, z, "patches")
    with pytest.raises(UsageError, match="without a grid"):
        latentlab.neighborhood(vae, z, "gaussian", region=(0, 0, 8, 8))
    hood = latentlab.neighborhood(vae, z, "gaussian", n_samples=8)
    chosen, left_out = affordable_nulls(hood, latentlab.fit_pca(hood).spectrum, ["stationary"])
    assert chosen == []
    assert "no fields" in left_out["stationary"]
    with pytest.raises(ShapeError, match="only size"):
        vae.encode(torch.zeros(1, 3, 2 * SIDE, 2 * SIDE))
    with pytest.raises(ShapeError, match="the tokens of"):
        vae.decode(torch.zeros(1, vae.spec.channels, 2, 2))


def test_sequences_of_others_have_no_grid(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((9, 32, 12), np.float32))
    found = open_latents(tmp_path / "a.npy", layout="sequence")
    assert (found.shape, found.spec.tokens) == ((12, 1, 32), 32)


def test_tokens_need_the_side_of_their_images() -> None:
    spec = LatentSpec("titok", 12, tokens=32)
    with pytest.raises(UsageError, match=r"titok of 32 tokens .*side=256"):
        latentlab.wrap_vae(encode=lambda x: x, decode=lambda z: z, spec=spec)
