"""Static pages that come with latentlab: their files, and copies of them.

A page is a mapping from the address of each file, below the page's root, to the file on disk.
Servers and exporters use that mapping alone and never list a folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from latentlab.errors import FileError, MissingExtraError
from latentlab.machine.files import check_folder, sha256_of_file
from latentlab.machine.parsing import WRONG_FACTS, parse_json

Page = Mapping[str, Path]

WEB_FOLDER = Path(__file__).resolve().parent
RUNTIME_FOLDER = WEB_FOLDER / "vendor"
RUNTIME_PACKAGE = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
RUNTIME = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}
"""File of onnxruntime-web → SHA-256; all that a page with a model needs of it."""
RUNTIME_GPU = {
    "ort.jspi.bundle.min.mjs": "07ec090355e11b342c95436db54da2d0c2bd5b1d319745bfd3337e6bdcf170ac",
    "ort-wasm-simd-threaded.jspi.wasm": (
        "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93"
    ),
}
"""Files of its build with WebGPU, which browsers with JavaScript Promise Integration can run."""

_LICENSE = WEB_FOLDER / "onnxruntime-web.LICENSE.txt"
_RECORD = "latentlab-page.json"


def page_files(name: str, web: Path = WEB_FOLDER) -> dict[str, Path]:
    """Return the files of a page of ``latentlab/web`` by address, without symbolic links.

    Raises
    ------
    FileError : there is no such page.

    Examples
    --------
    >>> "index.html" in page_files("digits")
    True
    """
    folder = web / name
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(folder)
    }
    if "index.html" not in files:
        raise FileError(
            f"{folder} without index.html", "a page of latentlab", "install latentlab again"
        )
    return files


def runtime_files(folder: Path = RUNTIME_FOLDER) -> dict[str, Path]:
    """Return the files of onnxruntime-web and its license, by address, after checking them.

    Raises
    ------
    MissingExtraError : they have not been fetched.
    FileError : they belong to another version than the pages are written for.
    """
    for name in RUNTIME:
        if not (folder / name).is_file():
            raise MissingExtraError(
                f"no {name} in {folder}",
                f"two files of {RUNTIME_PACKAGE} {RUNTIME_VERSION}",
                "run `make setup` in a checkout (it needs npm)",
            )
    return {**_checked(folder, RUNTIME), "vendor/LICENSE.txt": _LICENSE}


def gpu_files(folder: Path = RUNTIME_FOLDER) -> dict[str, Path]:
    """Return the files of onnxruntime-web for WebGPU, by address; none if one was not fetched.

    Raises
    ------
    FileError : they belong to another version than the pages are written for.
    """
    if not all((folder / name).is_file() for name in RUNTIME_GPU):
        return {}
    return _checked(folder, RUNTIME_GPU)


def _checked(folder: Path, sums: Mapping[str, str]) -> dict[str, Path]:
    for name, digest in sums.items():
        if sha256_of_file(folder / name) != digest:
            raise FileError(
                f"{folder / name}, which is not from {RUNTIME_PACKAGE} {RUNTIME_VERSION}",
                f"SHA-256 {digest[:12]}…",
                "remove it and run `make setup` again",
            )
    return {f"vendor/{name}": folder / name for name in sums}


def export_page(page: Page, folder: Path) -> list[Path]:
    """Copy a page into a folder that any static host can serve; return the files' paths.

    The copy is made next to the folder and then moved into place in one step. An existing folder
    may hold an unchanged earlier copy of a page and nothing else.

    Raises
    ------
    FileError : the folder holds other files, or cannot be written.
    """
    target = check_export_folder(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        prefix, beside = f".{target.name}-", target.parent
        with TemporaryDirectory(prefix=prefix, dir=beside, ignore_cleanup_errors=True) as staging:
            _fill(Path(staging, "page"), page)
            _put_in_place(Path(staging, "page"), target)
    except OSError as error:
        raise FileError(
            f"{folder}, which cannot be written ({error.strerror})",
            "a writable folder with free space",
            "free some space or choose another --export",
        ) from error
    return [folder / name for name in (*page, _RECORD)]


def check_export_folder(folder: Path) -> Path:
    """Return where a folder really is, if :func:`export_page` may write a page there.

    Raises
    ------
    FileError : the folder holds other files, or cannot be written.
    """
    target = folder.resolve() if folder.is_symlink() else folder.absolute()
    check_folder(target.parent)
    _refuse_foreign_files(target, folder)
    return target


def _refuse_foreign_files(target: Path, shown: Path) -> None:
    if target.exists() and not target.is_dir():
        raise FileError(f"{shown}, a file", "a folder", "choose another --export")
    written = _recorded(target)
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if (path.is_dir() and not path.is_symlink()) or name == _RECORD:
            continue
        is_foreign = path.is_symlink() or name not in written
        if is_foreign or sha256_of_file(path) != written[name]:
            raise FileError(
                f"{shown / name}, which latentlab did not write",
                "a new or empty folder, or an unchanged earlier export",
                "choose another --export or move that file away",
            )


def _recorded(target: Path) -> dict[str, str]:
    """Return name → SHA-256 of what an earlier export wrote; empty without one."""
    try:
        files = parse_json((target / _RECORD).read_text(encoding="utf-8"))["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (OSError, *WRONG_FACTS):
        return {}


def _fill(staging: Path, page: Page) -> None:
    sums = {}
    for name, path in page.items():
        content = path.read_bytes()
        sums[name] = hashlib.sha256(content).hexdigest()
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(content)
    (staging / _RECORD).write_text(json.dumps({"files": sums}, indent=2) + "\n", encoding="utf-8")


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename the new folder to its final name; restore the earlier one if that fails."""
    if not target.exists():
        staging.rename(target)
        return
    earlier = target.with_name(f"{staging.parent.name}-earlier")
    target.rename(earlier)
    try:
        staging.rename(target)
    except OSError:
        earlier.rename(target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
