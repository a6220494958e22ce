"""What all figures share: colors, empty canvases, titles, pixels, PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's colors, distinct for color-blind readers and in grey print.
PALETTE = {
    "data": "#0072B2",
    "chance": "#7F7F7F",
    "log": "#D55E00",
    "linear": "#009E73",
    "mark": "#000000",
}
# Tol's muted scheme and gray: ten labels that color-blind readers can tell apart.
LABEL_COLORS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)
_DPI = 160


def new_figure(width: float = 6.8, height: float = 4.6) -> Figure:
    """Return an empty figure, in inches, that no window shows: for files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    # Without the software's version the same result has the same bytes after an upgrade.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def axes_on_screen(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    axes: Axes = plt.subplots(figsize=(6.8, 4.6), layout="constrained")[1]
    return axes


def set_title(ax: Axes, title: str) -> None:
    """Write a title as it is, whatever an image's name holds."""
    # An image's name may hold dollar signs, which are no formula, and bytes that are no text.
    shown = title.encode("utf-8", "replace").decode("utf-8")
    ax.set_title(shown, fontsize=10, parse_math=False)


def draw_pixels(ax: Axes, pixels: NDArray[np.uint8], title: str) -> Axes:
    """Draw pixels (H, W, 3), uint8, without axis lines; return the axes."""
    ax.imshow(pixels, interpolation="nearest")
    set_title(ax, title)
    ax.set_axis_off()
    return ax
