"""The files of a traversal in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentlab.figures.animation import write_animation
from latentlab.images.reading import save_png
from latentlab.machine.files import check_folder
from latentlab.results.folders import Saved, finish_result, listed_files
from latentlab.results.provenance import write_record
from latentlab.walks.traversal import Traversal


def save_traversal(
    walk: Traversal,
    folder: str | Path,
    *,
    suffix: str = ".gif",
    fps: float = 12,
    loop: bool = True,
    run: Mapping[str, Any] | None = None,
) -> Saved:
    """Write animations, sheet, ``traversal.json`` and ``run.json``; return what was written.

    Parameters
    ----------
    walk : Traversal
    folder : created where missing; an earlier traversal in it is replaced
    suffix, fps, loop : of the animations: one of all directions, and one for each, in full size
    run : for ``run.json``, instead of what the traversal knows of model and image
    """
    folder = Path(folder)
    check_folder(folder)
    stale = listed_files(folder, "traversal.json")
    files = [walk.save(folder / f"traversal{suffix}", fps=fps, loop=loop)]
    for index, path in enumerate(walk.paths, 1):
        frames = list(path.frames.numpy())
        file = folder / f"component_{index}{suffix}"
        files.append(write_animation(file, frames, fps=fps, loop=loop, ping_pong=loop))
    files.append(save_png(folder / "sheet.png", walk.sheet()))
    written = write_record(folder, "traverse", run or walk.record)
    return finish_result(files, folder / "traversal.json", walk.summary(), stale=stale, run=written)
