"""The explorer as a folder: what is written, what is refused, and what a browser makes of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from command_line import CommandLine
from PIL import Image as PillowImage
from webdriver import Browser

import latentlab
from latentlab.errors import FileError, UsageError
from latentlab.explorer import exporting, frames
from latentlab.explorer.decoders import products, quick_size, weights_of
from latentlab.explorer.exporting import ExportedExplorer, export_explorer
from latentlab.explorer.fits import Plan
from latentlab.explorer.state import State, Stroke, latent_of, matched
from latentlab.images.arrays import to_uint8
from latentlab.testing.linear_vae import LinearVAE
from latentlab.web.pages import WEB_FOLDER, gpu_files
from latentlab.web.serving import PageServer

TOKENS = Plan("tokens")
IMAGE = "sample:flower"
MODELS = ("linear", "mini")


@pytest.fixture(scope="session")  # tests of other files may come between those of this one
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportedExplorer]:
    """Return a page with two decoders: a linear one, and one of a real model."""
    folder = tmp_path_factory.mktemp("live") / "site"
    vaes = [latentlab.load_vae(name) for name in MODELS]
    return folder, export_explorer(vaes, IMAGE, folder, size=64, plan=TOKENS)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportedExplorer]:
    """Return a page with images that were decoded before."""
    folder = tmp_path_factory.mktemp("stills") / "site"
    vae = latentlab.load_vae("linear")
    return folder, export_explorer(vae, IMAGE, folder, size=64, plan=TOKENS, frames=True)


def described(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "scene/scene.json").read_text())
    assert isinstance(found, dict)
    return found


def search(model: str = "linear") -> tuple[Any, Any, Any]:
    """Return model, latent and directions, found without the explorer."""
    vae = latentlab.load_vae(model)
    z = latentlab.encode(vae, IMAGE, size=64)
    found = latentlab.find_directions(vae, z, latentlab.neighborhood(vae, z, "tokens"))
    return vae, z, found


# The folder


@pytest.mark.slow
def test_a_page_holds_its_files_and_their_sums(live: tuple[Path, ExportedExplorer]) -> None:
    folder, written = live
    sums = json.loads((folder / "latentlab-page.json").read_text())["files"]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*sums, "latentlab-page.json"}
    assert {path.relative_to(folder).as_posix() for path in written.files} == found
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert written.bytes == sum((folder / name).stat().st_size for name in found)
    assert "main.js" in found
    assert not found & {"static.js", "socket.js", "widget.js"}


@pytest.mark.slow
def test_latent_and_directions_are_files_of_float32(live: tuple[Path, ExportedExplorer]) -> None:
    folder, _ = live
    _, z, found = search()
    latent = np.fromfile(folder / "scene/0-latent.bin", "<f4")
    vectors = np.fromfile(folder / "scene/0-directions.bin", "<f4")
    np.testing.assert_array_equal(latent, z.values.numpy().ravel())
    np.testing.assert_array_equal(vectors, found.vectors.numpy().ravel())
    steps = [one["step"] for one in described(folder)["scene"]["fits"][0]["directions"]]
    np.testing.assert_allclose(steps, found.step_lengths.numpy(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_the_decoder_in_a_page_is_the_model(
    live: tuple[Path, ExportedExplorer], index: int
) -> None:
    folder, written = live
    vae, z, _ = search(MODELS[index])
    content = (folder / f"model/{index}.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content)
    values = z.values[None] + torch.randn(z.values.shape, generator=torch.Generator())
    (image,) = session.run(["image"], {"latent": values.numpy()})
    np.testing.assert_allclose(image, vae.decode(values).numpy(), atol=1e-4)
    assert len(content) < 10_000_000
    assert written.max_abs_diff is not None
    assert written.max_abs_diff <= 1e-4
    told = [one["max_abs_diff"] for one in described(folder)["models"]]
    assert max(told) == written.max_abs_diff


def test_images_decoded_before_lie_along_each_direction(
    stills: tuple[Path, ExportedExplorer],
) -> None:
    folder, written = stills
    vae, z, found = search()
    alphas = described(folder)["frames"]["alphas"]
    for k, step in ((0, 0), (2, 13)):
        expected = to_uint8(
            latentlab.decode(
                vae, z.values + alphas[step] * found.step_lengths[k] * found.vectors[k]
            )
        ).numpy()
        with PillowImage.open(folder / f"frames/0/{k}-{step}.jpg") as opened:
            shown = np.asarray(opened.convert("RGB"))
        assert np.abs(shown.astype(int) - expected).mean() < 2.5
    assert len([*folder.glob("frames/0/*.jpg")]) == 1 + 16 * len(found.labels)
    assert written.max_abs_diff is None
    assert not [*folder.rglob("*.onnx")]
    told = described(folder)["frames"]["bytes"]
    assert told == sum(path.stat().st_size for path in folder.glob("frames/0/*"))


def test_too_many_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST_BYTES", 10_000)
    vae = latentlab.load_vae("linear")
    with pytest.raises(UsageError, match=r"images of more than 0 MB.*Lower --size"):
        export_explorer(vae, IMAGE, tmp_path / "x", size=64, plan=TOKENS, frames=True)
    assert not (tmp_path / "x").exists()


def test_a_folder_of_others_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    monkeypatch.setattr(exporting, "read_subjects", pytest.fail)
    with pytest.raises(FileError, match=r"letter\.txt, which latentlab did not write"):
        export_explorer(latentlab.load_vae("linear"), IMAGE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_functions_are_decoded_before_and_the_reason_is_given(tmp_path: Path) -> None:
    written = export_explorer(LinearVAE(), IMAGE, tmp_path / "x", size=32, plan=TOKENS)
    assert written.engine == "frames"
    assert "consists of functions" in written.why


def test_the_command_writes_a_page(cli: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "page"
    options = ("-m", "linear", "-k", "tokens", "--size", "32", "--frames", "--json")
    facts = cli("explore", IMAGE, "--export", page, *options).facts
    assert facts["engine"] == "frames"
    assert facts["size"] == [32, 32]
    assert facts["bytes"] == sum(Path(path).stat().st_size for path in facts["files"])
    assert (page / "index.html").is_file()


def test_options_of_a_server_are_refused_with_an_export(cli: CommandLine, tmp_path: Path) -> None:
    done = cli("explore", IMAGE, "--export", tmp_path / "page", "--port", "8010", "--no-browser")
    assert done.code == 2
    assert "--port" in done.error
    assert "--no-browser" in done.error
    assert not (tmp_path / "page").exists()


def test_frames_without_a_folder_are_refused(cli: CommandLine) -> None:
    done = cli("explore", IMAGE, "--frames")
    assert done.code == 2
    assert "Add --export DIR" in done.err


@pytest.mark.slow
def test_every_key_of_a_scene_is_in_the_glossary(
    live: tuple[Path, ExportedExplorer], stills: tuple[Path, ExportedExplorer]
) -> None:
    text = (Path(__file__).parents[1] / "docs/glossary.md").read_text(encoding="utf-8")
    (section,) = [part for part in text.split("\n## ") if "`scene.json`" in part.splitlines()[0]]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    explained = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    found = set()
    for folder, _ in (live, stills):
        facts = described(folder)
        found |= {key for key in facts if key not in ("frames", "models")}
        found |= {f"frames.{key}" for key in facts.get("frames", {})}
        found |= {f"models.{key}" for one in facts["models"] for key in one}
    assert found == explained


# The decoder


def test_products_are_those_of_the_layers() -> None:
    vae = latentlab.load_vae("mini")
    quarter = products(vae, 64)
    assert products(vae, 128) == 4 * quarter  # every layer is a convolution
    first = 16 * 144 * 9 * 8 * 8
    assert quarter > 10 * first
    assert quick_size(vae) == 256
    assert weights_of(vae) < 10_000_000


# In a browser

SETTLE = """
    await new Promise((go) => setTimeout(go, 30));
    while (!latentlab.viewer.settled) await new Promise((go) => setTimeout(go, 10));
"""
SHOW = """
    while (!window.latentlab) await new Promise((go) => setTimeout(go, 20));
    await window.latentlab.ready;
    latentlab.state.set(arguments[0]);
"""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Yield the address of a folder while a server sends its files."""
    page = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    with PageServer(
        {name: path for name, path in page.items() if path.is_file()}, port=0
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.address
        finally:  # otherwise a test that fails keeps Python from ending
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of this file."""
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


def shown(browser: Browser, model: int = 0) -> np.ndarray:
    """Return the image that the page shows of a model, (H, W, 3), 0 to 255."""
    return browser.canvas(".now canvas:first-child", model)


def errors(browser: Browser) -> list[dict[str, Any]]:
    """Return what the page complained of; reading pixels here is worth a warning to Chromium."""
    return [one for one in browser.logs("browser") if one["level"] == "SEVERE"]


def random_states(count: int, directions: int) -> list[State]:
    """Return states, every second one with a stroke."""
    draw = np.random.default_rng(0)
    found = []
    for index in range(count):
        alphas = tuple(draw.uniform(-3, 3, directions).round(3).tolist())
        points = tuple(map(tuple, draw.uniform(0, 1, (3, 2)).round(3).tolist()))
        stroke = Stroke(int(draw.integers(directions)), round(draw.uniform(-4, 4), 2), 0.2, points)
        found.append(State(alphas, (stroke,) if index % 2 else ()))
    return found


def as_given(state: State) -> dict[str, Any]:
    return {
        "alphas": list(state.alphas),
        "strokes": [{**vars(one), "points": [*map(list, one.points)]} for one in state.strokes],
    }


@pytest.mark.browser
@pytest.mark.slow
def test_the_browser_decodes_what_python_decodes(
    browser: Browser, live: tuple[Path, ExportedExplorer]
) -> None:
    folder, _ = live
    match = described(folder)["scene"]["match"]
    first, second = (search(name) for name in MODELS)
    differences = []
    with serving(folder) as address:
        browser.visit(address)
        for state in random_states(20, len(first[2].labels)):
            browser.run(SHOW + SETTLE, as_given(state))
            other = matched(state, match["indices"], match["signs"])
            for index, (vae, z, found) in enumerate((first, second)):
                latent = latent_of(other if index else state, z.values, found)
                expected = to_uint8(latentlab.decode(vae, latent)).numpy()
                assert np.ptp(expected) > 50
                differences.append(np.abs(shown(browser, index) - expected).max())
        assert max(differences) <= 1, differences
        if described(folder)["webgpu"]:
            told = browser.run(BACKEND)
            assert re.search(
                r"in WebAssembly( on \d+ processors)? \(this browser has no WebGPU", told
            )
        assert all(url.startswith((address, "data:", "blob:")) for url in browser.requests())
        assert errors(browser) == []


@pytest.mark.browser
@pytest.mark.slow
def test_of_many_states_the_newest_is_decoded(
    browser: Browser, live: tuple[Path, ExportedExplorer]
) -> None:
    ask = """
        const asked = Array.from({length: 12}, (_, k) =>
            latentlab.engine.show({alphas: [k / 4 + 0.5], strokes: [], blend: 0}));
        const frames = await Promise.all(asked);
        return frames.map((frame) => frame !== null);
    """
    with serving(live[0]) as address:
        browser.visit(address)
        browser.run(SHOW + SETTLE, {"alphas": [1]})
        assert browser.run(ask) == [*[False] * 11, True]


@pytest.mark.browser
@pytest.mark.slow
def test_images_decoded_before_are_shown_one_direction_at_a_time(
    browser: Browser, stills: tuple[Path, ExportedExplorer]
) -> None:
    folder, _ = stills
    wait = "await new Promise((go) => setTimeout(go, 400));"
    with serving(folder) as address:
        browser.visit(address)
        browser.run(SHOW + wait, {"alphas": [1.1]})
        browser.run("latentlab.state.move(2, 2.5);" + wait)
        assert browser.run("return latentlab.state.alphas") == [0, 0, 2.5]
        with PillowImage.open(folder / "frames/0/2-13.jpg") as opened:
            expected = np.asarray(opened.convert("RGB")).astype(int)
        assert np.abs(shown(browser) - expected).max() <= 2
        browser.visit(address + "?new#a=1.2,2&p=0,1,0.2,500,500")
        browser.run(SHOW.replace("latentlab.state.set(arguments[0]);", wait))
        assert browser.run("return latentlab.state.shown") == {
            "alphas": [1, 0],
            "strokes": [],
            "blend": 0,
        }
        assert "one direction at a time" in browser.run("return document.body.innerText")
        assert errors(browser) == []
        assert all(url.startswith((address, "data:", "blob:")) for url in browser.requests())


class _PlainHost(SimpleHTTPRequestHandler):
    """A static host that sends no headers of its own."""

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def hosting(folder: Path) -> Iterator[str]:
    """Yield the address of a folder below the root of a plain static host."""
    handler = partial(_PlainHost, directory=str(folder.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{folder.name}/"
        finally:
            server.shutdown()
            thread.join()


OPENED = """
    const {type} = performance.getEntriesByType("navigation")[0];
    return {isolated: crossOriginIsolated, type, threads: window.latentlab?.engine?.threads,
        ready: /is ready/.test(document.getElementById("status")?.textContent)};
"""


def opened(browser: Browser) -> dict[str, Any]:
    """Return how a page was opened, once its decoder is ready; it may reload before."""
    end = time.monotonic() + 60
    while True:
        try:
            found = browser.run(OPENED)
        except AssertionError:  # it reloads just now
            found = {"ready": False}
        if found["ready"] or time.monotonic() > end:
            assert isinstance(found, dict)
            return found
        time.sleep(0.05)


REFUSAL = 'if (self.crossOriginIsolated) throw new Error("not here");'


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_on_a_plain_host_gets_its_threads_by_one_reload(
    browser: Browser, live: tuple[Path, ExportedExplorer], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    shutil.copytree(live[0], site)
    (site / "other.html").write_text("<!doctype html><title>Of others</title>", encoding="utf-8")
    with hosting(site) as address:
        browser.visit(f"{address}#a=1")
        first = opened(browser)
        assert first["isolated"] is True
        assert first["type"] == "reload"
        cores = os.cpu_count() or 1
        assert first["threads"] == min(max(cores - 1, min(cores, 2)), 4)
        assert browser.run("return latentlab.state.alphas") == [1]
        assert errors(browser) == []
        browser.visit(address)
        assert opened(browser) == {**first, "type": "navigate"}  # not again
        browser.visit(f"{address}other.html")  # a page that only lies beside it
        assert browser.run(
            "return [!!navigator.serviceWorker.controller, crossOriginIsolated]"
        ) == [
            True,
            False,
        ]
    alone = {"isolated": False, "type": "navigate", "threads": 1, "ready": True}
    # A browser, such as WebKit, that isolates the page and then loads no worker.
    refusing = altered(
        site, tmp_path / "refused", ("const PROCESSOR", f"{REFUSAL}\nconst PROCESSOR")
    )
    with hosting(refusing) as address:
        browser.visit(address)
        assert opened(browser) == {**alone, "type": "reload"}
    (site / "headers.js").unlink()
    with hosting(site) as address:
        browser.visit(address)
        assert opened(browser) == alone


@pytest.mark.browser
def test_a_page_that_is_opened_as_a_file_says_what_to_do(
    browser: Browser, stills: tuple[Path, ExportedExplorer]
) -> None:
    browser.visit((stills[0] / "index.html").as_uri())
    assert browser.run("return typeof window.latentlab") == "undefined"
    told = browser.run("return document.querySelector('#loading .fallback').textContent")
    assert "python -m http.server" in told


def altered(folder: Path, copy: Path, *changes: tuple[str, str]) -> Path:
    """Return a copy of a page whose worker has other lines."""
    shutil.copytree(folder, copy)
    worker = copy / "worker.js"
    text = worker.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    worker.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.browser
@pytest.mark.slow
def test_a_decoder_that_crashes_says_so_in_plain_words(
    browser: Browser, live: tuple[Path, ExportedExplorer], tmp_path: Path
) -> None:
    crash = """self.addEventListener("message", (event) => {
        if (event.data.type !== "show") return;
        event.stopImmediatePropagation();
        setTimeout(() => { throw new Error("out of memory"); });
    });
    const PROCESSOR"""
    folder = altered(live[0], tmp_path / "site", ("const PROCESSOR", crash))
    told = """
        const ended = performance.now() + 20000;
        for (;;) {
            const text = document.getElementById('status').textContent;
            if (/unexpectedly/.test(text) || performance.now() > ended) return text;
            await new Promise((go) => setTimeout(go, 20));
        }
    """
    with serving(folder) as address:
        browser.visit(address)
        browser.run(SHOW, {"alphas": [1]})
        assert browser.run(told).startswith("The decoder ended unexpectedly")
        browser.run(
            "document.getElementById('status').textContent = ''; latentlab.state.move(0, 2)"
        )
        assert "Reload the page" in browser.run(told)  # also later, and at once


@pytest.mark.browser
def test_one_value_that_is_no_number_is_a_difference(browser: Browser) -> None:
    worker = (WEB_FOLDER / "explorer/worker.js").read_text(encoding="utf-8")
    (function,) = re.findall(r"^function largestDifference.*?^}$", worker, re.DOTALL | re.MULTILINE)
    cases = "[[[0, 0, 0], [0, NaN, 0.5]], [[NaN, 0], [NaN, 0]], [[0, 1, 2], [0, 3, 1]]]"
    found = f"{cases}.map((pair) => String(largestDifference(...pair)))"
    assert browser.run(f"{function}\nreturn {found};") == ["NaN", "NaN", "2"]


WEBGPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
BACKEND = """
    const ended = performance.now() + 100000;
    for (;;) {
        const text = document.getElementById('facts').textContent;
        if (/WebGPU/.test(text) || performance.now() > ended) return text;
        await new Promise((go) => setTimeout(go, 50));
    }
"""


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not gpu_files(), reason="`make setup` fetches the runtime for WebGPU")
def test_webgpu_decodes_the_same_where_a_browser_has_it(tmp_path: Path) -> None:
    """On a processor that stands for a graphics card: it is slower, so speed does not count."""
    vae, z, found = search()
    export_explorer(vae, IMAGE, tmp_path / "made", size=64, plan=TOKENS)
    changes = (("after >= before", "false"), ("PATIENCE = 15_000", "PATIENCE = 90_000"))
    folder = altered(tmp_path / "made", tmp_path / "site", *changes)
    browser = Browser(tmp_path / "profile", *WEBGPU)
    try:
        with serving(folder) as address:
            browser.visit(address)
            browser.run(SHOW + SETTLE, {"alphas": []})
            told = browser.run(BACKEND)
            within = re.search(r"on WebGPU: .* within ([\d.]+) levels of 255", told)
            assert within is not None, told
            assert float(within[1]) <= 1
            for state in random_states(4, len(found.labels)):
                browser.run(SHOW + SETTLE, as_given(state))
                latent = latent_of(state, z.values, found)
                expected = to_uint8(latentlab.decode(vae, latent)).numpy()
                assert np.abs(shown(browser) - expected).max() <= 1
            assert errors(browser) == []
    finally:
        browser.quit()
