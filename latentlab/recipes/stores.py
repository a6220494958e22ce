"""From a store of latents to a run folder, on one process or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latentlab.chance.verdict import Judgment, affordable_nulls, judge_stream
from latentlab.components.fitting import fit_pca
from latentlab.components.stores import StoreRows, store_rows
from latentlab.figures.canvas import check_figure_format
from latentlab.latents import Neighborhood
from latentlab.machine.files import check_folder
from latentlab.recipes.analysis import Analysis
from latentlab.recipes.scoring import save_store_scores
from latentlab.results.components import save_pca
from latentlab.results.folders import RUNS_FOLDER, create_run, remember_run
from latentlab.store.opening import open_source
from latentlab.store.reading import Store, open_store

if TYPE_CHECKING:
    from latentlab.components.pca import PCA
    from latentlab.latents import Progress
    from latentlab.machine.distributed import Ranks


_SUBSAMPLE = {"whole": 512, "tokens": 4096}
"""Most rows on which null models are drawn that read all rows many times."""


def analyze_store(
    path: str | Path | Store,
    *,
    parts: str = "whole",
    n_components: float | None = None,
    solver: str = "auto",
    seed: int = 0,
    folder: str | Path | None = None,
    images: str | Path | None = None,
    command_line: list[str] | None = None,
    figure_format: str = "png",
    bucket: str | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> Analysis | None:
    """Return the PCA of a store with its judgment, saved in a run folder: ``latentlab pca STORE``.

    Parameters
    ----------
    path : folder of the store, or an open Store, such as ``open_latents`` returns
    parts : "whole", a row for each latent, or "tokens", one for each cell
    n_components, solver, seed : as for :func:`latentlab.fit_pca`
    folder : for the results; by default ``latentlab-runs/<store>-<model>-<n>``
    images : folder or tar file of the images that were encoded, to show some; optional
    command_line : for ``run.json``
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``
    bucket : take the latents of one shape only, such as ``"4x32x48"``; optional
    ranks : Ranks that share the reading, optional
    progress : called as ``progress("pass 1 over the latents", done, total)``

    Returns
    -------
    Analysis : variances in model-space units²; None on all ranks but the first

    Raises
    ------
    FileError : the store is not finished, or the results cannot be written.
    UsageError, ShapeError, MemoryLimitError : as for :func:`latentlab.fit_pca`.

    Notes
    -----
    For sources, see :func:`latentlab.fit_pca`. The permuted and the stationary null are drawn on
    at most 512 latents, or 4,096 cells, drawn at random, which ``pca.json`` states as
    ``subsample``; the counts and the verdict are then those of the subsample.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import latentlab
    >>> from latentlab.images.examples import example_folder
    >>> here = Path(tempfile.mkdtemp())
    >>> vae = latentlab.load_vae("linear")
    >>> _ = latentlab.encode_folder(vae, example_folder(), here / "store", size=64)
    >>> found = analyze_store(here / "store", parts="tokens", folder=here / "run")
    >>> found.facts["n_samples"]  # two images of 8×8 cells
    128
    """
    out = None if folder is None else Path(folder)
    if images is not None:
        open_source(images)
    check_folder(out or RUNS_FOLDER)
    check_figure_format(figure_format)
    store = path if isinstance(path, Store) else open_store(path)
    store = store.bucket(bucket) if bucket else store
    rows = store_rows(store, parts, ranks=ranks, progress=progress)
    pca = fit_pca(rows, n_components, solver, seed=seed)
    if ranks and not ranks.is_first:
        return None
    out = out or create_run(store.folder.resolve().name, store.spec.name)
    every = store_rows(store, parts, progress=progress)
    judgment, judged = _judge(every, pca, parts, seed, progress)
    facts: dict[str, Any] = {
        "reconstruction_psnr": None,
        "store": str(store.folder),
        "method": pca.solver,
        "space": store.manifest.space,
        "layouts": list(store.manifest.layouts),
        **_spread_of_cells(pca),
        **judged,
    }
    record = pca.sampling.known_origin().record
    run = {"command_line": command_line, **record, "seed": seed, "method": pca.solver}
    more: tuple[Path, ...] = ()
    how: dict[str, Any] = {"figure_format": figure_format}
    if parts == "whole":
        source = None if images is None else Path(images)
        scores = save_store_scores(every, pca, out, source, **how)
        more, facts = scores.files, {**facts, **scores.facts}
    saved = save_pca(pca, out, judgment=judgment, more=more, facts=facts, run=run, **how)
    remember_run(out)
    return Analysis(pca, judgment, None, saved)


def _judge(
    rows: StoreRows, pca: PCA, parts: str, seed: int, progress: Progress | None
) -> tuple[Judgment, dict[str, Any]]:
    """Return the judgment of all rows for the figures, and what a subsample says for the facts."""
    count = min(rows.n_samples, _SUBSAMPLE[parts])
    if count < 3:
        return judge_stream(pca.spectrum, pca.sampling.name), {}
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(rows.n_samples, generator=generator)[:count].sort().values
    picked, done = [], 0
    for chunk in rows.chunks():
        here = chosen[(chosen >= done) & (chosen < done + len(chunk))] - done
        picked.append(chunk[here])
        done += len(chunk)
    sample = torch.cat(picked)
    if not float(sample.var(0).sum()) > 0:
        return judge_stream(pca.spectrum, pca.sampling.name), {}
    complete = count == rows.n_samples and pca.spectrum.is_complete
    spectrum = pca.spectrum if complete else fit_pca(sample).spectrum
    whole = parts == "whole"
    hood = Neighborhood(sample, rows.sampling_around(sample.double().mean(0))) if whole else sample
    names = ("parallel", "stationary") if whole else ("parallel",)
    nulls, left_out = affordable_nulls(hood, spectrum, names)
    how: dict[str, Any] = {"nulls": nulls, "seed": seed, "left_out": left_out}
    found = judge_stream(spectrum, pca.sampling.name, hood, progress=progress, **how)
    if complete:
        return found, {"subsample": None}
    facts = found.facts()
    stated = f"On a random subsample of {count:,} of {rows.n_samples:,} {rows.part.label}: "
    facts |= {"subsample": {"n_samples": count, "of": rows.n_samples}}
    facts |= {"verdict": stated + facts["verdict"]}
    return judge_stream(pca.spectrum, pca.sampling.name), facts


def _spread_of_cells(pca: PCA) -> dict[str, float]:
    """Return mean and standard deviation of all numbers of all latents, from their moments."""
    spectrum, mean = pca.spectrum, pca.mean.double()
    within = spectrum.total_variance * (spectrum.n_samples - 1) / spectrum.n_samples
    variance = (within + float((mean - mean.mean()).square().sum())) / spectrum.n_features
    return {"latent_mean": float(mean.mean()), "latent_std": variance**0.5}
