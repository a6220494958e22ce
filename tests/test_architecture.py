"""The rooms of the house: who may import whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import latentlab

PACKAGE = Path(latentlab.__file__).parent
HEAVY = {"torch", "numpy", "diffusers", "sklearn", "matplotlib", "scipy", "PIL", "huggingface_hub"}

# The way of the data: a room knows what stands before it, never what stands after it.
FLOW = (
    *("errors", "arguments", "plugins", "registry"),
    *("machine", "linalg", "images", "metrics", "figures"),
    *("layouts", "latents", "models", "loaders", "encoding", "examinations"),
    *("neighborhoods", "pullback", "store"),
    *("chance", "components", "directions", "walks", "measures", "testing", "results", "recipes"),
    *("sklearn", "web", "explorer", "digits", "cli"),
)
AT_THE_TOP = {"__init__", "__main__"}

# Room → libraries that it must do without, wherever in the file they are imported.
WITHOUT = {
    "errors": HEAVY,
    "arguments": HEAVY,
    "plugins": HEAVY,
    "registry": HEAVY,
    "machine": {"diffusers", "matplotlib", "PIL", "sklearn", "huggingface_hub"},
    "linalg": {"diffusers", "matplotlib", "PIL", "huggingface_hub"},
    "images": {"diffusers", "matplotlib", "huggingface_hub"},
    "metrics": {"diffusers", "matplotlib", "PIL", "huggingface_hub"},
    "figures": {"diffusers", "sklearn", "huggingface_hub"},
    "layouts": HEAVY - {"torch"},
    "latents": HEAVY - {"torch", "matplotlib"},
    "models": HEAVY,
    "loaders": {"matplotlib", "sklearn", "PIL"},
    "encoding": {"diffusers", "sklearn", "PIL", "huggingface_hub"},
    "testing": {"diffusers", "matplotlib", "sklearn", "PIL", "huggingface_hub"},
    "examinations": {"diffusers", "sklearn", "PIL", "huggingface_hub"},
    "neighborhoods": {"diffusers", "matplotlib", "sklearn", "PIL", "huggingface_hub"},
    "pullback": {"diffusers", "matplotlib", "sklearn", "PIL", "huggingface_hub"},
    "store": {"diffusers", "matplotlib", "sklearn", "PIL", "huggingface_hub"},
    "chance": {"diffusers", "matplotlib", "sklearn", "PIL", "huggingface_hub"},
    "components": {"diffusers", "sklearn", "PIL", "huggingface_hub"},
    "directions": {"diffusers", "PIL", "huggingface_hub"},
    "walks": {"diffusers", "sklearn", "PIL", "huggingface_hub"},
    "measures": {"diffusers", "PIL", "huggingface_hub"},
    "results": {"diffusers", "sklearn", "PIL", "huggingface_hub"},
    "recipes": {"diffusers", "sklearn", "PIL", "huggingface_hub"},
    "sklearn": {"diffusers", "matplotlib", "PIL", "huggingface_hub"},
    "web": HEAVY,
    "explorer": {"diffusers", "matplotlib", "sklearn", "huggingface_hub"},
    "digits": {"diffusers", "huggingface_hub"},
    "cli": {"diffusers", "huggingface_hub", "sklearn"},
}


def sources(root: Path = PACKAGE) -> dict[str, str]:
    """Return module, dotted and below the package, → source; a package is its ``__init__``."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        modules[name] = path.read_text()
    return modules


def names_imported(source: str) -> Iterator[str]:
    """Yield the dotted names that a file imports: in functions and for type checking too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return module → modules of the package that it imports; the lazy top is left out."""
    edges: dict[str, set[str]] = {name: set() for name in modules}
    for name, source in modules.items():
        if name in AT_THE_TOP:
            continue
        for found in names_imported(source):
            target = found.removeprefix("latentlab.") if found.startswith("latentlab.") else ""
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target and target not in AT_THE_TOP | {name}:
                edges[name].add(target)
    return edges


def circle_in(edges: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import one another in a circle, or nothing."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(edges[name]):
            if circle := visit(target, [*path, name]):
                return circle
        done.add(name)
        return []

    for name in sorted(edges):
        if circle := visit(name, []):
            return circle
    return []


def against_the_flow(edges: Mapping[str, set[str]]) -> list[str]:
    """Return the imports of a room that comes later in the flow, as ``"importer → imported"``."""
    place = {room: index for index, room in enumerate(FLOW)}
    return [
        f"{name} → {target}"
        for name, targets in edges.items()
        for target in sorted(targets)
        if name not in AT_THE_TOP and place[room_of(target)] > place[room_of(name)]
    ]


def room_of(module: str) -> str:
    """Return the module or subpackage of latentlab that a module belongs to."""
    return module.partition(".")[0]


def test_every_room_stands_in_the_flow_and_has_a_row() -> None:
    rooms = {room_of(name) for name in sources()} - AT_THE_TOP
    assert rooms == set(FLOW) == set(WITHOUT)
    flat = {path.stem for path in PACKAGE.glob("*.py")} - AT_THE_TOP
    assert flat == {"arguments", "errors", "latents", "layouts", "plugins", "registry"}


def test_no_circles_and_nothing_against_the_flow() -> None:
    edges = arrows(sources())
    assert circle_in(edges) == []
    assert against_the_flow(edges) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from latentlab.components.pca import PCA",
        "def late() -> None:\n    import latentlab.components.pca",
        "if TYPE_CHECKING:\n    from latentlab.components import pca",
    ],
)
def test_a_planted_circle_is_found(planted: str) -> None:
    modules = sources()
    modules["linalg.sums"] += f"\n{planted}\n"
    edges = arrows(modules)
    circle = circle_in(edges)
    assert circle[0] == circle[-1]
    assert {"linalg.sums", "components.pca"} <= set(circle) or "linalg.sums" in circle
    assert "linalg.sums → components.pca" in against_the_flow(edges)


def test_rooms_do_without_the_libraries_that_are_not_theirs() -> None:
    for name, source in sources().items():
        if name in AT_THE_TOP:
            continue
        libraries = {found.partition(".")[0] for found in names_imported(source)}
        assert not libraries & WITHOUT[room_of(name)], name


def test_nothing_but_the_command_line_prints() -> None:
    for name, source in sources().items():
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        printing = [call for call in calls if getattr(call.func, "id", "") == "print"]
        assert not printing or room_of(name) == "cli", name


def test_what_every_command_opens_imports_nothing_heavy() -> None:
    code = "import sys, latentlab.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (HEAVY | {"starlette", "uvicorn", "websockets"})


def test_modules_are_short() -> None:
    long = {name: len(source.splitlines()) for name, source in sources().items()}
    assert not {name: lines for name, lines in long.items() if lines > 400}


def test_exported_names_exist_and_are_documented() -> None:
    assert len(latentlab.__all__) <= 24
    for name in latentlab.__all__:
        assert getattr(latentlab, name).__doc__, name
    assert set(dir(latentlab)) == set(latentlab.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = latentlab.nonsense


@pytest.mark.parametrize("name", sorted(set(latentlab.__all__) - {"LatentlabError"}))
def test_public_functions_say_shapes_units_errors_and_show_an_example(name: str) -> None:
    entry = getattr(latentlab, name)
    if isinstance(entry, type):
        assert "(" in entry.__doc__
        return
    assert "Parameters\n" in entry.__doc__
    assert "Raises\n" in entry.__doc__
    assert "Examples\n" in entry.__doc__
    assert ">>>" in entry.__doc__


def test_processes_that_decode_images_start_without_torch() -> None:
    code = "import sys, latentlab.store.workers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
