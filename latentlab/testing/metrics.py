"""What is wrong with a metric, in plain words: :func:`check_metric`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latentlab.errors import LatentlabError
from latentlab.loaders.base import LatentVAE
from latentlab.measures import MEASURES
from latentlab.measures.base import NEEDS, Finished, Measure, Value
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.testing.reports import Report, attempt, describe, instance_of, listed

PROTOCOL = Protocol("check", crop="none", size=0, rounding="none")
"""Images keep their size, and reconstructions are not rounded."""

_WORDS = ("label", "span", "formula", "reference", "evidence", "not_evidence", "oracle")
_ROUNDING = 1e-6


def check_metric(
    metric: str | type[Measure] | Measure,
    *,
    vae: LatentVAE | None = None,
    images: Tensor | None = None,
    **options: Any,
) -> Report:
    """Return what is wrong with a metric, in plain words.

    What it says about itself, whether it leaves the images to the next metric as they are, numbers
    and intervals, and whether they depend on the size of batches. A metric that needs more images,
    labels or a posterior says so with a LatentlabError, which becomes a remark.

    Parameters
    ----------
    metric : a subclass of Measure, an instance, or a registered name
    vae : LatentVAE, optional; a :class:`LinearVAE` by default
    images : Tensor, (n, 3, H, W) in [−1, 1], at least 4; six smooth images of 64×64 by default
    **options : the metric's own

    Examples
    --------
    >>> print(check_metric("mse"))
    mse: no problem
    """
    vae = vae or LinearVAE()
    if images is None:
        images = torch.stack([smooth_image(64, 64, seed=seed) for seed in range(6)])
    problems: list[str] = []
    make = partial(instance_of, MEASURES, metric, options)
    made: Measure | None = attempt("making it with its options", make, problems)
    if made is None:
        return Report(str(getattr(metric, "__name__", metric)), tuple(problems))
    name = getattr(made, "name", type(made).__name__)
    problems += _check_words(made)
    remarks: list[str] = []
    whole = _measure(made, vae, images, len(images), problems)
    if isinstance(whole, LatentlabError):
        remarks.append(f"it has no value for these images: {whole}")
    elif whole is not None:
        values = listed(_check_values, whole)
        problems += values
        if not values:
            problems += _check_batches(made, vae, images, whole)
    return Report(name, tuple(problems), tuple(remarks))


def _check_words(metric: Measure) -> Iterator[str]:
    missing = [word for word in _WORDS if not getattr(metric, word, "")]
    if missing:
        yield f"it does not say its {', '.join(missing)}: each is a short text of the class."
    if not type(metric).__doc__:
        yield "its class has no docstring: say in a sentence what it measures."
    if metric.better not in ("higher", "lower", ""):
        yield f"its better is {metric.better!r}: expected 'higher', 'lower' or ''."
    unknown = [need for need in metric.needs if need not in NEEDS]
    if unknown:
        yield f"its needs name {', '.join(unknown)}: expected some of {', '.join(NEEDS)}."


def _measure(
    metric: Measure, vae: LatentVAE, images: Tensor, size: int, problems: list[str]
) -> Finished | LatentlabError | None:
    """Return what a metric finds, or why it cannot; None, with the problem, where it fails."""
    try:
        tally = metric.begin(PROTOCOL)
        for first in range(0, len(images), size):
            paths = tuple(f"{number}.png" for number in range(first, first + size))
            batch = Batch(vae, PROTOCOL, images[first : first + size].clone(), paths, first)
            before = _parts(batch)
            try:
                tally.add(batch)
            except LatentlabError as error:
                tally.leave_out(batch, error)
            for part, kept in before.items():
                if not torch.equal(kept, getattr(batch, part)):
                    problems.append(
                        f"it overwrites the {part} of a batch, which the next metric gets: compute "
                        "on a copy."
                    )
                    return None
        found: Any = tally.finish()
    except LatentlabError as error:
        return error
    except Exception as error:  # noqa: BLE001 (whatever foreign code raises is what is wrong)
        problems.append(f"measuring raised {describe(error)}")
        return None
    if not isinstance(found, Finished):
        problems.append(f"finish returns {type(found).__name__}: expected Finished.")
        return None
    return found


def _parts(batch: Batch) -> dict[str, Tensor]:
    """Return copies of all that metrics share of a batch."""
    copies = {}
    for part in ("images", "latents", "decoded"):
        with suppress(LatentlabError):
            copies[part] = getattr(batch, part).clone()
    return copies


def _check_values(found: Finished) -> Iterator[str]:
    if not found.values:
        yield "finish returns no value: raise TooFewError where there are too few images."
    values: Mapping[str, Any] = found.values
    for name, value in values.items():
        if not isinstance(value, Value) or not isinstance(value.value, float):
            yield f"the value {name!r} is {value!r}: expected a Value with a float in it."
        elif math.isinf(value.value):
            yield f"the value {name!r} is infinite: leave such images out, and say so in its note."
        elif math.isnan(value.value) and not value.note:
            yield f"the value {name!r} is NaN without a note: say why it has none."
        elif not _holds(value):
            ends = f"{value.low:.4g} to {value.high:.4g}"
            yield (
                f"the value {name!r} is {value.value:.4g}, outside of its interval {ends}: compute "
                "both from the same numbers."
            )


def _holds(value: Value) -> bool:
    """Return whether an interval, if there is one, contains its value."""
    if value.low is None or value.high is None:
        return True
    slack = _ROUNDING * (1 + abs(value.value))
    return value.low - slack <= value.value <= value.high + slack


def _check_batches(metric: Measure, vae: LatentVAE, images: Tensor, whole: Finished) -> list[str]:
    problems: list[str] = []
    again = _measure(metric, vae, images, len(images), problems)
    split = _measure(metric, vae, images, max(1, len(images) // 2), problems)
    for found, advice in (
        (again, "the second time: take random numbers from a generator with a fixed seed"),
        (split, "in batches of another size: sum up over images, not over batches"),
    ):
        if isinstance(found, Finished) and (name := _differing(whole.values, found.values)):
            problems.append(f"the value {name!r} is another {advice}.")
            break
        if isinstance(found, LatentlabError):
            problems.append(f"it has no value {advice} ({found}).")
            break
    return problems


def _differing(first: Mapping[str, Value], second: Mapping[str, Value]) -> str:
    """Return the name of the first value that differs; empty if none does."""
    for name, value in first.items():
        other = second.get(name)
        if other is None or not math.isclose(
            value.value, other.value, rel_tol=_ROUNDING, abs_tol=_ROUNDING
        ):
            if other is not None and math.isnan(value.value) and math.isnan(other.value):
                continue
            return name
    return ""
