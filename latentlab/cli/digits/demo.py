"""``latentlab digits demo``: a model in the browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, say


def demo(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Folder that `digits train` or `digits export` wrote; by default the model that "
            "comes with latentlab."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the page into this folder, for any static host, and end."),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Where to serve; where it is taken, the next free one.")
    ] = 8000,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only say where the page is.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: bool = False,
) -> None:
    """Move a model's latents in the browser: serve the page on this machine, or write it."""
    from latentlab.digits.demo import demo_page
    from latentlab.web.pages import export_page
    from latentlab.web.serving import PageServer

    if run is not None:
        say(f"preparing {run}", quiet=quiet)
    with demo_page(run) as page:
        if export is not None:
            files = [str(path) for path in export_page(page, export)]
            if json:
                print_json({"out": str(export), "files": files})
            else:
                say(f"{len(files)} files in {export}, for any static host", quiet=quiet)
            return
        with PageServer(page, port=port) as server:
            if json:
                print_json({"url": server.address, "port": server.port})
            else:
                print(server.address)
            sys.stdout.flush()
            say("Ctrl-C ends", quiet=quiet)
            if not no_browser:
                _open_browser(server.address)
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                say("", quiet=quiet)


def _open_browser(address: str) -> None:
    """Open the page in a browser with windows; one for the terminal would cover the messages."""
    import webbrowser

    windows = sys.platform in ("darwin", "win32") or "DISPLAY" in os.environ
    if windows or "WAYLAND_DISPLAY" in os.environ:
        webbrowser.open(address)
