"""What a verdict on changed copies says first: what was varied, and how far effects add up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from latentlab.chance.sentences import Sentence, claim, fact
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.amounts import Amount

if TYPE_CHECKING:
    from latentlab.directions.additivity import Share
    from latentlab.directions.factor_model import FactorModel
    from latentlab.latents import Neighborhood
    from latentlab.recipes.controls import Control


def headline(
    hood: Neighborhood, model: FactorModel | None, controls: Sequence[Control]
) -> list[Sentence]:
    """Return what was varied, and what the factors explain of a new copy, beside the controls."""
    if model is None:
        return []
    shares = {"": model.shares} | {control.words: control.shares for control in controls}
    varied = f"Varied were {_ranges(hood, model.names)}; all numbers hold for these ranges alone."
    return [fact(varied), *_additivity(shares, hood.n_samples, len(model.names))]


def _ranges(hood: Neighborhood, names: Sequence[str]) -> str:
    """Return the factors with their ranges, in words."""
    options = {key: value for key, value in hood.sampling.options.items() if key != "region"}
    sampler = SAMPLERS.make(hood.name, options)
    ranges = sampler.ranges()
    words = [
        f"{amount.words or name} {_range(*ranges[name], amount)}" if name in ranges else name
        for name, amount in ((name, sampler.amounts.get(name, Amount())) for name in names)
    ]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _range(low: float, high: float, amount: Amount) -> str:
    if amount.gain:
        return f"×{math.exp(low):.3g} to ×{math.exp(high):.3g}"
    sign = amount.unit.partition(" ")[0]
    gap = "" if sign in ("", "°") else " "
    ends = [f"{round(amount.scale * end, 6):g}".replace("-", "−") for end in (low, high)]
    return f"±{ends[1]}{gap}{sign}" if low == -high else f"{ends[0]} to {ends[1]}{gap}{sign}"


def _additivity(shares: Mapping[str, Mapping[str, Share]], n: int, m: int) -> list[Sentence]:
    """Return three sentences: of linear terms, of more terms, and of half the copies."""
    linear = "; ".join(
        f"{_percent(one['linear'].value)} % ({_ends(one['linear'])}){what and ' '}{what}"
        for what, one in shares.items()
    )
    ours, _, others = linear.partition("; ")
    text = f"Fitted to these {n:,} copies, a sum of effects of the {m} factors explains {ours}"
    text += f" of the variance of a new one{others and '; '}{others}."
    cubic, pairwise = (
        _listed([one[terms].value for one in shares.values()]) for terms in ("cubic", "pairwise")
    )
    more = f"With squares and cubes it is {cubic}, with products of pairs, too, {pairwise}."
    halves = [one["linear"].half for one in shares.values()]
    said = [claim("additivity", text), claim("additivity", more)]
    known = [half for half in halves if half is not None]
    if len(known) == len(halves):
        half = f"Fitted to half of the copies, the sum explains {_listed(known)}."
        said.append(claim("additivity", half))
    return said


def _listed(shares: Sequence[float]) -> str:
    words = [f"{_percent(share)} %" for share in shares]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _ends(share: Share) -> str:
    low, high = _percent(share.lower), _percent(min(share.upper, 1.0))
    return f"{low} to {high}" if "\N{MINUS SIGN}" in low + high else f"{low}–{high}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}".replace("-", "\N{MINUS SIGN}")
