"""Copy what a person wrote into the folder that Sphinx reads."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "README.md")
DRAWN = ("backreferences", "concepts", "gallery", "short_guides")
"""Folders of what the examples drew; an example runs again only if it has changed."""
MOVED = {
    "(docs/": "(",
    "(../docs/": "(../",
    "(../latentlab/models/digits/MODEL_CARD.md)": "(../models/digits.md)",
    "(../latentlab/models/mini/MODEL_CARD.md)": "(../models/mini.md)",
    "(latentlab/models/digits/MODEL_CARD.md)": "(models/digits.md)",
    "(latentlab/models/mini/MODEL_CARD.md)": "(models/mini.md)",
    "(notebooks/": "(guides/",
}
"""Links of the repository → the same of the site, where other folders have the pages."""


def stage(source: Path) -> None:
    """Copy docs/, the notebooks and their pictures; what examples drew before is kept."""
    for path in source.glob("*"):
        if path.name not in DRAWN:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (ROOT / "docs").rglob("*"):
        if path.is_file() and path.suffix not in (".json", ".pyc"):
            _copy(path, source / path.relative_to(ROOT / "docs"))
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        write(source / "guides" / path.name, _with_links_of_the_site(path))
    for name in ("digits", "mini"):
        card = ROOT / "latentlab" / "models" / name / "MODEL_CARD.md"
        _copy(card, source / "models" / f"{name}.md")
    for path in (ROOT / "assets").iterdir():
        _copy(path, source / "assets" / path.name)
    for name in PAGES:
        write(source / name, _with_links_of_the_site(ROOT / name))


def write(path: Path, text: str) -> None:
    """Write a page, in a folder that need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def _with_links_of_the_site(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    for link, moved in MOVED.items():
        text = text.replace(link, moved)
    return text
