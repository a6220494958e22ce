"""A headless Chromium to test pages with, driven through chromedriver's HTTP interface."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
_PATIENCE = 60.0
# As numbers in JSON, the pixels of a wide canvas would take a minute.
_CANVAS = "return document.querySelectorAll(arguments[0])[arguments[1]].toDataURL();"


def find_programs() -> tuple[str, str] | None:
    """Return the paths of chromium and chromedriver, None where one is missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


class Browser:
    """One browser with one tab and an empty profile; end it with :meth:`quit`.

    Parameters
    ----------
    profile : Path, a folder for its own files
    more : flags of Chromium
    """

    def __init__(self, profile: Path, *more: str) -> None:
        programs = find_programs()
        assert programs is not None
        chromium, driver = programs
        self._flags = (*FLAGS, *more)
        port = _free_port()
        self._driver = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._root = f"http://127.0.0.1:{port}"
        self._session = ""
        try:
            self._wait_for_driver()
            self._open(chromium, profile)
        except BaseException:
            self._driver.kill()
            raise

    def _wait_for_driver(self) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                if self._ask("GET", "/status")["ready"]:
                    return
            except (URLError, ConnectionError):
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def _open(self, chromium: str, profile: Path) -> None:
        options = {"binary": chromium, "args": [*self._flags, f"--user-data-dir={profile}"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"script": 120_000, "pageLoad": 120_000},
        }
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = Request(
            self._root + path, content, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urlopen(request, timeout=180) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def visit(self, address: str) -> None:
        """Load an address anew, even where only its hash differs from the last."""
        self._ask("POST", f"{self._session}/url", {"url": "about:blank"})
        self.logs("browser")
        self.logs("performance")
        self._ask("POST", f"{self._session}/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what the body of an async function returns, given ``arguments``."""
        wrapped = (
            "const done = arguments[arguments.length - 1]; "
            f"(async (...arguments) => {{ {script} }})(...arguments)"
            ".then((value) => done({value}), (error) => done({error: String(error)}));"
        )
        body = {"script": wrapped, "args": list(arguments)}
        answer = self._ask("POST", f"{self._session}/execute/async", body)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def cdp(self, command: str, **parameters: Any) -> Any:
        """Return the answer to a command of Chrome's own protocol."""
        body = {"cmd": command, "params": parameters}
        return self._ask("POST", f"{self._session}/goog/cdp/execute", body)

    def logs(self, kind: str) -> list[dict[str, Any]]:
        """Return what was logged since the last call: ``browser`` or ``performance``."""
        logged = self._ask("POST", f"{self._session}/se/log", {"type": kind})
        assert isinstance(logged, list)
        return logged

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def element(self, selector: str) -> str:
        """Return the driver's name for the first element that a CSS selector finds."""
        body = {"using": "css selector", "value": selector}
        found = self._ask("POST", f"{self._session}/element", body)
        return str(next(iter(found.values())))

    def click(self, selector: str) -> None:
        """Click the middle of an element, as a hand would."""
        self._ask("POST", f"{self._session}/element/{self.element(selector)}/click", {})

    def press(self, selector: str, keys: str) -> None:
        """Focus an element and press keys."""
        body = {"text": keys}
        self._ask("POST", f"{self._session}/element/{self.element(selector)}/value", body)

    def screenshot(self) -> np.ndarray:
        """Return what is seen, (H, W, 3), 0 to 255."""
        answer = self.cdp("Page.captureScreenshot")
        with Image.open(io.BytesIO(base64.b64decode(answer["data"]))) as image:
            return np.array(image.convert("RGB"))

    def canvas(self, selector: str, index: int = 0) -> np.ndarray:
        """Return what the n-th of these canvases shows, (H, W, 3), 0 to 255."""
        return pixels_of_url(self.run(_CANVAS, selector, index))

    def resize(self, width: int, height: int, *, scale: float = 1, touch: bool = False) -> None:
        """Show the page at a size in CSS pixels, as a phone if ``touch``."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=touch,
        )

    def prefer(self, **features: str) -> None:
        """Set media features, such as ``color_scheme="dark"``."""
        named = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in features.items()
        ]
        self.cdp("Emulation.setEmulatedMedia", features=named)

    def quit(self) -> None:
        """End the browser and its driver."""
        try:
            if self._session:
                self._ask("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(timeout=30)


def pixels_of_url(url: str) -> np.ndarray:
    """Return the pixels (H, W, 3), 0 to 255, of a PNG in a ``data:`` address."""
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.array(image.convert("RGBA"))[..., :3].astype(int)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
