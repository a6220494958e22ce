"""``latentlab pca`` and ``traverse`` beside the same job written by hand."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_tables import new_table
from naive import COMPONENTS, NaiveJob, halves_of, run_naive
from rich.table import Table
from timing import Target, Timing, time_in_turn
from vae_bench import without_channels_last

if TYPE_CHECKING:
    import torch

    from latentlab.components.pca import PCA

IMAGE = "sample:flower"
SPEEDUP, LEAST_PSNR, RATIO_ERROR = 2.5, 45.0, 0.01
_FRAMES_COMPARED = 4
_LEADING = 5


@dataclass(frozen=True)
class Commands:
    """What the two commands left behind.

    Parameters
    ----------
    seconds : command → wall time
    pca : PCA of the run, its center included
    """

    seconds: dict[str, float]
    pca: PCA


def measure_whole(
    source: str,
    size: int,
    rounds: int,
    *,
    samples: int,
    components: int,
    steps: int,
    device: str = "cpu",
) -> dict[str, Any]:
    """Return times of both ways, and how alike their frames and spectra are.

    Parameters
    ----------
    source : str, folder of the model or name of a built-in one
    rounds : int, of latentlab with its default nulls and of the naive way; once without nulls
    """
    from latentlab import load_vae
    from latentlab.images.reading import read_image
    from latentlab.neighborhoods.augment import Augment

    vae = load_vae(source, device=device, dtype="float32")
    pixels = read_image(IMAGE, size=size, multiple=vae.spec.multiple).pixels
    factors = Augment().draw_factors(samples, _seeded())
    walk = {"components": components, "steps": steps}
    how = {**walk, "device": device}
    jobs = {
        "latentlab": partial(_run_commands, source, size, samples, nulls=None, **how),
        "naive": partial(_run_naive, source, pixels, factors, **how),
        "latentlab, no nulls": partial(_run_commands, source, size, samples, nulls="none", **how),
    }
    _run_commands(source, size, 4, n_components=1, steps=2, device=device, nulls=None)
    _run_naive(
        source,
        pixels,
        {k: v[:4] for k, v in factors.items()},
        n_components=1,
        steps=2,
        device=device,
    )
    fewer = {name: 1 if "no nulls" in name else rounds for name in jobs}
    timings = time_in_turn(jobs, rounds, fewer=fewer)
    ours, plain = timings["latentlab"].result, timings["naive"].result
    return {
        "model": vae.spec.name,
        "size": size,
        "samples": samples,
        **walk,
        "ways": [_way(name, timing, timings["latentlab"]) for name, timing in timings.items()],
        "solver": plain.solver,
        **_compare_spectra(ours.pca, plain),
        **_compare_frames(vae, ours.pca, components, steps),
    }


def whole_targets(row: Mapping[str, Any]) -> list[Target]:
    """Return speed and likeness beside their bounds."""
    what = f"pca + traverse, {row['model']}, N={row['samples']}: "
    (ratio,) = (way["ratio"] for way in row["ways"] if way["name"] == "naive")
    return [
        Target(f"{what}naive / latentlab, time", ratio, SPEEDUP),
        Target(f"{what}least PSNR of frames, dB", row["psnr_min"], LEAST_PSNR),
        *(
            Target(
                f"{what}{which} SVD: worst eigenvalue ratio, off by",
                error,
                RATIO_ERROR,
                at_least=False,
            )
            for which, error in row["ratio_errors"].items()
            if which.endswith("full")
        ),
    ]


def whole_tables(row: Mapping[str, Any]) -> list[Table]:
    """Return a table of times and one of how alike the results are."""
    size = f"{row['size']} px, {row['samples']} samples, {row['components']}×{row['steps']} frames"
    title = f"pca + traverse, {row['model']}, {size}"
    times = new_table(title, "way", "rounds", "seconds", "× latentlab", "steps, seconds")
    for way in row["ways"]:
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in way["steps"].items())
        rounds, ratio = str(len(way["all_seconds"])), f"{way['ratio']:.2f}"
        times.add_row(way["name"], rounds, f"{way['seconds']:.1f}", ratio, steps)
    alike = new_table("How alike latentlab's and the naive results are", "figure", "value")
    frames = f"{row['frames_compared']} frames of equal latents"
    alike.add_row(f"PSNR of {frames}, least", f"{row['psnr_min']:.1f} dB")
    alike.add_row(f"PSNR of {frames}, median", f"{row['psnr_median']:.1f} dB")
    for which, error in row["ratio_errors"].items():
        which = which.replace("default", f"its default here ({row['solver']})")
        alike.add_row(
            f"eigenvalue ratios, largest difference: {which} of scikit-learn", f"{error:.2%}"
        )
    return [times, alike]


def _seeded() -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(0)


def _run_commands(
    source: str,
    size: int,
    samples: int,
    *,
    components: int,
    steps: int,
    device: str,
    nulls: str | None,
) -> Commands:
    """Return what the commands leave in a folder that knows of no earlier run."""
    from latentlab.results.components import load_pca
    from latentlab.results.folders import latest_run

    model = ("-m", str(Path(source).resolve()) if Path(source).exists() else source)
    chosen = ("--nulls", nulls) if nulls else ()
    lines: dict[str, tuple[Any, ...]] = {
        "pca": ("pca", IMAGE, *model, "--size", size, "--samples", samples, *chosen),
        "traverse": ("traverse", "--components", components, "--steps", steps),
    }
    with _fresh_folder():
        place = ("--device", device, "--quiet")
        seconds = {name: _run_command((*line, *place)) for name, line in lines.items()}
        return Commands(seconds, load_pca(latest_run()))


def _run_command(line: tuple[Any, ...]) -> float:
    from latentlab.cli.main import run

    start = time.perf_counter()
    code = run([*map(str, line)])
    if code:
        raise RuntimeError(f"latentlab {' '.join(map(str, line))} left with {code}")
    return time.perf_counter() - start


def _run_naive(
    source: str, pixels: torch.Tensor, factors: Mapping[str, Any], **how: Any
) -> NaiveJob:
    source = str(Path(source).resolve()) if Path(source).exists() else source
    with _fresh_folder() as folder:
        return run_naive(source, pixels, factors, folder, **how)


@contextlib.contextmanager
def _fresh_folder() -> Any:
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        yield Path(os.curdir)


def _way(name: str, timing: Timing, ours: Timing) -> dict[str, Any]:
    return {
        "name": name,
        "seconds": timing.median,
        "all_seconds": timing.seconds,
        "ratio": timing.median / ours.median,
        "steps": timing.result.seconds,
    }


def _compare_spectra(pca: PCA, plain: NaiveJob) -> dict[str, Any]:
    """Return how far the shares of variance are from scikit-learn's, both its solvers."""
    from sklearn.decomposition import PCA as ScikitPCA  # noqa: N811

    kept = min(COMPONENTS, len(plain.samples) - 1)
    full = ScikitPCA(kept, svd_solver="full").fit(plain.samples).explained_variance_ratio_
    found = pca.spectrum.explained_variance_ratio[:kept].numpy()
    errors = {
        f"first {min(count, kept)}, {solver}": largest_difference(found[:count], shares[:count])
        for solver, shares in (("full", full), ("default", plain.ratios))
        for count in (_LEADING, kept)
    }
    return {"ratio_errors": errors}


def largest_difference(found: Any, wanted: Any) -> float:
    """Return the largest relative difference of two arrays of numbers."""
    import numpy as np

    return float(np.abs(np.asarray(found) / np.asarray(wanted) - 1).max())


def _compare_frames(vae: Any, pca: PCA, components: int, steps: int) -> dict[str, Any]:
    """Return how alike frames are that both ways decode from the same latents."""
    import torch

    from latentlab.encoding.encoder import decode_each
    from latentlab.encoding.precision import with_fast_decoder
    from latentlab.metrics.fidelity import psnr

    found = pca.leading(components)
    alphas = torch.linspace(-3, 3, steps)[:: max(1, steps // _FRAMES_COMPARED)]
    paths = (
        alphas[:, None, None, None]
        * (found.step_lengths[:, None, None, None] * found.vectors)[:, None]
    )
    latents = (pca.center.values + paths).flatten(0, 1).float()
    plain = halves_of(without_channels_last(vae).module, vae.device.type)
    normalization = vae.normalization
    values = []
    with torch.no_grad():
        for latent, ours in zip(latents, decode_each(with_fast_decoder(vae), latents), strict=True):
            naive = plain.decode(normalization.from_model(latent[None]))[0]
            values.append(psnr(naive, ours))
    return {
        "frames_compared": len(values),
        "psnr_min": min(values),
        "psnr_median": statistics.median(values),
    }
