"""Films: a training, epoch by epoch, and a path through the latent space, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.figures import ink
from latentlab.digits.folders import DigitsRun
from latentlab.digits.interpolation import LatentPath
from latentlab.digits.measure import Codes
from latentlab.figures.animation import Frame, write_animation
from latentlab.figures.canvas import LABEL_COLORS, PALETTE, new_figure
from latentlab.images.reading import save_png
from latentlab.results.folders import write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latentlab.digits.training import Trainer

_MOST_FRAMES = 120
_HELD = 12


class TrainingFilm:
    """Frames of a training: originals above, reconstructions below, and the growing loss curve.

    Parameters
    ----------
    trainer : Trainer, whose watched images and history are shown
    """

    def __init__(self, trainer: Trainer) -> None:
        self.frames = trainer.frames
        self.history = trainer.history
        self.figure = _new_film(6.8, 4.4, trainer.title)
        self.tiles = []
        grid = self.figure.add_gridspec(3, len(trainer.watched), height_ratios=(1, 1, 4.2))
        pairs = zip(ink(trainer.watched.images), ink(self.frames[0] / 255), strict=True)
        for column, (original, decoded) in enumerate(pairs):
            above, below = (self.figure.add_subplot(grid[row, column]) for row in (0, 1))
            show_tile(above, original)
            self.tiles.append(show_tile(below, decoded))
        for ax, name in zip(self.figure.axes, ("original", "decoded"), strict=False):
            ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        self._prepare_curve(self.figure.add_subplot(grid[2, :]), trainer)
        freeze_layout(self.figure)

    def _prepare_curve(self, ax: Axes, trainer: Trainer) -> None:
        totals = [entry[part]["total"] for entry in self.history for part in ("train", "test")]
        low, high = (min(totals), max(totals)) if totals else (0.0, 1.0)
        room = 0.08 * (high - low) or 1.0
        ax.set(xlim=(0, trainer.recipe.epochs), ylim=(low - room, high + room))
        ax.set(xlabel="epoch", ylabel=f"loss ({trainer.unit})")
        ax.grid(alpha=0.25, lw=0.5)
        self.curves = [
            ax.plot([], [], style, color=PALETTE["data"], lw=1.5, label=label)[0]
            for style, label in (("--", "training set"), ("-", "test set"))
        ]
        self.point = ax.plot([], [], "o", ms=5, color=PALETTE["log"], clip_on=False)[0]
        ax.legend(fontsize=8, loc="upper right")

    def frame(self, epoch: int) -> Frame:
        """Return the frame (H, W, 3), uint8, after this many epochs."""
        for tile, image in zip(self.tiles, ink(self.frames[epoch] / 255), strict=True):
            tile.set_data(image)
        seen = self.history[:epoch]
        epochs = [entry["epoch"] for entry in seen]
        for curve, part in zip(self.curves, ("train", "test"), strict=True):
            curve.set_data(epochs, [entry[part]["total"] for entry in seen])
        self.point.set_data(epochs[-1:], [entry["test"]["total"] for entry in seen[-1:]])
        return figure_pixels(self.figure)

    def all(self, most: int = _MOST_FRAMES) -> list[Frame]:
        """Return the frames of all epochs, evenly thinned to at most ``most``, the last held."""
        chosen = np.unique(np.linspace(0, len(self.history), most).round().astype(int))
        frames = [self.frame(int(epoch)) for epoch in chosen]
        return frames + frames[-1:] * _HELD


def plane_of(start: Tensor, end: Tensor) -> NDArray[np.float64]:
    """Return the axes (2, L), orthonormal, of the plane through the origin and two latents (L,).

    Straight lines and slerps between the two lie in it, so a projection onto it hides nothing of
    them. It is the whole space if L is 2. If L is 1, the second axis is 0.

    Examples
    --------
    >>> import torch
    >>> plane_of(torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, 3.0])).round(6) + 0
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """
    if len(start) <= 2:
        return np.eye(2, len(start))
    # If a latent is zero or the two are parallel, any axis completes the basis.
    axes, lengths = np.linalg.qr(torch.stack((start, end), dim=1).double().numpy())
    return np.where(np.diag(lengths) < 0, -axes, axes).T


def project(z: Tensor, plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coordinates (N, 2) of latents (N, L) in a plane of :func:`plane_of`."""
    return np.asarray(z.double().numpy() @ plane.T)


class InterpolationFilm:
    """Frames of a path: the latent plane with the moving point z_I, and the digit beside it.

    Parameters
    ----------
    paths : LatentPaths between the same two latents, one per row
    codes : Codes of data, drawn in the background
    title : str
    """

    def __init__(self, paths: Sequence[LatentPath], codes: Codes, *, title: str) -> None:
        plane = plane_of(paths[0].z[0], paths[0].z[-1])
        cloud = project(codes.mean, plane)
        self.figure = _new_film(7.2, 3.7 * len(paths) + 0.3, title)
        panels = self.figure.subplots(len(paths), 2, squeeze=False, width_ratios=(1.15, 1))
        self.rows: list[tuple[LatentPath, NDArray[np.float64], Any, Any]] = []
        for path, (left, right) in zip(paths, panels, strict=True):
            track, tile = project(path.z, plane), show_tile(right, ink(path.images)[0])
            self.rows.append((path, track, _draw_plane(left, track, cloud, codes, path.kind), tile))
            right.set_title(" ", fontsize=9)  # reserves the line that each frame fills
        freeze_layout(self.figure)

    def frame(self, step: int) -> Frame:
        """Return the frame (H, W, 3), uint8, of one step."""
        for path, track, point, tile in self.rows:
            point.set_data([track[step, 0]], [track[step, 1]])
            tile.set_data(ink(path.images[step])[0])
            weight, norm = step / (len(track) - 1), float(path.z[step].norm())
            title = f"decoded at $z_I$, t = {weight:.2f}, ‖$z_I$‖ = {norm:.2f}"
            tile.axes.set_title(title, fontsize=9)
        return figure_pixels(self.figure)

    def all(self) -> list[Frame]:
        """Return the frames of all steps."""
        return [self.frame(step) for step in range(len(self.rows[0][1]))]


def _draw_plane(
    ax: Axes, track: NDArray[np.float64], cloud: NDArray[np.float64], codes: Codes, kind: str
) -> Any:
    """Draw a path (steps, 2) over the codes (N, 2); return its moving point."""
    reach = max(2.3, 1.25 * float(np.abs(track).max()))
    colors = np.array(LABEL_COLORS)[codes.labels.numpy()]
    x, y = cloud.T
    ax.scatter(x, y, s=5, lw=0, alpha=0.35, c=colors)
    turn = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack((np.cos(turn), np.sin(turn)))
    for radius in (1, 2):
        ax.plot(*radius * circle, ":", lw=0.8, color=PALETTE["chance"])
    ax.plot(*track.T, "-", lw=2, color=PALETTE["data"])
    for point, name in ((track[0], "$z_i$"), (track[-1], "$z_e$")):
        _mark(ax, point, name)
    moving = ax.plot(*track[0], "o", ms=9, color=PALETTE["log"], zorder=5)[0]
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    names = ("along $z_i$", "across, towards $z_e$")
    if codes.mean.shape[1] <= 2:
        names = ("$z_0$", "$z_1$")
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.set_title(f"{kind}; dotted: 1 and 2 σ of the prior", fontsize=9)
    ax.grid(alpha=0.25, lw=0.5)
    return moving


def _mark(ax: Axes, point: NDArray[np.float64], name: str) -> None:
    """Draw one end of a path, with its name on the side away from the origin."""
    ax.plot(*point, "o", ms=6, color=PALETTE["data"])
    x, y = 14.4 * point / max(float(np.linalg.norm(point)), 1e-6)
    ax.annotate(
        name,
        (point[0], point[1]),
        xytext=(x, y),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=11,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )


def show_tile(ax: Axes, tile: Frame) -> Any:
    """Draw a tile with a thin frame and no ticks; return the image, whose data may change."""
    image = ax.imshow(tile, interpolation="nearest", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color="#bbbbbb", lw=0.5)
    return image


def _new_film(width: float, height: float, title: str) -> Figure:
    figure = new_figure(width, height)
    figure.set_dpi(100)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def freeze_layout(figure: Figure) -> None:
    """Lay out a figure once for all frames: a new layout would take most of a frame's time."""
    from latentlab.figures.fitting import settle

    settle(figure)
    figure.set_layout_engine("none")


def figure_pixels(figure: Figure) -> Frame:
    """Return a drawn figure's pixels (H, W, 3), uint8."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_paths(
    run: DigitsRun, paths: Sequence[LatentPath], folder: Path, *, fps: float = 12
) -> dict[str, Any]:
    """Write ``interpolation.gif``, ``.png`` and ``.json``; return the facts and the files' paths.

    Parameters
    ----------
    paths : between the same two latents, with the same label and number of steps
    fps : float, frames per second
    """
    label = paths[0].label
    facts = {
        "run": run.source,
        "label": label,
        "steps": len(paths[0].z),
        "paths": [
            {"kind": path.kind, "norms": path.z.norm(dim=1).tolist(), "z": path.z.tolist()}
            for path in paths
        ],
    }
    title = f"{run.name}, label {label}" if run.model.config.sees_label else run.name
    frames = InterpolationFilm(paths, run.codes, title=title).all()
    files = [
        write_animation(folder / "interpolation.gif", frames, fps=fps),
        save_png(folder / "interpolation.png", frames[len(frames) // 2]),
        write_json(folder / "interpolation.json", facts),
    ]
    return {**facts, "files": files}
