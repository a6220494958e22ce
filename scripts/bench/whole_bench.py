"""``latentlab pca`` and ``traverse`` against the same job written by hand."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import sklearn.decomposition
import torch
from measuring import time_in_turn, timed, ways_of
from naive import COMPONENTS, NaiveJob, halves_of, run_naive
from report import Options, Row, Say, Table, at_least, at_most, new_table, table_of
from sources import IMAGE, load, model_of, without_channels_last

from latentlab import PCA
from latentlab.cli.main import run
from latentlab.encoding.encoder import decode_each
from latentlab.encoding.precision import with_fast_decoder
from latentlab.images.reading import read_image
from latentlab.metrics.fidelity import psnr
from latentlab.neighborhoods.augment import Augment
from latentlab.results.components import load_pca
from latentlab.results.folders import latest_run

_FRAMES_COMPARED = 4
_LEADING = 5
_ALIKE = "How alike latentlab's and the naive results are"
_PSNRS = {"least": "psnr_min", "median": "psnr_median"}


def measure(options: Options, say: Say) -> Row:
    """Return times of both ways, and once without nulls, and how alike their results are."""
    source, size, samples = model_of(options), options.size, options.samples
    source = str(Path(source).resolve()) if Path(source).exists() else source
    say(f"pca and traverse with {source}, three ways")
    vae = load(source, options.device)
    pixels = read_image(IMAGE, size=size, multiple=vae.spec.multiple).pixels
    factors = Augment().draw_factors(samples, torch.Generator().manual_seed(0))
    walk = {"components": options.components, "steps": options.steps}
    commands = partial(in_fresh_folder, _run_commands, source, size, device=options.device)
    naive = partial(in_fresh_folder, run_naive, source, pixels, device=options.device)
    jobs = {
        "latentlab": partial(commands, samples, **walk),
        "naive": partial(naive, factors, **walk),
        "latentlab, no nulls": partial(commands, samples, "--nulls", "none", **walk),
    }
    commands(4, components=1, steps=2)
    naive({name: values[:4] for name, values in factors.items()}, components=1, steps=2)
    timings = time_in_turn(jobs, options.rounds, fewer={"latentlab, no nulls": 1}, warm_up=False)
    ours, plain = timings["latentlab"].result, timings["naive"].result
    return {
        "model": vae.spec.name,
        "size": size,
        "samples": samples,
        **walk,
        "ways": [
            {"name": name, **way, "steps": timings[name].result.seconds}
            for name, way in ways_of(timings).items()
        ],
        "solver": plain.solver,
        "ratio_errors": _compare_spectra(ours.pca, plain),
        **_compare_frames(vae, ours.pca, options),
    }


def in_fresh_folder(job: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the result of a job in a folder without earlier runs."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        return job(*arguments, **options)


def _run_commands(
    source: str, size: int, samples: int, *nulls: str, components: int, steps: int, device: str
) -> SimpleNamespace:
    """Return the seconds of both commands, and the PCA of the run with its center."""
    lines = {
        "pca": ["-m", source, IMAGE, "--size", size, "--samples", samples, *nulls],
        "traverse": ["--components", components, "--steps", steps],
    }
    seconds = {}
    for command, options in lines.items():
        line = [command, *map(str, options), "--device", device, "--quiet"]
        seconds[command], code = timed(partial(run, line))
        if code:
            raise RuntimeError(f"latentlab {' '.join(line)} failed with code {code}")
    return SimpleNamespace(seconds=seconds, pca=load_pca(latest_run()))


def _compare_spectra(pca: PCA, plain: NaiveJob) -> dict[str, float]:
    """Return how far the shares of variance are from scikit-learn's, for both its solvers."""
    kept = min(COMPONENTS, len(plain.samples) - 1)
    full = sklearn.decomposition.PCA(kept, svd_solver="full").fit(plain.samples)
    found = pca.spectrum.explained_variance_ratio[:kept].numpy()
    return {
        f"first {min(count, kept)}, {solver}": largest_difference(found[:count], shares[:count])
        for solver, shares in (("full", full.explained_variance_ratio_), ("default", plain.ratios))
        for count in (_LEADING, kept)
    }


def largest_difference(found: Any, wanted: Any) -> float:
    """Return the largest relative difference of two arrays of numbers."""
    return float(np.abs(np.asarray(found) / np.asarray(wanted) - 1).max())


def _compare_frames(vae: Any, pca: PCA, options: Options) -> Row:
    """Return how alike frames are that both ways decode from the same latents."""
    found = pca.leading(options.components)
    alphas = torch.linspace(-3, 3, options.steps)[:: max(1, options.steps // _FRAMES_COMPARED)]
    lengths = found.step_lengths[:, None] * alphas
    paths = lengths[..., None, None, None] * found.vectors[:, None]
    latents = (pca.origin.values + paths).flatten(0, 1).float()
    plain = halves_of(without_channels_last(vae).module, vae.device.type)
    values = []
    for latent, ours in zip(latents, decode_each(with_fast_decoder(vae), latents), strict=True):
        own = vae.normalization.from_model(latent[None])
        values.append(psnr(plain.job("decode", own)()[0], ours))
    figures = {"psnr_min": min(values), "psnr_median": median(values)}
    return {"frames_compared": len(values), **figures}


def targets(row: Row) -> Iterator[Row]:
    what = f"pca + traverse, {row['model']}, N={row['samples']}: "
    (ratio,) = (way["ratio"] for way in row["ways"] if way["name"] == "naive")
    yield at_least(f"{what}naive / latentlab, time", ratio, 2.5)
    yield at_least(f"{what}least PSNR of frames, dB", row["psnr_min"], 45.0)
    for which, error in row["ratio_errors"].items():
        if which.endswith("full"):
            yield at_most(f"{what}{which} SVD: worst eigenvalue ratio, off by", error, 0.01)


def tables(row: Row) -> list[Table]:
    """Return a table of times and one of how alike the results are."""
    title = "pca + traverse, {model}, {size} px, {samples} samples, {components}×{steps} frames"
    times = table_of(
        title.format_map(row),
        row["ways"],
        ("way", "{name}"),
        ("rounds", lambda way: str(len(way["all_seconds"]))),
        ("seconds", "{seconds:.1f}"),
        ("× latentlab", "{ratio:.2f}"),
        ("steps, seconds", lambda way: ", ".join(f"{k} {s:.1f}" for k, s in way["steps"].items())),
    )
    frames = f"PSNR of {row['frames_compared']} frames of equal latents"
    lines = [(f"{frames}, {name}", f"{row[key]:.1f} dB") for name, key in _PSNRS.items()]
    default = f"its default here ({row['solver']})"
    for which, error in row["ratio_errors"].items():
        solver = which.replace("default", default)
        what = f"eigenvalue ratios, largest difference: {solver} of scikit-learn"
        lines.append((what, f"{error:.2%}"))
    return [times, new_table(_ALIKE, ("figure", "value"), lines)]
