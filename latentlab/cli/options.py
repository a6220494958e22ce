"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentlab.errors import UsageError

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m",
        help="Name (see `latentlab models`), hub id, folder or file; else LATENTLAB_MODEL, "
        "[tool.latentlab] in pyproject.toml, the default.",
    ),
]  # fmt: skip
Size = Annotated[
    int | None,
    typer.Option(help="Centre-crop to a square and resize to SIZE pixels; without it, as it is."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps …")]
Dtype = Annotated[
    str,
    typer.Option(
        help="float32, float64, bfloat16, float16, or auto: bfloat16 where it is native and does "
        "not show."
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**63 - 1, help="Seed of everything that is drawn at random.")
]
Tile = Annotated[
    int | None,
    typer.Option(
        min=128, metavar="PIXELS",
        help="Encode and decode in tiles of PIXELS, such as 512, where a picture does not fit; "
        "changes results, and says by how much.",
    ),
]  # fmt: skip
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the model first, which takes a minute or two. Pays on no CPU measured (taef2 "
        "1.0 to 1.1 times as fast, mini 0.8 to 1.3); on CUDA, with CUDA graphs, not measured.",
    ),
]  # fmt: skip
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the results; by default latentlab-runs/<picture>-<model>-<n>."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no messages.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
NeighborhoodName = Annotated[
    str,
    typer.Option(
        "--neighborhood", "-k",
        help="augment, posterior, gaussian, reencode, tokens, patches, crops, knn or frames.",
    ),
]  # fmt: skip
Samples = Annotated[
    int | None,
    typer.Option("--samples", "-n", help="How many samples; 256, or every token or patch."),
]
Region = Annotated[
    str | None, typer.Option(help="Analyse only this part of the picture: x,y,width,height.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the neighborhood, NAME=VALUE, such as rotation=20."),
]
FinderName = Annotated[
    str,
    typer.Option(
        help="pca, jacobian, ica, sparse-pca, random, supervised or difference.",
    ),
]
FinderSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting of the finder or the neighborhood, NAME=VALUE, such as other=B.jpg.",
    ),
]
Features = Annotated[
    str | None,
    typer.Option(help="Where jacobian measures change: identity, blurred or laplacian."),
]
Nulls = Annotated[
    str | None,
    typer.Option(
        help="What chance would give: parallel, signflip, stationary, several with commas, or "
        "none; by default parallel where it is quick.",
    ),
]


def parse_nulls(nulls: str | None) -> list[str] | None:
    """Return the names in ``--nulls``; an empty list for none, None where it was not given.

    Raises
    ------
    UsageError : a name that no null has.
    """
    if nulls is None:
        return None
    from latentlab.chance.nulls import null_model

    names = [name.strip() for name in nulls.split(",") if name.strip()]
    if names == ["none"]:
        return []
    if not names:
        raise UsageError(f"--nulls {nulls!r}", "names, or none", "write --nulls parallel")
    return [null_model(name).name for name in names]


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
            raise UsageError(f"--set {setting}", "NAME=VALUE", "write, say, --set rotation=20")
        pairs[name.strip()] = value.strip()
    return pairs
