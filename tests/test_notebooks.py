"""The notebooks run from a clean kernel and show their images."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def shown_types(notebook: nbformat.NotebookNode) -> set[str]:
    """Return the MIME types that the notebook's cells show."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return {kind for out in outputs for kind in out.get("data", {})}


SMALLER = {
    "size=256": "size=64",
    "size=128": "size=64",
    "n_samples=96": "n_samples=32",
    "steps=9": "steps=3",
}
"""What the test replaces in the cells: at full size they take minutes and show the same."""


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn about themselves
def test_a_notebook_runs_from_a_clean_kernel(path: Path, shared: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert {"image/png", "text/html"} <= shown_types(notebook), "saved without its images"
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
            for full, small in SMALLER.items():
                cell.source = cell.source.replace(full, small)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    assert {"image/png", "text/html"} <= shown_types(notebook)
