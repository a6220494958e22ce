"""Everything that a verdict claims, by name: each has a row in ``docs/calibration.md``.

A sentence is made by :func:`claim`, which refuses names that are not in :data:`CLAIMS`, or by
:func:`fact` if it follows from how the samples were drawn. For another claim add its name here, a
file of the same name in ``scripts/calibration``, and the sentence: in ``verdict.py``, or passed to
:func:`latentlab.judge` as ``more``, which puts it before what the spectrum cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass

CLAIMS = {
    "additivity": "how much of a new copy a sum of the known factors' effects explains",
    "count": "how many eigenvalues lie above the largest of each null model",
    "dimension": "the effective dimension, corrected for sampling, with its interval",
    "decay": "the exponent of the eigenvalues' decay over stated ranks, with its interval",
    "fit": "how the fit of a logarithm depends on N, beside the nulls'",
    "stationary": "whether the curve rises above that of stationary fields",
    "elbow": "where the spectrum drops more than chance, fields and its own decay explain",
}


@dataclass(frozen=True)
class Sentence:
    """One sentence of a verdict, and the name of what it claims; empty for a plain fact."""

    text: str
    name: str = ""


def claim(name: str, text: str) -> Sentence:
    """Return a sentence that claims what this name stands for.

    Examples
    --------
    >>> claim("elbow", "No elbow.").text
    'No elbow.'
    """
    if name not in CLAIMS:
        raise KeyError(f"{name!r} is none of {', '.join(CLAIMS)}: add it, with its calibration")
    return Sentence(text, name)


def fact(text: str) -> Sentence:
    """Return a sentence that follows from how samples were drawn, without a test."""
    return Sentence(text)
