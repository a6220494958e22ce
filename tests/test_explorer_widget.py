"""The explorer as a widget: what Python hears and answers, and the page in a real browser."""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from webdriver import Browser, pixels_of_url

import latentlab
from latentlab.errors import LatentlabError, MissingExtraError
from latentlab.explorer import opening
from latentlab.explorer.opening import Explorer, explore
from latentlab.explorer.state import State, latent_of
from latentlab.explorer.widget import MOST_UNSEEN, ExplorerWidget, front_end
from latentlab.images.arrays import to_uint8

IMAGE = "sample:flower"
PATIENCE = 60.0


class Page:
    """A page of a widget without a browser: it opens a view, and keeps what is sent to it."""

    def __init__(self, widget: ExplorerWidget, view: str = "v", *, sees: bool = True) -> None:
        self.widget, self.view, self.sees = widget, view, sees
        self.heard: list[tuple[dict[str, Any], bytes]] = []
        widget.send = self._hear
        self.say(open=True)

    def say(self, *buffers: bytes, **content: Any) -> None:
        self.widget._handle_custom_msg({"view": self.view, **content}, list(buffers))

    def ask(self, **message: Any) -> None:
        self.say(text=json.dumps(message))

    def _hear(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        header = json.loads(content["text"]) if "text" in content else {"closed": True}
        rest = b""
        if buffers:
            length = int.from_bytes(buffers[0][:4], "big")
            header, rest = json.loads(buffers[0][4 : 4 + length]), buffers[0][4 + length :]
        self.heard.append((header, rest))
        if self.sees:
            self.say(seen=len(self.heard))

    def wait(self, kind: str, **wanted: Any) -> tuple[dict[str, Any], bytes]:
        """Return the first message of a kind."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for header, rest in tuple(self.heard):
                if header.get("type") == kind and wanted.items() <= header.items():
                    return header, rest
            time.sleep(0.01)
        raise AssertionError(f"no {kind} among {[one.get('type') for one, _ in self.heard]}")


@pytest.fixture
def widget() -> Iterator[ExplorerWidget]:
    made = explore(latentlab.load_vae("linear"), IMAGE, size=64, neighborhood="tokens", widget=True)
    assert isinstance(made, ExplorerWidget)
    yield made
    made.close()


def expected_image(alphas: tuple[float, ...]) -> np.ndarray:
    """Return what Python decodes for the same state, without the explorer."""
    vae = latentlab.load_vae("linear")
    z = latentlab.encode(vae, IMAGE, size=64)
    found = latentlab.find_directions(vae, z, latentlab.neighborhood(vae, z, "tokens"))
    return to_uint8(latentlab.decode(vae, latent_of(State(alphas), z.values, found))).numpy()


def test_a_page_is_greeted_and_shown_frames_and_its_state_comes_back(
    widget: ExplorerWidget,
) -> None:
    page = Page(widget)
    assert page.wait("hello")[0]["models"] == ["linear"]
    assert page.wait("scene")[1].startswith(b"\x89PNG")
    page.wait("fits")
    page.ask(type="show", id=1, state={"alphas": [1.5, 0, -2]})
    assert page.wait("frame", id=1, exact=True)[1].startswith(b"\x89PNG")
    assert widget.alphas == (1.5, 0, -2)
    assert widget.state == State((1.5, 0, -2))
    wanted = expected_image((1.5, 0, -2))
    np.testing.assert_array_equal(np.asarray(widget.image), wanted)
    decoded = latentlab.decode(latentlab.load_vae("linear"), widget.latent)
    np.testing.assert_array_equal(to_uint8(decoded).numpy(), wanted)


def test_before_a_page_there_is_no_image(widget: ExplorerWidget) -> None:
    assert widget.alphas == ()
    with pytest.raises(LatentlabError, match="Show it in a cell"):
        _ = widget.image


def test_a_page_that_sees_nothing_is_sent_no_more(widget: ExplorerWidget) -> None:
    page = Page(widget, sees=False)
    page.wait("hello")
    time.sleep(1.5)
    assert len(page.heard) == MOST_UNSEEN
    page.say(seen=1)
    page.say(seen=2)
    time.sleep(0.5)
    assert len(page.heard) == MOST_UNSEEN + 2


def test_mistakes_are_told_and_leave_the_state(widget: ExplorerWidget) -> None:
    page = Page(widget)
    page.wait("hello")
    page.ask(type="show", id=1, state={"alphas": [99]})
    assert "alphas 99" in page.wait("problem")[0]["text"]
    assert widget.state == State()
    widget._handle_custom_msg("nonsense", [])
    widget._handle_custom_msg({"view": 3, "open": True}, [])


def in_jupyter() -> tuple[str, SimpleNamespace]:
    return "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))


def in_marimo(*, running: bool = True) -> tuple[str, SimpleNamespace]:
    return "marimo", SimpleNamespace(running_in_notebook=lambda: running)


@pytest.mark.parametrize("notebook", [in_jupyter(), in_marimo()], ids=lambda one: str(one[0]))
def test_outside_of_a_notebook_it_is_a_page(
    monkeypatch: pytest.MonkeyPatch, notebook: tuple[str, SimpleNamespace]
) -> None:
    vae = latentlab.load_vae("linear")
    monkeypatch.setitem(sys.modules, *in_marimo(running=False))
    with explore(vae, IMAGE, size=64, port=0, browser=False) as running:
        assert isinstance(running, Explorer)
    monkeypatch.setitem(sys.modules, *notebook)
    made = explore(vae, IMAGE, size=64)
    assert isinstance(made, ExplorerWidget)
    made.close()


def test_without_anywidget_a_notebook_gets_a_page_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"latentlab\[notebook\]"):
        assert not opening.in_notebook()
    with pytest.raises(MissingExtraError, match=r"latentlab\[notebook\]"):
        explore(latentlab.load_vae("linear"), IMAGE, widget=True)


def test_the_front_end_is_one_module_with_all_that_its_page_imports() -> None:
    source = front_end()
    *_, last = source.splitlines()
    files = json.loads(last.removeprefix("export default widgetOf(").removesuffix(");"))
    for name, text in files.items():
        if name.endswith(".js"):
            assert {*re.findall(r'from "\./([^"]+)"', text)} <= set(files), name
    assert {"index.html", "style.css", "embedded.css", "embedded.js", "page.js"} <= set(files)


# In a browser

STUB = """<!doctype html><title>notebook</title><body><div id="cell"></div><script type="module">
import widget from "./widget.mjs";
const listeners = { "msg:custom": [], comm_live_update: [] };
const heard = listeners["msg:custom"];
window.model = {
  outbox: [],
  on: (event, listener) => listeners[event].push(listener),
  off: (event, listener) => listeners[event].splice(listeners[event].indexOf(listener), 1),
  send: (content, _, buffers = []) => model.outbox.push({ content, buffers: buffers.map(encoded) }),
  deliver: (content, buffers) =>
    heard.forEach((listener) => listener(content, buffers.map(decoded))),
  restart_kernel: () => listeners.comm_live_update.forEach((listener) => listener()),
};
const encoded = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
const decoded = (text) =>
  new DataView(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
window.show = async () => {
  window.leave = await widget.render({ model, el: document.getElementById("cell") });
};
await window.show();
</script>"""
INSIDE = """
    const inside = document.querySelector('iframe').contentWindow;
    if (!inside?.latentlab?.viewer) return null;
    const { latentlab } = inside;
"""
SHOWN = """
    const canvas = inside.document.querySelector('.now canvas');
    return latentlab.viewer.settled ? canvas.toDataURL() : null;
"""


class Quiet(SimpleHTTPRequestHandler):
    """A server of a folder that says nothing."""

    def guess_type(self, path: Any) -> str:
        """Return the media type of the two files."""
        return "text/javascript" if str(path).endswith(".mjs") else "text/html; charset=utf-8"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal clean."""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[tuple[Browser, str]]:
    """Return a browser, and the address of a page that does what a notebook does."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text(STUB, encoding="utf-8")
    (tmp_path / "site/widget.mjs").write_text(front_end(), encoding="utf-8")
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        browser = Browser(tmp_path / "profile")
        yield browser, f"http://127.0.0.1:{server.server_port}/index.html"
        browser.quit()
        server.shutdown()


class Courier:
    """Carries messages between a widget and the stub of its model in a browser."""

    def __init__(self, browser: Browser, widget: ExplorerWidget) -> None:
        self.browser, self.widget = browser, widget
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        widget.send = lambda content, buffers: self.sent.append((dict(content), buffers))

    def until(self, script: str, *arguments: Any) -> Any:
        """Return what a script in the frame returns, as soon as it returns something."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for one in self.browser.run("return model.outbox.splice(0)"):
                buffers = [base64.b64decode(part) for part in one["buffers"]]
                self.widget._handle_custom_msg(one["content"], buffers)
            while self.sent:
                content, buffers = self.sent.pop(0)
                parts = [base64.b64encode(part).decode() for part in buffers]
                self.browser.run("model.deliver(...arguments)", content, parts)
            found = self.browser.run(INSIDE + script, *arguments)
            if found:
                return found
        raise AssertionError(f"nothing in time: {self.browser.logs('browser')}")


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_runs_in_a_cell(widget: ExplorerWidget, notebook: tuple[Browser, str]) -> None:
    browser, address = notebook
    browser.visit(address)
    courier = Courier(browser, widget)
    courier.until("return latentlab.scene().fits.length && latentlab.viewer.settled;")
    browser.run(INSIDE + "latentlab.state.set({alphas: [1.5, 0, -2]});")
    shown = pixels_of_url(courier.until(SHOWN))
    np.testing.assert_array_equal(shown, expected_image((1.5, 0, -2)))
    assert widget.alphas == (1.5, 0, -2)
    time.sleep(0.5)  # the page writes its address, which must not be the notebook's
    assert browser.run("return location.href") == address
    assert browser.run("return document.title") == "notebook"
    severe = [one for one in browser.logs("browser") if one["level"] == "SEVERE"]
    assert [one for one in severe if "favicon" not in one["message"]] == []
    assert all(
        "127.0.0.1" in url or url.startswith(("blob:", "data:")) for url in browser.requests()
    )
    # A notebook that moves a cell renders it anew, or loads its frame anew.
    first = widget._last
    browser.run("document.getElementById('cell').append(document.querySelector('iframe'));")
    courier.until("return latentlab.state.alphas.length && latentlab.viewer.settled;")
    assert courier.until("return latentlab.state.alphas;") == [1.5, 0, -2]
    assert widget._last is not first
    assert len(widget._views) == 1
    browser.run("window.leave()")
    assert browser.run("return model.outbox.at(-1).content.closed") is True
    browser.run("await window.show();")
    courier.until("return latentlab.state.alphas.length && latentlab.viewer.settled;")
    assert courier.until("return latentlab.state.alphas;") == [1.5, 0, -2]
    assert browser.run("return location.href") == address
    browser.run("model.restart_kernel(); model.send = () => { throw new Error('Cannot send'); };")
    told = courier.until("return inside.document.getElementById('status').textContent;")
    assert told == "The notebook's kernel has ended. Run the cell again."
    assert [one for one in browser.logs("browser") if one["level"] == "SEVERE"] == []
