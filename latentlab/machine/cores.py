"""Cores that this process may use, and how its threads wait for one another."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_COUNTING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def share_cores(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads sleep while they wait, and start no more than there are cores.

    OpenMP reads the environment once, when it is loaded. Therefore this does nothing if torch is
    imported already. What the user has set stays as it is.

    Threads that spin take the cores from the threads that they wait for. Four runs at once on two
    cores then take several times as long. The number of threads depends on the machine and on
    limits of containers, never on the load: it changes the last digits of convolutions, and the
    same command has to write the same bytes.

    Parameters
    ----------
    environment : variables of this process and of those that it starts; changed in place

    Examples
    --------
    >>> share_cores({})
    """
    if "torch" in sys.modules:
        return
    if not any(name in environment for name in _WAITING):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    cores = available_cores()
    if cores < _affine_cores() and not any(name in environment for name in _COUNTING):
        environment["OMP_NUM_THREADS"] = str(cores)


def available_cores(groups: Path = _GROUPS, own: Path = _OWN_GROUP) -> int:
    """Return how many cores this process may use, at least one.

    It is the number of cores that it may run on, or less where a container (a Linux control group
    of version 1 or 2) limits its processor time. A part of a core counts as a whole one.

    Parameters
    ----------
    groups : folder in which Linux shows control groups
    own : file that names those of this process

    Examples
    --------
    >>> available_cores() >= 1
    True
    """
    return min([_affine_cores(), *(math.ceil(limit) for limit in _limits(groups, own))])


def describe_threads() -> dict[str, Any]:
    """Return for ``run.json`` how many threads compute, on how many cores, and how they wait.

    The number of threads is None if torch is not imported. Waiting is the value of the variable
    that says it, and None where OpenMP's own default holds: that of an earlier import of torch.
    """
    torch = sys.modules.get("torch")
    waiting = [f"{name}={os.environ[name]}" for name in _WAITING if name in os.environ]
    return {
        "number": torch.get_num_threads() if torch else None,
        "cores": available_cores(),
        "waiting": ", ".join(waiting) or None,
    }


def _affine_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limits(groups: Path, own: Path) -> Iterator[float]:
    """Yield the limits in cores of the control groups that this process is in."""
    for folder in _folders(groups, own):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            try:
                words = " ".join((folder / name).read_text() for name in names).split()
                quota, period = map(float, words)
            except (OSError, ValueError):  # another version, or no limit: "max" or a lone number
                continue
            if quota > 0 and period > 0:
                yield quota / period


def _folders(groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups for processor time and those above.

    In a container they are at the top, whatever their names outside of it.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except (OSError, ValueError):  # not Linux
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / "cpu" if controllers else groups  # version 1 has a folder a controller
        inside = Path(path.strip("/"))
        yield from (top / above for above in (inside, *inside.parents) if ".." not in above.parts)
