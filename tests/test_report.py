"""``report``: one HTML file that needs nothing else, in a real browser too."""

from __future__ import annotations

import base64
import os
import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_line import CommandLine, save_image
from webdriver import Browser, find_programs

from latentlab.cli.main import run
from latentlab.recipes import reporting
from latentlab.results import reports
from latentlab.results.reports import Folded, Images, Items, Section, Table, Text, write_page

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
NEEDS_BROWSER = pytest.mark.skipif(find_programs() is None, reason="there is no chromium")


class Balanced(HTMLParser):
    """Checks that every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Balanced:
    page = Balanced()
    page.feed(text)
    assert page.open == []
    return page


@pytest.fixture
def dot(tmp_path: Path) -> Path:
    path = tmp_path / "dot.png"
    path.write_bytes(DOT)
    return path


def test_a_page_escapes_words_and_holds_its_images(tmp_path: Path, dot: Path) -> None:
    evil = '<script>alert("1")</script> & more'
    blocks = [
        Text(evil, "found"),
        Items([evil]),
        Table((evil, "b"), [(evil, "2")], (1,)),
        Images([dot, dot], [evil, evil]),
        Folded(evil, evil),
    ]
    path = write_page(tmp_path / "page.html", evil, [Section(evil, blocks)])
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 13
    sources = parsed(text).sources
    assert len(sources) == 2
    assert all(base64.b64decode(one.partition("base64,")[2]) == DOT for one in sources)


def test_images_are_left_out_of_a_page_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tmp_path / "big.png"
    big.write_bytes(bytes(9000))
    monkeypatch.setattr(reports, "LARGEST", 20_000)
    sections = [Section(name, [Images([big], [name]), Text("words")]) for name in ("one", "two")]
    path = write_page(tmp_path / "page.html", "large", sections)
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 20_000
    assert len(parsed(text).sources) == 1
    assert text.index("Left out, since the page would exceed 15 MB: big.png.") > text.index("two")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of three small images with the linear control; its figures are drafts.

    The first file is damaged, and the name of the second is no UTF-8.
    """
    folder = tmp_path_factory.mktemp("report")
    (folder / "photos").mkdir()
    (folder / "photos/0.png").write_text("no image")
    for index, name in enumerate((os.fsdecode(b"caf\xe9.png"), "d.png", "e.png")):
        save_image(folder / "photos" / name, 70 + 4 * index, 90)
    small = ("--size", "64", "-n", "12", "--components", "2", "--images", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentlab.figures.fitting.settle", lambda _figure: None)
        patch.setattr("latentlab.figures.canvas._DPI", 40)
        patch.chdir(folder)
        assert run(["report", "photos", "-m", "linear", *small, "--out", "run", "--quiet"]) == 0
    return folder / "run/report.html"


def test_a_report_has_every_part_and_needs_no_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == [
        *("Summary", "Findings on the model", "Metrics", "The neighborhood"),
        *("Along the components", "Provenance"),
    ]
    assert all(source.startswith("data:image/") for source in parsed(text).sources)
    assert "data:image/webp" in text
    assert not re.search(r"url\(|@import|http-equiv", text)
    words = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", text))
    for said in ("dB PSNR", "psnr", "latentlab-256", "No elbow", "SHA-256", "effective dimension"):
        assert said in words
    assert page.stat().st_size < 15_000_000


def test_examinations_that_were_not_possible_are_not_called_healthy() -> None:
    found = [{"name": name, "found": False} for name in ("blur", "spots")]
    assert reporting._state_of(found) == Text("None of 2 examinations found anything.", "healthy")
    said = "None of 2 examinations found anything. 1 more was not possible."
    assert reporting._state_of([*found, {"name": "lattice", "found": None}]) == Text(said, "dim")


def test_a_report_of_one_image_has_no_metrics(cli: CommandLine, tmp_path: Path) -> None:
    how = ("-m", "linear", "--size", 64, "-n", 8, "--components", 1, "--out", tmp_path / "run")
    facts = cli("report", "sample:flower", *how, "--json").facts
    assert "Metrics" not in facts["sections"]
    assert facts["files"][0].endswith("report.html")


def test_what_is_no_source_is_said(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert cli("report", tmp_path / "empty", "-m", "linear").code == 3
    assert cli("report", "nowhere.png", "-m", "linear").code == 3


def test_the_style_is_part_of_an_installed_latentlab() -> None:
    root = Path(reports.__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    data = patterns["package-data"]["latentlab"]
    style = reports._STYLE.relative_to(root / "latentlab")
    assert any(style.match(pattern) for pattern in data)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.quit()


@pytest.mark.slow
@NEEDS_BROWSER
def test_a_browser_shows_it_on_a_phone_in_the_dark_and_on_paper(
    page: Path, browser: Browser
) -> None:
    def show(width: int, scheme: str) -> None:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.cdp("Emulation.setDeviceMetricsOverride", **size)
        browser.prefer(color_scheme=scheme)
        browser.visit(page.as_uri())

    def brightness(what: str) -> float:
        color = browser.run(f"return getComputedStyle(document.body).{what}")
        return float(sum(map(int, re.findall(r"\d+", color)[:3])) / 3)

    for width, scheme in ((360, "light"), (1100, "dark")):
        show(width, scheme)
        asked = [one for one in browser.requests() if not one.startswith("data:")]
        assert asked == [page.as_uri()]
        assert browser.logs("browser") == []
        assert browser.run("return document.documentElement.scrollWidth") <= width
        done = "return [...document.images].every(one => one.complete && one.naturalWidth > 0)"
        assert browser.run(done)
        dark = brightness("backgroundColor") < brightness("color")
        assert dark == (scheme == "dark")
    pdf = base64.b64decode(browser.cdp("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")


def test_words_of_a_page_are_set_as_a_reader_expects() -> None:
    text = Text("see `latentlab doctor`: 3 % < 5 %").html()
    assert text == "<p>see <code>latentlab doctor</code>: 3\u00a0% &lt; 5\u00a0%</p>"
    table = Table(("", ""), [("latentlab-256", "-0.5 to -.1, 1e-05")], numbers=(1,)).html()
    assert "thead" not in table
    assert "<td>latentlab-256</td>" in table
    assert "−0.5 to −.1, 1e-05" in table
