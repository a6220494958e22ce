"""From a store of latents to a run folder, on one process or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.chance.verdict import judge_stream
from latentlab.components.fitting import fit_pca
from latentlab.components.stores import store_rows
from latentlab.figures.canvas import check_figure_format
from latentlab.machine.files import check_folder
from latentlab.recipes.analysis import Analysis
from latentlab.recipes.scoring import save_store_scores
from latentlab.results.components import save_pca
from latentlab.results.folders import RUNS_FOLDER, create_run, remember_run
from latentlab.store.opening import open_source
from latentlab.store.reading import open_store

if TYPE_CHECKING:
    from latentlab.latents import Progress
    from latentlab.machine.distributed import Ranks


def analyze_store(
    path: str | Path,
    *,
    parts: str = "whole",
    n_components: float | None = None,
    solver: str = "auto",
    seed: int = 0,
    folder: str | Path | None = None,
    images: str | Path | None = None,
    command_line: list[str] | None = None,
    figure_format: str = "png",
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> Analysis | None:
    """Return the PCA of a store with its judgment, saved in a run folder: ``latentlab pca STORE``.

    Parameters
    ----------
    path : folder of the store
    parts : "whole", a row for each latent, or "tokens", one for each cell
    n_components, solver, seed : as for :func:`latentlab.fit_pca`
    folder : for the results; by default ``latentlab-runs/<store>-<model>-<n>``
    images : folder or tar file of the images that were encoded, to show some; optional
    command_line : for ``run.json``
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``
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
    For sources, see :func:`latentlab.fit_pca`; the null is the Marchenko–Pastur law.

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
    store = open_store(path)
    rows = store_rows(store, parts, ranks=ranks, progress=progress)
    pca = fit_pca(rows, n_components, solver, seed=seed)
    if ranks and not ranks.is_first:
        return None
    out = out or create_run(Path(path).resolve().name, store.spec.name)
    judgment = judge_stream(pca.spectrum, pca.sampling.name)
    bounds = pca.error_bounds
    facts: dict[str, Any] = {
        "reconstruction_psnr": None,
        "store": str(store.folder),
        "method": pca.solver,
        "eigenvalue_error_bounds": None if bounds is None else bounds.tolist(),
    }
    record = pca.sampling.known_origin().record
    run = {"command_line": command_line, **record, "seed": seed, "method": pca.solver}
    more: tuple[Path, ...] = ()
    how: dict[str, Any] = {"figure_format": figure_format}
    if parts == "whole":
        every = store_rows(store, parts, progress=progress)
        source = None if images is None else Path(images)
        scores = save_store_scores(every, pca, out, source, **how)
        more, facts = scores.files, {**facts, **scores.facts}
    saved = save_pca(pca, out, judgment=judgment, more=more, facts=facts, run=run, **how)
    remember_run(out)
    return Analysis(pca, judgment, None, saved)
