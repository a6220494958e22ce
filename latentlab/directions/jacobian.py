"""The decoder's leading singular directions: what changes the image most, from here."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene, numbered
from latentlab.pullback import DecoderMap, decoder_map, top_singular

_NEGLIGIBLE = 1e-2


@FINDERS.register("jacobian")
@dataclass(frozen=True)
class DecoderJacobian(Finder):
    """Top right singular vectors of the decoder's Jacobian at the latent.

    The samples are not used for the search. The neighborhood sets the features, the region and the
    length of a step: to first order, a step changes the image as much as one standard deviation
    along the first principal component. Strength is the singular value: the norm of the change of
    all pixel values, in [−1, 1], for one unit of the latent; for other rows, the same norm.

    Parameters
    ----------
    features : str, or any callable or module from images (b, 3, H, W) to features (b, …); where
        change is measured: ``"identity"``, ``"blurred"``, ``"laplacian"``
    tolerance : float, largest relative residual to stop at
    max_products : int, products with the Jacobian or its transpose after which to stop anyway
    """

    features: str = "identity"
    tolerance: float = 1e-2
    max_products: int = 160

    statement = (
        "The directions along which the decoded image changes fastest, whatever was sampled. "
        "They hold for small steps from this latent and for the chosen measure of change; what "
        "changes most pixels need not be what looks most different."
    )
    strength_name = "singular value (image units [−1, 1] per unit of latent)"
    orthonormal = True

    def search(self, scene: Scene, k: int) -> Found:
        decoder = self._decoder(scene)
        top = top_singular(
            decoder,
            k,
            tolerance=self.tolerance,
            max_products=self.max_products,
            seed=scene.seed,
            progress=scene.progress,
        )
        worst = float(top.residuals.max())
        note = (
            f"not converged after {top.products} products: the largest relative residual is "
            f"{worst:.1g} instead of {self.tolerance:g}; raise the setting max_products"
        )
        return Found(
            top.rows,
            top.values,
            numbered("J", k),
            residuals=top.residuals,
            matvecs=top.products,
            notes=() if worst <= self.tolerance else (note,),
        )

    def measure(self, scene: Scene, rows: Tensor) -> Tensor:
        changes = self._decoder(scene).push(rows)
        lengths: Tensor = changes.flatten(1).double().norm(dim=1)
        return lengths

    def steps(self, scene: Scene, found: Found) -> tuple[Tensor, str]:
        """Return steps that change the image as much as a standard deviation along PC 1.

        To first order: the samples need not vary along these directions at all.
        """
        component, deviation = scene.leading
        change = float(self.measure(scene, component)[0]) * deviation
        floor = _NEGLIGIBLE * float(found.strengths.max())
        return change / found.strengths.clamp_min(floor), "σ of PC 1"

    def limit(self, scene: Scene) -> tuple[int, str]:
        return scene.n_features, f"the features span {scene.n_features} dimensions"

    def _decoder(self, scene: Scene) -> DecoderMap:
        return scene.once(
            (type(self), id(self.features)),
            lambda: decoder_map(
                scene.vae,
                scene.latent,
                layout=scene.neighborhood.layout,
                features=self.features,
            ),
        )
