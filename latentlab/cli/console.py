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
    """Print exactly one JSON object on stdout, in ASCII, which every terminal and pipe takes."""
    from latentlab.results.folders import finite

    print(json.dumps(finite(facts), allow_nan=False))


def shown(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def print_paths(facts: Mapping[str, Any]) -> None:
    """Print the path of every file of a result."""
    for path in facts["files"]:
        print(path)


def print_result(facts: Mapping[str, Any], parts: Iterable[Any]) -> None:
    """Print the title of a result, the parts of its summary and the paths of its files."""
    print_parts([styled(facts["title"], "bold"), *parts])
    print_paths(facts)


def print_parts(parts: Iterable[Any]) -> None:
    """Print text and tables on stdout; a pipe has no width, so that rows stay whole there."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    for part in parts:
        console.print(part)


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
    """Return a table without lines for the console; columns are right-aligned unless in ``left``.

    Without headings all columns are left-aligned. Long cells are folded, never cut.
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
    """Return what a run's ``tiles`` say, in half a line."""
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

    Where stderr is no terminal, work that goes on says so in a line now and then.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if quiet:
        yield None
        return
    if not console.is_terminal:
        yield _Diary()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


class _Diary:
    """Progress for log files: a line for each half minute of work."""

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
