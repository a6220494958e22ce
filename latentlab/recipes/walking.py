"""Traversals: the earlier run that they resume, and how they are saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from latentlab.components.pca import PCA
from latentlab.encoding.precision import decode_precision, with_fast_decoder
from latentlab.errors import FileError, UsageError
from latentlab.latents import Directions, Latent, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.machine.files import check_folder
from latentlab.machine.threads import begin
from latentlab.neighborhoods import SAMPLERS
from latentlab.recipes.starting import command_of, load_found, usual_count
from latentlab.results.folders import Saved, latest_run
from latentlab.results.provenance import asked_dtype, provenance, recorded_model
from latentlab.results.walks import draw_traversal, save_traversal
from latentlab.walks.chance import walk_at_random
from latentlab.walks.curved import traverse_curved
from latentlab.walks.traversal import Traversal, walk_along


@dataclass(frozen=True, eq=False)
class EarlierRun:
    """A run that a traversal resumes, before its model is loaded.

    Parameters
    ----------
    folder : Path
    found : PCA or Directions
    model : source, revision, sha256, dtype and tile of the run's model
    dtype : str, as the run was asked for
    command : ``"pca"`` or ``"directions"``
    """

    folder: Path
    found: PCA | Directions
    model: Mapping[str, Any]
    dtype: str
    command: str

    def check_weights(self, vae: LatentVAE) -> None:
        """Raise FileError if a model's weights differ from the run's."""
        if dict(vae.origin.sha256) != self.model["sha256"]:
            raise FileError(
                f"weights of {self.model['source']} that differ from those of {self.folder}",
                "the weights that the run was made with",
                f"run `latentlab {self.command}` again or choose the model with --model",
            )


def read_run(run: Path | None, out: Path | None = None) -> EarlierRun:
    """Return the run in a folder, or the latest one.

    Raises
    ------
    FileError : no run, a damaged one, or a folder that cannot be written.
    """
    folder = latest_run() if run is None else run
    command = command_of(folder)
    check_folder(out or folder)
    found = load_found(folder)
    found.sampling.known_origin()  # raises where there is no latent to start at
    dtype = asked_dtype(folder) if command == "pca" else "auto"
    return EarlierRun(folder, found, recorded_model(folder, command), dtype, command)


def check_curved(neighborhood: str) -> None:
    """Raise UsageError if a neighborhood's rows are not whole latents."""
    if neighborhood in SAMPLERS and not SAMPLERS[neighborhood].whole:
        raise UsageError(
            f"--curved with --neighborhood {neighborhood}",
            "a neighborhood of whole latents, such as augment or gaussian",
            "choose another --neighborhood or leave --curved out",
        )


def walk_and_save(
    vae: LatentVAE,
    found: PCA | Directions,
    folder: Path,
    *,
    n_components: int | None = None,
    span: float = 3.0,
    steps: int = 16,
    curved: bool = False,
    seed: int = 0,
    dtype: str = "auto",
    command_line: list[str] | None = None,
    progress: Progress | None = None,
    **animation: Any,
) -> Saved:
    """Walk along directions and save the animations: ``latentlab traverse``.

    Parameters
    ----------
    vae, found, n_components, span, steps : as for :func:`latentlab.traverse`, from the latent
        that the directions were found at; by default 5 directions, or all if there are fewer
    folder : for the results
    curved, seed : whether to find each direction again at every step, and the seed of that search
    dtype : ``"auto"`` decodes in bfloat16 where that is native, except on curved walks
    command_line : for ``run.json``
    progress : called as ``progress(what, done, total)``
    **animation : suffix, fps, loop and longest, as for :func:`latentlab.save`
    """
    if dtype == "auto" and not curved:
        vae = with_fast_decoder(vae)
    latent = found.sampling.known_origin()
    count = usual_count(found) if n_components is None else n_components
    how: dict[str, Any] = {"n_components": count, "span": span, "steps": steps}
    if curved:
        how["seed"] = seed
    walk = (traverse_curved if curved else walk_along)(vae, latent, found, progress=progress, **how)
    # Random walks decode for as long as the walk did, and drawing has one thread.
    drawn = begin(partial(draw_traversal, walk, **animation))
    if not curved:
        walk = _with_random_walks(vae, latent, found, walk, seed, progress)
    settings = {
        "alphas": walk.alphas.tolist(),
        "components": len(walk.paths),
        "precision": decode_precision(vae),
    }
    run = provenance(vae, latent, command_line, **settings)
    return save_traversal(walk, folder, drawn=drawn, run=run)


def _with_random_walks(
    vae: LatentVAE,
    latent: Latent,
    found: PCA | Directions,
    walk: Traversal,
    seed: int,
    progress: Progress | None,
) -> Traversal:
    """Return the walk with the scores of random directions that change the image as much."""
    directions = found.leading(len(walk.paths)) if isinstance(found, PCA) else found
    random = walk_at_random(
        vae,
        latent,
        directions,
        [path.frames for path in walk.paths],
        walk.alphas,
        seed=seed,
        progress=progress,
    )
    return replace(walk, random=random)
