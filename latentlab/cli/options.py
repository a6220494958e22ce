"""Options that several commands share, and how their text is parsed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from latentlab.cli.completion import names_of
from latentlab.cli.console import print_json, print_parts, say, styled
from latentlab.directions import FINDERS
from latentlab.errors import UsageError
from latentlab.images.fit import AUTO, NATIVE
from latentlab.neighborhoods import DEFAULT_NEIGHBORHOOD, SAMPLERS

if TYPE_CHECKING:
    from latentlab.recipes.sampling import SamplingPlan

OUT = ("--out", "--output", "-o")
"""Names of the option that says where results go."""

Size = Annotated[
    str,
    typer.Option(
        metavar="PIXELS",
        help="Center-crop to a square and resize to PIXELS, such as 256; or native, to keep its "
        "size. Default: keep its shape, but shrink it if a side is above 384 (1024 on a GPU).",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of all random numbers.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no messages.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps …")]
_FigureFormats = Literal["png", "pdf", "svg"]
FigureFormat = Annotated[
    _FigureFormats,
    typer.Option(
        "--figure-format", "--format", help="File format of the figures; sheets stay png."
    ),
]
FigureFormatBesideAnimations = Annotated[
    _FigureFormats,
    typer.Option(
        help="File format of the figures; sheets stay png, and --format is for animations."
    ),
]
FinderName = Annotated[str, typer.Option(autocompletion=names_of(FINDERS.names), help="{finders}.")]
Features = Annotated[
    str | None,
    typer.Option(help="Features in which the finder jacobian measures change: {features}."),
]


@dataclass(frozen=True)
class Animation:
    """How animations are written."""

    format: Annotated[
        Literal["gif", "webp", "apng", "mp4"], typer.Option(help="File format of the animations.")
    ] = "gif"
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 12
    loop: Annotated[bool, typer.Option(help="Play back and forth forever, or once.")] = True
    frame_size: Annotated[
        str,
        typer.Option(
            metavar="PIXELS",
            help="Longest side of a frame; larger frames are shrunk. native keeps their size.",
        ),
    ] = "512"

    def checked(self) -> dict[str, Any]:
        """Return suffix, fps, loop and longest; UsageError if they are invalid."""
        from latentlab.figures.animation import check_format

        suffix = f".{self.format}"
        check_format(suffix, self.fps)
        longest = parse_size(self.frame_size)
        if longest != NATIVE and not (isinstance(longest, int) and longest > 0):
            raise UsageError(
                f"--frame-size {self.frame_size}",
                "a number of pixels or native",
                "write --frame-size 512",
            )
        how = {"suffix": suffix, "fps": self.fps, "loop": self.loop}
        return {**how, "longest": None if longest == NATIVE else longest}


@dataclass(frozen=True)
class Output:
    """Where results go, and what is printed."""

    out: Annotated[
        Path | None,
        typer.Option(
            *OUT, help="Folder for the results. Default: latentlab-runs/<image>-<model>-<n>."
        ),
    ] = None
    json: Json = False
    quiet: Quiet = False

    def show(
        self, facts: Mapping[str, Any], summarize: Callable[[Mapping[str, Any]], Sequence[Any]]
    ) -> None:
        """Print a result: as JSON, or its title, summary and files, or nothing when quiet."""
        if self.json:
            print_json(facts)
        elif not self.quiet:
            print_parts([styled(facts["title"], "bold"), *summarize(facts)])
            print(*facts["files"], sep="\n")


@dataclass(frozen=True)
class Samples:
    """What is sampled around an image."""

    size: Size = AUTO
    neighborhood: Annotated[
        str,
        typer.Option(
            *("--neighborhood", "-k"),
            autocompletion=names_of(SAMPLERS.names),
            help="{neighborhoods}.",
        ),
    ] = DEFAULT_NEIGHBORHOOD
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", "-n", help="Number of samples. Default: 256, or every token or patch."
        ),
    ] = None
    region: Annotated[
        str | None, typer.Option(help="Analyze only this part of the image: x,y,width,height.")
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the neighborhood or the finder, NAME=VALUE, such as rotation=20.",
        ),
    ] = None
    seed: Seed = 0

    def plan(self, dtype: str = "auto") -> SamplingPlan:
        """Return these options, parsed; UsageError, before torch is imported, if they cannot be."""
        parse_size(self.size)
        SAMPLERS.check(self.neighborhood)
        region, options = parse_region(self.region), parse_settings(self.settings)
        from latentlab.recipes.sampling import SamplingPlan

        return SamplingPlan(self.neighborhood, self.samples, region, options, self.seed, dtype)


def say_sheet_stays_png(figure_format: str, *, quiet: bool) -> None:
    """Say that a command which draws nothing but a sheet has no figure in another format."""
    if figure_format != "png":
        say(
            f"no figure to write as {figure_format}: the sheet is made of pixels and stays png",
            quiet=quiet,
        )


def given_options(context: typer.Context, names: Collection[str]) -> list[str]:
    """Return those of the parameters named that the command line sets, as options: ``--size``."""
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]


def parse_size(size: str) -> Any:
    """Return ``--size`` as a number of pixels, (height, width) for WIDTHxHEIGHT, or a word.

    Raises
    ------
    UsageError : neither a number nor native.
    """
    if size in (AUTO, NATIVE):
        return size
    sides = size.lower().replace("×", "x").removesuffix("px").split("x")
    if len(sides) <= 2 and all(re.fullmatch(r"\s*-?\d{1,9}\s*", side) for side in sides):
        numbers = [int(side) for side in sides]
        if min(numbers) > 0:
            return numbers[0] if len(numbers) == 1 else (numbers[1], numbers[0])
    raise UsageError(
        f"--size {size}",
        "a positive number of pixels, or native",
        "write --size 256, or --size native",
    )


def parse_names(option: str, text: str | None) -> list[str] | None:
    """Return the names in a comma-separated option; [] for none, None if it was not given.

    Raises
    ------
    UsageError : no name at all.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{option} {text!r}", "names, or none", f"write {option} none")
    return [] if names == ["none"] else names


def parse_region(region: str | None) -> tuple[int, int, int, int] | None:
    """Return x, y, width and height of ``--region``.

    Raises
    ------
    UsageError : not four whole numbers.
    """
    if region is None:
        return None
    try:
        x, y, width, height = (int(part) for part in region.split(","))
    except ValueError as error:
        raise UsageError(
            f"--region {region}", "four whole numbers", "write --region x,y,width,height"
        ) from error
    return x, y, width, height


def parse_settings(settings: list[str] | None) -> dict[str, str]:
    """Return name → value of every ``--set NAME=VALUE``.

    Raises
    ------
    UsageError : an entry without ``=``.
    """
    pairs = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}", "NAME=VALUE", "write it as --set rotation=20")
        pairs[name.strip()] = value.strip()
    return pairs
