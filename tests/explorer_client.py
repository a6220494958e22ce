"""A page of the explorer without a browser: what it sends, and what it gets, as Python."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from latentlab.explorer.opening import Explorer


class Page:
    """One connection; messages that were not waited for are kept in ``heard``."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def show(self, id: int, *alphas: float, **more: Any) -> None:
        self.say("show", id=id, state={"alphas": list(alphas), **more})

    def send_image(self, content: bytes, *, role: str = "image", name: str = "cat.png") -> None:
        header = json.dumps({"type": "image", "role": role, "name": name}).encode()
        self.socket.send(len(header).to_bytes(4, "big") + header + content)

    def receive(self, timeout: float = 60) -> dict[str, Any]:
        """Return the next message; a frame's parts are in ``files``, by name."""
        message = self.socket.recv(timeout=timeout)
        found = json.loads(message) if isinstance(message, str) else unpack(message)
        self.heard.append(found)
        return found

    def wait_for(self, kind: str, timeout: float = 60, **fields: Any) -> dict[str, Any]:
        """Return the next message of a kind that has these fields."""
        end = time.monotonic() + timeout
        while True:
            found = self.receive(max(0.01, end - time.monotonic()))
            if found["type"] == kind and all(found.get(key) == fields[key] for key in fields):
                return found

    def send_and_listen(self, *frames: bytes) -> None:
        """Send and receive until the server ends the connection, which raises ConnectionClosed."""
        for frame in frames:
            self.socket.send(frame)
        while True:
            self.receive()

    def wait_for_fits(self, *, complete: bool = False) -> dict[str, Any]:
        """Return the scene once it has directions."""
        while True:
            found = self.receive()
            scene = found.get("scene")
            if scene and scene["fits"] and (not complete or scene["fits"][0]["complete"]):
                return dict(scene)


@contextmanager
def page_of(explorer: Explorer, *, host: str = "127.0.0.1") -> Iterator[Page]:
    """Yield a new page of a running explorer, after its greeting."""
    address = explorer.address.replace("http", "ws").replace("127.0.0.1", host) + "socket"
    origin: Any = f"http://{host}:{explorer.port}"
    with connect(address, origin=origin, max_size=None, proxy=None) as socket:
        page = Page(socket)
        assert page.receive()["type"] == "hello"
        yield page


def unpack(frame: bytes) -> dict[str, Any]:
    """Return the header of a frame, with its parts as ``files``."""
    length = int.from_bytes(frame[:4], "big")
    header = json.loads(frame[4 : 4 + length])
    place, files = 4 + length, {}
    for part in header["parts"]:
        files[part["name"]] = frame[place : place + part["bytes"]]
        place += part["bytes"]
    assert place == len(frame)
    return {**header, "files": files}


def pixels(content: bytes) -> np.ndarray:
    """Return the pixels (H, W, 3) of an image's bytes."""
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB")).astype(int)


def png_of(array: np.ndarray) -> bytes:
    """Return an array (H, W, 3) as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
