"""The page that runs a digits model in the browser, together with the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from latentlab.digits.exported import DECODER, DESCRIPTION, locate_model, read_exported
from latentlab.web.pages import Page, page_files, runtime_files


@contextmanager
def demo_page(source: str | None = None) -> Iterator[Page]:
    """Yield the files of the page and its model by address; they exist until the block ends.

    Parameters
    ----------
    source : a run folder, whose model is exported first; a folder that ``latentlab digits export``
        wrote; or None for the model that comes with latentlab

    Raises
    ------
    MissingExtraError : onnxruntime-web has not been downloaded, or ONNX is missing for the export.
    FileError : the folder holds no model.
    """
    page = {**page_files("digits"), **runtime_files()}
    with TemporaryDirectory(prefix="latentlab-demo-") as scratch:
        yield {**page, **_model_files(source, Path(scratch))}


def _model_files(source: str | None, scratch: Path) -> dict[str, Path]:
    folder, shipped = locate_model(source)
    # A run may have been trained again after its model was exported into its folder.
    has_run = not shipped and (folder / "config.json").exists()
    if has_run or not (folder / DESCRIPTION).is_file():
        from latentlab.digits.export import export_onnx
        from latentlab.digits.folders import load_run

        export_onnx(load_run(source), scratch)
        folder = scratch
    read_exported(folder)
    return {f"model/{name}": folder / name for name in (DECODER, DESCRIPTION)}
