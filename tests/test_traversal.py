"""Walks on the linear VAE, where every frame and every score has a closed form."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest, spearmanr
from skimage import color

from latentlab.components.fitting import fit_pca
from latentlab.components.pca import PCA
from latentlab.errors import ShapeError, UsageError
from latentlab.figures.animation import write_animation
from latentlab.images.arrays import to_uint8
from latentlab.images.colors import to_lab
from latentlab.latents import Directions, Latent
from latentlab.metrics.fidelity import psnr
from latentlab.metrics.walks import score_path
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes import walking
from latentlab.recipes.starting import traverse
from latentlab.results.walks import DrawnTraversal, draw_traversal
from latentlab.testing.linear_vae import LinearVAE
from latentlab.walks.chance import RandomWalks, compare_ranks, walk_at_random
from latentlab.walks.traversal import Traversal, walk_along


@pytest.fixture
def small_pca(linear_vae: LinearVAE, linear_latent: Latent) -> PCA:
    return fit_pca(neighborhood(linear_vae, linear_latent, "augment", n_samples=20))


def test_frames_are_the_decoded_steps_in_standard_deviations(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA
) -> None:
    walk = traverse(linear_vae, linear_latent, small_pca, n_components=2, span=2.0, steps=5)
    assert walk.alphas.tolist() == [-2, -1, 0, 1, 2]
    deviation = small_pca.spectrum.explained_variance[1].sqrt()
    step = deviation * small_pca.sampling.layout.lift(small_pca.components[1])
    expected = linear_vae.decode((linear_latent.values - 2 * step.float())[None])[0]
    assert torch.equal(walk.paths[1].frames[0], to_uint8(expected))
    assert walk.paths[0].share == pytest.approx(
        float(small_pca.spectrum.explained_variance_ratio[0])
    )


@pytest.mark.parametrize(("steps", "decodes"), [(5, 3 * 4 + 1), (4, 3 * 4), (2, 3 * 2)])
def test_the_center_is_decoded_once_for_all_components(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA, steps: int, decodes: int
) -> None:
    linear_vae.decoded = 0
    walk = traverse(linear_vae, linear_latent, small_pca, n_components=3, steps=steps)
    assert walk.decodes == decodes == linear_vae.decoded


def test_a_linear_decoder_walks_straight(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA
) -> None:
    trail = traverse(linear_vae, linear_latent, small_pca, n_components=1, steps=7).paths[0]
    assert trail.scores.flicker == pytest.approx(0, abs=1e-4)
    assert trail.scores.monotonicity == 1
    assert trail.drift == pytest.approx(0, abs=1e-4)
    deviation = small_pca.spectrum.explained_variance[0].sqrt()
    step = (deviation * small_pca.sampling.layout.lift(small_pca.components[0])).float()
    change = linear_vae.decode(step[None]).abs().mean() / 2
    assert trail.scores.pixel_change == pytest.approx(float(change), rel=1e-4)


def test_drift_is_the_distance_to_the_reencoded_end(linear_vae: LinearVAE) -> None:
    class Forgetful(LinearVAE):
        def _encode(self, images: torch.Tensor):
            mean, logvar = super()._encode(images)
            return 0.5 * mean, logvar

    latent = Latent(torch.zeros(6, 8, 8), linear_vae.spec)
    vector = torch.zeros(1, 6, 8, 8)
    vector[0, 0, 0, 0] = 1
    away = Directions(vector, torch.tensor([2.0]), torch.tensor([1.0]), ("away",), "test")
    trail = traverse(Forgetful(), latent, away, n_components=1, span=3.0, steps=4).paths[0]
    assert trail.drift == pytest.approx(3.0)  # ends at ±6, half of which is forgotten
    assert trail.drift_relative == pytest.approx(0.5)


def test_scores_of_unrelated_frames_and_of_a_circle() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 3, 16, 16, generator=generator).mul(0.1)
    assert score_path(noise, 1.0).flicker == pytest.approx(math.sqrt(3), rel=0.02)
    angles = torch.linspace(0, 2 * math.pi, 41)[:, None, None, None]
    plane = torch.linalg.qr(torch.randn(768, 2, generator=generator))[0]
    circle = (angles.cos() * plane[:, 0].view(3, 16, 16)) + (
        angles.sin() * plane[:, 1].view(3, 16, 16)
    )
    scores = score_path(circle, 0.1)
    assert abs(scores.monotonicity) < 0.1
    assert scores.flicker == pytest.approx(2 * math.sin(math.pi / 40), rel=1e-3)


@pytest.mark.parametrize("levels", [[0, 1, 1, 3, 2, 2, 2, 5], [0, 0, 0, 1], [4, 3, 2, 2, 0]])
def test_monotonicity_is_the_rank_correlation_that_scipy_finds(levels: list[int]) -> None:
    frames = [torch.full((3, 4, 4), -level / 9) for level in levels]
    distances = [abs(level - levels[0]) for level in levels]
    expected = spearmanr(range(len(levels)), distances).statistic
    assert score_path(frames, 1.0).monotonicity == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("broken", [0, 2])
def test_a_frame_with_nan_has_no_rank(broken: int) -> None:
    frames = torch.arange(4.0)[:, None, None, None].expand(4, 3, 4, 4).clone()
    frames[broken, 0, 0, 0] = torch.nan
    assert math.isnan(score_path(frames, 1.0).monotonicity)


def test_clipped_counts_values_beyond_the_range() -> None:
    frames = torch.zeros(2, 3, 4, 4)
    frames[0, 0] = 1.01
    frames[1, :, 0] = -1.2
    frames[1, :, 1] = 1.003  # within half an 8-bit level
    assert score_path(frames, 1.0).clipped == pytest.approx((16 + 12) / 96)


def test_frames_that_never_change_score_nothing() -> None:
    scores = score_path(torch.zeros(4, 3, 4, 4), 1.0)
    assert scores.pixel_change == scores.flicker == scores.monotonicity == scores.clipped == 0


@given(st.floats(0.1, 10))
def test_pixel_change_is_measured_for_each_standard_deviation(step: float) -> None:
    frames = torch.stack([torch.full((3, 2, 2), value) for value in (-0.5, 0.0, 0.5)])
    assert score_path(frames, step).pixel_change == pytest.approx(0.25 / step)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"span": 0.0}, "above 0"),
        ({"span": -1.0}, "above 0"),
        ({"span": math.nan}, "above 0"),
        ({"span": math.inf}, "above 0"),
        ({"steps": 1}, "at least 2"),
        ({"n_components": 0}, "1 or more"),
    ],
)
def test_steps_that_make_no_sense_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA, wrong: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        traverse(linear_vae, linear_latent, small_pca, **wrong)


def test_more_components_than_there_are_is_refused(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA
) -> None:
    with pytest.raises(ShapeError, match="n_components=40, but expected 1 to 19"):
        traverse(linear_vae, linear_latent, small_pca, n_components=40)


def test_directions_of_another_size_are_refused(linear_vae: LinearVAE, small_pca: PCA) -> None:
    other = Latent(torch.zeros(6, 4, 4), linear_vae.spec)
    with pytest.raises(ShapeError, match="like the latent"):
        traverse(linear_vae, other, small_pca)


def test_psnr_equals_scikit_images() -> None:
    from skimage.metrics import peak_signal_noise_ratio

    first = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = (first + 0.1).clamp(-1, 1)
    expected = peak_signal_noise_ratio(first.numpy(), other.numpy(), data_range=2)
    assert psnr(first, other) == pytest.approx(expected, rel=1e-6)
    assert psnr(first, first) == math.inf


def test_random_walks_change_the_image_as_much_and_flicker_alike_on_lines(
    linear_vae: LinearVAE, linear_latent: Latent, monkeypatch: pytest.MonkeyPatch
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=20)
    found = fit_pca(hood).leading(3)
    walk = walk_along(linear_vae, linear_latent, found, n_components=3, span=1.0, steps=5)
    frames = [path.frames for path in walk.paths]
    decoded: list[torch.Tensor] = []
    decode = linear_vae._decode
    monkeypatch.setattr(linear_vae, "_decode", lambda z: decoded.extend(z) or decode(z))
    random = walk_at_random(linear_vae, linear_latent, found, frames, walk.alphas)
    assert random is not None
    assert (random.directions, random.frames) == (9, 5)
    assert random.decodes == len(decoded)
    # The center lies on all nine, and no other latent is decoded twice.
    assert len(decoded) == len({tuple(z.flatten().tolist()) for z in decoded}) + 8
    assert random.monotonicity == pytest.approx(1)
    # A linear decoder draws straight lines in any direction; CIELAB bends all of them alike.
    assert random.flicker == pytest.approx(random.flicker_of_directions, rel=0.1)
    lab = [color.rgb2lab(one.numpy()) for one in frames]
    changes = [np.sqrt(((one[-1] - one[0]) ** 2).sum(-1).mean()) for one in lab]
    assert random.image_change == pytest.approx(np.mean(changes), rel=1e-3)
    rough = [one[[0, 3, 1, 2, 4]] for one in frames]
    worse = walk_at_random(linear_vae, linear_latent, found, rough, walk.alphas)
    assert worse is not None
    assert worse.flickers_less == 0
    assert worse.p_of_flicker == pytest.approx(2 / 4**3)  # each the last of four
    still = [one[[0, 0]] for one in frames]
    assert walk_at_random(linear_vae, linear_latent, found, still, walk.alphas[[0, 4]]) is None


def test_ranks_among_random_directions_have_the_p_value_of_all_orders() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        own, others = torch.rand(6, generator=generator), torch.rand(6, 1, generator=generator)
        less, p_value = compare_ranks(own, others)
        wins = int((own < others[:, 0]).sum())
        assert less == pytest.approx(wins / 6)
        assert p_value == pytest.approx(binomtest(wins, 6).pvalue)
    own, others = torch.tensor([0.5, 0.5, 0.1]), torch.tensor([[0.6, 0.7], [0.2, 0.9], [0.3, 0.4]])
    # 5 of 6 pairs; of 27 arrangements of three ranks, 4 give 5 or 6.
    assert compare_ranks(own, others) == (pytest.approx(5 / 6), pytest.approx(8 / 27))
    assert compare_ranks(own[:1], others[:1])[1] is None


def test_lab_is_that_of_scikit_image() -> None:
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    images[0, :, 0, 0] = 0.0
    expected = color.rgb2lab(images.permute(0, 2, 3, 1).double().numpy())
    np.testing.assert_allclose(to_lab(images.double()).permute(0, 2, 3, 1), expected, atol=2e-3)


def test_an_interrupt_does_not_wait_for_animations(
    linear_vae: LinearVAE, small_pca: PCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, ended = threading.Event(), threading.Event()

    def draw(*_: Any, **__: Any) -> None:
        goes_on.wait(2)
        ended.set()

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(walking, "draw_traversal", draw)
    monkeypatch.setattr(walking, "walk_at_random", interrupt)
    with pytest.raises(KeyboardInterrupt):
        walking.walk_and_save(linear_vae, small_pca, tmp_path, n_components=1, steps=2)
    assert not ended.is_set()
    goes_on.set()


def test_animations_are_drawn_while_random_directions_are_walked(
    linear_vae: LinearVAE, small_pca: PCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def draw(walk: Traversal, **how: Any) -> DrawnTraversal:
        begun.set()
        return draw_traversal(walk, **how)

    def walk_later(*given: Any, **how: Any) -> RandomWalks | None:
        assert begun.wait(30)
        return walk_at_random(*given, **how)

    monkeypatch.setattr(walking, "draw_traversal", draw)
    monkeypatch.setattr(walking, "walk_at_random", walk_later)
    how: dict[str, Any] = {"n_components": 2, "steps": 4}
    saved = walking.walk_and_save(linear_vae, small_pca, tmp_path, **how)
    # The files are those that are drawn and written one after the other.
    walk = traverse(linear_vae, small_pca, **how)
    expected = {"traversal.gif": walk.save(tmp_path / "all.gif")}
    for index, path in enumerate(walk.paths, 1):
        one = write_animation(tmp_path / f"{index}.gif", list(path.frames.numpy()))
        expected[f"component_{index}.gif"] = one
    for name, file in expected.items():
        assert (tmp_path / name).read_bytes() == file.read_bytes()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.array_equal(np.asarray(sheet), walk.sheet())
    assert saved.facts["random"] is not None
    assert saved.facts["frame_size"] == list(walk.paths[0].frames.shape[2:0:-1])
