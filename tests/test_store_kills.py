"""Runs that are killed or interrupted give the same store in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import files_in
from image_folders import fill, make_folder, same_files

from latentlab.errors import FileError
from latentlab.store import shards as shards_module
from latentlab.store.reading import open_store
from latentlab.store.writing import ShardWriter

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("place") / "photos", 56, bad=True)


def killed(way: str, photos: Path, stores: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(TESTS / "killed_runs.py"), way, str(photos), str(stores)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_byte(photos: Path, tmp_path: Path) -> None:
    found = killed("random", photos, tmp_path)
    assert sum(store["kills"] for store in found) == 20
    assert all(store["same"] for store in found)
    assert [store["faults"] for store in found] == [[]] * len(found)
    index = (tmp_path / "whole" / "index.jsonl").read_text().splitlines()
    paths = [json.loads(line)["path"] for line in index]
    assert len(set(paths)) == len(paths) == 60  # none missing, none twice


@pytest.mark.slow
def test_a_kill_before_any_step_leaves_no_shard_that_looks_complete_but_is_not(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "photos", 10)
    found = killed("steps", folder, tmp_path)
    # List, manifest and index, and two files a shard, each with two fsyncs and a renaming.
    assert len(found) > 3 * (3 + 2 * 3)
    assert sum(store["kills"] for store in found) == len(found) - 1
    assert all(store["same"] for store in found)
    assert [fault for store in found for fault in store["faults"]] == []


def test_files_are_on_the_disk_before_they_get_their_names(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def note_fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        events.append(f"sync {name.split('-')[0]}" if name.startswith(".") else "sync folder")
        fsync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        events.append(f"name {Path(target).name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    fill(photos, tmp_path / "store", per_shard=1000)
    names = ["pictures.jsonl", "store.json", "latents-00000.safetensors", "latents-00000.jsonl"]
    expected = []
    for name in (*names, "index.jsonl"):
        expected += [f"sync .{name.split('-')[0].split('.')[0]}", f"name {name}", "sync folder"]
    assert events == expected


def encode(photos: Path, out: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "latentlab", "encode", str(photos), "--out", str(out)),
        *("-m", "linear", "--size", "16", "--per-shard", "2", "--quiet", *options),
    ]


def wait_for(path: Path) -> None:
    limit = time.monotonic() + 100
    while not path.exists():
        assert time.monotonic() < limit, path
        time.sleep(0.002)


def start(photos: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        encode(photos, out, *options), stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.slow
def test_a_killed_command_ends_its_workers_and_can_be_resumed(photos: Path, tmp_path: Path) -> None:
    process = start(photos, tmp_path / "store", "--workers", "2")
    wait_for(tmp_path / "store" / "latents-00000.jsonl")
    os.killpg(process.pid, signal.SIGSTOP)
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    process.kill()
    os.killpg(process.pid, signal.SIGCONT)
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert not (tmp_path / "store" / "index.jsonl").exists()
    subprocess.run(encode(photos, tmp_path / "store"), check=True, timeout=100)
    subprocess.run(encode(photos, tmp_path / "whole", "--workers", "0"), check=True, timeout=100)
    assert same_files(tmp_path / "store", tmp_path / "whole")
    assert len(open_store(tmp_path / "store")) == 57  # --size enlarges the tiny one


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_one_line(photos: Path, tmp_path: Path) -> None:
    process = start(photos, tmp_path / "store", "--workers", "1")
    wait_for(tmp_path / "store" / "latents-00000.jsonl")
    os.killpg(process.pid, signal.SIGSTOP)  # so that it cannot end while its workers are listed
    workers = psutil.Process(process.pid).children()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    os.killpg(process.pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "error: interrupted; files with their final names are complete\n"
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert not [name for name in files_in(tmp_path / "store") if name.startswith(".")]


@pytest.mark.slow
def test_an_interrupt_at_any_moment_ends_the_writer(tmp_path: Path) -> None:
    script = Path(__file__).with_name("interrupted_writer.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], timeout=200, capture_output=True, text=True
    )
    assert done.stdout == "1000\n", done.stderr


def test_an_error_in_the_writer_is_raised(tmp_path: Path) -> None:
    (tmp_path / "latents-00000.safetensors").mkdir()
    with ShardWriter(tmp_path) as writer:
        writer.write((0, {}, []))
        with pytest.raises(FileError, match="cannot be written"):
            writer.wait()


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(
    photos: Path, tmp_path: Path
) -> None:
    fill(photos, tmp_path)
    before = files_in(tmp_path)
    for name in ("latents-00001", "pictures", "store", "index"):
        suffix = {"latents-00001": ".safetensors", "store": ".json"}.get(name, ".jsonl")
        (tmp_path / f".{name}-0123abcd{suffix}").write_bytes(b"half")
    (tmp_path / ".mine.jsonl").write_bytes(b"kept")
    fill(photos, tmp_path)
    assert files_in(tmp_path) == {**before, ".mine.jsonl": b"kept"}


def test_the_index_is_written_after_what_it_describes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    opened = shards_module.open_durably

    def note(path: Path) -> Any:
        order.append(path.suffix)
        # Latents of another run never lie beside an index that is not theirs.
        assert not path.with_suffix(".jsonl").exists()
        return opened(path)

    fill(photos, tmp_path, per_shard=30)
    before = files_in(tmp_path)
    (tmp_path / "latents-00001.safetensors").write_bytes(b"")
    monkeypatch.setattr(shards_module, "open_durably", note)
    with pytest.warns(UserWarning, match="shard 1"):
        fill(photos, tmp_path, per_shard=30)
    assert order == [".safetensors", ".jsonl"]
    assert files_in(tmp_path) == before
