"""``python scripts/docs``: build the documentation site, offline, from docs/ and the code.

The sources are copied into a folder of their own, and the reference is written there from the code,
so nothing that is generated lies among the sources. Warnings are errors, and so is a number that
differs from its oracle.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from staging import ROOT, stage
from writing import write_oracles, write_reference

BUILD = ROOT / "build" / "docs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the site and return the exit code."""
    parser = argparse.ArgumentParser(prog="python scripts/docs", description=__doc__)
    parser.add_argument("--out", type=Path, default=BUILD, help="folder (default build/docs)")
    parser.add_argument("--execute", action="store_true", help="run the notebooks again, all of it")
    options = parser.parse_args(arguments)
    source = options.out / "source"
    stage(source)
    problems = write_oracles(source)
    if problems:
        print("The site was not built:", *problems, sep="\n", file=sys.stderr)
        return 1
    write_reference(source)
    return build(source, options.out / "html", execute=options.execute)


def build(source: Path, html: Path, *, execute: bool = False) -> int:
    """Return the exit code of Sphinx."""
    from sphinx.cmd.build import main as sphinx_build

    how = ["-D", "nb_execution_mode=force"] if execute else []
    doctrees = source.with_name("doctrees")
    # Garbage is collected after each example. What is loaded by now stays: it takes most of the time.
    gc.freeze()
    code = sphinx_build(["-W", "-q", "-d", str(doctrees), *how, str(source), str(html)])
    if code == 0:
        print(f"site in {html / 'index.html'}")
    return code


if __name__ == "__main__":
    # Figures that the examples draw belong to no window, and nothing is asked of any host.
    os.environ |= {"MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"}
    sys.exit(main())
