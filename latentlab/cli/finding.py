"""The way from a picture to a folder of directions, which several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.cli import analysis, options
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.latents import Directions, Latent, Neighborhood, Progress
    from latentlab.loaders import LatentVAE

_COMPARED = ("pca", "random")


@dataclass(frozen=True)
class Search:
    """What the options ask of a finder, beside the :class:`analysis.Request` of its samples."""

    finder: str
    components: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    labels: bool = True
    compare: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """Directions with what was learned about them."""

    directions: Directions
    latent: Latent
    neighborhood: Neighborhood
    labels: tuple[Any, ...]
    facts: dict[str, Any]


def plan(
    request: analysis.Request,
    finder: str,
    *,
    components: int | None = None,
    labels: bool = True,
    compare: str | None = None,
    features: str | None = None,
) -> tuple[analysis.Request, Search]:
    """Return the request with the finder's settings taken out, and what they ask of the finder.

    Raises
    ------
    UsageError : no such finder, or an option that it does not have.
    """
    from latentlab.directions import FINDERS, make_finder
    from latentlab.registry import option_types

    if finder not in FINDERS:
        make_finder(finder, {})
    settings = options.parse_settings(request.settings)
    own = option_types(FINDERS[finder])
    chosen = {name: value for name, value in settings.items() if name in own}
    if features is not None:
        chosen["features"] = features
    make_finder(finder, chosen)
    others = _compared(finder, compare)
    for other in others:
        make_finder(other, {})
    rest = [f"{name}={value}" for name, value in settings.items() if name not in own]
    search = Search(finder, components, chosen, labels, others)
    return replace(request, settings=rest), search


def _compared(finder: str, compare: str | None) -> tuple[str, ...]:
    if compare is None:
        return tuple(name for name in _COMPARED if name != finder)
    names = [name.strip() for name in compare.split(",")]
    return tuple(name for name in names if name and name != "none")


def check(request: analysis.Request, search: Search, out: Path | None) -> None:
    """Refuse what can be refused before a model is loaded."""
    analysis.check(request, out)
    if search.components is not None and search.components < 1:
        raise UsageError(f"--components {search.components}", "1 or more", "pass --components 8")


def find(
    vae: LatentVAE, request: analysis.Request, search: Search, progress: Progress | None
) -> Result:
    """Encode, sample, find, label and compare."""
    from latentlab import encode, held_out, label, read_picture, with_labels
    from latentlab import find as find_directions

    picture = read_picture(request.image, size=request.size, multiple=vae.spec.multiple)
    latent = encode(vae, picture)
    hood = analysis.sample(vae, latent, request, progress)
    _check_compared(vae, latent, hood, search)
    directions = find_directions(
        vae,
        latent,
        hood,
        search.components,
        finder=search.finder,
        seed=request.seed,
        progress=progress,
        **search.options,
    )
    labels: tuple[Any, ...] = ()
    facts: dict[str, Any] = {}
    if search.labels:
        fresh = held_out(vae, hood, progress=progress)
        labels = label(vae, latent, directions, fresh, seed=request.seed, progress=progress)
        directions = with_labels(directions, labels)
        if fresh is not None:
            facts["factors"] = _factor_table(directions, hood, fresh, request.seed)
    found = Result(directions, latent, hood, labels, facts)
    agreement = _agreement(vae, found, request, search, progress)
    return replace(found, facts={**facts, "agreement": agreement})


def _check_compared(vae: LatentVAE, latent: Latent, hood: Neighborhood, search: Search) -> None:
    """Refuse comparisons with finders that have no use for this neighborhood, before the search."""
    from latentlab.directions import Scene, make_finder

    scene = Scene(vae, latent, hood)
    for name in search.compare:
        make_finder(name, {}).limit(scene)


def _factor_table(
    directions: Directions, hood: Neighborhood, fresh: Neighborhood, seed: int
) -> list[dict[str, Any]]:
    from latentlab.directions.factor_table import read_factors

    return [row.describe() for row in read_factors(directions, hood, fresh, seed=seed)]


def _agreement(
    vae: LatentVAE,
    found: Result,
    request: analysis.Request,
    search: Search,
    progress: Progress | None,
) -> dict[str, Any]:
    from latentlab import compare
    from latentlab import find as find_directions
    from latentlab.directions import Scene, make_finder

    scene = Scene(vae, found.latent, found.neighborhood)
    agreement = {}
    for name in search.compare:
        other = find_directions(
            vae,
            found.latent,
            found.neighborhood,
            min(len(found.directions.labels), make_finder(name, {}).limit(scene)[0]),
            finder=name,
            seed=request.seed,
            progress=progress,
        )
        agreement[name] = compare(found.directions, other).describe()
    return agreement


def save(
    vae: LatentVAE, found: Result, folder: Path, command_line: Sequence[str], **extra: Any
) -> dict[str, Any]:
    """Write the files of a directions run; return the facts of its JSON with the files' paths."""
    from latentlab.directions import FINDERS
    from latentlab.results.directions import FACTS, save_directions
    from latentlab.results.folders import read_json
    from latentlab.results.provenance import provenance, record

    hood = found.neighborhood
    settings = {
        "seed": hood.seed,
        "neighborhood": {"name": hood.name, **hood.options},
        "n_samples": hood.n_samples,
    }
    facts = {
        "statement": FINDERS[found.directions.finder].statement,
        **found.facts,
        **settings,
        "n_features": hood.n_features,
    }
    files = save_directions(
        found.directions, found.latent, folder, labels=found.labels, facts=facts, **extra
    )
    facts_of_run = provenance(vae, found.latent, list(command_line), **settings)
    files.append(record(folder, "directions", facts_of_run))
    return {**read_json(folder / FACTS, "directions"), "files": [str(path) for path in files]}
