"""The files of a traversal in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentlab.figures.animation import LONGEST_SIDE, Frame, shrink_frames, write_animation
from latentlab.images.reading import save_png
from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved
from latentlab.walks.traversal import Traversal


def save_traversal(
    walk: Traversal,
    folder: Path,
    *,
    suffix: str = ".gif",
    fps: float = 12,
    loop: bool = True,
    longest: int | None = LONGEST_SIDE,
    run: Mapping[str, Any] | None = None,
) -> Saved:
    """Write animations, sheet, ``traversal.json`` and ``run.json``; return what was written.

    Parameters
    ----------
    walk : Traversal
    folder : created where missing; an earlier traversal in it is replaced
    suffix, fps, loop : of the animations: one of all directions, and one for each
    longest : longest side in pixels of the frames for each direction; None keeps their size
    run : for ``run.json``, instead of what the traversal records about model and image
    """
    files = [walk.save(folder / f"traversal{suffix}", fps=fps, loop=loop)]
    frames: list[Frame] = []
    for index, path in enumerate(walk.paths, 1):
        frames = shrink_frames(list(path.frames.numpy()), longest)
        file = folder / f"component_{index}{suffix}"
        files.append(write_animation(file, frames, fps=fps, loop=loop, ping_pong=loop))
    files.append(save_png(folder / "sheet.png", walk.sheet()))
    return write_result(
        folder,
        "traversal",
        files=files,
        arrays={},
        facts={**walk.summary(), "frame_size": list(frames[0].shape[1::-1])},
        run=run or walk.record,
    )
