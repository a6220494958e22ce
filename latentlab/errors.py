"""The exception tree: everything that latentlab raises on purpose.

Every message says in one line what was found, what was expected and what to do. The command line
prints that line and exits with the code of the class. Library users catch :class:`LatentlabError`
or one of its subclasses.
"""

from __future__ import annotations


class LatentlabError(Exception):
    """Something failed while running (exit code 1).

    Parameters
    ----------
    got : str
        What was found, with the user's own value in it.
    expected : str
        What would have been right, as a noun phrase.
    advice : str
        What to do next, as an imperative.

    Examples
    --------
    >>> print(UsageError("span=0", "a span above 0", "pass --span 3.0"))
    Got span=0, but expected a span above 0. Pass --span 3.0.
    """

    exit_code = 1

    def __init__(self, got: str, expected: str, advice: str) -> None:
        self.got = got
        self.expected = expected
        self.advice = advice
        advice = advice.rstrip(".")
        end = "" if advice.endswith("?") else "."
        message = f"Got {got}, but expected {expected}. {advice[:1].upper()}{advice[1:]}{end}"
        super().__init__(" ".join(message.split()))


def counted(count: int, what: str = "images") -> str:
    """Return a number of things in words, of which the first is in the plural.

    Examples
    --------
    >>> counted(1), counted(1, "samples of a class"), counted(1200)
    ('1 image', '1 sample of a class', '1,200 images')
    """
    first, *rest = what.split(" ")
    return " ".join([f"{count:,}", first.removesuffix("s") if count == 1 else first, *rest])


class UsageError(LatentlabError):
    """An option or argument has a value that makes no sense (exit code 2)."""

    exit_code = 2


class ArgumentError(UsageError, TypeError):
    """A function or a named choice has no argument of this name (exit code 2)."""


class ShapeError(UsageError):
    """An array has the wrong shape, or more was asked for than its shape allows (exit code 2)."""


class FileError(LatentlabError):
    """A file or folder is missing, damaged or of the wrong kind (exit code 3)."""

    exit_code = 3


class StoreIndexError(UsageError, IndexError):
    """A store has no latent with this number (exit code 2)."""


class ImageError(FileError):
    """An image cannot be read or is too small to encode (exit code 3)."""


class ModelError(LatentlabError):
    """A model cannot be loaded (exit code 4)."""

    exit_code = 4


class ModelNotFoundError(ModelError):
    """No model has this name, path, repository or revision (exit code 4)."""


class GatedModelError(ModelError):
    """The repository requires a token or an accepted license (exit code 4)."""


class DownloadError(ModelError):
    """The hub cannot be reached, or its answer is unusable (exit code 4)."""


class WeightsError(ModelError):
    """The weights are damaged, unsafe or belong to another architecture (exit code 4)."""


class NonFiniteError(LatentlabError):
    """A model returned NaN or infinity (exit code 1)."""


class ZeroJacobianError(LatentlabError):
    """The decoded image does not respond to small changes of the latent (exit code 1)."""


class ParityError(LatentlabError):
    """An exported model does not compute what the model computes (exit code 1)."""


class RanksError(LatentlabError):
    """A process that shares the work has ended (exit code 1)."""


class MissingExtraError(LatentlabError):
    """An optional dependency is not installed (exit code 1)."""


class PluginError(LatentlabError):
    """A class of an installed package cannot be used (exit code 1)."""


class MemoryLimitError(LatentlabError):
    """The work does not fit into memory, or onto the disk used in its place (exit code 5)."""

    exit_code = 5


class ValueRangeWarning(UserWarning):
    """Pixels were read in a range that they may not have; ``value_range=`` states it."""
