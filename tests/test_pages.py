"""Pages on disk: their files, copies for static hosts, and what is fetched for them."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import re
import stat
import sys
import tarfile
from pathlib import Path

import pytest
from command_line import files_in

from latentlab.errors import DownloadError, FileError, MissingExtraError
from latentlab.web import pages
from latentlab.web.pages import WEB_FOLDER, export_page, gpu_files, page_files, runtime_files

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
fetch_web_runtime = importlib.import_module("fetch_web_runtime")

CONTENT = {"one.mjs": b"one", "two.wasm": b"two"}


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Path]:
    """Return a page of two files."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "index.html").write_text("hello")
    (source / "deep" / "x.js").write_text("1")
    return {"index.html": source / "index.html", "deep/x.js": source / "deep" / "x.js"}


@pytest.fixture
def small_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two small files stand for onnxruntime-web."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(pages, "RUNTIME", sums)
    monkeypatch.setattr(fetch_web_runtime, "RUNTIME", sums)
    for module in (pages, fetch_web_runtime):
        monkeypatch.setattr(module, "RUNTIME_GPU", {})


def test_the_page_names_no_other_host() -> None:
    for path in page_files("digits").values():
        addresses = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", path.read_text())
        assert set(addresses) <= {"http://www.w3.org"}, path.name  # the name space of SVG


def test_the_page_is_made_of_small_files() -> None:
    sizes = {name: path.stat().st_size for name, path in page_files("digits").items()}
    assert max(sizes.values()) < 16_000
    assert sum(sizes.values()) < 64_000


def test_a_page_that_does_not_exist_is_named() -> None:
    with pytest.raises(FileError, match=r"nonsense without index\.html"):
        page_files("nonsense")


def test_a_copy_holds_the_page_and_a_record(page: dict[str, Path], tmp_path: Path) -> None:
    files = export_page(page, tmp_path / "made" / "site")
    found = files_in(tmp_path / "made" / "site")
    assert found.pop("latentlab-page.json")
    assert found == {"index.html": b"hello", "deep/x.js": b"1"}
    assert all(path.is_file() for path in files)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["site"]
    mode = (tmp_path / "made" / "site").stat().st_mode
    assert stat.S_IMODE(mode) == 0o755


def test_an_earlier_copy_is_replaced_and_leaves_nothing(
    page: dict[str, Path], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()  # an empty folder is fine
    export_page({**page, "old.js": page["deep/x.js"]}, site)
    page["index.html"].write_text("new")
    export_page(page, site)
    assert set(files_in(site)) == {"index.html", "deep/x.js", "latentlab-page.json"}
    assert (site / "index.html").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "source"]


@pytest.mark.parametrize("foreign", ["notes.txt", "deep/notes.txt", "index.html", ".git/config"])
def test_what_latentlab_did_not_write_stays(
    page: dict[str, Path], tmp_path: Path, foreign: str
) -> None:
    site = tmp_path / "site"
    export_page(page, site)
    (site / foreign).parent.mkdir(exist_ok=True)
    (site / foreign).write_text("mine")
    before = files_in(site)
    with pytest.raises(FileError, match=f"{foreign}, which latentlab did not write"):
        export_page(page, site)
    assert files_in(site) == before


def test_a_link_among_the_files_is_foreign(page: dict[str, Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    export_page(page, site)
    (site / "link").symlink_to(tmp_path)
    with pytest.raises(FileError, match="link, which latentlab did not write"):
        export_page(page, site)


def test_a_file_in_place_of_the_folder_is_refused(page: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "site").write_text("mine")
    with pytest.raises(FileError, match="a file, but expected a folder"):
        export_page(page, tmp_path / "site")


def test_a_copy_that_fails_leaves_the_earlier_one(page: dict[str, Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    export_page(page, site)
    before = files_in(site)
    with pytest.raises(FileError, match="cannot be written"):
        export_page({**page, "gone.js": tmp_path / "gone.js"}, site)
    assert files_in(site) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "source"]


def test_a_renaming_that_fails_brings_the_earlier_copy_back(
    page: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    export_page(page, site)
    before = files_in(site)
    true = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.parent.name.startswith(".site-"):
            raise OSError(28, "No space left on device")
        return true(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(FileError, match="No space left"):
        export_page(page, site)
    assert files_in(site) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "source"]


@pytest.mark.usefixtures("small_runtime")
def test_the_runtime_is_checked_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="Run `make setup`"):
        runtime_files(tmp_path)
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    assert set(runtime_files(tmp_path)) == {*(f"vendor/{n}" for n in CONTENT), "vendor/LICENSE.txt"}
    (tmp_path / "two.wasm").write_bytes(b"three")
    with pytest.raises(FileError, match="Remove it and run `make setup` again"):
        runtime_files(tmp_path)


def test_files_for_webgpu_are_left_out_unless_all_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(pages, "RUNTIME_GPU", sums)
    (tmp_path / "one.mjs").write_bytes(b"one")
    assert gpu_files(tmp_path) == {}
    (tmp_path / "two.wasm").write_bytes(b"two")
    assert gpu_files(tmp_path) == {f"vendor/{name}": tmp_path / name for name in CONTENT}
    (tmp_path / "two.wasm").write_bytes(b"three")
    with pytest.raises(FileError, match="not from onnxruntime-web"):
        gpu_files(tmp_path)


def test_the_license_of_the_runtime_comes_with_it() -> None:
    text = (WEB_FOLDER / "onnxruntime-web.LICENSE.txt").read_text()
    assert text.startswith("MIT License\n\nCopyright (c) Microsoft Corporation")


# scripts/fetch_web_runtime.py, with an npm of our own


def fake_npm(folder: Path, files: dict[str, bytes], code: int = 0) -> None:
    """Put an npm into a folder that delivers an archive of these files and logs its arguments."""
    folder.mkdir()
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    program = folder / "npm"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> "{folder}/calls"\n'
        + (f'/bin/cp "{folder}/package.tgz" ./it.tgz\n' if not code else "echo no way >&2\n")
        + f"exit {code}\n"
    )
    program.chmod(0o755)


@pytest.mark.usefixtures("small_runtime")
def test_what_npm_delivers_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path / "bin", {**CONTENT, "other.js": b"unwanted"})
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = tmp_path / "vendor"
    assert fetch_web_runtime.main(["--out", str(out)]) == 0
    assert files_in(out) == CONTENT
    os.utime(out / "one.mjs", (0, 0))
    assert fetch_web_runtime.main(["--out", str(out)]) == 0
    assert (out / "one.mjs").stat().st_mtime > 0  # make compares times
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert calls == [f"pack --silent onnxruntime-web@{pages.RUNTIME_VERSION}"]


@pytest.mark.usefixtures("small_runtime")
@pytest.mark.parametrize("options", [[], ["--if-possible"]])
def test_other_files_than_expected_are_never_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    fake_npm(tmp_path / "bin", {**CONTENT, "two.wasm": b"evil"})
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = tmp_path / "vendor"
    assert fetch_web_runtime.main(["--out", str(out), *options]) == DownloadError.exit_code
    assert "another two.wasm" in capsys.readouterr().err
    assert not (out / "two.wasm").exists()


@pytest.mark.usefixtures("small_runtime")
@pytest.mark.parametrize("npm", ["absent", "failing"])
def test_without_npm_or_network_setup_goes_on_if_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], npm: str
) -> None:
    if npm == "failing":
        fake_npm(tmp_path / "bin", CONTENT, code=1)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = ["--out", str(tmp_path / "vendor")]
    assert fetch_web_runtime.main(out) != 0
    assert fetch_web_runtime.main([*out, "--if-possible"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1].startswith(
        "going on without decoders in pages (`digits demo`, `explore --export`): Got no "
    )


def test_the_script_names_no_registry() -> None:
    source = Path(fetch_web_runtime.__file__).read_text()
    assert "http" not in source
    assert "registry" not in source
