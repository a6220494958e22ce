"""Write the pages of the reference that come from the code."""

from __future__ import annotations

from pathlib import Path

from commands_page import command_pages
from models_page import models_page
from oracle_page import missing_tests, oracle_page, without_oracle
from oracles import broken, compare
from python_pages import python_pages
from registry_pages import exit_codes_page, names_page
from staging import write


def write_reference(source: Path) -> None:
    """Write every page whose text is computed into the sources of the site."""
    pages = {**command_pages(), **python_pages()}
    pages["reference/models.md"] = models_page()
    pages["reference/names.md"] = names_page()
    pages["reference/exit_codes.md"] = exit_codes_page()
    for name, text in pages.items():
        write(source / name, text)


def write_oracles(source: Path) -> list[str]:
    """Write the page of oracles; return what is wrong with it, one sentence each."""
    rows = compare()
    write(source / "oracles.md", oracle_page(rows))
    lacking = [
        f"{key} has no oracle and no reason in held_elsewhere.py." for key in without_oracle()
    ]
    gone = [f"The test {test} does not exist." for test in missing_tests()]
    return [*broken(rows), *lacking, *gone]
