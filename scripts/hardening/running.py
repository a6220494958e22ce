"""Campaigns are run, and what they found is kept in one file each and added to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
from campaigns import Campaign, Drawn, Measured, Parser
from mutating import mutated
from probing import FaultError, probe

from latentlab.machine.files import write_bytes

CACHE = Path(tempfile.gettempdir()) / "latentlab-hardening"
"""What is kept between runs outside of the repository: corpora, checkpoints, inputs of faults."""
QUICK = 300
"""Executions over a parser in the quick form."""
FAULTS = "faults"
"""Folder of the cache where the first input of each fault is kept."""
CHECKPOINT = 20.0
"""Seconds after which a running campaign writes its counts, which count even if it is killed."""
NEEDS = (
    "atheris is missing, which guides the full form over parsers. It is no dependency of "
    "latentlab: pip install atheris, into an environment with latentlab, or pass --quick for plain "
    "mutation."
)
_STALLED = 60.0
"""Seconds of a processor without an execution after which a reader hangs where no alarm reaches."""
_PATIENCE = 7200.0
"""The same on the clock, for one that hangs asleep: a busy machine lets others go first."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long a campaign runs.

    Parameters
    ----------
    cases : int, most executions or cases in all, those of earlier runs included
    seconds : float, most seconds of this run
    seed : int, of this run; cases of a drawn campaign count up from it
    guided : bool, whether atheris guides parsers
    """

    cases: int
    seconds: float
    seed: int
    guided: bool


def read(name: str, folder: Path | None) -> Measured:
    """Return what a campaign found in earlier runs; nothing if there were none."""
    path = None if folder is None else folder / f"{name}.json"
    if path is None or not path.exists():
        return Measured()
    facts = json.loads(path.read_text())
    return Measured(**{**facts, "ends": Counter(facts["ends"])})


def write(name: str, found: Measured, folder: Path) -> None:
    """Write what a campaign found, complete or not at all."""
    text = json.dumps(vars(found), indent=1, sort_keys=True)
    write_bytes(folder / f"{name}.json", f"{text}\n".encode())


def measure(
    campaign: Campaign, results: Path | None, effort: Effort, cache: Path, *, say: Say = print
) -> Measured:
    """Return what a campaign found, earlier runs included.

    Parameters
    ----------
    campaign : Campaign
    results : folder of results, which are added to every :data:`CHECKPOINT` seconds; None writes
        nothing
    effort : Effort
    cache : folder where a corpus and inputs that show a fault are kept
    """
    before = read(campaign.name, results)
    if before.executions >= effort.cases:
        say(f"{campaign.name}: {before.executions:,} {campaign.unit} already")
        return before
    found = replace(before, ends=Counter(before.ends), faults={})
    found.date, found.seed = date.today().isoformat(), effort.seed
    checkpoint = _Checkpoint(campaign.name, results)
    with _workplace() as place:
        if isinstance(campaign, Drawn):
            _draw(campaign, found, effort, place, checkpoint, say)
        elif effort.guided:
            _guide(campaign, found, effort, place, cache, checkpoint, say)
        else:
            _mutate(campaign, found, effort, place, cache, checkpoint, say)
    if results is not None:
        write(campaign.name, found, results)
    return found


class _Checkpoint:
    """Writes what a running campaign has found so far, now and then."""

    def __init__(self, name: str, results: Path | None) -> None:
        self.name, self.results = name, results
        self.written = time.monotonic()

    def __call__(self, found: Measured) -> None:
        now = time.monotonic()
        if self.results is not None and now - self.written >= CHECKPOINT:
            write(self.name, found, self.results)
            self.written = now


def furthest(name: str, results: Path | None, checkpoints: Path | None) -> Measured:
    """Return what a campaign found, from the folder that has more executions of it."""
    one, other = read(name, results), read(name, checkpoints)
    return other if other.executions > one.executions else one


@contextmanager
def _workplace() -> Iterator[Path]:
    """Yield an empty folder, in memory where there is such a disk."""
    shared = Path("/dev/shm")
    parent = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    place = Path(tempfile.mkdtemp(prefix="latentlab-hardening-", dir=parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _draw(
    campaign: Drawn,
    found: Measured,
    effort: Effort,
    place: Path,
    checkpoint: _Checkpoint,
    say: Say,
) -> None:
    found.how = "drawn"
    start = time.monotonic()
    earlier = found.seconds
    with campaign.opened(place) as draw:
        for number in range(found.executions, effort.cases):
            if time.monotonic() - start > effort.seconds:
                break
            seed = effort.seed + number
            try:
                word = probe(partial(draw, seed), place, campaign.seconds, starts=campaign.starts)
            except FaultError as fault:
                word = "fault"
                if fault.signature not in found.faults:
                    found.faults[fault.signature] = f"seed {seed}: {fault.what}"
                    say(f"{campaign.name}: {fault.signature}: seed {seed}: {fault.what}")
            found.ends[word] += 1
            found.executions += 1
            found.seconds = earlier + time.monotonic() - start
            checkpoint(found)
    say(f"{campaign.name}: {found.executions:,} {campaign.unit}, {len(found.faults)} faults")


def _mutate(
    campaign: Parser,
    found: Measured,
    effort: Effort,
    place: Path,
    cache: Path,
    checkpoint: _Checkpoint,
    say: Say,
) -> None:
    found.how = "mutated"
    start, earlier = time.monotonic(), found.seconds
    seeds = campaign.seeds(place / "seeds")
    inside = place / "inputs"
    inside.mkdir()
    for number in range(found.executions, effort.cases):
        if time.monotonic() - start > effort.seconds:
            break
        content = mutated(seeds, number + effort.seed, campaign.words, campaign.longest)
        try:
            word = probe(partial(campaign.read, content, inside), inside)
        except FaultError as fault:
            word = "fault"
            if fault.signature not in found.faults:
                found.faults[fault.signature] = fault.what
                say(f"{campaign.name}: {fault.signature}: {fault.what}")
                write_bytes(cache / FAULTS / f"{campaign.name}-{len(found.faults)}", content)
        found.ends[word] += 1
        found.executions += 1
        found.seconds = earlier + time.monotonic() - start
        checkpoint(found)


def _guide(
    campaign: Parser,
    found: Measured,
    effort: Effort,
    place: Path,
    cache: Path,
    checkpoint: _Checkpoint,
    say: Say,
) -> None:
    """Run atheris in a child; start it again if a reader ends or stalls it, which is a fault."""
    if find_spec("atheris") is None:
        raise SystemExit(NEEDS)
    found.how = "guided"
    kept, report = cache / FAULTS, place / "report.json"
    begun, deadline = found.executions, time.monotonic() + effort.seconds
    while found.executions < effort.cases and time.monotonic() + 5 < deadline:
        report.unlink(missing_ok=True)
        numbers = {
            "executions": effort.cases - found.executions,
            "seconds": int(deadline - time.monotonic()),
            "seed": effort.seed + found.executions - begun + 1,
        }
        corpus = cache / campaign.name
        folders = {"corpus": corpus, "place": place / "child", "report": report, "kept": kept}
        words = [str(word) for k, v in {**numbers, **folders}.items() for word in (f"--{k}", v)]
        script = Path(__file__).with_name("guided.py")
        child = subprocess.Popen([sys.executable, str(script), campaign.name, *words])
        earlier = replace(found)
        ended = _wait(child, report, earlier, checkpoint)
        vars(found).update(vars(_with_report(earlier, report)))
        if ended != 0:
            signature = f"the process ended with {ended}" if ended else "a reader hangs in C"
            found.faults[signature] = f"see the last input in {kept}"
            _keep_last(place / "child" / "inputs", kept / f"{campaign.name}-last")
            say(f"{campaign.name}: {signature}")
        if found.executions == earlier.executions:
            break
    say(f"{campaign.name}: {found.executions:,} executions, {len(found.faults)} faults")


def _with_report(before: Measured, report: Path) -> Measured:
    """Return what was found before and what a child reports so far."""
    facts = json.loads(report.read_text()) if report.exists() else {}
    return replace(
        before,
        executions=before.executions + facts.get("executions", 0),
        seconds=before.seconds + facts.get("seconds", 0.0),
        ends=before.ends + Counter(facts.get("ends", {})),
        faults={**before.faults, **facts.get("faults", {})},
    )


def _wait(
    child: subprocess.Popen[bytes], report: Path, before: Measured, checkpoint: _Checkpoint
) -> int | None:
    """Return the exit code of a child; None if it stalled and was ended."""
    written, busy, since = 0.0, 0.0, time.monotonic()
    while True:
        try:
            return child.wait(1)
        except subprocess.TimeoutExpired:
            checkpoint(_with_report(before, report))
        times = psutil.Process(child.pid).cpu_times()
        spent = times.user + times.system
        last = report.stat().st_mtime if report.exists() else 0.0
        # Without a report yet, it is importing.
        if last != written or not last:
            written, busy, since = last, spent, time.monotonic()
        elif spent - busy > _STALLED or time.monotonic() - since > _PATIENCE:
            child.kill()
            child.wait()
            return None


def _keep_last(inputs: Path, kept: Path) -> None:
    if inputs.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(inputs, kept, symlinks=True)
