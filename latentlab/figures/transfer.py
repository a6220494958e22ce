"""The figure and the sheet of a transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import PALETTE, new_figure, set_title, sigma_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

    from latentlab.directions.transfer import Transfer

_MARKERS = "osD^vP*X<>"
_TILE = 144


def draw_transfer(transfer: Transfer) -> Figure:
    """Draw every direction's cosines beside the range of random directions, in two panels."""
    count = len(transfer.labels)
    figure = new_figure(max(8.4, 2.4 + 0.9 * count), 4.2)
    changes, scores = figure.subplots(1, 2, sharey=True)
    _draw_cosines(changes, transfer, transfer.cosines, transfer.random_cosines)
    _draw_cosines(scores, transfer, transfer.label_cosines, transfer.random_label_cosines)
    changes.set_ylabel(f"cosine with {transfer.origin}")
    set_title(changes, f"change of the picture at ±{transfer.alpha:g} {transfer.unit}")
    set_title(scores, "what is moved: correlations with picture statistics")
    handles, names = changes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(transfer.title, fontsize=10, parse_math=False)
    return figure


def _draw_cosines(ax: Axes, transfer: Transfer, cosines: Tensor, chance: Tensor) -> None:
    """Draw a point for each direction and target over the band of 95 % of random directions."""
    places = np.arange(len(transfer.labels))
    low, high = np.quantile(chance.numpy(), [0.025, 0.975])
    ax.axhspan(
        low, high, color=PALETTE["isotropic"], alpha=0.3, lw=0, label="95 % of random directions"
    )
    ax.axhline(float(chance.mean()), color=PALETTE["isotropic"], lw=1, ls="--", label="their mean")
    colors = [PALETTE["data"], PALETTE["log"], PALETTE["linear"], PALETTE["mark"]]
    for index, name in enumerate(transfer.targets):
        ax.plot(
            places,
            cosines[index].numpy(),
            _MARKERS[index % len(_MARKERS)],
            color=colors[index % len(colors)],
            ms=5,
            label=name.replace("$", r"\$"),
        )
    names = [name.replace("$", r"\$") for name in transfer.labels]
    ax.set_xticks(places, names, rotation=30, ha="right", fontsize=8)
    ax.set(ylim=(-1.05, 1.05), xlim=(-0.5, len(places) - 0.5))
    ax.grid(alpha=0.25, lw=0.5)


def transfer_sheet(transfer: Transfer) -> NDArray[np.uint8]:
    """Return each picture at −alpha and +alpha along each direction as one grid (H, W, 3)."""
    from latentlab.figures.sheets import compose_sheet

    by_direction = transfer.frames.transpose(0, 1)
    ends = [sigma_label(sign * transfer.alpha, transfer.unit) for sign in (-1, 1)]
    return compose_sheet(
        [[*row.flatten(0, 1).numpy()] for row in by_direction],
        row_labels=[
            f"{name}\ncosine {float(mean):.2f}"
            for name, mean in zip(transfer.labels, transfer.cosines.mean(0), strict=True)
        ],
        column_labels=[
            f"{name}\n{end}" for name in (transfer.origin, *transfer.targets) for end in ends
        ],
        title=transfer.title,
        tile=_TILE,
    )
