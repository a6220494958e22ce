"""Independent components: directions whose scores are as far from Gaussian as possible."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene, converges, numbered
from latentlab.errors import UsageError
from latentlab.linalg.bases import unit_rows

_ITERATIONS = 1000
_FEWER_ITERATIONS = 100
_FEWEST_FOR_TEST = 20
_SURROGATES = 20


@FINDERS.register("ica")
@dataclass(frozen=True)
class IndependentComponents(Finder):
    """FastICA of the whitened scores along the leading principal components.

    A direction is the change of the latent that changes one source and no other. Strength is
    |excess kurtosis| of that source: 0 for a Gaussian, 1.2 for a uniform one. The kurtosis of
    N Gaussian samples scatters by √(24/N), and the search exploits that scatter: the baseline is
    what the same search finds in Gaussian samples of the same N, and a note says how many
    components are further from a Gaussian than all of these.
    Sources: Hyvärinen 1999; GANSpace, 2004.02546.

    Parameters
    ----------
    leading : int, how many principal components are whitened and rotated
    """

    leading: int = 16

    statement = (
        "The directions in the space of the leading principal components whose sources are least "
        "Gaussian. ICA can separate factors of equal variance, which PCA cannot. Few samples "
        "always contain some direction that looks far from Gaussian."
    )
    strength_name = "|excess kurtosis| (of the source, 0 for a Gaussian)"

    def __post_init__(self) -> None:
        if self.leading < 1:
            raise UsageError(f"leading={self.leading}", "1 or more", "pass --set leading=16")

    def search(self, scene: Scene, k: int) -> Found:
        components, deviations = self._whitening(scene)
        whitened = scene.scores(components) / deviations
        unmixing, notes = _fast_ica(whitened, scene.seed)
        # A column of the mixing matrix is the change of the whitened scores for one source.
        rows = unit_rows((torch.linalg.inv(unmixing).T * deviations) @ components.double())
        strengths = self.measure(scene, rows)
        order = strengths.argsort(descending=True, stable=True)[:k]
        above = int((self.distance(scene, rows[order]) > self.limit_by_chance(scene)).sum())
        note = (
            f"{above} of {k} components are less Gaussian than any that ICA finds in {_SURROGATES} "
            f"sets of Gaussian samples (kurtosis, by Anscombe and Glynn)"
        )
        return Found(rows[order], strengths[order], numbered("IC", k), notes=(*notes, note))

    def baseline(self, scene: Scene, rows: Tensor) -> float:
        return float(self._surrogates(scene)[0].mean())

    def limit_by_chance(self, scene: Scene) -> float:
        """Return the largest distance in Gaussian samples: 1 of 21 searches exceeds it."""
        return float(self._surrogates(scene)[1].max())

    def distance(self, scene: Scene, rows: Tensor) -> Tensor:
        """Return how far from a Gaussian each row's source (k,) is, in standard deviations.

        The kurtosis of Gaussian samples is skewed: unlike its size, this distance finds sources of
        light tails as well as of heavy ones.
        """
        return _distance(self._sources(scene, rows))

    def _surrogates(self, scene: Scene) -> Tensor:
        """Return strengths and distances (2, surrogates, m) of the search in Gaussian samples."""
        count = len(self._whitening(scene)[0])

        def search() -> Tensor:
            generator, found = scene.generator(), []
            for seed in range(_SURROGATES):
                gaussian = torch.randn(
                    scene.n_samples, count, generator=generator, dtype=torch.float64
                )
                basis, _ = torch.linalg.qr(gaussian - gaussian.mean(0))
                whitened = basis * (scene.n_samples - 1) ** 0.5
                unmixing, _ = _fast_ica(whitened, seed, _FEWER_ITERATIONS)
                sources = whitened @ unmixing.T
                found.append(torch.stack([_excess_kurtosis(sources).abs(), _distance(sources)]))
            return torch.stack(found, 1)

        return scene.once((self, "surrogates"), search)

    def measure(self, scene: Scene, rows: Tensor) -> Tensor:
        return _excess_kurtosis(self._sources(scene, rows)).abs()

    def _sources(self, scene: Scene, rows: Tensor) -> Tensor:
        """Return what the samples have of each row's source, (n_samples, k)."""
        components, deviations = self._whitening(scene)
        weights = (rows.double() @ components.double().T) / deviations
        weights = weights / weights.norm(dim=1, keepdim=True).clamp_min(1e-300)
        sources: Tensor = (scene.scores(components) / deviations) @ weights.T
        return sources

    def limit(self, scene: Scene) -> tuple[int, str]:
        count = min(self.leading, len(scene.pca.components))
        return count, f"ICA rotates the {count} leading components (setting `leading`)"

    def _whitening(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Return the components (m, D) that are rotated, and the deviation (m,) along each."""
        components = scene.pca.components[: self.leading]
        return components, scene.variances(components).sqrt()


def _fast_ica(
    whitened: Tensor, seed: int, iterations: int | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the unmixing matrix (m, m), float64, and a note where it did not converge."""
    from sklearn.decomposition import FastICA

    solver = FastICA(
        whiten=False,
        fun="logcosh",
        max_iter=iterations or _ITERATIONS,
        tol=1e-5,
        random_state=seed % 2**32,
    )
    note = f"FastICA did not converge within {_ITERATIONS} iterations: components may mix"
    notes = () if converges(solver, whitened) else (note,)
    return torch.from_numpy(solver.components_).double(), notes


def _excess_kurtosis(columns: Tensor) -> Tensor:
    """Return the excess kurtosis (m,) of columns (n, m); 0 where a column is constant."""
    centered = columns - columns.mean(0)
    variance = centered.square().mean(0)
    fourth = centered.pow(4).mean(0) / variance.square().clamp_min(1e-300)
    return torch.where(variance > 0, fourth - 3, 0.0)


def _distance(columns: Tensor) -> Tensor:
    """Return |z| (m,) of the kurtosis of columns (n, m) if they are Gaussian (Anscombe and Glynn).

    The excess kurtosis in standard deviations √(24/n) for fewer than 20 samples.
    """
    from scipy.stats import kurtosistest

    n = len(columns)
    if n < _FEWEST_FOR_TEST:
        plain: Tensor = _excess_kurtosis(columns).abs() / (24 / n) ** 0.5
        return plain
    found: Tensor = torch.from_numpy(kurtosistest(columns.numpy(), axis=0).statistic)
    distances: Tensor = found.nan_to_num(0).abs()
    return distances
