"""Images encoded and decoded again, and saved with what was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentlab.encoding.reconstruction import reconstruct
from latentlab.encoding.scale import Scales
from latentlab.images.fit import AUTO, Size
from latentlab.loaders.base import LatentVAE
from latentlab.recipes.sampling import Say, be_silent, encode_fitting
from latentlab.results.folders import Saved, create_run
from latentlab.results.provenance import provenance
from latentlab.results.reconstructions import save_reconstruction


def analyze_reconstruction(
    vae: LatentVAE,
    image: Any,
    *,
    size: Size = AUTO,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    say: Say = be_silent,
    scales: Scales | None = None,
) -> Saved:
    """Reconstruct an image and save it: ``latentlab reconstruct``.

    Parameters and errors as for :func:`latentlab.analyze` and :func:`latentlab.reconstruct`.
    """
    latent = encode_fitting(vae, image, size, say, scales=scales)
    found = reconstruct(vae, latent)
    folder = folder or create_run(latent.name, vae.spec.name)
    return save_reconstruction(found, folder, run=provenance(vae, latent, command_line))
