"""What the README shows runs: its Python, its commands, its files; every command is in it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from latentlab.chance.nulls import NULLS
from latentlab.cli.main import app, run
from latentlab.directions import FINDERS
from latentlab.images.examples import SAMPLES, sample_path
from latentlab.loaders import FAMILIES
from latentlab.loaders.families import Checkpoint, build_vae
from latentlab.measures import MEASURES
from latentlab.neighborhoods import SAMPLERS, base
from latentlab.pullback import FEATURES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a new folder and sample little."""
    monkeypatch.setattr(base, "DEFAULT_SAMPLES", 8)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in SAMPLES:
        shutil.copy(sample_path(f"sample:{name}"), tmp_path / "photos")
    return tmp_path


def test_the_python_of_the_readme_runs(small_world: Path) -> None:
    (code,) = blocks("python")
    smaller = code.replace("n_samples=256", "n_samples=8").replace("steps=16", "steps=3")
    assert smaller != code
    exec(compile(smaller, "README.md", "exec"), {})
    assert (small_world / "traversal.gif").stat().st_size > 10_000


# What makes each command small: the words that are replaced, and those that are added.
SMALLER = {
    "pca": (),
    "traverse": ("--steps", "3"),
    "directions": ("--samples", "12"),
    "transfer": ("--samples", "8", "--components", "2"),
    "interpolate": ("--steps", "3"),
    "encode": (),
    "compare": ("--samples", "2", "--size", "32"),
    "doctor": ("--out", "health"),
    "report": ("--size", "64", "--samples", "8", "--components", "1"),
    "store info": (),
    "store verify": (),
    "store export": (),
    "digits train": ("--epochs", "1"),
    "digits factors": ("--pictures", "100"),
    "digits demo": ("--export", "site"),
}


def smaller(arguments: list[str]) -> list[str]:
    """Return a command of the README that does the same with less."""
    name = " ".join(arguments[: 2 if arguments[0] in ("digits", "store") else 1])
    fewer = {"256": "128" if "--tile" in arguments else "64", "512": "256", "mnist": "digits"}
    # A download, and a photo that only readers have.
    fewer = {**fewer, "flux1": "mini", "photo.jpg": "sample:china"}
    kept = [fewer.get(word, word) for word in arguments]
    for option in SMALLER[name][::2]:
        if option in kept:
            del kept[kept.index(option) : kept.index(option) + 2]
    return [*kept, *SMALLER[name]]


@pytest.mark.slow
def test_the_commands_of_the_readme_run(small_world: Path) -> None:
    commands = [line[2:] for block in blocks("console") for line in block.splitlines()]
    ours = [shlex.split(line)[1:] for line in commands if line.startswith("latentlab ")]
    assert {arguments[0] for arguments in ours} >= {"pca", "traverse", "directions", "digits"}
    for arguments in ours:
        assert run(smaller(arguments)) == 0, arguments
    # The table of a run's files names one that none of these commands writes.
    assert run(["pca", "sample:flower", "--size", "64", "-k", "tokens", "--out", "cells"]) == 0
    assert run(["palette", "--model", "linear", "--out", "colors"]) == 0
    files = {path.name for path in small_world.rglob("*") if path.is_file()}
    named = re.findall(r"`([a-z_]+\.(?:png|json|safetensors|gif))`", README)
    assert set(named) <= files


def test_every_command_and_neighborhood_is_in_the_readme() -> None:
    text = " ".join(README.split())
    for command in app.registered_commands:
        assert f"latentlab {command.name}" in text or f"`{command.name}`" in text
    assert {group.name for group in app.registered_groups} == {"digits", "store"}
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands:
            name = command.name or command.callback.__name__
            assert f"latentlab {group.name} {name}" in text
    for name in (*SAMPLERS, *FINDERS, *NULLS):
        assert f"`{name}`" in README


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what a test registers."""
    for registry in (SAMPLERS, FINDERS, NULLS, FEATURES, FAMILIES, MEASURES):
        list(registry.values())  # what comes with latentlab registers once, when it is imported
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def test_the_examples_of_contributing_work_in_commands(small_world: Path, registries: None) -> None:
    names: dict[str, Any] = {}
    for code in blocks("python", CONTRIBUTING):
        exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    image = ["sample:flower", "--model", "linear", "--size", "32", "--quiet"]
    assert run(["pca", *image, "-k", "gain", "--nulls", "cyclic", "--out", "gains"]) == 0
    facts = json.loads(Path("gains/pca.json").read_text())
    assert facts["explained_variance_ratio"][0] > 0.999
    assert facts["components_above_null_of"] == "cyclic"
    walk = ["--components", "2", "--samples", "8"]
    assert run(["directions", *image, "--finder", "axes", *walk, "--out", "axes"]) == 0
    assert json.loads(Path("axes/directions.json").read_text())["directions"][0] == "axis 1"
    measured = ["photos", "-m", "linear", "--size", "32", "--only", "mean_error", "--quiet"]
    assert run(["metrics", *measured, "--out", "measured"]) == 0
    value = json.loads(Path("measured/metrics.json").read_text())["metrics"]["mean_error"]
    assert 0 < value["value"] < 0.5
    gray = ["--finder", "jacobian", "--features", "gray", "--out", "gray"]
    assert run(["directions", *image, *gray, *walk]) == 0


def test_the_model_family_of_contributing_decodes_what_it_encodes(registries: None) -> None:
    names: dict[str, Any] = {}
    code = next(code for code in blocks("python", CONTRIBUTING) if "FAMILIES" in code)
    exec(compile(f"import torch\n{code}", "CONTRIBUTING.md", "exec"), names)
    empty = Checkpoint("Shuffle", {}, {}, "nowhere", {}, "shuffle", "nowhere")
    vae = build_vae(empty, torch.device("cpu"), torch.float32)
    images = torch.rand(1, 3, 4, 6) * 2 - 1
    latents = vae.encode(images).mean
    assert latents.shape == (1, 12, 2, 3)
    torch.testing.assert_close(vae.decode(latents), images)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/glossary.md"])
def test_every_link_is_there(name: str) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (ROOT / name).parent.joinpath(target).is_file()]


def test_the_readme_links_to_images_and_documents() -> None:
    assert len(re.findall(r"\]\((?!https?:)", README)) >= 8


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)", README + CONTRIBUTING):
        assert f"\n{target}:" in makefile
