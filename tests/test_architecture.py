"""The rooms of the house: who may import whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import latentlab

PACKAGE = Path(latentlab.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py"))
HEAVY = {"torch", "numpy", "diffusers", "sklearn", "matplotlib", "scipy", "PIL", "huggingface_hub"}

# Room → what it knows nothing of. A prefix stands for everything below it.
KNOWS_NOTHING_OF = {
    "errors": ["latentlab", *HEAVY],
    "latents": ["latentlab.images.reading", "latentlab.loaders", "matplotlib", "diffusers", "PIL"],
    "layouts": [
        "latentlab.loaders",
        "latentlab.images.reading",
        "latentlab.components.pca",
        "diffusers",
    ],
    "arrays": [
        "latentlab.loaders",
        "latentlab.encoding.encoder",
        "latentlab.images.reading",
        "diffusers",
    ],
    "grid": ["torch", "numpy", "latentlab.loaders", "latentlab.images.reading", "diffusers"],
    "images": ["latentlab.loaders", "latentlab.encoding.encoder", "diffusers"],
    "loaders": [
        *("sklearn", "matplotlib", "latentlab.cli", "latentlab.digits", "latentlab.components.pca"),
        "latentlab.figures.canvas",
    ],
    "encoder": [
        "latentlab.neighborhoods",
        "latentlab.components.pca",
        "latentlab.cli",
        "matplotlib",
    ],
    "neighborhoods": [
        "latentlab.components.pca",
        "latentlab.figures.canvas",
        "latentlab.cli",
        "matplotlib",
    ],
    "pca": ["latentlab.loaders", "latentlab.images.reading", "latentlab.encoding.encoder", "PIL"],
    "spectra": [
        "latentlab.loaders",
        "latentlab.encoding.encoder",
        "latentlab.components.pca",
        "latentlab.figures.canvas",
    ],
    "nulls": [
        "latentlab.loaders",
        "latentlab.images.reading",
        "latentlab.encoding.encoder",
        "latentlab.figures.canvas",
    ],
    "row_groups": [
        "latentlab.loaders",
        "latentlab.images.reading",
        "latentlab.figures.canvas",
        "latentlab.chance.nulls",
    ],
    "intervals": [
        "latentlab.loaders",
        "latentlab.images.reading",
        "latentlab.figures.canvas",
        "latentlab.cli",
    ],
    "elbow": [
        "latentlab.loaders",
        "latentlab.images.reading",
        "latentlab.figures.canvas",
        "latentlab.cli",
    ],
    "verdict": [
        "latentlab.loaders",
        "latentlab.images.reading",
        "latentlab.encoding.encoder",
        "latentlab.cli",
    ],
    "metrics": [
        "latentlab.digits",
        "latentlab.cli",
        "latentlab.figures.canvas",
        "matplotlib",
        "latentlab.loaders",
    ],
    "directions": [
        "latentlab.figures.canvas",
        "latentlab.results.folders",
        "latentlab.cli",
        "matplotlib",
        "PIL",
    ],
    "transfers": [
        "latentlab.figures.canvas",
        "latentlab.results.folders",
        "latentlab.cli",
        "matplotlib",
    ],
    "registry": ["latentlab.latents", *HEAVY],
    "colors": ["latentlab.loaders", "latentlab.images.reading", "numpy", "PIL"],
    "pullback": [
        "latentlab.figures.canvas",
        "latentlab.cli",
        "latentlab.machine.files",
        "matplotlib",
        "PIL",
    ],
    "curved": [
        "latentlab.figures.canvas",
        "latentlab.cli",
        "latentlab.machine.files",
        "matplotlib",
        "PIL",
    ],
    "interpolation": [
        "latentlab.figures.animation",
        "latentlab.cli",
        "latentlab.components.pca",
        "matplotlib",
    ],
    "paths": [
        "latentlab.figures.animation",
        "latentlab.cli",
        "latentlab.components.pca",
        "matplotlib",
    ],
    "path_plots": ["latentlab.loaders", "latentlab.encoding.encoder", "latentlab.cli"],
    "path_runs": ["latentlab.cli", "latentlab.encoding.encoder"],
    "tiles": [
        "latentlab.encoding.encoder",
        "latentlab.images.reading",
        "latentlab.cli",
        "diffusers",
        "PIL",
    ],
    "traversal": ["latentlab.figures.animation", "latentlab.cli", "matplotlib"],
    "animation": [
        "latentlab.loaders",
        "latentlab.encoding.encoder",
        "latentlab.components.pca",
        "diffusers",
    ],
    "sheets": [
        "latentlab.loaders",
        "latentlab.encoding.encoder",
        "latentlab.components.pca",
        "diffusers",
    ],
    "transfer_plots": ["latentlab.loaders", "latentlab.encoding.encoder", "latentlab.cli"],
    "direction_runs": ["diffusers", "latentlab.cli", "latentlab.encoding.encoder"],
    "plots": ["latentlab.loaders", "latentlab.encoding.encoder", "latentlab.cli", "diffusers"],
    "digits": [
        *(
            "latentlab.loaders",
            "latentlab.cli",
            "latentlab.encoding.encoder",
            "latentlab.neighborhoods",
        ),
        *("latentlab.components.pca", "latentlab.walks.traversal", "diffusers"),
    ],
    "shipped": ["latentlab.loaders", "latentlab.digits", "latentlab.cli", *HEAVY],
    "pages": [
        "torch",
        "latentlab.digits",
        "latentlab.loaders",
        "latentlab.cli",
        "latentlab.web.serving",
    ],
    "serving": [
        "torch",
        "latentlab.digits",
        "latentlab.loaders",
        "latentlab.cli",
        "latentlab.results.folders",
    ],
    "runs": ["diffusers", "latentlab.cli", "latentlab.encoding.encoder"],
    "fitting": [
        "torch",
        "latentlab.loaders",
        "latentlab.images.reading",
        "latentlab.encoding.encoder",
    ],
    "store": [
        *(
            "latentlab.cli",
            "latentlab.figures.canvas",
            "latentlab.components.pca",
            "latentlab.neighborhoods",
        ),
        *("latentlab.chance.nulls", "latentlab.directions", "matplotlib", "sklearn", "PIL"),
    ],
    "distributed": [
        "latentlab.loaders",
        "latentlab.store",
        "latentlab.components.pca",
        "latentlab.cli",
    ],
}


def imports_of(path: Path, *, at_top_only: bool = False) -> set[str]:
    """Return the dotted names that a file imports at run time."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_top_only else _run_time_nodes(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _run_time_nodes(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes but those under ``if TYPE_CHECKING``."""
    nodes = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        nodes += [child, *_run_time_nodes(child)]
    return nodes


def room_of(path: Path) -> str:
    """Return the module or subpackage of latentlab that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_nothing_that_it_should_not_know(path: Path) -> None:
    forbidden = KNOWS_NOTHING_OF.get(room_of(path), [])
    found = {
        name
        for name in imports_of(path)
        for prefix in forbidden
        if name == prefix or name.startswith(prefix + ".")
    }
    assert not found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_loaders_know_diffusers_and_the_hub(path: Path) -> None:
    foreign = {name.split(".")[0] for name in imports_of(path)} & {"diffusers", "huggingface_hub"}
    assert not foreign or room_of(path) == "loaders"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_but_the_command_line_prints(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    printing = [call for call in calls if getattr(call.func, "id", "") == "print"]
    assert not printing or room_of(path) == "cli"


@pytest.mark.parametrize("room", ["cli", "errors", "latents", "__init__"])
def test_rooms_that_every_command_opens_import_nothing_heavy(room: str) -> None:
    paths = [path for path in SOURCES if room_of(path) == room]
    assert paths
    for path in paths:
        heavy = {name.split(".")[0] for name in imports_of(path, at_top_only=True)} & HEAVY
        assert not heavy, path


def test_modules_are_short() -> None:
    long = {path.name: len(path.read_text().splitlines()) for path in SOURCES}
    assert not {name: lines for name, lines in long.items() if lines > 400}


def test_exported_names_exist_and_are_documented() -> None:
    for name in latentlab.__all__:
        assert getattr(latentlab, name).__doc__, name
    assert set(dir(latentlab)) == set(latentlab.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = latentlab.nonsense


def test_processes_that_decode_pictures_start_without_torch() -> None:
    code = "import sys, latentlab.store.workers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
