"""The page of oracles, with the differences that were computed while the site was built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from held_elsewhere import HELD, NO_RESULTS, is_named
from oracles import Row, all_oracles, keys_of_the_glossary, metrics, tests_of


def without_oracle() -> list[str]:
    """Return the keys and metrics that have neither an oracle nor a reason."""
    compared = [one.numbers for several in all_oracles().values() for one in several]
    named = [*compared, *(one.numbers for one in HELD)]
    numbers = {key for key in keys_of_the_glossary() if not _is_no_result(key)} | metrics()
    return sorted(key for key in numbers if not any(is_named(key, names) for names in named))


def missing_tests() -> list[str]:
    """Return the tests that the page names and that do not exist."""
    named = [one.test for several in all_oracles().values() for one in several]
    return [test for test in (*named, *(one.test for one in HELD)) if not _exists(test)]


def oracle_page(rows: Mapping[str, Iterable[Row]]) -> str:
    """Return the page as Markdown."""
    return _PAGE.format(
        compared="\n".join(_tables(rows)),
        held="\n".join(f"| {_names(one.numbers)} | {one.by} | {_test(one.test)} |" for one in HELD),
        none="\n".join(
            f"| {_names(sorted(keys))} | {reason} |" for reason, keys in NO_RESULTS.items()
        ),
    )


def _tables(rows: Mapping[str, Iterable[Row]]) -> Iterator[str]:
    for heading, several in rows.items():
        yield f"\n## {heading}\n"
        yield "| number | oracle | tolerance | difference today | test |"
        yield "|---|---|---|---|---|"
        for row in several:
            one = row.oracle
            yield (
                f"| {_names(one.numbers)} | {one.by} | {_figure(one.tolerance)} "
                f"| {_figure(row.difference)} | {_test(one.test)} |"
            )


def _figure(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _test(test: str) -> str:
    file, name = test.split("::")
    return (
        f"`{file}`"
        if name == "test_*"
        else f"`{file}`: {name.removeprefix('test_').replace('_', ' ')}"
    )


def _exists(test: str) -> bool:
    file, name = test.split("::")
    return bool(tests_of(file)) if name == "test_*" else name in tests_of(file)


def _is_no_result(key: str) -> bool:
    compared = [one.numbers for several in all_oracles().values() for one in several]
    if any(key in names for names in (*compared, *(one.numbers for one in HELD))):
        return False
    return any(is_named(key, names) for names in NO_RESULTS.values())


_PAGE = """# Oracles

Does latentlab compute what it says? For every number that it prints there is an oracle: another
library, a closed form, or brute force. None of them is code of latentlab.

This page was computed while the site was built. Each row computes the number twice, once with latentlab
and once with the oracle. The *difference* is the largest one, as a share of the largest value of the
oracle. If it is above the tolerance, the site is not built. The test in the last column holds the same
on more cases.
{compared}

## Held by a test alone

These numbers are random, or their oracle takes longer than a build of the site. The
[calibration](calibration.md) says how often claims and intervals are wrong where the truth is known.

| number | oracle | test |
|---|---|---|
{held}

## What is no result of a computation

| keys | what they are |
|---|---|
{none}

Every key of the [glossary](glossary.md) and every [metric](metrics.md) is on this page. A test fails if
one is missing.
"""
