"""What a metric is: what it needs, what it says, and how it is summed up over images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from latentlab.errors import LatentlabError, NonFiniteError, counted
from latentlab.metrics.bootstrap import FEWEST, Array, identity, share_interval, studentize

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.measures.batch import Batch
    from latentlab.measures.protocols import Protocol

NEEDS = {
    "reconstructions": "images and their reconstructions",
    "latents": "latents",
    "posterior": "the log-variance of the posterior",
    "vae": "the model itself",
    "labels": "a class for each image",
    "features": "a feature space",
}
"""What a metric may need → in words."""


@dataclass(frozen=True)
class Value:
    """One number of a metric.

    Parameters
    ----------
    value : float
    low, high : ends of the 95 % interval for other images of the same kind; None if unknown
    n : int, images it is from
    note : str, what one has to know to read it
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""

    def facts(self) -> dict[str, Any]:
        """Return ``value``, ``low``, ``high``, ``n`` and ``note``."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Columns:
    """Per-image numbers whose means a statistic summarizes.

    Parameters
    ----------
    rows : array (n, k), NaN where an image has none
    measure : PerImage, whose statistic it is
    name : str, of the value
    """

    rows: Array
    measure: PerImage
    name: str

    def interval(self) -> tuple[float | None, float | None]:
        """Return the 95 % interval; on a logarithmic scale for what cannot be negative."""
        return self.described()[:2]

    def described(self) -> tuple[float | None, float | None, str]:
        """Return the 95 % interval, and what has to be known to read it."""
        kept = self.rows[np.isfinite(self.rows).all(1)]
        found = studentize(kept, self.statistic)
        share = self.measure.is_share(self.name)
        if share and len(kept) >= FEWEST and (found.error == 0 or None in found.interval()):
            return *share_interval(found.value, len(kept)), "Wilson's interval"
        if not self.measure.positive or found.value <= 0:
            low, high = found.interval()
            smallest, largest = (0.0, 1.0) if share else self.measure.bounds_of(self.name)
            # A symmetric interval may reach beyond what is possible.
            low = None if low is None else max(low, smallest)
            high = None if high is None else min(high, largest)
        else:
            low, high = studentize(kept, lambda means: np.log(self.statistic(means))).interval()
            low, high = (None if end is None else math.exp(end) for end in (low, high))
        return low, high, "" if low is not None else no_interval(len(kept))

    @property
    def known(self) -> int:
        """Return how many images have finite numbers."""
        return int(np.isfinite(self.rows).all(1).sum())

    def statistic(self, means: Array) -> Array:
        """Return the statistic (…) of means (…, k)."""
        return self.measure.statistic(self.name, means)

    def each(self) -> Array:
        """Return the statistic (n,) of each image alone."""
        with np.errstate(all="ignore"):
            return np.asarray(self.statistic(self.rows), np.float64)


@dataclass(frozen=True, eq=False)
class Finished:
    """What a metric found.

    Parameters
    ----------
    values : name → Value
    columns : name → Columns, for values that are statistics of per-image means
    curves : name → points of a curve, JSON-ready
    """

    values: Mapping[str, Value]
    columns: Mapping[str, Columns] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)


class TooFewError(LatentlabError):
    """A metric got fewer samples than it needs (exit code 1)."""

    def __init__(self, found: int, needed: int, what: str = "images") -> None:
        super().__init__(
            counted(found, what), f"at least {needed:,}", f"pass more {what}, or leave it out"
        )


class Tally(ABC):
    """The sums of one metric over the images so far."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take images of one shape.

        Raises
        ------
        LatentlabError : the metric cannot be computed for this model or these images.
        """

    def leave_out(self, batch: Batch, error: LatentlabError) -> None:
        """Leave out images that could not be added; by default the metric has no value then.

        Raises
        ------
        LatentlabError : the error, unless the metric can do without these images.
        """
        raise error

    @abstractmethod
    def finish(self) -> Finished:
        """Return what was found.

        Raises
        ------
        TooFewError : fewer images than the metric needs.
        """


class Measure(ABC):
    """A metric, in the registry ``MEASURES``. Its fields are its options.

    Attributes
    ----------
    label : str, heading of tables
    unit : str
    span : str, range of values
    better : ``"higher"``, ``"lower"``, or empty where neither is better
    needs : names of ``NEEDS``
    cost : str, beyond the encode and the decode of each image
    at_most : int, images it is computed on; 0 for all
    on_request : bool, whether it is computed only if it is named, since it downloads weights
    formula, reference, evidence, not_evidence, oracle : str, for ``docs/metrics.md``
    """

    name: ClassVar[str]
    label: ClassVar[str]
    unit: ClassVar[str] = ""
    span: ClassVar[str]
    better: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ("reconstructions",)
    cost: ClassVar[str] = "little"
    at_most: ClassVar[int] = 0
    on_request: ClassVar[bool] = False
    formula: ClassVar[str]
    reference: ClassVar[str]
    evidence: ClassVar[str]
    not_evidence: ClassVar[str]
    oracle: ClassVar[str]

    @abstractmethod
    def begin(self, protocol: Protocol) -> Tally:
        """Return an empty tally for images under a protocol."""

    def bound(self, protocol: Protocol) -> Measure:
        """Return this metric as it is under a protocol; the same unless it depends on one."""
        return self

    def better_of(self, name: str) -> str:
        """Return which values of this name are better: ``"higher"``, ``"lower"`` or neither."""
        return self.better

    def unit_of(self, name: str) -> str:
        """Return the unit of the value of this name."""
        return self.unit


class PerImage(Measure):
    """A metric that is a statistic of means over images of some numbers of each image.

    Attributes
    ----------
    positive : bool, whether its values are ratios or sizes, whose intervals are logarithmic
    bounds : smallest and largest possible value, at which intervals end
    """

    positive: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    @abstractmethod
    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return value name → numbers (b,) or (b, k), float64, of each image."""

    def statistic(self, name: str, means: Array) -> Array:
        """Return the values (…) of means (…, k); by default the only mean."""
        return identity(means)

    def is_share(self, name: str) -> bool:
        """Return whether a value is the mean of numbers within 0 and 1 that may all be equal."""
        return False

    def bounds_of(self, name: str) -> tuple[float, float]:
        """Return the smallest and the largest possible value of this name."""
        return self.bounds

    def note(self, name: str) -> str:
        """Return what has to be known to read a value."""
        return ""

    def begin(self, protocol: Protocol) -> Tally:
        return ImageTally(self)


class ImageTally(Tally):
    """The numbers of each image, in their order."""

    def __init__(self, measure: PerImage) -> None:
        self._measure = measure
        # Python's floats: small tensors would lie between the large ones of each batch and keep
        # the memory that those leave from being given back.
        self._rows: dict[str, dict[int, list[float]]] = {}
        self._count = 0
        self._left_out: dict[str, int] = {}
        self._error: LatentlabError | None = None

    def add(self, batch: Batch) -> None:
        measure = self._measure
        if batch.memory is None:
            self.take(batch, measure.columns(batch))
            return
        # The batch must not be part of what is remembered: its tensors would stay in memory.
        kept = batch.memory.columns(measure.name, batch.paths, lambda: measure.columns(batch))
        self.take(batch, kept)

    def take(self, batch: Batch, columns: Mapping[str, Tensor]) -> None:
        """Take the numbers of the images of a batch, as ``columns`` of the metric returns them."""
        self._count = max(self._count, batch.first + len(batch))
        for name, found in columns.items():
            rows = found.double().reshape(len(batch), -1).tolist()
            self._rows.setdefault(name, {}).update(
                (batch.first + k, row) for k, row in enumerate(rows)
            )

    def leave_out(self, batch: Batch, error: LatentlabError) -> None:
        self._count = max(self._count, batch.first + len(batch))
        self._left_out[str(error)] = self._left_out.get(str(error), 0) + len(batch)
        self._error = self._error or error

    def finish(self) -> Finished:
        if self._error and not self._rows:
            raise self._error
        columns = {name: self._columns(name) for name in self._rows}
        return Finished(self._values(columns), columns)

    def _values(self, columns: Mapping[str, Columns]) -> dict[str, Value]:
        """Return the values; one that cannot be computed is NaN, with the reason, beside others."""
        values, errors = {}, []
        for name, one in columns.items():
            try:
                values[name] = value_of(one, self._note(name))
            except (TooFewError, NonFiniteError) as error:
                errors.append(error)
                values[name] = Value(math.nan, n=one.known, note=str(error))
        if errors and len(errors) == len(values):
            raise errors[0]
        return values

    def _note(self, name: str) -> str:
        """Return the note of the metric, and how many images are left out, with the reasons."""
        reasons = [
            f"{counted(count)} left out: {reason}" for reason, count in self._left_out.items()
        ]
        return "; ".join(filter(None, [self._measure.note(name), *reasons]))

    def _columns(self, name: str) -> Columns:
        found = self._rows[name]
        k = len(next(iter(found.values())))
        rows = np.full((self._count, k), np.nan)
        for number, row in found.items():
            rows[number] = row
        return Columns(rows, self._measure, name)


def value_of(columns: Columns, note: str = "") -> Value:
    """Return a statistic of per-image numbers with its interval.

    Raises
    ------
    TooFewError : no image has finite numbers.
    """
    rows = columns.rows[~np.isnan(columns.rows).any(1)]
    finite = np.isfinite(rows).all(1)
    notes = [note] if note else []
    if not finite.all():
        notes.append(f"{counted(int((~finite).sum()))} without a finite value left out")
    if not finite.any():
        raise TooFewError(0, 1, "images with a finite value")
    count = int(finite.sum())
    value = float(columns.statistic(rows[finite].mean(0)))
    if not math.isfinite(value):
        raise NonFiniteError(
            f"{columns.name} of images without contrast", "a finite value", "pass other images"
        )
    low, high, told = columns.described()
    return Value(value, low, high, count, "; ".join([*notes, *filter(None, [told])]))


def no_interval(count: int) -> str:
    """Return why a value of so many images has no interval."""
    why = "nearly all images have one value" if count >= FEWEST else f"it needs {FEWEST}"
    return f"no interval from {counted(count)}: {why}"
