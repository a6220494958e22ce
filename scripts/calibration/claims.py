"""What latentlab claims, and simulations whose answer is known that say how often it is wrong.

**Adding a claim.** Write a file ``NAME_claim.py`` in this folder with one constant ``CLAIM``; it is
found by its name. Nothing else has to be registered, and results and page follow by themselves::

    def _noise(seed: int) -> dict[str, float]:
        \"\"\"Return what happened in one simulation: a bool for each thing that is counted.\"\"\"
        samples = noise(64, 256, seed)
        return {"a component is counted": count(samples) > 0}

    CLAIM = Claim(
        name="count",                      # key of its results; the same as in the verdict
        says="3 components rise above …",  # the words that latentlab prints
        assumes="independent rows",        # under what the rate holds
        breaks="rows in order: see below", # where it does not, in words
        cells=(Cell("noise, N=64", SIZE, _noise, runs=1000),),
    )

A cell's kind says what its figures must be:

* ``SIZE``: a false alarm, whose rate must be at most 5 % (``bound`` sets another one);
* ``COVERAGE``: the interval holds what it names, in 93 to 97 % of the runs (``within``);
* ``POWER``: a true finding; its rate is stated;
* ``RATIO``: an estimate divided by the truth; its mean and standard deviation are stated;
* ``OUTSIDE``: a rate where the assumption is broken on purpose; it is stated.

``simulate(seed)`` must depend on the seed alone: results are resumed and extended by seed. It
returns several figures if one simulation answers several questions, and none where nothing would be
printed: the page then says in how many runs something was. ``runs`` is that of the full
calibration; ``--quick`` takes a twentieth, at least 8. Functions of cells are functions of their
module or ``functools.partial`` of them, since other processes find them by name.
``tests/test_calibration.py`` runs a few seeds of every cell with ``quick=True`` and compares their
rates with the bounds; ``quick=False`` leaves a slow cell out there. Words of a verdict get their
row by the same ``name``: see ``latentlab/chance/sentences.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

SIZE, COVERAGE, POWER, RATIO, OUTSIDE = "size", "coverage", "power", "ratio", "outside"
_BOUNDS = {SIZE: (0.0, 0.05), COVERAGE: (0.93, 0.97)}

Outcome = Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """One setting of a simulation.

    Parameters
    ----------
    name : str, the setting in words, such as ``"window, 1/f², 4 channels, N=64"``
    kind : ``SIZE``, ``COVERAGE``, ``POWER``, ``RATIO`` or ``OUTSIDE``
    simulate : seed → what is counted → whether it happened, or a number
    runs : int, of the full calibration
    within : bounds of the rate, by default those of the kind; None for kinds without bounds
    quick : bool, whether the tests run a few seeds of it
    needs : Path, a folder outside of the repository; where it is missing, the cell is not run and
        what was measured elsewhere is kept
    """

    name: str
    kind: str
    simulate: Callable[[int], Outcome]
    runs: int = 200
    within: tuple[float, float] | None = None
    quick: bool = True
    needs: Path | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Return the smallest and largest good rate, or None."""
        return self.within or _BOUNDS.get(self.kind)


@dataclass(frozen=True)
class Claim:
    """Words that latentlab prints, what they assume, and the cells that measure them."""

    name: str
    says: str
    assumes: str
    breaks: str
    cells: tuple[Cell, ...]

    def cell(self, name: str) -> Cell:
        """Return the cell of this name."""
        return next(cell for cell in self.cells if cell.name == name)


@dataclass
class Tally:
    """Sums of one figure over simulations."""

    runs: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.runs += 1
        self.total += float(value)
        self.squares += float(value) ** 2

    @property
    def mean(self) -> float:
        return self.total / self.runs

    @property
    def deviation(self) -> float:
        return max(self.squares / self.runs - self.mean**2, 0.0) ** 0.5

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the exact interval (Clopper and Pearson 1934) of a rate."""
        from scipy.stats import binomtest

        found = binomtest(round(self.total), self.runs).proportion_ci(level, "exact")
        return float(found.low), float(found.high)


@dataclass
class Measured:
    """Everything that was measured of one claim: cell → figure → Tally.

    Parameters
    ----------
    seeds : cell → how many seeds are done; more than a figure's runs if some gave none
    seconds : float, processor time
    """

    cells: dict[str, dict[str, Tally]] = field(default_factory=dict)
    seconds: float = 0.0
    seeds: dict[str, int] = field(default_factory=dict)

    def runs(self, cell: str) -> int:
        """Return how many seeds of a cell are done: 0 … runs − 1."""
        known = max((tally.runs for tally in self.cells.get(cell, {}).values()), default=0)
        return max(known, self.seeds.get(cell, 0))

    def add(self, cell: str, outcome: Outcome) -> None:
        self.seeds[cell] = self.runs(cell) + 1
        tallies = self.cells.setdefault(cell, {})
        for name, value in outcome.items():
            tallies.setdefault(name, Tally()).add(value)


def all_claims() -> dict[str, Claim]:
    """Return name → Claim of every file ``*_claim.py`` of this folder, in alphabetical order."""
    files = sorted(Path(__file__).parent.glob("*_claim.py"))
    claims = [import_module(path.stem).CLAIM for path in files]
    return {claim.name: claim for claim in claims}
