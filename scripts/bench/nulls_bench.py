"""Parallel analysis against the loop one would write: time, memory and agreement."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from measuring import time_in_turn
from pca_bench import draw_samples, peak_over_samples
from report import Options, Row, Say, Table, at_most, table_of

from latentlab import fit_pca
from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import Null
from latentlab.latents import Spectrum

TARGET_SHAPE = (256, 32_768)
DRAWS = 100
NAIVE_DRAWS = 2
_PROCESSES = 5
"""Processes whose median peak is taken: peaks differ by a few megabytes."""


def permute(samples: torch.Tensor, spectrum: Spectrum | None = None) -> Null:
    """Return latentlab's parallel null of 100 permutations, after a fit if there is no spectrum."""
    spectrum = spectrum or fit_pca(samples, n_components=1).spectrum
    return NULLS.make("parallel").draw(samples, spectrum, draws=DRAWS)


def permute_copies(samples: torch.Tensor) -> float:
    """Return the mean largest eigenvalue of a few permuted copies, by NumPy."""
    generator = np.random.default_rng(0)
    centered = samples.numpy() - samples.numpy().mean(0)
    copies = (generator.permuted(centered, axis=0) for _ in range(NAIVE_DRAWS))
    largest = [np.linalg.svd(copy, compute_uv=False)[0] ** 2 for copy in copies]
    return float(np.mean(largest) / (len(centered) - 1))


def measure(options: Options, say: Say) -> list[Row]:
    return [_measure_shape(shape, options, say) for shape in options.null_shapes]


def _measure_shape(shape: tuple[int, int], options: Options, say: Say) -> Row:
    """Return the times of both for samples of one shape, the naive one extrapolated."""
    say("parallel analysis of {}×{:,} samples".format(*shape))
    samples = draw_samples(*shape)
    spectrum = fit_pca(samples, n_components=1).spectrum
    jobs = {
        "latentlab": partial(permute, samples, spectrum),
        "numpy": partial(permute_copies, samples),
    }
    timings = time_in_turn(jobs, options.rounds, fewer={"numpy": 1})
    ours, numpy = timings["latentlab"], timings["numpy"]
    naive = numpy.median * DRAWS / NAIVE_DRAWS
    largest = float(ours.result.spectra[:, 0].mean())
    peaks = [peak_over_samples(permute, shape) for _ in range(_PROCESSES if options.memory else 0)]
    return {
        "shape": list(shape),
        "draws": DRAWS,
        **ours.figures,
        "naive_seconds": naive,
        "ratio": naive / ours.median,
        "difference": abs(largest / numpy.result - 1),
        "peak_over_samples": statistics.median(peaks) if peaks else None,
    }


def targets(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the figures of the target's shape, if it was measured, beside their bounds."""
    where = "parallel analysis of {}×{:,}: ".format(*TARGET_SHAPE)
    for row in [row for row in rows if tuple(row["shape"]) == TARGET_SHAPE]:
        yield at_most(f"{where}seconds", row["seconds"], 15.0)
        if row["peak_over_samples"] is not None:
            yield at_most(f"{where}peak / samples", row["peak_over_samples"], 2.0)


def tables(rows: Sequence[Row]) -> Table:
    return table_of(
        "Parallel analysis beside NumPy: permute a copy, singular values",
        rows,
        ("samples", "{shape[0]}×{shape[1]:,}"),
        ("draws", "{draws}"),
        ("seconds", "{seconds:.2f}"),
        ("NumPy, extrapolated", "{naive_seconds:.1f}"),
        ("× latentlab", "{ratio:.1f}"),
        ("peak / samples", "{peak_over_samples:.2f}"),
        ("difference", "{difference:.1e}"),
    )
