"""Whole commands against the time of their encodes and decodes alone, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from measuring import time_in_turn, timed
from report import Options, Row, Say, Table, at_most, table_of
from smallest_bench import RUN, processor_seconds_of
from sources import BUILT_IN, IMAGE, model_of
from whole_bench import in_fresh_folder

from latentlab import LatentVAE
from latentlab.cli.main import run

STAGES = {
    "reading, first latent": "analysis.encode_fitting",
    "reconstruction": "analysis.reconstruct",
    "samples": "analysis.draw_samples",
    "components": "analysis.fit_pca",
    "controls": "analysis.draw_controls",
    "factors": "analysis.explain_factors",
    "nulls, verdict": "analysis._judge",
    "scores": "analysis.save_sample_scores",
    "figures, results": "analysis.save_pca",
    "walk, drift": "walking.walk_along",
    "random walks": "walking._with_random_walks",
    "animations, as far as not drawn beside random walks": "walking.save_traversal",
}
_PAIR, _COLD = "pca + traverse", "pca, new process"


def measure(options: Options, say: Say) -> list[Row]:
    """Return time and time of the model of both commands, and of a cold run of ``mini``."""
    source = model_of(options)
    source = str(Path(source).resolve()) if Path(source).exists() else source
    count, size = options.overhead_samples, options.size
    say(f"pca and traverse with {source}, {count} samples")
    walk = ["traverse", "--components", str(options.components), "--steps", str(options.steps)]
    in_fresh_folder(_measured, [_pca(source, 64, 8)])  # imports are a part of the fixed cost
    pair = in_fresh_folder(_measured, [_pca(source, size, count), [*walk, "-q"]])
    say("pca with mini in a new process")
    command = _pca(BUILT_IN, size, count)
    alone = in_fresh_folder(_measured, [command])
    lines = {"cold": command, "fixed": RUN}
    jobs = {
        name: partial(processor_seconds_of, ["-m", "latentlab", *line])
        for name, line in lines.items()
    }
    cold = time_in_turn(jobs, options.rounds)
    return [
        {"what": _PAIR, "samples": count, "size": size, "fixed": 0.0, **pair},
        {
            "what": _COLD,
            "samples": count,
            "size": size,
            "stages": [],
            "seconds": cold["cold"].median,
            "fixed": cold["fixed"].median,
            "model_seconds": alone["model_seconds"],
        },
    ]


def _pca(source: str, size: int, samples: int) -> list[str]:
    return ["pca", IMAGE, "-m", source, "--size", str(size), "-n", str(samples), "-q"]


def _measured(commands: Sequence[Sequence[str]]) -> Row:
    """Return the seconds of commands in this process, those of the model, and each stage's."""
    clock = _Clock()
    with clock.watching():
        seconds, codes = timed(lambda: [run(command) for command in commands])
    if any(codes):
        raise RuntimeError(f"latentlab failed with codes {codes}")
    stages = [
        {"stage": stage, "seconds": whole, "model_seconds": inside}
        for stage, (whole, inside) in clock.stages.items()
    ]
    rest = seconds - sum(stage["seconds"] for stage in stages)
    inside = clock.model - sum(stage["model_seconds"] for stage in stages)
    stages.append({"stage": "loading and the rest", "seconds": rest, "model_seconds": inside})
    return {"seconds": seconds, "model_seconds": clock.model, "stages": stages}


class _Clock:
    """Seconds in the model, and in each stage with those that its model took."""

    def __init__(self) -> None:
        self.model = 0.0
        self.depth = 0
        self.stages: dict[str, tuple[float, float]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            for half in ("encode", "decode"):
                watched = self._of_model(getattr(LatentVAE, half))
                stack.enter_context(mock.patch.object(LatentVAE, half, watched))
            for stage, place in STAGES.items():
                room, name = place.split(".")
                module = import_module(f"latentlab.recipes.{room}")
                watched = self._of_stage(stage, getattr(module, name))
                stack.enter_context(mock.patch.object(module, name, watched))
            yield

    def _of_model(self, half: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(half)
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            self.depth += 1
            try:
                return half(*arguments, **options)
            finally:
                self.depth -= 1
                if not self.depth:  # one half may call the other, or itself
                    self.model += time.perf_counter() - start

        return call

    def _of_stage(self, stage: str, step: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(step)
        def call(*arguments: Any, **options: Any) -> Any:
            before = self.model
            seconds, result = timed(partial(step, *arguments, **options))
            earlier = self.stages.get(stage, (0.0, 0.0))
            self.stages[stage] = (earlier[0] + seconds, earlier[1] + self.model - before)
            return result

        return call


def targets(rows: Sequence[Row]) -> list[Row]:
    pair, cold = rows
    most = 1.3 * cold["model_seconds"] + cold["fixed"]
    what = "time / encodes and decodes alone"
    return [
        at_most(f"{_PAIR}, {what}", pair["seconds"] / pair["model_seconds"], 1.12),
        at_most("cold pca on mini / (1.3 × its model + the fixed cost)", cold["seconds"] / most, 1),
    ]


def tables(rows: Sequence[Row]) -> list[Table]:
    whole = table_of(
        "Whole commands and their model",
        rows,
        ("what", "{what}, {size} px, {samples} samples"),
        ("seconds", "{seconds:.1f}"),
        ("of the model", "{model_seconds:.1f}"),
        ("fixed", "{fixed:.1f}"),
    )
    stages = table_of(
        f"Stages of {_PAIR}",
        rows[0]["stages"],
        ("stage", "{stage}"),
        ("seconds", "{seconds:.2f}"),
        ("of the model", "{model_seconds:.2f}"),
        ("beside it", lambda row: f"{row['seconds'] - row['model_seconds']:.2f}"),
    )
    return [whole, stages]
