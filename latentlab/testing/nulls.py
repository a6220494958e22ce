"""What is wrong with a null model, in plain words: :func:`check_null`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import Null, NullModel
from latentlab.components.fitting import fit_pca
from latentlab.errors import LatentlabError, UsageError
from latentlab.latents import Latent, LatentSpec, Neighborhood, Spectrum
from latentlab.layouts import TokenLayout, Window
from latentlab.testing.planted import hood_of, noise, whole
from latentlab.testing.reports import Report, attempt, instance_of, listed, refuses

DRAWS = 20
"""Draws that are asked for."""

_SAMPLES, _SHAPE, _TOKENS = 40, (2, 5, 6), (6, 8, 10)


def check_null(
    null: str | type[NullModel] | NullModel,
    *,
    samples: Sequence[Neighborhood] = (),
    **options: Any,
) -> Report:
    """Return what is wrong with a null model, in plain words.

    Spectra of noise: their shape, order and total variance, the threshold, seeds, the number of
    draws, the estimated time, and what is refused. Noise must not be counted as components. A
    strong planted component that is not counted is a remark.

    Parameters
    ----------
    null : a subclass of NullModel, an instance, or a registered name
    samples : neighborhoods without structure, optional. The null is checked on the first that it
        does not refuse with a UsageError. By default whole latents, then all cells of one latent.
    **options : the null's own

    Examples
    --------
    >>> print(check_null("parallel"))
    parallel: no problem
    """
    problems: list[str] = []
    make = partial(instance_of, NULLS, null, options)
    made: NullModel | None = attempt("making it with its options", make, problems)
    if made is None:
        return Report(str(getattr(null, "__name__", null)), tuple(problems))
    name = getattr(made, "name", type(made).__name__)
    problems += _check_declared(made)
    hood = attempt("draw", lambda: _first_accepted(made, samples or unstructured()), problems)
    if hood is None:
        return Report(name, tuple(problems))
    spectrum = fit_pca(hood).spectrum
    drawn = attempt("draw", lambda: made.draw(hood, spectrum, draws=DRAWS), problems)
    found = [] if drawn is None else listed(_check_drawn, drawn, spectrum)
    problems += found
    if drawn is None or found:
        return Report(name, tuple(problems))
    for check in (_check_again, _check_counts, _check_seconds, _check_refusals):
        run = partial(listed, check, made, hood, spectrum, drawn)
        problems += attempt("a second draw", run, problems) or []
    remarks = [] if problems else _remark(made, hood)
    return Report(name, tuple(problems), tuple(remarks))


def unstructured(seed: int = 0) -> list[Neighborhood]:
    """Return noise as whole latents and as all cells of one latent, without any structure."""
    latents = noise(_SAMPLES, math.prod(_SHAPE), seed).view(_SAMPLES, *_SHAPE)
    channels, height, width = _TOKENS
    one = noise(1, math.prod(_TOKENS), seed).view(_TOKENS)
    layout = TokenLayout(_TOKENS, Window(0, 0, height, width))
    origin = Latent(one, LatentSpec("planted", channels, 8))
    return [whole(latents), hood_of(layout.flatten(one[None]), origin, layout)]


def _first_accepted(null: NullModel, samples: Sequence[Neighborhood]) -> Neighborhood:
    """Return the first samples that a null does not refuse."""
    reasons = []
    for hood in samples:
        try:
            null.draw(hood, fit_pca(hood).spectrum, draws=1)
        except UsageError as error:
            reasons.append(str(error))
        else:
            return hood
    raise UsageError(
        f"a null that refuses all samples ({'; '.join(reasons)})",
        "samples that it applies to",
        "pass samples=[hood], without structure",
    )


def _check_declared(null: NullModel) -> Iterator[str]:
    if not getattr(null, "label", ""):
        yield "it has no label: say in a few words what legends call it."
    if null.counts and not null.phrase:
        yield (
            "it counts components, but has no phrase: say what follows their number in a verdict, "
            "such as 'above chance (shuffled values)'."
        )


def _check_drawn(drawn: Any, spectrum: Spectrum) -> Iterator[str]:
    if not isinstance(drawn, Null):
        yield f"draw returns {type(drawn).__name__}: expected Null."
        return
    spectra = drawn.spectra
    rows = 1 if drawn.draws == 0 else DRAWS
    wanted = (rows, spectrum.rank)
    if drawn.draws not in (0, DRAWS):
        yield f"draw says draws = {drawn.draws}: expected the {DRAWS} asked for, or 0 if analytic."
    elif tuple(spectra.shape) != wanted or spectra.dtype != torch.float64:
        yield (
            f"draw returns spectra of {tuple(spectra.shape)} and {spectra.dtype}: expected "
            f"{wanted} and torch.float64, with min(N - 1, D) eigenvalues in a row."
        )
    elif not torch.isfinite(spectra).all() or bool((spectra < 0).any()):
        yield "draw returns eigenvalues that are negative, NaN or infinite."
    elif bool((spectra.diff(dim=1) > 1e-12).any()):
        yield "draw returns eigenvalues that are not descending: sort each spectrum."
    elif not torch.allclose(spectra.sum(1), _total(spectrum).expand(rows), rtol=1e-3):
        worst = float(spectra.sum(1)[(spectra.sum(1) - spectrum.total_variance).abs().argmax()])
        yield (
            f"draw returns a spectrum with the sum {worst:.4g}: expected the total variance of the "
            f"samples, {spectrum.total_variance:.4g}, so scale each."
        )
    elif not 0 < drawn.largest_quantile <= drawn.threshold < math.inf:
        yield (
            f"draw returns the threshold {drawn.threshold:.4g} and the quantile "
            f"{drawn.largest_quantile:.4g} of the largest eigenvalue: expected positive numbers, "
            "the threshold not below the quantile."
        )


def _total(spectrum: Spectrum) -> torch.Tensor:
    return torch.tensor([spectrum.total_variance], dtype=torch.float64)


def _check_again(
    null: NullModel, hood: Neighborhood, spectrum: Spectrum, drawn: Null
) -> Iterator[str]:
    again, other = (null.draw(hood, spectrum, draws=DRAWS, seed=seed) for seed in (0, 1))
    if not torch.equal(again.spectra, drawn.spectra):
        yield "two draws with the same seed differ: use no generator but one of that seed."
    elif drawn.draws and torch.equal(other.spectra, drawn.spectra):
        yield "the seed changes nothing: make a generator of it, or say draws = 0 if analytic."
    few = null.draw(hood, spectrum, draws=3)
    if drawn.draws and len(few.spectra) != 3:
        yield f"draw returns {len(few.spectra)} spectra where draws = 3 is asked for."


def _check_counts(
    null: NullModel, hood: Neighborhood, spectrum: Spectrum, drawn: Null
) -> Iterator[str]:
    count = drawn.count_above(spectrum)
    if null.counts and count:
        components = f"{count} component{'s' if count > 1 else ''}"
        yield (
            f"its threshold lets {components} of samples without structure pass: it should exceed "
            "the largest eigenvalue that chance gives in 95 of 100 cases."
        )


def _check_seconds(
    null: NullModel, hood: Neighborhood, spectrum: Spectrum, drawn: Null
) -> Iterator[str]:
    first, again = (null.seconds(hood, spectrum) for _ in range(2))
    if not 0 <= first < math.inf:
        yield f"seconds returns {first}: expected a number of at least 0."
    elif first != again:
        yield "seconds returns another number the second time: estimate it from sizes alone."


def _check_refusals(
    null: NullModel, hood: Neighborhood, spectrum: Spectrum, drawn: Null
) -> Iterator[str]:
    two = whole(noise(2, math.prod(_SHAPE)).view(2, *_SHAPE))
    yield from refuses(
        "draw for two samples",
        lambda: null.draw(two, fit_pca(two).spectrum),
        LatentlabError,
        "call check_size(spectrum) or matrix_of(samples, spectrum), which raises ShapeError",
    )
    broken = hood.samples.clone()
    broken[1, 1] = torch.nan
    try:
        made = null.draw(Neighborhood(broken, hood.sampling), spectrum, draws=2)
    except LatentlabError:
        return
    except Exception as error:  # noqa: BLE001 (whatever foreign code raises is what is wrong)
        yield f"draw for samples with NaN raised {type(error).__name__}: expected NonFiniteError."
        return
    if not torch.isfinite(made.spectra).all():
        yield "draw for samples with NaN returns NaN: raise NonFiniteError, as column_moments does."


def _remark(null: NullModel, hood: Neighborhood) -> list[str]:
    """Return a remark where one component, ten times as strong as noise can be, is not counted."""
    if not null.counts:
        return []
    generator = torch.Generator().manual_seed(1)
    size = torch.Size(hood.samples.shape)
    direction = torch.nn.functional.normalize(torch.randn(size[1], generator=generator), dim=0)
    edge = (1 + math.sqrt(size[1] / size[0])) ** 2
    scores = math.sqrt(10 * edge) * torch.randn(size[0], 1, generator=generator)
    planted = Neighborhood(hood.samples + scores * direction, hood.sampling)
    spectrum = fit_pca(planted).spectrum
    if null.draw(planted, spectrum, draws=DRAWS).count_above(spectrum):
        return []
    return [
        "a planted component of ten times the largest eigenvalue of noise is not counted. That is "
        "right where this null is meant to contain such components."
    ]
