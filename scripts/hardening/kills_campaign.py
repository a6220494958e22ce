"""``encode`` and ``store import`` killed at random instants and resumed: the same bytes.

Every case is one store that is begun, killed some times and resumed until it is whole. A process
that has imported everything forks the runs, so that a thousand kills take minutes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from campaigns import Drawn
from PIL import Image
from probing import FaultError

from latentlab.loaders.load import load_vae
from latentlab.store.filling import encode_folder
from latentlab.store.foreign import open_latents
from latentlab.store.importing import import_latents
from latentlab.store.opening import MANIFEST
from latentlab.store.verification import verify_store

_IMAGES, _MOST = 24, 3
"""Images of a store, and kills of one store; the next run ends it."""


def _run(job: Callable[[], Any], seconds: float | None) -> bool:
    """Run a job in a child, kill it after some seconds, and return whether it had ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            torch.set_num_threads(1)
            warnings.simplefilter("error")  # there is a warning if a shard is computed again
            warnings.filterwarnings("ignore", r"removed \.")  # what a killed import left
            job()
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended not in (0, -signal.SIGKILL):
        raise FaultError("a resumed run fails", "encode or import", f"exit {ended}")
    return ended == 0


def _contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[int], str]]:
    images = folder / "images"
    images.mkdir()
    for number in range(_IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 24, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number:02d}.png")
    (images / "broken.png").write_bytes(b"\x89PNG")
    latents = np.random.default_rng(0).normal(size=(90, 4, 8, 8)).astype(np.float32)
    np.save(folder / "latents.npy", latents)
    vae = load_vae("linear")
    how: dict[str, Any] = {"size": 16, "per_shard": 3, "workers": 0, "threads": 1}

    def encode(out: Path) -> None:
        encode_folder(vae, images, out, **how)

    def take(out: Path) -> None:
        if out.exists():  # killed after its last step: it is refused, and was whole
            return
        import_latents(open_latents(folder / "latents.npy", space="model"), out, per_shard=9)

    whole, length = {}, {}
    for name, job in (("encode", encode), ("import", take)):
        job(folder / f"warm-{name}")
        started = time.monotonic()
        _run(partial(job, folder / name), None)
        length[name], whole[name] = time.monotonic() - started, _contents(folder / name)

    def draw(seed: int) -> str:
        name, random_time = ("encode", "import")[seed % 2], random.Random(seed)
        job, place = (encode, take)[seed % 2], folder / "places"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        out = place / "store"
        kills = 0
        while kills < _MOST and not _run(
            partial(job, out), random_time.uniform(0, 1.1 * length[name])
        ):
            kills += 1
        if kills == _MOST:
            _run(partial(job, out), None)
        _check(out, whole[name], name, place)
        return f"{name}, {kills} kills"

    yield draw


def _check(out: Path, whole: dict[str, bytes], name: str, place: Path) -> None:
    found = _contents(out)
    facts, expected = (json.loads(of.get(MANIFEST, b"{}")) for of in (found, whole))
    if facts | {"removed": []} == expected | {"removed": []}:
        found[MANIFEST] = whole[MANIFEST]  # it may name what killed imports left
    if found != whole:
        names = sorted(k for k in found.keys() | whole.keys() if found.get(k) != whole.get(k))
        raise FaultError("other bytes", name, ", ".join(names)[:300])
    if verify_store(out).count:
        raise FaultError("a store that is not whole", name, verify_store(out).problems[0])
    if left := sorted(path.name for path in place.iterdir() if path != out):
        raise FaultError("something is left", name, ", ".join(left)[:300])


CAMPAIGN = Drawn(
    name="kills",
    reads="encode and store import, killed up to three times at random instants and resumed",
    holds="the bytes of a run that was not killed but for the names of removed leftovers, every "
    "checksum right, nothing left beside it",
    wanted=700,
    opened=_opened,
    unit="stores",
    quick=6,
)
