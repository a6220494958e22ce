"""The statistics of a whole store or of files by other programs: one pass, whatever the damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from torch import Tensor

from latentlab.errors import FileError
from latentlab.latents import Progress
from latentlab.machine.files import read_ahead
from latentlab.store.foreign import ForeignLatents
from latentlab.store.parts import sentence
from latentlab.store.reading import Store
from latentlab.store.shards import Shape, latents_path
from latentlab.store.statistics import Statistics
from latentlab.store.tallies import summarized

_BLOCK_VALUES = 2**22
_STREAMED_VALUES = 2**19
"""Values of a block of a foreign file: what is before a damage counts, in whole blocks."""
_COUNTED = 2**25
"""float32 values whose histogram is complete; of more, evenly spaced latents are counted."""
_COMPILED_VALUES = 2**30
"""Compiled loops save 2 ns a value, and two seconds pass until they are compiled."""
_SHARDS_AHEAD = 4
"""The disk reads this shard while threads compute, instead of when they touch its values."""


def gains_from_fast_loops(store: Store) -> bool:
    """Return whether compiled loops would save more time than it takes to compile them."""
    return store.exact_dtype is not None and _values(store) >= _COMPILED_VALUES


def has_fast_loops(store: Store) -> bool:
    """Return whether compiled loops measure a store: they gain, and the extra is installed."""
    if not gains_from_fast_loops(store):
        return False
    from latentlab.store import compiled

    return compiled.HAS_NUMBA


def _values(store: Store) -> int:
    return sum(n * c * h * w for (c, h, w), n in store.shapes.items())


def measure_store(
    store: Store,
    *,
    worst: int = 0,
    compiled: bool | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the statistics of all latents of a store, of any shapes, JSON-ready.

    One pass. Memory does not depend on their number, but for 8·C bytes each if ``worst`` is asked.

    Parameters
    ----------
    store : Store, or what ``open_latents`` returns
    worst : int, how many of the latents farthest from the rest to name
    compiled : bool, whether compiled loops sum and count 16-bit latents (extra ``fast``); by
        default where they gain
    progress : called as ``progress("measuring", done, total)``, in latents

    Raises
    ------
    FileError : a shard of a store is damaged, or no latent is finite. Of files by other programs
        what is before the damage counts, and ``damaged`` has name → reason.
    """
    exact = store.exact_dtype
    every = 1 if exact else max(1, -(-_values(store) // _COUNTED))
    if compiled is None:
        compiled = has_fast_loops(store)
    compiled = compiled and exact is not None
    found = Statistics(store.spec.channels, every, worst > 0, exact, compiled)
    largest = max((c * h * w for c, h, w in store.shapes), default=1)
    faults: dict[str, str] = {}
    read: list[tuple[int, Shape, int]] = []
    values = _STREAMED_VALUES if isinstance(store, ForeignLatents) else _BLOCK_VALUES
    blocks = _readable(store, max(1, values // largest), faults, read)
    for block in summarized(blocks, found.job):
        found.take(block)
        if progress:
            progress("measuring", found.latents, len(store))
    facts = {"store": str(store.folder), "space": store.manifest.space, **found.facts()}
    facts |= {"model": store.spec.name, "skipped": store.skipped + len(faults)}
    facts |= {"compiled": compiled}
    facts |= {"damaged": faults} if faults else {}
    if worst:
        farthest = found.farthest(worst)
        names = _names(store, read, {number for number, _ in farthest})
        facts["worst"] = [{"path": names[k], "distance": far} for k, far in farthest]
    return facts


def _readable(
    store: Store, rows: int, faults: dict[str, str], read: list[tuple[int, Shape, int]]
) -> Iterator[Tensor]:
    """Yield latents of every shape, as stored; note damaged files of others, and what was read."""
    foreign = isinstance(store, ForeignLatents)
    for shard in range(len(store.counts)):
        if not foreign:
            read_ahead(latents_path(store.folder, shard + _SHARDS_AHEAD))
        try:
            for shape in store.shapes:
                for latents in store.stored_of(shard, shape, rows):
                    read.append((shard, shape, len(latents)))
                    yield latents
        except FileError as error:
            if not isinstance(store, ForeignLatents):
                raise
            place = store.parts[shard].place
            faults[place.name] = sentence(place, error)


def _names(
    store: Store, read: Sequence[tuple[int, Shape, int]], wanted: set[int]
) -> dict[int, str]:
    """Return number → path, numbers in the order of what was read."""
    return {k: path for k, path in enumerate(_in_order(store, read)) if k in wanted}


def _in_order(store: Store, read: Sequence[tuple[int, Shape, int]]) -> Iterator[str]:
    for (shard, shape), blocks in groupby(read, key=itemgetter(0, 1)):
        lines = (line for line in store.lines_of(shard) if "skipped" not in line)
        paths = (line["path"] for line in lines if tuple(line["shape"]) == shape)
        yield from islice(paths, sum(count for _, _, count in blocks))
