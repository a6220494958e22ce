"""What was measured on, and with which versions."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("latentlab", "torch", "diffusers", "scikit-learn", "numpy")


def describe_run() -> dict[str, Any]:
    """Return date, machine, versions and threads, ready for JSON."""
    import psutil
    import torch

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": platform.platform(),
            "load_average": round(os.getloadavg()[0], 2),
        },
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
        "dtype": "float32",
    }


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
