"""The documentation site builds offline from a clean folder, and can be read by anybody."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from axe import axe_source
from webdriver import Browser

import latentlab
from latentlab.components import summary

ROOT = Path(__file__).resolve().parents[1]
LOADS = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("video", "src"),
    ("iframe", "src"),
    ("link", "href"),
}
"""Tag and attribute of what a browser fetches by itself; a link to click on is none of them."""

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page fetches, and the text of all its headings."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in LOADS:
                self.fetched.append(value or "")
            if (tag, name) == ("a", "href"):
                self.links.append(value or "")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built without a network and without a home."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "scripts/docs"), "--out", str(out)]
    variables = {**os.environ, "HOME": str(out), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def test_no_page_asks_another_host_for_anything(html: Path) -> None:
    pages = sorted(html.rglob("*.html"))
    assert len(pages) > 60
    for path in pages:
        page = Page(path)
        foreign = [one for one in page.fetched if re.match(r"(https?:)?//", one)]
        assert not foreign, f"{path.relative_to(html)} fetches {foreign}"
    for path in html.rglob("*.css"):
        found = re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", path.read_text())
        assert not found, f"{path.relative_to(html)} fetches {found}"


def test_every_public_name_and_command_has_a_page(html: Path) -> None:
    for name in (*latentlab.__all__, *latentlab._ALSO):
        page = (html / f"reference/python/{name}.html").read_text(encoding="utf-8")
        assert f'id="latentlab.{name}"' in page
    commands = {path.stem for path in (html / "reference/commands").glob("*.html")}
    assert {"pca", "traverse", "store-stats", "digits-demo", "models"} <= commands


def test_links_between_pages_lead_somewhere(html: Path) -> None:
    for path in html.rglob("*.html"):
        for link in Page(path).links:
            target = link.split("#")[0].split("?")[0]
            if target and not re.match(r"[a-z]+:", target):
                assert (path.parent / target).exists(), f"{path.relative_to(html)}: {link}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.quit()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index", "reference/python/fit_pca", "oracles"])
def test_axe_finds_nothing(html: Path, browser: Browser, page: str, scheme: str) -> None:
    source = axe_source()
    if source is None:
        pytest.skip("axe-core is not at hand and npm cannot fetch it")
    browser.prefer(color_scheme=scheme)
    browser.visit((html / f"{page}.html").as_uri())
    browser.run(source)
    found = browser.run("return (await axe.run({resultTypes: ['violations']})).violations;")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


@pytest.mark.browser
@pytest.mark.parametrize("page", ["index", "start", "reference/commands/pca", "glossary"])
def test_a_phone_scrolls_down_and_not_sideways(html: Path, browser: Browser, page: str) -> None:
    browser.resize(390, 844, touch=True)
    browser.visit((html / f"{page}.html").as_uri())
    wide = browser.run("return document.documentElement.scrollWidth;")
    browser.resize(1280, 1000)
    assert wide <= 390


@pytest.mark.browser
def test_without_scripts_a_page_is_whole_and_dark_where_that_is_asked_for(
    html: Path, browser: Browser
) -> None:
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        shown = {}
        for scheme in ("light", "dark"):
            browser.prefer(color_scheme=scheme)
            browser.visit((html / "index.html").as_uri())
            shown[scheme] = browser.screenshot()
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)
    assert shown["light"].mean() > 150
    assert shown["dark"].mean() < 110


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return ``scripts/docs`` as a module, with its neighbors importable."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts/docs"))
    spec = importlib.util.spec_from_file_location("docs_main", ROOT / "scripts/docs/__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_number_that_differs_from_its_oracle_stops_the_build(
    builder: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = summary.participation_ratio
    monkeypatch.setattr(summary, "participation_ratio", lambda values: 1.001 * plain(values))
    assert builder.main(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("from NumPy: (tr S)² / tr S²") == 1, said
    assert not (tmp_path / "html").exists()


def test_a_key_without_an_oracle_is_named(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = importlib.import_module("oracle_page")
    assert page.without_oracle() == []
    assert page.missing_tests() == []
    monkeypatch.setattr(page, "keys_of_the_glossary", lambda: {"entanglement_score", "k90"})
    assert page.without_oracle() == ["entanglement_score"]


def test_every_link_for_assistants_leads_to_a_page(html: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (html / "llms.txt").read_text(encoding="utf-8"))
    assert len(links) > 12
    assert [link for link in links if not (html / link).is_file()] == []
