"""A model hub on 127.0.0.1 for huggingface_hub's client, which misbehaves on request.

It serves ``/api/models/<id>[/revision/<rev>]`` (commit and files) and
``/<id>/resolve/<rev>/<path>`` (HEAD and GET). ``hub.fault`` chooses how it misbehaves.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

PAGE = b"<!DOCTYPE html><html><body>Please log in to the guest network</body></html>"


@dataclass
class StubRepo:
    """A repository: path → bytes, for each branch; the commit is derived from the content."""

    files: dict[str, bytes]
    gated: bool = False
    tags: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        for name, files in {"main": self.files, **self.tags}.items():
            commit = commit_of(files)
            if revision in (name, commit):
                return commit, files
        return None


def commit_of(files: dict[str, bytes]) -> str:
    """Return the stub's commit SHA of these files."""
    digest = hashlib.sha1()
    for path in sorted(files):
        digest.update(path.encode() + b"\0" + files[path])
    return digest.hexdigest()


class HubStub:
    """The server, its repositories, the fault it simulates and the requests it received.

    Faults: ``api-html``, ``api-500``, ``api-404``, ``api-list``, ``api-hang``, ``api-401``,
    ``api-429``; ``file-500``, ``file-404``, ``file-no-headers``, ``file-short`` (the connection
    ends early, each time), ``file-wrong-length`` (the whole response is shorter than announced).
    """

    def __init__(self) -> None:
        self.repos: dict[str, StubRepo] = {}
        self.fault = ""
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def serve_hub() -> Iterator[HubStub]:
    """Run a stub on a free port of the loopback interface."""
    hub = HubStub()
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[HubStub]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append(f"{self.command} /{path}")
        self.hub.headers.append(dict(self.headers))
        if path.startswith("api/models/"):
            self._answer_api(*path.removeprefix("api/models/").partition("/revision/")[::2])
        else:
            repo, _, rest = path.partition("/resolve/")
            self._answer_file(repo, *rest.partition("/")[::2])

    def _answer_api(self, name: str, revision: str) -> None:
        fault = self.hub.fault
        if fault == "api-hang":
            self.hub.released.wait(20)
        if fault == "api-html":
            return self._send(200, PAGE, {"Content-Type": "text/html"})
        if fault == "api-list":
            return self._send(200, b"[]", {"Content-Type": "application/json"})
        if fault in ("api-401", "api-404", "api-429", "api-500", "api-503"):
            return self._send(int(fault[4:]), b"no")
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._refuse(404, "RepoNotFound")
        found = repo.at(revision or "main")
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = found
        listing = [{"rfilename": path, "size": len(body)} for path, body in files.items()]
        answer = {"id": name, "sha": commit, "gated": repo.gated, "siblings": listing}
        return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _answer_file(self, name: str, revision: str, path: str) -> None:
        fault = self.hub.fault
        if fault in ("file-404", "file-500"):
            return self._send(int(fault[5:]), b"no")
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._refuse(404, "RepoNotFound")
        if repo.gated and self.headers.get("Authorization") != "Bearer hf_good":
            return self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
        found = repo.at(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = found
        body = files.get(path)
        if body is None:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        if fault == "file-no-headers":
            return self._send(200, body)
        etag = hashlib.sha256(body).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}
        if fault == "file-wrong-length" and self.command == "GET":
            body = body[: len(body) // 2]
        return self._send(200, body, headers)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            cut = self.hub.fault == "file-short" and "/resolve/" in self.path and len(body) > 4096
            with suppress(ConnectionError):  # the client may have hung up
                self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = self.close_connection or cut
