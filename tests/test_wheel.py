"""An installed wheel works without a network and without a writable home."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("latentlab", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel built from a copy of the sources, so that nothing is left among them."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(out), str(copy)], check=True, timeout=300)
    (built,) = out.glob("latentlab-*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return ``latentlab`` of a new environment that sees our dependencies, but not our sources."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=120)
    packages = home / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    # A folder named in a .pth file is searched, but its own .pth files (our sources) are not read.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install"]
    options = ["--quiet", "--no-deps", "--no-index", "--force-reinstall"]
    subprocess.run([*pip, *options, str(wheel)], check=True, timeout=120)
    return home / "bin" / "latentlab"


def call(program: Path, folder: Path, *arguments: str, **variables: str) -> dict:
    """Return the JSON of a command that runs in a folder without a network."""
    alone = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    done = subprocess.run(
        [*alone, str(program), *arguments, "--json"],
        cwd=folder,
        env={
            **kept,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "HOME": str(folder),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    facts = json.loads(done.stdout)
    assert isinstance(facts, dict)
    return facts | {"stderr": done.stderr}


def test_the_wheel_holds_the_models_and_nothing_of_the_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    models = {f"latentlab/models/{path}" for path in ("SHA256SUMS", "mini/MODEL_CARD.md")}
    models.add("latentlab/loaders/catalogue.toml")
    for name in ("mini", "linear", "linear32"):
        folder = f"latentlab/models/{name}"
        models |= {f"{folder}/config.json", f"{folder}/diffusion_pytorch_model.safetensors"}
    assert models | {"latentlab/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "scripts/"))]


def test_pca_and_traverse_run_from_an_empty_folder_with_no_network(
    program: Path, tmp_path: Path
) -> None:
    sources = call(program, tmp_path, "models")  # and where the package was imported from
    assert {model["name"] for model in sources["built_in"]} == {"mini", "linear", "linear32"}
    found = call(program, tmp_path, "pca", "sample:flower", "--size", "64", "--samples", "8")
    assert found["model"] == "mini"
    assert "loading mini, the default; for another, see `latentlab models`" in found["stderr"]
    walk = call(program, tmp_path, "traverse", "--components", "2", "--steps", "3")
    assert all((tmp_path / file).stat().st_size > 0 for file in found["files"] + walk["files"])


def test_the_explorer_is_exported_from_the_wheel(
    wheel: Path, program: Path, tmp_path: Path
) -> None:
    sources = {path.name for path in (ROOT / "latentlab/web/explorer").iterdir()}
    packed = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "/explorer/" in name}
    assert sources <= packed
    options = ("-m", "linear", "--size", "32", "-k", "tokens", "--frames")
    found = call(program, tmp_path, "explore", "sample:flower", "--export", "page", *options)
    assert found["engine"] == "frames"
    assert {path.name for path in (tmp_path / "page").iterdir()} >= {"index.html", "main.js"}
    if not (ROOT / "latentlab/web/vendor").is_dir():
        return  # without npm there is no onnxruntime-web
    found = call(program, tmp_path, "explore", "sample:flower", "--export", "live", *options[:-1])
    assert found["engine"] == "decoder"
    assert (tmp_path / "live/model/0.onnx").stat().st_size > 10_000


def test_the_program_of_the_wheel_is_not_that_of_the_sources(program: Path) -> None:
    where = "import latentlab, sys; sys.stdout.write(latentlab.__file__)"
    python = program.parent / "python"
    found = subprocess.run(
        [python, "-I", "-c", where], cwd="/", capture_output=True, text=True, check=True, timeout=60
    )
    assert Path(found.stdout).is_relative_to(program.parents[1])


def test_a_home_that_cannot_be_written_costs_nothing(program: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "home"
    nowhere.write_text("a file, so that not even root can make a folder in it")
    arguments = ("pca", "sample:china", "--size", "64", "--samples", "4")
    found = call(program, tmp_path, *arguments, HOME=str(nowhere), XDG_CACHE_HOME="")
    assert found["n_samples"] == 4
    assert found["stderr"].startswith("loading mini")
    assert len(found["stderr"].splitlines()) == 2, "the model, and the scale of the latent"
