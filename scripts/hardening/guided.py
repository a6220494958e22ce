"""``python scripts/hardening/guided.py NAME …``: one parser under atheris, in a process of its own.

Faults do not end it: each is counted by its signature, the first input of each is kept, and the
count of executions is written every second. It ends when its parent does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import atheris

# Coverage is that of Python code; C code such as Pillow's decoders is not seen. atheris takes whole
# packages, and torch and NumPy as a whole would take minutes.
with atheris.instrument_imports(include=["pickle", "tarfile", "tomllib"]):
    import pickle  # noqa: F401
    import tarfile  # noqa: F401
    import tomllib  # noqa: F401
import zipfile

import numpy as np
import torch
from torch import _weights_only_unpickler

FOLLOWED = ["PIL", "latentlab"]
with atheris.instrument_imports(include=FOLLOWED):
    from campaigns import Parser, campaign_of
    from mutating import change_json
    from probing import FaultError, limit_memory, probe

# Of what inputs are also written with, only what reads: following it twice halves the rate.
for place, names in (
    (np.lib.format, ("read_magic", "read_array_header_1_0")),
    (zipfile, ("_EndRecData", "_EndRecData64")),
    (zipfile.ZipFile, ("_RealGetContents", "open")),
    (zipfile.ZipInfo, ("_decodeExtra",)),
    (_weights_only_unpickler.Unpickler, ("load",)),
):
    for name in names:
        setattr(place, name, atheris.instrument_func(getattr(place, name)))


class Tally:
    """What happened so far, and when to stop."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.executions = 0
        self.ends: Counter[str] = Counter()
        self.faults: dict[str, str] = {}
        self.started = self.written = time.monotonic()
        self.parent = os.getppid()

    def add(self, word: str) -> None:
        """Count an execution that ended in this word; end the process when it was the last."""
        self.executions += 1
        self.ends[word] += 1
        now = time.monotonic()
        enough = self.executions >= self.options.executions
        late = now - self.started >= self.options.seconds
        if now - self.written > 1 and os.getppid() != self.parent:
            os._exit(1)  # nobody counts any more
        if enough or late or now - self.written > 1:
            self.write(now - self.started)
            self.written = now
        if enough or late:
            sys.stdout.flush()
            os._exit(0)

    def fault(self, fault: FaultError, content: bytes) -> None:
        """Keep the first input of a fault."""
        if fault.signature not in self.faults:
            self.faults[fault.signature] = fault.what
            mark = hashlib.sha256(fault.signature.encode()).hexdigest()[:12]
            kept = self.options.kept / f"{self.options.name}-{mark}"
            kept.write_bytes(content)
            print(f"{fault.signature}: {fault.what} ({kept})", flush=True)
        self.add("fault")

    def write(self, seconds: float) -> None:
        """Write the report."""
        facts = {"executions": self.executions, "seconds": seconds}
        text = json.dumps({**facts, "ends": self.ends, "faults": self.faults})
        unfinished = self.options.report.with_suffix(".part")
        unfinished.write_text(text)
        unfinished.replace(self.options.report)


def main() -> None:
    """Fuzz until the time or the executions are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    for name in ("corpus", "place", "report", "kept"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("executions", "seconds", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    inside = options.place / "inputs"
    for folder in (options.corpus, options.place, options.kept, inside):
        folder.mkdir(parents=True, exist_ok=True)
    # Most modules are imported where they are used: by the first inputs.
    with atheris.instrument_imports(include=FOLLOWED):
        campaign = campaign_of(options.name)
        assert isinstance(campaign, Parser)
        # Inputs of earlier faults are seeds too: no run forgets a fault that is still there.
        faults = [path for path in options.kept.glob(f"{options.name}-*") if path.is_file()]
        seeds = [*campaign.seeds(options.place / "seeds"), *(one.read_bytes() for one in faults)]
        for number, content in enumerate(seeds):
            (options.corpus / f"seed-{number:03d}").write_bytes(content)
            with suppress(Exception):
                campaign.read(content, inside)
    words = options.place / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in campaign.words))
    tally = Tally(options)

    def execute(content: bytes) -> None:
        try:
            word = probe(lambda: campaign.read(content, inside), inside)
        except FaultError as fault:
            tally.fault(fault, content)
        else:
            tally.add(word)

    limit_memory()
    # Each input has a timer of its own; atheris' would end a process that had to wait for a second.
    settings = ["-timeout=1000000", f"-seed={options.seed}", f"-max_len={campaign.longest}"]
    settings += [
        f"-artifact_prefix={options.kept}/",
        "-close_fd_mask=2",  # libtiff alone would fill a disk
        "-rss_limit_mb=0",
        "-print_final_stats=0",
        "-verbosity=0",
        f"-dict={words}",
    ]

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        changed = change_json(content, draw) if draw.random() < 0.5 else None
        if changed is None or len(changed) > most:
            return bytes(atheris.Mutate(content, most))
        return changed

    arguments = [sys.argv[0], *settings, str(options.corpus)]
    atheris.Setup(arguments, execute, custom_mutator=mutate)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
