"""``latentlab digits demo``: a model in the browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, say
from latentlab.cli.digits.options import check_run

if TYPE_CHECKING:
    from latentlab.web.pages import Page


def demo(
    run: Annotated[
        str | None,
        typer.Argument(
            callback=check_run,
            help="Folder that `digits train` or `digits export` wrote. Default: the model that "
            "comes with latentlab.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the page into this folder, for any static host, and exit."),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port to serve on, or the next free one if it is taken.")
    ] = 8000,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address and open no browser.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Move a model's latents with sliders in the browser.

    Serves the page on this machine, or writes it with --export.
    """
    from latentlab.digits.demo import demo_page
    from latentlab.web.pages import export_page

    if run is not None:
        say(f"preparing {run}", quiet=quiet)
    with demo_page(run) as page:
        if export is None:
            _serve(page, port, no_browser=no_browser, json=json, quiet=quiet)
            return
        files = [str(path) for path in export_page(page, export)]
    if json:
        print_json({"out": str(export), "files": files})
    else:
        say(f"{len(files)} files in {export}, for any static host", quiet=quiet)


def _serve(page: Page, port: int, *, no_browser: bool, json: bool, quiet: bool) -> None:
    from latentlab.web.opening import open_browser
    from latentlab.web.serving import PageServer

    with PageServer(page, port=port) as server:
        if json:
            print_json({"url": server.address, "port": server.port})
        else:
            print(server.address)
        sys.stdout.flush()
        say("Ctrl-C stops the server", quiet=quiet)
        if not no_browser:
            open_browser(server.address)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            say("", quiet=quiet)
