"""The entry point: commands, and the one place where errors become exit codes."""

from __future__ import annotations

import gc
import inspect
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from latentlab.cli.compare import compare
from latentlab.cli.completion import completion
from latentlab.cli.console import say
from latentlab.cli.digits import digits
from latentlab.cli.directions import directions
from latentlab.cli.doctor import doctor
from latentlab.cli.encode import encode
from latentlab.cli.explore import explore
from latentlab.cli.failures import explain
from latentlab.cli.help import GroupedCommand
from latentlab.cli.interpolate import interpolate
from latentlab.cli.metrics import metrics
from latentlab.cli.models import models
from latentlab.cli.palette import palette
from latentlab.cli.pca import pca
from latentlab.cli.reconstruct import reconstruct
from latentlab.cli.report import report
from latentlab.cli.store import store
from latentlab.cli.transfer import transfer
from latentlab.cli.traverse import traverse
from latentlab.figures.lean_imports import import_without_documentation
from latentlab.loaders.lean_imports import import_only_what_is_used
from latentlab.machine.modules import execute_when_used

INTERRUPTED = 130

_HOW: dict[str, Any] = {
    "name": "latentlab",
    "help": "Look into the latent space around an image, for latent-diffusion VAEs.",
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # drawing the help with rich would double the time of --help
}
app = typer.Typer(**_HOW)
for command in (
    *(pca, traverse, explore, directions, transfer, interpolate, reconstruct, palette, encode),
    *(metrics, compare, doctor, report, models, completion),
):
    app.command(command.__name__, cls=GroupedCommand)(command)
app.add_typer(store, name="store")
app.add_typer(digits, name="digits")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"latentlab {metadata.version('latentlab')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")
    ] = False,
) -> None:
    """Look into the latent space around an image, for latent-diffusion VAEs."""


def _app_for(arguments: Sequence[str]) -> typer.Typer:
    """Return the app; where no command is called, one that lists the same commands.

    To read the parameters of all commands takes longer than all else that ``--help`` does.
    """
    if any(word[:1] != "-" for word in arguments) or "_LATENTLAB_COMPLETE" in os.environ:
        return app
    listed = typer.Typer(**_HOW)
    listed.callback()(root)
    for one in app.registered_commands:
        listed.command(one.name, help=inspect.getdoc(one.callback))(_do_nothing)
    for group in app.registered_groups:
        listed.command(group.name, help=(group.typer_instance or app).info.help)(_do_nothing)
    return listed


def _do_nothing() -> None:
    """Stand for a command that is listed and not called."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    0 done; 1 failed while running; 2 wrong usage; 3 bad input image or file; 4 model not
    available; 5 out of memory; 130 interrupted.
    """
    # Imports make many objects and no garbage: to look for some takes a tenth of a short run.
    gc.set_threshold(50_000, 20, 50)
    import_lean()
    _print_any_name()
    code = run(sys.argv[1:] if arguments is None else arguments)
    # Otherwise Python searches all modules for garbage while it exits, for half a second.
    gc.freeze()
    sys.exit(code)


def import_lean() -> None:
    """Let packages import no more than a command needs, from now on in this process."""
    import_only_what_is_used()
    import_without_documentation()
    execute_when_used("numpy.f2py")  # scipy lists all modules of numpy, and needs no Fortran


def _print_any_name() -> None:
    """Let stdout print file names that are not valid text, byte for byte."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; ``--debug`` shows an error's traceback."""
    debug = "--debug" in arguments
    given = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    if given in [[group.name] for group in app.registered_groups]:
        given.append("--help")
    # If the home folder is read-only, matplotlib explains at length that it uses another folder.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            how: dict[str, Any] = {"prog_name": "latentlab", "standalone_mode": False}
            code = int(_app_for(given)(["--debug"] * debug + given, obj=given, **how) or 0)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last line of defense against a traceback)
        message, code = explain(error)
        if debug:
            traceback.print_exception(error)
        say(f"error: {message}")
        return code
    if code == INTERRUPTED:
        say("error: interrupted; files with their final names are complete")
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"warning: {message}")
