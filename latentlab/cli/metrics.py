"""``latentlab metrics``: what a model loses and what its latents are like, under a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from latentlab.cli import options
from latentlab.cli.codes import SPRITES, measure_codes_of, measure_factors_of
from latentlab.cli.completion import names_of
from latentlab.cli.console import print_json, print_parts, progress_bar, say, shown, table
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_source
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output
from latentlab.errors import UsageError, counted
from latentlab.images.examples import PREFIX
from latentlab.measures import MEASURES

ProtocolName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="latentlab-256, imagenet-256-adm, coco-256, native, or a .toml file.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        autocompletion=names_of(MEASURES.names),
        help="Compute these alone, separated by commas: {metrics}.",
    ),
]
Images = Annotated[
    int, typer.Option("--samples", "-n", min=0, help="Measure the first so many images; 0 for all.")
]
Size = Annotated[
    int | None,
    typer.Option(min=8, metavar="PIXELS", help="Change the size of the protocol, and its name."),
]

_OF_FOLDERS = ("protocol", "labels", "features", "spread")
_OF_FACTORS = ("codes", "size", "samples")
_OF_MODELS = ("model", "device", "dtype", "tile", "compiled")

Labels = Annotated[
    str | None,
    typer.Option(help="Classes of the images: folders, or a CSV file with columns path, label."),
]
FeatureFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A TorchScript or ONNX file, images in [-1, 1] to features (n, d), in which sets of "
        "images are compared.",
    ),
]


@grouped
def metrics(
    context: typer.Context,
    images: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|IMAGE|sprites|CODES.npz",
            help="A folder of images, with its subfolders, or a tar, zip or parquet file. "
            "Disentanglement is measured of an IMAGE that is changed in known ways, of `sprites`, "
            "which are drawn, and of an .npz file with codes (N, L) and factors (N, K).",
        ),
    ],
    machine: Machine,
    output: Output,
    protocol: ProtocolName = "latentlab-256",
    only: Only = None,
    size: Size = None,
    samples: Images = 0,
    labels: Labels = None,
    features: FeatureFile = None,
    codes: Annotated[
        Literal["components", "channels"],
        typer.Option(
            help="Codes of IMAGE and sprites: ten leading components of their latents, or the mean "
            "of each channel."
        ),
    ] = "components",
    spread: Annotated[
        bool,
        typer.Option("--spread", help="Also show PSNR and SSIM under the other protocols."),
    ] = False,
) -> None:
    """Measure what a model loses, and what its latents are like.

    The images of a folder are cropped and compared as a protocol says. An interrupted run
    continues with the same --out.
    """
    names = options.parse_names("--only", only) or []
    if images.suffix == ".npz":
        _refuse_options(context, (*_OF_FOLDERS, *_OF_FACTORS, *_OF_MODELS), "codes in a file")
        measure_codes_of(context, images, names, output)
        return
    if has_factors(images):
        _refuse_options(context, _OF_FOLDERS, "images that are changed in known ways")
        how: dict[str, Any] = {"codes": codes, "only": names, "n_samples": samples, "size": size}
        measure_factors_of(context, str(images), machine, output, **how)
        return
    _refuse_options(context, ("codes",), "a folder")
    check_source(images)
    from latentlab.machine.files import check_folder
    from latentlab.recipes.evaluating import Question, analyze_metrics
    from latentlab.results.folders import RUNS_FOLDER

    question = Question(
        chosen_protocol(protocol, size),
        tuple(names),
        samples,
        given_things(labels=labels, features=features),
    )
    for name in names:
        MEASURES.check(name)
    check_folder(output.out or RUNS_FOLDER)
    vae = machine.load(quiet=output.quiet)
    tell = partial(say, quiet=output.quiet)
    with progress_bar(quiet=output.quiet, shorten="pass --samples 100 or --only") as progress:
        saved = analyze_metrics(
            vae,
            images,
            question,
            with_spread=spread,
            folder=output.out,
            command_line=context.obj,
            say=tell,
            progress=progress,
        )
    say_tiling(vae, quiet=output.quiet)
    facts = saved.printed()
    if output.json:
        print_json(facts)
    elif not output.quiet:
        print_parts(summarize(facts))
        print(*facts["files"], sep="\n")


def _refuse_options(context: typer.Context, names: tuple[str, ...], subject: str) -> None:
    """Raise UsageError for options that would have no effect on the subject."""
    if wrong := ", ".join(options.given_options(context, names)):
        raise UsageError(
            f"{wrong} with {subject}, where it has no effect",
            f"none of {wrong}",
            f"leave {wrong} out",
        )


def has_factors(subject: Path) -> bool:
    """Return whether the subject is one image or the word sprites, whose factors are known."""
    if str(subject).startswith(PREFIX) or (str(subject) == SPRITES and not subject.exists()):
        return True
    from latentlab.images.formats import head_of_file, is_image

    return subject.is_file() and is_image(subject, partial(head_of_file, subject))


def given_things(**things: str | None) -> dict[str, dict[str, str]]:
    """Return name of a metric → what it is given by options of the command."""
    return {
        name: {thing: value}
        for thing, value in things.items()
        if value is not None
        for name, kind in MEASURES.classes().items()
        if thing in kind.needs
    }


def chosen_protocol(name: str, size: int | None) -> Any:
    """Return a protocol by name or file, at another size if one is given."""
    from latentlab.measures.protocols import find_protocol

    found = find_protocol(name)
    return found if size is None else found.sized(size)


def summarize(facts: Mapping[str, Any]) -> list[Any]:
    """Return the table of all values, the protocol, and what was left out."""
    rows = [
        (name, *interval_cells(value), f"{value['n']:,}", value["note"])
        for name, value in facts["metrics"].items()
    ]
    parts = [
        f"{facts['model']}, {counted(facts['n_images'])}",
        table(rows, ("metric", "value", "95 % interval", "images", ""), left=(0, 4)),
        describe_protocol(facts["protocol"]),
    ]
    if "spread" in facts:
        parts.append(_spread_table(facts["spread"]))
    return [*parts, *left_out(facts["skipped"])]


def interval_cells(value: Mapping[str, Any]) -> tuple[str, str]:
    """Return the cells of a value and of its interval."""
    low, high = value["low"], value["high"]
    known = low is not None and high is not None
    number = None if value["value"] is None or isnan(value["value"]) else value["value"]
    return shown(number, ".4g"), f"{low:.4g} to {high:.4g}" if known else "–"


def describe_protocol(facts: Mapping[str, Any]) -> str:
    """Return a protocol in words, as it is printed below every table."""
    from latentlab.measures.protocols import Protocol

    return f"protocol {Protocol(**facts).describe()}"


def left_out(skipped: Mapping[str, Any]) -> list[str]:
    """Return lines on the images and metrics that were left out."""
    lines = [f"left out {name}: {reason}" for name, reason in skipped["metrics"].items()]
    images = skipped["images"]
    shown_first = [f"skipped {path}: {reason}" for path, reason in [*images.items()][:3]]
    if len(images) > 3:
        shown_first.append(f"skipped {counted(len(images) - 3)} more, see metrics.json")
    return [*lines, *shown_first]


def _spread_table(rows: Mapping[str, Any]) -> Any:
    cells = [
        (
            name,
            *(shown(row[kind]["value"], form) if kind in row else "–" for kind, form in _KINDS),
            row.get("note", ""),
        )
        for name, row in rows.items()
    ]
    return table(cells, ("the same images under", "PSNR", "SSIM", ""), left=(0, 3))


_KINDS = (("psnr", ".2f"), ("ssim", ".3f"))
