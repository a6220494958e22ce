"""From one latent to another: on the straight line, or along the arc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.figures import figure_pixels, freeze_layout, ink, show_tile
from latentlab.digits.models import DigitsModel
from latentlab.errors import ShapeError, UsageError
from latentlab.figures.canvas import LABEL_COLORS, PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentlab.digits.measure import Codes
    from latentlab.figures.animation import Frame

PATHS = ("linear", "slerp")
_PARALLEL = 1e-6


@dataclass(frozen=True, eq=False)
class Interpolation:
    """A path through the latent space and what it decodes to.

    Parameters
    ----------
    kind : ``linear`` or ``slerp``
    z : Tensor, (steps, L), from z_i to z_e
    label : int, which the decoder is told, where it listens
    pictures : Tensor, (steps, 1, H, W), in [0, 1]
    """

    kind: str
    z: Tensor
    label: int
    pictures: Tensor


def interpolate(
    model: DigitsModel,
    start: Tensor,
    end: Tensor,
    *,
    label: int = 0,
    kind: str = "linear",
    steps: int = 24,
) -> Interpolation:
    """Return the path from one latent to another and its pictures.

    Parameters
    ----------
    model : DigitsModel
    start, end : Tensor, (L,), z_i and z_e
    label : int, which the decoder is told
    kind : ``linear``, z_I = (1 − t) z_i + t z_e, or ``slerp`` (Shoemake 1985), along the arc:
        the norm, too, goes evenly from ‖z_i‖ to ‖z_e‖
    steps : int, at least 2

    Raises
    ------
    UsageError : an unknown kind, too few steps, or a label out of range.
    ShapeError : latents of another length than the model's.
    """
    if kind not in PATHS:
        raise UsageError(f"--path {kind}", f"one of {', '.join(PATHS)}", "choose one of them")
    if not 2 <= steps <= 1000:
        raise UsageError(f"--steps {steps}", "2 to 1000", "pass --steps 24")
    check_label(model, label)
    for z in (start, end):
        if z.shape != (model.config.latent,):
            raise ShapeError(
                f"a latent of shape {tuple(z.shape)}", f"({model.config.latent},)", "pass one"
            )
    weights = torch.linspace(0, 1, steps)
    path = straight(start, end, weights) if kind == "linear" else arc(start, end, weights)
    pictures = model.pictures(path, torch.full((steps,), label))
    return Interpolation(kind, path, label, pictures)


def check_label(model: DigitsModel, label: int) -> None:
    """Raise UsageError where a label is none of the model's."""
    if not 0 <= label < model.config.classes:
        raise UsageError(
            f"--label {label}", f"0 to {model.config.classes - 1}", "choose one of them"
        )


def straight(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Return the latents (T, L) on the straight line, at weights (T,) of the end.

    Examples
    --------
    >>> straight(torch.zeros(2), torch.tensor([2.0, 4.0]), torch.tensor([0.0, 0.5, 1.0])).tolist()
    [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
    """
    return torch.lerp(start[None], end[None], weights[:, None])


def arc(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Return the latents (T, L) on the arc around the origin, at weights (T,) of the end.

    The direction turns evenly and the norm changes evenly. Parallel or opposite latents, and the
    origin, have no arc of their own: between them the line is straight.

    Examples
    --------
    >>> halfway = arc(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.5]))
    >>> round(float(halfway.norm()), 4)
    1.0
    """
    norms = torch.stack((start.norm(), end.norm()))
    if norms.min() < _PARALLEL:
        return straight(start, end, weights)
    first, last = start / norms[0], end / norms[1]
    angle = torch.arccos((first @ last).clamp(-1, 1))
    if torch.sin(angle) < _PARALLEL:
        return straight(start, end, weights)
    before = torch.sin((1 - weights) * angle)[:, None] * first
    after = torch.sin(weights * angle)[:, None] * last
    lengths = torch.lerp(norms[:1], norms[1:], weights)
    return (before + after) / torch.sin(angle) * lengths[:, None]


# The picture: a plane of the latent space, and the digit beside it


@dataclass(frozen=True, eq=False)
class Plane:
    """Two orthonormal directions that a path lies in.

    Parameters
    ----------
    axes : array, (2, L)
    names : of the two coordinates, for axis labels
    """

    axes: NDArray[np.float64]
    names: tuple[str, str]

    def project(self, z: Tensor) -> NDArray[np.float64]:
        """Return the coordinates (N, 2) of latents (N, L)."""
        projected: NDArray[np.float64] = z.double().numpy() @ self.axes.T
        return projected


def plane_of(start: Tensor, end: Tensor) -> Plane:
    """Return the plane through the origin and both latents; with two latents, the whole space.

    Straight lines and arcs between the two lie in it, so nothing is hidden by projecting. With
    one latent the second coordinate is 0.

    Examples
    --------
    >>> plane_of(torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, 3.0])).axes.round(6) + 0
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """
    count = len(start)
    if count <= 2:
        return Plane(np.eye(2, count), ("$z_0$", "$z_1$"))
    basis: list[NDArray[np.float64]] = []
    # The unit vectors stand in where a latent is the origin or both are parallel.
    for candidate in (start.double().numpy(), end.double().numpy(), *np.eye(count)):
        rest = candidate - sum((candidate @ axis) * axis for axis in basis)
        if np.linalg.norm(rest) > 1e-6 and len(basis) < 2:
            basis.append(rest / np.linalg.norm(rest))
    return Plane(np.stack(basis), ("along $z_i$", "across, towards $z_e$"))


class InterpolationFilm:
    """Frames of a path: the latent plane with the moving point z_I, and the digit beside it.

    Parameters
    ----------
    paths : Interpolations between the same two latents, a row each
    codes : Codes of data, drawn behind; None leaves only the prior's circles
    title : str
    """

    def __init__(self, paths: Sequence[Interpolation], codes: Codes | None, *, title: str) -> None:
        self.paths = paths
        plane = plane_of(paths[0].z[0], paths[0].z[-1])
        self.tracks = [plane.project(path.z) for path in paths]
        self.figure = new_figure(7.2, 3.7 * len(paths) + 0.3)
        self.figure.set_dpi(100)
        panels = self.figure.subplots(len(paths), 2, squeeze=False, width_ratios=(1.15, 1))
        self.figure.suptitle(title, fontsize=10, parse_math=False)
        self.points: list[Any] = []
        self.tiles: list[Any] = []
        behind = None if codes is None else (plane.project(codes.mean), codes.labels.numpy())
        for path, track, (left, right) in zip(paths, self.tracks, panels, strict=True):
            self._draw_plane(left, plane, track, behind, path.kind)
            self.tiles.append(show_tile(right, ink(path.pictures)[0]))
            right.set_title(" ", fontsize=9)  # room for what each frame says there
        freeze_layout(self.figure)

    def _draw_plane(
        self,
        ax: Axes,
        plane: Plane,
        track: NDArray[np.float64],
        behind: tuple[NDArray[np.float64], NDArray[np.int64]] | None,
        kind: str,
    ) -> None:
        reach = max(2.3, 1.25 * float(np.abs(track).max()))
        if behind is not None:
            colors = np.array(LABEL_COLORS)[behind[1]]
            ax.scatter(behind[0][:, 0], behind[0][:, 1], s=5, lw=0, alpha=0.35, c=colors)
        turn = np.linspace(0, 2 * np.pi, 100)
        for radius in (1, 2):
            ax.plot(
                radius * np.cos(turn),
                radius * np.sin(turn),
                ":",
                lw=0.8,
                color=PALETTE["isotropic"],
            )
        ax.plot(*track.T, "-", lw=2, color=PALETTE["data"])
        for point, name in ((track[0], "$z_i$"), (track[-1], "$z_e$")):
            ax.plot(*point, "o", ms=6, color=PALETTE["data"])
            outward = 1.6 * point / max(float(np.linalg.norm(point)), 1e-6)
            ax.annotate(
                name,
                point,
                xytext=9 * outward,
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=11,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            )
        self.points.append(ax.plot(*track[0], "o", ms=9, color=PALETTE["log"], zorder=5)[0])
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.set(xlabel=plane.names[0], ylabel=plane.names[1])
        ax.set_title(f"{kind}; dotted: 1 and 2 σ of the prior", fontsize=9)
        ax.grid(alpha=0.25, lw=0.5)

    def frame(self, step: int) -> Frame:
        """Return the picture (H, W, 3), uint8, of one step."""
        shown = zip(self.paths, self.tracks, self.points, self.tiles, strict=True)
        for path, track, point, tile in shown:
            point.set_data([track[step, 0]], [track[step, 1]])
            tile.set_data(ink(path.pictures[step])[0])
            weight = step / (len(track) - 1)
            tile.axes.set_title(
                f"decoded at $z_I$, t = {weight:.2f}, ‖$z_I$‖ = {float(path.z[step].norm()):.2f}",
                fontsize=9,
            )
        return figure_pixels(self.figure)

    def all(self) -> list[Frame]:
        """Return the frames of all steps."""
        return [self.frame(step) for step in range(len(self.tracks[0]))]
