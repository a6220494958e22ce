"""The explorer in a notebook: the page in a cell, and its state in Python.

The page asks the same :class:`~latentlab.explorer.session.Session` as it asks over a WebSocket;
here its messages are those of a widget. Sessions run in a thread of their own, so that sliders are
live between cells.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import anywidget
from PIL import Image

from latentlab.errors import LatentlabError
from latentlab.explorer import messages, protocol
from latentlab.explorer.session import Session
from latentlab.explorer.state import State
from latentlab.web.pages import page_files

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from latentlab.explorer.scenes import Scene
    from latentlab.explorer.studio import Studio
    from latentlab.latents import Latent

MOST_UNSEEN = 4
"""Messages that a page may have before it, before it gets more."""
LARGEST_PLACE = 100_000
"""Characters of the longest link that is kept for the next page."""
_ELSEWHERE = {"main.js", "widget.js", "static.js", "stored.js", "local.js", "worker.js"}
_ELSEWHERE |= {"latent.js", "frames.js", "static.css", "icon.svg"}


def front_end() -> str:
    """Return the module that anywidget runs: the page's files, and what puts them into a frame.

    Examples
    --------
    >>> front_end().splitlines()[-1][:31]
    'export default widgetOf({"blend'
    """
    files = page_files("explorer")
    texts = {
        name: path.read_text(encoding="utf-8")
        for name, path in files.items()
        if name not in _ELSEWHERE
    }
    source = files["widget.js"].read_text(encoding="utf-8")
    return f"{source}\nexport default widgetOf({json.dumps(texts)});\n"


class Wire:
    """What a WebSocket is to a session: one view of a widget.

    Parameters
    ----------
    view : str, the view's name
    post : sends a message with buffers
    """

    def __init__(self, view: str, post: Callable[[Mapping[str, Any], list[bytes]], None]) -> None:
        self.view = view
        self._post = post
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._room = asyncio.Semaphore(MOST_UNSEEN)

    def put(self, message: dict[str, Any]) -> None:
        """Take a message of the page; called in the event loop."""
        self._received.put_nowait(message)

    def make_room(self) -> None:
        """Take note that the page has seen a message; called in the event loop."""
        self._room.release()

    async def receive(self) -> dict[str, Any]:
        """Return the page's next message, in the form of a WebSocket's."""
        return await self._received.get()

    async def send_text(self, text: str) -> None:
        """Send text as soon as the page has seen what was sent before."""
        await self._room.acquire()
        self._post({"view": self.view, "text": text}, [])

    async def send_bytes(self, content: bytes) -> None:
        """Send bytes as soon as the page has seen what was sent before."""
        await self._room.acquire()
        self._post({"view": self.view}, [content])

    async def close(self, code: int = 1000) -> None:
        """End the talk."""
        self._post({"view": self.view, "closed": True}, [])


@dataclass(frozen=True, eq=False)
class _View:
    wire: Wire
    session: Session


class ExplorerWidget(anywidget.AnyWidget):
    """The explorer as a widget; :func:`latentlab.explore` makes one in a notebook.

    ``state`` says where the page is, ``alphas`` the steps along each direction, ``latent`` and
    ``image`` what this stands for.

    Parameters
    ----------
    studio : Studio
    greeting : what a page is told first
    """

    _esm = front_end()

    def __init__(self, studio: Studio, greeting: Mapping[str, Any]) -> None:
        super().__init__()
        self._studio = studio
        self._greeting = greeting
        self._views: dict[str, _View] = {}
        self._last: Session | None = None
        self._state = State()
        self._place = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="latentlab-widget", daemon=True
        )
        self._thread.start()
        self.on_msg(self._hear)

    # What Python sees

    @property
    def state(self) -> State:
        """Return where the page is: alphas, strokes and blend."""
        return self._state

    @property
    def alphas(self) -> tuple[float, ...]:
        """Return the steps along each direction; those left out at the end are 0."""
        return self._state.alphas

    @property
    def latent(self) -> Latent:
        """Return the latent of the state, in the first model."""
        scene, session = self._scene, self._last
        assert session is not None
        start = scene.subjects[0].latent
        values = scene.latent(self._state, 0, session.others)
        return replace(start, values=values, logvar=None, image=None)

    @property
    def image(self) -> Image.Image:
        """Return what the decoder makes of the state, in the first model."""
        scene, session = self._scene, self._last
        assert session is not None
        return Image.fromarray(
            scene.subjects[0].pixels(scene.latent(self._state, 0, session.others))
        )

    @property
    def _scene(self) -> Scene:
        scene = self._last.scene if self._last else None
        if scene is None:
            raise LatentlabError(
                "an explorer without an image", "one that is shown", "show it in a cell, and wait"
            )
        return scene

    # What the page says

    def _hear(self, _: Any, content: Any, buffers: list[Any]) -> None:
        if not isinstance(content, dict) or not isinstance(content.get("view"), str):
            return
        if self._loop.is_closed():
            return
        name = content["view"]
        if content.get("open"):
            self._loop.call_soon_threadsafe(self._begin, name)
        else:
            self._loop.call_soon_threadsafe(self._pass_on, name, content, [*map(bytes, buffers)])

    def _begin(self, name: str) -> None:
        wire = Wire(name, self._post)
        greeting = {**self._greeting, "place": self._place}
        session = Session(cast("WebSocket", wire), self._studio, greeting)
        self._views[name] = _View(wire, session)
        self._last = session
        task = self._loop.create_task(session.run())
        task.add_done_callback(lambda _: self._views.pop(name, None))

    def _pass_on(self, name: str, content: Mapping[str, Any], buffers: list[bytes]) -> None:
        view = self._views.get(name)
        if view is None:
            return
        text, place = content.get("text"), content.get("place")
        if content.get("closed"):
            view.wire.put({"type": "websocket.disconnect"})
        elif "seen" in content:
            view.wire.make_room()
        elif isinstance(place, str):
            self._place = place[:LARGEST_PLACE]
        elif buffers:
            view.wire.put({"type": "websocket.receive", "bytes": buffers[0]})
        elif isinstance(text, str):
            self._note(text, view.session)
            view.wire.put({"type": "websocket.receive", "text": text})

    def _note(self, text: str, session: Session) -> None:
        """Keep the state, if a message is one; what is none, the session complains of."""
        try:
            message = protocol.read_text(text)
        except protocol.ProtocolError:
            return
        if isinstance(message, messages.Show):
            self._state, self._last = message.state, session

    def _post(self, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        self.send(message, buffers)

    def close(self) -> None:
        """End all pages and their work."""
        if not self._loop.is_closed():
            self._studio.close()
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join()
            self._loop.close()
        super().close()

    def _end(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        ended.add_done_callback(lambda _: self._loop.stop())
