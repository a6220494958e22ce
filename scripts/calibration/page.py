"""``docs/calibration.md``: a row for each claim, and a table of its cells below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from claims import COVERAGE, OUTSIDE, POWER, RATIO, SIZE, Cell, Claim, Measured, Tally

_INTRODUCTION = """# Calibration

Written by `python scripts/calibration`; one claim again with `--only NAME --again`. Every sentence
of a verdict and every interval that is printed was tried on samples whose true answer is known. A
*false-alarm rate* is how often the words are printed where they are false; a *coverage* is how
often an interval holds what it names; *power* is how often a true finding is reported. In brackets
stand exact 95 % intervals of these rates: the Monte-Carlo error. Where an assumption is broken on
purpose, the rate is under *where it breaks*. Runs are *6 of 200* where nothing is printed in the
others.
"""
_MEASURED = {
    SIZE: "false alarms",
    COVERAGE: "coverage",
    POWER: "power",
    RATIO: "estimate / truth",
    OUTSIDE: "assumption broken",
}


def to_markdown(
    claims: Mapping[str, Claim], found: Mapping[str, Measured], duration: str = ""
) -> str:
    """Return the page: the table of claims first, then the cells of each."""
    heads = ("claim", "what it says", "assumes", "false alarms or coverage", "power")
    heads = (*heads, "where it breaks")
    rows = [_row(claim, found.get(name, Measured())) for name, claim in claims.items()]
    parts = [_INTRODUCTION, *filter(None, [duration]), _table(heads, rows)]
    for name, claim in claims.items():
        parts += [f"## {name}", _table_of_cells(claim, found.get(name, Measured()))]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _row(claim: Claim, found: Measured) -> list[str]:
    links = f"[{claim.name}](#{claim.name})"
    rates = [_range(claim, found, kind) for kind in (SIZE, COVERAGE, RATIO)]
    broken = _range(claim, found, OUTSIDE)
    breaks = claim.breaks + (f" ({broken})" if broken else "")
    sizes = "; ".join(filter(None, rates)) or "not measured yet"
    power = _range(claim, found, POWER) or "–"
    return [links, claim.says, claim.assumes, sizes, power, breaks]


def _range(claim: Claim, found: Measured, kind: str) -> str:
    """Return the smallest and largest rate of a claim's cells of one kind, in words."""
    tallies = [tally for cell, _, tally in _figures(claim, found) if cell.kind == kind]
    if not tallies:
        return ""
    least, most = (pick(tallies, key=lambda tally: tally.mean) for pick in (min, max))
    if kind == SIZE:
        return f"≤ {rate(most)}"
    ends = [number(tally) if kind == RATIO else rate(tally) for tally in (least, most)]
    what = "" if kind == POWER else f"{_MEASURED[kind]} "
    return what + (ends[0] if len(tallies) == 1 else " to ".join(ends))


def _figures(claim: Claim, found: Measured) -> Iterator[tuple[Cell, str, Tally]]:
    for cell in claim.cells:
        for name, tally in found.cells.get(cell.name, {}).items():
            yield cell, name, tally


def rate(tally: Tally) -> str:
    """Return a rate with its exact interval, in percent."""
    low, high = (_percent(end) for end in tally.interval())
    return f"{_percent(tally.mean)} % ({low}–{high})"


def number(tally: Tally) -> str:
    """Return a mean with the standard deviation of one run."""
    return f"{tally.mean:.3f} ± {tally.deviation:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _table_of_cells(claim: Claim, found: Measured) -> str:
    rows = []
    for cell, figure, tally in _figures(claim, found):
        value = number(tally) if cell.kind == RATIO else rate(tally)
        bounds = cell.bounds
        kept = "–" if bounds is None else _bound_in_words(bounds, tally)
        what = f"{_MEASURED[cell.kind]}: {figure}"
        rows.append([cell.name, what, value, _runs(tally, found.runs(cell.name)), kept])
    for cell in claim.cells:
        if found.runs(cell.name) and not found.cells.get(cell.name):
            silent = f"0 of {found.runs(cell.name)}"
            rows.append([cell.name, "nothing is printed", "–", silent, "–"])
    if not rows:
        return "Not measured yet."
    return _table(("setting", "measured", "rate", "runs", "bound"), rows)


def _runs(tally: Tally, seeds: int) -> str:
    """Return the runs of a figure, of how many if some gave none."""
    return f"{tally.runs} of {seeds}" if tally.runs < seeds else str(tally.runs)


def _bound_in_words(bounds: tuple[float, float], tally: Tally) -> str:
    low, high = bounds
    words = f"≤ {_percent(high)} %" if low <= 0 else f"{_percent(low)}–{_percent(high)} %"
    if tally.runs < FEWEST:
        return f"{words}, too few runs to say"
    return f"{words}, {'kept' if is_kept(bounds, tally) else 'missed'}"


FEWEST = 30
"""Runs from which it is said whether a bound is kept: with ten, any rate would be."""


def is_kept(bounds: tuple[float, float], tally: Tally) -> bool:
    """Return whether a rate is within its bounds, up to its Monte-Carlo error."""
    low, high = tally.interval()
    return high >= bounds[0] and low <= bounds[1]


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *cells)]
    return "\n".join(lines)
