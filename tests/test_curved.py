"""Walks that turn with the decoder, on decoders whose frames turn in a known way."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentlab.components.fitting import fit_pca
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Directions, Latent, LatentSpec
from latentlab.layouts import TokenLayout, WholeLayout, Window
from latentlab.loaders import LatentVAE, wrap_vae
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.pullback import decoder_map
from latentlab.recipes.starting import traverse
from latentlab.testing.linear_vae import LinearVAE
from latentlab.walks.curved import follow, traverse_curved


def row_vae(gray: object, name: str) -> LatentVAE:
    """Return a decoder of 1×1×10 latents to gray images of one row."""
    return wrap_vae(
        encode=lambda images: images[:, :1],
        decode=lambda latents: gray(latents).expand(-1, 3, -1, -1) / math.sqrt(3),
        spec=LatentSpec(name, 1, 1),
    )


def polar(latents: Tensor) -> Tensor:
    """Return ten times the angle of the first two values, a tenth of their radius, the others."""
    x, y = latents[..., :1], latents[..., 1:2]
    gains = torch.tensor([5.0, 4.0, 3.0, 0.3, 0.25, 0.2, 0.2, 0.2])
    radius = (x.square() + y.square()).sqrt()
    return torch.cat([10 * torch.atan2(y, x), 0.1 * radius, gains * latents[..., 2:]], dim=-1)


def start_of(vae: LatentVAE, *values: float) -> Latent:
    latent = torch.zeros(1, 1, 10)
    latent[0, 0, : len(values)] = torch.tensor(values)
    return Latent(latent, vae.spec)


def axis(index: int) -> Tensor:
    vector = torch.zeros(1, 1, 10)
    vector[0, 0, index] = 1
    return vector


def test_the_tangent_of_polar_coordinates_leads_around_a_circle() -> None:
    vae = row_vae(polar, "polar")
    center = decoder_map(vae, start_of(vae, 2.0))
    step, steps = 0.2, 5
    path = follow(center, axis(1), step * torch.arange(steps + 1))
    radii = path.latents[:, 0, 0, :2].norm(dim=1)
    radius, turns = 2.0, [0.0]
    for _ in range(steps):  # straight along the tangent, then turn to the next one
        turns.append(math.atan2(step, radius))
        radius = math.hypot(radius, step)
    assert float(radii[-1]) == pytest.approx(radius, rel=1e-4)
    assert path.turning.tolist() == pytest.approx(turns, abs=2e-3)
    assert path.held[1:].tolist() == pytest.approx([math.cos(turn) for turn in turns[1:]], abs=1e-3)
    assert path.gains.tolist() == pytest.approx([10 / r for r in radii.tolist()], rel=1e-3)
    straight = math.hypot(2, step * steps)
    assert abs(float(radii[-1]) - 2) < 0.3 * (straight - 2)


def test_both_ways_lead_from_the_center() -> None:
    vae = row_vae(polar, "polar")
    center = decoder_map(vae, start_of(vae, 2.0))
    path = follow(center, axis(1), torch.linspace(-0.6, 0.6, 5))
    points = path.latents[:, 0, 0, :2]
    torch.testing.assert_close(points[2], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(
        points[:2].flip(0) * torch.tensor([1, -1]), points[3:], atol=1e-3, rtol=0
    )
    even = follow(center, axis(1), torch.linspace(-0.6, 0.6, 4))
    assert bool((even.latents[:, 0, 0, 1].diff() > 0).all())
    assert even.products < 100


def test_any_other_direction_keeps_its_change_of_the_image() -> None:
    gains = torch.tensor([50.0, 40.0, 30.0, 20.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1])

    def grow(latents: Tensor) -> Tensor:
        curved = latents + torch.arange(10) / 10 * latents.square()
        return gains * curved

    vae = row_vae(grow, "growing")
    center = decoder_map(vae, start_of(vae))
    direction = axis(4) + axis(5) + axis(6)
    path = follow(center, direction, torch.tensor([0.0, 1.5, 3.0]))
    unit = direction[0, 0].double() / math.sqrt(3)
    here, there = (gains * (1 + torch.arange(10) / 5 * z[0, 0]).double() for z in path.latents[:2])
    damping = (here * unit).square().sum()
    expected = (there * here * unit + damping * unit) / (there.square() + damping)
    moved = (path.latents[2] - path.latents[1])[0, 0].double()
    torch.testing.assert_close(moved / moved.norm(), expected / expected.norm(), atol=1e-4, rtol=0)
    assert float(path.held[0]) < 1e-3


def test_a_linear_decoder_is_walked_straight(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    pca = fit_pca(neighborhood(linear_vae, linear_latent, "augment", n_samples=12))
    options = {"n_components": 2, "span": 2.0, "steps": 3}
    curved = traverse_curved(linear_vae, linear_latent, pca, **options)
    straight = traverse(linear_vae, linear_latent, pca, **options)
    for ours, theirs in zip(curved.paths, straight.paths, strict=True):
        assert int((ours.frames.int() - theirs.frames.int()).abs().max()) <= 1
        assert ours.scores.pixel_change == pytest.approx(theirs.scores.pixel_change, rel=1e-3)
        assert (ours.label, ours.share) == (theirs.label, theirs.share)
    facts = curved.summary()
    assert facts["curved"] is True
    assert facts["products"] == sum(curve.products for curve in curved.curves) > 0
    assert [len(component["turning"]) for component in facts["components"]] == [3, 3]
    assert curved.title.endswith("along curved paths")


def test_a_region_keeps_the_rest_of_the_latent(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    layout = WholeLayout((6, 8, 10), Window(0, 0, 2, 2))
    vector = torch.zeros(1, 6, 8, 10)
    vector[0, 0, 0, 0] = 1
    found = Directions(vector, torch.ones(1), torch.ones(1), ("J 1",), "jacobian")
    walk = traverse_curved(
        linear_vae, linear_latent, found, layout=layout, n_components=1, span=1.0, steps=3
    )
    moved = (walk.curves[0].latents - linear_latent.values).abs().amax((0, 1))
    assert float(moved[:2, :2].max()) > 0.1
    assert float(moved[2:].max()) == float(moved[:, 2:].max()) == 0


def test_tokens_and_wrong_numbers_are_refused(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    tokens = fit_pca(neighborhood(linear_vae, linear_latent, "tokens"))
    with pytest.raises(UsageError, match="a curved walk along tokens"):
        traverse_curved(linear_vae, linear_latent, tokens, n_components=1)
    center = decoder_map(
        linear_vae, linear_latent, layout=TokenLayout((6, 8, 10), Window(0, 0, 8, 10))
    )
    with pytest.raises(UsageError, match="whole latents"):
        follow(center, torch.ones(6, 8, 10), torch.tensor([1.0]))
    whole = fit_pca(neighborhood(linear_vae, linear_latent, "augment", n_samples=8))
    with pytest.raises(UsageError, match="span=0"):
        traverse_curved(linear_vae, linear_latent, whole, span=0)
    with pytest.raises(ShapeError, match="n_components=9"):
        traverse_curved(linear_vae, linear_latent, whole, n_components=9)
