"""What the gallery keeps of each block of code: figures, and pictures that the code wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

KINDS = (".gif", ".webp", ".png")


def _get_sg_image_scraper() -> Any:
    """Return the scraper; sphinx-gallery finds it by this name."""
    return figures_of_block


def figures_of_block(block: Any, variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Return reStructuredText that shows the figures of one block.

    Figures that matplotlib shows come first, then a figure that the last line returns. Then come the
    files whose paths the block keeps in ``written``: a path, or a list of paths.
    """
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    known = variables["example_globals"]

    paths = variables["image_path_iterator"]
    kept = []
    for number in plt.get_fignums():
        path = Path(next(paths))
        plt.figure(number).savefig(path, dpi=110)
        kept.append(path)
    plt.close("all")
    # What the last line returned stays in this variable until another block returns something.
    last = known.get("___")
    if isinstance(last, Figure) and not kept and known.get("_drawn") is not last:
        known["_drawn"] = last
        path = Path(next(paths))
        last.savefig(path, dpi=110)
        kept.append(path)
    for written in _files(known.pop("written", [])):
        path = Path(next(paths)).with_suffix(written.suffix)
        shutil.copy(written, path)
        kept.append(path)
    return figure_rst([str(path) for path in kept], conf["src_dir"])


def _files(written: Any) -> list[Path]:
    paths = [written] if isinstance(written, str | Path) else [*written]
    return [Path(path) for path in paths if Path(path).suffix in KINDS]
