"""``docs/hardening.md``: what was tried, how often, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from campaigns import PARSERS_HOLD, Campaign, Drawn, Measured, Parser

_INTRODUCTION = """# Hardening

Written by `python scripts/hardening`; one campaign again, or longer, with `--only NAME`. Numbers
are what was reached, not what is wanted, and add up over runs. *Guided* campaigns are steered by
the coverage of Python code (atheris), *mutated* ones change valid files at random; both start from
small files that latentlab itself writes, and change bytes or values inside of JSON. *Drawn*
campaigns make one case for each seed. A fault is counted once for each place in the code, and
stands here until a run no longer sees it.
"""


def to_markdown(campaigns: Mapping[str, Campaign], found: Mapping[str, Measured]) -> str:
    """Return the page."""
    parsers = {k: v for k, v in campaigns.items() if isinstance(v, Parser)}
    drawn = {k: v for k, v in campaigns.items() if isinstance(v, Drawn)}
    parts = [_INTRODUCTION.strip(), "## Parsers", f"Property: {PARSERS_HOLD}."]
    heads = ("campaign", "reads", "executions", "wanted", "ended", "faults", "how, date, seed")
    parts.append(
        _table(heads, (_row(one, found[name], one.reads) for name, one in parsers.items()))
    )
    parts.append("## Contradictions, commands and kills")
    heads = ("campaign", "property", "cases", "wanted", "ended", "faults", "how, date, seed")
    rows = (
        _row(one, found[name], f"{one.reads}: {one.holds}", one.unit) for name, one in drawn.items()
    )
    parts.append(_table(heads, rows))
    parts += _faults(found)
    return "\n\n".join(parts) + "\n"


def _row(campaign: Campaign, found: Measured, words: str, unit: str = "") -> list[str]:
    wanted = f"{campaign.wanted:,}"
    if not found.executions:
        return [campaign.name, words, "not run yet", wanted, "–", "–", "–"]
    ends = ", ".join(f"{count:,} {word}" for word, count in sorted(found.ends.items()))
    reached = f"{found.executions:,} {unit}".strip()
    when = f"{found.how}, {found.date}, {found.seed}"
    return [campaign.name, words, reached, wanted, ends, str(len(found.faults)), when]


def _faults(found: Mapping[str, Measured]) -> Iterable[str]:
    lines = [
        f"- {name}: {signature}: {what}"
        for name, measured in found.items()
        for signature, what in measured.faults.items()
    ]
    return ["## Faults that the last runs saw", "\n".join(lines)] if lines else []


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *cells)]
    return "\n".join(lines)
