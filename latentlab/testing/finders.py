"""What is wrong with a finder, in plain words: :func:`check_finder`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene
from latentlab.directions.finding import baseline_rows, search_directions
from latentlab.encoding.encoder import encode
from latentlab.errors import LatentlabError, NonFiniteError, UsageError
from latentlab.images.image import Image
from latentlab.latents import Latent, Neighborhood
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.registry import option_types
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.testing.reports import (
    Report,
    attempt,
    check_words,
    instance_of,
    listed,
    refuses,
)

SAMPLES = 40
"""Samples in which a finder searches."""

_ROUNDING = 1e-4


def check_finder(
    finder: str | type[Finder] | Finder,
    *,
    vae: LatentVAE | None = None,
    latent: Latent | None = None,
    hood: Neighborhood | None = None,
    **options: Any,
) -> Report:
    """Return what is wrong with a finder, in plain words.

    Rows, labels and strengths against what the finder says of itself, seeds, and what it does with
    constant features, identical samples, NaN and cells of a region. Directions that are no
    stronger than random ones are a remark.

    Parameters
    ----------
    finder : a subclass of Finder, an instance, or a registered name
    vae : LatentVAE, optional; a :class:`LinearVAE` by default
    latent : Latent of the VAE, optional; that of a smooth image of 32×40 pixels by default
    hood : Neighborhood of the latent, optional; 40 samples of ``augment`` by default
    **options : the finder's own

    Examples
    --------
    >>> print(check_finder("pca"))
    pca: no problem
    """
    vae = vae or LinearVAE()
    latent = latent or encode(vae, Image(smooth_image(), name="smooth"))
    hood = hood or neighborhood(vae, latent, "augment", n_samples=SAMPLES)
    problems: list[str] = []
    make = partial(instance_of, FINDERS, finder, options)
    made: Finder | None = attempt("making it with its options", make, problems)
    if made is None:
        return Report(str(getattr(finder, "__name__", finder)), tuple(problems))
    name = getattr(made, "name", type(made).__name__)
    check_words(made, problems)
    problems += _check_options(made)
    scene = Scene(vae, latent, hood)
    before = hood.samples.clone()
    found, limit = _search(made, scene, problems)
    if found is None or not limit:
        return Report(name, tuple(problems))
    if not torch.equal(hood.samples, before):
        problems.append("search overwrites the samples: compute on a copy.")
    shapes = _check_rows(made, found, min(made.usual_count or limit, limit), hood.n_features)
    remarks: list[str] = []
    problems += shapes
    if not shapes:
        strengths = partial(listed, _check_strengths, made, scene, found, remarks)
        problems += attempt("measure", strengths, problems) or []
        problems += _check_again(made, scene, found)
    if not problems:
        problems += _check_hard_samples(made, scene)
    return Report(name, tuple(problems), tuple(remarks))


def _search(finder: Finder, scene: Scene, problems: list[str]) -> tuple[Found | None, int]:
    """Return what a finder finds with its usual number of directions, and the largest number."""
    limit = attempt("limit", lambda: finder.limit(scene), problems)
    if limit is None:
        return None, 0
    most, reason = limit
    if most < 1 or not reason:
        problems.append(
            f"limit returns {limit}: expected at least 1 direction, and why there are not more."
        )
        return None, 0
    count = min(finder.usual_count or most, most)
    found = attempt("search", lambda: finder.search(scene, count), problems)
    if found is not None and not isinstance(found, Found):
        problems.append(f"search returns {type(found).__name__}: expected Found.")
        return None, 0
    return found, most


def _check_options(finder: Finder) -> Iterator[str]:
    if not getattr(finder, "strength_name", ""):
        yield "its strength_name is empty: name what measure measures, with its unit in brackets."
    for name, sampler in SAMPLERS.classes().items():
        shared = option_types(type(finder)).keys() & option_types(sampler).keys()
        if shared:
            yield (
                f"its option {sorted(shared)[0]!r} is also one of the neighborhood {name!r}: "
                "rename it, since --set addresses both by their names."
            )
            return


def _check_rows(finder: Finder, found: Found, count: int, width: int) -> list[str]:
    rows, shape = found.rows, (count, width)
    if tuple(rows.shape) != shape:
        return [f"search returns rows of shape {tuple(rows.shape)}: expected {shape}."]
    if rows.dtype != torch.float32:
        return [f"search returns rows of {rows.dtype}: expected torch.float32."]
    if not torch.isfinite(rows).all():
        return ["search returns rows with NaN or infinite numbers."]
    said = []
    lengths = rows.double().norm(dim=1)
    if not torch.allclose(lengths, torch.ones_like(lengths), atol=_ROUNDING):
        said.append(
            f"search returns rows of length {float(lengths.min()):.4g} to "
            f"{float(lengths.max()):.4g}: expected 1, so divide each by its length."
        )
    elif finder.orthonormal:
        products = rows.double() @ rows.double().T
        worst = float((products - torch.eye(count)).abs().max())
        if worst > _ROUNDING:
            said.append(
                f"its rows have scalar products of up to {worst:.2g}, but it says orthonormal = "
                "True: orthogonalize them, or say False."
            )
    if len(found.labels) != count:
        said.append(f"search returns {len(found.labels)} labels for {count} rows: name each.")
    return said


def _check_strengths(
    finder: Finder, scene: Scene, found: Found, remarks: list[str]
) -> Iterator[str]:
    measured, count = finder.measure(scene, found.rows), len(found.rows)
    for name, values in (("search", found.strengths), ("measure", measured)):
        if tuple(values.shape) != (count,) or values.dtype != torch.float64:
            shape = f"{tuple(values.shape)} and {values.dtype}"
            yield f"{name} returns strengths of {shape}: expected ({count},) and torch.float64."
            return
        if not torch.isfinite(values).all():
            yield f"{name} returns strengths with NaN or infinite numbers."
            return
    yield from _compare(finder, found.strengths, measured)
    baseline = finder.baseline(scene, baseline_rows(scene))
    if not baseline >= 0:
        yield f"baseline returns {baseline}: expected a strength of random rows, at least 0."
    elif not float(found.strengths[0]) > baseline:
        remarks.append(
            f"its first direction has the strength {float(found.strengths[0]):.3g}, no more than "
            f"the {baseline:.3g} of random ones."
        )


def _compare(finder: Finder, strengths: Tensor, measured: Tensor) -> Iterator[str]:
    worst = int((strengths - measured).abs().argmax())
    pair = f"{float(strengths[worst]):.4g} where measure returns {float(measured[worst]):.4g}"
    if finder.cross_validated:
        if bool((strengths > measured + 1e-5).any()):
            yield (
                f"search returns a strength of {pair}, but it says cross_validated = True: "
                "strengths on samples that rows were not fitted to are not larger."
            )
    elif not torch.allclose(strengths, measured, rtol=_ROUNDING, atol=1e-6):
        yield (
            f"search returns a strength of {pair}: return measure(scene, rows), or say "
            "cross_validated = True."
        )


def _check_again(finder: Finder, scene: Scene, found: Found) -> list[str]:
    fresh = Scene(scene.vae, scene.latent, scene.neighborhood)
    problems: list[str] = []
    again = attempt("a second search", lambda: finder.search(fresh, len(found.rows)), problems)
    if again is not None and not (
        torch.equal(again.rows, found.rows) and torch.equal(again.strengths, found.strengths)
    ):
        problems.append(
            "two searches with the same seed differ: draw random numbers from scene.generator()."
        )
    one = attempt("search of one direction", lambda: finder.search(fresh, 1), problems)
    if one is not None and len(one.rows) != 1:
        problems.append(f"search returns {len(one.rows)} rows where 1 is asked for.")
    return problems


def _check_hard_samples(finder: Finder, scene: Scene) -> list[str]:
    """Return what a finder does wrong where samples are constant, NaN, or cells of a region."""

    def search(hood: Neighborhood, count: int | None = None) -> Any:
        return search_directions(scene.vae, scene.latent, hood, count, finder=finder)

    samples = scene.neighborhood.samples
    constant, same, broken = samples.clone(), samples.clone(), samples.clone()
    constant[:, : samples.shape[1] // 5] = 1.5
    same[:] = 1.5
    broken[3, 7] = torch.nan
    constant_hood, same_hood, broken_hood = (
        replace(scene.neighborhood, samples=one) for one in (constant, same, broken)
    )
    problems: list[str] = []
    found = attempt("search with constant features", lambda: search(constant_hood), problems)
    if found is not None and not bool(torch.isfinite(found.rows).all()):
        problems.append("search returns NaN where some features are constant: allow for these.")
    advice = "read scene.moments first, which raises it"
    for what, wrong, error in (
        ("samples with NaN", broken_hood, NonFiniteError),
        ("identical samples", same_hood, UsageError),
    ):
        problems += refuses(f"search of {what}", partial(search, wrong), error, advice)
    return problems + _check_cells(scene, search)


def _check_cells(scene: Scene, search: Any) -> list[str]:
    """Return what a finder does wrong on the cells of a region; it may refuse them."""
    if not scene.latent.spec.has_grid:
        return []
    side = 4 * scene.latent.spec.stride
    tokens = neighborhood(scene.vae, scene.latent, "tokens", region=(0, 0, side, side))
    try:
        search(tokens, 1)
    except LatentlabError:
        return []
    except Exception as error:  # noqa: BLE001 (whatever foreign code raises is what is wrong)
        return [
            f"search on cells of a region raised {type(error).__name__}: {error}. Rows are as long "
            "as scene.n_features; where that cannot be, raise UsageError."
        ]
    return []
