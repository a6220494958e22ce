"""Record the explorer's page in headless Chromium as ``assets/explorer.webp``.

A mouse drags sliders of ``mini`` around a sample image; each frame is a screenshot of the page with
the exact image of that state, so the film is smoother than a slow machine would show it.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import latentlab
from latentlab.explorer.opening import explore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from webdriver import Browser

ASSETS = Path(__file__).resolve().parents[1] / "assets"
WIDTH, HEIGHT = 1100, 626
PADDING = 16
MOVES = ((0, 2.6), (2, -3.0), (3, 2.8))
"""Direction → how far it is dragged to one side, and then to the other, in σ."""
FRAMES_OF_A_MOVE = 22
MILLISECONDS = 90
REST = 600
_READY = """
    while (!window.latentlab) await new Promise((go) => setTimeout(go, 20));
    await latentlab.ready;
"""
_COMPLETE = "return latentlab.scene().fits[0]?.complete ?? false;"
_PATIENCE = 600.0
_SETTLED = """
    await new Promise((go) => setTimeout(go, 30));
    while (!latentlab.viewer.settled) await new Promise((go) => setTimeout(go, 10));
    await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
"""
# Where the thumb of a slider is for a value, in pixels of the window.
_THUMB = """
    const input = document.getElementById(`direction-${arguments[0]}`);
    const {left, top, width, height} = input.getBoundingClientRect();
    const thumb = parseFloat(getComputedStyle(input).getPropertyValue('--thumb')) * 16;
    const share = (arguments[1] - input.min) / (input.max - input.min);
    return [left + thumb / 2 + share * (width - thumb), top + height / 2];
"""
_TOP = "return document.querySelector('main').getBoundingClientRect().top + scrollY;"


def record(browser: Browser, address: str) -> Iterator[tuple[Image.Image, int]]:
    """Yield screenshots and how many milliseconds each is shown."""
    browser.resize(WIDTH, 1400)
    browser.visit(address)
    browser.run(_READY)
    _wait_for_labels(browser)
    top = browser.run(_TOP) - PADDING
    browser.run(_SETTLED)
    yield _shoot(browser, top), REST
    for direction, reach in MOVES:
        turns = 2 * np.pi * np.arange(1, FRAMES_OF_A_MOVE + 1) / FRAMES_OF_A_MOVE
        values = reach * np.sin(turns).round(6)
        _mouse(browser, "mousePressed", direction, 0)
        for value in values:
            _mouse(browser, "mouseMoved", direction, float(value))
            browser.run(_SETTLED)
            yield _shoot(browser, top), MILLISECONDS
        _mouse(browser, "mouseReleased", direction, 0)


def _wait_for_labels(browser: Browser) -> None:
    end = time.monotonic() + _PATIENCE
    while not browser.run(_COMPLETE):
        if time.monotonic() > end:
            raise TimeoutError(f"no labels of directions in {_PATIENCE:.0f} s")
        time.sleep(0.5)


def _mouse(browser: Browser, kind: str, direction: int, value: float) -> None:
    x, y = browser.run(_THUMB, direction, value)
    browser.cdp(
        "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
    )


def _shoot(browser: Browser, top: float) -> Image.Image:
    clip = {"x": 0, "y": top, "width": WIDTH, "height": HEIGHT, "scale": 1}
    answer = browser.cdp("Page.captureScreenshot", clip=clip)
    with Image.open(io.BytesIO(base64.b64decode(answer["data"]))) as image:
        return image.convert("RGB")


def main(arguments: list[str] | None = None) -> None:
    """Record and write the animation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ASSETS / "explorer.webp")
    parser.add_argument("--image", default="sample:flower")
    parser.add_argument("--quality", type=int, default=62)
    options = parser.parse_args(arguments)
    vae = latentlab.load_vae("mini")
    with (
        tempfile.TemporaryDirectory() as profile,
        explore(vae, options.image, port=0, browser=False) as running,
    ):
        browser = Browser(Path(profile))
        try:
            frames = list(record(browser, running.address))
        finally:
            browser.quit()
    first, *rest = [image for image, _ in frames]
    first.save(
        options.out,
        save_all=True,
        append_images=rest,
        duration=[shown for _, shown in frames],
        loop=0,
        quality=options.quality,
        method=6,
        allow_mixed=True,
    )
    print(f"{options.out}: {len(frames)} frames, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
