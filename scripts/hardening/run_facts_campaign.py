"""Run folders whose JSON contradicts the arrays beside it; the untouched folder is the oracle."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from campaigns import Drawn
from judging import HOLDS, judge_reading
from safetensors.torch import load_file, save_file

import latentlab

KINDS = ("pca", "transfer", "interpolation", "directions")
_TOLD = {"title", "label", "statement", "solver", "unit", "basis", "notes", "meanings", "options"}
_TOLD |= {"alpha", "decodes", "seed", "n_samples", "picture", "model", "stride", "multiple"}
"""What no array can contradict: words, and what was asked for."""


def save_results(folder: Path) -> None:
    """Write one small result of every kind, each into a folder of its own."""
    vae = latentlab.load_vae("linear")
    draw = torch.Generator().manual_seed(0)
    first, last = (
        latentlab.encode(vae, torch.rand(3, 16, 16, generator=draw) * 2 - 1) for _ in range(2)
    )
    hood = latentlab.neighborhood(vae, first, "gaussian", n_samples=6)
    found = latentlab.find_directions(vae, first, hood, 3)
    latentlab.save(latentlab.fit_pca(hood), folder / "pca")
    latentlab.save(found, folder / "directions")
    latentlab.save(latentlab.transfer_directions(vae, first, found, [last]), folder / "transfer")
    latentlab.save(latentlab.interpolate(vae, first, last, steps=4), folder / "interpolation")


def _numbers(facts: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the numbers of a JSON file stand."""
    if isinstance(facts, bool) or facts is None:
        return
    if isinstance(facts, int | float):
        yield path
    elif isinstance(facts, dict | list):
        for key, one in facts.items() if isinstance(facts, dict) else enumerate(facts):
            yield from _numbers(one, (*path, key))


def _change_number(place: Path, stem: str, draw: random.Random) -> str:
    path = place / f"{stem}.json"
    facts = json.loads(path.read_text())
    where = draw.choice([one for one in _numbers(facts) if one[0] not in _TOLD])
    holder = facts
    for key in where[:-1]:
        holder = holder[key]
    old = holder[where[-1]]
    new = draw.choice((old + 1, old * 2 + 1, -old - 1, 0, old * 10 + 3))
    holder[where[-1]] = type(old)(new)
    path.write_text(json.dumps(facts))
    return ".".join(map(str, where[:1]))


def _change_array(place: Path, stem: str, draw: random.Random) -> str:
    path = place / f"{stem}.safetensors"
    arrays = load_file(path)
    name = draw.choice([*arrays])
    values = arrays[name]
    changes: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda t: t[:-1],
        lambda t: torch.cat([t, t]),
        lambda t: t.flatten(),
        lambda t: t.flip(0),
        lambda t: t * 2 + 1,
        lambda t: t.double() * float("nan"),
    ]
    arrays[name] = draw.choice(changes)(values).contiguous()
    save_file(arrays, path)
    return name


def _told(result: Any) -> Mapping[str, Any]:
    """Return what a result says of itself, JSON-ready."""
    summary = getattr(result, "summary", None)
    told = dict(summary()) if summary else {"labels": result.labels}
    arrays = {k: v.tolist() for k, v in vars(result).items() if isinstance(v, torch.Tensor)}
    return json.loads(json.dumps({**told, **arrays}, default=str))  # type: ignore[no-any-return]


def _same(expected: Mapping[str, Any], result: Any) -> bool:
    return json.dumps(_told(result)) == json.dumps(expected)


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[int], str]]:
    save_results(folder)
    expected = {kind: _told(latentlab.load(folder / kind)) for kind in KINDS}

    def draw_case(seed: int) -> str:
        draw, stem = random.Random(seed), KINDS[seed % 4]
        place = folder / "changed"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / stem, place)
        what = draw.choice((_change_number, _change_array))(place, stem, draw)
        read = partial(latentlab.load, place)
        return judge_reading(f"{stem}: {what}", read, partial(_same, expected[stem]))

    yield draw_case


CAMPAIGN = Drawn(
    name="run_facts",
    reads="numbers of pca.json and the like against the arrays beside them",
    holds=HOLDS,
    wanted=20_000,
    opened=_opened,
    unit="run folders",
    quick=16,
)
