"""``latentlab explore``: move through the latent space around an image in the browser."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from latentlab.cli import options
from latentlab.cli.completion import model_names, names_of
from latentlab.cli.console import print_json, progress_bar, say
from latentlab.cli.defaults import ChosenModel
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_image
from latentlab.cli.machine import Machine
from latentlab.cli.options import Samples, parse_size
from latentlab.directions import FINDERS
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.explorer.fits import Plan
    from latentlab.explorer.opening import Explorer
    from latentlab.loaders import LatentVAE
    from latentlab.recipes.sampling import SamplingPlan

_SAMPLE = "sample:flower"
_MOST_MODELS = 2


@dataclass(frozen=True)
class OneOrTwo(Machine):
    """Options for a model, or for two side by side."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="NAME", autocompletion=names_of(model_names),
            help="Name (see `latentlab models`), hub id, folder or file. Twice for two models "
            "side by side. Default: LATENTLAB_MODEL, else [tool.latentlab] in pyproject.toml, "
            "else mini.",
        ),
    ] = None  # type: ignore[assignment]  # fmt: skip

    def check(self) -> None:
        """Raise UsageError for more than two models."""
        names = self.model or []
        if len(names) > _MOST_MODELS:
            raise UsageError(f"{len(names)} of --model", "one or two", "pass -m A -m B")

    def load_each(self, store: str | None = None, *, quiet: bool) -> list[LatentVAE]:
        """Return the models in their order; by default that of a store, or the usual one."""
        rest = {one.name: getattr(self, one.name) for one in fields(Machine) if one.name != "model"}
        one = Machine(**rest)
        if not self.model and store is not None:
            from latentlab.store.manifest import read_manifest

            made = read_manifest(Path(store)).model
            chosen = ChosenModel(made["source"], f"the store {store}")
            return [one.load(chosen, quiet=quiet, revision=made.get("revision"))]
        if not self.model:
            return [one.load(quiet=quiet)]
        return [one.load(ChosenModel(name, "--model"), quiet=quiet) for name in self.model]


@grouped
def explore(
    context: typer.Context,
    machine: OneOrTwo,
    samples: Samples,
    image: Annotated[
        str,
        typer.Argument(
            metavar="[IMAGE]",
            help="An image, or a store for a map of all its images. Other images can be dropped "
            "onto the page.",
        ),
    ] = _SAMPLE,
    finder: options.FinderName = "pca",
    images: Annotated[
        Path | None,
        typer.Option(
            help="With a store: the folder of its images, for thumbnails and to explore them."
        ),
    ] = None,
    map: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="pca|tsne|umap",
            autocompletion=names_of(lambda: ["pca", "tsne", "umap"]),
            help="With a store: how images find their place. t-SNE and UMAP (extra umap) place a "
            "random sample of 3,000 or 10,000 images. Default: pca, the first two components.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port to serve on, or the next free one if it is taken.")
    ] = 8000,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address and open no browser.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the page into this folder, for any static host, and exit. A decoder of up "
            "to 10 MB is part of it; of a larger one, images are decoded now.",
        ),
    ] = None,
    frames: Annotated[
        bool,
        typer.Option("--frames", help="With --export: decode images now, for any decoder."),
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Move through the latent space around an image by hand.

    Serves a page with sliders on this machine only. Without --size, an image is shrunk if a side
    is above 256 pixels (512 on a GPU), so that it can follow a hand; without --samples, 64 are
    drawn. With --export, the page needs no server: it is a folder for a blog or a supplement.
    """
    from latentlab.store.opening import is_store

    machine.check()
    of_store = is_store(image)
    if not of_store:
        check_image(image)
    if images is not None and not of_store:
        raise UsageError("--images with an image", "a store", "leave --images out")
    if map is not None and not of_store:
        raise UsageError("--map with an image", "a store", "leave --map out")
    FINDERS.check(finder)
    plan = samples.plan()
    if frames and export is None:
        raise UsageError("--frames without --export", "a folder for the page", "add --export DIR")
    if export is not None and of_store:
        raise UsageError("--export of a store", "an image", "pass one of its images")
    served = options.given_options(context, ("port", "no_browser"))
    if export is not None and served:
        names = ", ".join(served)
        raise UsageError(
            f"{names} with --export, which serves nothing", "--export alone", f"leave {names} out"
        )
    vaes = machine.load_each(image if of_store else None, quiet=quiet)
    if export is not None:
        size, found = parse_size(samples.size), _plan_of(plan, finder, image)
        _export(vaes, image, export, size=size, plan=found, frames=frames, json=json, quiet=quiet)
        return
    from latentlab.explorer.opening import explore as begin

    opened = begin(
        vaes,
        image,
        size=parse_size(samples.size),
        neighborhood=plan.neighborhood,
        finder=finder,
        n_samples=plan.n_samples,
        region=plan.region,
        seed=plan.seed,
        port=port,
        browser=not no_browser,
        images=images,
        map=map or "pca",
        options=plan.options,
        widget=False,
    )
    with cast("Explorer", opened) as explorer:
        _wait(explorer, json=json, quiet=quiet)


def _wait(explorer: Explorer, *, json: bool, quiet: bool) -> None:
    if json:
        print_json({"url": explorer.address, "port": explorer.port})
    else:
        print(explorer.address)
    sys.stdout.flush()
    say("Ctrl-C stops the server", quiet=quiet)
    try:
        explorer.wait()
    except KeyboardInterrupt:
        say("", quiet=quiet)


def _plan_of(plan: SamplingPlan, finder: str, image: str) -> Plan:
    from latentlab.explorer.choices import files_beside, sort_options
    from latentlab.explorer.fits import Plan

    settings, files = sort_options(plan.options, plan.neighborhood, finder)
    files = {**files_beside(image), **files}
    return Plan(
        *(plan.neighborhood, finder, plan.n_samples, plan.region, plan.seed),
        settings=tuple(settings.items()),
        files=tuple(files.items()),
    )


def _export(
    vaes: list[LatentVAE], image: str, folder: Path, *, json: bool, quiet: bool, **how: Any
) -> None:
    from latentlab.explorer.exporting import export_explorer

    with progress_bar(quiet=quiet, shorten="lower --size or --samples") as progress:
        written = export_explorer(vaes, image, folder, progress=progress, **how)
    if json:
        facts = {name: value for name, value in vars(written).items() if name != "files"}
        print_json({"out": str(folder), **facts, "files": [str(path) for path in written.files]})
        return
    if written.why:
        say(f"images were decoded beforehand: {written.why}", quiet=quiet)
    width, height = written.size
    say(
        f"{len(written.files)} files, {written.bytes / 1e6:.1f} MB, in {folder}, for any static "
        f"host; images of {width}×{height} pixels",
        quiet=quiet,
    )
    serve = f"python -m http.server --directory {quote(str(folder))}"
    say(f"look at it: {serve}, then http://localhost:8000", quiet=quiet)
