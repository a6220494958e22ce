"""One contract for every registered finder, and what ``find`` refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene
from latentlab.errors import NonFiniteError, ShapeError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.latents import Latent, Neighborhood
from latentlab.linalg.bases import random_rows, unit_rows
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes.starting import find_directions
from latentlab.registry import option_types
from latentlab.testing.linear_vae import LinearVAE, smooth_image

SAMPLES = 40


def save_smooth(path: Path, seed: int) -> Path:
    Image.fromarray(to_uint8(smooth_image(seed=seed)).numpy()).save(path)
    return path


@pytest.fixture
def options(tmp_path: Path) -> dict[str, dict[str, object]]:
    """Return what each finder cannot do without."""
    return {"difference": {"other": str(save_smooth(tmp_path / "other.png", 5))}}


@pytest.fixture
def hood(linear_vae: LinearVAE, linear_latent: Latent) -> Neighborhood:
    return neighborhood(linear_vae, linear_latent, "augment", n_samples=SAMPLES)


@pytest.mark.parametrize("name", sorted(FINDERS))
class TestEveryFinder:
    def test_rows_are_unit_vectors_that_lift_to_the_latent(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        found = find_directions(
            linear_vae, linear_latent, hood, finder=name, **options.get(name, {})
        )
        count = len(found.labels)
        assert found.rows.shape == (count, hood.n_features)
        torch.testing.assert_close(found.rows.norm(dim=1), torch.ones(count))
        assert found.vectors.shape == (count, *linear_latent.values.shape)
        assert torch.equal(found.vectors[-1], hood.lift(found.rows[-1]))
        if FINDERS[name].orthonormal:
            torch.testing.assert_close(
                found.rows @ found.rows.T, torch.eye(count), atol=1e-5, rtol=0
            )

    def test_steps_are_the_samples_deviations_along_the_rows(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        found = find_directions(
            linear_vae, linear_latent, hood, finder=name, **options.get(name, {})
        )
        scores = hood.samples.double() @ found.rows.double().T
        torch.testing.assert_close(found.deviations, scores.std(0), rtol=1e-5, atol=1e-7)
        total = hood.samples.double().var(0).sum()
        torch.testing.assert_close(found.shares, scores.var(0) / total, rtol=1e-5, atol=1e-9)

    def test_strengths_are_what_the_finder_measures_of_its_rows(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        finder = FINDERS.make(name, options.get(name, {}))
        found = find_directions(linear_vae, linear_latent, hood, finder=finder)
        measured = finder.measure(Scene(linear_vae, linear_latent, hood), found.rows)
        assert found.strengths.shape == measured.shape == (len(found.labels),)
        assert found.strengths.dtype == measured.dtype == torch.float64
        if finder.cross_validated:
            assert bool((found.strengths <= measured + 1e-5).all())
        else:
            torch.testing.assert_close(found.strengths, measured, rtol=1e-4, atol=1e-6)
        assert found.strength_name

    def test_random_directions_are_measured_beside(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        finder = FINDERS.make(name, options.get(name, {}))
        found = find_directions(linear_vae, linear_latent, hood, finder=finder)
        assert found.baseline_strength >= 0
        if name != "random":
            assert float(found.strengths[0]) > found.baseline_strength

    def test_the_seed_decides(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        first, again = (
            find_directions(
                linear_vae, linear_latent, hood, finder=name, seed=3, **options.get(name, {})
            )
            for _ in range(2)
        )
        assert torch.equal(first.rows, again.rows)
        assert torch.equal(first.strengths, again.strengths)
        assert first.baseline_strength == again.baseline_strength

    def test_it_works_on_tokens_and_in_a_region_or_says_why_not(
        self, name: str, linear_vae: LinearVAE, linear_latent: Latent, options: dict
    ) -> None:
        tokens = neighborhood(linear_vae, linear_latent, "tokens", region=(0, 0, 16, 16))
        if name in ("supervised", "patterns"):
            with pytest.raises(UsageError, match="without known factors"):
                find_directions(linear_vae, linear_latent, tokens, finder=name)
            return
        found = find_directions(
            linear_vae, linear_latent, tokens, 1, finder=name, **options.get(name, {})
        )
        assert found.rows.shape == (1, 6)
        outside = found.vectors[0][:, 4:, 4:]
        assert not outside.any()
        assert found.vectors[0].any()

    def test_more_than_there_can_be_is_refused(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        for wrong in (0, 481):
            with pytest.raises(ShapeError, match=f"Got {wrong} directions|{wrong} components"):
                find_directions(
                    linear_vae, linear_latent, hood, wrong, finder=name, **options.get(name, {})
                )

    def test_its_options_are_not_those_of_a_neighborhood(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        # The command line tells them apart by their names.
        for sampler in SAMPLERS.values():
            assert not option_types(FINDERS[name]).keys() & option_types(sampler).keys()

    def test_samples_that_are_not_finite_are_refused(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        hood.samples[3, 7] = float("nan")
        with pytest.raises(NonFiniteError, match="NaN"):
            find_directions(linear_vae, linear_latent, hood, finder=name, **options.get(name, {}))

    def test_constant_columns_do_no_harm_and_constant_samples_are_refused(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        hood.samples[:, :100] = 1.5
        found = find_directions(
            linear_vae, linear_latent, hood, finder=name, **options.get(name, {})
        )
        assert bool(torch.isfinite(found.rows).all() and torch.isfinite(found.strengths).all())
        hood.samples[:] = 1.5
        with pytest.raises(UsageError, match=r"all (alike|identical)"):
            find_directions(linear_vae, linear_latent, hood, finder=name, **options.get(name, {}))

    def test_the_statement_is_a_paragraph_that_says_what_it_can_and_cannot_tell(
        self,
        name: str,
        linear_vae: LinearVAE,
        linear_latent: Latent,
        hood: Neighborhood,
        options: dict,
    ) -> None:
        assert len(FINDERS[name].statement.split()) >= 25


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
