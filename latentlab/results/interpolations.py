"""The result folder of an interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.results.folders import check_folder, write_json

if TYPE_CHECKING:
    from latentlab.walks.interpolation import Interpolation


def save_interpolation(
    path: Interpolation,
    linear: Interpolation,
    folder: Path,
    *,
    suffix: str = ".gif",
    fps: float = 12,
    loop: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write animation, ``sheet.png``, ``change.png``, ``interpolation.json``; return their paths.

    Parameters
    ----------
    path : Interpolation, what was asked for
    linear : Interpolation, the straight line in latent space, drawn beside it
    folder : created where missing; files of the same name are replaced
    suffix, fps, loop : of the animation
    facts : added to ``interpolation.json``
    """
    from latentlab.figures.canvas import new_figure, png_bytes
    from latentlab.figures.paths import draw_changes, interpolation_sheet
    from latentlab.images.reading import save_png
    from latentlab.machine.files import replace_when_done

    check_folder(folder)
    files = [path.save(folder / f"interpolation{suffix}", fps=fps, loop=loop)]
    files.append(save_png(folder / "sheet.png", interpolation_sheet(path)))
    figure = new_figure()
    drawn = [path] if path.path == "linear" else [path, linear]
    draw_changes(drawn, ax=figure.add_subplot())
    files.append(folder / "change.png")
    with replace_when_done(files[-1]) as unfinished:
        unfinished.write_bytes(png_bytes(figure))
    files.append(folder / "interpolation.json")
    described = {
        "title": path.title,
        **path.summary(),
        "linear": linear.summary(),
        **(facts or {}),
        "files": [file.name for file in files],
    }
    write_json(files[-1], described)
    return files
