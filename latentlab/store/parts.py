"""The parts of foreign files that hold latents: an array each, with the fields beside it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from latentlab.errors import LatentlabError, UsageError
from latentlab.store.arrays import Place, StoredArray
from latentlab.store.containers import arrays_in
from latentlab.store.places import Listed
from latentlab.store.recognition import Form, choose, form_of, is_raw, whole_at_once

_FIELD_VALUES = 16
"""Most numbers of one latent in an array beside it that is kept as a field."""


@dataclass(frozen=True)
class Part:
    """The latents of one array of one file.

    Parameters
    ----------
    place : Place of the file
    array : StoredArray
    form : Form, how the latents lie in it
    fields : name → values (N, …) of each latent, or (1, …) of all: labels, original sizes, crops
    alone : bool, whether the file has no other part
    raw : bool, whether the program that wrote it is known to store raw latents
    dropped : rows that are left out, since they are not finite
    """

    place: Place
    array: StoredArray
    form: Form
    fields: Mapping[str, Tensor] = field(default_factory=dict)
    alone: bool = True
    raw: bool = False
    dropped: frozenset[int] = frozenset()

    def __len__(self) -> int:
        """Return the number of latents that are not left out."""
        return self.form.count - len(self.dropped)

    @property
    def kept(self) -> list[int]:
        """Return the rows that are not left out."""
        return [row for row in range(self.form.count) if row not in self.dropped]

    def blocks(self, rows: int) -> Iterator[tuple[int, Tensor]]:
        """Yield the first row and the latents (n, C, h, w) of each block, as they are stored."""
        if whole_at_once(self.form):
            yield 0, self.form.latents(self.array.whole())
            return
        start = 0
        for block in self.array.rows(max(1, rows // self.form.per_entry)):
            latents = self.form.latents(block)
            yield start, latents
            start += len(latents)

    def name(self, row: int) -> str:
        """Return the path of a latent: of its file, its key and its row where there are several."""
        key = "" if self.alone else f":{self.array.name}"
        return f"{self.place.name}{key}" + (f"#{row}" if self.form.count > 1 else "")

    def line(self, row: int) -> dict[str, Any]:
        """Return what an index says about a latent, without its hash."""
        fields = {
            name: (values[row] if len(values) == self.form.count else values[0]).tolist()
            for name, values in self.fields.items()
        }
        size = self.place.size // max(1, self.form.count)
        facts = {"path": self.name(row), "size": size, "shape": [*self.form.shape]}
        return {**facts, **({"fields": fields} if fields else {})}


def parts_of(
    listed: Listed, key: str | None, layout: str | None
) -> tuple[list[Part], dict[str, str], LatentlabError | None]:
    """Return the parts of all files, name → why one is left out, and the first such error.

    One that an option can mend goes before others.
    """
    parts: list[Part] = []
    faults, first = dict(listed.faults), None
    for place in listed.places:
        try:
            arrays = arrays_in(place)
            chosen = choose(arrays, key)
            forms = [form_of(array, layout) for array in chosen]
            names = {array.name for array in chosen}
            others = [array for array in arrays if array.name not in names]
            for array, form in zip(chosen, forms, strict=True):
                if layout is None:
                    _check_means(array, form)
                fields = _fields(others, form, array.name)
                raw = is_raw(arrays, form, array.name)
                parts.append(Part(place, array, form, fields, len(chosen) == 1, raw))
                faults |= _left_out(place, others, fields)
        except LatentlabError as error:
            named = error.got.startswith(place.name)
            got = error.got if named else f"{error.got} in {place.name}"
            # What an option can mend says more than damage does.
            if first is None or (isinstance(error, UsageError) > isinstance(first, UsageError)):
                first = type(error)(got, error.expected, error.advice)
            faults[place.name] = sentence(place, error)
    return parts, faults, first


def sentence(place: Place, error: LatentlabError) -> str:
    """Return what is wrong with a file, and what to do, in one sentence."""
    return f"{error.got.removeprefix(f'{place.name}, which ')}; {error.advice}"


def _fields(others: Sequence[StoredArray], form: Form, key: str) -> dict[str, Tensor]:
    """Return small arrays beside latents: (N, …) one entry for each, or (1, …) one for all."""
    bucket = key.removeprefix("latents")  # kohya: original_size_32x32 beside latents_32x32
    fields = {}
    for array in (one for one in others if not one.unread):
        size = math.prod(array.shape[1:])
        each = bool(array.shape) and array.shape[0] == form.count > 1 and 0 < size <= _FIELD_VALUES
        small = size * (array.shape[0] if array.shape else 1) <= _FIELD_VALUES
        elsewhere = bucket and array.name[-1:].isdigit() and not array.name.endswith(bucket)
        if (each or small) and not elsewhere:
            values = array.whole()
            name = array.name.removesuffix(bucket) if bucket else array.name
            fields[name] = values if each else values[None]
    return fields


def _left_out(
    place: Place, others: Sequence[StoredArray], fields: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return a sentence about each large array of a file, or one of objects, that is not read."""
    large = [a for a in others if a.is_float and len(a.shape) > 2 and a.name not in fields]
    unread = [array for array in others if array.unread]
    return {
        f"{place.name}:{array.name}": f"not read; --key {array.name} takes it" for array in large
    } | {f"{place.name}:{array.name}": f"not read; {array.unread}" for array in unread}


def _check_means(array: StoredArray, form: Form) -> None:
    """Raise UsageError if the second half of the channels looks like log-variances."""
    half = form.shape[0] // 2
    if form.has_logvar or form.shape[0] % 2 or form.shape[0] < 8:
        return
    block = array.whole() if whole_at_once(form) else next(array.rows(1), None)
    if block is None:
        return
    latents = form.latents(block)[:1].float()
    second = latents[:, half:]
    if float(second.max()) < 0 and float(second.mean()) < -3 and float(second.min()) >= -30:
        raise UsageError(
            f"{form.shape[0]} channels, the second half of which look like log-variances",
            "means alone, or moments (mean ‖ logvar)",
            f"pass --layout moments, or --layout {form.layout} to take them all",
        )


def hash_of(values: Tensor) -> str:
    """Return the SHA-256 of the bytes of one latent."""
    content = values.contiguous().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(content).hexdigest()
