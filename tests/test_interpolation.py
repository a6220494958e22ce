"""Paths between two latents, on decoders where their images are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp

import latentlab
from latentlab.encoding.encoder import encode
from latentlab.errors import NonFiniteError, ShapeError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.images.image import Image
from latentlab.latents import Latent, LatentSpec
from latentlab.loaders import wrap_vae
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.walks.interpolation import interpolate


@pytest.fixture
def ends(linear_vae: LinearVAE) -> tuple[Latent, Latent]:
    first, last = (
        encode(linear_vae, Image(smooth_image(seed=seed), name=name))
        for seed, name in ((0, "a"), (1, "b"))
    )
    return first, last


def test_a_straight_line_through_a_linear_decoder_is_a_cross_fade(
    linear_vae: LinearVAE, ends: tuple[Latent, Latent]
) -> None:
    path = interpolate(linear_vae, *ends, steps=5)
    images = [linear_vae.decode(end.values[None])[0] for end in ends]
    difference = (images[1] - images[0]).double()
    rms = float(difference.square().mean().sqrt())
    assert path.straight == pytest.approx(rms)
    assert path.changes.tolist() == pytest.approx([rms / 4] * 4, rel=1e-5)
    assert (path.detour, path.speed_ratio) == pytest.approx((1, 1), rel=1e-5)
    assert path.positions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    middle = to_uint8((images[0] + images[1]) / 2)
    assert int((path.frames[2].int() - middle.int()).abs().max()) <= 1
    assert torch.equal(path.latents[0], ends[0].values)
    assert torch.equal(path.latents[-1], ends[1].values)
    assert float(path.drifts.max()) < 1e-5
    assert path.decodes == 5
    assert path.title == "a to b · linear · 40×32 px\nlinear path"


def test_slerp_is_scipys_on_the_sphere(linear_vae: LinearVAE, ends: tuple[Latent, Latent]) -> None:
    units = [Latent(end.values / end.values.norm(), end.spec, name=end.name) for end in ends]
    path = interpolate(linear_vae, *units, path="slerp", steps=6)
    flat = [unit.values.flatten().double().numpy() for unit in units]
    flat = [values / np.linalg.norm(values) for values in flat]
    expected = geometric_slerp(flat[0], flat[1], np.linspace(0, 1, 6))
    np.testing.assert_allclose(path.latents.flatten(1).numpy(), expected, atol=1e-6)
    assert path.detour > 1


def test_slerp_of_parallel_latents_is_straight_and_of_opposite_ones_refused(
    linear_vae: LinearVAE, ends: tuple[Latent, Latent]
) -> None:
    first = ends[0]
    twice = Latent(2 * first.values, first.spec)
    path = interpolate(linear_vae, first, twice, path="slerp", steps=3)
    torch.testing.assert_close(path.latents[1], 1.5 * first.values)
    with pytest.raises(UsageError, match="opposite latents"):
        interpolate(linear_vae, first, Latent(-first.values, first.spec), path="slerp")


def test_arc_makes_even_steps_of_the_image() -> None:
    vae = wrap_vae(
        encode=lambda images: images[:, :1].clamp(min=0) ** (1 / 3),
        decode=lambda latents: (latents**3).expand(-1, 3, -1, -1),
        spec=LatentSpec("cubic", 1, 1),
    )
    first, last = (Latent(torch.full((1, 2, 2), value), vae.spec) for value in (0.2, 1.0))
    steps = 7
    path = interpolate(vae, first, last, path="arc", steps=steps)
    expected = np.cbrt(np.linspace(0.2**3, 1, steps))
    np.testing.assert_allclose(path.latents[:, 0, 0, 0].numpy(), expected, atol=4e-3)
    assert path.speed_ratio < 1.02 < interpolate(vae, first, last, steps=steps).speed_ratio
    assert path.length == pytest.approx(1 - 0.2**3, rel=1e-5)
    assert path.decodes <= 8 * steps


def test_arc_is_shorter_than_the_straight_line_where_the_decoder_bends() -> None:
    def polar(latents: torch.Tensor) -> torch.Tensor:
        radius, angle = latents[..., :1], latents[..., 1:]
        plane = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1)
        return plane.expand(-1, 3, -1, -1)

    vae = wrap_vae(
        encode=lambda images: images[:, :1], decode=polar, spec=LatentSpec("polar", 1, 1)
    )
    ends = [Latent(torch.tensor([[[1.0, angle]]]), vae.spec) for angle in (0.0, math.pi / 2)]
    linear = interpolate(vae, *ends, steps=40)
    arc = interpolate(vae, *ends, path="arc", steps=40)
    assert linear.detour == pytest.approx(math.pi / 2 / math.sqrt(2), rel=1e-3)  # a quarter circle
    assert 1 < arc.detour < 1.02
    assert arc.speed_ratio < 1.05


def test_equal_images_give_a_still_path(linear_vae: LinearVAE, ends: tuple[Latent, Latent]) -> None:
    path = interpolate(linear_vae, ends[0], ends[0], path="arc", steps=3)
    assert path.length == path.straight == 0
    assert math.isnan(path.detour)
    assert math.isnan(path.speed_ratio)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"path": "shortest"}, "one of linear, slerp, arc"), ({"steps": 2}, "at least 3")],
)
def test_numbers_that_make_no_sense_are_refused(
    linear_vae: LinearVAE, ends: tuple[Latent, Latent], wrong: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        interpolate(linear_vae, *ends, **wrong)


def test_latents_that_do_not_fit_are_refused(
    linear_vae: LinearVAE, ends: tuple[Latent, Latent]
) -> None:
    smaller = Latent(torch.zeros(6, 4, 10), linear_vae.spec, name="small")
    with pytest.raises(
        ShapeError, match="small · linear · 40×16 px and a · linear · 40×32 px, but"
    ):
        interpolate(linear_vae, ends[0], smaller)
    foreign = Latent(torch.zeros(4, 8, 10), linear_vae.spec)
    with pytest.raises(ShapeError, match="6 channels, as linear has"):
        interpolate(linear_vae, ends[0], foreign)
    broken = Latent(torch.full((6, 8, 10), math.nan), linear_vae.spec)
    with pytest.raises(NonFiniteError):
        interpolate(linear_vae, ends[0], broken)


def test_images_of_a_path(
    linear_vae: LinearVAE, ends: tuple[Latent, Latent], tmp_path: object
) -> None:
    from PIL import Image as Pillow

    from latentlab.figures.canvas import new_figure

    path = latentlab.interpolate(linear_vae, *ends, steps=8)
    assert path.sheet().shape[1] > 6 * 40
    axes = path.plot(new_figure().add_subplot())
    line = axes.lines[0].get_ydata()
    np.testing.assert_allclose(line, path.changes)
    assert axes.get_xlabel() == "frame"
    file = path.save(f"{tmp_path}/path.gif", fps=10)
    with Pillow.open(file) as animation:
        assert animation.size == (40, 32)
    assert "detour 1.000" in repr(path)
