"""States and what they stand for, matches of two models, and how reliable directions are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import latentlab
from latentlab.directions.reliability import split_half_reliability
from latentlab.explorer.matching import pair_up
from latentlab.explorer.pictures import channels_png, plain_name
from latentlab.explorer.state import State, Stroke, brush_map, latent_of, matched
from latentlab.latents import Directions, Latent, LatentSpec, Neighborhood, Sampling
from latentlab.layouts import WholeLayout, Window
from latentlab.loaders.base import LatentVAE


def directions(count: int = 3) -> Directions:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(count, 2, 4, 6, generator=generator)
    steps = torch.arange(1, count + 1, dtype=torch.float64)
    labels = tuple(f"PC {k + 1}" for k in range(count))
    return Directions(vectors, steps, torch.ones(count), labels, "pca")


def test_the_latent_of_a_state_is_the_sum_that_is_documented() -> None:
    found, start, other = directions(), torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    stroke = Stroke(2, -1.5, 0.4, ((0.2, 0.3), (0.9, 0.8)))
    state = State((0.5, 0.0, 2.0, 7.0), (stroke, Stroke(9, 1.0, 0.1, ((0.5, 0.5),))), 0.25)
    # NumPy and SciPy, cell by cell.
    centers = np.array([[(x + 0.5) / 6, (y + 0.5) / 6] for y in range(4) for x in range(6)])
    points = np.array([[0.2, 0.3 * 4 / 6], [0.9, 0.8 * 4 / 6]])
    near = cdist(centers, points).min(1).reshape(4, 6)
    weights = np.where(near < 0.4, (1 - near**2 / 0.4**2) ** 2, 0)
    vectors = found.vectors.double().numpy()
    wanted = 0.75 * start.double().numpy() + 0.25 * other.double().numpy()
    wanted = wanted + 0.5 * 1 * vectors[0] + (2.0 - 1.5 * weights) * 3 * vectors[2]
    np.testing.assert_allclose(latent_of(state, start, found, other).numpy(), wanted, atol=1e-5)


def test_states_without_directions_or_another_image_stay_at_the_start() -> None:
    start = torch.randn(2, 4, 6)
    assert torch.equal(latent_of(State((1.0,), (), 0.5), start, None), start)
    assert torch.equal(latent_of(State(), start, directions()), start)


def test_a_brush_ends_at_its_radius() -> None:
    found = brush_map(Stroke(0, 1.0, 0.2, ((0.5, 0.5),)), 20, 20)
    y, x = np.mgrid[:20, :20]
    outside = np.hypot((x + 0.5) / 20 - 0.5, (y + 0.5) / 20 - 0.5) >= 0.2
    assert (found.numpy()[outside] == 0).all()
    assert (found.numpy()[~outside] > 0).all()


def test_directions_are_paired_with_those_of_another_model() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 500))
    order, signs = [2, 0, 3, 1], np.array([1, -1, -1, 1])
    others = np.empty_like(rows)
    others[order] = signs[:, None] * rows + 0.1 * rng.normal(size=rows.shape)
    found = pair_up(torch.from_numpy(rows), torch.from_numpy(others))
    assert found.indices == tuple(order)
    assert found.signs == tuple(signs)
    wanted = [abs(np.corrcoef(rows[k], others[order[k]])[0, 1]) for k in range(4)]
    np.testing.assert_allclose(found.correlations, wanted)
    moved = matched(State((1.0, 2.0)), found.indices, found.signs)
    assert moved.alphas == (-2.0, 0.0, 1.0, 0.0)
    strokes = (Stroke(1, 3.0, 0.1, ((0.5, 0.5),)), Stroke(8, 1.0, 0.1, ((0.5, 0.5),)))
    assert matched(State(strokes=strokes), found.indices, found.signs).strokes == (
        Stroke(0, -3.0, 0.1, ((0.5, 0.5),)),
    )


def test_fewer_directions_of_the_second_model_are_used_twice() -> None:
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 200)))
    found = pair_up(rows, rows[:1] + 0.01 * rows[1:2])
    assert found.indices == (0, 0, 0)


def planted(count: int, strengths: tuple[float, ...]) -> Neighborhood:
    """Return noise in 100 features with planted components along the first axes."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(count, 100, generator=generator)
    for axis, strength in enumerate(strengths):
        rows[:, axis] *= strength
    layout = WholeLayout((1, 10, 10), Window(0, 0, 10, 10))
    origin = Latent(torch.zeros(1, 10, 10), LatentSpec("planted", 1, 1))
    return Neighborhood(rows, Sampling("gaussian", layout, origin, n_samples=count))


@pytest.fixture(scope="module")
def vae() -> LatentVAE:
    """Return a model that the finder pca does not need."""
    return latentlab.load_vae("linear")


def test_planted_components_are_found_again_and_noise_is_not(vae: LatentVAE) -> None:
    hood = planted(200, (12.0, 7.0))
    found = latentlab.find_directions(vae, hood, n_components=6)
    again = split_half_reliability(vae, hood.origin, hood, found)
    assert again is not None
    values = again.cosines
    assert min(values[:2]) > 0.95
    assert max(values[2:]) < 0.75
    # The same with NumPy.
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    halves = [hood.samples[part.sort().values].double().numpy() for part in order.chunk(2)]
    tops = [np.linalg.svd(half - half.mean(0), full_matrices=False)[2][:8] for half in halves]
    assert found.rows is not None
    rows = found.rows.double().numpy()
    chosen = [top[np.abs(rows @ top.T).argmax(1)] for top in tops]
    np.testing.assert_allclose(values, np.abs((chosen[0] * chosen[1]).sum(1)), atol=1e-4)


def test_chance_of_finding_again_is_that_of_random_directions_where_samples_are_noise(
    vae: LatentVAE,
) -> None:
    hood = planted(8000, ())
    found = latentlab.find_directions(vae, hood)
    again = split_half_reliability(vae, hood.origin, hood, found)
    assert again is not None
    # The nearest of eight random directions in each half, drawn with NumPy.
    draw = np.random.default_rng(0)
    bases = [np.linalg.qr(draw.normal(size=(2000, 100, 8)))[0].swapaxes(1, 2) for _ in range(2)]
    chosen = [basis[np.arange(2000), np.abs(basis[..., 0]).argmax(1)] for basis in bases]
    wanted = np.abs((chosen[0] * chosen[1]).sum(1))
    allowed = 4 * wanted.std() / (8 * 32) ** 0.5
    assert np.mean(again.chance) == pytest.approx(wanted.mean(), abs=allowed)


def test_chance_is_higher_where_samples_vary_in_few_features(vae: LatentVAE) -> None:
    hood = planted(200, (60.0, 20.0))
    found = latentlab.find_directions(vae, hood, n_components=3)
    again = split_half_reliability(vae, hood.origin, hood, found)
    assert again is not None
    assert min(again.cosines[:2]) > 0.98
    assert max(again.chance[:2]) < 0.98
    assert min(again.chance[:2]) > 0.5
    assert again.chance[2] < 0.3


def test_reliability_is_not_claimed_where_it_says_nothing(vae: LatentVAE) -> None:
    hood = planted(6, (5.0,))
    found = latentlab.find_directions(vae, hood, n_components=2)
    assert split_half_reliability(vae, hood.origin, hood, found) is None
    hood = planted(40, (5.0,))
    found = latentlab.find_directions(vae, hood, finder="random")
    assert split_half_reliability(vae, hood.origin, hood, found, "random") is None


def test_channels_are_gray_around_zero() -> None:
    values = torch.tensor([[[-2.0, 0.0, 2.0]], [[0.0, 0.0, 0.0]]])
    content, limits = channels_png(values)
    from explorer_client import pixels

    assert pixels(content)[..., 0].tolist() == [[0, 128, 255], [128, 128, 128]]
    np.testing.assert_allclose(limits, [2, 0])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        *(("cat.png", "cat"), ("/etc/passwd", "passwd"), ("..", ".."), ("", "image")),
        *(("a\0b\n.png", "ab"), ("x" * 100, "x" * 60), ("C:\\x\\cat.tar.gz", "cat.tar")),
    ],
)
def test_names_are_for_titles_only(given: str, shown: str) -> None:
    assert plain_name(given) == shown
