"""Settings of the documentation site; ``make docs`` builds it from a copy of this folder."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

project = "latentlab"
version = release = installed("latentlab")
copyright = "the authors of latentlab, MIT License"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["examples/**", "README.md", "backreferences/**", "gallery/**.ipynb"]
exclude_patterns += [
    "concepts/**.ipynb",
    "short_guides/**.ipynb",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}

html_theme = "furo"
html_title = f"latentlab {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["llms.txt"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Formulas are plain text, so no page needs a script to draw them.
myst_update_mathjax = False
nb_execution_mode = "off"  # `make docs EXECUTE=1` runs the notebooks
# It compares with a model that has to be downloaded.
nb_execution_excludepatterns = ["**/01_is_it_entangled.ipynb"]
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [("html", "text/html", 0), ("html", "image/png", 1)]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": ["examples/concepts", "examples/gallery", "examples/guides"],
    "gallery_dirs": ["concepts", "gallery", "short_guides"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__",
    "backreferences_dir": "backreferences",
    "doc_module": ("latentlab",),
    "image_scrapers": ("figures_scraper",),
    "reset_modules": (),
    "capture_repr": ("_repr_html_",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "notebook_extensions": set(),
    "within_subsection_order": "FileNameSortKey",
    "thumbnail_size": (480, 336),
    "remove_config_comments": True,
}

_ABSOLUTE = re.compile(r"\|(?P<value>\w+)\|")
_FIELD = re.compile(r"^(?P<name>\*{0,2}\w[\w.]*(?:, \*{0,2}\w+)*) : (?P<text>.*)$")
_FIELDS = {"Parameters", "Other Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns"}


def _prepare(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put all that is said of a parameter below its name, and let |x| be an absolute value."""
    inside, kept = False, []
    for position, line in enumerate(lines):
        if (lines[position + 1] if position + 1 < len(lines) else "").startswith("---"):
            inside = line.strip() in _FIELDS
        found = _FIELD.match(line) if inside else None
        kept += [found["name"], f"    {found['text']}"] if found else [line]
    lines[:] = [_ABSOLUTE.sub(r"\|\g<value>\|", line) for line in kept]


_READABLE = {
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="This page">',
    "<pre>": '<pre tabindex="0">',
    '<th class="head"><p></p></th>': "<td></td>",
}
"""HTML of the theme → the same for people who do not see the page, or do not use a mouse."""


def _make_readable(app: Any, error: Exception | None) -> None:
    for path in [] if error else Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for theirs, ours in _READABLE.items():
            text = text.replace(theirs, ours)
        path.write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Connect what Sphinx calls while it builds."""
    app.connect("build-finished", _make_readable)
    app.connect("autodoc-process-docstring", _prepare, priority=100)
