"""``latentlab compare``: several models on the same images, with paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from latentlab.cli import options
from latentlab.cli.completion import model_names, names_of
from latentlab.cli.console import print_json, print_parts, progress_bar, say, table
from latentlab.cli.defaults import ChosenModel
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_source
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.metrics import (
    FeatureFile,
    Images,
    Labels,
    Only,
    ProtocolName,
    Size,
    chosen_protocol,
    given_things,
    left_out,
)
from latentlab.cli.options import Output
from latentlab.errors import UsageError, counted
from latentlab.measures import MEASURES


@dataclass(frozen=True)
class Machines(Machine):
    """Options for several models."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="NAME", autocompletion=names_of(model_names),
            help="A model to compare: name (see `latentlab models`), hub id, folder or file. "
            "Give it once for each model.",
        ),
    ] = None  # type: ignore[assignment]  # fmt: skip

    def load_all(self, *, quiet: bool) -> list[Any]:
        """Return the models, in their order."""
        names = self.model or []
        if len(names) < 2:
            raise UsageError(f"{len(names)} of --model", "at least two models", "pass -m A -m B")
        rest = {one.name: getattr(self, one.name) for one in fields(Machine) if one.name != "model"}
        one = Machine(**rest)
        return [one.load(ChosenModel(name, "--model"), quiet=quiet) for name in names]


@grouped
def compare(
    context: typer.Context,
    images: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A folder of images, with its subfolders, or a tar, zip or parquet file.",
        ),
    ],
    machine: Machines,
    output: Output,
    protocol: ProtocolName = "latentlab-256",
    only: Only = None,
    size: Size = None,
    samples: Images = 0,
    labels: Labels = None,
    features: FeatureFile = None,
    per_image: Annotated[
        Literal["csv", "parquet"], typer.Option(help="File format of the values of each image.")
    ] = "csv",
    figure_format: options.FigureFormat = "png",
) -> None:
    """Compare models on the same images, with paired differences.

    An interrupted run continues with the same --out.
    """
    check_source(images)
    names = options.parse_names("--only", only) or []
    for name in names:
        MEASURES.check(name)
    from latentlab.machine.files import check_folder
    from latentlab.recipes.contrasting import analyze_comparison
    from latentlab.recipes.evaluating import Question
    from latentlab.results.folders import RUNS_FOLDER

    question = Question(
        chosen_protocol(protocol, size),
        tuple(names),
        samples,
        given_things(labels=labels, features=features),
    )
    check_folder(output.out or RUNS_FOLDER)
    vaes = machine.load_all(quiet=output.quiet)
    with progress_bar(quiet=output.quiet, shorten="pass --samples 100 or --only") as progress:
        saved = analyze_comparison(
            vaes,
            images,
            question,
            folder=output.out,
            per_image=f".{per_image}",
            figure_format=figure_format,
            command_line=context.obj,
            say=partial(say, quiet=output.quiet),
            progress=progress,
        )
    for vae in vaes:
        say_tiling(vae, quiet=output.quiet)
    facts = saved.printed()
    if output.json:
        print_json(facts)
    elif not output.quiet:
        print_parts(summarize(facts))
        print(*facts["files"], sep="\n")


def summarize(facts: Mapping[str, Any]) -> list[Any]:
    """Return the table of all models, what is better, the protocol, and what was left out."""
    from latentlab.measures.tables import cell_of, footnotes

    models = facts["models"]
    rows = [
        (row["metric"], *(cell_of(row, model) for model in models), row["best"] or "")
        for row in facts["table"]
    ]
    last = len(models) + 1
    parts = [table(rows, ("metric", *models, "better"), left=(0, last)), *_differences(facts)]
    lines = [f"{one['model']}: {line}" for one in facts["skipped"] for line in left_out(one)]
    return [*parts, *footnotes(facts), *lines]


def _differences(facts: Mapping[str, Any]) -> list[Any]:
    """Return a table of the differences that cannot be chance."""
    rows = [
        (
            row["metric"],
            f"{one['first']} − {one['other']}",
            f"{one['value']:+.4g}",
            f"{one['low']:+.4g} to {one['high']:+.4g}",
        )
        for row in facts["table"]
        for one in row["differences"]
        if one["better"]
    ]
    headings = ("difference", "models", "value", "joint 95 % interval")
    return [table(rows, headings, left=(0, 1))] if rows else [_nothing_better(facts)]


def _nothing_better(facts: Mapping[str, Any]) -> str:
    """Return why no model is called better: no difference excludes 0, or none has an interval."""
    from latentlab.metrics.bootstrap import FEWEST

    differences = [one for row in facts["table"] for one in row["differences"]]
    if differences and all(one["low"] is None for one in differences):
        found = counted(facts["n_images"])
        return f"no difference has an interval: it takes {FEWEST} images, and these are {found}"
    return "no difference excludes 0: no model can be called better in any metric"
