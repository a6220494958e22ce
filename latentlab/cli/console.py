"""What the commands print: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentlab.latents import Progress

_PIPE_WIDTH = 1000


def say(message: str, *, quiet: bool = False) -> None:
    """Print a message on stderr unless quiet."""
    if not quiet:
        print(message, file=sys.stderr)


def print_json(facts: Mapping[str, Any]) -> None:
    """Print exactly one JSON object on stdout, in ASCII so that every terminal can show it."""
    from latentlab.results.folders import finite

    print(json.dumps(finite(facts), allow_nan=False))


def shown(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash for None."""
    return "–" if value is None else format(value, form)


def print_parts(parts: Iterable[Any]) -> None:
    """Print text and tables on stdout; a pipe has no width, so rows stay whole there."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    console.width = _PIPE_WIDTH
    with console.capture() as printed:
        for part in parts:
            console.print(part)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))


def styled(text: str, style: str) -> Any:
    """Return text in a style such as ``"bold"`` or ``"dim"``."""
    from rich.text import Text

    return Text(text, style)


def table(
    rows: Sequence[Sequence[str]],
    headings: Sequence[str] = (),
    *,
    left: Sequence[int] = (0,),
    title: str | None = None,
) -> Any:
    """Return a table without borders for the console.

    Columns are right-aligned unless in ``left``; without headings all are left-aligned. Long cells
    wrap and are never cut off.
    """
    from rich.table import Table

    made = Table(
        show_header=bool(headings), box=None, pad_edge=False, title=title, title_justify="left"
    )
    for index, heading in enumerate(headings or rows[0]):
        aligned: Any = "left" if index in left or not headings else "right"
        made.add_column(heading if headings else "", justify=aligned, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def tiling(tiles: Mapping[str, Any]) -> str:
    """Return the size of tiles and how visible their seams are, in half a line."""
    names = {"encode": "the latent's deviation", "decode": "the image's"}
    seams = [
        f"{shown(tiles['seams'][kind]['relative'], '.1%')} of {name}"
        for kind, name in names.items()
        if kind in tiles["seams"]
    ]
    return f"{tiles['tile']} px, " + (f"seams {', '.join(seams)}" if seams else "one tile")


@contextmanager
def progress_bar(*, quiet: bool = False, in_bytes: bool = False) -> Iterator[Progress | None]:
    """Yield a callable that draws progress and the time left on stderr; None when quiet.

    If stderr is not a terminal, a line about long work is printed every half minute.
    """
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield None
        return
    if not console.is_terminal:
        yield _Diary()
        return
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn() if in_bytes else bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console) as shown_bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown_bars.add_task(what, total=total)
            shown_bars.update(tasks[what], completed=done, total=total)

        yield show


class _Diary:
    """Progress for log files: a line for every half minute of work."""

    interval = 30.0

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun = self.started.setdefault(what, now)
        if now - self.said < self.interval or not 0 < done < total:
            return
        self.said = now
        left = (now - begun) / done * (total - done)
        say(f"{what}: {done} of {total}, about {left:.0f} s left")
