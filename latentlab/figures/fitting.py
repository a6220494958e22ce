"""Titles and legends that fit an axis: wrapped lines, and a place that covers no curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox, ScaledTranslation

from latentlab.figures.fonts import dress
from latentlab.figures.words import wrap

_TITLE_LINES = 5
_LABEL_LINES = 3
_LEGEND_SIZE = 8
_SMALL = 7
_NARROW = 3.5
"""Inches below which an axis gets small text."""
_HANDLE = 40
"""Points that a legend takes beside its labels."""
_AIR = 3
"""Points between a legend and what it must not cover."""
_CORNERS = ("lower right", "upper left", "lower left", "upper right", "center right")
_HEIGHTS = (0.85, 0.7, 0.55, 0.4, 0.25, 0.1)
"""Where a note may stand along its vertical mark, as shares of the mark."""
_TOUCHES = ("upper center", "lower center", "center left", "center")


def fit(ax: Axes, *, first: Sequence[str] = ()) -> None:
    """Wrap the title of an axis and give it a legend that covers none of its lines.

    Done for the figure as it is now: sizes and neighbors are those of the moment.

    Parameters
    ----------
    ax : Axes, drawn, without a legend
    first : places of the legend to try first, such as ``"lower left"``
    """
    figure = figure_of(ax)
    title = ax.title.get_text()
    _suit_width(ax)
    settle(figure)
    if _fit_title(ax):
        settle(figure)
    lengths = ((ax.xaxis.label, ax.bbox.width), (ax.yaxis.label, ax.bbox.height))
    _place_notes(ax)
    moved = [_place_legend(ax, first)]
    moved += [wrap_text(label, length, _LABEL_LINES) for label, length in lengths]
    if any(moved):
        # What takes more room beside the axis has moved it away from the middle.
        settle(figure)
        _place_notes(ax)
        ax.title.set_text(title)
        _fit_title(ax)


def settle(figure: Figure) -> None:
    """Lay a figure out as drawing it would, in half the time: nothing is drawn."""
    engine = figure.get_layout_engine()
    if engine is None:
        figure.draw_without_rendering()
    else:
        engine.execute(figure)


def _place_notes(ax: Axes) -> None:
    """Move every note down along its vertical mark, on either side, until it covers no curve."""
    for note in ax.texts:
        if isinstance(note, Annotation):
            _uncover(ax, note)


def _uncover(ax: Axes, note: Annotation) -> None:
    (x, y), offset, side = note.xy, note.xyann, note.get_horizontalalignment()
    spots = [(y, offset, side)]
    for height in _HEIGHTS:
        spots += [(y * height, (8, 0), "left"), (y * height, (-8, 0), "right")]
    for height, shift, aligned in spots:
        note.xy, note.xyann = (x, height), shift
        note.set_horizontalalignment(aligned)
        box = note.get_window_extent()
        if _lies_within(box, ax.bbox) and not any(_crosses(line, box) for line in ax.lines):
            return
    note.xy, note.xyann = (x, y), offset
    note.set_horizontalalignment(side)


def _place_legend(ax: Axes, first: Sequence[str]) -> bool:
    """Give an axis its legend; return whether that stands beside the axis, not on it."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return False
    air = _AIR * _pixels(figure_of(ax))
    legend: Any = _legend(ax, handles, labels, loc=_CORNERS[0])
    for place in dict.fromkeys((*first, *_CORNERS, *_TOUCHES)):
        legend.set_loc(place)
        box = _padded(legend.get_window_extent(), air)
        if _lies_within(box, ax.bbox) and not any(_meets(box, ax)):
            return False
    _put_below(ax, handles, labels)
    return True


def _suit_width(ax: Axes) -> None:
    """Give a narrow axis the text sizes of a paper's column."""
    if _is_narrow(ax):
        ax.title.set_fontsize(_SMALL + 1)
        ax.tick_params(labelsize=_SMALL)
        for text in (ax.xaxis.label, ax.yaxis.label, *ax.texts):
            text.set_fontsize(_SMALL)
        for line in ax.lines:
            line.set_markersize(0.7 * line.get_markersize())


def _is_narrow(ax: Axes) -> bool:
    box = ax.get_position()
    figure = figure_of(ax)
    return bool(box.width * figure.get_figwidth() < _NARROW)


def fit_titles(figure: Figure) -> None:
    """Break the titles of all axes so that they neither leave the figure nor meet a neighbor."""
    settle(figure)
    for ax in figure.axes:
        _fit_title(ax)


def _fit_title(ax: Axes) -> bool:
    figure = figure_of(ax)
    width = 2 * _half_width(ax) if len(figure.axes) == 1 else ax.bbox.width
    return wrap_text(ax.title, width, _TITLE_LINES)


def fit_figure(figure: Figure, shown: Axes) -> None:
    """Fit all texts of a figure with panels, with one legend below, of what one panel shows."""
    dress_all(figure)
    fit_main_title(figure)
    fit_titles(figure)
    _put_one_legend_below(figure, shown)
    settle(figure)
    for ax in figure.axes:
        wrap_text(ax.yaxis.label, ax.bbox.height, _LABEL_LINES)


def dress_all(figure: Figure) -> None:
    """Let the main title, labels and ticks of a figure show their content as it is."""
    for ax in figure.axes:
        for text in (*ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label):
            dress(text, text.get_text())
    for text in figure.texts:
        dress(text, text.get_text())


def _put_one_legend_below(figure: Figure, shown: Axes) -> None:
    """Put a legend below all panels, in as many columns as fit."""
    handles, labels = shown.get_legend_handles_labels()
    for columns in (3, 2, 1):
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, fontsize=_LEGEND_SIZE
        )
        room = figure.bbox.width / columns - _HANDLE * _pixels(figure)
        for text in legend.get_texts():
            dress(text, text.get_text())
            wrap_text(text, room, _LABEL_LINES)
        if columns == 1 or not any("\n" in text.get_text() for text in legend.get_texts()):
            return
        legend.remove()


def fit_main_title(figure: Figure) -> None:
    """Break the title of a whole figure so that it stays within."""
    for text in figure.texts:
        dress(text, text.get_text())
        wrap_text(text, figure.bbox.width - 2 * _AIR * _pixels(figure), _TITLE_LINES)


def wrap_text(text: Text, width: float, most: int) -> bool:
    """Break a text into at most so many lines of a width in pixels; return whether it changed."""
    content = text.get_text()

    def measure(line: str) -> float:
        text.set_text(line)
        box = text.get_window_extent()
        return float(box.height if text.get_rotation() == 90 else box.width)

    text.set_text("\n".join(wrap(content, measure, width, most)))
    return text.get_text() != content


def _legend(ax: Axes, handles: Sequence[Artist], labels: Sequence[str], **place: Any) -> Legend:
    size = _SMALL - 0.5 if _is_narrow(ax) else _LEGEND_SIZE
    legend = ax.legend(handles, labels, fontsize=size, framealpha=0.9, **place)
    room = 2 * _half_width(ax) - _HANDLE * _pixels(figure_of(ax))
    for text in legend.get_texts():
        dress(text, text.get_text())
        wrap_text(text, room / place.get("ncols", 1), _LABEL_LINES)
    return legend


def _put_below(ax: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Put the legend below the axis and its label, in as many columns as fit."""
    figure = figure_of(ax)
    x_axis = ax.xaxis.get_tightbbox(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    under = 0.0 if x_axis is None else ax.bbox.y0 - x_axis.y0
    down = ScaledTranslation(0, -under / figure.dpi, figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0)}
    for columns in (3, 2, 1):
        legend = _legend(
            ax, handles, labels, **place, bbox_transform=ax.transAxes + down, ncols=columns
        )
        wrapped = any("\n" in text.get_text() for text in legend.get_texts())
        if not wrapped and legend.get_window_extent().width <= 2 * _half_width(ax):
            break
    _make_room(ax, legend)


def _make_room(ax: Axes, legend: Legend) -> None:
    """Shorten an axis whose legend would leave the figure, where no layout engine does that."""
    figure = figure_of(ax)
    beyond = figure.bbox.y0 + _AIR * _pixels(figure) - legend.get_window_extent().y0
    if figure.get_layout_engine() is None and beyond > 0:
        box = ax.get_position()
        up = min(beyond / figure.bbox.height, 0.6 * box.height)
        ax.set_position((box.x0, box.y0 + up, box.width, box.height - up))


def _meets(box: Bbox, ax: Axes) -> Iterator[bool]:
    """Yield whether a box in pixels meets each line, filled area and text of an axis."""
    for line in ax.lines:
        yield _crosses(line, box)
    for area in ax.collections:
        yield _overlaps(area, box)
    for text in ax.texts:
        yield bool(box.overlaps(text.get_window_extent()))


def _crosses(line: Line2D, box: Bbox) -> bool:
    path = line.get_transform().transform_path(line.get_path()).cleaned(remove_nans=True)
    around = 1.5 * line.get_markersize() if line.get_marker() not in ("None", None) else 0
    return bool(path.intersects_bbox(_padded(box, around), filled=False))


def _overlaps(area: Collection, box: Bbox) -> bool:
    transform = area.get_transform()
    return any(
        transform.transform_path(path).cleaned(remove_nans=True).intersects_bbox(box, filled=True)
        for path in area.get_paths()
    )


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that an axis is part of."""
    # A subfigure's figure is the one that it is part of; a figure's own is itself.
    figure: Any = ax.figure
    return getattr(figure, "figure", None) or figure  # type: ignore[no-any-return]


def _pixels(figure: Figure) -> float:
    """Return the pixels of a point."""
    return figure.dpi / 72


def _half_width(ax: Axes) -> float:
    """Return how far the nearer side of the figure is from the middle of an axis, in pixels."""
    figure = figure_of(ax)
    middle = (ax.bbox.x0 + ax.bbox.x1) / 2
    return float(min(middle - figure.bbox.x0, figure.bbox.x1 - middle)) - _AIR * _pixels(figure)


def _padded(box: Bbox, by: float) -> Bbox:
    return Bbox.from_extents(box.x0 - by, box.y0 - by, box.x1 + by, box.y1 + by)


def _lies_within(box: Bbox, outer: Bbox) -> bool:
    return bool(
        outer.x0 <= box.x0 and outer.y0 <= box.y0 and box.x1 <= outer.x1 and box.y1 <= outer.y1
    )
