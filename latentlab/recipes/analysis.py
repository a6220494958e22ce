"""From an image to a run folder: sample, fit, judge, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.chance.nulls import NULLS
from latentlab.chance.verdict import Judgment, affordable_nulls, judge
from latentlab.components.fitting import fit_pca
from latentlab.components.pca import PCA
from latentlab.directions.factor_model import explain_factors
from latentlab.encoding.precision import with_fast_decoder
from latentlab.encoding.reconstruction import reconstruct
from latentlab.encoding.scale import Scales
from latentlab.figures.canvas import check_figure_format, new_figure, png_bytes
from latentlab.figures.tables import html_block, html_image
from latentlab.images.fit import AUTO, Size
from latentlab.latents import Neighborhood, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.tiles import describe_tiles
from latentlab.recipes.controls import (
    Control,
    check_controls,
    controls_on_request,
    draw_controls,
)
from latentlab.recipes.headline import headline
from latentlab.recipes.sampling import (
    SamplingPlan,
    Say,
    be_silent,
    check_plan,
    draw_samples,
    encode_fitting,
)
from latentlab.recipes.scoring import save_sample_scores
from latentlab.results.components import save_pca
from latentlab.results.folders import RUNS_FOLDER, Saved, create_run, remember_run
from latentlab.results.kept_samples import keep
from latentlab.results.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentlab.images.arrays import ValueRange


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """A PCA against null models, saved with its provenance.

    Parameters
    ----------
    pca : PCA
    judgment : Judgment
    neighborhood : Neighborhood that was fitted; None for a store
    saved : Saved, what was written
    controls : the same copies without the VAE; empty where nothing was copied
    """

    pca: PCA
    judgment: Judgment
    neighborhood: Neighborhood | None
    saved: Saved
    controls: tuple[Control, ...] = ()

    @property
    def folder(self) -> Path:
        """Return the run folder."""
        return self.saved.folder

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the paths of all files."""
        return self.saved.files

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return the contents of ``pca.json``."""
        return self.saved.facts

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the cumulative explained variance over the null models; return the axes."""
        controls = [control.band() for control in self.controls]
        return self.pca.plot(ax, judgment=self.judgment, controls=controls)

    def _repr_html_(self) -> str:
        figure = new_figure()
        self.plot(figure.add_subplot())
        image = html_image(png_bytes(figure), self.pca.title)
        return html_block("", image, [self.judgment.verdict, f"Saved in {self.folder}"])

    def __repr__(self) -> str:
        return f"{self.pca.title}\n{self.judgment.verdict}\n{self.folder}"


def analyze(
    vae: LatentVAE,
    image: Any,
    *,
    size: Size = AUTO,
    value_range: ValueRange | None = None,
    neighborhood: str = SamplingPlan.neighborhood,
    n_samples: int | None = None,
    region: tuple[int, int, int, int] | None = None,
    options: Mapping[str, Any] | None = None,
    n_components: float | None = None,
    solver: str = "auto",
    nulls: Sequence[str] | None = None,
    controls: Sequence[str] = (),
    seed: int = 0,
    dtype: str = "auto",
    folder: str | Path | None = None,
    command_line: list[str] | None = None,
    figure_format: str = "png",
    say: Say = be_silent,
    scales: Scales | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Return the PCA around an image with its judgment, saved in a run folder: ``latentlab pca``.

    The steps are :func:`latentlab.encode`, :func:`latentlab.neighborhood`,
    :func:`latentlab.fit_pca`, :func:`latentlab.judge` and :func:`latentlab.save`, with the
    command's choices: a sufficient precision, samples kept from an earlier run, and the null
    models that take little time.

    Parameters
    ----------
    vae : LatentVAE
    image : path, PIL image, array or tensor, as for :func:`latentlab.encode`, or a Latent with its
        image
    size : int, optional; side of the square in pixels. By default the image keeps its shape and
        is shrunk if a side is above 384 px (1,024 on a GPU); ``"native"`` keeps its size.
    value_range : as for :func:`latentlab.encode`
    neighborhood, n_samples, region, seed : as for :func:`latentlab.neighborhood`
    options : of the sampler, such as ``{"rotation": 20}``
    n_components, solver : as for :func:`latentlab.fit_pca`, but ``"auto"`` is exact, because null
        models and the participation ratio need the complete spectrum
    nulls : names of null models; by default those that match the neighborhood and take little time
    controls : more controls for copies of an image: ``"random-weights"``, the same architecture
        untrained, which takes as long again; pixels and an orthonormal transform are always drawn
    dtype : ``"auto"``, or anything else to encode in the VAE's own precision
    folder : for the results; by default ``latentlab-runs/<image>-<model>-<n>``
    command_line : for ``run.json``
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``
    say : called with messages
    scales : gathers the scale of several images' latents, to be said once
    progress : called as ``progress(what, done, total)``

    Returns
    -------
    Analysis : pca, judgment, neighborhood, folder, files, facts; variances in model-space units²

    Raises
    ------
    UsageError, ShapeError : an option is invalid.
    ImageError, FileError : the image cannot be read, or the folder cannot be written.
    NonFiniteError, MemoryLimitError : as for :func:`latentlab.encode`.

    Notes
    -----
    For sources, see the docstrings of the steps.

    Examples
    --------
    >>> import tempfile
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> found = analyze(
    ...     vae, "sample:flower", size=64, neighborhood="tokens", folder=tempfile.mkdtemp()
    ... )
    >>> found.facts["n_features"], found.files[-1].name
    (16, 'run.json')
    """
    plan = SamplingPlan(neighborhood, n_samples, region, dict(options or {}), seed, dtype)
    out = None if folder is None else Path(folder)
    check_analysis(plan, image, nulls, out, controls)
    check_figure_format(figure_format)
    more = controls_on_request(vae, controls, neighborhood=neighborhood, seed=seed)
    latent = encode_fitting(vae, image, size, say, value_range, scales)
    # Decoding before the long part lets a broken decoder fail early.
    reconstruction = reconstruct(vae, latent)
    hood, precision, key = draw_samples(vae, latent, image, plan, say=say, progress=progress)
    pca = fit_pca(hood, n_components, "exact" if solver == "auto" else solver, seed=seed)
    keep(RUNS_FOLDER, key, hood, precision)
    drawn = draw_controls(latent, hood, image, plan, say=say, more=more, progress=progress)
    model = explain_factors(hood, seed=seed)
    evidence = {
        "first": headline(hood, model, drawn),
        "beside": {control.words: control.dimension for control in drawn},
    }
    judgment = _judge(hood, pca, nulls, seed, say, progress, **evidence)
    settings = {
        **hood.sampling.facts(),
        "n_samples": hood.n_samples,
        "nulls": [null.name for null in judgment.nulls],
        "controls": [control.name for control in drawn],
        "precision": precision,
    }
    out = out or create_run(latent.name, vae.spec.name)
    decoder = with_fast_decoder(vae) if dtype == "auto" else vae
    scores = save_sample_scores(decoder, hood, pca, out, figure_format)
    saved = save_pca(
        pca,
        out,
        more=scores.files,
        judgment=judgment,
        controls=[control.band() for control in drawn],
        reconstruction=reconstruction,
        facts={
            "reconstruction_psnr": reconstruction.psnr,
            "additivity": model.summary() if model else None,
            "controls": {control.name: control.facts() for control in drawn},
            **describe_tiles(vae),
        },
        run=provenance(vae, latent, command_line, **settings),
        figure_format=figure_format,
    )
    remember_run(out)
    return Analysis(pca, judgment, hood, saved, drawn)


def check_analysis(
    plan: SamplingPlan,
    image: Any,
    nulls: Sequence[str] | None,
    folder: Path | None,
    controls: Sequence[str] = (),
) -> None:
    """Raise the errors of :func:`analyze` that can be found before a model is loaded."""
    check_plan(plan, image, folder)
    for name in nulls or ():
        NULLS.make(name)
    check_controls(controls, plan.neighborhood)


def _judge(
    hood: Neighborhood,
    pca: PCA,
    nulls: Sequence[str] | None,
    seed: int,
    say: Say,
    progress: Progress | None,
    **evidence: Any,
) -> Judgment:
    """Return the judgment by the nulls asked for, or by those that take little time."""
    left_out: dict[str, str] = {}
    if nulls is None:
        nulls, left_out = affordable_nulls(hood, pca.spectrum)
        for name, reason in left_out.items():
            say(f"the {name} null is left out: {reason}")
    how: dict[str, Any] = {"nulls": nulls, "seed": seed, "left_out": left_out, **evidence}
    return judge(hood, pca, progress=progress, **how)
