"""What ``latentlab pca`` prints of its results, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentlab.cli.console import shown, styled, table, tiling
from latentlab.errors import counted

_MEASURES = {
    "participation_ratio": ("participation ratio", "z.1f"),
    "k90": ("k90", "z.1f"),
    "linear": ("explained linearly", "z.0%"),
    "cubic": ("with squares and cubes", "z.0%"),
    "pairwise": ("with products of pairs", "z.0%"),
}
"""Measure → its name for people, and its format."""


def summarize_images(facts: Mapping[str, Any]) -> list[Any]:
    """Return a table of means over images, with controls and what differs from them."""

    def cell(found: Mapping[str, Any], how: str) -> str:
        ends = (shown(found["lower"], how), shown(found["upper"], how))
        return f"{shown(found['mean'], how)} ({ends[0]} to {ends[1]})"

    who = list(facts["means"])
    head = ["", *who, *(f"model − {name}" for name in facts["differences"])]
    rows = [
        [name]
        + [cell(facts["means"][one][measure], how) for one in who]
        + [cell(found[measure], how) for found in facts["differences"].values()]
        for measure, (name, how) in _MEASURES.items()
    ]
    return [
        table(rows, head),
        f"means over {facts['n_images']} images, with 95 % intervals for other images",
    ]


def summarize(facts: Mapping[str, Any]) -> list[Any]:
    """Return the table of a PCA, its verdict, and what its neighborhood can show."""
    return [table(_summary_rows(facts)), facts["verdict"], styled(facts["statement"], "dim")]


def _summary_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    shares = facts["explained_variance_ratio"][:5]
    chance = ", ".join(
        f"{name} {shown(null['log_fit_r2'], '.3f')}" for name, null in facts["null"].items()
    )
    fit = f"{shown(facts['log_fit_r2'], '.3f')} (chance: {chance or '–'})"
    return [
        (f"variance of PC 1–{len(shares)}", ", ".join(f"{share:.1%}" for share in shares)),
        ("k for 50, 90, 95, 99 %", ", ".join(shown(facts[f"k{p}"], "d") for p in (50, 90, 95, 99))),
        *_effective_dimension(facts),
        *_additivity(facts),
        *_controls(facts),
        *_population(facts),
        ("components above chance", count_above(facts)),
        ("R² of the log fit", fit),
        *_how_exact(facts),
        *([("tiled", tiling(facts["tiles"]))] if "tiles" in facts else []),
    ]


def _how_exact(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "store" not in facts:
        return [("reconstruction", f"{shown(facts['reconstruction_psnr'], '.2f')} dB PSNR")]
    spread = f"mean {facts['latent_mean']:.3f}, standard deviation {facts['latent_std']:.3f}"
    return [("space", f"{facts['space']}, cells of {spread}"), ("method", _method(facts))]


def _method(facts: Mapping[str, Any]) -> str:
    bounds = facts["eigenvalue_error_bounds"]
    if bounds is None:
        return f"{facts['method']}, exact"
    largest = max(
        bound / value for bound, value in zip(bounds, facts["explained_variance"], strict=True)
    )
    return f"{facts['method']}, eigenvalues within {largest:.1%}"


def _effective_dimension(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if facts["participation_ratio"] is None:  # of a partial spectrum
        return []
    found = facts["effective_dimension"]
    interval = ""
    if found is not None:
        ends = f"{shown(found['lower'], '.1f')}–{shown(found['upper'], '.1f')}"
        interval = f" (95 % interval {ends})"
    ratio = shown(facts["participation_ratio"], ".1f")
    unbiased = shown(facts["participation_ratio_corrected"], ".1f")
    if found is not None:
        corrected = found["corrected"]
        unbiased += f" ({shown(corrected['lower'], '.1f')}–{shown(corrected['upper'], '.1f')})"
    return [
        ("participation ratio", f"{ratio}{interval}"),
        ("corrected for sampling", unbiased),
    ]


def _population(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return between which numbers k90 of infinitely many samples lies."""
    if facts["intervals"] is None:
        return []
    k90 = facts["intervals"]["k90"]
    most = shown(k90["population_upper"], ".0f")
    bounds = f"≥ {shown(k90['lower'], '.0f')}"
    return [
        ("k for 90 %, any N", bounds if k90["population_upper"] is None else f"{bounds}, ≤ {most}")
    ]


def _additivity(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the known factors explain of left-out samples, if any are known."""
    if not facts.get("additivity"):
        return []
    said = {"linear": "linearly", "cubic": "with cubes", "pairwise": "with products of pairs"}
    parts = [
        f"{one['value']:z.0%} ({_range(one['lower'], one['upper'])}) {said[one['model']]}"
        for one in facts["additivity"]["shares"]
    ]
    factors = counted(len(facts["additivity"]["factors"]), "factors")
    return [(f"explained by the {factors}", ", ".join(parts))]


def _range(lower: float, upper: float) -> str:
    """Return an interval of shares; a dash after a minus sign would be one more of them."""
    return f"{lower:z.0%}{'–' if lower >= 0 else ' to '}{upper:z.0%}"


def _controls(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the same copies show without the VAE, where there are copies."""
    rows = []
    for name, found in facts.get("controls", {}).items():
        shares = ", ".join(f"{one['value']:z.0%}" for one in found["additivity"])
        parts = f"{_dimension_of(found)}, k90 {found['k90']}"
        parts += f", factors explain {shares}" if shares else ""
        how = "as pixels" if name == "pixels" else f"through {name.replace('-', ' ')}"
        rows.append((f"same copies {how}", parts))
    return rows


def _dimension_of(control: Mapping[str, Any]) -> str:
    """Return the effective dimension of a control, with its interval where there is one."""
    found = control["effective_dimension"]
    if found.get("value") is None:
        return f"participation ratio {shown(control['participation_ratio'], '.1f')}"
    ends = f"{shown(found['lower'], '.1f')}–{shown(found['upper'], '.1f')}"
    return f"effective dimension {shown(found['value'], '.1f')} ({ends})"


def count_above(facts: Mapping[str, Any], *, why: bool = True) -> str:
    """Return what every null that was drawn counts, and why it is not claimed where it is not."""
    first = facts["components_above_null_of"]
    if first is None:
        return "–"
    drawn = [name for name, null in facts["null"].items() if null["draws"] or name == first]
    counts = ", ".join(
        f"{_at_least(facts, facts['null'][name]['components_above'])} ({name} null)"
        for name in sorted(drawn, key=lambda name: name != first)
    )
    if some := facts.get("subsample"):
        counts += f", of {some['n_samples']:,} rows chosen at random"
    reason = facts["components_not_counted"]
    if reason is None:
        return counts
    return f"not claimed, since {reason}: {counts}" if why else f"not claimed: {counts}"


def _at_least(facts: Mapping[str, Any], count: int) -> str:
    known = len(facts["explained_variance"])
    partial = known < min(facts["n_samples"] - 1, facts["n_features"])
    return f"{'≥ ' if partial and count == known else ''}{count}"
