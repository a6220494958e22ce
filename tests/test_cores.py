"""Cores that a container allows, and threads that sleep while they wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import pytest

from latentlab.machine import cores
from latentlab.machine.cores import available_cores, share_cores

_VARIABLES = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)
_PROGRAM = """
import json, os, sys
import latentlab
assert "torch" not in sys.modules
import torch
from latentlab.machine.cores import describe_threads
print(json.dumps([describe_threads(), torch.__config__.parallel_info()]))
"""


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process run on 8 cores, and be one that has not imported torch."""
    monkeypatch.setattr(cores, "_affine_cores", lambda: 8)
    monkeypatch.delitem(sys.modules, "torch")


def groups(place: Path, own: str, **files: str) -> tuple[Path, Path]:
    """Return the folder of control groups and the file that names those of this process."""
    for name, text in files.items():
        path = place / "groups" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (place / "own").write_text(own)
    return place / "groups", place / "own"


V2, V1 = "0::/user/job\n", "9:name=systemd:/x\n4:cpu,cpuacct:/job\n0::/\n"
LIMITS = [
    (V2, {"user/job/cpu.max": "250000 100000\n"}, 3),
    (V2, {"user/job/cpu.max": "max 100000\n", "user/cpu.max": "200000 100000\n"}, 2),
    (V2, {"user/job/cpu.max": "150000 100000\n", "user/cpu.max": "100000 100000\n"}, 1),
    (V2, {"cpu.max": "1000 100000\n"}, 1),
    (V2, {"cpu.max": "max 100000\n"}, 8),
    (V2, {"cpu.max": "9000000 100000\n"}, 8),
    (V2, {"cpu.max": "damaged"}, 8),
    ("0::/../outside\n", {"cpu.max": "400000 100000\n"}, 4),
    (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    (V1, {"cpu/job/cpu.cfs_quota_us": "350000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 4),
    (V1, {"cpu/job/cpu.cfs_quota_us": "350000\n", "cpu/job/cpu.cfs_period_us": "0\n"}, 8),
    ("no control groups", {}, 8),
]


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(("own", "files", "expected"), LIMITS)
def test_a_container_limits_the_cores(
    own: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert available_cores(*groups(tmp_path, own, **files)) == expected


@pytest.mark.usefixtures("many_cores")
def test_other_systems_have_no_control_groups(tmp_path: Path) -> None:
    assert available_cores(tmp_path, tmp_path / "nothing") == 8


def test_joblib_counts_the_cores_of_this_machine_alike() -> None:
    assert available_cores() == joblib.cpu_count()


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "3"}),
        ({"OMP_NUM_THREADS": "6"}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        ({"MKL_NUM_THREADS": "6"}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_NUM_THREADS": "3"}),
        ({"GOMP_SPINCOUNT": "9"}, {"OMP_NUM_THREADS": "3"}),
        ({"KMP_BLOCKTIME": "0"}, {"OMP_NUM_THREADS": "3"}),
    ],
)
def test_what_the_user_has_set_stays(
    given: dict[str, str], changed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: 3)
    environment = dict(given)
    share_cores(environment)
    assert environment == given | changed


def test_nothing_is_set_where_it_would_come_too_late() -> None:
    environment: dict[str, str] = {}
    share_cores(environment)  # the tests have imported torch
    assert environment == {}


def started(**given: str) -> tuple[dict[str, object], str]:
    """Return what a new process says of its threads, and what torch says of them."""
    kept = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    command = [sys.executable, "-c", _PROGRAM]
    how = {"env": kept | given, "capture_output": True, "text": True, "check": True}
    facts, torch_says = json.loads(subprocess.run(command, **how).stdout)  # type: ignore[call-overload]
    return facts, torch_says


def test_threads_sleep_by_default() -> None:
    facts, torch_says = started()
    assert facts["waiting"] == "OMP_WAIT_POLICY=PASSIVE"
    assert facts["number"] == facts["cores"]
    assert f"omp_get_max_threads() : {facts['number']}" in torch_says


def test_a_number_of_threads_that_the_user_chose_wins() -> None:
    facts, torch_says = started(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="ACTIVE")
    assert (facts["number"], facts["waiting"]) == (1, "OMP_WAIT_POLICY=ACTIVE")
    assert "omp_get_max_threads() : 1" in torch_says
