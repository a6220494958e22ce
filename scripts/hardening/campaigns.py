"""What a campaign is, and where all of them are.

**Adding a campaign.** Write a file ``NAME_campaign.py`` in this folder with one constant
``CAMPAIGN`` of that name, by which it is found; results and page follow by themselves. There are
two kinds.

A :class:`Parser` is a reader of foreign bytes. Give it small valid inputs that latentlab's own code
makes, and a function that reads any bytes::

    CAMPAIGN = Parser("settings", "latentlab.cli.defaults", seeds=_seeds, read=_read)

Its full form is coverage-guided (atheris); its quick form mutates the seeds. ``read`` lets
:class:`~latentlab.errors.LatentlabError` pass: that is a refusal, and right.

A :class:`Drawn` campaign does something else for every seed and says in a word how it ended::

    CAMPAIGN = Drawn("pairs", "config against weights", holds="…", wanted=10_000, opened=_opened)

``opened(folder)`` is a context manager that yields ``draw(seed)``, which depends on the seed alone
and raises :class:`~probing.FaultError` for what must not happen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

PARSERS_HOLD = (
    "a result or a LatentlabError; never another exception, more than 10 s, more memory than the "
    "limit, or anything written, started or connected to elsewhere"
)


@dataclass(frozen=True)
class Parser:
    """A reader of foreign bytes, tried by coverage-guided mutation.

    Parameters
    ----------
    name : str, key of its results
    reads : str, what is read, in words
    seeds : folder → valid inputs, which latentlab's own code makes
    read : (content, folder) → None; reads an input the way a user would
    words : what readers compare with, for the mutator's dictionary
    longest : int, bytes of the longest input that is tried
    """

    name: str
    reads: str
    seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[bytes, Path], None]
    words: Sequence[bytes] = ()
    longest: int = 8192

    holds = PARSERS_HOLD
    unit = "executions"
    wanted = 1_000_000


@dataclass(frozen=True)
class Drawn:
    """A campaign of which every seed is one case.

    Parameters
    ----------
    name : str, key of its results
    reads : str, what is tried, in words
    holds : str, the property
    wanted : int, cases of the full form
    opened : folder → context manager that yields ``draw``: seed → how it ended, in a word
    unit : str, what a case is, in the plural
    quick : int, cases of the quick form
    seconds : float, most seconds of one case
    starts : bool, whether a case may start other programs, such as workers and ffmpeg
    """

    name: str
    reads: str
    holds: str
    wanted: int
    opened: Callable[[Path], AbstractContextManager[Callable[[int], str]]]
    unit: str = "cases"
    quick: int = 20
    seconds: float = 10.0
    starts: bool = False


Campaign = Parser | Drawn


@dataclass
class Measured:
    """What a campaign found so far.

    Parameters
    ----------
    executions : int, inputs or cases
    seconds : float, that they took on the clock
    date : str, of the last run
    seed : int, of the last run
    how : str, ``"guided"``, ``"mutated"`` or ``"drawn"``
    ends : word → number of cases that ended so
    faults : signature → what happened, of faults that the last run saw
    """

    executions: int = 0
    seconds: float = 0.0
    date: str = ""
    seed: int = 0
    how: str = ""
    ends: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)


def campaign_of(name: str) -> Campaign:
    """Return the campaign of the file ``NAME_campaign.py``; the others are not imported."""
    found: Campaign = import_module(f"{name}_campaign").CAMPAIGN
    return found


def campaign_names() -> list[str]:
    """Return the name of every file ``*_campaign.py`` of this folder, in order."""
    files = sorted(Path(__file__).parent.glob("*_campaign.py"))
    return [path.stem.removesuffix("_campaign") for path in files]


def all_campaigns() -> Mapping[str, Campaign]:
    """Return name → campaign of every name, which imports all that they try."""
    return {name: campaign_of(name) for name in campaign_names()}
