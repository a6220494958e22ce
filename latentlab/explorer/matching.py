"""Which directions of two models change the image in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scipy.optimize import linear_sum_assignment

from latentlab.directions.effects import decode_steps
from latentlab.explorer.scenes import Match

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.explorer.fits import Fitted
    from latentlab.explorer.subjects import Subject
    from latentlab.latents import Progress


def match_directions(
    subjects: Sequence[Subject], fits: Sequence[Fitted], progress: Progress
) -> Match:
    """Return the directions of the second model that change the image most like the first's.

    One step either way along each direction is decoded. The changes of the image are correlated,
    and pairs are chosen so that the absolute correlations have the largest sum.
    """
    changes: list[Tensor] = []
    for subject, fit in zip(subjects[:2], fits[:2], strict=True):
        progress("matching directions", len(changes), 2)
        changes.append(changes_along(subject, fit))
    return pair_up(changes[0], changes[1])


def changes_along(subject: Subject, fit: Fitted) -> Tensor:
    """Return the change (k, 3·H·W) of the image for one step along each direction."""
    return decode_steps(subject.decoder, subject.latent, fit.directions).changes.flatten(1)


def pair_up(first: Tensor, second: Tensor) -> Match:
    """Return the pairs of rows (k, n) and (m, n) whose absolute correlations have the largest sum.

    If the second has fewer rows, those left over get the most correlated one.

    Examples
    --------
    >>> import torch
    >>> pair_up(torch.eye(3)[:2], -torch.eye(3)[[1, 0]]).indices
    (1, 0)
    """
    correlations = _standardized(first) @ _standardized(second).T
    sizes = correlations.abs()
    nearest = sizes.argmax(1).tolist()
    for row, column in zip(*linear_sum_assignment(-sizes.numpy()), strict=True):
        nearest[row] = int(column)
    chosen = [float(correlations[row, column]) for row, column in enumerate(nearest)]
    return Match(
        tuple(nearest),
        tuple(-1 if value < 0 else 1 for value in chosen),
        tuple(abs(value) for value in chosen),
    )


def _standardized(rows: Tensor) -> Tensor:
    centered = rows.double() - rows.double().mean(1, keepdim=True)
    lengths: Tensor = centered.norm(dim=1, keepdim=True)
    return centered / lengths.clamp_min(1e-300)
