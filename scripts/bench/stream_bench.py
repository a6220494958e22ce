"""Streaming PCA against the bare matrix products that it needs, its memory and its growth."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median_high
from typing import Any

import numpy as np
import torch
from measuring import exponent_of, in_own_process, peak_of, time_in_turn
from report import Options, Row, Say, Table, at_most, new_table, table_of

from latentlab import fit_pca
from latentlab.components.solvers import shared_scatter
from latentlab.linalg.rows import RowStream
from latentlab.linalg.sums import add_products, leading_eigenpairs

Shape = tuple[int, int]
CHECKED = (4_000, 512)
COMPONENTS = 64
_SHARE_OF_FULL = 10
_CHECK = "eigenvalues against NumPy's float64, {:,}×{:,}"
_NAMES = {
    "fit": "fit_pca, everything",
    "products": "bare products: float64, one triangle",
    "eigenpairs": "the eigenvalue problem alone",
    "full_float64": "full products chunk.T @ chunk, float64, extrapolated",
    "full_float32": "full products chunk.T @ chunk, float32, extrapolated",
}


def write_rows(path: Path, shape: Shape) -> RowStream:
    """Write float16 rows, as a store has, whose variances fall as those of images do."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.arange(1, shape[1] + 1).rsqrt()
    with path.open("wb") as file:
        for start in range(0, shape[0], 1024):
            count = min(1024, shape[0] - start)
            rows = torch.randn(count, shape[1], generator=generator).mul_(scales)
            file.write(rows.half().numpy().tobytes())
    return rows_of(path, shape)


def rows_of(path: Path, shape: Shape) -> RowStream:
    """Return the first rows of a file as a stream."""
    return RowStream(partial(_read, path, shape), *shape)


def _read(path: Path, shape: Shape, rows: int) -> Iterator[torch.Tensor]:
    """Yield chunks of at most so many rows, not mapped because mapped memory would count."""
    with path.open("rb") as file:
        for start in range(0, shape[0], rows):
            values = np.fromfile(file, "float16", min(rows, shape[0] - start) * shape[1])
            yield torch.from_numpy(values.reshape(-1, shape[1]))


def fit(rows: RowStream) -> Any:
    kept = min(COMPONENTS, rows.n_features, rows.n_samples - 1)
    return fit_pca(rows, n_components=kept, solver="covariance")


def measure(options: Options, say: Say) -> Row:
    """Return times against bare products, peak memory, errors of the eigenvalues and growth."""
    shape, growth = options.stream_shape, []
    say("streaming PCA of {:,}×{:,}".format(*shape))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows"
        write_rows(path, shape)
        figures = _measure_fit(path, shape, options.rounds)
        memory = in_own_process(_memory_of_fit, path, shape)
        for some in options.stream_growing:
            job = partial(fit, write_rows(path, some))
            timing = time_in_turn({"fit": job}, options.rounds)["fit"]
            growth.append({"shape": list(some), **timing.figures})
        error = _eigenvalue_error(write_rows(path, CHECKED))
    # Between the two largest: eigenvalues take the same time for any number of rows.
    exponent = _exponent(*growth[-2:])
    more = {"growth": growth, "exponent": exponent, "eigenvalue_error": error}
    return {**figures, **memory, **more}


def _measure_fit(path: Path, shape: Shape, rounds: int) -> Row:
    rows, width = rows_of(path, shape), shape[1]
    chunk = next(rows.chunks()).double()
    chunks = shape[0] / len(chunk)
    few = max(1, round(chunks / _SHARE_OF_FULL))
    scatter = shared_scatter(rows_of(path, (min(4 * width, shape[0]), width)))[1]
    jobs = {
        "fit": partial(fit, rows),
        "products": partial(_triangles, chunk, round(chunks)),
        "eigenpairs": partial(leading_eigenpairs, scatter, min(COMPONENTS, width)),
        "full_float64": partial(_full_products, chunk, few),
        "full_float32": partial(_full_products, chunk.float(), few),
    }
    # No warm-up: each job takes seconds, and the first round only begins with a cold cache.
    timings = time_in_turn(jobs, rounds, warm_up=False)
    pairs = zip(timings["fit"].seconds, timings["products"].seconds, strict=True)
    ratios = sorted(whole / bare for whole, bare in pairs)
    scales = {"full_float64": chunks / few, "full_float32": chunks / few}
    return {
        "shape": list(shape),
        "seconds": {name: one.median * scales.get(name, 1) for name, one in timings.items()},
        "all_seconds": {name: one.seconds for name, one in timings.items()},
        "all_ratios": ratios,
        "ratio": median_high(ratios),
    }


def _triangles(chunk: torch.Tensor, times: int) -> None:
    """Add the products of one triangle so many times, as the fit does with each chunk."""
    scatter = chunk.new_zeros(chunk.shape[1], chunk.shape[1])
    for _ in range(times):
        add_products(scatter, chunk.T)


def _full_products(chunk: torch.Tensor, times: int) -> None:
    product = chunk.new_zeros(chunk.shape[1], chunk.shape[1])
    for _ in range(times):
        product.addmm_(chunk.T, chunk)


def _memory_of_fit(path: Path, shape: Shape) -> Row:
    """Return the peak of this process's memory in bytes, and what it had before the fit."""
    with tempfile.TemporaryDirectory() as place:  # loads the libraries
        fit(write_rows(Path(place) / "rows", (256, 64)))
    before, growth = peak_of(lambda: fit(rows_of(path, shape)))
    return {"bytes_before": before, "peak_bytes": before + growth}


def _eigenvalue_error(rows: RowStream) -> float:
    """Return the largest relative error of all eigenvalues against NumPy's singular values."""
    matrix = torch.cat([*rows.chunks()]).double().numpy()
    found = fit_pca(rows, solver="covariance").spectrum.explained_variance
    exact = np.linalg.svd(matrix - matrix.mean(0), compute_uv=False) ** 2 / (len(matrix) - 1)
    return float(np.abs(found.numpy() / exact[: len(found)] - 1).max())


def _exponent(*rows: Row) -> float:
    return exponent_of([row["shape"][0] for row in rows], [row["seconds"] for row in rows])


def targets(figures: Row) -> list[Row]:
    what = "streaming PCA of {:,}×{:,}: ".format(*figures["shape"])
    first, last = (f"{row['shape'][0]:,}" for row in figures["growth"][-2:])
    grows = f"streaming PCA, {first} to {last} rows: exponent of time"
    return [
        at_most(f"{what}time / bare products", figures["ratio"], 1.2),
        at_most(f"{what}peak memory, MB", figures["peak_bytes"] / 1e6, 600.0),
        at_most(grows, figures["exponent"], 1.05),
    ]


def tables(figures: Row) -> list[Table]:
    """Return a table of one large fit and one of growth."""
    seconds, growth = figures["seconds"], figures["growth"]
    lines = [
        (_NAMES[name], f"{took:.2f}", f"{took / seconds['products']:.2f}")
        for name, took in seconds.items()
    ]
    before, peak = (f"{figures[name] / 1e6:.0f} MB" for name in ("bytes_before", "peak_bytes"))
    lines += [
        ("peak memory of the process", peak, ""),
        ("of that before the fit: Python, torch, SciPy", before, ""),
        (_CHECK.format(*CHECKED), f"{figures['eigenvalue_error']:.1e}", ""),
    ]
    title = "Streaming PCA of {:,}×{:,}, float16 rows from a file".format(*figures["shape"])
    exponents = [None, *(_exponent(*pair) for pair in pairwise(growth))]
    return [
        new_table(title, ("what", "seconds", "× bare products"), lines),
        table_of(
            "Streaming PCA as the rows grow",
            [{**row, "exponent": one} for row, one in zip(growth, exponents, strict=True)],
            ("rows", "{shape[0]:,}×{shape[1]:,}"),
            ("seconds", "{seconds:.3f}"),
            ("rows/s", lambda row: f"{row['shape'][0] / row['seconds']:,.0f}"),
            ("exponent since the line before", "{exponent:.2f}"),
        ),
    ]
