"""``python scripts/hardening``: files, messages, commands and kills that latentlab must survive.

Counts are written into the cache while a campaign runs, so interrupt or kill it at any time: the
next call, also ``--only none``, puts them into the results and the page, ``docs/hardening.md``. The
full form over parsers is guided by coverage, for which atheris is needed: ``pip install atheris``
into an environment with latentlab. ``--quick`` does without. A new campaign is a file: see
``campaigns.py``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from campaigns import Campaign, Drawn, Measured, all_campaigns, campaign_names, campaign_of
from page import to_markdown
from running import CACHE, QUICK, Effort, furthest, measure, write

from latentlab.machine.files import write_bytes

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is chosen and write the page."""
    options = _parse(arguments, campaign_names())
    torch.set_num_threads(1)
    checkpoints = options.cache / "results" if options.results else None
    ran = {name: _run(campaign_of(name), options, checkpoints) for name in options.only}
    campaigns = all_campaigns()
    found = {name: furthest(name, options.results, checkpoints) for name in campaigns} | ran
    if options.results:
        for name, measured in found.items():
            if measured.executions:
                write(name, measured, options.results)
    text = to_markdown(campaigns, found)
    if options.page:
        write_bytes(options.page, text.encode())
        print(f"page in {options.page}")
    else:
        print(text)


def _run(campaign: Campaign, options: argparse.Namespace, checkpoints: Path | None) -> Measured:
    """Return what a campaign found in all, with a run of it now."""
    if checkpoints is not None:
        begun = (
            Measured() if options.again else furthest(campaign.name, options.results, checkpoints)
        )
        write(campaign.name, begun, checkpoints)
    quick = campaign.quick if isinstance(campaign, Drawn) else QUICK
    cases = options.executions or (quick if options.quick else campaign.wanted)
    effort = Effort(cases, 60 * options.minutes, options.seed, not options.quick)
    return measure(campaign, checkpoints, effort, options.cache)


def _parse(arguments: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python scripts/hardening", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a few hundred mutations each; writes nothing")
    add("--only", help=f"some of {','.join(names)}, or none to write the page only")
    add("--minutes", type=float, default=60.0, help="of each campaign (default 60)")
    add("--executions", type=int, help="in all, earlier runs included (default: as in the page)")
    add("--seed", type=int, default=0, help="(default 0)")
    add("--again", action="store_true", help="forget what was measured of those in --only")
    add("--results", type=Path, help="folder of results (default docs/hardening)")
    add("--page", type=Path, help="where to write the page (default docs/hardening.md)")
    add("--cache", type=Path, default=CACHE, help=f"corpora, counts, faults (default {CACHE})")
    options = parser.parse_args(arguments)
    chosen = names if options.only is None else options.only.split(",")
    options.only = [] if chosen == ["none"] else chosen
    if unknown := set(options.only) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(names)}, or none")
    if not options.quick:
        options.results = options.results or DOCS / "hardening"
        options.page = options.page or DOCS / "hardening.md"
    return options


if __name__ == "__main__":
    main()
