"""Pictures of a digits model: ink is dark on white paper, as on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentlab.digits.data import Digits
from latentlab.digits.measure import Codes, reconstruct_digits
from latentlab.digits.models import CLASSES, DigitsModel
from latentlab.figures.canvas import LABEL_COLORS, PALETTE, new_figure
from latentlab.figures.sheets import compose_sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latentlab.figures.animation import Frame

_TILE = 56
_SAMPLES_PER_ROW = 12
_SHOWN_POINTS = 3000


def ink(pictures: Tensor) -> list[Frame]:
    """Return pictures (N, 1, H, W) or (N, H, W), in [0, 1], as tiles (H, W, 3), uint8."""
    flat = pictures.detach().cpu().reshape(-1, *pictures.shape[-2:])
    gray = (255 * (1 - flat.clamp(0, 1))).round().to(torch.uint8).numpy()
    return [np.repeat(picture[..., None], 3, axis=2) for picture in gray]


def draw_reconstructions(model: DigitsModel, digits: Digits, *, title: str) -> Frame:
    """Return a sheet (H, W, 3): test pictures, and below each what comes back of it."""
    shown = digits.first(CLASSES)
    decoded = reconstruct_digits(model, shown)
    return compose_sheet(
        [ink(shown.pictures), ink(decoded)],
        row_labels=["test pictures", "reconstructed"],
        column_labels=[str(label) for label in shown.labels.tolist()],
        title=title,
        tile=_TILE,
    )


def draw_samples(model: DigitsModel, codes: Codes, *, title: str, seed: int = 0) -> Frame:
    """Return a sheet (H, W, 3) of decoded draws: a row a label where the model is told labels.

    Draws are from the prior N(0, 1); an autoencoder has none, so theirs are from a normal
    distribution with the codes' mean and standard deviation.
    """
    rows = 10 if model.config.sees_label else 6
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows * _SAMPLES_PER_ROW, model.config.latent, generator=generator)
    drawn = "prior samples z ~ N(0, 1)"
    if not model.config.is_variational:
        z = codes.mean.mean(0) + codes.mean.std(0) * z
        drawn = "samples of a normal distribution fitted to the codes"
    labels = torch.arange(len(z)) // _SAMPLES_PER_ROW % model.config.classes
    device = next(model.parameters()).device
    tiles = ink(model.pictures(z.to(device), labels.to(device)))
    told = [f"label {row}" for row in range(rows)] if model.config.sees_label else [""] * rows
    return compose_sheet(
        [tiles[row * _SAMPLES_PER_ROW :][:_SAMPLES_PER_ROW] for row in range(rows)],
        row_labels=told,
        title=f"{title}\n{drawn}",
        tile=_TILE,
    )


def draw_codes(codes: Codes, dimensions: tuple[int, int], *, title: str, ax: Axes) -> Axes:
    """Draw the posterior means of two latents as points colored by label."""
    first, second = dimensions
    means = codes.mean[:_SHOWN_POINTS].numpy()
    labels = codes.labels[:_SHOWN_POINTS].numpy()
    for label in range(10):
        chosen = labels == label
        points = means[chosen]
        ax.scatter(
            points[:, first],
            points[:, second],
            s=7,
            lw=0,
            alpha=0.75,
            color=LABEL_COLORS[label],
            label=str(label),
        )
    ax.set(
        xlabel=f"$z_{{{first}}}$ (posterior mean)",
        ylabel=f"$z_{{{second}}}$ (posterior mean)",
    )
    ax.set_title(title, fontsize=10, parse_math=False)
    ax.grid(alpha=0.25, lw=0.5)
    ax.legend(title="label", fontsize=8, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def widest_dimensions(codes: Codes) -> tuple[int, int]:
    """Return the two latents that tell most: those whose posterior means vary most.

    Examples
    --------
    >>> mean = torch.tensor([[0.0, 1.0, 5.0], [0.1, -1.0, -5.0]])
    >>> widest_dimensions(Codes(mean, mean, torch.tensor([0, 1])))
    (1, 2)
    """
    count = codes.mean.shape[1]
    if count == 1:
        return 0, 0
    first, second = sorted(codes.mean.var(0).topk(2).indices.tolist())
    return first, second


def draw_losses(history: Sequence[dict[str, Any]], *, unit: str, ax: Axes) -> Axes:
    """Draw the loss on training and test set by epoch, with reconstruction and KL apart."""
    epochs = [entry["epoch"] for entry in history]
    for part, style in (("train", "--"), ("test", "-")):
        for name, key in (("total", "data"), ("reconstruction", "linear"), ("kl", "log")):
            values = [entry[part][name] for entry in history]
            if name != "total" and not any(entry[part]["kl"] for entry in history):
                continue
            label = f"{'KL' if name == 'kl' else name}, {part}"
            ax.plot(epochs, values, style, color=PALETTE[key], lw=1.4, label=label)
    ax.set(xlabel="epoch", ylabel=f"loss ({unit})", ylim=(0, None))
    ax.grid(alpha=0.25, lw=0.5)
    ax.legend(fontsize=8, loc="center right")
    return ax


class TrainingFilm:
    """Frames of a training: originals above, reconstructions below, and the growing loss curve.

    Parameters
    ----------
    originals : Digits, the watched pictures
    frames : (H, W) of each watched picture after each epoch: epochs + 1 tensors (N, H, W), uint8
    history : figures of each epoch
    epochs : how many there will be
    unit : of the loss
    title : str
    """

    def __init__(
        self,
        originals: Digits,
        frames: Sequence[Tensor],
        history: Sequence[dict[str, Any]],
        *,
        epochs: int,
        unit: str,
        title: str,
    ) -> None:
        self.frames = frames
        self.history = history
        self.figure: Figure = new_figure(6.8, 4.4)
        self.figure.set_dpi(100)
        count = len(originals)
        grid = self.figure.add_gridspec(3, count, height_ratios=(1, 1, 4.2))
        self.tiles = []
        for column in range(count):
            above, below = (self.figure.add_subplot(grid[row, column]) for row in (0, 1))
            show_tile(above, ink(originals.pictures)[column])
            self.tiles.append(show_tile(below, ink(frames[0] / 255)[column]))
            if column == 0:
                for ax, what in ((above, "original"), (below, "decoded")):
                    ax.set_ylabel(what, rotation=0, ha="right", va="center", fontsize=8)
        self.axes = self.figure.add_subplot(grid[2, :])
        self._prepare_curve(epochs, unit)
        self.figure.suptitle(title, fontsize=10, parse_math=False)
        freeze_layout(self.figure)

    def _prepare_curve(self, epochs: int, unit: str) -> None:
        totals = [entry[part]["total"] for entry in self.history for part in ("train", "test")]
        low, high = (min(totals), max(totals)) if totals else (0.0, 1.0)
        room = 0.08 * (high - low) or 1.0
        axes = self.axes
        axes.set(xlim=(0, epochs), ylim=(low - room, high + room))
        axes.set(xlabel="epoch", ylabel=f"loss ({unit})")
        axes.grid(alpha=0.25, lw=0.5)
        self.curves = [
            axes.plot([], [], style, color=PALETTE["data"], lw=1.5, label=label)[0]
            for style, label in (("--", "training set"), ("-", "test set"))
        ]
        self.point = axes.plot([], [], "o", ms=5, color=PALETTE["log"], clip_on=False)[0]
        axes.legend(fontsize=8, loc="upper right")

    def frame(self, epoch: int) -> Frame:
        """Return the picture (H, W, 3), uint8, after so many epochs."""
        for tile, picture in zip(self.tiles, ink(self.frames[epoch] / 255), strict=True):
            tile.set_data(picture)
        seen = self.history[:epoch]
        epochs = [entry["epoch"] for entry in seen]
        for curve, part in zip(self.curves, ("train", "test"), strict=True):
            curve.set_data(epochs, [entry[part]["total"] for entry in seen])
        self.point.set_data(epochs[-1:], [entry["test"]["total"] for entry in seen[-1:]])
        return figure_pixels(self.figure)

    def all(self, most: int = 120) -> list[Frame]:
        """Return the frames of all epochs, evenly thinned to at most so many, the last held."""
        chosen = np.unique(np.linspace(0, len(self.history), most).round().astype(int))
        frames = [self.frame(int(epoch)) for epoch in chosen]
        return frames + frames[-1:] * 12


def show_tile(ax: Axes, tile: Frame) -> Any:
    """Draw a tile with a thin frame and no ticks; return the image, whose data may change."""
    image = ax.imshow(tile, interpolation="nearest", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(color="#bbbbbb", lw=0.5)
    return image


def freeze_layout(figure: Figure) -> None:
    """Lay a figure out once: doing so again for each frame takes most of the time of drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def figure_pixels(figure: Figure) -> Frame:
    """Return a drawn figure's pixels (H, W, 3), uint8."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
