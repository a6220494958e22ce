"""The files of a traversal in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.figures.animation import LONGEST_SIDE, encode_animation, shrink_frames
from latentlab.images.reading import encode_png
from latentlab.machine.files import write_bytes
from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved
from latentlab.walks.traversal import Traversal

if TYPE_CHECKING:
    from concurrent.futures import Future

    from latentlab.figures.animation import Frame, Write


@dataclass(frozen=True, eq=False)
class DrawnTraversal:
    """What a traversal looks like, drawn and encoded, but in no file yet.

    Parameters
    ----------
    files : name → what writes it: animations of all directions and of each, and the sheet
    frame_size : width and height of the frames for each direction
    """

    files: Mapping[str, Write]
    frame_size: tuple[int, int]


def draw_traversal(
    walk: Traversal,
    *,
    suffix: str = ".gif",
    fps: float = 12,
    loop: bool = True,
    longest: int | None = LONGEST_SIDE,
) -> DrawnTraversal:
    """Return the animations and the sheet of a walk; options as for :func:`save_traversal`."""
    drawn = {f"traversal{suffix}": walk.encode(suffix, fps=fps, loop=loop)}
    frames: list[Frame] = []
    for index, path in enumerate(walk.paths, 1):
        frames = shrink_frames(list(path.frames.numpy()), longest)
        how: dict[str, Any] = {"fps": fps, "loop": loop, "ping_pong": loop}
        drawn[f"component_{index}{suffix}"] = encode_animation(suffix, frames, **how)
    height, width = frames[0].shape[:2]
    drawn["sheet.png"] = partial(write_bytes, content=encode_png(walk.sheet()))
    return DrawnTraversal(drawn, (width, height))


def save_traversal(
    walk: Traversal,
    folder: Path,
    *,
    suffix: str = ".gif",
    fps: float = 12,
    loop: bool = True,
    longest: int | None = LONGEST_SIDE,
    run: Mapping[str, Any] | None = None,
    drawn: Future[DrawnTraversal] | None = None,
) -> Saved:
    """Write animations, sheet, ``traversal.json`` and ``run.json``; return what was written.

    Parameters
    ----------
    walk : Traversal
    folder : created where missing; an earlier traversal in it is replaced
    suffix, fps, loop : of the animations: one of all directions, and one for each
    longest : longest side in pixels of the frames for each direction; None keeps their size
    run : for ``run.json``, instead of what the traversal records about model and image
    drawn : what :func:`draw_traversal` will return, if that has begun: with its own suffix, fps,
        loop and longest, so that those given here are not used
    """
    how: dict[str, Any] = {"suffix": suffix, "fps": fps, "loop": loop, "longest": longest}
    shown = draw_traversal(walk, **how) if drawn is None else drawn.result()
    files = [write(folder / name) for name, write in shown.files.items()]
    return write_result(
        folder,
        "traversal",
        files=files,
        arrays={},
        facts={**walk.summary(), "frame_size": list(shown.frame_size)},
        run=run or walk.record,
    )
