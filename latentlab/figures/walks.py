"""Traversals as sheets and animations: a row for each direction, a column for each step."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latentlab.figures.animation import Write, encode_animation
from latentlab.figures.sheets import compose_sheet, lay_out_sheet, thin
from latentlab.figures.tables import html_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_TILE = 192


@dataclass(frozen=True, eq=False)
class WalkFrames:
    """What is drawn of a traversal.

    Parameters
    ----------
    frames : for each direction an array (steps, H, W, 3), uint8
    captions : what to write beside each direction, in lines
    alphas : step along the direction of each frame
    unit : str, of the alphas
    title : str
    """

    frames: Sequence[NDArray[np.uint8]]
    captions: Sequence[str]
    alphas: Sequence[float]
    unit: str = "σ"
    title: str = ""

    @property
    def steps(self) -> list[str]:
        """Return each step as columns are labeled, such as ``"+1.5 σ"``."""
        return [sigma_label(alpha, self.unit) for alpha in self.alphas]


def walk_sheet(walk: WalkFrames) -> NDArray[np.uint8]:
    """Return a labeled grid (H, W, 3) of frames: directions by steps, at most 16 of them.

    Of more steps both ends, the one at zero and evenly spaced ones are shown, and the title says
    how many.
    """
    shown = thin(len(walk.alphas))
    title = walk.title
    if len(shown) < len(walk.alphas):
        title = f"{title}\n{len(shown)} of {len(walk.alphas)} steps".strip()
    return compose_sheet(
        [[frames[step] for step in shown] for frames in walk.frames],
        row_labels=walk.captions,
        column_labels=[walk.steps[step] for step in shown],
        title=title,
        tile=_TILE,
    )


def animate_walk(walk: WalkFrames, path: Path, *, fps: float, loop: bool) -> Path:
    """Write one animation with a labeled row for each direction; return its path."""
    return encode_walk(walk, path.suffix, fps=fps, loop=loop)(path)


def encode_walk(walk: WalkFrames, suffix: str, *, fps: float, loop: bool) -> Write:
    """Return what writes one animation with a labeled row for each direction to a path.

    A row shows the first frame, the moving one and the last.
    """
    sheet = lay_out_sheet(
        walk.frames[0].shape[1:],
        row_labels=walk.captions,
        columns=3,
        column_labels=[walk.steps[0], "moving", walk.steps[-1]],
        title=walk.title,
        tile=_TILE,
    )
    rows = [[sheet.scale(frame) for frame in row] for row in walk.frames]
    frames = [
        sheet.draw([(row[0], row[step], row[-1]) for row in rows])
        for step in range(len(walk.alphas))
    ]
    return encode_animation(suffix, frames, fps=fps, loop=loop, ping_pong=loop)


def walk_html(walk: WalkFrames) -> str:
    """Return the animation inline, for a notebook."""
    with tempfile.TemporaryDirectory() as folder:
        content = animate_walk(walk, Path(folder) / "walk.webp", fps=12, loop=True).read_bytes()
    alternative = f"{walk.title}: {len(walk.frames)} components, {len(walk.alphas)} steps"
    return html_image(content, alternative, "webp")


def sigma_label(alpha: float, unit: str = "σ") -> str:
    """Return a step as columns are labeled, such as ``"+1.5 σ"``."""
    if not round(alpha, 2):
        return f"0 {unit}"
    digits = f"{alpha:+.2f}".rstrip("0").rstrip(".")
    return f"{digits} {unit}".replace("-", "\N{MINUS SIGN}")
