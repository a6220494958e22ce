"""The entry point: commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from latentlab.cli.models import models
from latentlab.cli.pca import pca
from latentlab.cli.traverse import traverse
from latentlab.errors import LatentlabError

INTERRUPTED = 130
OUT_OF_MEMORY = 5

app = typer.Typer(
    name="latentlab",
    help="Look into the latent space around a picture, for latent-diffusion VAEs.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("pca")(pca)
app.command("traverse")(traverse)
app.command("models")(models)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"latentlab {metadata.version('latentlab')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Look into the latent space around a picture, for latent-diffusion VAEs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0 done; 1 failed while running; 2 wrong usage; 3 bad input picture or file; 4 model not
    available; 5 out of memory; 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(arguments, debug="--debug" in arguments))


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run the command line and return its exit code; with debug, errors keep their traceback."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; files with their final names are complete", INTERRUPTED)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except LatentlabError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except MemoryError:
        if debug:
            raise
        return _fail("out of memory: lower --size or --samples", OUT_OF_MEMORY)
    except OSError as error:
        if debug:
            raise
        return _fail(f"{error}: check the path, its permissions and the free space", 1)
    except Exception as error:  # the last line of defense against a traceback
        if debug:
            raise
        name = type(error).__name__
        first = (str(error).splitlines() or [""])[0]
        return _fail(f"unexpected {name}: {first} (run again with --debug and report it)", 1)


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
