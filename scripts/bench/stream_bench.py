"""Streaming PCA beside the bare matrix products that it needs, its memory, and how it grows.

As a program it fits the rows of one file and prints the peak of its memory: run in a process of
its own.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_tables import new_table
from rich.table import Table
from timing import Target, time_in_turn

if TYPE_CHECKING:
    import torch

    from latentlab.linalg.rows import RowStream

SHAPE = (100_000, 4_096)
GROWING = ((1_000, 1_024), (10_000, 1_024), (100_000, 1_024))
CHECKED = (4_000, 512)
COMPONENTS = 64
OVER_PRODUCTS, MOST_BYTES, EXPONENT = 1.2, 600e6, 1.05
_DTYPE = "float16"
_SHARE_OF_FULL = 10


@dataclass(frozen=True)
class RowFile:
    """Rows (N, D) in a file, in float16 as a store keeps them.

    Parameters
    ----------
    path : Path
    shape : N, D
    """

    path: Path
    shape: tuple[int, int]

    @classmethod
    def write(cls, path: Path, shape: tuple[int, int]) -> RowFile:
        """Return a new file of rows whose variances fall as those of images do."""
        import torch

        generator = torch.Generator().manual_seed(0)
        scales = torch.arange(1, shape[1] + 1).rsqrt()
        with path.open("wb") as file:
            for start in range(0, shape[0], 1024):
                count = min(1024, shape[0] - start)
                rows = torch.randn(count, shape[1], generator=generator).mul_(scales)
                file.write(rows.half().numpy().tobytes())
        return cls(path, shape)

    def read(self, rows: int) -> Iterator[torch.Tensor]:
        """Yield chunks of at most so many rows; read, not mapped, for what is mapped counts."""
        import numpy as np
        import torch

        with self.path.open("rb") as file:
            while (values := np.fromfile(file, _DTYPE, rows * self.shape[1])).size:
                yield torch.from_numpy(values.reshape(-1, self.shape[1]))

    def stream(self) -> RowStream:
        """Return the rows as latentlab takes them."""
        from latentlab.linalg.rows import RowStream

        return RowStream(self.read, *self.shape)


def measure_stream(
    shape: tuple[int, int], growing: tuple[tuple[int, int], ...], rounds: int
) -> dict[str, Any]:
    """Return times beside bare products, peak memory, exactness and growth."""
    with tempfile.TemporaryDirectory() as place:
        rows = RowFile.write(Path(place) / "rows", shape)
        figures = {**_measure_fit(rows, rounds), **measure_memory(rows)}
        rows.path.unlink()
        figures["growth"] = [_measure_growth(Path(place), some, rounds) for some in growing]
    # Between the two largest, for eigenvalues take the same time whatever the rows.
    figures["exponent"] = growth_exponent(*figures["growth"][-2:])
    return {**figures, "eigenvalue_error": eigenvalue_error(CHECKED)}


def stream_targets(figures: Mapping[str, Any]) -> list[Target]:
    """Return time, memory and growth beside their bounds."""
    what = "streaming PCA of {:,}×{:,}: ".format(*figures["shape"])
    growth = figures["growth"]
    counts = f"{growth[-2]['shape'][0]:,} to {growth[-1]['shape'][0]:,} rows"
    return [
        Target(f"{what}time / bare products", figures["ratio"], OVER_PRODUCTS, at_least=False),
        Target(f"{what}peak memory, MB", figures["peak_bytes"] / 1e6, MOST_BYTES / 1e6, False),
        Target(
            f"streaming PCA, {counts}: exponent of time",
            figures["exponent"],
            EXPONENT,
            at_least=False,
        ),
    ]


def stream_tables(figures: Mapping[str, Any]) -> list[Table]:
    """Return a table of one large fit and one of growth."""
    title = "Streaming PCA of {:,}×{:,}, float16 rows from a file".format(*figures["shape"])
    table = new_table(title, "what", "seconds", "× bare products")
    bare = figures["seconds"]["products"]
    for name, seconds in figures["seconds"].items():
        table.add_row(_NAMES[name], f"{seconds:.2f}", f"{seconds / bare:.2f}")
    memory = f"{figures['peak_bytes'] / 1e6:.0f} MB"
    table.add_row("peak memory of the process", memory, "")
    before = f"{figures['bytes_before'] / 1e6:.0f} MB"
    table.add_row("of that before the fit: Python, torch, SciPy", before, "")
    where = "{:,}×{:,}".format(*CHECKED)
    table.add_row(
        f"eigenvalues against NumPy's float64, {where}", f"{figures['eigenvalue_error']:.1e}", ""
    )
    headings = ("rows", "seconds", "rows/s", "exponent since the line before")
    growth = new_table("Streaming PCA as the rows grow", *headings)
    before_row = None
    for row in figures["growth"]:
        exponent = f"{growth_exponent(before_row, row):.2f}" if before_row else "–"
        rate = f"{row['shape'][0] / row['seconds']:,.0f}"
        growth.add_row("{:,}×{:,}".format(*row["shape"]), f"{row['seconds']:.3f}", rate, exponent)
        before_row = row
    return [table, growth]


_NAMES = {
    "fit": "fit_pca_rows, everything",
    "products": "bare products: float64, one triangle",
    "eigenpairs": "the eigenvalue problem alone",
    "full_float64": "full products chunk.T @ chunk, float64, extrapolated",
    "full_float32": "full products chunk.T @ chunk, float32, extrapolated",
}


def growth_exponent(first: Mapping[str, Any], last: Mapping[str, Any]) -> float:
    """Return the exponent of time in the number of rows between two measurements."""
    grown = last["shape"][0] / first["shape"][0]
    return math.log(last["seconds"] / first["seconds"]) / math.log(grown)


def eigenvalue_error(shape: tuple[int, int]) -> float:
    """Return the largest relative error of all eigenvalues against NumPy's singular values."""
    import numpy as np
    import torch

    from latentlab.components.fitting import fit_pca

    with tempfile.TemporaryDirectory() as place:
        rows = RowFile.write(Path(place) / "rows", shape)
        matrix = torch.cat([*rows.read(1024)]).double().numpy()
        found = fit_pca(rows.stream(), method="covariance").pca.spectrum.explained_variance
    exact = np.linalg.svd(matrix - matrix.mean(0), compute_uv=False) ** 2 / (len(matrix) - 1)
    return float(np.abs(found.numpy() / exact[: len(found)] - 1).max())


def measure_memory(rows: RowFile) -> dict[str, float]:
    """Return the peak of a process that fits the rows of a file, and what it had before."""
    command = [sys.executable, __file__, str(rows.path), *map(str, rows.shape)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(answer)
    return figures


def _measure_fit(rows: RowFile, rounds: int) -> dict[str, Any]:
    import torch

    from latentlab.components.solvers import shared_scatter
    from latentlab.linalg.sums import leading_eigenpairs

    stream = rows.stream()
    width = rows.shape[1]
    chunk = torch.cat([*rows.read(min(stream.chunk, rows.shape[0]))][:1]).double()
    chunks = rows.shape[0] / len(chunk)
    few = max(1, round(chunks / _SHARE_OF_FULL))
    scatter = shared_scatter(_shortened(rows, 4 * width).stream())[1]
    kept = min(COMPONENTS, width)
    jobs = {
        "fit": partial(fit_pca_rows, stream, n_components=kept, method="covariance"),
        "products": partial(_triangles, chunk, round(chunks)),
        "eigenpairs": partial(leading_eigenpairs, scatter, kept),
        "full_float64": partial(_full_products, chunk, few),
        "full_float32": partial(_full_products, chunk.float(), few),
    }
    # No warm-up: each job takes seconds, and the first round only begins with a cold cache.
    timings = time_in_turn(jobs, rounds, fewer=dict.fromkeys(jobs, rounds))
    seconds = {name: timing.median for name, timing in timings.items()}
    for name in ("full_float64", "full_float32"):
        seconds[name] *= chunks / few
    pairs = zip(timings["fit"].seconds, timings["products"].seconds, strict=True)
    ratios = sorted(fit / bare for fit, bare in pairs)
    return {
        "shape": list(rows.shape),
        "seconds": seconds,
        "all_seconds": {name: timing.seconds for name, timing in timings.items()},
        "all_ratios": ratios,
        "ratio": ratios[len(ratios) // 2],
    }


def _shortened(rows: RowFile, count: int) -> RowFile:
    """Return the first rows as a file of their own beside the other."""
    short = RowFile(rows.path.with_suffix(".short"), (min(count, rows.shape[0]), rows.shape[1]))
    with rows.path.open("rb") as file:
        short.path.write_bytes(file.read(2 * short.shape[0] * short.shape[1]))
    return short


def _triangles(chunk: torch.Tensor, times: int) -> None:
    """Add the products of one triangle so many times, as the fit does with each chunk."""
    from latentlab.linalg.sums import add_products

    scatter = chunk.new_zeros(chunk.shape[1], chunk.shape[1])
    for _ in range(times):
        add_products(scatter, chunk.T)


def _full_products(chunk: torch.Tensor, times: int) -> None:
    product = chunk.new_zeros(chunk.shape[1], chunk.shape[1])
    for _ in range(times):
        product.addmm_(chunk.T, chunk)


def _measure_growth(place: Path, shape: tuple[int, int], rounds: int) -> dict[str, Any]:

    rows = RowFile.write(place / "rows", shape)
    kept = min(COMPONENTS, shape[1], shape[0] - 1)
    job = partial(fit_pca_rows, rows.stream(), n_components=kept, method="covariance")
    timing = time_in_turn({"fit": job}, rounds)["fit"]
    return {"shape": list(shape), "seconds": timing.median, "all_seconds": timing.seconds}


def main(path: Path, shape: tuple[int, int]) -> None:
    """Print the peak of this process' memory and what it had before the fit, as JSON."""
    import psutil
    from peak_memory import peak_growth

    from latentlab.components.fitting import fit_pca

    rows, kept = RowFile(path, shape), min(COMPONENTS, shape[1])
    with tempfile.TemporaryDirectory() as place:  # loads the libraries
        small = RowFile.write(Path(place) / "rows", (256, 64))
        fit_pca(small.stream(), method="covariance")
    before = psutil.Process().memory_info().rss
    growth = peak_growth(lambda: fit_pca(rows.stream(), n_components=kept, method="covariance"))
    print(json.dumps({"bytes_before": before, "peak_bytes": before + growth}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3])))
