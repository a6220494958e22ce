"""Write docs/metrics.md from what the metrics say about themselves."""

from __future__ import annotations

from pathlib import Path

from latentlab.measures import MEASURES
from latentlab.measures.base import NEEDS, Measure
from latentlab.measures.protocols import PROTOCOLS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
_HEAD = """# Metrics

What `latentlab metrics` and `latentlab compare` compute. `python scripts/metrics_page.py` writes
this page from the classes in `latentlab/measures`; a test fails if it is not current.

Intervals are for other images of the same kind: symmetric studentized bootstraps over images, 95 %,
logarithmic for sizes and ratios. Fewer than five images have none. Differences between models are
paired by image, and their intervals hold jointly for all comparisons of a table.
Values that cannot be divided among images, such as Fréchet distances, have differences without an
interval, and no model is called better by them.
"""


_CODES = """## Disentanglement

`latentlab metrics CODES.npz` takes the arrays `codes` (N, L) and `factors` (N, K) of any model. Integers
are classes, and so are floats that are whole if at most 20 of them differ; other factors are binned.
Every score lies between 0 and 1, but for `dci_informativeness` of factors that are no classes (R², which
may be below 0), and higher is better.
No score depends on the order, the signs or the units of the codes, but FactorVAE leaves out latents
whose deviation is below a twentieth of the largest.

Intervals are jackknives over eight groups of rows. Beside each score stand two controls: the same codes
rotated at random, and the factors shuffled. A score is evidence for disentangled axes only as far as it
exceeds both, and no evidence that the axes mean something to people.

| scores | formula | reference | oracle in the tests |
|---|---|---|---|
| `mig` | mean over factors of (I₁ − I₂) / H | Chen et al. 2018 | a re-implementation |
| `dci_disentanglement`, `dci_completeness`, `dci_informativeness` | entropies of the importances of boosted trees, and their accuracy | Eastwood and Williams 2018 | a re-implementation, closed forms |
| `sap` | gap of the two best latents in predicting a factor | Kumar et al. 2018 | a re-implementation |
| `factor_vae` | majority vote of the latent of least variance while a factor is fixed | Kim and Mnih 2018 | a re-implementation |
| `beta_vae` | accuracy of a linear classifier on mean absolute differences | Higgins et al. 2017 | a re-implementation |
| `modularity` | 1 − Σ I² of the other factors / (I²max (K − 1)) | Ridgeway and Mozer 2018 | a re-implementation, closed forms |
| `info_modularity`, `info_compactness`, `info_explicitness` | share of a latent's information that is about one factor, and the converse, scaled to 0 for an even spread; information that a linear classifier reads | Hsu et al. 2023 | scikit-learn's mutual information |
"""


def write_page() -> str:
    """Return the page."""
    parts = [_HEAD, "## Protocols\n", *_protocols(), "## What each metric says\n"]
    for name in MEASURES.names():
        parts += _section(name, MEASURES[name])
    parts += [_CODES]
    return "\n".join(parts).rstrip("\n") + "\n"


def _protocols() -> list[str]:
    rows = ["| protocol | what is done | where it comes from |", "|---|---|---|"]
    for name, one in PROTOCOLS.items():
        rows.append(f"| `{name}` | {one.describe().partition(': ')[2]} | {one.note} |")
    return [
        *rows,
        "",
        '`--protocol mine.toml` reads another one: `base = "latentlab-256"` and the fields that',
        'differ, such as `size = 128` or `rounding = "none"`.',
        "",
    ]


def _section(name: str, entry: type[Measure]) -> list[str]:
    better = {"": "neither end is better", "higher": "higher is better", "lower": "lower is better"}
    span = f"{entry.span}{f', in {entry.unit}' if entry.unit else ''}; {better[entry.better]}"
    cost = entry.cost + (f", on the first {entry.at_most} images" if entry.at_most else "")
    rows = {
        "formula": entry.formula,
        "range": span,
        "needs": ", ".join(NEEDS[need] for need in entry.needs),
        "cost": cost,
        "evidence for": entry.evidence,
        "no evidence for": entry.not_evidence,
        "reference": entry.reference,
        "oracle in the tests": entry.oracle,
    }
    summary = (entry.__doc__ or "").strip().splitlines()[0]
    lines = [f"### `{name}`\n", f"{summary}\n", "| | |", "|---|---|"]
    cells = [f"| {key} | {text.replace('|', chr(92) + '|')} |" for key, text in rows.items()]
    return [*lines, *cells, ""]


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
