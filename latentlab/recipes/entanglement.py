"""Several images: in how many ways their copies vary, and how far the known factors add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.components.fitting import fit_pca
from latentlab.components.summary import summarize_spectrum
from latentlab.directions.additivity import MODELS, Share
from latentlab.directions.factor_model import factor_model
from latentlab.encoding.scale import Scales
from latentlab.errors import ImageError, UsageError, counted
from latentlab.figures.canvas import check_figure_format, write_figure
from latentlab.figures.tables import frame_of, html_table
from latentlab.images.fit import AUTO, Size
from latentlab.latents import Latent, Progress, Spectrum
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.two_way import two_way_interval
from latentlab.neighborhoods import DEFAULT_NEIGHBORHOOD, SAMPLERS
from latentlab.recipes.controls import controls_on_request, draw_controls
from latentlab.recipes.sampling import (
    SamplingPlan,
    Say,
    be_silent,
    check_plan,
    draw_samples,
    encode_fitting,
)
from latentlab.results.arrays import write_result
from latentlab.results.folders import RUNS_FOLDER, Saved, create_run
from latentlab.results.kept_samples import keep
from latentlab.results.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL = "model"
MEASURES = ("participation_ratio", "k90", *MODELS)
"""Numbers of one image: two of its spectrum, and what the factors explain in three regressions."""


_PANELS = {
    "participation_ratio": "participation ratio",
    "linear": "sum of effects",
    "pairwise": "with products of pairs",
}
"""Measure → the title of its panel in the figure."""


@dataclass(frozen=True, eq=False, repr=False)
class Entanglement:
    """Numbers of several images, with intervals for other images of the same kind.

    Parameters
    ----------
    names : of the images
    values : ``"model"``, ``"pixels"``, ``"linear"`` and controls on request → measure → Tensor
        (images,)
    skipped : image → why it has no numbers
    """

    names: tuple[str, ...]
    values: Mapping[str, Mapping[str, Tensor]]
    skipped: Mapping[str, str]

    def mean(self, measure: str, of: str = MODEL, minus: str | None = None) -> dict[str, Any]:
        """Return ``mean``, ``lower`` and ``upper`` of a measure, or of a paired difference.

        The interval is Student's t over images, so it is for other images: each image's own
        uncertainty, from its copies, is part of how much the images differ. One image has none.
        """
        values = self.values[of][measure]
        if minus is not None:
            values = values - self.values[minus][measure]
        lower, upper = two_way_interval(values[:, None]) or (None, None)
        return {"mean": float(values.mean()), "lower": lower, "upper": upper}

    def facts(self) -> dict[str, Any]:
        """Return ``entanglement.json``."""
        controls = [name for name in self.values if name != MODEL]
        return {
            "n_images": len(self.names),
            "images": [
                {
                    "image": name,
                    **{
                        who: {measure: float(found[measure][row]) for measure in MEASURES}
                        for who, found in self.values.items()
                    },
                }
                for row, name in enumerate(self.names)
            ],
            "means": {
                who: {measure: self.mean(measure, who) for measure in MEASURES}
                for who in self.values
            },
            "differences": {
                who: {measure: self.mean(measure, minus=who) for measure in MEASURES}
                for who in controls
            },
            "skipped": dict(self.skipped),
        }

    def draw(self, title: str = "") -> Figure:
        """Draw every image over the model and its controls, with means; return the figure."""
        from latentlab.figures.paired import draw_paired

        panels = {
            words: (
                torch.stack([found[measure] for found in self.values.values()], 1),
                [tuple(self.mean(measure, who).values()) for who in self.values],
            )
            for measure, words in _PANELS.items()
        }
        shares = [_PANELS[name] for name in MODELS if name in _PANELS]
        return draw_paired([*self.values], panels, percent=shares, title=title)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each image and what its copies were taken as.

        ``image``, ``copies`` (model, pixels, linear, …), and a column for each measure.
        """
        return frame_of(
            {
                "image": name,
                "copies": who,
                **{measure: float(found[measure][row]) for measure in MEASURES},
            }
            for row, name in enumerate(self.names)
            for who, found in self.values.items()
        )

    def _repr_html_(self) -> str:
        rows = [
            (who, *(_with_interval(self.mean(measure, who)) for measure in MEASURES))
            for who in self.values
        ]
        notes = [
            f"Means over {counted(len(self.names))} with 95 % intervals for other images.",
            *(f"{name} left out: {why}." for name, why in self.skipped.items()),
        ]
        return html_table(("copies as", *MEASURES), rows, notes=notes)

    def __repr__(self) -> str:
        return f"Entanglement of {len(self.names)} images: {self.mean('linear')['mean']:.0%} linear"


def _with_interval(mean: Mapping[str, Any]) -> str:
    ends = mean["lower"], mean["upper"]
    found = f"{mean['mean']:.4g}"
    whole = found if None in ends else f"{found} ({ends[0]:.4g} to {ends[1]:.4g})"
    return whole.replace("-", "\N{MINUS SIGN}")


def entanglement(
    vae: LatentVAE,
    images: Sequence[Any],
    *,
    size: Size = AUTO,
    n_samples: int | None = None,
    options: Mapping[str, Any] | None = None,
    controls: Sequence[str] = (),
    seed: int = 0,
    dtype: str = "auto",
    folder: str | Path | None = None,
    command_line: list[str] | None = None,
    figure_format: str = "png",
    say: Say = be_silent,
    progress: Progress | None = None,
) -> tuple[Entanglement, Saved]:
    """Return how many directions known changes of images fill, and how far their effects add up.

    ``latentlab pca FOLDER -k augment``. Each image's copies are analyzed by themselves, with the
    same changes as pixels and through an orthonormal transform beside them. One image says little:
    the participation ratio differs by a factor of two between photos.

    Parameters
    ----------
    vae : LatentVAE
    images : paths, arrays, tensors or Latents, of any sizes
    size, n_samples, options, controls, seed, dtype : as for :func:`latentlab.analyze`; numbers
        depend on them
    folder : for the results; by default ``latentlab-runs/images-<model>-<n>``
    command_line : for ``run.json``
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``
    say : called with messages
    progress : called as ``progress(what, done, total)``

    Returns
    -------
    Entanglement, and Saved : the numbers of each image, and the files that hold them

    Raises
    ------
    UsageError : no images.
    ImageError : none of them could be read.

    Examples
    --------
    >>> import tempfile
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> images = ["sample:flower", "sample:china"]
    >>> found, _ = entanglement(vae, images, size=64, n_samples=32, folder=tempfile.mkdtemp())
    >>> found.mean("linear")["mean"] > 0.3
    True
    """
    plan = SamplingPlan(DEFAULT_NEIGHBORHOOD, n_samples, None, dict(options or {}), seed, dtype)
    out = None if folder is None else Path(folder)
    if not images:
        raise UsageError("no images", "one or more", "pass a list of images")
    check_plan(plan, images[0], out)
    check_figure_format(figure_format)
    more = controls_on_request(vae, controls, neighborhood=plan.neighborhood, seed=seed)
    rows: list[tuple[Latent, dict[str, dict[str, float]]]] = []
    skipped: dict[str, str] = {}
    scales = Scales(say)
    for image in images:
        try:
            latent = encode_fitting(vae, image, size, say, scales=scales)
        except ImageError as error:
            skipped[str(image)] = str(error)
            say(str(error))
            continue
        rows.append((latent, _numbers(vae, latent, image, plan, say, more, progress)))
    scales.close()
    if not rows:
        raise ImageError(
            f"{len(images)} files, none of which could be read", "images", "pass others"
        )
    found = Entanglement(tuple(latent.name for latent, _ in rows), _columns(rows), skipped)
    out = out or create_run("images", vae.spec.name)
    settings = {"n_samples": n_samples, "size": size, "options": dict(plan.options), "seed": seed}
    run = provenance(vae, rows[0][0], command_line, **settings)
    title = f"{len(rows)} images · {vae.spec.name}\n{SAMPLERS[plan.neighborhood].name} neighborhood"
    facts = {"title": title, **found.facts()}
    files = [write_figure(out, "entanglement", found.draw(title), figure_format)]
    return found, write_result(out, "entanglement", files=files, arrays={}, facts=facts, run=run)


def _numbers(
    vae: LatentVAE,
    latent: Latent,
    image: Any,
    plan: SamplingPlan,
    say: Say,
    more: Mapping[str, LatentVAE],
    progress: Progress | None,
) -> dict[str, dict[str, float]]:
    """Return the measures of one image, of the model and of its controls."""
    hood, precision, key = draw_samples(vae, latent, image, plan, say=say, progress=progress)
    keep(RUNS_FOLDER, key, hood, precision)
    drawn = draw_controls(latent, hood, image, plan, say=say, more=more, progress=progress)
    own = _measures(
        fit_pca(hood, n_components=1, solver="exact").spectrum, factor_model(hood).shares
    )
    return {MODEL: own} | {one.name: _measures(one.spectrum, one.shares) for one in drawn}


def _measures(spectrum: Spectrum, shares: Mapping[str, Share]) -> dict[str, float]:
    numbers: dict[str, Any] = summarize_spectrum(spectrum)
    found = {name: float(numbers[name]) for name in MEASURES[:2]}
    return found | {name: share.value for name, share in shares.items()}


def _columns(
    rows: Sequence[tuple[Latent, dict[str, dict[str, float]]]],
) -> dict[str, dict[str, Tensor]]:
    """Return who → measure → one number for each image; only who is known for all of them."""
    known = [who for who in rows[0][1] if all(who in row for _, row in rows)]
    return {
        who: {
            measure: torch.tensor([row[who][measure] for _, row in rows], dtype=torch.float64)
            for measure in MEASURES
        }
        for who in known
    }
