"""The notebooks run from a clean kernel and show their images."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OF_SHARED = "01_is_it_entangled"
"""The notebook that compares with a model beside the checkout; all others run anywhere."""
LARGEST = 2_000_000


def shown_types(notebook: nbformat.NotebookNode) -> set[str]:
    """Return the MIME types that the notebook's cells show."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return {kind for out in outputs for kind in out.get("data", {})}


SMALLER = {
    "size=256": "size=64",
    "size=128": "size=64",
    "n_samples=96": "n_samples=32",
    "steps=9": "steps=3",
    "steps=7": "steps=3",
    "steps=5": "steps=3",
    "epochs=60": "epochs=4",
    "n_steps = 1000": "n_steps = 60",
    "n_images = 240": "n_images = 48",
    "levels=6": "levels=3",
    "range(100)": "range(10)",
}
"""What the test replaces in the cells: at full size they take minutes and show the same."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_with_its_images_and_without_traces_of_its_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert {"image/png", "text/html"} <= shown_types(notebook), "saved without its images"
    assert path.stem == OF_SHARED or path.stat().st_size < LARGEST
    for cell in notebook.cells:
        assert "execution" not in cell.metadata
        streams = [out for out in cell.get("outputs", []) if out.output_type in ("stream", "error")]
        assert not [out for out in streams if out.get("name") != "stdout"], "an error or a warning"
        assert path.stem == OF_SHARED or "../shared" not in cell.source
    assert str(ROOT) not in path.read_text(encoding="utf-8"), "a path of this machine"


def test_the_readme_lists_every_notebook() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in NOTEBOOKS if f"(notebooks/{path.name})" not in readme]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.shared] if path.stem == OF_SHARED else [])
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
)
@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn about themselves
def test_a_notebook_runs_from_a_clean_kernel(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
            for full, small in SMALLER.items():
                cell.source = cell.source.replace(full, small)
    NotebookClient(
        notebook, timeout=300, iopub_timeout=60, resources={"metadata": {"path": path.parent}}
    ).execute()
    assert {"image/png", "text/html"} <= shown_types(notebook)
