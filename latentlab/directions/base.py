"""The base class of finders, what they search, and what they return."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor

from latentlab.components.checks import check_variance
from latentlab.components.fitting import fit_pca
from latentlab.components.pca import PCA, VARIANCE
from latentlab.linalg.sums import column_moments, project_rows

if TYPE_CHECKING:
    from latentlab.latents import Latent, Neighborhood, Progress
    from latentlab.loaders.base import LatentVAE

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False, repr=False)
class Scene:
    """What a finder searches: a latent, the samples around it, and their model.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    neighborhood : Neighborhood of the latent
    seed : int
    progress : called as ``progress(what, done, total)``
    """

    vae: LatentVAE
    latent: Latent
    neighborhood: Neighborhood
    seed: int = 0
    progress: Progress | None = None
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False)

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return self.neighborhood.n_samples

    @property
    def n_features(self) -> int:
        """Return the length of a row."""
        return self.neighborhood.n_features

    @cached_property
    def moments(self) -> tuple[Tensor, float]:
        """Return the samples' mean (n_features,), float64, and variance of all features together.

        Raises
        ------
        UsageError : all samples are identical.
        """
        mean, variances = column_moments(self.neighborhood.samples)
        total = float(variances.sum())
        check_variance(total)
        return mean, total

    @property
    def leading(self) -> tuple[Tensor, float]:
        """Return the first principal component (1, D) and the samples' deviation along it."""
        return self.pca.components[:1], float(self.pca.spectrum.explained_variance[0]) ** 0.5

    @cached_property
    def pca(self) -> PCA:
        """Return the PCA of the samples, with up to 64 components."""
        return fit_pca(self.neighborhood)

    def once(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return the result of ``make``, which is called only the first time for this key."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast("Kept", self._kept[key])

    def generator(self) -> torch.Generator:
        """Return a fresh generator with the scene's seed."""
        return torch.Generator().manual_seed(self.seed)

    def scores(self, rows: Tensor) -> Tensor:
        """Return the centered samples' places (n_samples, k), float64, along rows (k, D)."""
        return project_rows(self.neighborhood.samples, self.moments[0], rows.double().T)

    def variances(self, rows: Tensor) -> Tensor:
        """Return the samples' variance (k,), float64, along unit rows (k, D)."""
        return self.scores(rows).var(0)


@dataclass(frozen=True, eq=False)
class Found:
    """The result of a search.

    Parameters
    ----------
    rows : Tensor, (k, n_features), float32, unit length
    strengths : Tensor, (k,), float64
    labels : a name for each
    residuals : Tensor, (k,), or None where the directions are exact
    matvecs : int, products with the decoder's Jacobian or its transpose
    notes : caveats of this result
    """

    rows: Tensor
    strengths: Tensor
    labels: tuple[str, ...]
    residuals: Tensor | None = None
    matvecs: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finder(ABC):
    """One way to find directions around a latent. Its fields are its options.

    Class attributes
    ----------------
    name : how users call it
    statement : one paragraph on what its directions can and cannot show
    strength_name : what ``measure`` measures, with its unit in brackets; by default the variance
    orthonormal : whether its rows are orthonormal, not only of unit length
    usual_count : how many directions to find by default, or all if fewer; None for all
    cross_validated : whether its strengths come from samples that the rows were not fitted to;
        they are then below ``measure`` of the same rows
    reads : whether its rows are weights that read a factor, not what changes with it
    """

    name: ClassVar[str]
    statement: ClassVar[str]
    strength_name: ClassVar[str] = VARIANCE
    usual_count: ClassVar[int | None] = 8
    orthonormal: ClassVar[bool] = False
    cross_validated: ClassVar[bool] = False
    reads: ClassVar[bool] = False

    @abstractmethod
    def search(self, scene: Scene, k: int) -> Found:
        """Return k directions, the strongest first if they have an order."""

    def measure(self, scene: Scene, rows: Tensor) -> Tensor:
        """Return the strength (k,), float64, of any unit rows (k, n_features)."""
        return scene.variances(rows)

    def baseline(self, scene: Scene, rows: Tensor) -> float:
        """Return the strength that chance gives: by default the mean of random rows (r, D)."""
        return float(self.measure(scene, rows).mean())

    def steps(self, scene: Scene, found: Found) -> tuple[Tensor, str] | None:
        """Return the step lengths (k,) of walks and their unit; None means deviations, in σ."""
        return None

    def limit(self, scene: Scene) -> tuple[int, str]:
        """Return how many directions there can be, and why not more."""
        rank = min(scene.n_samples - 1, scene.n_features)
        return rank, f"{scene.n_samples} centered samples span at most {rank} dimensions"


def converges(solver: Any, rows: Tensor) -> bool:
    """Fit an estimator of scikit-learn to rows; return whether it converged."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        solver.fit(rows.numpy())
    return not any(warning.category is ConvergenceWarning for warning in caught)


def numbered(prefix: str, k: int) -> tuple[str, ...]:
    """Return k names: the prefix and 1 to k."""
    return tuple(f"{prefix} {index}" for index in range(1, k + 1))
