"""Where a walk begins: at an earlier run, or at one that is made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.cli import finding
from latentlab.cli.analysis import Request, analyse, check
from latentlab.cli.console import progress_bar, say
from latentlab.cli.defaults import ChosenModel
from latentlab.cli.machine import Machine
from latentlab.errors import FileError

if TYPE_CHECKING:
    from latentlab.components.pca import PCA
    from latentlab.latents import Directions, Latent
    from latentlab.loaders import LatentVAE


@dataclass(frozen=True)
class Start:
    """Where a walk begins: the model, a latent, what to walk along, where the results go.

    ``input`` is what an earlier run says of its picture, which the latent does not bring along.
    """

    vae: LatentVAE
    latent: Latent
    found: PCA | Directions
    folder: Path
    dtype: str = "auto"
    input: Mapping[str, Any] | None = None


def resume(run: Path | None, out: Path | None, machine: Machine) -> Start:
    """Return the start that an earlier run wrote down."""
    from latentlab.results.directions import FACTS, load_directions
    from latentlab.results.folders import check_folder, load_pca
    from latentlab.results.provenance import asked_dtype, recorded_input

    folder = _run_to_resume(run)
    check_folder(out or folder)
    say(f"going on with {folder}", quiet=machine.quiet)
    if (folder / "pca.json").is_file() or not (folder / FACTS).is_file():
        pca = load_pca(folder)
        vae = _load_model_of(folder, "pca", machine)
        dtype = machine.dtype if machine.dtype != "auto" else asked_dtype(folder)
        return Start(vae, pca.center, pca, out or folder, dtype, recorded_input(folder, "pca"))
    directions, latent = load_directions(folder)
    vae = _load_model_of(folder, "directions", machine)
    picture = recorded_input(folder, "directions")
    return Start(vae, latent, directions, out or folder, machine.dtype, picture)


def start_from_pca(request: Request, out: Path | None, machine: Machine) -> Start:
    """Return the start that a new pca run gives."""
    from latentlab.components.checks import KEPT_COMPONENTS

    beyond = request.components is not None and request.components > KEPT_COMPONENTS
    request = request if beyond else replace(request, components=None)
    check(request, out)
    vae = machine.load()
    with progress_bar(quiet=machine.quiet) as progress:
        found, folder, _ = analyse(vae, request, out, progress, quiet=machine.quiet)
    return Start(vae, found.center, found, folder, machine.dtype)


def start_from_finder(
    request: Request,
    finder: str,
    labels: bool,
    features: str | None,
    out: Path | None,
    machine: Machine,
) -> Start:
    """Return the start that a new directions run gives."""
    from latentlab.results.folders import create_run

    request, search = finding.plan(
        request,
        finder,
        components=request.components,
        labels=labels,
        compare="none",
        features=features,
    )
    finding.check(request, search, out)
    vae = machine.load()
    with progress_bar(quiet=machine.quiet) as progress:
        found = finding.find(vae, request, search, progress)
    folder = out or create_run(found.latent.name, vae.spec.name)
    finding.save(vae, found, folder, request.command_line)
    for note in found.directions.notes:
        say(note, quiet=machine.quiet)
    return Start(vae, found.latent, found.directions, folder, machine.dtype)


def _run_to_resume(run: Path | None) -> Path:
    from latentlab.results.directions import FACTS
    from latentlab.results.folders import latest_run

    if run is None:
        return latest_run()
    if not any((run / name).is_file() for name in ("pca.json", FACTS)):
        raise FileError(
            f"--run {run}",
            f"a folder with a pca.json or {FACTS}",
            "pass a folder that `latentlab pca` or `latentlab directions` wrote",
        )
    return run


def _load_model_of(folder: Path, command: str, machine: Machine) -> LatentVAE:
    """Return the model asked for, or the run's own, which must not have changed since.

    It is tiled as it was for the run, unless another tile is asked for.
    """
    from latentlab.results.provenance import recorded_model

    recorded = recorded_model(folder, command)
    machine = replace(machine, tile=machine.tile or recorded["tile"])
    if machine.model:
        return machine.load()
    vae = machine.load(
        ChosenModel(recorded["source"], f"the run in {folder}"),
        dtype=recorded["dtype"] if machine.dtype == "auto" else machine.dtype,
        revision=recorded["revision"],
    )
    if dict(vae.origin.sha256) != recorded["sha256"]:
        raise FileError(
            f"weights of {recorded['source']} that differ from those of {folder}",
            "the weights that the run was made with",
            f"run `latentlab {command}` again, or choose with --model",
        )
    return vae
