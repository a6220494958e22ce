"""The explorer of a model and an image."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from latentlab.directions import FINDERS
from latentlab.errors import MissingExtraError, UsageError
from latentlab.explorer.choices import (
    files_beside,
    finder_choices,
    neighborhood_choices,
    sort_options,
)
from latentlab.explorer.fits import USUAL_SAMPLES, Plan
from latentlab.explorer.maps import StoreMap
from latentlab.explorer.protocol import LARGEST_IMAGE
from latentlab.explorer.server import ExplorerServer
from latentlab.explorer.state import LARGEST_ALPHA
from latentlab.explorer.studio import Studio
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import DEFAULT_NEIGHBORHOOD, SAMPLERS
from latentlab.store.opening import is_store, open_source
from latentlab.store.reading import Store, open_store
from latentlab.web.opening import open_browser
from latentlab.web.pages import page_files

if TYPE_CHECKING:
    from latentlab.explorer.widget import ExplorerWidget
    from latentlab.images.fit import Size


class Explorer:
    """A running explorer. Use it as a context, or end it with :meth:`close`.

    Parameters
    ----------
    server : ExplorerServer, started
    """

    def __init__(self, server: ExplorerServer) -> None:
        self._server = server

    @property
    def address(self) -> str:
        """Return where a browser finds the page, with the token that lets it in."""
        return self._server.address

    @property
    def port(self) -> int:
        """Return the port."""
        return self._server.port

    def wait(self) -> None:
        """Wait until it is closed, or interrupted with Ctrl-C."""
        self._server.wait()

    def close(self) -> None:
        """Stop the server and its work."""
        self._server.close()

    def __enter__(self) -> Explorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Explorer({self.address})"


def explore(
    vae: LatentVAE | Sequence[LatentVAE],
    image: Any = "sample:flower",
    *,
    size: Size = "auto",
    neighborhood: str = DEFAULT_NEIGHBORHOOD,
    finder: str = "pca",
    n_samples: int | None = None,
    region: tuple[int, int, int, int] | None = None,
    seed: int = 0,
    port: int = 8000,
    browser: bool = True,
    images: str | Path | None = None,
    map: str = "pca",
    options: Mapping[str, Any] | None = None,
    widget: bool | None = None,
) -> Explorer | ExplorerWidget:
    """Return a running explorer: a slider for each direction around an image, decoded live.

    In a notebook it is a widget, which shows the page in the cell and whose ``state``, ``alphas``,
    ``latent`` and ``image`` are where the page is. Elsewhere it is a local page, served on this
    machine only, at an address with a random token. It runs until it is closed or Python ends;
    :meth:`Explorer.wait` keeps a script running.

    Parameters
    ----------
    vae : LatentVAE, or two of them to see them side by side
    image : path, PIL image, array or tensor, as for :func:`latentlab.encode`; or a Store, or the
        folder of one, for a map of all its images of the commonest shape
    size : as for :func:`latentlab.encode`, of every image, also those that the page sends; by
        default an image keeps its shape and is shrunk if a side is above 256 px (512 on a GPU), so
        that it can follow a hand
    neighborhood, region, seed : as for :func:`latentlab.neighborhood`
    n_samples : int, optional; 64 by default, or every token or patch
    finder : str, as for :func:`latentlab.find_directions`
    port : int, or the next free one if it is taken; 0 for any
    browser : bool, whether to open the page
    images : folder or archive of the images of a store, for its thumbnails and to explore them;
        without it, thumbnails are previews of latents, and decoded latents are explored
    map : where a store's images are on the map: ``"pca"`` (the first two components), ``"tsne"``
        or ``"umap"`` (extra ``umap``); these two place a random sample of 3,000 or 10,000 images
    options : of the neighborhood and the finder, such as ``{"rotation": 20}``, optional. The page
        changes numbers alone. Names of files hold for every search: ``folder``
        of the neighborhood ``knn``, ``video`` of ``frames``, ``other``, ``positive`` and
        ``negative`` of the finder ``difference``. The first two follow from the path of the image.
    widget : bool, whether to return a widget; by default in a notebook with anywidget installed

    Raises
    ------
    MissingExtraError : ``widget=True`` without anywidget, or ``map="umap"`` without umap-learn.
    UsageError : an unknown neighborhood or finder, an impossible port, or more than two models.
    ImageError : the image cannot be read. What needs the model to be found out is said on the page.

    Warns
    -----
    UserWarning : a store of several shapes, of which the commonest is shown.

    Examples
    --------
    >>> import latentlab
    >>> with explore(latentlab.load_vae("linear"), port=0, browser=False) as explorer:
    ...     explorer.address.startswith("http://127.0.0.1:")
    True
    """
    vaes = (vae,) if isinstance(vae, LatentVAE) else tuple(vae)
    if not 1 <= len(vaes) <= 2:
        raise UsageError(f"{len(vaes)} models", "one or two", "pass --model once or twice")
    SAMPLERS.check(neighborhood)
    FINDERS.check(finder)
    settings, files = sort_options(options or {}, neighborhood, finder)
    files = {**files_beside(image, images), **files}
    how: dict[str, Any] = {"settings": (*settings.items(),), "files": (*files.items(),)}
    plan = Plan(neighborhood, finder, n_samples, region, seed, **how)
    SAMPLERS.make(neighborhood, plan.sampler_options())
    plan.make_finder()
    places = _map_of(vaes, image, images, map, seed)
    studio = Studio(vaes, None if places else image, size, plan, places)
    greeting = {**hello(vaes, plan), "map": len(places.paths) if places else 0}
    if in_notebook() if widget is None else widget:
        return _make_widget(studio, greeting)
    server = ExplorerServer(studio, page_files("explorer"), greeting, port=port)
    server.start()
    if browser:
        open_browser(server.address)
    return Explorer(server)


def in_notebook() -> bool:
    """Return whether Python runs for a notebook that can show widgets, Jupyter's or marimo's."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    is_marimo = getattr(sys.modules.get("marimo"), "running_in_notebook", lambda: False)
    if not hasattr(shell, "kernel") and not is_marimo():
        return False
    if find_spec("anywidget") is None:
        warnings.warn(
            "anywidget is not installed, so the explorer opens as a page of its own; "
            "pip install 'latentlab[notebook]' shows it in the notebook",
            stacklevel=3,
        )
        return False
    return True


def _make_widget(studio: Studio, greeting: Mapping[str, Any]) -> ExplorerWidget:
    if find_spec("anywidget") is None:
        raise MissingExtraError(
            "a widget without anywidget",
            "the extra for notebooks",
            "run pip install 'latentlab[notebook]'",
        )
    from latentlab.explorer.widget import ExplorerWidget

    return ExplorerWidget(studio, greeting)


def _map_of(
    vaes: Sequence[LatentVAE], image: Any, images: str | Path | None, method: str, seed: int
) -> StoreMap | None:
    """Return the map of a store; None for an image.

    Raises
    ------
    UsageError : a map or a folder of images without a store, or a model of other latents.
    MissingExtraError : what the method needs is not installed.
    """
    is_folder = isinstance(image, str | Path) and is_store(image)
    if not is_folder and not isinstance(image, Store):
        if images is not None:
            raise UsageError(f"images={str(images)!r} with an image", "a store", "leave it out")
        if method != "pca":
            raise UsageError(f"map={method!r} with an image", "a store", "leave it out")
        return None
    store = open_store(image) if is_folder else image
    spec = vaes[0].spec
    if (spec.channels, spec.stride) != (store.spec.channels, store.spec.stride):
        raise UsageError(
            f"the model {spec.name} for latents of {store.spec.name}",
            f"{store.spec.channels} channels and stride {store.spec.stride}",
            "pass the model that encoded the store",
        )
    map = StoreMap(vaes[0], store, None if images is None else open_source(images), method, seed)
    if not map.paths:
        raise UsageError(f"the store {store.folder} without latents", "one or more", "fill it")
    if map.other_shapes:
        shape = "×".join(str(side) for side in map.shown.shape)
        warnings.warn(
            f"the map shows the {len(map.shown):,} latents of shape {shape}, the commonest; "
            f"{map.other_shapes:,} of other shapes are left out",
            stacklevel=3,
        )
    return map


def hello(vaes: Sequence[LatentVAE], plan: Plan) -> dict[str, Any]:
    """Return what every page is told first, JSON-ready: names, limits and what is installed."""
    return {
        "type": "hello",
        "version": version("latentlab"),
        "models": [vae.spec.name for vae in vaes],
        "neighborhoods": neighborhood_choices(vaes, plan.files),
        "finders": finder_choices(plan.files),
        "limits": {
            "alpha": LARGEST_ALPHA,
            "image_bytes": LARGEST_IMAGE,
            "samples": USUAL_SAMPLES,
        },
        "formats": ["gif", "json", *(["mp4"] if find_spec("imageio_ffmpeg") else [])],
    }
