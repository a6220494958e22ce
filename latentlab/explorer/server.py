"""The server of the explorer: who may talk to it, what it sends, and how it ends.

It listens on this machine only. Every address begins with a random token, so that other users of
the machine and pages of other sites cannot reach it; requests with a foreign Host or Origin are
refused, which also stops sites that rebind their name to this machine.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from latentlab.errors import LatentlabError
from latentlab.explorer.protocol import LARGEST_FRAME
from latentlab.explorer.session import Session
from latentlab.web.serving import HEADERS, LOOPBACK, REFUSAL, TYPES, bind_near, is_own

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import HTTPConnection, Request
    from starlette.websockets import WebSocket

    from latentlab.explorer.studio import Studio
    from latentlab.web.pages import Page

_METHODS = ("GET", "HEAD")
_REFUSED = 1008
_MOST_PAGES = 16
_PATIENCE = 30.0
_UNKNOWN = (
    "This address lacks its token. Open the one that `latentlab explore` printed when it started.\n"
)


class ExplorerServer:
    """Serves a studio's pages on 127.0.0.1, in a thread of its own, until it is closed.

    Parameters
    ----------
    studio : Studio
    page : address below the root → file
    hello : what every page is told first
    port : int, or the next free one if it is taken; 0 for any

    Raises
    ------
    UsageError : an impossible port, or one that this user may not open.
    """

    def __init__(
        self, studio: Studio, page: Page, hello: Mapping[str, Any], *, port: int = 8000
    ) -> None:
        self.studio = studio
        self.page = dict(page)
        self.hello = hello
        self.token = secrets.token_urlsafe(24)
        self._pages = 0
        self._listener = bind_near(port, _listen)
        self.port: int = self._listener.getsockname()[1]
        config = uvicorn.Config(
            self._app(),
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",
            ws_max_size=LARGEST_FRAME,
            ws_max_queue=4,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=64,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="latentlab-explorer", daemon=True)

    def start(self) -> None:
        """Begin to serve; returns once requests are answered."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_PATIENCE / 0.01)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            waited.wait(0.01)
        raise LatentlabError("no server", "one that starts", "run the command again")

    def _serve(self) -> None:
        self._server.run(sockets=[self._listener])

    @property
    def address(self) -> str:
        """Where a browser finds the page, with the token that lets it in."""
        return f"http://{LOOPBACK}:{self.port}/{self.token}/"

    def wait(self) -> None:
        """Wait until the server ends; KeyboardInterrupt passes through."""
        while self._thread.is_alive():
            self._thread.join(0.2)

    def close(self) -> None:
        """Stop serving and all work that was going on."""
        self.studio.close()
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        self._listener.close()

    def _app(self) -> Guarded:
        return Guarded(
            Starlette(
                routes=[
                    WebSocketRoute("/{token}/socket", self._talk),
                    Route("/{token}/{address:path}", self._send, methods=["GET"]),
                    Route("/{rest:path}", _refuse_address, methods=["GET"]),
                ]
            )
        )

    def _knows(self, connection: HTTPConnection) -> bool:
        token = str(connection.path_params["token"])
        return secrets.compare_digest(token.encode(), self.token.encode())

    async def _send(self, request: Request) -> Response:
        """Send the page's file of exactly this address; nothing is looked up on the disk."""
        if not self._knows(request):
            return PlainTextResponse(_UNKNOWN, 403)
        path = self.page.get(request.path_params["address"] or "index.html")
        content = None if path is None else _read(path)
        if path is None or content is None:
            return PlainTextResponse("There is no such file.\n", 404)
        return Response(content, media_type=TYPES.get(path.suffix, "application/octet-stream"))

    async def _talk(self, socket: WebSocket) -> None:
        if not self._knows(socket) or self._pages >= _MOST_PAGES:
            await socket.close(_REFUSED)
            return
        await socket.accept()
        self._pages += 1
        try:
            await Session(socket, self.studio, self.hello).run()
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # the page went away in the middle of a message
        finally:
            self._pages -= 1


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


async def _refuse_address(request: Request) -> Response:
    return PlainTextResponse(_UNKNOWN, 403)


class Guarded:
    """An app that only pages of this machine reach, with the usual headers on every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        needs_origin = scope["type"] == "websocket"
        if not is_own(headers.get(b"host"), headers.get(b"origin"), needs_origin=needs_origin):
            await _refuse(scope, send, REFUSAL, 403)
        elif scope["type"] == "http" and scope["method"] not in _METHODS:
            await _refuse(scope, send, "Nothing can be sent here.\n", 405)
        elif headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers:
            await _refuse(scope, send, "Nothing can be sent here.\n", 413)
        else:
            await self.app(scope, receive, _with_headers(send))


async def _refuse(scope: Any, send: Any, why: str, status: int) -> None:
    """Answer, and close the connection at once: what else was to come is not read."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _REFUSED})
        return
    more = {"Connection": "close", "Allow": ", ".join(_METHODS)}
    await PlainTextResponse(why, status, more)(scope, _nothing, _with_headers(send))


async def _nothing() -> Any:
    return {"type": "http.disconnect"}


def _with_headers(send: Any) -> Any:
    added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending
