"""Exact and randomized principal components of a neighborhood or any matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.components.checks import (
    KEPT_COMPONENTS,
    check_component_count,
    check_matrix_shape,
    check_room,
    check_variance,
    components_to_keep,
    fix_signs,
    spectrum_of,
)
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Spectrum, describe_samples
from latentlab.linalg.sums import (
    collect_rows,
    column_moments,
    combine_rows,
    eigenpairs,
    gram_matrix,
    leading_eigenpairs,
    project_rows,
    rows_in_block,
    scatter_matrix,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentlab.chance.verdict import Judgement
    from latentlab.layouts import Layout

VARIANCE = "variance (model-space units²)"


@dataclass(frozen=True, eq=False, repr=False)
class PCA:
    """Principal components of one neighborhood: its spectrum and its directions.

    Parameters
    ----------
    spectrum : Spectrum, every eigenvalue (randomized: the first n_components)
    components : Tensor, (n_components, n_features), float32, orthonormal rows
    mean : Tensor, (n_features,), float32
    neighborhood : str, what was sampled, such as ``"augment"``
    layout : Layout that lifts components to latents; None for a plain matrix
    origin : Latent that the samples surround; None for a plain matrix
    seed, options, label : how the neighborhood was sampled
    factors : name → Tensor (n_samples,), ground truth of each sample where it is known
    """

    spectrum: Spectrum
    components: Tensor
    mean: Tensor
    neighborhood: str = "matrix"
    layout: Layout | None = None
    origin: Latent | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    factors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def center(self) -> Latent:
        """Return the latent that the samples surround.

        Raises
        ------
        UsageError : this is the PCA of a plain matrix.
        """
        if self.origin is None:
            raise _no_latents()
        return self.origin

    @property
    def description(self) -> str:
        """Return what was analysed, for titles: neighborhood, its settings, N and D."""
        spectrum = self.spectrum
        label = self.label or self.neighborhood
        return f"PCA of the {describe_samples(label, spectrum.n_samples, spectrum.n_features)}"

    @property
    def title(self) -> str:
        """Return two lines that say picture, model and size, then what was analysed."""
        where = f"{self.origin.title}\n" if self.origin else ""
        return f"{where}{self.description}"

    @property
    def directions(self) -> Directions:
        """Return the kept components as directions of the whole latent.

        Raises
        ------
        UsageError : this is the PCA of a plain matrix, whose rows are no latents.
        """
        return self.leading(len(self.components))

    def leading(self, k: int) -> Directions:
        """Return the first k components as directions, or all that were kept if fewer.

        Raises
        ------
        UsageError : this is the PCA of a plain matrix, whose rows are no latents.
        """
        if self.layout is None:
            raise _no_latents()
        k = min(k, len(self.components))
        return Directions(
            vectors=torch.stack([self.layout.lift(row) for row in self.components[:k]]),
            deviations=self.spectrum.explained_variance[:k].sqrt(),
            shares=self.spectrum.explained_variance_ratio[:k],
            labels=tuple(f"PC {i + 1}" for i in range(k)),
            finder="pca",
            basis=self.description,
            rows=self.components[:k],
            layout=self.layout,
            strengths=self.spectrum.explained_variance[:k],
            strength_name=VARIANCE,
            baseline_strength=self.spectrum.total_variance / self.spectrum.n_features,
        )

    def summary(self) -> dict[str, Any]:
        """Return the numbers of ``pca.json`` that follow from the spectrum alone."""
        from latentlab.metrics.spectrum import summarize_spectrum

        spectrum = self.spectrum
        return {
            "neighborhood": self.neighborhood,
            "n_samples": spectrum.n_samples,
            "n_features": spectrum.n_features,
            "total_variance": spectrum.total_variance,
            "explained_variance": spectrum.explained_variance.tolist(),
            "explained_variance_ratio": spectrum.explained_variance_ratio.tolist(),
            "cumulative": spectrum.cumulative.tolist(),
            **summarize_spectrum(spectrum),
        }

    def plot(self, ax: Axes | None = None, *, judgement: Judgement | None = None) -> Axes:
        """Draw the cumulative variance beside that of noise, or of a judgement's nulls.

        Return the axes.
        """
        from latentlab.figures.canvas import draw_cumulative

        return draw_cumulative(self, judgement=judgement, ax=ax)

    def save(self, folder: str, *, judgement: Judgement | None = None) -> list[str]:
        """Write figures, ``pca.safetensors`` and ``pca.json`` into a folder; return their paths."""
        from latentlab.results.folders import save_pca

        return [str(path) for path in save_pca(self, folder, judgement=judgement)]

    def __repr__(self) -> str:
        return f"{self.description}, {len(self.components)} components kept"

    def _repr_png_(self) -> bytes:
        from latentlab.figures.canvas import draw_cumulative, new_figure, png_bytes

        figure = new_figure()
        draw_cumulative(self, ax=figure.add_subplot())
        return png_bytes(figure)


def fit_pca(samples: Neighborhood | Tensor, *, n_components: int | None = None) -> PCA:
    """Principal components of one neighborhood, exact for any shape.

    Centered, not scaled. The N×N Gram matrix where N ≤ D, else the D×D covariance, summed in
    float64. Signs are fixed: the largest entry of each component is positive.

    Parameters
    ----------
    samples : Neighborhood or Tensor, (n_samples, n_features), model-space units
    n_components : int, optional; how many components to keep, at most the rank of the centered
        samples. By default 64 or the rank. The spectrum is always complete.

    Raises
    ------
    ShapeError : fewer than two samples, or more components than the rank.
    NonFiniteError : the samples contain NaN or infinity.
    UsageError : all samples are alike.

    Examples
    --------
    >>> pca = fit_pca(torch.randn(40, 7, generator=torch.Generator().manual_seed(0)))
    >>> pca.components.shape, round(float(pca.spectrum.cumulative[-1]), 6)
    (torch.Size([7, 7]), 1.0)
    """
    matrix = _matrix_of(samples)
    n_samples, n_features = matrix.shape
    check_room(min(n_samples, n_features))
    if n_samples <= n_features:
        mean, scatter = gram_matrix(matrix)
    else:
        mean, scatter = scatter_matrix(torch.split(matrix, rows_in_block(n_features)))
    scatter /= n_samples - 1
    wanted = min(n_components or KEPT_COMPONENTS, len(scatter))
    variances, vectors = leading_eigenpairs(scatter, wanted)
    spectrum = spectrum_of(variances[: min(n_samples - 1, n_features)], n_samples, n_features)
    kept = components_to_keep(n_components, spectrum)
    components = vectors[:, :kept].T
    if n_samples <= n_features:
        components = combine_rows(components, matrix, mean)
    return _result(samples, spectrum, components, mean)


def fit_randomized_pca(
    samples: Neighborhood | Tensor,
    n_components: int,
    *,
    oversampling: int = 10,
    iterations: int = 4,
    seed: int = 0,
) -> PCA:
    """Leading principal components by randomized subspace iteration, approximate.

    The total variance is exact, so shares are comparable with :func:`fit_pca`; only the first
    n_components eigenvalues are known, each at most its true value. Source: Halko, Martinsson,
    Tropp, 0909.4061, algorithm 4.4.

    Parameters
    ----------
    samples : Neighborhood or Tensor, (n_samples, n_features)
    n_components : int, at most the rank
    oversampling : int, extra random directions
    iterations : int, power iterations; two are too few for a flat spectrum
    seed : int

    Raises
    ------
    ShapeError, NonFiniteError, UsageError : as for :func:`fit_pca`.
    """
    matrix = _matrix_of(samples)
    n_samples, n_features = matrix.shape
    limit = min(n_samples - 1, n_features)
    check_component_count(n_components, limit, n_samples)
    mean, variances_of_features = column_moments(matrix)
    total = float(variances_of_features.sum())
    check_variance(total)
    center = mean.to(matrix)
    generator = torch.Generator().manual_seed(seed)
    width = min(n_components + oversampling, limit)
    basis = torch.randn(n_features, width, generator=generator).to(matrix)
    for _ in range(iterations + 1):
        scores = project_rows(matrix, center, basis)
        basis = torch.linalg.qr(collect_rows(matrix, center, scores))[0]
    projected = project_rows(matrix, center, basis).double()
    variances, rotation = eigenpairs(projected.T @ projected / (n_samples - 1))
    found = Spectrum(variances, total, n_samples, n_features)
    kept = components_to_keep(n_components, found)
    components = (basis.double() @ rotation[:, :kept]).T
    spectrum = replace(found, explained_variance=variances[:kept])
    return _result(samples, spectrum, components, mean)


def _no_latents() -> UsageError:
    return UsageError(
        "the PCA of a plain matrix",
        "the PCA of a neighborhood, which can lift components to latents",
        "pass latentlab.neighborhood(...) to fit_pca",
    )


def _matrix_of(samples: Neighborhood | Tensor) -> Tensor:
    matrix = samples.samples if isinstance(samples, Neighborhood) else torch.as_tensor(samples)
    if matrix.ndim != 2:
        raise ShapeError(
            f"samples of shape {tuple(matrix.shape)}",
            "a matrix (n_samples, n_features)",
            "flatten each sample into one row",
        )
    check_matrix_shape(*matrix.shape)
    return matrix


def _result(
    samples: Neighborhood | Tensor, spectrum: Spectrum, components: Tensor, mean: Tensor
) -> PCA:
    components = fix_signs(components).float().cpu()
    if not isinstance(samples, Neighborhood):
        return PCA(spectrum, components, mean.float().cpu())
    return PCA(
        spectrum,
        components,
        mean.float().cpu(),
        neighborhood=samples.name,
        layout=samples.layout,
        origin=samples.origin,
        seed=samples.seed,
        options=samples.options,
        label=samples.label,
        factors=samples.factors,
    )
