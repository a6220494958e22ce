"""Several processes fill one store: the same bytes whichever of them dies, and waits that end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from image_folders import fill, make_folder, same_files
from torch.distributed import HashStore

from latentlab import load_vae
from latentlab.errors import FileError, LatentlabError, RanksError, UsageError
from latentlab.machine import distributed
from latentlab.machine.distributed import Ranks, joined_ranks
from latentlab.store.workers import default_workers
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("place") / "photos", 20, bad=True)


def in_threads(world: int, job: Callable[[Ranks], Any]) -> list[BaseException | None]:
    """Run a job as each rank, in threads that share a board; return what each raised."""
    board = HashStore()
    raised: list[BaseException | None] = [None] * world

    def run(rank: int) -> None:
        try:
            job(Ranks(rank, world, rank, board))
        except (LatentlabError, KeyboardInterrupt) as error:
            board.set(f"failed/{rank}", "")
            raised[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return raised


@pytest.mark.parametrize("world", [2, 3, 12])
def test_any_number_of_ranks_gives_the_same_bytes(world: int, photos: Path, tmp_path: Path) -> None:
    fill(photos, tmp_path / "one")
    vaes = [LinearVAE() for _ in range(world)]
    raised = in_threads(
        world, lambda ranks: fill(photos, tmp_path / "many", ranks=ranks, vae=vaes[ranks.rank])
    )
    assert raised == [None] * world
    assert sum(vae.encoded for vae in vaes) == 20  # no image by two ranks
    assert same_files(tmp_path / "one", tmp_path / "many")


def test_the_same_ranks_fill_one_store_after_another(photos: Path, tmp_path: Path) -> None:
    fill(photos, tmp_path / "one")

    def fill_two(ranks: Ranks) -> None:
        for name in ("first", "second"):
            fill(photos, tmp_path / name, ranks=ranks)

    assert in_threads(2, fill_two) == [None, None]
    for name in ("first", "second"):
        assert same_files(tmp_path / "one", tmp_path / name)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE without RANK"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE without MASTER_PORT"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE="),
        ({"LOCAL_WORLD_SIZE": "0"}, "LOCAL_WORLD_SIZE=0"),
    ],
    ids=str,
)
def test_an_incomplete_environment_of_torchrun_is_refused(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=words), joined_ranks():
        default_workers()


def test_after_a_rank_is_lost_any_number_of_ranks_can_resume(photos: Path, tmp_path: Path) -> None:
    fill(photos, tmp_path / "whole")

    def without_the_last(ranks: Ranks) -> None:
        if ranks.rank == 2:
            ranks.wait("the list of images")
            raise KeyboardInterrupt
        fill(photos, tmp_path / "store", ranks=ranks)

    first, second, last = in_threads(3, without_the_last)
    assert isinstance(last, KeyboardInterrupt)
    for error in (first, second):
        assert isinstance(error, RanksError)
        assert "of 3, which failed, while waiting for the last shard" in str(error)
    assert not (tmp_path / "store" / "index.jsonl").exists()
    assert in_threads(2, lambda ranks: fill(photos, tmp_path / "store", ranks=ranks)) == [None] * 2
    assert same_files(tmp_path / "store", tmp_path / "whole")


def test_no_rank_begins_what_the_first_rank_refuses(photos: Path, tmp_path: Path) -> None:
    fill(photos, tmp_path / "store", size=16)
    raised = in_threads(2, lambda ranks: fill(photos, tmp_path / "store", size=32, ranks=ranks))
    assert isinstance(raised[0], FileError)
    assert isinstance(raised[1], RanksError)


def test_a_silent_rank_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_PATIENCE", 0.5)
    board = HashStore()
    stop = threading.Event()
    alive = Ranks(1, 3, board=board)
    monkeypatch.setattr(distributed, "_HEARTBEAT", 0.05)
    beats = threading.Thread(target=distributed._beat, args=(alive, stop))
    waits = Ranks(0, 3, board=board)
    own = threading.Thread(target=distributed._beat, args=(waits, stop))
    beats.start()
    own.start()
    started = time.monotonic()
    with pytest.raises(RanksError, match="rank 2 of 3, silent for"):
        waits.wait("nothing")
    stop.set()
    assert time.monotonic() - started < 10


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_ranks() as ranks:
        assert (ranks.rank, ranks.world, ranks.is_first) == (0, 1, True)
        ranks.wait("nobody")
        assert ranks.add_up(torch.ones(2), "sum").tolist() == [1, 1]
        assert ranks.device("auto") == "auto"


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_each_rank_gets_its_own_of_several_gpus(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = [Ranks(rank=rank, world=4, local_rank=rank % 2) for rank in range(4)]
    assert [rank.device(asked) for rank in ranks] == ["cuda:0", "cuda:1"] * 2
    assert [rank.device("cpu") for rank in ranks] == ["cpu"] * 4
    assert Ranks().device(asked) == asked


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def torchrun(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def encoding(photos: Path, out: Path) -> tuple[object, ...]:
    options = (
        "-m",
        "linear",
        "--size",
        16,
        "--per-shard",
        2,
        "--workers",
        1,
        "--threads",
        1,
        "--json",
    )
    return ("-m", "latentlab", "encode", photos, "--dtype", "float32", "--out", out, *options)


def whole_store(photos: Path, out: Path) -> Path:
    fill(photos, out, vae=load_vae("linear"), size=16, per_shard=2, threads=1)
    return out


@pytest.mark.slow
def test_two_hosts_give_the_same_bytes_as_one_process(photos: Path, tmp_path: Path) -> None:
    port = free_port()
    place = ("--nnodes", 2, "--nproc-per-node", 1, "--master-addr", "127.0.0.1")
    hosts = [
        torchrun(*place, "--master-port", port, "--node-rank", k, *encoding(photos, tmp_path / "s"))
        for k in (0, 1)
    ]
    outputs = [host.communicate(timeout=200) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], outputs
    assert outputs[0][0].count("\n") == 1  # one object, printed by the first rank
    assert outputs[1][0] == ""
    assert same_files(tmp_path / "s", whole_store(photos, tmp_path / "whole"))


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_one_process_finishes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos", 120)
    store = tmp_path / "store"
    launched = torchrun(
        *("--nproc-per-node", 2, "--master-port", free_port()), *encoding(folder, store)
    )
    limit = time.monotonic() + 150
    while not (store / "latents-00001.jsonl").exists():
        assert time.monotonic() < limit
        time.sleep(0.002)
    ranks = psutil.Process(launched.pid).children()
    (second,) = [rank for rank in ranks if rank.environ().get("RANK") == "1"]
    second.send_signal(signal.SIGKILL)
    launched.communicate(timeout=100)
    assert launched.returncode != 0
    assert not (store / "index.jsonl").exists()
    whole = whole_store(folder, tmp_path / "whole")
    fill(folder, store, vae=load_vae("linear"), size=16, per_shard=2)
    assert same_files(store, whole)


_SUMS = """
import sys, torch
from latentlab.machine.distributed import joined_ranks
with joined_ranks() as ranks:
    found = [ranks.add_up(torch.full((2,), ranks.rank + 1.0), str(k)).tolist() for k in range(2)]
    sys.stdout.write(f"{found} {ranks.device('cpu')}")
    if sys.argv[1:] == ["fail"] and ranks.rank == 1:
        sys.exit("on purpose")
    ranks.wait("the end")
"""


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.slow
def test_sums_and_failures_reach_every_rank_without_torchrun(fails: bool) -> None:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", _SUMS, *(["fail"] if fails else [])],
            env={**os.environ, **place, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [rank.communicate(timeout=100) for rank in ranks]
    assert [out for out, _ in outputs] == ["[[3.0, 3.0], [3.0, 3.0]] cpu"] * 2, outputs
    assert [rank.returncode for rank in ranks] == [int(fails)] * 2
    assert ("rank 1 of 2, which failed, while waiting for the end" in outputs[0][1]) is fails
