"""The result folder of an interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentlab.images.reading import save_png
from latentlab.machine.files import check_folder, write_bytes
from latentlab.results.arrays import FORMAT, check_shapes, damage_named, read_result, save_arrays
from latentlab.results.folders import Saved, finish_result
from latentlab.results.provenance import record_of_folder, write_record
from latentlab.walks.interpolation import Interpolation

_ARRAYS = ("positions", "latents", "frames", "changes", "drifts")


def save_interpolation(
    found: Interpolation,
    folder: str | Path,
    *,
    linear: Interpolation | None = None,
    suffix: str = ".gif",
    fps: float = 12,
    loop: bool = True,
    facts: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Saved:
    """Write animation, sheet, figure, arrays and facts; return what was written.

    Parameters
    ----------
    found : Interpolation
    folder : created where missing; files of the same name are replaced
    linear : Interpolation on the straight line in latent space, drawn beside it; optional
    suffix, fps, loop : of the animation
    facts : added to ``interpolation.json``
    run : for ``run.json``, instead of what the interpolation knows of model and images
    """
    from latentlab.figures.canvas import new_figure, png_bytes

    folder = Path(folder)
    check_folder(folder)
    figure = new_figure()
    others = [linear] if linear is not None and found.path != "linear" else []
    found.plot(figure.add_subplot(), others=others)
    arrays = {name: getattr(found, name) for name in _ARRAYS}
    files = [
        found.save(folder / f"interpolation{suffix}", fps=fps, loop=loop),
        save_png(folder / "sheet.png", found.sheet()),
        write_bytes(folder / "change.png", png_bytes(figure)),
        save_arrays(folder / "interpolation.safetensors", arrays),
    ]
    described = {
        "format": FORMAT,
        "title": found.title,
        **found.summary(),
        "linear": (linear or found).summary(),
        **(facts or {}),
    }
    written = write_record(folder, "interpolate", run or found.record)
    return finish_result(files, folder / "interpolation.json", described, stale=set(), run=written)


def load_interpolation(folder: str | Path) -> Interpolation:
    """Return the interpolation that :func:`save_interpolation` wrote.

    Raises
    ------
    FileError : a file is missing, damaged or does not fit the other.
    """
    folder = Path(folder)
    facts, arrays = read_result(folder, "interpolation", "interpolate")
    with damage_named(folder, "interpolation", "interpolate"):
        steps = int(facts["steps"])
        expected = {name: (steps, *arrays[name].shape[1:]) for name in _ARRAYS}
        check_shapes(arrays, {**expected, "changes": (steps - 1,)})
        return Interpolation(
            path=str(facts["path"]),
            **{name: arrays[name] for name in _ARRAYS},
            straight=float(facts["straight"]),
            title=str(facts["title"]),
            decodes=int(facts["decodes"]),
            record=record_of_folder(folder, "interpolate"),
        )
