"""Parallel analysis beside the loop one would write: time, memory and the same answer."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pca_bench import draw_samples
from timing import Target, time_in_turn

if TYPE_CHECKING:
    import torch

    from latentlab.chance.nulls.base import Null
    from latentlab.latents import Spectrum

TARGET_SHAPE = (256, 32_768)
SHAPES = (TARGET_SHAPE,)
DRAWS = 100
NAIVE_DRAWS = 2


def fit_and_permute(samples: torch.Tensor) -> Null:
    """Return the parallel null of samples, all that it takes included."""
    from latentlab.components.fitting import fit_pca

    return permute(samples, fit_pca(samples, n_components=1).spectrum)


def permute(samples: torch.Tensor, spectrum: Spectrum) -> Null:
    """Return the parallel null by latentlab, 100 permutations."""
    return NULLS.make("parallel").draw(samples, spectrum, draws=DRAWS)


def permute_copies(samples: torch.Tensor) -> float:
    """Return the mean largest eigenvalue of a few permuted copies, by NumPy."""
    import numpy as np

    generator = np.random.default_rng(0)
    centered = samples.numpy() - samples.numpy().mean(0)
    largest = []
    for _ in range(NAIVE_DRAWS):
        copy = generator.permuted(centered, axis=0)
        largest.append(np.linalg.svd(copy, compute_uv=False)[0] ** 2 / (len(copy) - 1))
    return float(np.mean(largest))


def measure_nulls(shape: tuple[int, int], rounds: int, *, memory: bool = True) -> dict[str, Any]:
    """Return the times of both for samples of one shape, the naive one extrapolated."""
    from latentlab.components.fitting import fit_pca

    samples = draw_samples(*shape)
    spectrum = fit_pca(samples, n_components=1).spectrum
    jobs = {
        "latentlab": partial(permute, samples, spectrum),
        "numpy": partial(permute_copies, samples),
    }
    timings = time_in_turn(jobs, rounds, fewer={"numpy": 1})
    ours = timings["latentlab"]
    naive = timings["numpy"].median * DRAWS / NAIVE_DRAWS
    largest = float(ours.result.spectra[:, 0].mean())
    return {
        "shape": list(shape),
        "draws": DRAWS,
        "seconds": ours.median,
        "all_seconds": ours.seconds,
        "naive_seconds": naive,
        "ratio": naive / ours.median,
        "difference": abs(largest / timings["numpy"].result - 1),
        "peak_over_samples": _peak_over_samples(shape) if memory else None,
    }


def null_targets(rows: list[dict[str, Any]]) -> list[Target]:
    """Return the figures of the target's shape, if it was measured, beside their bounds."""
    targets = []
    for row in rows:
        if tuple(row["shape"]) == TARGET_SHAPE:
            where = "parallel analysis of {}×{:,}: ".format(*TARGET_SHAPE)
            targets.append(Target(f"{where}seconds", row["seconds"], 15.0, at_least=False))
            if row["peak_over_samples"] is not None:
                peak = row["peak_over_samples"]
                targets.append(Target(f"{where}peak / samples", peak, 2.0, at_least=False))
    return targets


def _peak_over_samples(shape: tuple[int, int]) -> float:
    """Return the median of five processes, whose peaks differ by a few megabytes."""
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, str(script), "parallel", *map(str, shape)]
    peaks = []
    for _ in range(5):
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks.append(float(json.loads(answer)["peak_bytes"]))
    return statistics.median(peaks) / (4 * shape[0] * shape[1])
