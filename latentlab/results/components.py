"""Run folders of principal components: arrays, facts, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.components.pca import PCA
from latentlab.latents import Spectrum
from latentlab.layouts import TokenLayout
from latentlab.results.arrays import (
    check_facts,
    check_shapes,
    load_sampling,
    open_result,
    write_result,
)
from latentlab.results.reconstructions import save_comparison

if TYPE_CHECKING:
    from latentlab.chance.verdict import Judgment
    from latentlab.encoding.reconstruction import Reconstruction
    from latentlab.figures.curves import Band
    from latentlab.results.folders import Saved

_FOLLOWS = (
    *("explained_variance", "explained_variance_ratio", "cumulative"),
    *("k50", "k90", "k95", "k99"),
)
"""Facts that follow from the arrays alone; recipes correct others for what they know."""


def save_pca(
    pca: PCA,
    folder: Path,
    *,
    judgment: Judgment | None = None,
    controls: Sequence[Band] = (),
    reconstruction: Reconstruction | None = None,
    more: Sequence[Path] = (),
    facts: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    figure_format: str = "png",
) -> Saved:
    """Write figures, ``pca.safetensors``, ``pca.json`` and ``run.json``; return what was written.

    Parameters
    ----------
    pca : PCA
    folder : created where missing; files of the same name are replaced
    judgment : Judgment, optional; the null models, for the figures and ``pca.json``
    controls : curves of the same copies without the VAE
    reconstruction : Reconstruction of the image, to be shown beside it; optional
    more : files that are already in the folder and belong to the run
    facts : added to ``pca.json``
    run : for ``run.json``, instead of what the PCA records about model and image
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``
    """
    from latentlab.figures.canvas import new_figure, write_figure

    files = []
    plots: dict[str, Callable[..., Any]] = {
        "cumulative_variance": partial(pca.plot, controls=controls),
        "eigenvalues": pca.plot_eigenvalues,
    }
    for stem, plot in plots.items():
        figure = new_figure()
        plot(figure.add_subplot(), judgment=judgment)
        files.append(write_figure(folder, stem, figure, figure_format))
    origin = pca.origin
    # The mean latent of a store whose rows are cells has one color everywhere.
    if isinstance(pca.sampling.layout, TokenLayout) and origin is not None and origin.varies:
        files.append(write_figure(folder, "latent_rgb", origin.draw(), figure_format))
    if reconstruction is not None:
        files.append(save_comparison(reconstruction, folder, figure_format))
    files += more
    arrays = {
        "components": pca.components,
        "mean": pca.mean,
        "explained_variance": pca.spectrum.explained_variance,
        "error_bounds": pca.error_bounds,
    }
    bounds = pca.error_bounds
    described = {
        "title": pca.title,
        "solver": pca.solver,
        "eigenvalue_error_bounds": None if bounds is None else bounds.tolist(),
        **_spread(pca),
        **pca.summary(),
        **(judgment.facts() if judgment else {}),
        **(facts or {}),
    }
    settings = {**pca.sampling.facts(), "n_samples": pca.spectrum.n_samples}
    record = run or {**(origin.record if origin else {}), **settings}
    return write_result(
        folder,
        "pca",
        files=files,
        arrays=arrays,
        facts=described,
        run=record,
        sampling=pca.sampling,
        replaces=("traversal",),
    )


def _spread(pca: PCA) -> dict[str, float]:
    if pca.origin is None:
        return {}
    values = pca.origin.values
    return {"latent_mean": float(values.mean()), "latent_std": float(values.std())}


def load_pca(folder: str | Path) -> PCA:
    """Return the PCA that :func:`save_pca` wrote; its origin has no image.

    Raises
    ------
    FileError : a file is missing, damaged or inconsistent with the others.
    """
    with open_result(folder, "pca") as (facts, arrays, record):
        sampling = load_sampling(facts, arrays, str(facts["neighborhood"]), record)
        layout, count = sampling.layout, len(arrays["components"])
        width = len(arrays["mean"]) if layout is None else layout.n_features
        check_shapes(arrays, {"mean": (width,), "components": (count, width)})
        if int(facts["n_features"]) != width:
            raise ValueError(f"n_features = {facts['n_features']} of components with {width}")
        if len(arrays["explained_variance"]) < count:
            raise ValueError(f"{count} components without their variances")
        pca = PCA(
            spectrum=Spectrum(
                arrays["explained_variance"],
                float(facts["total_variance"]),
                int(facts["n_samples"]),
                int(facts["n_features"]),
            ),
            components=arrays["components"],
            mean=arrays["mean"],
            sampling=sampling,
            solver=str(facts.get("solver", "")),
            error_bounds=arrays.get("error_bounds"),
        )
        told = pca.summary()
        check_facts(facts, {name: told[name] for name in _FOLLOWS})
        return pca
