"""Ways through the latents and what they show: SciPy's slerp, NumPy's quantiles, whole images."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import geometric_slerp
from scipy.stats import norm, t

from latentlab.digits.beta_figure import draw_sweep
from latentlab.digits.beta_sweep import mean_and_interval, sweep_betas
from latentlab.digits.data import Digits, load_data
from latentlab.digits.figures import draw_codes, draw_reconstructions, draw_samples, ink
from latentlab.digits.films import InterpolationFilm, TrainingFilm, plane_of, project
from latentlab.digits.folders import DigitsRun
from latentlab.digits.interpolation import decode_path
from latentlab.digits.measure import Codes
from latentlab.digits.models import DigitsConfig, DigitsModel, build_model
from latentlab.digits.morphology import slant_of
from latentlab.digits.training import Recipe
from latentlab.digits.traversal import (
    draw_film,
    draw_sheet,
    measure_changes,
    traversal_values,
    traverse_latents,
)
from latentlab.errors import ShapeError, UsageError
from latentlab.figures.canvas import new_figure
from latentlab.linalg.slerp import slerp


@pytest.fixture(scope="module")
def model() -> DigitsModel:
    return build_model(DigitsConfig("cvae", latent=3, hidden=(16,), size=8), seed=1).eval()


@pytest.fixture(scope="module")
def codes() -> Codes:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(400, 3, generator=generator) * torch.tensor([0.3, 1.0, 0.6])
    return Codes(mean, torch.zeros(400, 3), torch.arange(400) % 10)


VECTORS = st.lists(st.floats(-3, 3), min_size=3, max_size=3)


@given(VECTORS, VECTORS)
@settings(max_examples=60)
def test_slerp_is_scipys_on_the_sphere_and_shoemakes_formula_beside_it(
    first: list[float], last: list[float]
) -> None:
    start, end = np.array(first), np.array(last)
    norms = np.linalg.norm(start), np.linalg.norm(end)
    if min(norms) < 1e-3:
        return
    cosine = float(start @ end) / (norms[0] * norms[1])
    if abs(cosine) > 0.999:
        return
    weights = np.linspace(0, 1, 7)
    units = [torch.tensor(z / norm) for z, norm in zip((start, end), norms, strict=True)]
    sphere = geometric_slerp(start / norms[0], end / norms[1], weights)
    np.testing.assert_allclose(slerp(*units, torch.tensor(weights)), sphere, atol=1e-9)
    angle = math.acos(cosine)
    shares = np.sin(np.stack((1 - weights, weights)) * angle)[..., None] / math.sin(angle)
    path = slerp(torch.tensor(start), torch.tensor(end), torch.tensor(weights))
    np.testing.assert_allclose(path, shares[0] * start + shares[1] * end, atol=1e-9)


def test_slerp_keeps_the_lengths_of_vectors_of_any_shape() -> None:
    halfway = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), 0.5)
    assert float(halfway.norm()) == pytest.approx(math.sqrt(5), abs=1e-6)  # not 2, the mean norm
    first, last = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.0, 0.25, 1.0])
    path = slerp(first, last, weights)
    assert path.shape == (3, 2, 3, 4)
    assert path.dtype == torch.float32
    flat = slerp(first.flatten(), last.flatten(), weights)
    torch.testing.assert_close(path.flatten(1), flat)
    torch.testing.assert_close(path[1], slerp(first, last, 0.25))
    torch.testing.assert_close(path[0], first)
    torch.testing.assert_close(path[2], last)


def test_slerp_is_straight_without_an_angle_and_refuses_opposite_vectors() -> None:
    zero, one = torch.zeros(3), torch.tensor([0.0, 2.0, 0.0])
    close = torch.tensor([1e-5, 2.0, 0.0])
    weights = torch.linspace(0, 1, 5)
    for start, end in ((zero, one), (one, zero), (one, 2 * one), (one, one), (one, close)):
        path = slerp(start, end, weights)
        torch.testing.assert_close(path, torch.lerp(start, end, weights[:, None]))
    for end in (-one, -3 * close):
        with pytest.raises(UsageError, match="opposite latents"):
            slerp(one, end, weights)


def test_both_paths_lie_in_the_plane_that_is_drawn() -> None:
    generator = torch.Generator().manual_seed(3)
    start, end = torch.randn(2, 8, generator=generator)
    plane = plane_of(start, end)
    np.testing.assert_allclose(plane @ plane.T, np.eye(2), atol=1e-12)
    weights = torch.linspace(0, 1, 9)
    for path in (torch.lerp(start, end, weights[:, None]), slerp(start, end, weights)):
        flat = project(path, plane)
        np.testing.assert_allclose(flat @ plane, path.numpy(), atol=1e-5)
    for degenerate in (torch.zeros(8), 2 * start):
        axes = plane_of(start, degenerate)
        np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
    line = plane_of(torch.tensor([1.0]), torch.tensor([2.0]))
    assert project(torch.ones(4, 1), line).shape == (4, 2)


def test_an_interpolation_decodes_every_point_of_its_path(model: DigitsModel) -> None:
    start, end = torch.randn(2, 3, generator=torch.Generator().manual_seed(4))
    found = decode_path(model, start, end, label=7, kind="slerp", steps=5)
    torch.testing.assert_close(found.images, model.images(found.z, torch.full((5,), 7)))
    torch.testing.assert_close(found.z[0], start)
    torch.testing.assert_close(found.z[-1], end)
    for wrong in ({"kind": "bezier"}, {"steps": 1}, {"label": 10}, {"label": -1}):
        with pytest.raises(UsageError):
            decode_path(model, start, end, **wrong)
    with pytest.raises(ShapeError):
        decode_path(model, start, end[:2])


def test_the_film_of_an_interpolation_moves_only_point_and_digit(
    model: DigitsModel, codes: Codes
) -> None:
    start, end = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, -2.0, 1.0])
    paths = [decode_path(model, start, end, kind=kind, steps=4) for kind in ("linear", "slerp")]
    film = InterpolationFilm(paths, codes, title="a film")
    frames = film.all()
    assert len(frames) == 4
    assert len({frame.tobytes() for frame in frames}) == 4
    assert all(frame.shape == frames[0].shape and frame.dtype == np.uint8 for frame in frames)
    again = film.frame(0)
    np.testing.assert_array_equal(again, frames[0])
    assert (frames[0] != frames[3]).any(2).mean() < 0.5


def test_ink_is_dark_on_white_paper() -> None:
    tiles = ink(torch.tensor([[[0.0, 1.0], [0.5, 2.0]]]))
    assert tiles[0][..., 0].tolist() == [[255, 0], [128, 0]]
    assert tiles[0].shape == (2, 2, 3)


def test_sheets_and_scatter_show_everything(model: DigitsModel, codes: Codes) -> None:
    digits = load_data("digits").test
    sheet = draw_reconstructions(model, digits, title="t")
    assert sheet.dtype == np.uint8
    told = draw_samples(model, codes, title="t")
    for kind in ("vae", "autoencoder"):
        other = build_model(DigitsConfig(kind, latent=3, hidden=(8,), size=8)).eval()
        assert draw_samples(other, codes, title="t").shape[0] < told.shape[0]
    ax = draw_codes(codes, title="t", ax=new_figure().add_subplot())
    drawn, expected = (
        array[np.lexsort(array.T)]
        for array in (
            np.concatenate([group.get_offsets() for group in ax.collections]),
            codes.mean[:, 1:].numpy(),
        )
    )
    np.testing.assert_allclose(drawn, expected)


def training(
    originals: Digits, frames: list[torch.Tensor], history: list[dict[str, Any]]
) -> SimpleNamespace:
    """Return what a film shows of a trainer after 7 epochs."""
    shown = {"watched": originals, "frames": frames, "history": history}
    return SimpleNamespace(**shown, recipe=Recipe(epochs=7), unit="nats", title="t")


def test_a_training_film_is_thinned_evenly_and_holds_its_end() -> None:
    originals = Digits(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
    frames = [torch.full((2, 8, 8), 10 * epoch, dtype=torch.uint8) for epoch in range(8)]
    history = [
        {"epoch": epoch, "train": {"total": 9.0 - epoch}, "test": {"total": 10.0 - epoch}}
        for epoch in range(1, 8)
    ]
    film = TrainingFilm(training(originals, frames, history))
    shown = film.all(most=4)
    assert len(shown) == 4 + 12
    assert all(frame is shown[-1] for frame in shown[-12:])
    assert not np.array_equal(shown[0], shown[-1])


# Traversals of latents


def test_a_traversal_decodes_each_latent_alone(model: DigitsModel) -> None:
    values = torch.linspace(-2, 2, 5).expand(3, 5)
    found = traverse_latents(model, values)
    assert found.images.shape == (10, 3, 5, 8, 8)
    z = torch.tensor([[0.0, 0.0, -1.0]])
    expected = model.images(z, torch.tensor([6]))[0, 0]
    torch.testing.assert_close(found.images[6, 2, 1], expected)
    moved = traverse_latents(model, values, center=torch.tensor([0.5, 0.5, 0.5]))
    expected = model.images(torch.tensor([[0.5, 2.0, 0.5]]), torch.tensor([6]))[0, 0]
    torch.testing.assert_close(moved.images[6, 1, 4], expected)


def test_ranges_are_sigmas_of_the_prior_or_quantiles_of_the_codes(
    model: DigitsModel, codes: Codes
) -> None:
    run = DigitsRun("r", model, {}, codes)
    sigmas = traversal_values(run, reach="sigma", span=1.5, steps=3)
    assert sigmas.tolist() == [[-1.5, 0, 1.5]] * 3
    found = traversal_values(run, reach="quantile", span=2.0, steps=5)
    levels = np.linspace(norm.cdf(-2), norm.cdf(2), 5)
    expected = np.quantile(codes.mean.double().numpy(), levels, axis=0).T
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    plain = build_model(DigitsConfig("autoencoder", latent=3, hidden=(8,), size=8))
    spread = traversal_values(DigitsRun("r", plain, {}, codes), reach="sigma", span=1.0, steps=3)
    means = codes.mean.numpy()
    np.testing.assert_allclose(spread[:, 2], means.mean(0) + means.std(0, ddof=1), rtol=1e-5)
    for wrong in ({"reach": "all"}, {"span": 0.0}, {"span": 9.0}, {"steps": 1}):
        with pytest.raises(UsageError):
            traversal_values(run, **{"reach": "sigma", "span": 2.0, "steps": 5, **wrong})


def test_sheet_and_film_of_a_traversal_have_their_tiles_and_changes_are_measured(
    model: DigitsModel,
) -> None:
    found = traverse_latents(model, torch.linspace(-2, 2, 6).expand(3, 6))
    sheet = draw_sheet(found, title="a sheet", tilt=1)
    assert sheet.shape[1] > 3 * 5 * 56
    film = draw_film(found, title="a film", tilt=1)
    assert len(film) == 6
    changes = measure_changes(found)["slant"]
    ends = [slant_of(found.images[4, 2, [step]].numpy())[0] for step in (0, -1)]
    assert changes.shape == (10, 3)
    assert changes[4, 2] == pytest.approx(ends[1] - ends[0])
    untold = build_model(DigitsConfig("vae", latent=2, hidden=(8,), size=8)).eval()
    one = traverse_latents(untold, torch.linspace(-2, 2, 3).expand(2, 3))
    assert one.images.shape[0] == 1
    assert draw_sheet(one, title="t").dtype == np.uint8


# Sweeps of β


def test_intervals_are_students() -> None:
    for row in np.random.default_rng(0).normal(size=(3, 5)):
        mean, half = mean_and_interval(row.tolist())
        low, high = t.interval(0.95, 4, row.mean(), row.std(ddof=1) / math.sqrt(5))
        assert half is not None
        assert (mean - half, mean + half) == pytest.approx((low, high))
        assert mean_and_interval(row[:1].tolist()) == (row[0], None)


def test_a_sweep_of_beta_trains_each_and_shows_the_trade_off() -> None:
    data = load_data("digits")
    config = DigitsConfig("cvae", latent=2, hidden=(24,), size=8)
    news: list[tuple[str, int, int]] = []
    facts = sweep_betas(
        config,
        Recipe(epochs=6, batch=64, rate=3e-3),
        data,
        (0.1, 8.0),
        (3,),
        progress=lambda *some: news.append(some),
    )
    assert news[-1] == ("training", 12, 12)
    low, high = facts["betas"]
    assert low["kl"]["mean"] > high["kl"]["mean"] + 0.5
    assert low["reconstruction"]["mean"] < high["reconstruction"]["mean"]
    assert low["mig"]["interval"] is None
    assert facts["seeds"] == [3]
    for row in facts["betas"]:
        for name in set(row) - {"beta"}:
            row[name]["interval"] = 0.1
    figure = draw_sweep({**facts, "seeds": [3, 4]})
    losses, scores, active = figure.axes
    assert [ax.get_xlabel() for ax in (losses, scores, active)] == ["β, weight of the KL term"] * 3
    drawn = losses.containers[2]
    shown = drawn.lines[0].get_ydata(orig=False)
    np.testing.assert_allclose(shown, [low["kl"]["mean"], high["kl"]["mean"]])
    (bars,) = drawn.lines[2]
    assert np.diff(bars.get_segments()[0][:, 1]) == pytest.approx(0.2)


def test_nothing_is_written_by_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    originals = Digits(torch.zeros(1, 1, 8, 8), torch.tensor([0]))
    TrainingFilm(training(originals, [torch.zeros(1, 8, 8)], [])).frame(0)
    assert not list(tmp_path.iterdir())
