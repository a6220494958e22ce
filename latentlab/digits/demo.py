"""The page on which a digits model runs in the browser, with the model in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from latentlab.digits.exported import DECODER, DESCRIPTION, SHIPPED, is_exported, read_exported
from latentlab.models.shipped import shipped_folder
from latentlab.web.pages import Page, page_files, runtime_files


@contextmanager
def demo_page(source: str | None = None) -> Iterator[Page]:
    """Yield the files of the page with a model, by address, for as long as the block lasts.

    Parameters
    ----------
    source : a run folder, which is exported for the purpose; a folder that
        ``latentlab digits export`` wrote; or None for the model that comes with latentlab

    Raises
    ------
    MissingExtraError : onnxruntime-web has not been fetched, or ONNX is missing for the export.
    FileError : the folder holds no model.
    """
    page = {**page_files("digits"), **runtime_files()}
    with TemporaryDirectory(prefix="latentlab-demo-") as scratch:
        yield {**page, **_model_files(source, Path(scratch))}


def _model_files(source: str | None, scratch: Path) -> dict[str, Path]:
    shipped = source is None or (source == SHIPPED and not Path(source).exists())
    folder = shipped_folder(SHIPPED) if shipped else Path(str(source))
    # A run that was trained again would not match what was once exported into its folder.
    if not is_exported(folder) or not (shipped or not (folder / "config.json").exists()):
        from latentlab.digits.export import export_onnx
        from latentlab.digits.folders import load_run

        export_onnx(load_run(source), scratch)
        folder = scratch
    read_exported(folder)
    return {f"model/{name}": folder / name for name in (DECODER, DESCRIPTION)}
