"""``latentlab digits interpolate``: from one latent to another, in the plane they span."""

from __future__ import annotations

from typing import Annotated

import typer

from latentlab.cli import options
from latentlab.cli.console import progress_bar, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.results import report, results_folder


def interpolate(
    context: typer.Context,
    run: digits_options.Run = None,
    start: Annotated[
        str | None,
        typer.Option(help="z_i: numbers separated by commas, or the index of a test image."),
    ] = None,
    end: Annotated[str | None, typer.Option(help="z_e, in the same form.")] = None,
    label: Annotated[int, typer.Option(help="Label for the decoder.")] = 4,
    path: Annotated[str, typer.Option(help="linear, slerp or both.")] = "both",
    steps: Annotated[int, typer.Option(help="Images along the path.")] = 24,
    fps: digits_options.Fps = 12,
    data: digits_options.RunData = None,
    seed: options.Seed = 0,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
) -> None:
    """Animate the path between two latents and its digits.

    Without --start and --end, both are drawn from the prior with --seed.
    """
    from latentlab.digits.films import save_paths
    from latentlab.digits.folders import load_run
    from latentlab.digits.interpolation import PATHS, choose_ends, decode_path
    from latentlab.figures.animation import check_format

    check_format(".gif", fps)
    loaded = load_run(run)
    latent = loaded.model.config.latent
    ends = [_parse_end(*given, latent) for given in (("--start", start), ("--end", end))]
    with progress_bar(quiet=quiet, in_bytes=True) as progress:
        first, last = choose_ends(
            loaded, *ends, seed=seed, data=data, offline=offline, progress=progress
        )
    # With a single latent there is no slerp: two latents are parallel or opposite.
    both = PATHS if latent > 1 else PATHS[:1]
    paths = [
        decode_path(loaded.model, first, last, label=label, kind=kind, steps=steps)
        for kind in (both if path == "both" else (path,))
    ]
    folder = results_folder(out, "interpolate")
    say(f"writing into {folder}", quiet=quiet)
    facts = save_paths(loaded, paths, folder, fps=fps)
    report(context, folder, facts, seed=seed)


def _parse_end(option: str, text: str | None, latent: int) -> tuple[float, ...] | int | None:
    """Return numbers, an index, or None; with a single latent, a whole number is the latent."""
    if text is None:
        return None
    if text.isdecimal() and latent > 1:
        return int(text)
    return digits_options.parse_numbers(option, text, float)
