"""Digits from files: IDX as its specification says, damaged files, and a download to trust."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from latentlab.digits import download
from latentlab.digits.data import FILES, load_data, read_folder
from latentlab.digits.download import fetch_mnist, mnist_cache
from latentlab.digits.idx import read_idx
from latentlab.errors import DownloadError, FileError


def idx(array: np.ndarray) -> bytes:
    """Return an array of bytes as IDX: magic, big-endian sizes, content."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def small_mnist(folder: Path, *, packed: bool = True) -> dict[str, np.ndarray]:
    """Write a data set of MNIST's four files, 30 and 20 images of 8×8."""
    rng = np.random.default_rng(0)
    written = {}
    for part, count in (("train", 30), ("test", 20)):
        images, labels = FILES[part]
        written[images] = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        written[labels] = np.arange(count, dtype=np.uint8) % 10
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in written.items():
        content = gzip.compress(idx(array), mtime=0) if packed else idx(array)
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(content)
    return written


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)))
@settings(max_examples=25)
def test_images_come_back_as_they_were_written(images: np.ndarray) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "a", Path(folder) / "b"
        plain.write_bytes(idx(images))
        packed.write_bytes(gzip.compress(idx(images)))
        np.testing.assert_array_equal(read_idx(plain, "images"), images)
        np.testing.assert_array_equal(read_idx(packed, "images"), images)


@given(st.binary(max_size=64))
@settings(max_examples=60)
def test_any_other_bytes_are_a_file_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels"
        path.write_bytes(content)
        if content[:4] == bytes([0, 0, 8, 1]):
            return
        with pytest.raises(FileError):
            read_idx(path, "labels")


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_is_read_gzipped_or_not(tmp_path: Path, packed: bool) -> None:
    written = small_mnist(tmp_path, packed=packed)
    data = read_folder(tmp_path)
    expected = written["train-images-idx3-ubyte"].astype(np.float32) / 255
    np.testing.assert_array_equal(data.train.images[:, 0].numpy(), expected)
    assert data.test.labels.tolist() == written["t10k-labels-idx1-ubyte"].tolist()
    assert data.train.images.dtype == torch.float32
    assert data.train.labels.dtype == torch.int64
    for name, digest in data.sha256.items():
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


LABELS = "train-labels-idx1-ubyte.gz"
IMAGES = "train-images-idx3-ubyte.gz"
BIG = struct.pack(">HBB3I", 0, 8, 3, 2**31, 1000, 1000)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            LABELS,
            gzip.compress(idx(np.zeros((3, 2, 2))), mtime=0),
            "begins with 00000803",
        ),
        (IMAGES, b"P5 not at all", "begins with 5035206e"),
        (IMAGES, b"", "begins with nothing"),
        (
            IMAGES,
            idx(np.zeros((30, 8, 8)))[:-1],
            "only 1,919 bytes .* 1,920 bytes, as its header",
        ),
        (IMAGES, idx(np.zeros((30, 8, 8))) + b"x", "more than 1,920 bytes of images"),
        (IMAGES, idx(np.zeros((30, 8, 8)))[:9], "cannot be read .unpack requires"),
        (IMAGES, gzip.compress(idx(np.zeros((30, 8, 8))), mtime=0)[:-12], "cannot be read"),
        (IMAGES, BIG, r"a header for 2147483648 × 1000 × 1000 bytes"),
        (IMAGES, idx(np.zeros((29, 8, 8))), "29 images .* and 30 labels"),
        (IMAGES, idx(np.zeros((30, 8, 9))), "images of 8×9"),
        (LABELS, idx(np.full(30, 11)), "the label 11"),
        (IMAGES, idx(np.zeros((30, 6, 6))), "training images of 6 px and test images of 8"),
    ],
    ids=(
        *("images for labels", "another magic", "empty", "too short", "too long"),
        *("half a header", "half a gzip", "too large", "mismatch", "no square"),
        *("eleven", "two sizes"),
    ),
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    small_mnist(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="digits, mnist, or a folder"):
        load_data(str(tmp_path / "nowhere"))
    small_mnist(tmp_path)
    (tmp_path / LABELS).unlink()
    with pytest.raises(FileError, match="without train-labels-idx1-ubyte or"):
        load_data(str(tmp_path))


def test_the_small_set_is_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    bunch, data = load_digits(), load_data("digits")
    held_out = np.arange(len(bunch.target)) % 5 == 0
    np.testing.assert_allclose(data.test.images[:, 0].numpy() * 16, bunch.images[held_out])
    np.testing.assert_array_equal(data.train.labels.numpy(), bunch.target[~held_out])


@pytest.mark.shared
def test_mnist_is_read_whole(shared: Path) -> None:
    data = load_data(str(shared / "data" / "mnist"))
    assert (len(data.train), len(data.test), data.train.size) == (60_000, 10_000, 28)
    assert data.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # Published: mean 0.1307, standard deviation 0.3081.
    assert float(data.train.images.mean()) == pytest.approx(0.1307, abs=2e-4)
    assert float(data.train.images.std()) == pytest.approx(0.3081, abs=2e-4)


# Downloading


class Mirrors:
    """Two mirrors on this machine, what they serve, and what they were asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mirrors]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            content = served.files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    served = Mirrors(f"http://127.0.0.1:{server.server_port}/")
    small_mnist(tmp_path / "source")
    sums = {}
    for path in (tmp_path / "source").iterdir():
        content = path.read_bytes()
        sums[path.name] = (len(content), hashlib.sha256(content).hexdigest())
        served.files[f"/b/{path.name}"] = content
    monkeypatch.setattr(download, "SUMS", sums)
    monkeypatch.setattr(download, "MIRRORS", (served.address + "a/", served.address + "b/"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_mnist_is_fetched_once_from_the_first_mirror_that_has_it(mirrors: Mirrors) -> None:
    seen: list[tuple[str, int, int]] = []
    data = load_data("mnist", progress=lambda *news: seen.append(news))
    assert len(data.train) == 30
    assert len(mirrors.asked) == 8
    assert {what for what, _, _ in seen} == set(download.SUMS)
    assert all(done == total for _, done, total in seen)
    assert load_data("mnist").train.labels.tolist() == data.train.labels.tolist()
    assert load_data("mnist", offline=True).name == "mnist"
    assert len(mirrors.asked) == 8


def test_files_that_are_not_the_originals_are_not_kept(mirrors: Mirrors) -> None:
    name = next(iter(download.SUMS))
    mirrors.files[f"/b/{name}"] = b"<html>Sorry</html>"
    with pytest.raises(DownloadError, match=r"404|Not Found.*differ from the original") as caught:
        fetch_mnist()
    assert name in str(caught.value)
    assert not (mnist_cache() / name).exists()
    mirrors.files[f"/a/{name}"] = mirrors.files[f"/b/{name}"] + bytes(100_000)
    with pytest.raises(DownloadError, match="differ from the original"):
        fetch_mnist()


def test_a_damaged_file_in_the_cache_is_fetched_again(mirrors: Mirrors) -> None:
    folder = fetch_mnist()
    name = next(iter(download.SUMS))
    (folder / name).write_bytes(b"damaged")
    before = len(mirrors.asked)
    fetch_mnist()
    assert mirrors.asked[before:] == [f"/a/{name}", f"/b/{name}"]
    assert (folder / name).stat().st_size == download.SUMS[name][0]


def test_offline_asks_nobody(mirrors: Mirrors) -> None:
    with pytest.raises(DownloadError, match="--offline without "):
        load_data("mnist", offline=True)
    assert not mirrors.asked


def test_no_mirror_at_all_is_one_clear_error(
    mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(DownloadError, match=r"refused.*--data digits"):
        fetch_mnist()
