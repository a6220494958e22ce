"""``scripts/calibration``: the framework on a coin, and a few seeds of every claim."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latentlab.chance.sentences import CLAIMS

FOLDER = Path(__file__).resolve().parents[1] / "scripts" / "calibration"
OURS = {path.stem for path in FOLDER.glob("*.py")} - {"__main__"}
SEEDS = 12


@pytest.fixture(scope="module")
def calibration() -> Iterator[SimpleNamespace]:
    """Yield the modules of the calibration, which find each other as when their folder is run."""
    before = set(OURS) & sys.modules.keys()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        import claims
        import estimating
        import page
        import running

        yield SimpleNamespace(claims=claims, estimating=estimating, page=page, running=running)
    for name in OURS - before:
        sys.modules.pop(name, None)


@pytest.fixture
def coin(calibration: SimpleNamespace) -> Any:
    """Return a claim that is wrong in every fourth run."""
    claims = calibration.claims
    cells = (
        claims.Cell("coin", claims.SIZE, lambda seed: {"heads": seed % 4 == 0}, runs=40),
        claims.Cell("dice", claims.RATIO, lambda seed: {"mean": 1 + seed % 2}, runs=4),
    )
    return claims.Claim("coin", "heads | tails", "a fair coin", "never", cells)


def test_rates_are_counted_and_stand_in_the_page(calibration: SimpleNamespace, coin: Any) -> None:
    found = calibration.running.measure(coin, None, quick=False, jobs=1, say=lambda _: None)
    tally = found.cells["coin"]["heads"]
    assert (tally.runs, tally.mean) == (40, 0.25)
    # Clopper and Pearson for 10 of 40, from R's binom.test.
    assert tally.interval() == pytest.approx((0.1269148, 0.4119620), abs=1e-6)
    text = calibration.page.to_markdown({"coin": coin}, {"coin": found})
    assert "| coin | false alarms: heads | 25 % (12.7–41.2) | 40 | ≤ 5 %, missed |" in text
    assert "| dice | estimate / truth: mean | 1.500 ± 0.500 | 4 | – |" in text
    assert "heads \\| tails" in text


def test_what_was_measured_is_resumed_and_not_repeated(
    calibration: SimpleNamespace, coin: Any, tmp_path: Path
) -> None:
    def measure(quick: bool) -> list[str]:
        said: list[str] = []
        calibration.running.measure(coin, tmp_path, quick=quick, jobs=1, say=said.append)
        return said

    assert len(measure(quick=True)) == 2
    assert json.loads((tmp_path / "coin.json").read_text())["cells"]["coin"]["heads"]["runs"] == 8
    assert len(measure(quick=False)) == 4  # 8 … 39 in parts of ten
    assert measure(quick=False) == []
    assert calibration.running.read(coin, tmp_path).cells["coin"]["heads"].total == 10


def test_runs_that_print_nothing_are_counted_and_not_repeated(
    calibration: SimpleNamespace, tmp_path: Path
) -> None:
    claims = calibration.claims

    def seldom(seed: int) -> dict[str, bool]:
        return {"heads": True} if seed % 4 == 0 else {}

    cell = claims.Cell("coin", claims.COVERAGE, seldom, runs=40)
    claim = claims.Claim("coin", "heads", "a fair coin", "never", (cell,))
    for _ in range(2):
        found = calibration.running.measure(
            claim, tmp_path, quick=False, jobs=1, say=lambda _: None
        )
    assert (found.cells["coin"]["heads"].runs, found.runs("coin")) == (10, 40)
    text = calibration.page.to_markdown({"coin": claim}, {"coin": found})
    assert "| 10 of 40 |" in text
    silent = claims.Cell("silence", claims.COVERAGE, lambda _: {}, runs=3)
    claim = claims.Claim("coin", "heads", "a fair coin", "never", (silent,))
    found = calibration.running.measure(claim, None, quick=False, jobs=1, say=lambda _: None)
    text = calibration.page.to_markdown({"coin": claim}, {"coin": found})
    assert "| silence | nothing is printed | – | 0 of 3 | – |" in text


def test_only_cells_that_match_are_measured(calibration: SimpleNamespace, coin: Any) -> None:
    how = {"quick": False, "jobs": 1, "say": lambda _: None}
    assert [*calibration.running.measure(coin, None, cells="^di", **how).cells] == ["dice"]


def test_the_full_calibration_is_estimated_from_two_runs_of_each_cell(
    calibration: SimpleNamespace, coin: Any, tmp_path: Path
) -> None:
    estimating = calibration.estimating
    costs = {"coin": estimating.Cost(3.0, 0.5), "dice": estimating.Cost(0.0, 10.0)}
    assert estimating.seconds_of(coin, costs, jobs=2) == 2 * 3 + 40 * 0.5 + 4 * 10
    said: list[str] = []
    estimating.estimate([coin], tmp_path, 2, say=said.append)
    assert "with --jobs 2" in said[-1]
    assert [*estimating.read_costs(tmp_path)["coin"]] == ["coin", "dice"]
    assert "hours on 2" in estimating.duration_in_words({"coin": coin}, tmp_path)
    assert not estimating.duration_in_words({"dice": coin}, tmp_path)


def test_every_claim_is_complete(calibration: SimpleNamespace) -> None:
    module = calibration.claims
    kinds = {module.SIZE, module.COVERAGE, module.POWER, module.RATIO, module.OUTSIDE}
    for name, claim in calibration.claims.all_claims().items():
        assert name == claim.name
        assert claim.says
        assert claim.assumes
        assert claim.breaks
        names = [cell.name for cell in claim.cells]
        assert len(set(names)) == len(names)
        assert {cell.kind for cell in claim.cells} <= kinds
        assert any(cell.quick for cell in claim.cells), name


def test_every_claim_of_a_verdict_has_a_row(calibration: SimpleNamespace) -> None:
    rows = (FOLDER.parents[1] / "docs" / "calibration.md").read_text()
    for name in CLAIMS:
        assert name in calibration.claims.all_claims()
        (row,) = (row for row in rows.splitlines() if row.startswith(f"| [{name}](#{name}) |"))
        assert "not measured yet" not in row


def names_of_claims() -> list[str]:
    return sorted(path.stem.removesuffix("_claim") for path in FOLDER.glob("*_claim.py"))


LONGER = {"elbow", "count", "ica", "additivity", "dimension", "decay", "label"}
"""Claims whose few seeds take more than two seconds."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONGER)) for name in names_of_claims()],
)
def test_a_few_seeds_of_every_claim_keep_its_bounds(
    name: str, calibration: SimpleNamespace
) -> None:
    """A rate of 5 % shows no more than 3 false alarms in 12 runs in 99.8 of 100 cells."""
    torch.set_num_threads(1)
    claim = calibration.claims.all_claims()[name]
    for cell in claim.cells:
        if not cell.quick:
            continue
        found = calibration.claims.Measured()
        # Where a figure is reported without a bound, nothing but a failure can be seen.
        for outcome in calibration.running.simulate(cell, range(SEEDS if cell.bounds else 1)):
            found.add(cell.name, outcome)
        for figure, tally in found.cells[cell.name].items():
            low, high = tally.interval(0.99) if cell.bounds else (0, 0)
            bounds = cell.bounds or (0, 1)
            assert low <= bounds[1], (cell.name, figure, tally)
            assert high >= bounds[0], (cell.name, figure, tally)
