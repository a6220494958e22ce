"""Pictures of a path between two pictures: how it changes, its sheet and its animation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import PALETTE, axes_on_screen, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from latentlab.walks.interpolation import Interpolation

_COLORS = {"linear": "isotropic", "slerp": "log", "arc": "data"}
_COLUMNS = 6
_TILE = 192


def draw_changes(paths: Sequence[Interpolation], *, ax: Axes | None = None) -> Axes:
    """Draw how much the picture changes from frame to frame on each path; return the axes.

    Parameters
    ----------
    paths : Interpolations between the same two pictures
    ax : Axes, optional; a new figure without
    """
    ax = axes_on_screen(ax)
    for path in paths:
        ax.plot(
            np.arange(1, len(path.changes) + 1),
            path.changes,
            "o-",
            ms=3.5,
            lw=1.5,
            color=PALETTE[_COLORS[path.path]],
            label=f"{path.path}: fastest / slowest {path.speed_ratio:.2f}, "
            f"length {path.detour:.2f} × straight",
        )
    even = paths[0].straight / len(paths[0].changes)
    ax.axhline(even, ls=":", lw=1, color=PALETTE["mark"], label="straight cross-fade of pixels")
    top = max(float(path.changes.max()) for path in paths)
    ax.set(
        xlabel="frame",
        ylabel="RMS change per frame, pixel values in [−1, 1]",
        ylim=(0, 1.35 * max(top, even, 1e-9)),
    )
    set_title(ax, paths[0].title.partition("\n")[0])
    ax.grid(alpha=0.25, lw=0.5)
    ax.legend(fontsize=8, loc="upper center", framealpha=0.9)
    return ax


def interpolation_sheet(path: Interpolation) -> NDArray[np.uint8]:
    """Return all frames as a labelled grid (H, W, 3), in the order of reading."""
    from latentlab.figures.sheets import compose_sheet

    frames = list(path.frames.numpy())
    columns = min(_COLUMNS, len(frames))
    rows = math.ceil(len(frames) / columns)
    ends = [min((row + 1) * columns, len(frames)) for row in range(rows)]
    return compose_sheet(
        [frames[row * columns : ends[row]] for row in range(rows)],
        row_labels=[
            f"frames {row * columns}–{ends[row] - 1}\n"
            f"t = {path.positions[row * columns]:.2f}–{path.positions[ends[row] - 1]:.2f}"
            for row in range(rows)
        ],
        title=path.title,
        tile=_TILE,
    )


def animate_interpolation(path: Interpolation, file: Path, *, fps: float, loop: bool) -> Path:
    """Write the frames, full size and without labels, there and back if looped; return the file."""
    from latentlab.figures.animation import write_animation

    return write_animation(file, list(path.frames.numpy()), fps=fps, loop=loop, ping_pong=loop)
