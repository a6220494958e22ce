"""PCA against scikit-learn's: time, memory and errors of the eigenvalues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from measuring import Timing, in_own_process, peak_of, time_in_turn, ways_of
from numpy.typing import NDArray
from report import Options, Row, Say, Table, at_least, at_most, table_of
from sklearn.decomposition import PCA

from latentlab import fit_pca
from latentlab.components.leading import suits
from latentlab.linalg.rows import RowStream

COMPONENTS = 50
METHODS = ("latentlab", "exact", "full", "randomized")
TARGET_SHAPE = (512, 65_536)
LARGE_SHAPE = (4096, 65_536)
FULL_ROUNDS = 3
# In N²·D, which is about proportional to the work: a full SVD takes some 20 s at the first.
_LARGEST_FULL = _TWICE_FROM = 2**34
_ONCE_BEYOND = 2**36
_LARGEST_EXACT = 2**40
_LARGE_ROUNDS = 3


def draw_samples(rows: int, columns: int) -> torch.Tensor:
    """Return float32 samples (rows, columns) whose spectrum falls as the spectra of images do."""
    samples = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    return samples.mul_(torch.arange(1, columns + 1).rsqrt())


def fit_with(method: str, samples: torch.Tensor) -> Any:
    """Return the PCA of samples by latentlab, or by scikit-learn with this ``svd_solver``.

    "exact" is latentlab's with the complete spectrum, where it would find leading components alone.
    """
    kept = min(COMPONENTS, min(samples.shape) - 1)
    if method in ("latentlab", "exact"):
        solver = "exact" if method == "exact" else "auto"
        return fit_pca(samples, n_components=kept, solver=solver)
    return PCA(kept, svd_solver=method, random_state=0).fit(samples.numpy())


def measure(options: Options, say: Say) -> list[Row]:
    # The full SVD is left out where it would take minutes, and scikit-learn's peaks are measured
    # at the target's shape alone.
    return [_measure_shape(shape, options, say) for shape in options.shapes]


def _measure_shape(shape: tuple[int, int], options: Options, say: Say) -> Row:
    say("PCA of {}×{:,} samples".format(*shape))
    samples = draw_samples(*shape)
    work = shape[0] ** 2 * shape[1]
    timings = _time(samples, work, options.rounds)
    exact = exact_eigenvalues(samples) if work <= _LARGEST_EXACT else None
    methods = ways_of(timings)
    for method, figures in methods.items():
        fitted, fit = timings[method].result, partial(fit_with, method)
        watched = options.memory and (method == "latentlab" or shape == TARGET_SHAPE)
        figures["eigenvalue_error"] = None if exact is None else relative_error(fitted, exact)
        figures["peak_over_samples"] = peak_over_samples(fit, shape) if watched else None
    bounds = timings["latentlab"].result.error_bounds
    ours = methods["latentlab"]
    ours["certified"] = None if bounds is None else _relative_bound(timings["latentlab"].result)
    kept = min(COMPONENTS, min(shape) - 1)
    return {"shape": list(shape), "components": kept, "methods": methods}


def _relative_bound(fitted: Any) -> float:
    """Return the largest certified bound over the largest eigenvalue."""
    return float(fitted.error_bounds.max() / fitted.explained_variance[0])


def _time(samples: torch.Tensor, work: int, rounds: int) -> dict[str, Timing]:
    """Return the timings of all methods; long ones run once or twice, without a warm-up."""
    rows = RowStream(samples.split, *samples.shape, samples)
    left_out = {"full": work > _LARGEST_FULL, "exact": not suits(rows, COMPONENTS)}
    methods = [method for method in METHODS if not left_out.get(method)]
    jobs = {method: partial(fit_with, method, samples) for method in methods}
    at_target = tuple(samples.shape) == TARGET_SHAPE
    if at_target or work < _TWICE_FROM:
        full = min(rounds, FULL_ROUNDS if at_target else 1)
        return time_in_turn(jobs, rounds, fewer={"full": full})
    few = min(rounds, 1 if work > _ONCE_BEYOND else 2)
    if tuple(samples.shape) == LARGE_SHAPE:
        few = min(rounds, _LARGE_ROUNDS)
    return time_in_turn(jobs, few, fewer={"full": 1, "exact": 1}, warm_up=False)


def exact_eigenvalues(samples: torch.Tensor) -> NDArray[np.float64]:
    """Return all variances by NumPy, descending, in float64, from products of centered samples."""
    centered = samples.double().numpy()
    centered -= centered.mean(0)
    smaller = centered.T if len(centered) > centered.shape[1] else centered
    return np.linalg.eigvalsh(smaller @ smaller.T)[::-1] / (len(samples) - 1)


def relative_error(fitted: Any, exact: NDArray[np.float64]) -> float:
    """Return the largest relative error of the eigenvalues that a method kept."""
    if hasattr(fitted, "spectrum"):
        found = fitted.spectrum.explained_variance[: len(fitted.components)].numpy()
    else:
        found = fitted.explained_variance_
    return float(np.abs(found / exact[: len(found)] - 1).max())


def peak_over_samples(fit: Callable[[torch.Tensor], Any], shape: tuple[int, int]) -> float:
    """Return the peak memory of drawing and fitting samples over the size of the samples."""
    return float(in_own_process(_peak, fit, shape) / (4 * shape[0] * shape[1]))


def _peak(fit: Callable[[torch.Tensor], Any], shape: tuple[int, int]) -> int:
    fit(draw_samples(64, 256))  # loads the libraries
    return peak_of(lambda: fit(draw_samples(*shape)))[1]


def targets(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the figures of the target's shape, if it was measured, beside their bounds."""
    where = "exact PCA of {}×{:,}: ".format(*TARGET_SHAPE)
    for methods in [row["methods"] for row in rows if tuple(row["shape"]) == TARGET_SHAPE]:
        for method, bound in (("full", 10.0), ("randomized", 1.0)):
            yield at_least(f"{where}{method} / latentlab, time", methods[method]["ratio"], bound)
        peak = methods["latentlab"]["peak_over_samples"]
        if peak is not None:
            yield at_most(f"{where}peak memory / samples", peak, 1.5)
    what = f"leading {COMPONENTS} components of {{}}×{{:,}}: ".format(*LARGE_SHAPE)
    for methods in [row["methods"] for row in rows if tuple(row["shape"]) == LARGE_SHAPE]:
        yield at_least(f"{what}randomized / latentlab, time", methods["randomized"]["ratio"], 1.0)
        if (bound := methods["latentlab"].get("certified")) is not None:
            yield at_most(f"{what}certified error / largest eigenvalue", bound, 1e-6)


def tables(rows: Sequence[Row]) -> Table:
    lines = []
    for row in rows:
        names = {
            "latentlab": ("{}×{:,}".format(*row["shape"]), "latentlab"),
            "exact": ("", "latentlab, all eigenvalues"),
        }
        for method, figures in row["methods"].items():
            what, name = names.get(method, ("", f"sklearn {method}"))
            lines.append({"certified": None, **figures, "what": what, "method": name})
    return table_of(
        f"PCA beside scikit-learn's, {COMPONENTS} components",
        lines,
        ("samples", "{what}"),
        ("method", "{method}"),
        ("seconds", "{seconds:.3f}"),
        ("× latentlab", "{ratio:.2f}"),
        ("peak / samples", "{peak_over_samples:.2f}"),
        ("eigenvalue error", "{eigenvalue_error:.1e}"),
        ("certified bound", "{certified:.1e}"),
    )
