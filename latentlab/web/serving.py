"""A web server for one page, on this machine only, that sends nothing but the page's files."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from latentlab.errors import LatentlabError, UsageError
from latentlab.web.pages import Page

LOOPBACK = "127.0.0.1"
PORT = 8000
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""Suffix → media type; anything else is ``application/octet-stream``."""

# A page may fetch, run and show what comes with it, compile WebAssembly, and nothing else.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Headers of every answer."""
REFUSAL = "This server answers pages of this machine only.\n"
_OWN_HOSTS = {LOOPBACK, "localhost", "::1"}
_NEIGHBORS = 20


Bound = TypeVar("Bound")


def bind_near(port: int, bind: Callable[[int], Bound]) -> Bound:
    """Return what ``bind`` returns for a port, or for a free one if that port is in use.

    Parameters
    ----------
    port : int; 0 for any free port
    bind : called with a port; raises OSError if it cannot be used

    Raises
    ------
    UsageError : an impossible port, or one that this user may not open.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}", "a port from 0 to 65535", "pass --port 8000")
    candidates = [*range(port, min(port + _NEIGHBORS, 65536)), 0] if port else [0]
    for candidate in candidates:
        try:
            return bind(candidate)
        except PermissionError as error:
            raise UsageError(
                f"--port {port}, which this user may not open",
                "a port of 1024 or more",
                "pass --port 8000",
            ) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise LatentlabError("no free port", "one for the page", "stop another server or pass --port")


def is_own(host: str | None, origin: str | None, *, needs_origin: bool = False) -> bool:
    """Return whether a request names this machine as its host and, if it says so, its origin.

    A site that makes its own name point to this machine is thereby kept out.

    Examples
    --------
    >>> is_own("127.0.0.1:8000", None), is_own("127.0.0.1:8000", "http://127.0.0.1:8000")
    (True, True)
    >>> is_own("evil.example", None), is_own("localhost:8000", "http://evil.example")
    (False, False)
    """
    if host is None or (needs_origin and origin is None):
        return False
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name in _OWN_HOSTS and origin in (None, f"http://{host}")


class PageServer(ThreadingHTTPServer):
    """Serves a page on 127.0.0.1 at a port, or at a free one if that port is in use.

    Parameters
    ----------
    page : address below the root → file
    port : int; 0 for any free port
    types : suffix → media type

    Raises
    ------
    UsageError : an impossible port, or one that this user may not open.
    """

    daemon_threads = True

    def __init__(self, page: Page, *, port: int = PORT, types: Mapping[str, str] = TYPES) -> None:
        self.page = dict(page)
        self.types = dict(types)
        start = super().__init__
        bind_near(port, lambda candidate: start((LOOPBACK, candidate), _Handler))

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{LOOPBACK}:{self.port}/"

    def server_bind(self) -> None:
        """Bind without the base class's look-up of the name of 127.0.0.1."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, self.port

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore browsers that close the connection in the middle of a response."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version = "latentlab"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def _refuse(self) -> None:
        self.close_connection = True
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def _answer(self) -> None:
        if not is_own(self.headers["Host"], self.headers["Origin"]):
            self.close_connection = True
            self.send_error(HTTPStatus.FORBIDDEN, explain=REFUSAL.strip())
            return
        try:
            path = self._file_asked_for()
            file = path.open("rb")
        except (KeyError, OSError):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            kind = self.server.types.get(path.suffix, "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            if self.command == "GET":
                shutil.copyfileobj(file, self.wfile)

    do_GET = do_HEAD = _answer  # noqa: N815

    def _file_asked_for(self) -> Path:
        """Return the page's file of exactly this address; KeyError without one.

        Nothing is looked up on the disk.
        """
        if not self.path.startswith("/"):
            raise KeyError(self.path)
        address = unquote(urlsplit(self.path).path)[1:]
        return self.server.page[address or "index.html"]

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.command not in ("GET", "HEAD"):
            self.send_header("Allow", "GET, HEAD")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal for what the user asked for."""
