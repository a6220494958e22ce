"""Principal components: the directions in which the samples vary most."""

from __future__ import annotations

from dataclasses import dataclass

from latentlab.components.fitting import fit_pca
from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene, numbered


@FINDERS.register("pca")
@dataclass(frozen=True)
class PrincipalComponents(Finder):
    """Leading principal components of the neighborhood. Strength is the variance along each."""

    statement = (
        "The directions in which the neighborhood's samples vary most. They depend on how the "
        "neighborhood was sampled; equal variances leave their order and rotation to chance, and "
        "one component can mix several factors, as a factor can bend through several components."
    )
    orthonormal = True

    def search(self, scene: Scene, k: int) -> Found:
        pca = scene.pca
        if k > len(pca.components):
            pca = fit_pca(scene.neighborhood, n_components=k)
        return Found(pca.components[:k], pca.spectrum.explained_variance[:k], numbered("PC", k))
