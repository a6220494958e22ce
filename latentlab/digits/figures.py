"""Figures of a digits model: ink is dark on white paper, as on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentlab.digits.data import Digits
from latentlab.digits.measure import Codes, draw_latents, reconstruct_digits
from latentlab.digits.models import CLASSES, DigitsModel
from latentlab.figures.canvas import LABEL_COLORS, PALETTE, set_title
from latentlab.figures.sheets import compose_sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentlab.figures.animation import Frame

_TILE = 56
_SAMPLES_PER_ROW = 12
_ROWS_WITHOUT_LABEL = 6
_SHOWN_POINTS = 3000


def ink(images: Tensor) -> list[Frame]:
    """Return images (N, 1, H, W) or (N, H, W), in [0, 1], as tiles (H, W, 3), uint8."""
    flat = images.detach().cpu().reshape(-1, *images.shape[-2:])
    gray = (255 * (1 - flat.clamp(0, 1))).round().to(torch.uint8).numpy()
    return [np.repeat(image[..., None], 3, axis=2) for image in gray]


def draw_reconstructions(model: DigitsModel, digits: Digits, *, title: str) -> Frame:
    """Return a sheet (H, W, 3): test images, and below each its reconstruction."""
    shown = digits[:CLASSES]
    return compose_sheet(
        [ink(shown.images), ink(reconstruct_digits(model, shown))],
        row_labels=["test images", "reconstructed"],
        column_labels=[str(label) for label in shown.labels.tolist()],
        title=title,
        tile=_TILE,
    )


def draw_samples(model: DigitsModel, codes: Codes, *, title: str, seed: int = 0) -> Frame:
    """Return a sheet (H, W, 3) of decoded samples: one row per label if the model uses labels.

    Samples are drawn from the prior N(0, 1). An autoencoder has none: its samples are drawn from a
    normal distribution with the codes' mean and standard deviation.
    """
    config = model.config
    heads = [""] * _ROWS_WITHOUT_LABEL
    if config.sees_label:
        heads = [f"label {label}" for label in range(config.classes)]
    z = draw_latents(model, codes, len(heads) * _SAMPLES_PER_ROW, seed=seed)
    source = "prior samples z ~ N(0, 1)"
    if not config.is_variational:
        source = "samples of a normal distribution fitted to the codes"
    labels = torch.arange(len(z)) // _SAMPLES_PER_ROW % config.classes
    tiles = ink(model.images(z, labels))
    return compose_sheet(
        [tiles[start : start + _SAMPLES_PER_ROW] for start in range(0, len(z), _SAMPLES_PER_ROW)],
        row_labels=heads,
        title=f"{title}\n{source}",
        tile=_TILE,
    )


def draw_codes(codes: Codes, *, title: str, ax: Axes) -> Axes:
    """Draw the posterior means of the two widest latents as points colored by label."""
    from latentlab.figures.fitting import figure_of, fit_titles

    dimensions = widest_dimensions(codes)
    means = codes.mean[:_SHOWN_POINTS, list(dimensions)].numpy()
    labels = codes.labels[:_SHOWN_POINTS].numpy()
    for label, color in enumerate(LABEL_COLORS):
        x, y = means[labels == label].T
        ax.scatter(x, y, s=7, lw=0, alpha=0.75, color=color, label=str(label))
    names = [f"$z_{{{index}}}$ (posterior mean)" for index in dimensions]
    ax.set(xlabel=names[0], ylabel=names[1])
    set_title(ax, title)
    ax.grid(alpha=0.25, lw=0.5)
    ax.legend(title="label", fontsize=8, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    fit_titles(figure_of(ax))
    return ax


def widest_dimensions(codes: Codes) -> tuple[int, int]:
    """Return the two latents whose posterior means vary most; a single latent twice.

    Examples
    --------
    >>> mean = torch.tensor([[0.0, 1.0, 5.0], [0.1, -1.0, -5.0]])
    >>> widest_dimensions(Codes(mean, mean, torch.tensor([0, 1])))
    (1, 2)
    """
    if codes.mean.shape[1] == 1:
        return 0, 0
    first, second = sorted(codes.mean.var(0).topk(2).indices.tolist())
    return first, second


def draw_losses(history: Sequence[dict[str, Any]], *, unit: str, title: str, ax: Axes) -> Axes:
    """Draw the losses on training and test set by epoch: total, reconstruction and KL."""
    from latentlab.figures.fitting import fit

    epochs = [entry["epoch"] for entry in history]
    has_kl = any(entry[part]["kl"] for entry in history for part in ("train", "test"))
    parts = [("total", "total", "data")]
    if has_kl:
        parts += [("reconstruction", "reconstruction", "linear"), ("kl", "KL", "log")]
    for data, style in (("train", "--"), ("test", "-")):
        for name, label, key in parts:
            values = [entry[data][name] for entry in history]
            ax.plot(epochs, values, style, color=PALETTE[key], lw=1.4, label=f"{label}, {data}")
    ax.set(xlabel="epoch", ylabel=f"loss ({unit})", ylim=(0, None))
    set_title(ax, title)
    ax.grid(alpha=0.25, lw=0.5)
    fit(ax, first=["upper right"])
    return ax
