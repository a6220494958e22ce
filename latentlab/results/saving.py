"""Any result saved into a folder and loaded from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentlab.arguments import check_arguments
from latentlab.components.pca import PCA
from latentlab.directions.transfer import Transfer
from latentlab.encoding.reconstruction import Reconstruction
from latentlab.errors import FileError, UsageError
from latentlab.latents import Directions
from latentlab.machine.files import check_folder, exists
from latentlab.results.components import load_pca, save_pca
from latentlab.results.directions import (
    FACTS,
    load_directions,
    load_transfer,
    save_directions,
    save_transfer,
)
from latentlab.results.interpolations import load_interpolation, save_interpolation
from latentlab.results.reconstructions import save_reconstruction
from latentlab.results.walks import save_traversal
from latentlab.walks.interpolation import Interpolation
from latentlab.walks.traversal import Traversal

Result = PCA | Directions | Transfer | Interpolation
_SAVERS: dict[type, Callable[..., Any]] = {
    PCA: save_pca,
    Directions: save_directions,
    Transfer: save_transfer,
    Interpolation: save_interpolation,
    Traversal: save_traversal,
    Reconstruction: save_reconstruction,
}
_WITH_FIGURES = (PCA, Transfer, Interpolation, Reconstruction)
_LOADERS: dict[str, Callable[[Path], Result]] = {
    "pca.json": load_pca,
    "transfer.json": load_transfer,
    "interpolation.json": load_interpolation,
    FACTS: load_directions,
}


def save(
    result: Result | Traversal | Reconstruction,
    folder: str | Path,
    *,
    figure_format: str = "png",
    **options: Any,
) -> list[Path]:
    """Write a result into a folder: figures, arrays, facts and ``run.json``; return their paths.

    The folder can be loaded with :func:`load`. A PCA or directions of a neighborhood can also be
    resumed with ``latentlab traverse --run FOLDER``.

    Parameters
    ----------
    result : PCA, Directions, Transfer, Interpolation, Traversal or Reconstruction
    folder : created where missing; an earlier result of the same kind is replaced
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``; sheets are made of pixels and stay PNG
    **options : for this kind of result: ``judgment=`` for a PCA; ``labels=`` and ``walk=`` for
        directions; ``suffix=``, ``fps=``, ``loop=`` and ``longest=`` for what is animated

    Raises
    ------
    UsageError : a result of another type, another figure format, or (ArgumentError) another option.
    FileError : the folder cannot be written.

    Examples
    --------
    >>> import tempfile, torch
    >>> from latentlab import fit_pca
    >>> folder = tempfile.mkdtemp()
    >>> paths = save(fit_pca(torch.eye(4)), folder)
    >>> paths[-1].name, load(folder).components.shape
    ('run.json', torch.Size([3, 4]))
    """
    from latentlab.figures.canvas import check_figure_format

    place = Path(folder)
    check_figure_format(figure_format)
    check_folder(place)
    if isinstance(result, _WITH_FIGURES):
        options["figure_format"] = figure_format
    for kind, saver in _SAVERS.items():
        if isinstance(result, kind):
            check_arguments(saver, options, f"latentlab.save of {kind.__name__}")
            return list(saver(result, place, **options).files)
    raise UsageError(
        f"a result of type {type(result).__name__}",
        f"one of {', '.join(kind.__name__ for kind in _SAVERS)}",
        "pass what a function of latentlab returned",
    )


def load(folder: str | Path) -> Result:
    """Return the result that :func:`save` or a command wrote into a folder.

    Arrays come back bit for bit. Images are not kept: a latent's ``image`` is None.

    Parameters
    ----------
    folder : a run folder of ``latentlab pca``, ``directions``, ``transfer`` or ``interpolate``;
        where it holds several results, the first of pca, transfer, interpolation, directions

    Returns
    -------
    PCA, Transfer, Interpolation or Directions

    Raises
    ------
    FileError : no result, or files that are missing, damaged or written by a newer latentlab.

    Examples
    --------
    >>> load("no-such-folder")
    Traceback (most recent call last):
    latentlab.errors.FileError: ...
    """
    place = Path(folder)
    for name, loader in _LOADERS.items():
        if exists(place / name) and (place / name).is_file():
            return loader(place)
    raise FileError(
        f"{place} without a result",
        f"a folder with one of {', '.join(_LOADERS)}",
        "pass a folder that latentlab.save or a latentlab command wrote",
    )
