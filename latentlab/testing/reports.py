"""What a check found: problems, which contradict a contract, and remarks, which may be right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from latentlab.errors import LatentlabError, UsageError
from latentlab.figures.tables import html_table
from latentlab.registry import Registry

Entry = TypeVar("Entry")

WORDS = 25
"""Fewest words of a statement that says what can be seen, and what cannot."""


@dataclass(frozen=True)
class Report:
    """What a check found.

    Parameters
    ----------
    name : str, of what was checked
    problems : what contradicts the interface, one or two sentences each; empty if it is sound
    remarks : what is unusual, and may be right
    """

    name: str
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether nothing contradicts the interface."""
        return not self.problems

    def _repr_html_(self) -> str:
        kinds = {"wrong": self.problems, "unusual": self.remarks}
        rows = [(kind, said) for kind, words in kinds.items() for said in words]
        title = str(self).partition("\n")[0]
        return html_table(("", "what"), rows, title=title)

    def __str__(self) -> str:
        lines = [f"{self.name}: {'no problem' if self.ok else f'{len(self.problems)} wrong'}"]
        lines += [f"wrong: {problem}" for problem in self.problems]
        lines += [f"unusual: {remark}" for remark in self.remarks]
        return "\n".join(lines)


def attempt(what: str, run: Callable[[], Any], problems: list[str]) -> Any:
    """Return what a function returns; None, with the exception as a problem, where it fails."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001 (whatever foreign code raises is what is wrong)
        problems.append(f"{what} raised {describe(error)}")
        return None


def listed(check: Callable[..., Iterator[str]], *given: Any) -> list[str]:
    """Return all that a check yields, so that what it raises on the way is met at once."""
    return [*check(*given)]


def refuses(
    what: str, run: Callable[[], Any], expected: type[LatentlabError], advice: str
) -> list[str]:
    """Return the problem of code that should refuse what it is given, as a list of one or none.

    Parameters
    ----------
    what : str, such as ``"search on samples with NaN"``
    run : what must raise
    expected : LatentlabError, or one of its subclasses
    advice : str, what to do about it
    """
    try:
        run()
    except expected:
        return []
    except Exception as error:  # noqa: BLE001 (whatever foreign code raises is what is wrong)
        return [f"{what} raised {describe(error)}: expected {expected.__name__}, so {advice}."]
    return [f"{what} raised nothing: expected {expected.__name__}, so {advice}."]


def describe(error: Exception) -> str:
    """Return the class and the message of an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def instance_of(
    registry: Registry[Entry], given: str | type[Entry] | Entry, options: Mapping[str, Any]
) -> Entry:
    """Return what a registered name, a class with its options, or an instance stands for.

    Raises
    ------
    UsageError : an unknown name, or options for an instance.
    """
    if isinstance(given, str):
        return registry.make(given, options)
    if isinstance(given, type):
        return given(**options)
    if options:
        raise UsageError(
            f"options for an instance of {type(given).__name__}",
            "a class or a registered name with options",
            "make the instance with these options",
        )
    return given


def check_words(entry: Any, problems: list[str]) -> None:
    """Add a problem if the statement of a class is too short to say what it can and cannot show."""
    count = len(str(getattr(entry, "statement", "")).split())
    if count < WORDS:
        problems.append(
            f"its statement has {count} words: expected at least {WORDS}, which say what can be "
            "seen with it and what cannot. They are printed below every result."
        )
