"""Principal components: spectrum, directions, scores and reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.chance.nulls.isotropic import noise_nulls
from latentlab.components.checks import as_matrix
from latentlab.components.summary import summarize_spectrum
from latentlab.errors import ShapeError
from latentlab.figures.tables import as_rows, frame_of
from latentlab.latents import Directions, Latent, Neighborhood, Sampling, Spectrum
from latentlab.neighborhoods.given import are_latents, latent_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from latentlab.chance.nulls.base import Null
    from latentlab.chance.verdict import Judgment
    from latentlab.figures.curves import Band

VARIANCE = "variance (model-space units²)"


@dataclass(frozen=True, eq=False, repr=False)
class PCA:
    """Principal components of a neighborhood, a matrix, a stream of rows or a store.

    Parameters
    ----------
    spectrum : Spectrum, every eigenvalue (solvers ``"krylov"`` and ``"randomized"``: the first
        n_components)
    components : Tensor, (n_components, n_features), float32, orthonormal rows
    mean : Tensor, (n_features,), float32
    sampling : Sampling, how the rows were drawn
    solver : ``"covariance"``, ``"gram"``, ``"krylov"`` or ``"randomized"``
    error_bounds : Tensor, (n_components,), float64; each eigenvalue is within this distance of a
        true one (krylov: of the true one of the same rank). None if all are exact.
    """

    spectrum: Spectrum
    components: Tensor
    mean: Tensor
    sampling: Sampling = field(default_factory=Sampling)
    solver: str = ""
    error_bounds: Tensor | None = None

    @property
    def explained_variance(self) -> Tensor:
        """Return the variance (n_components,), float64, along each component."""
        return self.spectrum.explained_variance[: len(self.components)]

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Return each component's share (n_components,) of the total variance."""
        return self.spectrum.explained_variance_ratio[: len(self.components)]

    @property
    def origin(self) -> Latent | None:
        """Return the latent that the samples surround; None for a plain matrix."""
        return self.sampling.origin

    @property
    def center(self) -> Latent:
        """Return the latent that the samples surround; UsageError for a plain matrix."""
        return self.sampling.known_origin()

    @property
    def description(self) -> str:
        """Return what was analyzed, for titles: neighborhood, its settings, N and D."""
        sizes = self.spectrum.n_samples, self.spectrum.n_features
        return f"PCA of the {self.sampling.describe(*sizes)}"

    @property
    def title(self) -> str:
        """Return two lines: image, model and size, then what was analyzed."""
        where = f"{self.origin.title}\n" if self.origin else ""
        return f"{where}{self.description}"

    @property
    def directions(self) -> Directions:
        """Return the kept components as directions of the whole latent.

        Raises
        ------
        UsageError : this is the PCA of a plain matrix, whose rows are not latents.
        """
        return self.leading(len(self.components))

    def leading(self, n_components: int) -> Directions:
        """Return the first components as directions; all kept components if there are fewer.

        Raises
        ------
        UsageError : this is the PCA of a plain matrix, whose rows are not latents.
        """
        layout = self.sampling.known_layout()
        rows = self.components[:n_components]
        return Directions(
            vectors=torch.stack([layout.lift(row) for row in rows]),
            deviations=self.explained_variance[:n_components].sqrt(),
            shares=self.explained_variance_ratio[:n_components],
            labels=tuple(f"PC {i + 1}" for i in range(len(rows))),
            finder="pca",
            basis=self.description,
            rows=rows,
            sampling=self.sampling,
            strengths=self.explained_variance[:n_components],
            strength_name=VARIANCE,
            baseline_strength=self.spectrum.total_variance / self.spectrum.n_features,
        )

    def transform(self, samples: Neighborhood | Sequence[Latent] | ArrayLike) -> Tensor:
        """Return the scores (n, n_components), float64, of samples along the components.

        Parameters
        ----------
        samples : Neighborhood, or Tensor or array (n, n_features); or latents, as an array
            (n, C, h, w) or Latents, for a PCA of latents

        Raises
        ------
        ShapeError : samples with a different number of features.
        """
        layout = self.sampling.layout
        if layout is not None and are_latents(samples):
            samples = layout.rows_of(latent_values(samples))
        rows = self._of_width(samples, self.spectrum.n_features)
        return (rows.double() - self.mean.double()) @ self.components.double().T

    def inverse_transform(self, scores: ArrayLike) -> Tensor:
        """Return the samples (n, n_features), float64, that have these scores (n, n_components).

        Outside the span of the components they equal the mean.

        Raises
        ------
        ShapeError : the number of scores is not the number of components.
        """
        rows = self._of_width(scores, len(self.components))
        return rows.double() @ self.components.double() + self.mean.double()

    def _of_width(self, rows: Any, width: int) -> Tensor:
        matrix = as_matrix(rows)
        if matrix.shape[1] != width:
            raise ShapeError(
                f"a matrix of shape {tuple(matrix.shape)}",
                f"(n, {width})",
                "pass rows like those that were fitted",
            )
        return matrix

    def summary(self) -> dict[str, Any]:
        """Return the numbers of ``pca.json`` that depend on the spectrum alone."""
        spectrum = self.spectrum
        return {
            "neighborhood": self.sampling.name,
            "n_samples": spectrum.n_samples,
            "n_features": spectrum.n_features,
            "total_variance": spectrum.total_variance,
            "explained_variance": spectrum.explained_variance.tolist(),
            "explained_variance_ratio": spectrum.explained_variance_ratio.tolist(),
            "cumulative": spectrum.cumulative.tolist(),
            **summarize_spectrum(spectrum),
        }

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each eigenvalue, from the largest on.

        ``component`` counts from 1, ``explained_variance`` is in model-space units².
        """
        spectrum = self.spectrum
        columns = {
            "component": [*range(1, len(spectrum.explained_variance) + 1)],
            "explained_variance": spectrum.explained_variance.tolist(),
            "explained_variance_ratio": spectrum.explained_variance_ratio.tolist(),
            "cumulative": spectrum.cumulative.tolist(),
        }
        return frame_of(as_rows(columns))

    def plot(
        self,
        ax: Axes | None = None,
        *,
        judgment: Judgment | None = None,
        controls: Sequence[Band] = (),
    ) -> Axes:
        """Draw the cumulative variance over isotropic noise, or a judgment's nulls and controls.

        Return the axes.
        """
        from latentlab.figures.curves import draw_cumulative

        return draw_cumulative(
            self.spectrum.cumulative,
            label=self.sampling.name,
            bands=[*(null.curve_band() for null in self._nulls(judgment)), *controls],
            interval=judgment.curve_interval if judgment else None,
            complete=self.spectrum.is_complete,
            title=self.title,
            ax=ax,
        )

    def plot_eigenvalues(self, ax: Axes | None = None, *, judgment: Judgment | None = None) -> Axes:
        """Draw the eigenvalues on log–log axes over the same nulls; return the axes."""
        from latentlab.figures.curves import draw_eigenvalues

        return draw_eigenvalues(
            self.spectrum.explained_variance,
            label=self.sampling.name,
            bands=[null.eigenvalue_band() for null in self._nulls(judgment)],
            threshold=judgment.threshold if judgment else None,
            title=self.title,
            ax=ax,
        )

    def _nulls(self, judgment: Judgment | None) -> Sequence[Null]:
        return judgment.nulls if judgment else noise_nulls(self.spectrum)

    def __repr__(self) -> str:
        return f"{self.description}, {len(self.components)} components kept"

    def _repr_png_(self) -> bytes:
        from latentlab.figures.canvas import new_figure, png_bytes

        figure = new_figure()
        self.plot(figure.add_subplot())
        return png_bytes(figure)
