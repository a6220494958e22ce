"""The server of pages: what it sends, what it keeps to itself, and how it ends."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from interrupted_server import interrupt_server

from latentlab.errors import UsageError
from latentlab.web.pages import page_files
from latentlab.web.serving import PageServer

FILES = {
    "index.html": "text/html; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "vendor/ort.mjs": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "vendor/run.wasm": "application/wasm",
    "model/decoder.onnx": "application/octet-stream",
    "model/onnx.json": "application/json",
    "icon.svg": "image/svg+xml",
    "a name.txt": "text/plain; charset=utf-8",
}
OUTSIDE = [
    *("/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/%2E%2E%2Fsecret.txt"),
    *("/vendor/../../secret.txt", "/vendor/%2e%2e/%2e%2e/secret.txt", "/....//secret.txt"),
    *("/..\\secret.txt", "/%5c..%5csecret.txt", "/%252e%252e/secret.txt", "/./index.html"),
    *("/vendor/../index.html", "//etc/passwd", "/etc/passwd", "/%2fetc/passwd"),
    *("file:///etc/passwd", "http://example.org/", "index.html", "*", "/index.html%00.txt"),
    *("/vendor/", "/vendor", "/model/", "/missing.html", "/.hidden", "/link.txt", "/linked/x.txt"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page ``page`` and, beside it, what nobody should see."""
    folder = tmp_path_factory.mktemp("web")
    for name in FILES:
        path = folder / "page" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    (folder / "secret.txt").write_text("secret")
    (folder / "page" / "link.txt").symlink_to(folder / "secret.txt")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "x.txt").write_text("secret")
    (folder / "page" / "linked").symlink_to(folder / "elsewhere")
    return folder


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[PageServer]:
    """Return a running server of the page."""
    with PageServer(page_files("page", root), port=0) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: PageServer, path: str, method: str = "GET", host: str = "Host: 127.0.0.1"
) -> tuple[int, dict[str, str], bytes]:
    """Send exactly this request, also one that no well-behaved client would send."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        request = f"{method} {path} HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()


@pytest.mark.parametrize(("name", "kind"), FILES.items())
def test_every_file_comes_with_its_type(server: PageServer, name: str, kind: str) -> None:
    status, headers, body = ask(server, "/" + name.replace(" ", "%20"))
    assert (status, body.decode()) == (200, f"this is {name}")
    assert headers["Content-Type"] == kind
    assert headers["Content-Length"] == str(len(body))


def test_the_root_is_the_index_and_queries_do_not_matter(server: PageServer) -> None:
    assert ask(server, "/")[2] == ask(server, "/?v=1")[2] == b"this is index.html"


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_but_the_pages_files_is_sent(server: PageServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert status in (400, 404)
    assert b"secret" not in body.replace(path.encode(), b"")
    assert b"this is" not in body
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(server: PageServer, method: str) -> None:
    status, headers, _ = ask(server, "/index.html", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "lines",
    [
        *("Host: evil.example", "Host: evil.example:8000", "Host: 127.0.0.1.evil.example"),
        *("Host: [::1", "X-Host: 127.0.0.1", "Host: 127.0.0.1\r\nOrigin: http://evil.example"),
        "Host: localhost\r\nOrigin: null",
    ],
)
def test_foreign_hosts_and_origins_are_refused(server: PageServer, lines: str) -> None:
    """A site may let its name point to this machine, and then read what is served here."""
    for path in ("/", "/missing"):
        status, headers, body = ask(server, path, host=lines)
        assert status == 403
        assert b"this is" not in body
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_no_route_answers_a_foreign_host_or_origin(server: PageServer) -> None:
    routes = ["/", "/missing", *OUTSIDE, *(f"/{name.replace(' ', '%20')}" for name in FILES)]
    for path in routes:
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            for lines in ("Host: evil.example", "Host: localhost\r\nOrigin: http://evil.example"):
                status, headers, body = ask(server, path, method, host=lines)
                assert status in (400, 403, 405), (path, method)
                assert "Access-Control-Allow-Origin" not in headers
                assert b"this is" not in body


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "localhost:8000", "[::1]:80"])
def test_names_of_this_machine_are_answered(server: PageServer, host: str) -> None:
    assert ask(server, "/", host=f"Host: {host}\r\nOrigin: http://{host}")[0] == 200


def test_head_is_get_without_the_body(server: PageServer) -> None:
    status, headers, body = ask(server, "/main.js", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len("this is main.js"))


@pytest.mark.parametrize("path", ["/", "/missing"])
def test_every_answer_forbids_other_origins(server: PageServer, path: str) -> None:
    headers = ask(server, path)[1]
    rules = dict(
        rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";")
    )
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert not any("http" in sources or "*" in sources for sources in rules.values())
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Python" not in headers["Server"]


def test_it_listens_on_this_machine_only(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.port}/"


def test_a_port_in_use_is_passed_over(root: Path, server: PageServer) -> None:
    with PageServer(page_files("page", root), port=server.port) as second:
        assert second.port != server.port
        assert ask(server, "/")[0] == 200


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(root: Path, port: int) -> None:
    with pytest.raises(UsageError, match="expected a port from 0 to 65535"):
        PageServer(page_files("page", root), port=port)


def test_a_file_that_has_gone_is_not_found(root: Path, tmp_path: Path) -> None:
    with PageServer({"index.html": tmp_path / "gone.html"}, port=0) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        assert ask(server, "/")[0] == 404
        server.shutdown()


def test_control_c_ends_it_cleanly(root: Path, tmp_path: Path) -> None:
    program = (
        "from contextlib import nullcontext; from pathlib import Path; "
        "from latentlab.web.pages import page_files; "
        "import latentlab.digits.demo as pages; "
        f"pages.demo_page = lambda run: nullcontext(page_files('page', Path({str(root)!r}))); "
        "from latentlab.cli.main import main; main(['digits', 'demo', '--no-browser'])"
    )
    code, _, errors = interrupt_server(program, tmp_path)
    assert code in (0, 130)
    assert "Traceback" not in errors
