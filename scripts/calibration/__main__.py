"""``python scripts/calibration``: how often latentlab's claims are wrong, where the truth is known.

Results are kept in one file a claim and resumed: interrupt it at any time. A cell whose meaning
changed is measured again with ``--only NAME --again``. How to add a claim stands at the top of
``claims.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from claims import Measured, all_claims
from estimating import duration_in_words, estimate
from page import to_markdown
from running import measure, read

from latentlab.machine.files import write_bytes

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate what is missing and write the page."""
    claims = all_claims()
    options = _parse(arguments, sorted(claims))
    if options.jobs < 2:
        torch.set_num_threads(1)
    if options.estimate:
        estimate([claims[name] for name in options.only], options.results, options.jobs)
        return
    found: dict[str, Measured] = {}
    for name, claim in claims.items():
        if name in options.only:
            if options.again and options.results:
                (options.results / f"{name}.json").unlink(missing_ok=True)
            how = {"quick": options.quick, "jobs": options.jobs, "cells": options.cells}
            found[name] = measure(claim, options.results, **how)
        else:
            found[name] = read(claim, options.results)
    text = to_markdown(claims, found, duration_in_words(claims, DOCS / "calibration"))
    if options.page:
        write_bytes(options.page, text.encode())
        print(f"page in {options.page}")
    else:
        print(text)


def _parse(arguments: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python scripts/calibration", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a twentieth of the runs; prints, writes nothing")
    add("--only", help=f"some of {','.join(names)}, or none to write the page only")
    add("--estimate", action="store_true", help="say how long it takes, from two runs of each cell")
    add("--cells", default="", metavar="PATTERN", help="only cells whose name it matches")
    add("--again", action="store_true", help="forget what was measured of the claims in --only")
    add("--jobs", type=int, default=2, help="processes (default 2)")
    add("--results", type=Path, help="folder of results (default docs/calibration)")
    add("--page", type=Path, help="where to write the page (default docs/calibration.md)")
    options = parser.parse_args(arguments)
    chosen = names if options.only is None else options.only.split(",")
    options.only = [] if chosen == ["none"] else chosen
    if unknown := set(options.only) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(names)}, or none")
    if not options.quick:
        options.results = options.results or DOCS / "calibration"
        options.page = options.page or DOCS / "calibration.md"
    return options


if __name__ == "__main__":
    main()
