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

_PIPE_WIDTH = 100_000
SHORTEN_SAMPLING = "lower --size (half the side takes a quarter of the time) or --samples"


_CONTROLS = {
    code: ascii(chr(code))[1:-1]
    for code in (*range(32), *range(127, 160))
    if chr(code) not in "\n\t"
}
"""Control characters but line ends and tabs → how they are written."""


def say(message: str, *, quiet: bool = False) -> None:
    """Print a message on stderr unless quiet."""
    if not quiet:
        print(without_controls(message), file=sys.stderr)


def without_controls(text: str) -> str:
    r"""Return text that a terminal shows and does not obey, whatever a file's name holds.

    Examples
    --------
    >>> without_controls("a\x1b[31mb.npy")
    'a\\x1b[31mb.npy'
    """
    return text.translate(_CONTROLS)


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
def progress_bar(
    *, quiet: bool = False, in_bytes: bool = False, shorten: str = ""
) -> Iterator[Progress | None]:
    """Yield a callable that draws progress and the time left on stderr; None when quiet.

    Once a long step has been measured, a line says how long it will take. If stderr is not a
    terminal, another line follows every half minute.

    Parameters
    ----------
    quiet : bool, whether nothing is printed
    in_bytes : bool, whether what is counted are bytes
    shorten : str, how users can shorten the work, such as ``"lower --steps"``
    """
    if quiet:
        yield None
        return
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Diary() if in_bytes else _Teller(_Diary(), shorten)
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
            if done < shown_bars.tasks[tasks[what]].completed:
                shown_bars.reset(tasks[what])
            shown_bars.update(tasks[what], completed=done, total=total)

        yield show if in_bytes else _Teller(show, shorten)


class _Pace:
    """How fast one step of the work is, measured from its first report on."""

    shortest = 0.5
    """Seconds to measure before anything is said: the first reports may come all at once."""

    def __init__(self, now: float, done: int) -> None:
        self.begun, self.before, self.last = now, done, done

    def is_over(self, done: int) -> bool:
        """Return whether this report begins another step of the same name."""
        return done < self.last

    def seconds_left(self, now: float, done: int, total: int) -> float | None:
        """Return the time that the rest will take; None until that is known."""
        if now < self.begun:  # the clock went back
            self.begun, self.before = now, done
        self.last = done
        if done <= self.before or now - self.begun < self.shortest:
            return None
        return (now - self.begun) / (done - self.before) * (total - done)


class _Teller:
    """Progress that also says, once for each long step, how long it will take and how much memory.

    The first report ends the step's first sample, which may include a warm-up; the next ones are
    what is measured.
    """

    long, very_long = 60.0, 600.0

    def __init__(self, inner: Progress, shorten: str) -> None:
        self.inner, self.shorten = inner, shorten
        self.paces: dict[str, _Pace] = {}
        self.told: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        pace = self.paces.setdefault(what, _Pace(now, done))
        if pace.is_over(done):
            pace = self.paces[what] = _Pace(now, done)
            self.told.discard(what)
        left = pace.seconds_left(now, done, total)
        if left is not None and what not in self.told:
            self.told.add(what)
            if left >= self.long:
                self._tell(what, left, total - done)
        self.inner(what, done, total)

    def _tell(self, what: str, left: float, rest: int) -> None:
        from latentlab.machine.memory import peak_memory

        memory = f"{peak_memory() / 1e9:.1f} GB of memory so far"
        line = f"{what}: about {duration(left)} for the remaining {rest:,}, {memory}"
        if left >= self.very_long and self.shorten:
            line += f"; to shorten it, {self.shorten}"
        say(line)


def duration(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> duration(41.2), duration(150), duration(7300)
    ('41 s', '2.5 min', '2.0 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.2g} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Diary:
    """Progress for log files: a line for every half minute of work."""

    interval = 30.0

    def __init__(self) -> None:
        self.paces: dict[str, _Pace] = {}
        self.said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        pace = self.paces.setdefault(what, _Pace(now, done))
        if pace.is_over(done):
            pace = self.paces[what] = _Pace(now, done)
        left = pace.seconds_left(now, done, total)
        self.said = min(self.said, now)  # less than before if the clock went back
        if now - self.said < self.interval or left is None or done >= total:
            return
        self.said = now
        say(f"{what}: {done} of {total}, about {duration(left)} left")
