"""One pass over images: every image is read, encoded and decoded once for all metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentlab.encoding.batches import batch_size
from latentlab.errors import ImageError, LatentlabError, counted
from latentlab.figures.tables import frame_of, html_table
from latentlab.images.arrays import from_uint8
from latentlab.images.framing import frame_levels
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.measures.base import Columns, Finished, Measure, Tally, Value
from latentlab.measures.batch import Batch
from latentlab.measures.memory import ImageMemory
from latentlab.measures.protocols import Protocol
from latentlab.store.opening import open_source
from latentlab.store.preparing import Prepared, prepare_with
from latentlab.store.workers import default_workers, prepared

_FAILURES = (LatentlabError, ArithmeticError, ValueError, RuntimeError, NotImplementedError)
"""What one metric may raise while the others continue."""


@dataclass(frozen=True, eq=False, repr=False)
class Measured:
    """What all metrics found for one model.

    Parameters
    ----------
    model : str
    protocol : Protocol
    paths : of the images, in their order
    values : name → Value
    columns : name → Columns, of values from per-image numbers
    curves : name → points of a curve, JSON-ready
    measures : name of a value → its metric
    skipped_images : path → why it was left out
    skipped_metrics : name of a metric → why it has no value
    """

    model: str
    protocol: Protocol
    paths: tuple[str, ...]
    values: Mapping[str, Value]
    columns: Mapping[str, Columns] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    skipped_images: Mapping[str, str] = field(default_factory=dict)
    skipped_metrics: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return the contents of ``metrics.json``."""
        return {
            "model": self.model,
            "n_images": len(self.paths),
            "protocol": self.protocol.facts(),
            "metrics": {name: value.facts() for name, value in self.values.items()},
            "curves": dict(self.curves),
            "skipped": {
                "images": dict(self.skipped_images),
                "metrics": dict(self.skipped_metrics),
            },
        }

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each value.

        ``metric``, ``unit``, ``better`` (higher, lower, or empty for neither), ``value``, the ends
        ``low`` and ``high`` of its 95 % interval, ``n`` images, and ``note``.
        """
        return frame_of(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "metric": name,
                "unit": self.measures[name].unit_of(name) if name in self.measures else "",
                "better": self.measures[name].better_of(name) if name in self.measures else "",
                **value.facts(),
            }
            for name, value in self.values.items()
        ]

    def __repr__(self) -> str:
        return f"Measured({self.model!r}: {len(self.values)} values of {len(self.paths):,} images)"

    def _repr_html_(self) -> str:
        heads = ("metric", "unit", "value", "low", "high", "n", "better", "note")
        rows = [[row[name] for name in heads] for row in self._rows()]
        left_out = [f"{name} left out: {why}." for name, why in self.skipped_metrics.items()]
        skipped = len(self.skipped_images)
        notes = [
            f"{counted(len(self.paths))}, protocol {self.protocol.describe()}.",
            *left_out,
            f"{counted(skipped)} skipped." if skipped else "",
        ]
        return html_table(heads, rows, title=self.model, notes=notes)


def read_framed(
    folder: Path, protocol: Protocol, vae: LatentVAE, *, multiple: int = 0, limit: int = 0
) -> Iterator[Prepared]:
    """Yield the images of a folder or tar file, framed as a protocol says.

    Parameters
    ----------
    folder : Path
    protocol : Protocol
    vae : LatentVAE
    multiple : int; sides are multiples of this; 0 for what the model takes
    limit : int; the first so many files; 0 for all
    """
    source = open_source(folder)
    one = partial(
        prepare_with, frame_levels, source, protocol.framing(multiple or vae.spec.multiple)
    )
    paths = (entry.path for entry in islice(source.entries(), limit or None))
    workers = default_workers(beside_model=vae.device.type == "cpu")
    with closing(prepared(one, paths, workers=workers)) as images:
        yield from images


def measure_images(
    vae: LatentVAE,
    images: Iterable[Prepared],
    measures: Mapping[str, Measure],
    protocol: Protocol,
    *,
    total: int = 0,
    memory: ImageMemory | None = None,
    keep: Callable[[Batch], None] | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Return what metrics find over images, in one pass and in flat memory.

    A metric that fails is skipped with its reason, and so is an image that cannot be read, cannot
    be encoded, or has the same bytes as an earlier one.

    Parameters
    ----------
    vae : LatentVAE
    images : Prepared, in order
    measures : key → metric; values of a metric under another key than its name carry the key
    protocol : Protocol
    total : int, number of images, for progress
    memory : ImageMemory, optional; of an earlier pass that was interrupted. Metrics must have their
        own names then
    keep : called with each batch that was decoded before the metrics take it
    progress : called as ``progress("measuring", done, total)``

    Raises
    ------
    ImageError : no image can be measured.
    LatentlabError : no metric can be computed.
    """
    run = _Pass(vae, protocol, measures, memory, keep)
    for done, image in enumerate(images, 1):
        run.take(image)
        if progress:
            progress("measuring", done, max(total, done))
    run.flush()
    return run.finish()


class _Pass:
    """The state of one pass: tallies, images of one shape that wait, and what was skipped."""

    def __init__(
        self,
        vae: LatentVAE,
        protocol: Protocol,
        measures: Mapping[str, Measure],
        memory: ImageMemory | None = None,
        keep: Callable[[Batch], None] | None = None,
    ) -> None:
        self.vae, self.protocol, self.memory, self.keep = vae, protocol, memory, keep
        self.tallies: dict[str, tuple[Measure, Tally]] = {}
        self.paths: list[str] = []
        self.waiting: list[Prepared] = []
        self.hashes: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        for key, one in measures.items():
            try:
                self.tallies[key] = one, one.begin(protocol)
            except _FAILURES as error:
                self.failed[key] = _reason(error)

    def take(self, image: Prepared) -> None:
        if image.levels is None:
            self.skipped[image.path] = image.problem
            return
        earlier = self.hashes.setdefault(image.sha256, image.path)
        if earlier != image.path:
            self.skipped[image.path] = f"the same bytes as {earlier}"
            return
        if self.waiting and self.waiting[0].levels.shape != image.levels.shape:  # type: ignore[union-attr]
            self.flush()
        self.waiting.append(image)
        height, width = image.levels.shape[:2]
        if len(self.waiting) >= batch_size(self.vae, height, width):
            self.flush()

    def flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        try:
            self._measure(waiting)
        except LatentlabError as error:
            if len(waiting) == 1:
                self.skipped[waiting[0].path] = str(error)
                return
            for image in waiting:
                self.waiting = [image]
                self.flush()

    def _measure(self, images: list[Prepared]) -> None:
        levels = np.stack([image.levels for image in images if image.levels is not None])
        pixels = from_uint8(torch.from_numpy(levels)).contiguous()
        paths = tuple(image.path for image in images)
        batch = Batch(self.vae, self.protocol, pixels, paths, len(self.paths), self.memory)
        # What fails here fails for the image, and before any metric has taken it.
        _ = batch.latents
        known = self.memory is not None and self.memory.recalled.issuperset(paths)
        if not known and any("reconstructions" in one.needs for one, _ in self.tallies.values()):
            _ = batch.decoded
            if self.keep:
                self.keep(batch)
        self.paths += paths
        for name, (measure, tally) in [*self.tallies.items()]:
            if measure.at_most and batch.first >= measure.at_most:
                continue
            most = measure.at_most - batch.first if measure.at_most else len(batch)
            try:
                _add(tally, batch.head(most))
            except _FAILURES as error:
                self.failed[name] = _reason(error)
                del self.tallies[name]

    def finish(self) -> Measured:
        if not self.paths:
            reasons = Counter(self.skipped.values()).most_common(1)
            raise ImageError(
                f"no image that can be measured{f' ({reasons[0][0]})' if reasons else ''}",
                "at least one",
                "name another folder, model or protocol",
            )
        found: dict[str, Finished] = {}
        for name, (measure, tally) in self.tallies.items():
            try:
                found[name] = _named(tally.finish(), "" if name == measure.name else f"{name} ")
            except _FAILURES as error:
                self.failed[name] = _reason(error)
        if not any(one.values for one in found.values()):
            failures = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            raise LatentlabError(
                f"no metric that could be computed ({failures})", "at least one", "choose others"
            )
        return Measured(
            model=self.vae.spec.name,
            protocol=self.protocol,
            paths=tuple(self.paths),
            values=_joined(one.values for one in found.values()),
            columns=_joined(one.columns for one in found.values()),
            curves=_joined(one.curves for one in found.values()),
            measures={
                value: self.tallies[name][0] for name, one in found.items() for value in one.values
            },
            skipped_images=self.skipped,
            skipped_metrics=self.failed,
        )


def _add(tally: Tally, batch: Batch) -> None:
    try:
        tally.add(batch)
    except LatentlabError as error:
        tally.leave_out(batch, error)


def _named(found: Finished, prefix: str) -> Finished:
    """Return what was found with a prefix before every name."""
    return Finished(
        {f"{prefix}{name}": one for name, one in found.values.items()},
        {f"{prefix}{name}": one for name, one in found.columns.items()},
        {f"{prefix}{name}": one for name, one in found.curves.items()},
    )


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
