"""latentlab: look into the latent space of pretrained latent-diffusion VAEs.

An image becomes a latent, a latent gets a neighborhood, a neighborhood gets directions, a
direction becomes images; every number is shown against what chance alone produces.

A first look, in the order of the way:

>>> import latentlab
>>> vae = latentlab.load_vae("mini")
>>> z = latentlab.encode(vae, "sample:flower", size=64)  # or your photo.jpg
>>> hood = latentlab.neighborhood(vae, z, "augment", n_samples=32)
>>> pca = latentlab.fit_pca(hood)
>>> print(latentlab.judge(hood, pca).verdict)
Effective dimension 10.1 (8.39–12.3), corrected for sampling. ...
>>> walk = latentlab.traverse(vae, z, pca, n_components=2)
>>> walk.save("traversal.gif")  # doctest: +SKIP

Models
    ``load_vae`` opens one by name, hub id, folder or file; ``wrap_vae`` takes your own functions;
    ``LatentVAE`` is what both return.
Images and latents
    ``encode``, ``decode`` and ``reconstruct`` one image; a ``Latent`` is in model space.
Neighborhoods and components
    ``neighborhood`` samples around a latent, ``fit_pca`` returns a ``PCA``, ``judge`` compares it
    with null models.
Directions
    ``find_directions`` with any finder, ``label_directions`` with what they correlate with,
    ``transfer_directions`` to other images. ``factor_model`` is how much of a neighborhood its
    known factors explain, and what each of them changes.
Walks
    ``traverse`` along directions, ``interpolate`` between two latents.
Folders of images
    ``encode_folder`` fills a store, ``open_store`` reads one. ``open_latents`` reads those that
    other programs wrote.
What the commands do
    ``analyze`` an image, ``analyze_directions``, ``analyze_store``; ``save`` any result into a
    folder and ``load`` it again. ``measure`` a model on a folder, ``compare`` several, and
    ``explore`` an image by hand.
Errors
    Everything raised on purpose is a ``LatentlabError``: what was found, expected, and what to do.

Types live in ``latentlab.latents``, errors in ``latentlab.errors``. Names are imported when they
are first used, so that ``import latentlab`` costs nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from latentlab.machine.cores import share_cores
from latentlab.registry import lazy_names

if TYPE_CHECKING:
    from latentlab.chance.verdict import judge as judge
    from latentlab.components.fitting import fit_pca as fit_pca
    from latentlab.components.pca import PCA as PCA
    from latentlab.directions.factor_model import factor_model as factor_model
    from latentlab.directions.labels import label_directions as label_directions
    from latentlab.directions.transfer import transfer_directions as transfer_directions
    from latentlab.encoding.clips import encode_clip as encode_clip
    from latentlab.encoding.encoder import decode as decode
    from latentlab.encoding.encoder import encode as encode
    from latentlab.encoding.reconstruction import reconstruct as reconstruct
    from latentlab.errors import LatentlabError as LatentlabError
    from latentlab.explorer.opening import explore as explore
    from latentlab.latents import Latent as Latent
    from latentlab.loaders.base import LatentVAE as LatentVAE
    from latentlab.loaders.callables import wrap_vae as wrap_vae
    from latentlab.loaders.load import load_vae as load_vae
    from latentlab.neighborhoods.sampling import neighborhood as neighborhood
    from latentlab.recipes.analysis import analyze as analyze
    from latentlab.recipes.contrasting import compare as compare
    from latentlab.recipes.evaluating import measure as measure
    from latentlab.recipes.finding import analyze_directions as analyze_directions
    from latentlab.recipes.starting import find_directions as find_directions
    from latentlab.recipes.starting import traverse as traverse
    from latentlab.recipes.stores import analyze_store as analyze_store
    from latentlab.results.saving import load as load
    from latentlab.results.saving import save as save
    from latentlab.store.filling import encode_folder as encode_folder
    from latentlab.store.foreign import open_latents as open_latents
    from latentlab.store.reading import open_store as open_store
    from latentlab.walks.interpolation import interpolate as interpolate

# torch reads this variable with its first tensor and then uses pages of 2 MB. Otherwise Linux takes
# back the memory of tensors above 32 MB at once and maps it again page by page, which costs a fifth
# of the time of decoding 512 px.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
share_cores()

_HOMES = {
    "PCA": "components.pca",
    "Latent": "latents",
    "LatentVAE": "loaders.base",
    "LatentlabError": "errors",
    "analyze": "recipes.analysis",
    "analyze_directions": "recipes.finding",
    "analyze_store": "recipes.stores",
    "decode": "encoding.encoder",
    "encode": "encoding.encoder",
    "encode_folder": "store.filling",
    "find_directions": "recipes.starting",
    "fit_pca": "components.fitting",
    "interpolate": "walks.interpolation",
    "judge": "chance.verdict",
    "label_directions": "directions.labels",
    "load": "results.saving",
    "load_vae": "loaders.load",
    "neighborhood": "neighborhoods.sampling",
    "open_store": "store.reading",
    "reconstruct": "encoding.reconstruction",
    "save": "results.saving",
    "transfer_directions": "directions.transfer",
    "traverse": "recipes.starting",
    "wrap_vae": "loaders.callables",
}
__all__ = sorted(_HOMES)
# Reachable, but beyond the 24 names that a newcomer has to look through.
_ALSO = {
    "compare": "recipes.contrasting",
    "encode_clip": "encoding.clips",
    "entanglement": "recipes.entanglement",
    "explore": "explorer.opening",
    "factor_model": "directions.factor_model",
    "measure": "recipes.evaluating",
    "open_latents": "store.foreign",
}
_find, _ = lazy_names(__name__, _HOMES | _ALSO)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("latentlab")
    from latentlab.arguments import naming_arguments, other_name

    try:
        return naming_arguments(_find(name))
    except AttributeError as error:
        raise AttributeError(f"{error}{other_name(name, [*_HOMES, *_ALSO])}") from None
