"""``latentlab digits export``: a model as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, say
from latentlab.cli.digits import options as digits_options


def export(
    run: digits_options.Run = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Folder for decoder.onnx, encoder.onnx and onnx.json.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write encoder and decoder as ONNX, checked against PyTorch."""
    from latentlab.errors import UsageError

    if onnx is None:
        raise UsageError("no --onnx", "a folder for the files", "add --onnx DIR")
    from latentlab.digits.export import export_onnx
    from latentlab.digits.folders import load_run

    loaded = load_run(run)
    say(f"exporting {loaded.name} to {onnx}", quiet=quiet)
    facts = export_onnx(loaded, onnx)
    files = [str(path) for path in facts["files"]]
    if json:
        shown = {name: facts[name] for name in ("max_abs_diff", "opset", "tilt_dimension")}
        print_json({**shown, "out": str(onnx), "files": files})
    elif not quiet:
        print(f"largest difference from PyTorch: {facts['max_abs_diff']:.1e}", *files, sep="\n")
