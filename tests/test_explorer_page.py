"""The explorer in a real browser: what it shows, how it follows a hand, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from webdriver import Browser

import latentlab
from latentlab.explorer.opening import Explorer, explore
from latentlab.explorer.state import State, latent_of
from latentlab.images.arrays import to_uint8

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOADED = "while (!window.latentlab) await new Promise((go) => setTimeout(go, 20));"
SETTLE = """
    await new Promise((go) => setTimeout(go, 30));
    while (!latentlab.viewer.settled) await new Promise((go) => setTimeout(go, 10));
"""
FITTED = """
    const ended = performance.now() + 60000;
    for (;;) {
        const scene = latentlab.scene();
        if (scene.fits.length && (scene.fits[0].complete || !arguments[0])) return scene.fits[0];
        if (performance.now() > ended) throw new Error('no directions in time');
        await new Promise((go) => setTimeout(go, 30));
    }
"""
MOVE = "latentlab.state.set(arguments[0]);" + SETTLE
PIXELS = """
    const canvas = document.querySelector(arguments[0]);
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    return {width, height, data: Array.from(data)};
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of this file."""
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    """Return a running explorer of a model that is fast and known in closed form."""
    how: dict[str, Any] = {"neighborhood": "tokens", "size": 64, "port": 0, "browser": False}
    with explore(latentlab.load_vae("linear"), "sample:flower", **how) as running:
        yield running


def open_page(browser: Browser, address: str, hash_: str = "") -> Browser:
    browser.resize(1280, 900)
    browser.prefer(color_scheme="light", reduced_motion="no-preference")
    browser.visit(address + hash_)
    browser.run(LOADED + "await window.latentlab.ready;")
    browser.run(FITTED, False)
    browser.run(SETTLE)
    return browser


@pytest.fixture
def opened(browser: Browser, explorer: Explorer) -> Browser:
    """Return the browser with the page freshly loaded, once directions are there."""
    return open_page(browser, explorer.address)


def pixels_of(browser: Browser, selector: str) -> np.ndarray:
    """Return what a canvas shows, (H, W, 3), 0 to 255."""
    found = browser.run(PIXELS, selector)
    shape = (found["height"], found["width"], 4)
    return np.reshape(found["data"], shape)[..., :3].astype(int)


def expected_pixels(alphas: tuple[float, ...]) -> np.ndarray:
    """Return what Python decodes for the same state."""
    vae = latentlab.load_vae("linear")
    z = latentlab.encode(vae, "sample:flower", size=64)
    found = latentlab.find_directions(vae, z, latentlab.neighborhood(vae, z, "tokens"))
    latent = latent_of(State(alphas), z.values, found)
    return to_uint8(latentlab.decode(vae, latent)).numpy().astype(int)


def test_it_loads_without_errors_and_asks_no_other_host(
    browser: Browser, explorer: Explorer
) -> None:
    open_page(browser, explorer.address)
    browser.run(SETTLE)
    root = explorer.address.rstrip("/")
    hosts = (root, root.replace("http", "ws"), "data:", "blob:")
    requests = browser.requests()
    assert len(requests) > 5
    assert all(url.startswith(hosts) for url in requests), requests
    assert browser.logs("browser") == []
    assert browser.run("return document.getElementById('app').hidden") is False


def test_sliders_show_what_python_decodes(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": [1.5, 0, -2]})
    np.testing.assert_array_equal(pixels_of(opened, ".now canvas"), expected_pixels((1.5, 0, -2)))


def test_a_slider_is_moved_by_hand_and_reset_by_key_and_double_click(opened: Browser) -> None:
    before = pixels_of(opened, ".now canvas")
    opened.press("#direction-0", "\ue014" * 8)  # arrow right
    opened.run(SETTLE)
    assert opened.run("return latentlab.state.alphas[0]") == pytest.approx(0.4)
    assert opened.run("return document.querySelector('.row output').textContent") == "+0.40 σ"
    after = pixels_of(opened, ".now canvas")
    assert np.abs(after - before).max() > 2
    opened.press("#direction-0", "0")
    opened.run(SETTLE)
    assert opened.run("return latentlab.state.alphas[0]") == 0
    np.testing.assert_array_equal(pixels_of(opened, ".now canvas"), before)
    opened.press("#direction-1", "\ue012")  # arrow left
    assert opened.run("return latentlab.state.atStart") is False
    opened.run("document.getElementById('direction-1').dispatchEvent(new MouseEvent('dblclick'));")
    assert opened.run("return latentlab.state.atStart") is True


def test_the_map_of_changes_is_the_difference_from_the_start(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": []})
    opened.run(MOVE, {"alphas": [3]})
    change = np.abs(expected_pixels((3,)) - expected_pixels(())).mean() / 255
    told = opened.run("return document.querySelector('.view .told').textContent")
    assert float(told.split()[1]) == pytest.approx(100 * change, rel=5e-3)
