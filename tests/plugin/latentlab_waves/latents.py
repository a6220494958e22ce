"""A neighborhood, a finder and a null model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from latentlab.chance.nulls.base import BAND, Null, NullModel, limit_of_quantile, matrix_of
from latentlab.directions.base import Finder, Found, numbered
from latentlab.errors import UsageError
from latentlab.linalg.sums import column_moments
from latentlab.neighborhoods.amounts import Amount
from latentlab.neighborhoods.base import Sampler


def waves(height: int, width: int) -> torch.Tensor:
    """Return all waves (h·w, h, w) of the discrete cosine transform, orthonormal."""

    def along(size: int) -> torch.Tensor:
        frequency, place = torch.arange(size)[:, None], torch.arange(size)[None] + 0.5
        rows = torch.cos(math.pi / size * frequency * place)
        return rows / rows.norm(dim=1, keepdim=True)

    return torch.einsum("ab,cd->acbd", along(height), along(width)).flatten(0, 1)


@dataclass(frozen=True)
class Waves(Sampler):
    """The latent plus one slow wave of random height in all channels."""

    height: float = 0.1

    amounts = {"wave": Amount("model-space units", 1)}  # noqa: RUF012
    encodes = False
    statement = (
        "The latent plus a slow wave of random height, the same in all channels. It shows how one "
        "known factor appears in a spectrum, and nothing about the image or the model."
    )

    def draw(self, vae, latent, samples, generator):
        wave = waves(*latent.values.shape[1:])[1]
        for _ in range(samples):
            height = self.height * torch.randn(1, generator=generator)
            yield latent.values[None] + height * wave, {"wave": height}


@dataclass(frozen=True)
class LoudWaves(Finder):
    """Waves of single channels, those along which the samples vary most."""

    statement = (
        "Waves of the discrete cosine transform in single channels. They show at which frequencies "
        "a neighborhood varies most, and not which channels or waves vary together."
    )
    orthonormal = True

    def search(self, scene, k):
        channels, height, width = scene.latent.values.shape
        if scene.n_features != scene.latent.values.numel():
            raise UsageError(
                f"samples of {scene.n_features} features",
                "whole latents, whose waves are looked at",
                "choose a neighborhood of whole latents, without a region",
            )
        basis = torch.kron(torch.eye(channels), waves(height, width).flatten(1))
        rows = basis[scene.variances(basis).topk(k).indices]
        return Found(rows, self.measure(scene, rows), numbered("wave", k))


@dataclass(frozen=True)
class Independent(NullModel):
    """Gaussian features of the samples' variances, all independent."""

    label = "independent Gaussians"
    counts = 2
    phrase = "above chance (independent Gaussians)"

    def draw(self, samples, spectrum, *, draws=None, seed=0, progress=None):
        deviations = column_moments(matrix_of(samples, spectrum))[1].sqrt()
        generator = torch.Generator().manual_seed(seed)
        found = [self._spectrum(deviations, spectrum, generator) for _ in range(draws or 60)]
        spectra = torch.stack(found)
        largest = spectra[:, 0]
        return Null(
            model=self,
            spectra=spectra,
            total_variance=spectrum.total_variance,
            largest_quantile=float(largest.quantile(BAND[1])),
            threshold=limit_of_quantile(largest),
            draws=len(spectra),
        )

    def seconds(self, samples, spectrum):
        return 1e-8 * 60 * spectrum.n_samples * spectrum.n_features

    @staticmethod
    def _spectrum(deviations, spectrum, generator):
        shape = spectrum.n_samples, len(deviations)
        rows = deviations * torch.randn(shape, generator=generator, dtype=torch.float64)
        values = torch.linalg.svdvals(rows - rows.mean(0))[: spectrum.rank].square()
        return values * (spectrum.total_variance / values.sum())
