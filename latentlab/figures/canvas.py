"""What all figures share: colors, empty canvases, titles, pixels, files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import UsageError
from latentlab.figures.fonts import dress
from latentlab.machine.files import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's colors, distinct for color-blind readers and in gray print.
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
# Distinct on one axis: the order in which several curves take them.
CURVE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FIGURE_FORMATS = ("png", "pdf", "svg")
_DPI = 160
# The same figure has the same bytes every day and after an upgrade: no date, no version.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}
# Text stays text, which can be searched, edited and set in the fonts of a paper.
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "latentlab", "pdf.fonttype": 42}


def new_figure(width: float = 6.8, height: float = 4.6) -> Figure:
    """Return an empty figure, in inches, that no window shows: for files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def check_figure_format(format: str) -> None:
    """Raise UsageError if figures cannot be written in a format."""
    if format not in FIGURE_FORMATS:
        raise UsageError(
            f"figure_format {format!r}",
            f"one of {', '.join(FIGURE_FORMATS)}",
            "choose one of these formats",
        )


def figure_bytes(figure: Figure, format: str = "png") -> bytes:
    """Return a figure as the bytes of a PNG, PDF or SVG file, the same ones every time.

    Raises
    ------
    UsageError : another format.
    """
    import matplotlib

    check_figure_format(format)
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS), frozen(figure):
        figure.savefig(buffer, format=format, dpi=_DPI, metadata=_METADATA[format])
    return buffer.getvalue()


@contextmanager
def frozen(figure: Figure) -> Iterator[None]:
    """Lay a figure out once and keep that while it is written, which would do it twice."""
    from latentlab.figures.fitting import settle

    engine = figure.get_layout_engine()
    if engine is None:
        yield
        return
    settle(figure)
    # With None, unlike "none", a figure is not drawn a first time to be laid out.
    figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    return figure_bytes(figure)


def write_figure(folder: Path, stem: str, figure: Figure, format: str = "png") -> Path:
    """Write a figure as ``<stem>.<format>`` into a folder; return its path.

    Raises
    ------
    UsageError : another format than png, pdf or svg.
    FileError : the file cannot be written.
    """
    return write_bytes(folder / f"{stem}.{format}", figure_bytes(figure, format))


def axes_on_screen(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    axes: Axes = plt.subplots(figsize=(6.8, 4.6), layout="constrained")[1]
    return axes


def set_title(ax: Axes, title: str) -> None:
    """Write a title as it is, whatever an image's name holds."""
    ax.title.set_fontsize(10)
    dress(ax.title, title)


def draw_pixels(ax: Axes, pixels: NDArray[np.uint8], title: str) -> Axes:
    """Draw pixels (H, W, 3), uint8, without axis lines; return the axes.

    Vector formats get the pixels as they are, neither enlarged nor smoothed.
    """
    ax.imshow(pixels, interpolation="none")
    set_title(ax, title)
    ax.set_axis_off()
    return ax
