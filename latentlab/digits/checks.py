"""Checks of single options, with the messages that their users see."""

from __future__ import annotations

from collections.abc import Collection

from latentlab.errors import UsageError


def check_choice(option: str, value: str, choices: Collection[str]) -> None:
    """Raise UsageError unless a value is one of the choices."""
    if value not in choices:
        raise UsageError(f"{option} {value}", f"one of {', '.join(choices)}", "choose one of them")


def check_range(option: str, value: float, low: float, high: float, example: float) -> None:
    """Raise UsageError unless a number lies in a range, both ends included."""
    if not low <= value <= high:
        raise UsageError(
            f"{option} {value}", f"a number from {low:,} to {high:,}", f"pass {option} {example}"
        )
