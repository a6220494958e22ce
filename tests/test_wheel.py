"""An installed wheel, built from the sdist, works without npm, a network and a writable home."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from latentlab.web.pages import RUNTIME, RUNTIME_FOLDER, RUNTIME_GPU

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("latentlab", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md")
SOURCES += ("CITATION.cff", "CONTRIBUTING.md", "constraints.txt", "constraints-lowest.txt")
RUNTIME_LICENSE = "latentlab/web/onnxruntime-web.LICENSE.txt"
LARGEST = 18.5e6
"""Bytes of the wheel and of the sdist; README states them."""


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an sdist built from a copy of the sources, so that nothing is left among them."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("sdist")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    command = [sys.executable, "-c", build, str(out)]
    subprocess.run(command, cwd=copy, check=True, timeout=300, stdout=subprocess.DEVNULL)
    (built,) = out.glob("latentlab-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that pip builds from the sdist."""
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(out), str(sdist)], check=True, timeout=300)
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


def alone(*command: str, loopback: bool = False) -> list[str]:
    """Return a command that has no network, if this user may take it away."""
    unshare, ip, shell = (shutil.which(name) for name in ("unshare", "ip", "sh"))
    if os.geteuid() or not unshare or (loopback and not (ip and shell)):
        return [*command]
    up = [shell, "-c", f'{ip} link set lo up && exec "$@"', "sh"] if loopback else []
    return [unshare, "--net", *up, *command]


def variables_in(folder: Path, **variables: str) -> dict[str, str]:
    """Return an environment in which no program is found by its name, npm included."""
    nothing = folder / "no programs"
    nothing.mkdir(exist_ok=True)
    kept = {"LANG": os.environ["LANG"]} if "LANG" in os.environ else {}
    fixed = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    return {**kept, "PATH": str(nothing), **fixed, **variables}


def call(program: Path, folder: Path, *arguments: str, **variables: str) -> dict:
    """Return the JSON of a command that runs in a folder without a network."""
    done = subprocess.run(
        alone(str(program), *arguments, "--json"),
        cwd=folder,
        env=variables_in(folder, **variables),
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


def test_wheel_and_sdist_hold_the_web_runtime_and_its_license(wheel: Path, sdist: Path) -> None:
    if not RUNTIME_FOLDER.is_dir():
        pytest.skip("without npm there is no onnxruntime-web")
    sums = RUNTIME | RUNTIME_GPU
    runtime = {f"latentlab/web/vendor/{name}" for name in sums}
    packed = zipfile.ZipFile(wheel)
    assert {*runtime, RUNTIME_LICENSE} <= set(packed.namelist())
    for name, digest in sums.items():
        content = packed.read(f"latentlab/web/vendor/{name}")
        assert hashlib.sha256(content).hexdigest() == digest
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*runtime, RUNTIME_LICENSE, "CITATION.cff", "CHANGELOG.md", "LICENSE"} <= names
    assert max(wheel.stat().st_size, sdist.stat().st_size) < LARGEST
    licenses = {Path(name).name for name in packed.namelist() if "/licenses/" in name}
    assert licenses == {"LICENSE", "onnxruntime-web.LICENSE.txt"}


_VISITOR = """
import json, signal, subprocess, sys, urllib.request
program, *names = sys.argv[1:]
command = [program, "digits", "demo", "--no-browser", "--port", "0", "--json"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
    address = json.loads(server.stdout.readline())["url"]
    sizes = [len(urllib.request.urlopen(address + name, timeout=60).read()) for name in names]
    server.send_signal(signal.SIGINT)
print(json.dumps({"sizes": sizes, "code": server.returncode}))
"""


def test_the_digits_are_served_with_all_that_their_page_needs(
    program: Path, tmp_path: Path
) -> None:
    if not RUNTIME_FOLDER.is_dir():
        pytest.skip("without npm there is no onnxruntime-web")
    names = ["index.html", "model/decoder.onnx", *(f"vendor/{name}" for name in RUNTIME)]
    python = str(program.parent / "python")
    done = subprocess.run(
        alone(python, "-c", _VISITOR, str(program), *names, loopback=True),
        cwd=tmp_path,
        env=variables_in(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sizes"][2:] == [(RUNTIME_FOLDER / name).stat().st_size for name in RUNTIME]
    assert found["code"] in (0, 130)


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
