"""The explorer's server: whom it answers, what it shows, and how it bears haste and hostility."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer_client import Page, page_of, pixels, png_of
from interrupted_server import interrupt_server
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import latentlab
from latentlab.errors import UsageError
from latentlab.explorer.opening import Explorer, explore
from latentlab.explorer.protocol import LARGEST_FRAME
from latentlab.explorer.state import State, Stroke, latent_of
from latentlab.images.arrays import to_uint8
from latentlab.loaders.base import LatentVAE

HOW: dict[str, Any] = {"neighborhood": "tokens", "size": 64, "port": 0, "browser": False}
SLOW = 0.1


@pytest.fixture(scope="module")
def vae() -> LatentVAE:
    """Return the model that is known in closed form."""
    return latentlab.load_vae("linear")


@pytest.fixture(scope="module")
def explorer(vae: LatentVAE) -> Iterator[Explorer]:
    """Return a running explorer of the sample image."""
    with explore(vae, "sample:flower", **HOW) as running:
        yield running


@pytest.fixture
def page(explorer: Explorer) -> Iterator[Page]:
    """Return a page that has its directions."""
    with page_of(explorer) as opened:
        opened.wait_for_fits()
        yield opened


class Slowed:
    """A model whose decoder takes a while and counts its calls."""

    def __init__(self, seconds: float = SLOW) -> None:
        self.vae = latentlab.load_vae("linear")
        self.seconds, self.decodes = 0.0, 0
        self._decode, self._encode = self.vae.decode, self.vae.encode
        self.vae.decode = self.decode  # type: ignore[method-assign]
        self.vae.encode = self.encode  # type: ignore[method-assign]
        self.slow = seconds

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.decodes += 1
        time.sleep(self.seconds)
        return self._decode(latents)

    def encode(self, images: torch.Tensor) -> Any:
        time.sleep(self.seconds)
        return self._encode(images)


def expected(vae: LatentVAE, state: State) -> np.ndarray:
    """Return what the steps of the Python API decode for a state."""
    z = latentlab.encode(vae, "sample:flower", size=64)
    found = latentlab.find_directions(vae, z, latentlab.neighborhood(vae, z, "tokens"))
    return to_uint8(latentlab.decode(vae, latent_of(state, z.values, found))).numpy().astype(int)


def is_alive(explorer: Explorer) -> bool:
    """Return whether a new page still gets an exact image."""
    with page_of(explorer) as page:
        page.wait_for("scene")
        page.show(1)
        return bool(page.wait_for("frame", exact=True)["files"])


# What a page sees


def test_a_scene_has_pictures_then_directions_then_a_verdict_then_labels(vae: LatentVAE) -> None:
    # An explorer of its own: one that others have used sends everything at once.
    with explore(vae, "sample:flower", **HOW) as explorer, page_of(explorer) as page:
        scene = page.wait_for("scene")
        z = latentlab.encode(vae, "sample:flower", size=64)
        assert z.image is not None
        files = scene["files"]
        np.testing.assert_array_equal(
            pixels(files["0/image"]), to_uint8(z.image.pixels).numpy().astype(int)
        )
        np.testing.assert_array_equal(pixels(files["0/reconstruction"]), expected(vae, State()))
        assert pixels(files["0/latent"]).shape == (8, 8, 3)
        assert pixels(files["0/channels"]).shape == (16 * 8, 8, 3)
        model = scene["scene"]["models"][0]
        assert model["psnr"] == pytest.approx(latentlab.reconstruct(vae, z).psnr)
        (fit,) = page.wait_for_fits(complete=True)["fits"]
    hood = latentlab.neighborhood(vae, z, "tokens")
    pca = latentlab.fit_pca(hood)
    shares = [one["share"] for one in fit["directions"]]
    np.testing.assert_allclose(shares, pca.explained_variance_ratio[:8], rtol=1e-5)
    samples = hood.samples.double().numpy()
    values = np.linalg.svd(samples - samples.mean(0), compute_uv=False) ** 2
    curve = np.cumsum(values) / values.sum()
    np.testing.assert_allclose(fit["spectrum"]["cumulative"], curve[:16], rtol=1e-5)
    assert fit["verdict"] == latentlab.judge(hood, pca).verdict
    assert fit["spectrum"]["nulls"][0]["name"] == "isotropic"
    assert all(one["meaning"] for one in fit["directions"])
    assert all(0 <= one["reliability"] <= 1 for one in fit["directions"])


def test_states_are_decoded_as_python_decodes_them(page: Page, vae: LatentVAE) -> None:
    stroke = {"direction": 1, "amount": 2.5, "radius": 0.3, "points": [[0.25, 0.25], [0.5, 0.4]]}
    page.show(5, 0.75, 0, -1.5, strokes=[stroke])
    frame = page.wait_for("frame", exact=True)
    assert frame["id"] == 5
    drawn = Stroke(1, 2.5, 0.3, ((0.25, 0.25), (0.5, 0.4)))
    wanted = expected(vae, State((0.75, 0, -1.5), (drawn,)))
    np.testing.assert_array_equal(pixels(frame["files"]["0"]), wanted)
    first = next(one for one in page.heard if one["type"] == "frame")
    assert first["exact"] is False
    assert np.abs(pixels(first["files"]["0"]) - wanted).mean() < 4


def test_an_image_that_is_sent_is_explored_and_the_first_one_comes_back(
    page: Page, vae: LatentVAE
) -> None:
    rng = np.random.default_rng(0)
    content = png_of(rng.integers(0, 256, (80, 120, 3)))
    page.send_image(content, name="../../noise.png")
    scene = page.wait_for("scene")
    assert scene["scene"]["image"]["name"] == "noise"
    assert scene["scene"]["models"][0]["size"] == [64, 64]  # as --size says
    z = latentlab.encode(vae, Image.open(io.BytesIO(content)), size=64)
    assert z.image is not None
    image = to_uint8(z.image.pixels).numpy()
    np.testing.assert_array_equal(pixels(scene["files"]["0/image"]), image)
    page.wait_for_fits()
    page.show(1)
    frame = pixels(page.wait_for("frame", exact=True)["files"]["0"])
    assert frame.shape == (64, 64, 3)
    page.say("restart")
    assert page.wait_for("scene")["scene"]["image"]["name"] == "flower"


def test_two_images_are_blended_along_the_straight_line(page: Page, vae: LatentVAE) -> None:
    gray = np.full((64, 64, 3), 90)
    page.send_image(png_of(gray), role="other", name="gray.png")
    assert page.wait_for("other")["name"] == "gray"
    page.show(1, blend=0.5)
    found = pixels(page.wait_for("frame", exact=True)["files"]["0"])
    first = latentlab.encode(vae, "sample:flower", size=64).values
    last = latentlab.encode(vae, gray.astype(np.uint8)).values
    wanted = to_uint8(latentlab.decode(vae, (first + last) / 2)).numpy().astype(int)
    assert np.abs(found - wanted).max() <= 1


def test_another_search_replaces_the_directions(page: Page) -> None:
    plan = {"neighborhood": "gaussian", "finder": "random", "n_samples": 16, "seed": 2}
    page.say("fit", **plan, region=[0, 0, 32, 32])
    while True:
        (fit,) = page.wait_for_fits()["fits"]
        if fit["plan"]["neighborhood"] == "gaussian":
            break
    assert fit["n_samples"] == 16
    assert fit["n_features"] == 16 * 4 * 4
    assert fit["directions"][0]["label"].startswith("random")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"neighborhood": "nonsense", "finder": "pca"}, "nonsense"),
        ({"neighborhood": "tokens", "finder": "nonsense"}, "nonsense"),
        ({"neighborhood": "tokens", "finder": "pca", "region": [0, 0, 640, 640]}, "640"),
        ({"neighborhood": "posterior", "finder": "pca"}, "posterior"),
    ],
)
def test_a_search_that_cannot_be_is_explained(page: Page, plan: Any, words: str) -> None:
    page.say("fit", **plan)
    assert words in page.wait_for("problem")["text"]
    page.show(1, 1)
    assert page.wait_for("frame", exact=True)["id"] == 1


def test_a_walk_comes_as_a_file(page: Page) -> None:
    walk = {"direction": 0, "span": 2, "steps": 5, "state": {"alphas": [0, 1]}}
    page.say("record", **walk, format="gif")
    (content,) = page.wait_for("file")["files"].values()
    with Image.open(io.BytesIO(content)) as animation:
        assert (animation.n_frames, animation.size) == (8, (64, 64))  # there and back
    page.say("record", **walk, format="json")
    (content,) = page.wait_for("file")["files"].values()
    facts = json.loads(content)
    alphas = [one["alphas"] for one in facts["states"]]
    assert alphas == [[alpha, 1] for alpha in (-2, -1, 0, 1, 2)]
    page.say("record", **{**walk, "direction": 200}, format="gif")
    assert "201" in page.wait_for("problem")["text"]


def test_the_python_of_a_state_makes_its_image(page: Page) -> None:
    stroke = {"direction": 0, "amount": 1, "radius": 0.2, "points": [[0.5, 0.5]]}
    state = {"alphas": [0.5, 0, -1], "strokes": [stroke]}
    page.say("show", id=1, state=state)
    shown = pixels(page.wait_for("frame", exact=True)["files"]["0"])
    page.say("code", state=state)
    names: dict[str, Any] = {}
    exec(compile(page.wait_for("code")["text"], "page", "exec"), names)
    np.testing.assert_array_equal(to_uint8(names["image"]).numpy().astype(int), shown)


def test_the_python_of_a_blend_makes_its_image(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.say("code", state={"blend": 0.5})
    assert "other" not in page.wait_for("code")["text"]  # there is none
    content = png_of(np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    (tmp_path / "noise.png").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    page.send_image(content, role="other", name="noise.png")
    page.wait_for("other")
    page.say("show", id=1, state={"blend": 0.5})
    shown = pixels(page.wait_for("frame", exact=True)["files"]["0"])
    page.say("code", state={"blend": 0.5})
    code = page.wait_for("code")["text"]
    assert "# noise.png stands for the image that is blended with." in code
    names: dict[str, Any] = {}
    exec(compile(code, "page", "exec"), names)
    np.testing.assert_array_equal(to_uint8(names["image"]).numpy().astype(int), shown)


# Haste


def test_of_a_hundred_states_in_a_second_few_are_decoded_and_the_last_is_shown() -> None:
    model = Slowed()
    with explore(model.vae, "sample:flower", **HOW) as explorer, page_of(explorer) as page:
        page.wait_for_fits(complete=True)
        model.seconds, model.decodes = SLOW, 0
        begun = time.monotonic()
        for event in range(100):
            page.show(event, event / 50)
            time.sleep(max(0, begun + (event + 1) / 100 - time.monotonic()))
        frame = page.wait_for("frame", exact=True)
        assert frame["id"] == 99
        assert 2 <= model.decodes <= 12
    wanted = expected(latentlab.load_vae("linear"), State((99 / 50,)))
    np.testing.assert_array_equal(pixels(frame["files"]["0"]), wanted)


def test_two_pages_do_not_disturb_each_other() -> None:
    model = Slowed(0.02)
    with (
        explore(model.vae, "sample:flower", **HOW) as explorer,
        page_of(explorer) as first,
        page_of(explorer, host="localhost") as second,
    ):
        for page in (first, second):
            page.wait_for_fits(complete=True)
        model.seconds = 0.02
        for turn in range(20):
            first.show(turn, turn / 10)
            second.show(100 + turn, 0, -turn / 10)
        frames = [page.wait_for("frame", exact=True) for page in (first, second)]
        assert [frame["id"] for frame in frames] == [19, 119]
        states = (State((1.9,)), State((0, -1.9)))
        for frame, state in zip(frames, states, strict=True):
            np.testing.assert_array_equal(
                pixels(frame["files"]["0"]), expected(latentlab.load_vae("linear"), state)
            )


def test_long_work_reports_its_progress_and_can_be_canceled() -> None:
    model = Slowed(0.05)
    with explore(model.vae, "sample:flower", **HOW) as explorer, page_of(explorer) as page:
        before = page.wait_for_fits(complete=True)
        model.seconds = 0.05
        page.say("fit", neighborhood="augment", finder="pca", n_samples=400)
        progress = page.wait_for("progress", what="sampling augment")
        assert progress["total"] == 400
        begun = time.monotonic()
        page.say("cancel")
        page.wait_for("idle")
        page.show(1, 1.0)
        page.wait_for("frame", exact=True)
        assert time.monotonic() - begun < 5
        encoded = model.decodes
        time.sleep(0.3)
        assert model.decodes == encoded
        page.say("fit", **{**before["fits"][0]["plan"], "seed": 0})
        assert page.wait_for_fits()["fits"][0]["plan"]["neighborhood"] == "tokens"


def test_a_page_that_leaves_ends_the_work_that_it_asked_for() -> None:
    model = Slowed(0.02)
    with explore(model.vae, "sample:flower", **HOW) as explorer:
        with page_of(explorer) as page:
            page.wait_for_fits(complete=True)
            model.seconds = 0.02
            page.say("fit", neighborhood="augment", finder="pca", n_samples=2000)
            page.wait_for("progress", what="sampling augment")
        time.sleep(0.5)
        names = [thread.name for thread in threading.enumerate()]
        assert any(name.startswith("latentlab-work") for name in names)
        model.seconds = 0
        assert is_alive(explorer)


# Hostility


def test_it_listens_on_this_machine_only(explorer: Explorer) -> None:
    listener = explorer._server._listener
    assert listener.getsockname()[0] == "127.0.0.1"
    assert explorer.address.startswith(f"http://127.0.0.1:{explorer.port}/")
    assert len(explorer.address.split("/")[3]) >= 32


def request(
    explorer: Explorer, path: str | None = None, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send exactly this request and return status, headers and body."""
    token = explorer.address.split("/")[3]
    path = f"/{token}/" if path is None else path.replace("TOKEN", token)
    lines = {"Host": f"127.0.0.1:{explorer.port}", **headers}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    with socket.create_connection(("127.0.0.1", explorer.port), timeout=10) as connection:
        start = f"{method} {path} HTTP/1.1\r\n{text}Connection: close\r\n\r\n"
        connection.sendall(start.encode("latin-1"))
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()


def test_the_page_comes_with_headers_that_forbid_other_origins(explorer: Explorer) -> None:
    status, headers, body = request(explorer)
    assert (status, b"<title>latentlab" in body) == (200, True)
    rules = headers["content-security-policy"]
    assert "default-src 'none'" in rules
    assert "http" not in rules
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    ["/", "/index.html", "/wrong/", "/wrong/main.js", "/TOKE/", "/TOKENx/", "//TOKEN/", "/socket"],
)
def test_without_the_token_nothing_is_sent(explorer: Explorer, path: str) -> None:
    status, headers, body = request(explorer, path.replace("TOKE/", "TOKEN"[:4] + "/"))
    assert status in (403, 404)
    assert b"<title>" not in body
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        *("../pages.py", "..%2fpages.py", "%2e%2e/pages.py", "digits/index.html", "/etc/passwd"),
        *("%2fetc%2fpasswd", "....//pages.py", "..\\pages.py", "index.html%00", "missing.js"),
    ],
)
def test_nothing_but_the_pages_files_is_sent(explorer: Explorer, path: str) -> None:
    status, _, body = request(explorer, f"/TOKEN/{path}")
    assert status in (400, 403, 404)
    assert b"root:" not in body
    assert b"import" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_foreign_hosts_and_origins_are_refused(explorer: Explorer, headers: Any) -> None:
    status, _, body = request(explorer, **headers)
    assert status in (400, 403)
    assert b"<title>" not in body


def test_no_route_answers_a_foreign_host_or_origin(explorer: Explorer) -> None:
    files = sorted(explorer._server.page)
    assert "index.html" in files
    foreign = ({"Host": "evil.example"}, {"Origin": "http://evil.example"})
    for path in ("/", "/TOKEN/", "/TOKEN/socket", "/x/", *(f"/TOKEN/{name}" for name in files)):
        assert request(explorer, path)[0] in (200, 403, 404)
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            for headers in foreign:
                status, answered, body = request(explorer, path, method, **headers)
                assert status in (400, 403, 405), (path, method)
                assert "access-control-allow-origin" not in answered
                assert len(body) < 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(explorer: Explorer, method: str) -> None:
    assert request(explorer, method=method)[0] in (400, 405)


@pytest.mark.parametrize(
    ("change", "origin"),
    [
        (lambda address: address, "http://evil.example"),
        (lambda address: address, None),
        (lambda address: address, "null"),
        (lambda address: address.replace("/socket", "x/socket"), "own"),
        (lambda address: address.rsplit("/", 2)[0] + "/socket", "own"),
    ],
)
def test_foreign_pages_get_no_connection(explorer: Explorer, change: Any, origin: Any) -> None:
    address = change(explorer.address.replace("http", "ws") + "socket")
    own = f"http://127.0.0.1:{explorer.port}"
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(address, origin=own if origin == "own" else origin, proxy=None),
    ):
        pass
    assert refused.value.response.status_code in (403, 404)


def test_a_gigabyte_is_refused_before_it_is_sent(explorer: Explorer) -> None:
    size = 1 << 30
    sent = 0
    token = explorer.address.split("/")[3]
    with socket.create_connection(("127.0.0.1", explorer.port), timeout=10) as connection:
        head = f"POST /{token}/ HTTP/1.1\r\nHost: 127.0.0.1:{explorer.port}\r\n"
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        try:
            while sent < size:
                sent += connection.send(bytes(1 << 16))
        except OSError:
            pass
    assert sent < 1 << 26
    with page_of(explorer) as page, pytest.raises(ConnectionClosed):
        page.send_and_listen(bytes(LARGEST_FRAME + 1))
    assert is_alive(explorer)


def bombs() -> dict[str, bytes]:
    """Return name → files that are small and claim or become much."""
    huge = io.BytesIO()
    Image.new("L", (16, 16)).save(huge, "PNG")
    claimed = bytearray(huge.getvalue())
    claimed[16:24] = (60_000).to_bytes(4, "big") * 2
    claimed[29:33] = zlib.crc32(bytes(claimed[12:29])).to_bytes(4, "big")
    wide = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(wide, "PNG")
    zipped = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat.png", bytes(50_000_000))
    text = zlib.compress(bytes(60_000_000), 9)
    chunk = b"zTXtcomment\0\0" + text
    body = len(chunk[4:]).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    texted = huge.getvalue()[:33] + body + huge.getvalue()[33:]
    return {
        "claims 3,600 million pixels": bytes(claimed),
        "81 million pixels in a few kB": wide.getvalue(),
        "a zip of zeros": zipped.getvalue(),
        "cut off": png_of(np.random.default_rng(0).integers(0, 256, (64, 64, 3)))[:4000],
        "a page": b"<!doctype html><script>alert(1)</script>",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "nothing": b"\0",
        "text": texted,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [*bombs()])
def test_bombs_and_what_is_no_image_are_refused(explorer: Explorer, name: str) -> None:
    with page_of(explorer) as page:
        page.wait_for("scene")
        begun = time.monotonic()
        page.send_image(bombs()[name], name="/etc/passwd")
        if name == "text":  # a picture of 16 pixels with a text that nobody has to unpack
            page.wait_for("scene")
        else:
            text = page.wait_for("problem")["text"]
            assert text.startswith("Got passwd")
            assert "/etc" not in text
            assert ("million pixels" in text) == ("million pixels" in name)
            assert [one["type"] for one in page.heard].count("scene") == 1
        assert time.monotonic() - begun < 20
        page.say("restart")
        page.show(1)
        assert page.wait_for("frame", exact=True)["id"] == 1


def test_a_page_that_sends_nonsense_is_told_so_and_dropped_in_the_end(explorer: Explorer) -> None:
    with page_of(explorer) as page:
        page.wait_for("scene")
        page.socket.send("nonsense")
        assert "JSON" in page.wait_for("problem")["text"]
        page.show(1)
        assert page.wait_for("frame")["id"] == 1
        with pytest.raises(ConnectionClosed):
            page.send_and_listen(*[b"\xff" * 8] * 30)
    assert is_alive(explorer)


def test_raw_bytes_in_place_of_requests_and_frames_do_no_harm(explorer: Explorer) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", explorer.port), timeout=10) as connection:
            connection.sendall(rng.bytes(int(rng.integers(1, 4000))))
    for _ in range(5):
        with page_of(explorer) as page:
            page.socket.socket.sendall(rng.bytes(300))
            with pytest.raises(ConnectionClosed):
                page.send_and_listen()
    assert is_alive(explorer)


# Beginning and end


def test_a_port_in_use_is_passed_over(vae: LatentVAE, explorer: Explorer) -> None:
    with explore(vae, **{**HOW, "port": explorer.port}) as second:
        assert second.port != explorer.port


def test_what_makes_no_sense_is_refused_at_once(vae: LatentVAE) -> None:
    with pytest.raises(UsageError, match="one or two"):
        explore([vae] * 3, **HOW)
    with pytest.raises(UsageError, match="nonsense"):
        explore(vae, **{**HOW, "neighborhood": "nonsense"})
    with pytest.raises(UsageError, match="0 to 65535"):
        explore(vae, **{**HOW, "port": -1})


def test_an_image_that_cannot_be_read_is_explained_on_the_page(vae: LatentVAE) -> None:
    with explore(vae, "missing.png", **HOW) as explorer, page_of(explorer) as page:
        assert "missing.png" in page.wait_for("problem")["text"]


@pytest.mark.slow
def test_control_c_ends_it_cleanly(tmp_path: Path) -> None:
    program = (
        "from latentlab.cli.main import main; "
        "main(['explore', '-m', 'linear', '--size', '64', '--no-browser', '--port', '0'])"
    )
    code, output, errors = interrupt_server(program, tmp_path)
    assert code in (0, 130)
    assert output == ""
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
