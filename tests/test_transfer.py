"""Transfer where the answer is known: a linear decoder, and one that looks at the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from latentlab.directions.transfer import transfer_directions
from latentlab.encoding.encoder import encode
from latentlab.errors import ShapeError, UsageError
from latentlab.figures.sheets import _SMALL_TILE
from latentlab.images.image import Image
from latentlab.latents import Directions, Latent
from latentlab.metrics.two_way import two_way_interval
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes.starting import find_directions
from latentlab.testing.linear_vae import LinearVAE, smooth_image


class TurningVAE(LinearVAE):
    """Decodes with a gain of +1 or −1 at each cell, the sign of its first channel."""

    def _decode(self, latents: Tensor) -> Tensor:
        gain = latents[:, :1].sign()
        return super()._decode(torch.cat([latents[:, :1], gain * latents[:, 1:]], 1))


def latent_of(vae: LinearVAE, seed: int, *, sign: int = 1) -> Latent:
    latent = encode(vae, Image(0.3 * smooth_image(seed=seed), name=f"image{seed}"))
    values = latent.values.clone()
    values[0] = sign * (values[0].abs() + 3)
    return Latent(values, latent.spec, image=latent.image, name=latent.name)


def without_first_channel(vae: LinearVAE, latent: Latent, k: int = 4) -> Directions:
    hood = neighborhood(vae, latent, "gaussian", n_samples=30)
    hood.samples[:, : 8 * 10] = 0
    return find_directions(vae, latent, hood, k)


def test_everything_transfers_through_a_linear_decoder_so_chance_is_one(
    linear_vae: LinearVAE,
) -> None:
    origin, *others = (latent_of(linear_vae, seed) for seed in range(3))
    found = without_first_channel(linear_vae, origin)
    moved = transfer_directions(linear_vae, origin, found, others)
    assert moved.cosines.shape == (2, 4)
    assert moved.random_cosines.shape == (2, 16)
    torch.testing.assert_close(moved.cosines, torch.ones(2, 4).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.random_cosines, torch.ones(2, 16).double(), atol=1e-5, rtol=0)
    facts = moved.summary()
    assert facts["picture_change"]["cosine"] == pytest.approx(1, abs=1e-5)
    assert facts["picture_change"]["random"] == pytest.approx(1, abs=1e-5)
    assert [pair["target"] for pair in facts["pairs"]] == ["image1", "image2"]


def test_a_decoder_that_turns_the_change_around_has_cosine_minus_one() -> None:
    vae = TurningVAE()
    origin, same, opposite = latent_of(vae, 0), latent_of(vae, 1), latent_of(vae, 2, sign=-1)
    moved = transfer_directions(vae, origin, without_first_channel(vae, origin), [same, opposite])
    torch.testing.assert_close(moved.cosines[0], torch.ones(4).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.cosines[1], -torch.ones(4).double(), atol=1e-5, rtol=0)
    assert float(moved.label_cosines[0].mean()) > float(moved.label_cosines[1].mean())
    assert float(moved.label_cosines[1].mean()) < 0


def test_frames_are_the_decoded_steps(linear_vae: LinearVAE) -> None:
    from latentlab.images.arrays import to_uint8

    origin, other = latent_of(linear_vae, 0), latent_of(linear_vae, 1)
    found = without_first_channel(linear_vae, origin)
    moved = transfer_directions(linear_vae, origin, found, [other], alpha=1.5)
    assert moved.frames.shape == (2, 4, 2, 32, 40, 3)
    step = 1.5 * float(found.deviations[2]) * found.vectors[2]
    expected = to_uint8(linear_vae.decode((other.values + step)[None])[0])
    assert torch.equal(moved.frames[1, 2, 1], expected)


def test_the_interval_is_students_where_there_is_one_way() -> None:
    from scipy.stats import t

    values = torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = t.ppf(0.975, 11) * float(values.std()) / 12**0.5
    expected = [float(values.mean()) - half, float(values.mean()) + half]
    assert two_way_interval(values[None]) == pytest.approx(expected, abs=1e-3)
    assert two_way_interval(values[:, None]) == pytest.approx(expected, abs=1e-3)
    assert two_way_interval(torch.ones(1, 1)) is None
    assert two_way_interval(torch.ones(3, 4)) == [1, 1]


@pytest.mark.parametrize(("images", "directions"), [(2, 5), (5, 3), (10, 8)])
def test_intervals_hold_the_mean_of_all_images_and_directions(images: int, directions: int) -> None:
    generator, runs = torch.Generator().manual_seed(0), 400

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    held = paired = 0
    for _ in range(runs):
        of_image = normal(images, 1)
        found = 0.5 + 0.2 * of_image + 0.1 * normal(directions) + 0.1 * normal(images, directions)
        chance = 0.4 + 0.2 * of_image + 0.02 * normal(16) + 0.1 * normal(images, 16)
        low, high = two_way_interval(found) or (0, 0)
        held += low <= 0.5 <= high
        low, high = two_way_interval(found, chance) or (0, 0)
        paired += low <= 0.1 <= high
    assert 0.90 <= held / runs <= 0.99
    assert 0.90 <= paired / runs <= 0.99


def test_what_makes_no_sense_is_refused(linear_vae: LinearVAE) -> None:
    origin = latent_of(linear_vae, 0)
    found = without_first_channel(linear_vae, origin)
    with pytest.raises(UsageError, match="at least two"):
        transfer_directions(linear_vae, origin, found, [])
    smaller = Latent(torch.zeros(6, 4, 4), linear_vae.spec, name="small")
    with pytest.raises(ShapeError, match=r"different size: small .* 16×16 px and image0"):
        transfer_directions(linear_vae, origin, found, [smaller])
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="above 0"):
            transfer_directions(linear_vae, origin, found, [origin], alpha=alpha)
    foreign = Directions(found.vectors, found.deviations, found.shares, found.labels, "test")
    with pytest.raises(UsageError, match="without a layout"):
        transfer_directions(linear_vae, origin, foreign, [origin])


def test_the_figure_and_the_sheet_show_every_direction_and_target(linear_vae: LinearVAE) -> None:
    origin, *others = (latent_of(linear_vae, seed) for seed in range(3))
    moved = transfer_directions(
        linear_vae, origin, without_first_channel(linear_vae, origin), others
    )
    axes = moved.plot().axes
    assert len(axes) == 2
    points = [line for line in axes[0].lines if line.get_marker() not in ("None", "")]
    assert [line.get_label() for line in points] == ["image1", "image2"]
    np.testing.assert_allclose(points[1].get_ydata(), moved.cosines[1])
    height, width, _ = moved.sheet().shape
    assert width > 6 * _SMALL_TILE
    assert height > 4 * 32


def test_progress_counts_every_decoded_image(linear_vae: LinearVAE) -> None:
    first, other = (latent_of(linear_vae, seed) for seed in range(2))
    found = without_first_channel(linear_vae, first, 3)
    reports: list[tuple[int, int]] = []
    before = linear_vae.decoded
    transfer_directions(
        linear_vae,
        first,
        found,
        [other],
        n_samples=16,
        progress=lambda _, done, total: reports.append((done, total)),
    )
    counts = [done for done, _ in reports]
    assert counts == sorted(counts)
    assert {total for _, total in reports} == {counts[-1]} == {linear_vae.decoded - before}
    assert len(reports) > 50
