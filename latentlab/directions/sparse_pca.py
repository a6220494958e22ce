"""Sparse principal components: directions with few entries that are not zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene, converges, numbered
from latentlab.errors import UsageError
from latentlab.linalg.bases import unit_rows

# Epochs over the features; more change the answer by less than another seed does.
_EPOCHS = 12
_BATCH = 256


@FINDERS.register("sparse-pca")
@dataclass(frozen=True)
class SparseComponents(Finder):
    """Components with an L1 penalty on their entries, by scikit-learn's MiniBatchSparsePCA.

    The samples are first reduced to their leading principal components. Only the variance beyond
    those components is lost: the penalty is on features, and a rotation among samples does not
    change them. Strength is the variance along each.

    Parameters
    ----------
    sparsity : float, above 0; the penalty, in units of the root mean square of what the k-th
        principal component adds to a feature
    leading : int, how many principal components the samples are reduced to
    """

    sparsity: float = 1.0
    leading: int = 32

    statement = (
        "Directions that change few latent cells and channels, with as much variance as that "
        "allows. They show what varies locally. They are not orthogonal, and the penalty decides "
        "how sparse they are."
    )

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < float("inf"):
            raise UsageError(
                f"sparsity={self.sparsity}", "a value above 0", "pass --set sparsity=1"
            )
        if self.leading < 1:
            raise UsageError(f"leading={self.leading}", "1 or more", "pass --set leading=32")

    def search(self, scene: Scene, k: int) -> Found:
        pca = scene.pca
        components = pca.components[: self.leading]
        deviations = pca.spectrum.explained_variance[: len(components)].sqrt()
        reduced = deviations[:, None] * components.double()
        penalty = self.sparsity * float(reduced[k - 1].square().mean().sqrt())
        rows, notes = _sparse_components(reduced, k, penalty, scene.seed)
        if not bool(rows.any(1).all()):
            raise UsageError(
                f"sparsity={self.sparsity:g}, which leaves a direction without any entry",
                "a smaller penalty or fewer directions",
                f"set sparsity to, say, {self.sparsity / 3:.2g}",
            )
        rows = unit_rows(rows)
        strengths = self.measure(scene, rows)
        order = strengths.argsort(descending=True, stable=True)
        filled = float((rows != 0).double().mean())
        notes = (f"{filled:.0%} of the entries are not zero (sparsity {self.sparsity:g})", *notes)
        return Found(rows[order], strengths[order], numbered("sparse", k), notes=notes)

    def limit(self, scene: Scene) -> tuple[int, str]:
        count = min(self.leading, len(scene.pca.components))
        return count, f"the samples are reduced to {count} components (setting `leading`)"


def _sparse_components(
    reduced: Tensor, k: int, penalty: float, seed: int
) -> tuple[Tensor, tuple[str, ...]]:
    """Return sparse rows (k, D), float64, of a matrix (r, D), and notes on the search."""
    from scipy.linalg import helmert
    from sklearn.decomposition import MiniBatchSparsePCA

    # Scikit-learn subtracts the mean of the rows; after this rotation it is zero.
    turned = torch.from_numpy(helmert(len(reduced) + 1).T) @ reduced
    solver = MiniBatchSparsePCA(
        k,
        alpha=penalty,
        method="cd",
        max_iter=_EPOCHS,
        batch_size=_BATCH,
        random_state=seed % 2**32,
    )
    note = "the L1 solver did not converge everywhere: entries are approximate"
    notes = () if converges(solver, turned) else (note,)
    return torch.from_numpy(solver.components_).double(), notes
