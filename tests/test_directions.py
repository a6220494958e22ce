"""What ``find_directions`` makes of a finder's rows, and what it refuses.

The contract of all finders is in test_contracts.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene
from latentlab.errors import ShapeError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.latents import Latent, Neighborhood
from latentlab.linalg.bases import random_rows, unit_rows
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes.starting import find_directions
from latentlab.testing.linear_vae import LinearVAE, smooth_image

SAMPLES = 40


def save_smooth(path: Path, seed: int) -> Path:
    Image.fromarray(to_uint8(smooth_image(seed=seed)).numpy()).save(path)
    return path


@pytest.fixture
def hood(linear_vae: LinearVAE, linear_latent: Latent) -> Neighborhood:
    return neighborhood(linear_vae, linear_latent, "augment", n_samples=SAMPLES)


def test_steps_are_the_samples_deviations_along_the_rows(
    linear_vae: LinearVAE, linear_latent: Latent, hood: Neighborhood
) -> None:
    found = find_directions(linear_vae, linear_latent, hood, finder="random")
    scores = hood.samples.double() @ found.rows.double().T
    torch.testing.assert_close(found.deviations, scores.std(0), rtol=1e-5, atol=1e-7)
    total = hood.samples.double().var(0).sum()
    torch.testing.assert_close(found.shares, scores.var(0) / total, rtol=1e-5, atol=1e-9)
    assert found.vectors.shape == (len(found.labels), *linear_latent.values.shape)
    assert torch.equal(found.vectors[-1], hood.lift(found.rows[-1]))
    again = find_directions(linear_vae, linear_latent, hood, finder="random")
    assert found.baseline_strength == again.baseline_strength


def test_directions_in_a_region_change_nothing_outside(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    tokens = neighborhood(linear_vae, linear_latent, "tokens", region=(0, 0, 16, 16))
    found = find_directions(linear_vae, linear_latent, tokens, 1, finder="pca")
    assert found.rows.shape == (1, 6)
    assert not found.vectors[0][:, 4:, 4:].any()
    assert found.vectors[0].any()


@pytest.mark.parametrize("name", ["supervised", "patterns"])
def test_cells_have_no_factors(name: str, linear_vae: LinearVAE, linear_latent: Latent) -> None:
    tokens = neighborhood(linear_vae, linear_latent, "tokens")
    with pytest.raises(UsageError, match="without known factors"):
        find_directions(linear_vae, linear_latent, tokens, finder=name)


@pytest.mark.parametrize("name", sorted({*FINDERS} - {"difference"}))
def test_more_than_there_can_be_is_refused(
    name: str, linear_vae: LinearVAE, linear_latent: Latent, hood: Neighborhood
) -> None:
    for wrong in (0, 481):
        with pytest.raises(ShapeError, match=f"Got {wrong} directions|{wrong} components"):
            find_directions(linear_vae, linear_latent, hood, wrong, finder=name)


def test_a_finder_of_ones_own_is_found_by_its_name(
    linear_vae: LinearVAE, linear_latent: Latent, hood: Neighborhood
) -> None:
    from dataclasses import dataclass

    @FINDERS.register("first-cell")
    @dataclass(frozen=True)
    class FirstCell(Finder):
        scale: float = 1.0

        statement = "The first entry."
        strength_name = "entry (times scale)"

        def search(self, scene: Scene, k: int) -> Found:
            rows = torch.eye(scene.n_features)[:k]
            return Found(rows, self.measure(scene, rows), ("first",) * k)

        def measure(self, scene: Scene, rows: torch.Tensor) -> torch.Tensor:
            return self.scale * rows[:, 0].double().abs()

    try:
        found = find_directions(linear_vae, linear_latent, hood, 2, finder="first-cell", scale="3")
    finally:
        FINDERS._entries.pop("first-cell")
    assert found.strengths.tolist() == [3, 0]
    assert found.captions[0] == "first\nentry 3"
    # Sixteen random unit rows of 480 entries: E|entry| = √(2/(π·480)).
    assert found.baseline_strength == pytest.approx(3 * 0.0364, rel=0.5)


@pytest.mark.parametrize(
    ("finder", "given", "message"),
    [
        ("nonsense", {}, "finder 'nonsense'"),
        ("pca", {"radius": 1}, "option 'radius' for finder 'pca'"),
        ("ica", {"leading": 0}, "leading=0"),
        ("ica", {"leading": "many"}, "leading='many'"),
        ("sparse-pca", {"sparsity": -1}, "sparsity=-1"),
        ("sparse-pca", {"sparsity": 1000}, "without any entry"),
        ("difference", {}, "another image, or two folders"),
        ("difference", {"positive": "here"}, "another image, or two folders"),
        ("difference", {"other": "a.png", "method": "discriminant"}, "between two images"),
        ("difference", {"positive": "a", "negative": "b", "method": "x"}, "method='x'"),
        ("difference", {"positive": "a", "negative": "b", "shrinkage": 0}, "shrinkage=0"),
    ],
)
def test_names_and_options_that_make_no_sense_are_refused(
    finder: str,
    given: dict,
    message: str,
    linear_vae: LinearVAE,
    linear_latent: Latent,
    hood: Neighborhood,
) -> None:
    with pytest.raises(UsageError, match=message):
        find_directions(linear_vae, linear_latent, hood, finder=finder, **given)


def test_a_neighborhood_of_another_size_is_refused(
    linear_vae: LinearVAE, hood: Neighborhood
) -> None:
    other = Latent(torch.zeros(6, 4, 4), linear_vae.spec)
    with pytest.raises(ShapeError, match="like the latent"):
        find_directions(linear_vae, other, hood)


def test_too_few_samples_are_refused(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    few = neighborhood(linear_vae, linear_latent, "augment", n_samples=6)
    with pytest.raises(ShapeError, match="8 directions asked of 'pca', but expected 1 to 5"):
        find_directions(linear_vae, linear_latent, few, 8)
    with pytest.raises(ShapeError, match="at least 10"):
        find_directions(linear_vae, linear_latent, few, finder="supervised")


def test_random_rows_are_orthonormal_and_isotropic() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([random_rows(3, 8, generator) for _ in range(2000)])
    torch.testing.assert_close(drawn[0] @ drawn[0].T, torch.eye(3), atol=1e-6, rtol=0)
    covariance = torch.einsum("nki,nkj->ij", drawn, drawn) / 6000
    torch.testing.assert_close(covariance, torch.eye(8) / 8, atol=0.01, rtol=0)
    assert float(drawn.mean(0).abs().max()) < 0.04


def test_unit_rows_point_to_their_largest_entry() -> None:
    rows = unit_rows(torch.tensor([[3.0, -4.0], [0.0, 0.5]]))
    torch.testing.assert_close(rows, torch.tensor([[-0.6, 0.8], [0.0, 1.0]]))
