"""Write the pages of the reference that come from the code."""

from __future__ import annotations

from pathlib import Path

from commands_page import command_pages
from models_page import models_page
from python_pages import python_pages
from staging import write
from tables import exit_codes_page, names_page


def write_reference(source: Path) -> None:
    """Write every page whose text is computed into the sources of the site."""
    pages = {**command_pages(), **python_pages()}
    pages["reference/models.md"] = models_page()
    pages["reference/names.md"] = names_page()
    pages["reference/exit_codes.md"] = exit_codes_page()
    for name, text in pages.items():
        write(source / name, text)
