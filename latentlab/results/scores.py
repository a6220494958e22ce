"""``scores.csv``: where every sample lies along the components, for other tools to open."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor

from latentlab.components.pca import PCA
from latentlab.components.scores import SCORED, Extremes, score_chunks
from latentlab.machine.files import replace_when_done

NAME = "scores.csv"
_MOST_POINTS = 20_000
_WATCHED = 3


@dataclass(frozen=True, eq=False)
class Scored:
    """What was learned while a table of scores was written.

    Parameters
    ----------
    path : Path of the table
    points : Tensor, (m, 2), scores along PC 1 and PC 2 of at most 20,000 rows, evenly spaced
    rows : row of each point
    names : name of each point's row
    extremes : Extremes of the first three components
    """

    path: Path
    points: Tensor
    rows: Sequence[int]
    names: Sequence[str]
    extremes: Extremes


def write_scores(
    path: Path,
    pca: PCA,
    chunks: Iterable[Tensor],
    names: Iterator[str],
    *,
    total: int,
    first: str = "sample",
    factors: Mapping[str, Tensor] | None = None,
) -> Scored:
    """Write one line for each row: its name, text, factors, scores PC1 … PC16 and residual.

    Embedding Atlas opens the file with ``--x PC1 --y PC2 --text text``. latent-scope takes the
    column ``text`` as that of the words. Both read with pandas, for which a column of names like
    ``007`` holds the number 7; in ``text`` they stay words.

    Parameters
    ----------
    path : Path
    pca : PCA
    chunks : rows (n, n_features), in order; read once
    names : name of every row, in the same order
    total : int, number of rows
    first : str, heading of the names: ``"sample"`` or ``"path"``
    factors : name → value of each row, optional
    """
    factors = factors or {}
    count = min(SCORED, len(pca.components))
    notes = _Notes(every=max(1, -(-total // _MOST_POINTS)))
    with replace_when_done(path) as unfinished, _open(unfinished) as file:
        table = csv.writer(file)
        components = [f"PC{i + 1}" for i in range(count)]
        table.writerow([first, "text", *factors, *components, "residual"])
        for scores, residuals in score_chunks(pca, chunks):
            start, some = notes.seen, [*islice(names, len(scores))]
            known = [values[start : start + len(scores)] for values in factors.values()]
            columns = torch.column_stack([*known, scores, residuals]).tolist()
            for name, row in zip(some, columns, strict=True):
                table.writerow([name, _as_words(name, first), *(f"{value:.7g}" for value in row)])
            notes.add(scores, some)
    return Scored(path, torch.cat(notes.points), notes.rows, notes.names, notes.extremes)


def _as_words(name: str, heading: str) -> str:
    """Return a name that no reader takes for a number, a truth value or a missing value.

    Examples
    --------
    >>> _as_words("7", "sample"), _as_words("cats/7.png", "path"), _as_words("nan", "path")
    ('sample 7', 'cats/7.png', 'path nan')
    """
    return name if Path(name).suffix and not _is_number(name) else f"{heading} {name}"


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _open(path: Path) -> TextIO:
    # Names may hold bytes that are not valid text.
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


@dataclass
class _Notes:
    """What is kept of the rows that have been seen: evenly spaced points, and the extremes."""

    every: int
    seen: int = 0
    extremes: Extremes = field(default_factory=lambda: Extremes(_WATCHED))
    points: list[Tensor] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, scores: Tensor, names: list[str]) -> None:
        self.extremes.add(scores, self.seen, names)
        chosen = [*range(-self.seen % self.every, len(scores), self.every)]
        self.points.append(scores[chosen, :2])
        self.rows += [self.seen + row for row in chosen]
        self.names += [names[row] for row in chosen]
        self.seen += len(scores)
