"""The explorer in Chromium: from a slider's event to the picture, the first paint, and the map."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from report import Options, Row, Say, Table, at_least, at_most, table_of

import latentlab
from latentlab.explorer.opening import Explorer, explore
from latentlab.images.examples import example_folder

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from webdriver import Browser, find_programs

MODELS = {"linear": 0.06, "mini": 0.2}
"""Model → seconds within which a picture should follow the slider on two quiet cores."""
MOVES = 20
POINTS = 10_000
_READY = """
    while (!window.latentlab) await new Promise((go) => setTimeout(go, 10));
    await latentlab.ready;
    const shown = performance.now();
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    while (!latentlab.scene().fits[0]?.complete) await new Promise((go) => setTimeout(go, 50));
    return {paint: paint?.startTime ?? null, shown};
"""
# Moves a slider and waits for its picture; then for the exact one, so that nothing is left to do.
_FOLLOW = """
    const input = document.getElementById('direction-0');
    const found = [];
    for (let move = 0; move < arguments[0]; move++) {
        const drawn = new Promise((go) =>
            document.addEventListener('latentlab:drawn', (event) => go(event.detail),
                {once: true}));
        input.value = 0.1 + (move % 10) / 5;
        const begun = performance.now();
        input.dispatchEvent(new Event('input', {bubbles: true}));
        const {seconds} = await drawn;
        found.push([performance.now() - begun, 1000 * seconds]);
        while (!latentlab.viewer.settled) await new Promise((go) => setTimeout(go, 10));
    }
    return found;
"""
# Shows a map of so many points by chance, with pictures by chance, and moves it.
_PAN = """
    const count = arguments[0];
    const [side, columns] = [48, 20];
    const places = new Float32Array(2 * count).map(() => {
        const sum = Math.random() + Math.random() + Math.random() - 1.5;
        return 1.2 * sum;
    });
    latentlab.map.take({count, left_out: 0, other_shapes: 0, method: 'pca', seed: 0, components: 2,
        shares: [0.3, 0.1], places, neighbors: 1, nearest: new Uint32Array(count), colorings: [],
        names: Array(count).fill('image'), previews: false, side, columns});
    for (let first = 0; first < count; first += columns ** 2) {
        const canvas = new OffscreenCanvas(side * columns, side * columns);
        const context = canvas.getContext('2d');
        for (let tile = 0; tile < columns ** 2; tile++) {
            context.fillStyle = `hsl(${Math.random() * 360} 60% 50%)`;
            const row = Math.floor(tile / columns);
            context.fillRect(side * (tile % columns), side * row, side, side);
        }
        const picture = canvas.transferToImageBitmap();
        latentlab.map.addSheet({first, count: columns ** 2, picture});
    }
    const rates = [];
    for (const zoom of [1, 4, 4]) {
        latentlab.map.zoomAt(zoom);
        await new Promise((go) => setTimeout(go, 300));
        const begun = performance.now();
        for (let frame = 0; frame < 60; frame++) {
            latentlab.map.pan(frame % 2 ? 7 : -3, frame % 3 ? 2 : -3);
            await new Promise(requestAnimationFrame);
        }
        rates.push(60000 / (performance.now() - begun));
    }
    return rates;
"""


def measure(options: Options, say: Say) -> dict[str, Any]:
    """Return the times of each model and the frames a second of the map."""
    if find_programs() is None:
        return {"skipped": "chromium or chromedriver is not installed"}
    with tempfile.TemporaryDirectory() as place:
        browser = Browser(Path(place))
        try:
            browser.resize(1280, 900)
            models = [_follow(browser, name, options, say) for name in MODELS]
            say("map")
            with _store(Path(place)) as running:
                browser.visit(running.address)
                browser.run(_READY)
                rates = browser.run(_PAN, POINTS)
        finally:
            browser.quit()
    return {"models": models, "map": {"points": POINTS, "frames_per_second": rates}}


def _follow(browser: Browser, name: str, options: Options, say: Say) -> Row:
    say(name)
    how: dict[str, Any] = {"size": options.size, "neighborhood": "tokens"}
    with explore(latentlab.load_vae(name), **how, port=0, browser=False) as running:
        browser.visit(running.address)
        ready = browser.run(_READY)
        moves = sorted(browser.run(_FOLLOW, MOVES))
    decodes = sorted(decode for _, decode in moves)
    return {
        "model": name,
        "size": options.size,
        "seconds": moves[len(moves) // 2][0] / 1000,
        "seconds_95": moves[int(0.95 * len(moves))][0] / 1000,
        "decode_seconds": decodes[len(decodes) // 2] / 1000,
        "first_paint_seconds": (ready["paint"] or ready["shown"]) / 1000,
        "first_image_seconds": ready["shown"] / 1000,
    }


@contextmanager
def _store(place: Path) -> Iterator[Explorer]:
    vae = latentlab.load_vae("linear")
    latentlab.encode_folder(vae, example_folder(), place / "store", size=64, workers=0)
    with explore(vae, place / "store", neighborhood="tokens", port=0, browser=False) as running:
        yield running


def targets(figures: dict[str, Any]) -> list[Row]:
    found = [
        at_most(f"slider to picture, {row['model']}, seconds", row["seconds"], MODELS[row["model"]])
        for row in figures["models"]
    ]
    paint = max(row["first_paint_seconds"] for row in figures["models"])
    return [
        *found,
        at_most("first paint of the explorer, seconds", paint, 1),
        at_least("map of 10,000, frames a second", min(figures["map"]["frames_per_second"]), 30),
    ]


def tables(figures: dict[str, Any]) -> list[Table]:
    rates = figures["map"]["frames_per_second"]
    return [
        table_of(
            "The explorer: from a slider's event to the picture, in Chromium",
            figures["models"],
            ("model", "{model}, {size} px"),
            ("median s", "{seconds:.3f}"),
            ("95 % s", "{seconds_95:.3f}"),
            ("of it decoding", "{decode_seconds:.3f}"),
            ("first paint s", "{first_paint_seconds:.2f}"),
            ("first image s", "{first_image_seconds:.2f}"),
        ),
        table_of(
            f"The explorer's map of {figures['map']['points']:,} pictures, drawn by the processor",
            [{"zoom": zoom, "rate": rate} for zoom, rate in zip((1, 4, 16), rates, strict=True)],
            ("zoom", "{zoom}"),
            ("frames a second", "{rate:.0f}"),
        ),
    ]
