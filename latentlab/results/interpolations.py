"""The result folder of an interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentlab.figures.animation import LONGEST_SIDE
from latentlab.images.reading import save_png
from latentlab.results.arrays import check_facts, check_shapes, open_result, write_result
from latentlab.results.folders import Saved
from latentlab.walks.interpolation import Interpolation

_ARRAYS = ("positions", "latents", "frames", "changes", "drifts")


def save_interpolation(
    found: Interpolation,
    folder: Path,
    *,
    linear: Interpolation | None = None,
    suffix: str = ".gif",
    fps: float = 12,
    loop: bool = True,
    longest: int | None = LONGEST_SIDE,
    run: Mapping[str, Any] | None = None,
    figure_format: str = "png",
) -> Saved:
    """Write animation, sheet, figure, arrays and facts; return what was written.

    Parameters
    ----------
    found : Interpolation
    folder : created where missing; files of the same name are replaced
    linear : Interpolation on the straight line in latent space, drawn beside it; optional
    suffix, fps, loop, longest : of the animation, as for :meth:`Interpolation.save`
    run : for ``run.json``, instead of what the interpolation records about model
        and images
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``; the sheet is made of pixels and stays PNG
    """
    from latentlab.figures.canvas import new_figure, write_figure

    figure = new_figure()
    others = [linear] if linear is not None and found.path != "linear" else []
    found.plot(figure.add_subplot(), others=others)
    return write_result(
        folder,
        "interpolation",
        files=[
            found.save(folder / f"interpolation{suffix}", fps=fps, loop=loop, longest=longest),
            save_png(folder / "sheet.png", found.sheet()),
            write_figure(folder, "change", figure, figure_format),
        ],
        arrays={name: getattr(found, name) for name in _ARRAYS},
        facts={
            "title": found.title,
            **found.summary(),
            "linear": (linear or found).summary(),
        },
        run=run or found.record,
    )


def load_interpolation(folder: str | Path) -> Interpolation:
    """Return the interpolation that :func:`save_interpolation` wrote.

    Raises
    ------
    FileError : a file is missing, damaged or inconsistent with the other.
    """
    with open_result(folder, "interpolation") as (facts, arrays, record):
        steps = int(facts["steps"])
        expected = {name: (steps, *arrays[name].shape[1:]) for name in _ARRAYS}
        check_shapes(arrays, {**expected, "changes": (steps - 1,)})
        found = Interpolation(
            path=str(facts["path"]),
            **{name: arrays[name] for name in _ARRAYS},
            straight=float(facts["straight"]),
            title=str(facts["title"]),
            decodes=int(facts["decodes"]),
            record=record,
        )
        check_facts(facts, found.summary())
        return found
