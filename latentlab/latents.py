"""The frozen types that flow: an image becomes a latent, a latent gets a neighborhood,
a neighborhood gets a spectrum and directions.

All latents are in *model space* (what the diffusion model sees), (C, h, w), float32 unless
said. All images are (3, H, W) in [−1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from latentlab.errors import UsageError
from latentlab.figures.tables import as_rows, frame_of, html_table
from latentlab.layouts import LatentSpec as LatentSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from latentlab.images.image import Image
    from latentlab.layouts import Layout

Known = TypeVar("Known")

Progress = Callable[[str, int, int], None]
"""How long work reports its progress: ``progress(what, done, total)``."""


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """An encoder's output for a batch: a diagonal Gaussian in model space.

    Parameters
    ----------
    mean : Tensor, (B, C, h, w)
    logvar : Tensor, (B, C, h, w), natural log of the variance; None if the model has none
    """

    mean: Tensor
    logvar: Tensor | None = None

    def __repr__(self) -> str:
        return f"Posterior({_shape(self.mean)}, logvar={self.logvar is not None})"


@dataclass(frozen=True, eq=False, repr=False)
class Latent:
    """The latent of one image.

    Parameters
    ----------
    values : Tensor, (C, h, w), float32, model space; the posterior's mean
    spec : LatentSpec
    logvar : Tensor, (C, h, w), or None where the model has no posterior
    image : Image, that was encoded; None for a latent from elsewhere
    name : str, for titles and folders
    record : the model's and the image's entries in ``run.json``; empty if unknown
    """

    values: Tensor
    spec: LatentSpec
    logvar: Tensor | None = None
    image: Image | None = None
    name: str = "latent"
    record: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Latent({self.name!r} in {self.spec.name}, {_shape(self.values)})"

    @property
    def title(self) -> str:
        """Return image, model and size in pixels, for titles."""
        if not self.spec.has_grid:
            return f"{self.name} · {self.spec.name} · {self.spec.tokens:,} tokens"
        height, width = self.spec.image_size(self.values.shape[-2:])
        unit = "px" if self.spec.stride > 1 else "cells"
        return f"{self.name} · {self.spec.name} · {width}×{height} {unit}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the first three principal components of the cells as colors; return the axes."""
        from latentlab.figures.latents import draw_latent

        return draw_latent(self.values, title=self.colors_title, ax=ax)

    @property
    def colors_title(self) -> str:
        """Return the title of the image that shows three components as colors."""
        return f"{self.spec.name}: PC 1–3 of {self.values.shape[0]} channels as RGB"

    @property
    def varies(self) -> bool:
        """Return whether the cells differ from one another."""
        return bool((self.values != self.values[:, :1, :1]).any())

    def draw(self, *, width: float | None = None) -> Figure:
        """Draw the image, if it is known, beside the latent as colors; return the figure.

        Parameters
        ----------
        width : float, optional; of the figure, in inches
        """
        from latentlab.figures.latents import draw_latent_beside

        pixels = None if self.image is None else self.image.pixels
        titles = (self.name, self.colors_title)
        return draw_latent_beside(self.values, pixels, titles=titles, width=width)

    def _repr_png_(self) -> bytes:
        from latentlab.figures.canvas import png_bytes

        return png_bytes(self.draw())


@dataclass(frozen=True, eq=False, repr=False)
class Sampling:
    """How samples were drawn, and how their rows become latents again.

    Neighborhoods, PCAs, JSON files and kept samples store it as one record.

    Parameters
    ----------
    name : str, the sampler, such as ``"augment"``; ``"matrix"`` for rows that are not latents
    layout : Layout that made the rows and lifts directions back to (C, h, w)
    origin : Latent that the samples surround
    seed : int
    options : the sampler's settings, JSON-ready
    label : str, the name and the settings that matter, such as ``"gaussian, radius 0.1"``
    factors : name → Tensor (n_samples,), ground truth of each sample, if known
    statement : str, what these samples can and cannot show
    n_samples : int, number of rows, to draw them again; None if unknown
    """

    name: str = "matrix"
    layout: Layout | None = None
    origin: Latent | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    statement: str = ""
    n_samples: int | None = None

    def describe(self, n_samples: int, n_features: int) -> str:
        """Return what was sampled, for titles: a neighborhood, unless the label says otherwise.

        Examples
        --------
        >>> Sampling("gaussian", label="gaussian, radius 0.1").describe(256, 16384)
        'gaussian neighborhood, radius 0.1 (N = 256, D = 16,384)'
        >>> Sampling("store", label="latents of 1,000 images").describe(1000, 16384)
        'latents of 1,000 images (N = 1,000, D = 16,384)'
        """
        label = self.label or self.name
        if " of " not in label:
            name, *settings = label.split(", ")
            label = ", ".join([f"{name} neighborhood", *settings])
        return f"{label} (N = {n_samples:,}, D = {n_features:,})"

    def facts(self) -> dict[str, Any]:
        """Return seed, sampler and settings as ``run.json`` has them."""
        return {"seed": self.seed, "neighborhood": {"name": self.name, **self.options}}

    def known_layout(self) -> Layout:
        """Return the layout; UsageError where the rows are not latents."""
        return _known(self.layout)

    def known_origin(self) -> Latent:
        """Return the origin; UsageError where the rows are not latents."""
        return _known(self.origin)


def _known(value: Known | None) -> Known:
    if value is None:
        raise UsageError(
            "rows of a plain matrix",
            "samples of a neighborhood, whose rows become latents again",
            "pass the result of latentlab.neighborhood, or latents (N, C, h, w) with vae=vae",
        )
    return value


@dataclass(frozen=True, eq=False, repr=False)
class Neighborhood:
    """Samples around one latent as rows for PCA, with the way back to latents.

    Parameters
    ----------
    samples : Tensor, (n_samples, n_features), float32, model space; may be mapped from disk
    sampling : Sampling, how they were drawn, with layout and origin
    """

    samples: Tensor
    sampling: Sampling

    @property
    def layout(self) -> Layout:
        """Return the layout that made the rows and lifts directions back to (C, h, w)."""
        return self.sampling.known_layout()

    @property
    def origin(self) -> Latent:
        """Return the latent that the samples surround."""
        return self.sampling.known_origin()

    @property
    def n_samples(self) -> int:
        """Return the number of rows."""
        return self.samples.shape[0]

    @property
    def n_features(self) -> int:
        """Return the length of a row."""
        return self.samples.shape[1]

    @property
    def name(self) -> str:
        """Return the sampler's name."""
        return self.sampling.name

    @property
    def factors(self) -> Mapping[str, Tensor]:
        """Return name → ground truth (n_samples,) of each factor; empty if none is known."""
        return self.sampling.factors

    @property
    def statement(self) -> str:
        """Return what these samples can and cannot show."""
        return self.sampling.statement

    @property
    def description(self) -> str:
        """Return what was sampled, for titles: the name, its settings, N and D."""
        return self.sampling.describe(*self.samples.shape)

    def lift(self, direction: Tensor) -> Tensor:
        """Return a direction (n_features,) as a change (C, h, w) of the latent."""
        return self.layout.lift(direction)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with the factors of each sample; empty if none is known."""
        return frame_of(as_rows({name: one.tolist() for name, one in self.factors.items()}))

    def _repr_html_(self) -> str:
        factors = {name: one.double() for name, one in self.factors.items()}
        rows = [(name, *map(float, (x.min(), x.mean(), x.max()))) for name, x in factors.items()]
        title = f"{self.origin.title}\n{self.description}"
        heads = ("factor", "least", "mean", "largest")
        return html_table(heads, rows, title=title, notes=[self.statement])

    def __repr__(self) -> str:
        size = f"N = {self.n_samples:,}, D = {self.n_features:,}"
        return f"Neighborhood({self.name!r} of {self.origin.name!r}, {size})"


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """Variance along each principal component.

    Parameters
    ----------
    explained_variance : Tensor, (n,), float64, descending, model-space units squared
    total_variance : float, of all features together, even if only a few components are known
    n_samples, n_features : int, shape of the matrix that was analysed
    """

    explained_variance: Tensor
    total_variance: float
    n_samples: int
    n_features: int

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Return each component's share of the total variance, (n,)."""
        return self.explained_variance / self.total_variance

    @property
    def cumulative(self) -> Tensor:
        """Return the share of the total variance in the first k components, (n,)."""
        return self.explained_variance_ratio.cumsum(0)

    @property
    def rank(self) -> int:
        """Return how many eigenvalues can differ from zero, known or not."""
        return min(self.n_samples - 1, self.n_features)

    @property
    def is_complete(self) -> bool:
        """Return whether all eigenvalues are known, not only the leading ones."""
        return len(self.explained_variance) == self.rank

    def __repr__(self) -> str:
        size = f"N = {self.n_samples:,}, D = {self.n_features:,}"
        return f"Spectrum({len(self.explained_variance)} eigenvalues, {size})"


@dataclass(frozen=True, eq=False, repr=False)
class Directions:
    """Directions in latent space around one latent.

    Parameters
    ----------
    vectors : Tensor, (k, C, h, w), float32; one unit along each, as a change of the latent
    deviations : Tensor, (k,); one standard deviation of the neighborhood along each
    shares : Tensor, (k,); each direction's share of the neighborhood's variance
    labels : names for titles, such as ``"PC 1"``
    finder : str, the finder's name, such as ``"pca"``
    basis : str, what they were found in, for titles
    rows : Tensor, (k, n_features), float32, unit length; the same directions as feature vectors,
        which the layout lifts to ``vectors``; None for directions from elsewhere
    sampling : Sampling of the samples that they were found in, with layout and origin
    strengths : Tensor, (k,), float64; the finder's own measure of each, see ``strength_name``
    strength_name : str, the measure with its unit in brackets, such as ``"variance (units²)"``
    baseline_strength : float, mean of the same measure for random directions
    residuals : Tensor, (k,), the error of each, if the finder iterates
    matvecs : int, how many products with the decoder's Jacobian or its transpose were computed
    meanings : what each changes, such as ``"≈ brightness (ρ .97)"``, if labels were computed
    notes : remarks of the finder on its result, such as that it did not converge
    steps : Tensor, (k,), float64; the length of one step of a walk, if it is not the deviation,
        which is tiny for finders that ignore the samples
    step_unit : str, the unit of a step, such as ``"σ"``
    """

    vectors: Tensor
    deviations: Tensor
    shares: Tensor
    labels: tuple[str, ...]
    finder: str
    basis: str = ""
    rows: Tensor | None = None
    sampling: Sampling = field(default_factory=Sampling)
    strengths: Tensor | None = None
    strength_name: str = ""
    baseline_strength: float | None = None
    residuals: Tensor | None = None
    matvecs: int = 0
    meanings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    steps: Tensor | None = None
    step_unit: str = "σ"

    @property
    def layout(self) -> Layout | None:
        """Return the layout that lifts the rows; None for directions from elsewhere."""
        return self.sampling.layout

    @property
    def step_lengths(self) -> Tensor:
        """Return the length (k,) of one step of a walk along each."""
        return self.deviations if self.steps is None else self.steps

    @property
    def captions(self) -> tuple[str, ...]:
        """Return the caption of each direction: name, strength and meaning, one a line."""
        lines = [[label, self._strength_line(k)] for k, label in enumerate(self.labels)]
        for line, meaning in zip(lines, self.meanings, strict=False):
            line.append(meaning)
        return tuple("\n".join(line) for line in lines)

    def _strength_line(self, k: int) -> str:
        if self.strengths is None or self.strength_name.startswith("variance"):
            return f"{float(self.shares[k]):.1%} of variance"
        measure, _, _ = self.strength_name.partition(" (")
        return f"{measure} {float(self.strengths[k]):.3g}"

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each direction, in their order.

        ``strength`` is the finder's measure, ``deviation`` and ``step`` are in model-space units.
        """
        return frame_of(as_rows(self._columns()))

    def _columns(self) -> dict[str, Sequence[Any]]:
        none = [None] * len(self.labels)
        return {
            "label": self.labels,
            "strength": none if self.strengths is None else self.strengths.tolist(),
            "share": self.shares.tolist(),
            "deviation": self.deviations.tolist(),
            "step": self.step_lengths.tolist(),
            **({"meaning": self.meanings} if self.meanings else {}),
        }

    def _repr_html_(self) -> str:
        columns, chance = self._columns(), self.baseline_strength
        strength = f"Strength: {self.strength_name}" if self.strength_name else ""
        notes = [strength if chance is None else f"{strength}, {chance:.4g} for random directions"]
        rows, found = zip(*columns.values(), strict=True), self.basis or self.finder
        title = f"{self.sampling.origin.title}\n{found}" if self.sampling.origin else found
        return html_table([*columns], rows, title=title, notes=[*notes, *self.notes])

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:3]) + " …" * (len(self.labels) > 3)
        return f"Directions({len(self.labels)} by {self.finder}: {shown})"


def _shape(tensor: Tensor) -> str:
    return "×".join(str(side) for side in tensor.shape)
