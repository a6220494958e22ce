"""The files of a reconstruction in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentlab.encoding.reconstruction import Reconstruction
from latentlab.images.arrays import to_uint8
from latentlab.images.reading import save_png
from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved


def save_comparison(found: Reconstruction, folder: Path, figure_format: str = "png") -> Path:
    """Write image, reconstruction and error map side by side; return the path."""
    from latentlab.figures.canvas import write_figure

    return write_figure(folder, "reconstruction", found.plot(), figure_format)


def save_reconstruction(
    found: Reconstruction,
    folder: Path,
    *,
    run: Mapping[str, Any] | None = None,
    figure_format: str = "png",
) -> Saved:
    """Write the comparison, the decoded image, ``reconstruction.json`` and ``run.json``.

    Parameters
    ----------
    found : Reconstruction
    folder : created where missing; files of the same name are replaced
    run : for ``run.json``, instead of what the latent records about model and image
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``
    """
    pixels = to_uint8(found.decoded).numpy()
    return write_result(
        folder,
        "reconstruction",
        files=[
            save_comparison(found, folder, figure_format),
            save_png(folder / "decoded.png", pixels),
        ],
        arrays={},
        facts=found.summary(),
        run=run or found.latent.record,
    )
