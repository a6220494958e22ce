"""How far decoders and directions keep to channels, against dense Jacobians and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from command_line import CommandLine

import latentlab
from latentlab.images.image import Image
from latentlab.latents import Latent
from latentlab.linalg.bases import random_rows
from latentlab.loaders.base import LatentVAE
from latentlab.pullback import channel_concentration, decoder_alignment, decoder_map
from latentlab.pullback.alignment import ima_contrast, off_diagonal_share
from latentlab.testing.linear_vae import smooth_image


def start(vae: LatentVAE) -> Latent:
    return latentlab.encode(vae, Image(smooth_image(8, 16), name="smooth"))


def test_all_cells_give_the_numbers_of_the_dense_jacobian() -> None:
    vae = latentlab.load_vae("mini")
    latent = start(vae)
    count, channels = latent.values.numel(), len(latent.values)
    steps = 1e-2 * torch.eye(count).view(count, *latent.values.shape)
    with torch.no_grad():
        pairs = [vae.decode(latent.values + sign * steps).flatten(1).double() for sign in (1, -1)]
    dense = ((pairs[0] - pairs[1]) / 2e-2).T.numpy()
    square = dense.T @ dense
    found = decoder_alignment(decoder_map(vae, latent), 10**6)
    cells = count // channels
    assert (found.cells, found.products) == (cells, 2 * count)
    whole = (square**2).sum()
    expected = 1 - (square.diagonal() ** 2).sum() / whole
    assert found.off_diagonal == pytest.approx(expected, abs=2e-3)
    blocks = np.stack([square[cell::cells, cell::cells] for cell in range(cells)])
    assert found.between_cells == pytest.approx(1 - (blocks**2).sum() / whole, abs=2e-3)
    lengths = np.log(np.linalg.norm(dense, axis=0)).reshape(channels, cells).sum(0)
    volumes = np.linalg.slogdet(blocks)[1] / 2
    assert found.ima.value == pytest.approx(float((lengths - volumes).mean()), rel=1e-2)


def test_an_orthonormal_decoder_is_diagonal_however_it_is_turned() -> None:
    vae = latentlab.load_vae("linear")
    found = decoder_alignment(decoder_map(vae, start(vae)), 1)
    for value in (found.off_diagonal, found.between_cells, found.ima.value, found.ima.rotated):
        assert value == pytest.approx(0, abs=1e-5)
    assert found.ima.p == found.within_cells.p == 1


def test_channels_that_are_independent_mechanisms_are_told_from_rotated_ones() -> None:
    lengths = torch.linspace(1, 3, 6).double()
    blocks = torch.diag(lengths)[None]
    turn = random_rows(6, 6, torch.Generator().manual_seed(1)).double()
    for measure in (off_diagonal_share, ima_contrast):
        aligned, turned = measure(blocks), measure(turn @ blocks @ turn.T)
        assert aligned.value == pytest.approx(0, abs=1e-9)
        assert aligned.p == 1 / 200
        assert turned.value > 0.01
        assert turned.p > 0.02
    # Two columns at an angle: −ln sin of it (Hadamard).
    cosine = 0.6
    pair = torch.tensor([[[1.0, cosine], [cosine, 1.0]]]).double()
    assert ima_contrast(pair).value == pytest.approx(-math.log(math.sqrt(1 - cosine**2)))


def test_concentration_is_one_over_c_for_directions_that_use_all_channels_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(6, 8, 5, 5, generator=generator)
    alike = channel_concentration(vectors / vectors.norm(dim=(2, 3), keepdim=True))
    assert alike.value == pytest.approx(1 / 8)
    single = torch.zeros(3, 8, 5, 5)
    single[range(3), [1, 4, 4]] = torch.randn(3, 5, 5, generator=generator)
    found = channel_concentration(single)
    assert found.value == pytest.approx(1)
    # Haar-random axes share a line's energy as 3 / (C + 2).
    assert found.rotated == pytest.approx(3 / 10, abs=0.03)
    assert found.p == 1 / 200


def test_directions_reports_both(cli: CommandLine) -> None:
    how = ("directions", cli.image, "-m", cli.model, "-n", 8, "--no-labels", "--size", 32)
    called = cli(*how, "--alignment", 1)
    assert "concentration on single channels" in called.out, called.err
    assert "IMA contrast" in called.out
    facts = cli(*how, "--json").facts["alignment"]
    assert facts["decoder"] is None
    assert 0 < facts["channels"]["value"] <= 1
    assert cli(*how, "--alignment", -1).code == 2
