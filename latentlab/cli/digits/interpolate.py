"""``latentlab digits interpolate``: from one latent to another, seen in the plane they span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.setting import data_of, record_command, results_folder

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.digits.folders import DigitsRun


def interpolate(
    context: typer.Context,
    run: digits_options.Run = None,
    start: Annotated[
        str | None,
        typer.Option(help="z_i: numbers with commas between, or a test picture's index."),
    ] = None,
    end: Annotated[str | None, typer.Option(help="z_e: likewise.")] = None,
    label: Annotated[int, typer.Option(help="Label that the decoder is told.")] = 4,
    path: Annotated[str, typer.Option(help="linear, slerp or both.")] = "both",
    steps: Annotated[int, typer.Option(help="Pictures on the way.")] = 24,
    fps: Annotated[float, typer.Option(help="Pictures a second.")] = 12,
    data: digits_options.RunData = None,
    seed: options.Seed = 0,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: bool = False,
) -> None:
    """Animate the way from z_i to z_e, and the digit decoded at every point of it.

    Without --start and --end both are drawn from the prior, by the seed.
    """
    from latentlab.digits.folders import load_run
    from latentlab.digits.interpolation import PATHS, InterpolationFilm
    from latentlab.digits.interpolation import interpolate as walk
    from latentlab.figures.animation import check_format, write_animation
    from latentlab.images.reading import save_png
    from latentlab.results.folders import write_json

    check_format(".gif", fps)
    loaded = load_run(run)
    first, last = _ends(loaded, start, end, data, seed, offline=offline, quiet=quiet)
    kinds = PATHS if path == "both" else (path,)
    paths = [walk(loaded.model, first, last, label=label, kind=kind, steps=steps) for kind in kinds]
    folder = results_folder(out, "interpolate")
    say(f"writing into {folder}", quiet=quiet)
    told = f", label {label}" if loaded.model.config.sees_label else ""
    film = InterpolationFilm(paths, loaded.codes, title=f"{loaded.name}{told}")
    frames = film.all()
    files = [
        write_animation(folder / "interpolation.gif", frames, fps=fps),
        save_png(folder / "interpolation.png", frames[len(frames) // 2]),
    ]
    facts: dict[str, Any] = {
        "run": str(run or "shipped"),
        "label": label,
        "steps": steps,
        "paths": [
            {"kind": found.kind, "norms": found.z.norm(dim=1).tolist(), "z": found.z.tolist()}
            for found in paths
        ],
    }
    files.append(write_json(folder / "interpolation.json", facts))
    files.append(record_command(folder, "interpolate", context.obj, seed=seed))
    facts |= {"out": str(folder), "files": [str(file) for file in files]}
    if json:
        print_json(facts)
    elif not quiet:
        for file in files:
            print(file)


def _ends(
    run: DigitsRun,
    start: str | None,
    end: str | None,
    data: str | None,
    seed: int,
    *,
    offline: bool,
    quiet: bool,
) -> tuple[Tensor, Tensor]:
    """Return z_i and z_e: given, encoded from test pictures, or drawn from the prior."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2, run.model.config.latent, generator=generator)
    if not run.model.config.is_variational and run.codes is not None:
        drawn = run.codes.mean.mean(0) + run.codes.mean.std(0) * drawn
    found = []
    for option, text, random in zip(("--start", "--end"), (start, end), drawn, strict=True):
        if text is None:
            found.append(random)
        elif text.isdecimal() and run.model.config.latent != 1:
            found.append(_encoded(run, option, int(text), data, offline=offline, quiet=quiet))
        else:
            found.append(torch.tensor(digits_options.parse_numbers(option, text)))
    return found[0], found[1]


def _encoded(
    run: DigitsRun, option: str, index: int, data: str | None, *, offline: bool, quiet: bool
) -> Tensor:
    from latentlab.digits.data import Digits
    from latentlab.digits.measure import encode_digits
    from latentlab.errors import UsageError

    test = data_of(run, data, offline=offline, quiet=quiet).test
    if index >= len(test):
        raise UsageError(f"{option} {index}", f"0 to {len(test) - 1}", "choose a test picture")
    one = Digits(test.pictures[index : index + 1], test.labels[index : index + 1])
    return encode_digits(run.model, one).mean[0]
