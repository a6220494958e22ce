"""Exact PCA beside scikit-learn's: time, memory and how right the eigenvalues are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timing import Job, Target, Timing, time_in_turn

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

COMPONENTS = 50
METHODS = ("latentlab", "full", "randomized")
TARGET_SHAPE = (512, 65_536)
SHAPES = (
    TARGET_SHAPE,
    *((256, columns) for columns in (4_096, 65_536, 262_144)),
    *((1024, columns) for columns in (4_096, 65_536, 262_144)),
    *((4096, columns) for columns in (4_096, 65_536)),
)
FULL_ROUNDS = 3
# N²·D, to which the work is about proportional: the full SVD takes some 20 s at the first.
_LARGEST_FULL = _TWICE_FROM = 2**34
_LARGEST_EXACT = _ONCE_BEYOND = 2**36


def draw_samples(rows: int, columns: int) -> torch.Tensor:
    """Return samples (rows, columns), float32, whose spectrum falls as that of images does."""
    import torch

    samples = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    return samples.mul_(torch.arange(1, columns + 1).rsqrt())


def fit_with(method: str, samples: torch.Tensor) -> Any:
    """Return the PCA of samples by latentlab, or by scikit-learn with this ``svd_solver``."""
    kept = min(COMPONENTS, min(samples.shape) - 1)
    if method == "latentlab":
        from latentlab.components.fitting import fit_pca

        return fit_pca(samples, n_components=kept)
    from sklearn.decomposition import PCA

    return PCA(kept, svd_solver=method, random_state=0).fit(samples.numpy())


def measure_pca(shape: tuple[int, int], rounds: int, *, memory: bool = True) -> dict[str, Any]:
    """Return times, peak memory and eigenvalue errors of each method for samples of one shape.

    The full SVD is left out where it would take minutes, and the peak of scikit-learn's methods
    is measured at the target's shape alone.
    """
    work = shape[0] ** 2 * shape[1]
    samples = draw_samples(*shape)
    methods = [method for method in METHODS if method != "full" or work <= _LARGEST_FULL]
    jobs = {method: partial(fit_with, method, samples) for method in methods}
    timings = _time(jobs, shape, rounds)
    exact = exact_eigenvalues(samples) if work <= _LARGEST_EXACT else None
    ours = timings["latentlab"].median
    watched = set(methods if shape == TARGET_SHAPE else ["latentlab"]) if memory else set()
    return {
        "shape": list(shape),
        "components": min(COMPONENTS, min(shape) - 1),
        "methods": {
            method: {
                "seconds": timing.median,
                "all_seconds": timing.seconds,
                "ratio": timing.median / ours,
                "eigenvalue_error": None if exact is None else relative_error(timing.result, exact),
                "peak_over_samples": _peak_over_samples(method, shape)
                if method in watched
                else None,
            }
            for method, timing in timings.items()
        },
    }


def _time(jobs: Mapping[str, Job], shape: tuple[int, int], rounds: int) -> dict[str, Timing]:
    """Return the timings of jobs: where they take long once or twice, without a warm-up."""
    work = shape[0] ** 2 * shape[1]
    if shape == TARGET_SHAPE or work < _TWICE_FROM:
        full = min(rounds, FULL_ROUNDS if shape == TARGET_SHAPE else 1)
        return time_in_turn(jobs, rounds, fewer={"full": full})
    few = min(rounds, 1 if work > _ONCE_BEYOND else 2)
    return time_in_turn(jobs, few, fewer=dict.fromkeys(jobs, few) | {"full": 1})


def pca_targets(rows: list[dict[str, Any]]) -> list[Target]:
    """Return the figures of the target's shape, if it was measured, beside their bounds."""
    targets = []
    for row in rows:
        if tuple(row["shape"]) == TARGET_SHAPE:
            methods, where = row["methods"], "exact PCA of {}×{:,}: ".format(*TARGET_SHAPE)
            targets += [
                Target(f"{where}full / latentlab, time", methods["full"]["ratio"], 10.0),
                Target(f"{where}randomized / latentlab, time", methods["randomized"]["ratio"], 1.0),
            ]
            peak = methods["latentlab"]["peak_over_samples"]
            if peak is not None:
                targets.append(Target(f"{where}peak memory / samples", peak, 1.5, at_least=False))
    return targets


def exact_eigenvalues(samples: torch.Tensor) -> NDArray[np.float64]:
    """Return all variances by NumPy, descending, in float64, from products of centered samples."""
    import numpy as np

    centered = samples.double().numpy()
    centered -= centered.mean(0)
    smaller = centered.T if len(centered) > centered.shape[1] else centered
    values: NDArray[np.float64] = np.linalg.eigvalsh(smaller @ smaller.T)[::-1]
    return values / (len(samples) - 1)


def relative_error(fitted: Any, exact: NDArray[np.float64]) -> float:
    """Return the largest relative error of the eigenvalues that a method kept."""
    import numpy as np

    if hasattr(fitted, "spectrum"):
        found = fitted.spectrum.explained_variance[: len(fitted.components)].numpy()
    else:
        found = fitted.explained_variance_
    return float(np.abs(found / exact[: len(found)] - 1).max())


def _peak_over_samples(method: str, shape: tuple[int, int]) -> float:
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, str(script), method, *map(str, shape)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(answer)["peak_bytes"]) / (4 * shape[0] * shape[1])
