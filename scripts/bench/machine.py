"""What was measured on, and with which versions."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("latentlab", "torch", "diffusers", "scikit-learn", "numpy", "imageio")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe_run() -> dict[str, Any]:
    """Return date, machine, versions and threads, ready for JSON."""
    import psutil
    import torch

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "flags": [flag for flag in FLAGS if flag in _cpu_lines("flags").split()],
            "gpu": _gpu() if torch.cuda.is_available() else None,
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": platform.platform(),
        },
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
    }


def _gpu() -> str:
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def _cpu_model() -> str:
    return _cpu_lines("model name") or platform.processor() or platform.machine()


def _cpu_lines(name: str) -> str:
    """Return what the first processor has under a name; empty where nobody says."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    values = [line.partition(":")[2].strip() for line in lines if line.startswith(name)]
    return values[0] if values else ""
