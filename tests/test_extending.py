"""A sampler, a null and a finder that are defined here alone work in every command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from torch import Tensor

import latentlab
from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import Null, NullModel, matrix_of
from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene, numbered
from latentlab.latents import Latent, Neighborhood, Progress, Spectrum
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.amounts import Amount
from latentlab.neighborhoods.base import Sampler, encoded_image
from latentlab.results.kept_samples import FOLDER

DRAWS = 5


@dataclass(frozen=True)
class Dimmed(Sampler):
    """Darker copies of the image, encoded again.

    Parameters
    ----------
    depth : float, largest share of the light that is taken away
    """

    depth: float = 0.5

    amounts = {"light": Amount("% of white", 1, 100)}  # noqa: RUF012
    correlated = "darker copies are alike"
    statement = "Darker copies of the image. It shows one factor and nothing else."

    def draw(
        self, vae: LatentVAE, latent: Latent, samples: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        pixels = encoded_image(latent, self.name).pixels
        for light in 1 - self.depth * torch.rand(samples, generator=generator):
            darker = (pixels + 1) * light - 1
            darker += 0.01 * torch.randn(pixels.shape, generator=generator)
            yield vae.encode(darker[None].clamp(-1, 1)).mean, {"light": light[None]}


@dataclass(frozen=True)
class Permuted(NullModel):
    """Samples whose values were all permuted together."""

    label = "all values permuted"
    counts = 9
    phrase = "above shuffled values"

    def draw(
        self,
        samples: Neighborhood | Tensor,
        spectrum: Spectrum,
        *,
        draws: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Null:
        matrix = matrix_of(samples, spectrum)
        generator = torch.Generator().manual_seed(seed)
        spectra = torch.stack([self._spectrum(matrix, generator) for _ in range(draws or DRAWS)])
        spectra *= spectrum.total_variance / spectra.sum(1, keepdim=True)
        largest = float(spectra[:, 0].max())
        return Null(self, spectra, spectrum.total_variance, largest, largest, len(spectra))

    def seconds(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> float:
        return 0.0

    @staticmethod
    def _spectrum(matrix: Tensor, generator: torch.Generator) -> Tensor:
        values = (matrix - matrix.mean(0)).flatten().double()
        shuffled = values[torch.randperm(len(values), generator=generator)].view(matrix.shape)
        rank = min(len(matrix) - 1, matrix.shape[1])
        return torch.linalg.svdvals(shuffled - shuffled.mean(0))[:rank].square()


@dataclass(frozen=True)
class Loudest(Finder):
    """The features that vary most, each by itself.

    Parameters
    ----------
    first : int, how many of the loudest features to pass over
    """

    first: int = 0

    statement = "Single features. They say which cells vary, not which of them vary together."
    strength_name = "variance (model-space units²)"
    orthonormal = True

    def search(self, scene: Scene, k: int) -> Found:
        order = scene.neighborhood.samples.var(0).argsort(descending=True, stable=True)
        rows = torch.eye(scene.n_features)[order[self.first : self.first + k]]
        return Found(rows, self.measure(scene, rows), numbered("feature", k))

    def measure(self, scene: Scene, rows: Tensor) -> Tensor:
        return scene.variances(rows)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the three, and take them out again after the test."""
    for registry in (SAMPLERS, NULLS, FINDERS):
        list(registry.values())  # what comes with latentlab registers once, when it is imported
        monkeypatch.setattr(registry, "_entries", {**registry._entries})
    SAMPLERS.register("dimmed")(Dimmed)
    NULLS.register("permuted")(Permuted)
    FINDERS.register("loudest")(Loudest)


def test_pca_samples_judges_and_keeps(cli: CommandLine, tmp_path: Path) -> None:
    options = ("-k", "dimmed", "--set", "depth=0.4", "--nulls", "permuted")
    facts = cli.pca(*options, samples=8).facts
    assert facts["neighborhood"] == "dimmed"
    assert facts["statement"] == Dimmed.statement
    assert "dimmed neighborhood, depth 0.4" in facts["title"]
    assert list(facts["null"]) == ["isotropic", "permuted"]
    assert facts["null"]["permuted"]["draws"] == DRAWS
    assert facts["components_above_null_of"] == "permuted"
    assert "above shuffled values, though darker copies are alike" in facts["verdict"]
    run = json.loads((Path(facts["files"][0]).parent / "run.json").read_text())["pca"]
    assert run["neighborhood"]["name"] == "dimmed"
    assert float(run["neighborhood"]["depth"]) == 0.4
    assert len(list(tmp_path.rglob(f"{FOLDER}/*.safetensors"))) == 1


def test_kept_samples_are_read_instead_of_drawn(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cli.pca("-k", "dimmed").facts
    drawn: list[str] = []
    monkeypatch.setattr(Dimmed, "draw", lambda *_: drawn.append("again"))
    again = cli.pca("-k", "dimmed").facts
    assert drawn == []
    assert again["explained_variance"] == first["explained_variance"]


def test_traverse_walks_from_the_image_and_resumes_the_run(cli: CommandLine) -> None:
    walk = ("--components", 1, "--steps", 3, "--json")
    started = cli(
        *("traverse", cli.image, "-m", cli.model, "--size", 64, "-n", 6, "-k", "dimmed", *walk)
    )
    folder = Path(started.facts["files"][0]).parent
    assert json.loads((folder / "pca.json").read_text())["neighborhood"] == "dimmed"
    resumed = cli("traverse", "--run", folder, *walk)
    assert resumed.facts["alphas"] == started.facts["alphas"]


def test_directions_finds_labels_and_compares(cli: CommandLine) -> None:
    facts = cli(
        *("directions", cli.image, "-m", cli.model, "--size", 32, "-n", 8, "-k", "dimmed"),
        *("--finder", "loudest", "--set", "first=1", "--set", "depth=0.3"),
        *("--components", 2, "--compare", "pca", "--json"),
    ).facts
    assert facts["finder"] == "loudest"
    assert facts["statement"] == Loudest.statement
    assert facts["strengths"][0] >= facts["strengths"][1] > 0
    assert facts["agreement"].keys() == {"pca"}
    assert facts["labels"][0]["factor"] == "light"
    assert facts["labels"][0]["unit"] == "% of white"
    folder = Path(facts["files"][0]).parent
    walked = cli("traverse", "--run", folder, "--components", 1, "--steps", 3, "--json").facts
    assert len(walked["alphas"]) == 3


def test_results_are_saved_and_loaded(
    linear_vae: LatentVAE, linear_latent: Latent, tmp_path
) -> None:
    hood = latentlab.neighborhood(linear_vae, linear_latent, "dimmed", n_samples=8)
    pca = latentlab.fit_pca(hood)
    latentlab.save(pca, tmp_path / "pca")
    again = latentlab.load(tmp_path / "pca")
    assert again.sampling.name == "dimmed"
    assert torch.equal(again.components, pca.components)
    found = latentlab.find_directions(linear_vae, linear_latent, hood, 2, finder="loudest")
    latentlab.save(found, tmp_path / "found")
    assert latentlab.load(tmp_path / "found").finder == "loudest"


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("pca", ("dimmed", "permuted")),
        ("traverse", ("dimmed", "loudest")),
        ("directions", ("dimmed", "loudest")),
    ],
)
def test_help_lists_them(command: str, names: tuple[str, ...], cli: CommandLine) -> None:
    shown = cli(command, "--help").out
    assert all(name in shown for name in names)


def test_errors_list_them(linear_vae: LatentVAE, linear_latent: Latent) -> None:
    for registry, name in ((SAMPLERS, "dimmed"), (NULLS, "permuted"), (FINDERS, "loudest")):
        with pytest.raises(latentlab.LatentlabError, match=name):
            registry.make("nonsense")
    with pytest.raises(latentlab.LatentlabError, match="but expected one of depth"):
        latentlab.neighborhood(linear_vae, linear_latent, "dimmed", width=3)
