"""The page in a real browser: what it draws, what it asks for, and what it says when it cannot."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from sheared_digits import LATENT, SHEAR, SIZE, TILT, save_sheared, sheared_model, sheared_run
from webdriver import Browser

from latentlab.digits.demo import demo_page
from latentlab.digits.description import describe_model
from latentlab.digits.export import export_onnx
from latentlab.digits.folders import DigitsRun, load_run
from latentlab.digits.measure import Codes
from latentlab.digits.models import DigitsConfig, build_model
from latentlab.digits.morphology import slant_of
from latentlab.models.shipped import MODELS_FOLDER
from latentlab.web.pages import Page
from latentlab.web.serving import TYPES, PageServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SETTLE = "await new Promise((go) => setTimeout(go, 450));"
TEXT = "return document.getElementById(arguments[0]).textContent;"
PIXELS = """
    const canvas = document.querySelector(arguments[0]);
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    return {width, height, ink: Array.from(data).filter((_, place) => place % 4 === 3)};
"""
# Resolves when a digit has been drawn after the slider was moved as a hand would move it.
MOVE = """
    const [selector, value] = arguments;
    const input = document.querySelector(selector);
    const drawn = new Promise((go) =>
        document.addEventListener('latentlab:drawn', go, {once: true}));
    input.value = value;
    input.dispatchEvent(new Event('input', {bubbles: true}));
    await drawn;
"""


@contextmanager
def serving(page: Page, **types: str) -> Iterator[str]:
    """Yield the address of a page while it is served."""
    kinds = {**TYPES, **{f".{suffix}": kind for suffix, kind in types.items()}}
    with PageServer(page, port=0, types=kinds) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Return the page with the model whose every image is known."""
    folder = tmp_path_factory.mktemp("exported")
    export_onnx(sheared_run(), folder)
    with demo_page(str(folder)) as files:
        yield files


@pytest.fixture(scope="module")
def address(page: Page) -> Iterator[str]:
    """Return where the page is."""
    with serving(page) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of this file."""
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.quit()


def open_page(browser: Browser, address: str, hash_: str = "") -> Browser:
    browser.resize(1280, 900)
    browser.prefer(color_scheme="light", reduced_motion="no-preference")
    browser.visit(address + hash_)
    loaded = "while (!window.latentlab) await new Promise((go) => setTimeout(go, 20));"
    browser.run(loaded + "await window.latentlab.ready;" + SETTLE)
    return browser


@pytest.fixture
def opened(browser: Browser, address: str) -> Browser:
    """Return the browser with the page freshly loaded."""
    return open_page(browser, address)


def ink_of(browser: Browser, selector: str) -> np.ndarray:
    """Return how opaque a canvas is, (H, W) in [0, 1]."""
    found = browser.run(PIXELS, selector)
    return np.reshape(found["ink"], (found["height"], found["width"])) / 255


def python_images(z: Any, labels: Any) -> np.ndarray:
    images = sheared_model().images(torch.tensor(z), torch.tensor(labels))
    return images[:, 0].numpy()


def decode_in(browser: Browser, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the images (N, H·W) that the page makes of latents and labels."""
    states = [[row.tolist(), int(label)] for row, label in zip(z, labels, strict=True)]
    script = (
        "const found = []; for (const [z, label] of arguments[0]) "
        "found.push(Array.from(await latentlab.decode(z, label))); return found;"
    )
    return np.array(browser.run(script, states))


def test_collapsed_latents_are_told_in_headline_and_lead(browser: Browser, tmp_path: Path) -> None:
    export_onnx(sheared_run(), tmp_path)
    file = tmp_path / "onnx.json"
    facts = json.loads(file.read_text())
    latents = facts["latent"]
    file.write_text(json.dumps({**facts, "active": [False] * latents, "tilt_dimension": None}))
    with demo_page(str(tmp_path)) as page, serving(page) as address:
        open_page(browser, address)
        assert browser.run(TEXT, "headline") == "No number changes the digit"
        assert "all of them have collapsed" in browser.run(TEXT, "lead")


def test_it_loads_without_errors_and_asks_no_other_host(browser: Browser, address: str) -> None:
    open_page(browser, address)
    for button in ("#play", "#random", "#play", "#reset", "#copy"):
        browser.click(button)
    browser.run(SETTLE)
    requests = browser.requests()
    assert len(requests) > 10
    assert all(url.startswith((address, "data:")) for url in requests), requests
    assert browser.logs("browser") == []
    assert browser.run("return document.getElementById('app').hidden") is False


def test_images_equal_those_of_python(opened: Browser) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1.5, (50, LATENT)).astype(np.float32)
    labels = rng.integers(0, 10, 50)
    expected = python_images(z, labels).reshape(50, -1)
    np.testing.assert_allclose(decode_in(opened, z, labels), expected, atol=1e-4)


def test_canvases_show_these_images(opened: Browser) -> None:
    opened.run("latentlab.state.set({label: 7, z: [0.5, -1, 0, 1.25, 0.3]});" + SETTLE)
    z, labels = [[0.5, -1.0, 0.0, 1.25, 0.3]] * 10, list(range(10))
    for label, image in enumerate(python_images(z, labels)):
        ink = ink_of(opened, f".tile:nth-child({label + 1}) canvas")
        np.testing.assert_allclose(ink, image, atol=1 / 255)
    ranges = describe_model(sheared_run())["ranges"]
    values = np.linspace(*ranges[TILT], 11, dtype=np.float32)
    swept = np.tile(np.float32(z[0]), (11, 1))
    swept[:, TILT] = values
    for index, image in enumerate(python_images(swept, [7] * 11)):
        ink = ink_of(opened, f"#strip canvas:nth-child({index + 1})")
        np.testing.assert_allclose(ink, image, atol=1 / 255)
    plane = ink_of(opened, "#pad-map")
    assert opened.run("return latentlab.state.plane") == [0, 1]
    corner = np.float32([[ranges[0][0], ranges[1][1], 0, 1.25, 0.3]])  # far left, far up
    np.testing.assert_allclose(plane[:SIZE, :SIZE], python_images(corner, [7])[0], atol=1 / 255)


def test_labels_and_every_slider_change_the_digit(opened: Browser) -> None:
    before = ink_of(opened, "#digit")
    for label in (0, 9):
        opened.click(f".tile:nth-child({label + 1}) input")
        opened.run(SETTLE)
        after = ink_of(opened, "#digit")
        assert np.abs(after - before).max() > 0.3, label
        before = after
    for latent in range(LATENT):
        selector = "#hero" if latent == TILT else f"#latent-{latent}"
        opened.run(MOVE, selector, 2)
        after = ink_of(opened, "#digit")
        assert np.abs(after - before).max() > (0.03 if latent != TILT else 0.5), latent
        before = after


def test_moving_z3_tilts_the_drawn_digit(opened: Browser) -> None:
    for label in (1, 4, 8):
        opened.run("latentlab.state.set({label: arguments[0]})", label)
        slants = []
        for value in np.linspace(-2, 2, 9):
            opened.run(MOVE, "#hero", value)
            opened.run("await new Promise(requestAnimationFrame)")
            slants.append(float(np.degrees(slant_of(ink_of(opened, "#digit")[None])[0])))
        expected = np.degrees(np.arctan(SHEAR * np.linspace(-2, 2, 9)))
        np.testing.assert_allclose(slants, expected, atol=1)
        assert (np.diff(slants) > 0).all()
        told = opened.run(TEXT, "slant")
        assert told == f"leans {round(slants[-1])}° right"


def test_a_slider_is_followed_within_a_frame(opened: Browser) -> None:
    times = opened.run(
        """
        const hero = document.getElementById('hero');
        const times = [];
        for (let turn = 0; turn < 101; turn++) {
            const drawn = new Promise((go) => document.addEventListener(
                'latentlab:drawn', () => go(performance.now()), {once: true}));
            const event = new Event('input', {bubbles: true});
            hero.value = -2 + turn / 25;
            hero.dispatchEvent(event);
            times.push(await drawn - event.timeStamp);
            await new Promise((go) => setTimeout(go, 20));
        }
        return times;
        """
    )
    assert np.median(times) <= 16


def test_the_state_travels_in_the_link(browser: Browser, address: str) -> None:
    open_page(browser, address, "#digit=8&z=0.5,-1,0,2.25,0&plane=3,1")
    state = "const {label, z, plane} = latentlab.state; return [label, z, plane];"
    assert browser.run(state) == [8, [0.5, -1, 0, 2.25, 0], [3, 1]]
    assert browser.run("return document.getElementById('hero').value") == "2.25"
    assert browser.run("return document.querySelector('[name=digit]:checked').value") == "8"
    browser.run(MOVE, "#hero", -1.5)
    browser.click("#copy")
    browser.run(SETTLE)
    link = browser.run("return location.href")
    assert link == f"{address}#digit=8&z=0.5,-1,0,-1.5,0&plane=3,1"
    assert "ink" in browser.run(TEXT, "status")  # "Link copied" or "The link is in …"
    drawn = ink_of(browser, "#digit")
    open_page(browser, link)
    np.testing.assert_array_equal(ink_of(browser, "#digit"), drawn)
    browser.run("location.hash = '#digit=2&z=0,0,0,0,0'; await 0;" + SETTLE)
    assert browser.run(state)[:2] == [2, [0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "nonsense",
    ["#digit=12&z=1,2", "#z=a,b,c,d,e&plane=9,0", "#%%%", "#digit=&plane=0,0.5", "#<script>"],
)
def test_links_that_make_no_sense_do_no_harm(browser: Browser, address: str, nonsense: str) -> None:
    open_page(browser, address, nonsense)
    state = browser.run("const {label, z, plane} = latentlab.state; return [label, z, plane];")
    assert state == [4, [0] * LATENT, [0, 1]]
    assert browser.logs("browser") == []


def test_latents_beyond_their_range_are_brought_back(browser: Browser, address: str) -> None:
    open_page(browser, address, "#z=99,-99,0,1e400,0")
    z = browser.run("return latentlab.state.z")
    assert z == [0] * LATENT  # infinity is no number of ours, so nothing of this link holds
    open_page(browser, address, "#z=99,-99,0,0,0")
    (low, high), *_ = describe_model(sheared_run())["ranges"]
    assert browser.run("return latentlab.state.z")[:2] == [high, low]


def test_play_moves_the_digit_until_it_is_paused(opened: Browser) -> None:
    opened.click("#play")
    assert opened.run(TEXT, "play") == "Pause"
    seen = opened.run(
        "const seen = []; for (let turn = 0; turn < 12; turn++) {"
        "await new Promise((go) => setTimeout(go, 100)); seen.push(latentlab.state.z[3]); }"
        "return seen;"
    )
    assert len(set(seen)) > 5
    assert max(seen) > 0.5
    opened.click("#play")
    still = opened.run("const {z} = latentlab.state;" + SETTLE + "return [z, latentlab.state.z]")
    assert still[0] == still[1]
    opened.click("#play")
    opened.run(MOVE, "#hero", 1)  # a hand on the slider takes over
    assert opened.run(TEXT, "play") == "Play"


def test_less_motion_means_steps(opened: Browser) -> None:
    opened.prefer(reduced_motion="reduce")
    opened.click("#play")
    seen = opened.run(
        "const seen = []; for (let turn = 0; turn < 22; turn++) {"
        "await new Promise((go) => setTimeout(go, 100)); seen.push(latentlab.state.z[3]); }"
        "return seen;"
    )
    assert len(set(seen)) <= 4
    assert len(set(seen)) >= 2


def test_random_and_reset(opened: Browser) -> None:
    draws = [
        opened.run("document.getElementById('random').click(); return latentlab.state.z")
        for _ in range(60)
    ]
    assert len({tuple(draw) for draw in draws}) == 60
    assert abs(np.mean(draws)) < 4 / np.sqrt(300)
    assert 0.8 < np.std(draws) < 1.2
    opened.click("#reset")
    assert opened.run("return latentlab.state.z") == [0] * LATENT
    assert "at rest" in opened.run(TEXT, "status")


def test_everything_can_be_done_with_the_keyboard(opened: Browser) -> None:
    right, up, space = "\ue014", "\ue013", " "
    opened.press("#hero", right * 3)
    assert opened.run("return latentlab.state.z[3]") == pytest.approx(0.03)
    opened.press(".tile:nth-child(5) input", right)
    assert opened.run("return latentlab.state.label") == 5
    opened.press("#pad", right + up + up)
    z = opened.run("return latentlab.state.z")
    width = np.diff(describe_model(sheared_run())["ranges"])[:, 0]
    assert z[:2] == pytest.approx([width[0] / 40, 2 * width[1] / 40], abs=0.01)
    opened.press("#reset", space)
    assert opened.run("return latentlab.state.z") == [0] * LATENT


def test_dragging_on_the_pad_moves_two_latents(opened: Browser) -> None:
    box = opened.run(
        "const {left, top, width, height} = document.getElementById('pad')"
        ".getBoundingClientRect(); return {left, top, width, height};"
    )
    for kind, share in (("mousePressed", 0.5), ("mouseMoved", 0.75), ("mouseReleased", 0.75)):
        opened.cdp(
            "Input.dispatchMouseEvent",
            type=kind,
            x=box["left"] + share * box["width"],
            y=box["top"] + share * box["height"],
            button="left",
            buttons=1,
        )
    ranges = np.array(describe_model(sheared_run())["ranges"])
    across, up = (
        low + (high - low) * share for (low, high), share in zip(ranges, (0.75, 0.25), strict=False)
    )
    assert opened.run("return latentlab.state.z")[:2] == pytest.approx([across, up], abs=0.05)
    opened.run(
        "const select = document.getElementById('pad-across'); select.value = 1;"
        "select.dispatchEvent(new Event('change'));"
    )
    assert opened.run("return latentlab.state.plane") == [1, 0]  # they trade places


def test_screen_readers_get_names_values_and_news(opened: Browser) -> None:
    tree = opened.cdp("Accessibility.getFullAXTree")["nodes"]
    shown = [
        (node["role"]["value"], node.get("name", {}).get("value", ""), node.get("focused"))
        for node in tree
        if not node["ignored"]
    ]
    names: dict[str, list[str]] = {}
    for role, name, _ in shown:
        names.setdefault(role, []).append(name)
    assert all(names["slider"])
    assert len(names["slider"]) == LATENT
    assert names["slider"][0] == "z₃, leans left to leans right"
    assert [name.strip() for name in names["radio"]] == [str(label) for label in range(10)]
    assert set(names["button"]) >= {"Play", "Random", "Reset", "Copy link"}
    assert any(name.startswith("The digit 4, ") for name in names["image"])
    assert any("11 values of z₃" in name for name in names["image"])
    assert opened.run("return document.documentElement.lang") == "en"
    opened.run(MOVE, "#hero", 1)
    value = opened.run("return document.getElementById('hero').getAttribute('aria-valuetext')")
    assert value == f"1.00, leans {round(np.degrees(np.arctan(SHEAR)))}° right"
    assert opened.run("return document.getElementById('status').ariaLive") == "polite"


@pytest.mark.parametrize(
    "selector", ["#hero", "#latent-0", "#play", "#pad", "#pad-up", ".tile:nth-child(5) input"]
)
def test_whoever_has_the_focus_can_be_seen(opened: Browser, selector: str) -> None:
    opened.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
    shown = []
    for _ in range(2):
        shown.append(opened.screenshot())
        opened.press(selector, "\ue00c")  # Escape: focus from the keyboard, and nothing else
        opened.run(SETTLE)
    changed = np.abs(np.int16(shown[0]) - shown[1]).max(2) > 60
    assert changed.sum() > 150


@pytest.mark.parametrize("width", [320, 390, 820, 1100, 1280])
def test_it_fits_every_width(opened: Browser, width: int) -> None:
    opened.resize(width, 800, touch=width < 500)
    opened.run(SETTLE)
    assert opened.run("return document.documentElement.scrollWidth") <= width
    over = opened.run(
        "return [...document.querySelectorAll('.stage, .card')].map((card) => Math.max(0, "
        "...[...card.querySelectorAll('button, select, input, canvas')].map((one) => "
        "one.getBoundingClientRect().right - card.getBoundingClientRect().right)))"
    )
    assert max(over) == 0
    sizes = opened.run(
        "return [...document.querySelectorAll('button, select, .tile')].map((one) => "
        "Math.min(one.getBoundingClientRect().height, one.getBoundingClientRect().width))"
    )
    assert min(sizes) >= (40 if width < 500 else 24)  # fingers are wide
    columns = opened.run(
        "return new Set([...document.querySelectorAll('main > *')].map((one) => "
        "Math.round(one.getBoundingClientRect().left))).size"
    )
    assert (columns == 1) is (width < 500)


def test_both_themes_can_be_read(opened: Browser) -> None:
    script = """
        const color = (element, which) => getComputedStyle(document.querySelector(element))[which]
            .match(/[\\d.]+/g).slice(0, 3).map(Number);
        return [
            [color('.lead', 'color'), color('body', 'backgroundColor')],
            [color('.ends', 'color'), color('.card', 'backgroundColor')],
            [color('#play', 'color'), color('#play', 'backgroundColor')],
            [color('output', 'color'), color('.card', 'backgroundColor')],
        ];
    """
    backgrounds = []
    for theme in ("light", "dark"):
        opened.prefer(color_scheme=theme)
        opened.run(SETTLE)
        pairs = opened.run(script)
        backgrounds.append(luminance(pairs[0][1]))
        for first, second in pairs:
            bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (theme, first, second)
    assert backgrounds[0] > 0.8
    assert backgrounds[1] < 0.05


def luminance(color: list[float]) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = np.array(color) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


# The model that comes with latentlab


@pytest.fixture(scope="module")
def shipped(browser: Browser) -> Iterator[Browser]:
    """Return the browser with the page of the shipped model."""
    with demo_page() as files, serving(files) as found:
        assert files["model/decoder.onnx"].parent == MODELS_FOLDER / "digits"
        yield open_page(browser, found)


def test_the_shipped_model_draws_what_python_draws(shipped: Browser) -> None:
    rng = np.random.default_rng(3)
    model = load_run().model
    z = rng.normal(0, 1.5, (50, model.config.latent)).astype(np.float32)
    labels = rng.integers(0, 10, 50)
    drawn = decode_in(shipped, z, labels)
    expected = model.images(torch.from_numpy(z), torch.from_numpy(labels))
    np.testing.assert_allclose(drawn, expected.flatten(1), atol=1e-4)


def test_z3_of_the_shipped_model_turns_every_digit_on_the_canvas(shipped: Browser) -> None:
    assert shipped.run("return document.getElementById('hero').ariaLabel").startswith("z₃, leans")
    for label in range(10):
        shipped.run("latentlab.state.set({label: arguments[0]})", label)
        slants = []
        for value in np.linspace(-2, 2, 9):
            shipped.run(MOVE, "#hero", value)
            slants.append(np.degrees(slant_of(ink_of(shipped, "#digit")[None])[0]))
        assert slants[-1] - slants[0] >= 20, label
        assert (np.diff(slants) > 0).all(), label


# What it says when it cannot


def message_of(browser: Browser, address: str) -> str:
    browser.visit(address)
    browser.run(
        "for (let turn = 0; turn < 100; turn++) { await new Promise((go) => setTimeout(go, 100));"
        "if (!document.getElementById('message').hidden) return; }"
    )
    assert browser.run("return document.getElementById('message').checkVisibility()")
    assert browser.run("return document.getElementById('app').checkVisibility()") is False
    assert browser.run("return document.getElementById('loading').checkVisibility()") is False
    return " ".join(browser.run("return document.getElementById('message').innerText").split())


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("model/decoder.onnx", "The model file is missing The server answered 404"),
        ("model/onnx.json", "The model file is missing The server answered 404"),
        ("vendor/ort-wasm-simd-threaded.wasm", "The runtime file is missing"),
        ("vendor/ort.wasm.bundle.min.mjs", "The runtime did not load"),
    ],
)
def test_a_missing_file_is_named(browser: Browser, page: Page, missing: str, told: str) -> None:
    with serving({name: path for name, path in page.items() if name != missing}) as address:
        message = message_of(browser, address)
    assert message.startswith(told)
    assert missing in message


def test_a_damaged_model_is_named(browser: Browser, page: Page, tmp_path: Path) -> None:
    (tmp_path / "decoder.onnx").write_bytes(b"this is no model")
    (tmp_path / "onnx.json").write_text(json.dumps({"format": "another"}))
    with serving({**page, "model/decoder.onnx": tmp_path / "decoder.onnx"}) as address:
        assert message_of(browser, address).startswith("The model did not start model/decoder.onnx")
    with serving({**page, "model/onnx.json": tmp_path / "onnx.json"}) as address:
        assert message_of(browser, address).startswith("The model file cannot be read")


def test_a_web_page_in_place_of_a_file_is_named(browser: Browser, page: Page) -> None:
    with serving(page, onnx="text/html; charset=utf-8") as address:
        assert "a web page (text/html) for model/decoder.onnx" in message_of(browser, address)
    with serving({**page, "vendor/ort-wasm-simd-threaded.wasm": page["index.html"]}) as address:
        assert "a web page (text/html) for vendor" in message_of(browser, address)


def test_a_wrong_type_of_the_runtime_is_reported(browser: Browser, page: Page) -> None:
    with serving(page, wasm="application/octet-stream") as address:
        open_page(browser, address)
        notice = browser.run("return document.getElementById('notice').innerText")
        assert "application/octet-stream instead of application/wasm" in notice
        assert browser.run("return document.getElementById('app').checkVisibility()")
    with serving(page, mjs="text/plain") as address:
        assert "it must be sent as text/javascript" in message_of(browser, address)


def test_scripts_of_the_wrong_type_leave_a_message(browser: Browser, page: Page) -> None:
    with serving(page, js="text/plain") as address:
        browser.visit(address)
        hidden = "return getComputedStyle(document.querySelector('.fallback')).visibility"
        assert browser.run(hidden) == "hidden"
        browser.run("await new Promise((go) => setTimeout(go, 6000))")
        assert browser.run(hidden) == "visible"
        text = browser.run("return document.querySelector('.fallback').innerText")
    assert "The page's script did not start" in text
    assert "text/javascript" in text


def test_a_browser_without_webassembly_is_told_so(browser: Browser, address: str) -> None:
    added = browser.cdp("Page.addScriptToEvaluateOnNewDocument", source="delete window.WebAssembly")
    try:
        message = message_of(browser, address)
    finally:
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
    assert message.startswith("This browser has no WebAssembly")


# Other ways to the page


def test_a_copy_works_in_any_folder_of_any_server(
    browser: Browser, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cli = CommandLine(tmp_path, tmp_path, capfd)
    run = save_sheared(tmp_path / "run")
    site = tmp_path / "host" / "some where" / "site"
    facts = cli("digits", "demo", run, "--export", site, "--json").facts
    assert all(Path(path).is_file() for path in facts["files"])
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "host"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        root = f"http://127.0.0.1:{server.server_port}/"
        open_page(browser, root + "some%20where/site/")
        assert browser.logs("browser") == []
        assert all(url.startswith((root, "data:")) for url in browser.requests())
        image = browser.run("return Array.from(await latentlab.decode([0, 0, 0, 1, 0], 4))")
        server.shutdown()
    expected = python_images([[0.0, 0.0, 0.0, 1.0, 0.0]], [4])[0]
    np.testing.assert_allclose(np.reshape(image, (SIZE, SIZE)), expected, atol=1e-4)
    exported = site / "model"
    again = cli("digits", "demo", exported, "--export", tmp_path / "again", "--json")
    assert again.code == 0
    (site / "mine.txt").write_text("mine")
    refused = cli("digits", "demo", exported, "--export", site)
    assert refused.code == 3
    assert "mine.txt, which latentlab did not write" in refused.err


class QuietHandler(SimpleHTTPRequestHandler):
    """Python's own server of files, without its log."""

    def log_message(self, *_: Any) -> None:
        pass


def test_models_that_use_no_label_have_no_tiles(browser: Browser, tmp_path: Path) -> None:
    model = build_model(DigitsConfig("vae", latent=1, hidden=(4,), size=8))
    mean = torch.zeros(2, 1)
    run = DigitsRun("plain", model, {}, Codes(mean, mean, torch.zeros(2, dtype=torch.int64)))
    export_onnx(run, tmp_path)
    with demo_page(str(tmp_path)) as files, serving(files) as address:
        open_page(browser, address)
        assert browser.logs("browser") == []
        assert browser.run("return document.getElementById('labels').checkVisibility()") is False
        browser.run(MOVE, "#hero", 1)
        assert browser.run("return latentlab.state.z") == [1]
