"""Checkerboards of latent cells are distinguished from smooth and from random directions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latentlab.directions.grain import alternation, note_on_grain
from latentlab.latents import Latent
from latentlab.layouts import Window
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes.starting import find_directions
from latentlab.testing.linear_vae import LinearVAE

WINDOW = Window(0, 0, 8, 10)


def board(height: int = 8, width: int = 10) -> Tensor:
    """Return cells (height, width) that are 1 and −1 in turn."""
    return torch.tensor([[(-1.0) ** (i + j) for j in range(width)] for i in range(height)])


def test_white_noise_has_three_quarters() -> None:
    noise = torch.randn(400, 2, 8, 10, generator=torch.Generator().manual_seed(0))
    assert float(alternation(noise, WINDOW).mean()) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("shape", [(8, 10), (7, 9), (4, 4), (32, 32)], ids=str)
def test_waves_fall_on_their_side_of_half_the_highest_frequency(shape: tuple[int, int]) -> None:
    height, width = shape
    window = Window(0, 0, height, width)
    cells = torch.arange(width) + 0.5
    for order in range(width):
        wave = torch.cos(torch.pi * order * cells / width).expand(1, 1, height, width)
        share = float(alternation(wave, window))
        assert share == pytest.approx(float(order >= width / 2), abs=1e-6)


def test_checkerboards_stripes_and_smooth_ones() -> None:
    stripes = board()[:1].expand(8, 10)
    vectors = torch.stack([board(), stripes, torch.ones(8, 10)])[:, None]
    found = alternation(vectors, WINDOW)
    assert float(found[:2].min()) > 0.9
    assert float(found[2]) == pytest.approx(0, abs=1e-9)
    (note,) = note_on_grain(vectors, WINDOW, ("J 1", "J 2", "J 3"))
    assert note.startswith("J 1, J 2 change neighboring latent cells in opposite ways")
    assert note_on_grain(vectors[2:], WINDOW, ("J 3",)) == ()


def test_only_the_window_is_looked_at_and_few_cells_say_nothing() -> None:
    vectors = torch.zeros(1, 1, 20, 20)
    vectors[..., 6:14, 5:15] = board()
    assert float(alternation(vectors, Window(6, 5, 8, 10))) > 0.9
    assert float(alternation(board(3, 10)[None, None], Window(0, 0, 3, 10))) == 0
    assert float(alternation(torch.zeros(1, 1, 8, 10), WINDOW)) == 0


def test_a_decoder_that_responds_to_checkerboards_is_reported_and_random_directions_are_not(
    linear_latent: Latent,
) -> None:
    class Alternating(LinearVAE):
        """Decodes latents with their checkerboard part made ten times as large."""

        def _decode(self, latents: Tensor) -> Tensor:
            pattern = board(*latents.shape[2:]) / latents[0, 0].numel() ** 0.5
            part = (latents * pattern).sum((2, 3), keepdim=True)
            return super()._decode(latents + 9 * part * pattern)

    vae = Alternating()
    hood = neighborhood(vae, linear_latent, "augment", n_samples=20)
    found = find_directions(vae, linear_latent, hood, 2, finder="jacobian")
    assert any("neighboring latent cells" in note for note in found.notes)
    for finder in ("random", "pca"):
        assert find_directions(vae, linear_latent, hood, 2, finder=finder).notes == ()
