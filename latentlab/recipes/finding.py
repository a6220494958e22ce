"""From an image to a folder of directions: sample, find, label, compare, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from latentlab.directions import FINDERS
from latentlab.directions.agreement import subspace_agreement
from latentlab.directions.base import Scene
from latentlab.directions.factor_table import read_factors
from latentlab.directions.finding import search_directions
from latentlab.directions.labels import Label, label_directions, with_labels
from latentlab.encoding.scale import Scales
from latentlab.errors import UsageError
from latentlab.images.arrays import ValueRange
from latentlab.images.fit import AUTO, Size
from latentlab.latents import Directions, Latent, Neighborhood, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods.sampling import resample
from latentlab.pullback import channel_concentration, decoder_alignment, decoder_map
from latentlab.recipes.sampling import (
    SamplingPlan,
    Say,
    be_silent,
    check_plan,
    draw_neighborhood,
    encode_fitting,
)
from latentlab.recipes.starting import is_start, open_start, samples_of
from latentlab.registry import option_types
from latentlab.results.directions import save_directions
from latentlab.results.folders import Saved, create_run
from latentlab.results.provenance import provenance
from latentlab.walks.traversal import Traversal, walk_along

_COMPARED = ("pca", "random")
_SPAN = 3.0
_STEPS = 7


@dataclass(frozen=True)
class Search:
    """What to ask of a finder.

    Parameters
    ----------
    plan : SamplingPlan, without the options that are the finder's
    finder : str, a registered finder
    n_components : int, optional; how many directions
    options : of the finder
    labels : bool, whether to say what each direction correlates with
    compare : other finders to measure the overlap with
    alignment : int, in how many cells to look at the decoder's alignment with channels
    """

    plan: SamplingPlan
    finder: str
    n_components: int | None
    options: Mapping[str, Any]
    labels: bool
    compare: tuple[str, ...]
    alignment: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class FoundDirections:
    """Directions with what was learned about them.

    Parameters
    ----------
    directions : Directions
    latent : Latent at which they start
    neighborhood : Neighborhood that they were found in
    labels : a Label for each direction, if asked for
    learned : agreement with other finders and how well factors are recovered, JSON-ready
    saved : Saved, what was written; None if nothing was
    """

    directions: Directions
    latent: Latent
    neighborhood: Neighborhood
    labels: tuple[Label, ...] = ()
    learned: Mapping[str, Any] = field(default_factory=dict)
    saved: Saved | None = None

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each direction; see ``Directions.to_frame``."""
        return self.directions.to_frame()

    def _repr_html_(self) -> str:
        return self.directions._repr_html_()

    def __repr__(self) -> str:
        return f"Found{self.directions!r}"


def plan_search(
    plan: SamplingPlan,
    finder: str = "pca",
    n_components: int | None = None,
    *,
    features: str | None = None,
    labels: bool = True,
    compare: Sequence[str] | None = None,
    alignment: int = 0,
) -> Search:
    """Return what to ask of a finder, and where.

    Parameters
    ----------
    plan : SamplingPlan, whose options are those of the sampler and of the finder
    finder, n_components, labels : see :class:`Search`
    features : option of the finder, whatever the finder
    compare : names of other finders; by default pca and random
    alignment : see :class:`Search`
    """
    own = option_types(FINDERS[finder])
    mine: dict[str, Any] = {"features": features} if features else {}
    mine |= {name: value for name, value in plan.options.items() if name in own}
    if compare is None:
        compare = [name for name in _COMPARED if name != finder]
    rest = {name: value for name, value in plan.options.items() if name not in own}
    plan = replace(plan, options=rest)
    return Search(plan, finder, n_components, mine, labels, tuple(compare), alignment)


def check_search(search: Search, image: Any, folder: Path | None) -> None:
    """Raise the errors that can be found before a model is loaded.

    Raises
    ------
    UsageError : no such finder, or an invalid option.
    FileError : the folder for the results cannot be written.
    """
    FINDERS.make(search.finder, search.options)
    for other in search.compare:
        FINDERS.make(other)
    check_plan(search.plan, image, folder)
    if search.alignment < 0:
        raise UsageError(f"alignment {search.alignment}", "0 or more cells", "pass --alignment 4")
    if search.n_components is not None and search.n_components < 1:
        raise UsageError(f"--components {search.n_components}", "1 or more", "pass --components 8")


def find_around(
    vae: LatentVAE,
    image: Any,
    search: Search,
    *,
    size: Size = AUTO,
    value_range: ValueRange | None = None,
    say: Say = be_silent,
    scales: Scales | None = None,
    progress: Progress | None = None,
) -> FoundDirections:
    """Encode, sample, find, label and compare; nothing is saved.

    A store, a result or its folder instead of an image brings its own latent and samples.
    """
    if is_start(image):
        _refuse_sampling(search.plan, size, value_range)
        hood = samples_of(vae, open_start(image, vae), progress=progress)
        latent = hood.origin
    else:
        latent = encode_fitting(vae, image, size, say, value_range, scales)
        hood = draw_neighborhood(vae, latent, image, search.plan, progress=progress)
    scene = Scene(vae, latent, hood, search.plan.seed, progress)
    # Raises if a finder cannot use this neighborhood.
    limits = {name: FINDERS.make(name).limit(scene)[0] for name in search.compare}
    find = partial(search_directions, vae, latent, hood, seed=scene.seed, progress=progress)
    directions = find(search.n_components, finder=search.finder, **search.options)
    labels: tuple[Label, ...] = ()
    learned: dict[str, Any] = {}
    if search.labels:
        directions, labels, learned = _label(scene, directions)
    count = len(directions.labels)
    learned["agreement"] = {
        name: subspace_agreement(directions, find(min(count, limit), finder=name))
        for name, limit in limits.items()
    }
    learned["alignment"] = _align(scene, directions, search.alignment)
    return FoundDirections(directions, latent, hood, labels, learned)


def _align(scene: Scene, found: Directions, cells: int) -> dict[str, Any]:
    """Return how far directions, and the decoder if it is asked for, keep to channels."""
    channels = channel_concentration(found.vectors, seed=scene.seed).facts()
    if not cells:
        return {"channels": channels, "decoder": None}
    decoder = decoder_map(scene.vae, scene.latent)
    aligned = decoder_alignment(decoder, cells, seed=scene.seed, progress=scene.progress)
    return {"channels": channels, "decoder": aligned.facts()}


def _refuse_sampling(plan: SamplingPlan, size: Size, value_range: ValueRange | None) -> None:
    """Raise UsageError for what has no effect on a store or a result, which has its samples."""
    asked = {**vars(plan), "size": size, "value_range": value_range}
    usual = {**vars(SamplingPlan(seed=plan.seed, dtype=plan.dtype)), "size": AUTO}
    wrong = [f"{name}={value!r}" for name, value in asked.items() if value != usual.get(name)]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} with a store or an earlier result",
            "one of these alone, which has its own samples",
            "leave it out, or pass an image",
        )


def _label(scene: Scene, found: Directions) -> tuple[Directions, tuple[Label, ...], dict[str, Any]]:
    """Return the directions with their labels, the labels, and how well factors are recovered."""
    vae, hood, seed, progress = scene.vae, scene.neighborhood, scene.seed, scene.progress
    fresh = resample(vae, hood, progress=progress)
    labels = label_directions(vae, scene.latent, found, fresh, seed=seed, progress=progress)
    found = with_labels(found, labels)
    if fresh is None:
        return found, labels, {}
    return found, labels, {"factors": read_factors(found, hood, fresh, seed=seed)}


def save_found(
    vae: LatentVAE,
    found: FoundDirections,
    folder: Path | None,
    command_line: list[str] | None,
    *,
    walk: Traversal | None = None,
) -> Saved:
    """Write the files of a directions run, by default into a new folder; return the record."""
    hood = found.neighborhood
    settings = {**hood.sampling.facts(), "n_samples": hood.n_samples}
    facts = {
        "statement": FINDERS[found.directions.finder].statement,
        **found.learned,
        **settings,
        "n_features": hood.n_features,
    }
    return save_directions(
        found.directions,
        folder or create_run(found.latent.name, vae.spec.name),
        labels=found.labels,
        walk=walk,
        facts=facts,
        run=provenance(vae, found.latent, command_line, **settings),
    )


def walk_along_all(
    vae: LatentVAE, found: FoundDirections, progress: Progress | None = None
) -> Traversal:
    """Return a short walk along every direction, for the sheet of a directions run."""
    return walk_along(
        vae,
        found.latent,
        found.directions,
        n_components=len(found.directions.labels),
        span=_SPAN,
        steps=_STEPS,
        progress=progress,
    )


def analyze_directions(
    vae: LatentVAE,
    image: Any,
    *,
    finder: str = "pca",
    n_components: int | None = None,
    options: Mapping[str, Any] | None = None,
    labels: bool = True,
    compare: Sequence[str] | None = None,
    alignment: int = 0,
    size: Size = AUTO,
    value_range: ValueRange | None = None,
    neighborhood: str = SamplingPlan.neighborhood,
    n_samples: int | None = None,
    region: tuple[int, int, int, int] | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    command_line: list[str] | None = None,
    say: Say = be_silent,
    progress: Progress | None = None,
) -> FoundDirections:
    """Return directions around an image, labeled and saved: ``latentlab directions``.

    Parameters
    ----------
    vae : LatentVAE
    image : path, PIL image, array or tensor, as for :func:`latentlab.encode`, or a Latent. Or a
        Neighborhood, a store, a saved result or the folder of one, with its own latent and
        samples, as for :func:`latentlab.find_directions`.
    finder, n_components : as for :func:`latentlab.find_directions`
    options : of the finder and of the sampler
    labels : bool, whether to say what each direction correlates with
    compare : finders to measure the overlap with; by default pca and random
    alignment : int, in how many cells to look at how far the decoder's Jacobian is diagonal
    size, value_range, neighborhood, n_samples, region, seed : as for :func:`latentlab.analyze`
    folder : for the results; by default ``latentlab-runs/<image>-<model>-<n>``
    command_line : for ``run.json``
    say : called with messages
    progress : called as ``progress(what, done, total)``

    Returns
    -------
    FoundDirections : directions, latent, neighborhood, labels, learned, saved; lengths in
        model-space units

    Raises
    ------
    UsageError, ShapeError : an option is invalid.
    ImageError, FileError : the image cannot be read, or the folder cannot be written.
    NonFiniteError, MemoryLimitError : as for :func:`latentlab.encode`.

    Notes
    -----
    For sources, see the finders in :mod:`latentlab.directions`.

    Examples
    --------
    >>> import tempfile
    >>> import latentlab
    >>> found = analyze_directions(
    ...     latentlab.load_vae("linear"), "sample:flower", size=64, n_samples=16,
    ...     n_components=2, labels=False, folder=tempfile.mkdtemp(),
    ... )
    >>> found.directions.labels
    ('PC 1', 'PC 2')
    """
    plan = SamplingPlan(neighborhood, n_samples, region, options or {}, seed)
    asked: dict[str, Any] = {"labels": labels, "compare": compare, "alignment": alignment}
    search = plan_search(plan, finder, n_components, **asked)
    out = None if folder is None else Path(folder)
    check_search(search, image, out)
    how: dict[str, Any] = {"size": size, "value_range": value_range, "say": say}
    found = find_around(vae, image, search, **how, progress=progress)
    walk = walk_along_all(vae, found, progress)
    return replace(found, saved=save_found(vae, found, out, command_line, walk=walk))
