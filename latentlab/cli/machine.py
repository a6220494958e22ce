"""The model that a command runs: which one, where and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.completion import model_names, names_of
from latentlab.cli.console import progress_bar, say, tiling
from latentlab.cli.defaults import ChosenModel, choose_model

if TYPE_CHECKING:
    from latentlab.loaders import LatentVAE


@dataclass(frozen=True)
class Machine:
    """Options for the model, shared by all commands."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", autocompletion=names_of(model_names),
            help="Name (see `latentlab models`), hub id, folder or file. Default: "
            "LATENTLAB_MODEL, else [tool.latentlab] in pyproject.toml, else mini.",
        ),
    ] = None  # fmt: skip
    device: options.Device = "auto"
    dtype: Annotated[
        str,
        typer.Option(
            help="float32, float64, bfloat16, float16, or auto: bfloat16 where it is native and "
            "its rounding is negligible."
        ),
    ] = "auto"
    tile: Annotated[
        int | None,
        typer.Option(
            min=128, metavar="PIXELS",
            help="Encode and decode in tiles of PIXELS, such as 512, if memory is short. This "
            "changes results; the size of the change is reported.",
        ),
    ] = None  # fmt: skip
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the model first, which takes a minute or two. On the CPUs measured "
            "no model got much faster (taef2 1.0 to 1.1 times as fast, mini 0.8 to 1.3). Not "
            "measured on CUDA.",
        ),
    ] = False
    offline: options.Offline = False

    def load(self, chosen: ChosenModel | None = None, *, quiet: bool, **instead: Any) -> LatentVAE:
        """Return the model, with progress of a download; compiled and tiled if asked.

        Parameters
        ----------
        chosen : ChosenModel, optional; by default as ``--model`` or the configuration says
        quiet : bool
        **instead : for :func:`latentlab.load_vae`, where it differs from the options; revision too
        """
        from latentlab import load_vae
        from latentlab.encoding.precision import use_exact_float32

        use_exact_float32()
        chosen = chosen or choose_model(self.model)
        names = ("device", "dtype", "tile", "compiled", "offline")
        how = {**{name: getattr(self, name) for name in names}, **instead}
        say(chosen.announce(), quiet=quiet or not chosen.announce())
        with progress_bar(quiet=quiet, in_bytes=True) as progress:
            vae = load_vae(chosen.name, progress=progress, **how)
        if how["compiled"]:
            say(f"compiling {vae.spec.name}: the first images take longer", quiet=quiet)
        return vae


def say_tiling(vae: LatentVAE, *, quiet: bool) -> None:
    """Report how much tiles differ at their seams, if there are any."""
    if vae.tiling:
        say(f"tiled {tiling(vae.tiling)}", quiet=quiet)
