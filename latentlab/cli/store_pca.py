"""``latentlab pca STORE``: the components of a whole data set, on one process or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from latentlab.cli.analysis import Request
from latentlab.cli.console import progress_bar
from latentlab.cli.defaults import DEFAULT_NEIGHBORHOOD
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.components.streaming import StreamedPCA
    from latentlab.store.reading import Store

_PARTS = {DEFAULT_NEIGHBORHOOD: "whole", "tokens": "tokens"}
_ABOUT_PICTURES = {
    "model": "model",
    "size": "size",
    "samples": "samples",
    "region": "region",
    "set": "settings",
    "nulls": "nulls",
    "device": "device",
    "dtype": "dtype",
    "tile": "tile",
    "compile": "compiled",
}
"""Option → parameter of ``pca``."""


def analyse_store(request: Request, out: Path | None, *, quiet: bool) -> dict[str, Any] | None:
    """Fit, judge and save; return the facts of ``pca.json``, or None on ranks that write nothing.

    Raises
    ------
    FileError : the store is not finished, or the results cannot be written.
    """
    from latentlab.components.stores import fit_store_pca
    from latentlab.machine.distributed import joined_ranks
    from latentlab.results.folders import RUNS_FOLDER, check_folder
    from latentlab.store.reading import open_store

    check_folder(out or RUNS_FOLDER)
    store = open_store(request.image)
    with joined_ranks() as ranks:
        with progress_bar(quiet=quiet or not ranks.is_first) as progress:
            found = fit_store_pca(
                store,
                parts=_PARTS[request.neighborhood],
                n_components=request.components,
                method="randomized" if request.randomized else "auto",
                ranks=ranks,
                seed=request.seed,
                progress=progress,
            )
        return _save(store, found, request, out) if ranks.is_first else None


def refuse_picture_options(context: typer.Context) -> None:
    """Raise UsageError where options were given that are about a picture, or about its model."""
    wrong = [f"--{name}" for name in _ABOUT_PICTURES if _is_given(context, name)]
    if _is_given(context, "neighborhood") and context.params["neighborhood"] != "tokens":
        wrong.append(f"--neighborhood {context.params['neighborhood']}")
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} with a store",
            "a store alone, or -k tokens for its cells",
            f"leave {', '.join(wrong)} out, or pass a picture",
        )


def _is_given(context: typer.Context, name: str) -> bool:
    parameter = _ABOUT_PICTURES.get(name, name)
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def _save(store: Store, found: StreamedPCA, request: Request, out: Path | None) -> dict[str, Any]:
    from latentlab.chance.verdict import judge_stream
    from latentlab.components.stores import STATEMENT
    from latentlab.results.folders import create_run, read_json, remember_run, save_pca
    from latentlab.results.provenance import library_versions, record

    folder = out or create_run(Path(request.image).resolve().name, store.spec.name)
    bounds = found.error_bounds
    facts = {
        "statement": STATEMENT[_PARTS[request.neighborhood]],
        "reconstruction_psnr": None,
        "store": str(store.folder),
        "method": found.method,
        "eigenvalue_error_bounds": None if bounds is None else bounds.tolist(),
    }
    files = save_pca(found.pca, folder, facts, judgement=judge_stream(found.pca))
    model = {**store.manifest.model, "dtype": store.manifest.dtype}
    described = {
        "command_line": request.command_line,
        "model": model,
        "input": {
            **store.summary(),
            "store": str(store.folder.resolve()),
            "list_sha256": store.manifest.list_sha256,
        },
        "seed": request.seed,
        "method": found.method,
        "versions": library_versions(),
    }
    files.append(record(folder, "pca", described))
    remember_run(folder)
    return {**read_json(folder / "pca.json"), "files": [str(path) for path in files]}
