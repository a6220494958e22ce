"""The frozen types that flow: an image becomes a latent, a latent gets a neighborhood,
a neighborhood gets a spectrum and directions.

All latents are in *model space* (what the diffusion model sees), (C, h, w), float32 unless
said. All pictures are (3, H, W) in [−1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentlab.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from latentlab.layouts import Layout

Progress = Callable[[str, int, int], None]
"""What long work calls: ``progress(what, done, total)``."""


@dataclass(frozen=True)
class LatentSpec:
    """What the latents of one model look like.

    Parameters
    ----------
    name : str
        How titles and folders call the model, such as ``"taef2"``.
    channels : int
        Latent channels C.
    stride : int
        A picture of H×W pixels has H/stride × W/stride latent cells.
    multiple : int, optional
        Sides of a picture must be multiples of this many pixels; 0 means ``stride``.
    has_logvar : bool, optional
        Whether encoding gives a log-variance beside the mean.
    """

    name: str
    channels: int
    stride: int
    multiple: int = 0
    has_logvar: bool = False

    def __post_init__(self) -> None:
        if min(self.channels, self.stride) < 1 or self.multiple % self.stride:
            raise UsageError(
                f"{self.channels} channels, stride {self.stride} and multiple {self.multiple}",
                "at least 1 channel and pixel, and a multiple of the stride",
                "correct the LatentSpec",
            )
        if self.multiple == 0:
            object.__setattr__(self, "multiple", self.stride)


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A picture ready to be encoded.

    Parameters
    ----------
    pixels : Tensor, (3, H, W), float32 in [−1, 1]
    name : str, the file's stem, for titles and folders
    sha256 : str, of the file's bytes (of the pixels where there was no file)
    preprocessing : str, what was done between the file and the pixels
    """

    pixels: Tensor
    name: str = "picture"
    sha256: str = ""
    preprocessing: str = ""

    def __repr__(self) -> str:
        return f"Picture({self.name!r}, {_shape(self.pixels)} in [−1, 1], {self.preprocessing})"


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """What an encoder says of a batch: a diagonal Gaussian in model space.

    Parameters
    ----------
    mean : Tensor, (B, C, h, w)
    logvar : Tensor, (B, C, h, w), natural log of the variance, or None where the family has none
    """

    mean: Tensor
    logvar: Tensor | None = None

    def __repr__(self) -> str:
        return f"Posterior({_shape(self.mean)}, logvar={self.logvar is not None})"


@dataclass(frozen=True, eq=False, repr=False)
class Latent:
    """One picture's place in latent space.

    Parameters
    ----------
    values : Tensor, (C, h, w), float32, model space; the posterior's mean
    spec : LatentSpec
    logvar : Tensor, (C, h, w), or None where the model has no posterior
    picture : Picture, what was encoded; None for a latent that came from elsewhere
    name : str, for titles and folders
    """

    values: Tensor
    spec: LatentSpec
    logvar: Tensor | None = None
    picture: Picture | None = None
    name: str = "latent"

    def __repr__(self) -> str:
        return f"Latent({self.name!r} in {self.spec.name}, {_shape(self.values)})"

    @property
    def title(self) -> str:
        """Return picture, model and size in pixels, for titles."""
        height, width = (side * self.spec.stride for side in self.values.shape[-2:])
        return f"{self.name} · {self.spec.name} · {width}×{height} px"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the first three principal components of the cells as colors; return the axes."""
        from latentlab.figures.canvas import draw_latent

        return draw_latent(self, ax=ax)

    def _repr_png_(self) -> bytes:
        from latentlab.figures.canvas import draw_latent_rgb, png_bytes

        return png_bytes(draw_latent_rgb(self))


@dataclass(frozen=True, eq=False, repr=False)
class Neighborhood:
    """Samples around one latent, as rows for PCA, and the way back.

    Parameters
    ----------
    name : str, the sampler, such as ``"augment"``
    samples : Tensor, (n_samples, n_features), float32, model space; may be mapped from disk
    origin : Latent that the samples surround
    layout : Layout that made the rows and lifts directions back to (C, h, w)
    statement : str, what this neighborhood can and cannot tell
    seed : int
    options : the sampler's settings, JSON-ready
    label : str, the name and what would change the numbers, such as ``"gaussian, radius 0.1"``
    factors : name → Tensor (n_samples,), ground truth of each sample where it is known
    """

    name: str
    samples: Tensor
    origin: Latent
    layout: Layout
    statement: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    factors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def n_samples(self) -> int:
        """Return the number of rows."""
        return self.samples.shape[0]

    @property
    def n_features(self) -> int:
        """Return the length of a row."""
        return self.samples.shape[1]

    @property
    def description(self) -> str:
        """Return what was sampled, for titles: the name, its settings, N and D."""
        return describe_samples(self.label or self.name, *self.samples.shape)

    def lift(self, direction: Tensor) -> Tensor:
        """Return a direction (n_features,) as a change (C, h, w) of the latent."""
        return self.layout.lift(direction)

    def __repr__(self) -> str:
        size = f"N = {self.n_samples:,}, D = {self.n_features:,}"
        return f"Neighborhood({self.name!r} of {self.origin.name!r}, {size})"


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """Variance along each principal component.

    Parameters
    ----------
    explained_variance : Tensor, (n,), float64, descending, model-space units squared
    total_variance : float, of all features together, also where only few components are known
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
    def is_complete(self) -> bool:
        """Return whether every eigenvalue is known, not only the leading ones."""
        return len(self.explained_variance) == min(self.n_samples - 1, self.n_features)

    def __repr__(self) -> str:
        size = f"N = {self.n_samples:,}, D = {self.n_features:,}"
        return f"Spectrum({len(self.explained_variance)} eigenvalues, {size})"


@dataclass(frozen=True, eq=False, repr=False)
class Directions:
    """Ways to leave a latent.

    Parameters
    ----------
    vectors : Tensor, (k, C, h, w), float32; one unit along each, as a change of the latent
    deviations : Tensor, (k,); one standard deviation of the neighborhood along each
    shares : Tensor, (k,); each direction's share of the neighborhood's variance
    labels : names for titles, such as ``"PC 1"``
    finder : str, what found them, such as ``"pca"``
    basis : str, what they were found from, for titles
    rows : Tensor, (k, n_features), float32, unit length; the same as feature vectors, which the
        layout lifts to ``vectors``; None for directions that came from elsewhere
    layout : Layout that lifts the rows
    strengths : Tensor, (k,), float64; the finder's own measure of each, see ``strength_name``
    strength_name : str, the measure with its unit in brackets, such as ``"variance (units²)"``
    baseline_strength : float, mean of the same measure over random directions
    residuals : Tensor, (k,), how far each is from exact, where the finder iterates
    matvecs : int, products with the decoder's Jacobian or its transpose that were computed
    meanings : what each changes, such as ``"≈ brightness (ρ .97)"``, where it was looked at
    notes : what the finder has to say of its result, such as that it did not converge
    steps : Tensor, (k,), float64; the length of one step of a walk, where it is not the deviation:
        a finder that does not look at the samples finds directions along which they hardly vary
    step_unit : str, what one step is called, such as ``"σ"``
    """

    vectors: Tensor
    deviations: Tensor
    shares: Tensor
    labels: tuple[str, ...]
    finder: str
    basis: str = ""
    rows: Tensor | None = None
    layout: Layout | None = None
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
    def step_lengths(self) -> Tensor:
        """Return the length (k,) of one step of a walk along each."""
        return self.deviations if self.steps is None else self.steps

    @property
    def captions(self) -> tuple[str, ...]:
        """Return what to write beside the pictures of each: name, strength, meaning; in lines."""
        lines = [[label, self._strength_line(k)] for k, label in enumerate(self.labels)]
        for line, meaning in zip(lines, self.meanings, strict=False):
            line.append(meaning)
        return tuple("\n".join(line) for line in lines)

    def _strength_line(self, k: int) -> str:
        if self.strengths is None or self.strength_name.startswith("variance"):
            return f"{float(self.shares[k]):.1%} of variance"
        measure, _, _ = self.strength_name.partition(" (")
        return f"{measure} {float(self.strengths[k]):.3g}"

    def __repr__(self) -> str:
        return f"Directions({len(self.labels)} by {self.finder}: {', '.join(self.labels[:3])} …)"


def describe_samples(label: str, n_samples: int, n_features: int) -> str:
    """Return how titles name samples: as a neighborhood, unless the label says what they are.

    Examples
    --------
    >>> describe_samples("gaussian, radius 0.1", 256, 16384)
    'gaussian neighborhood, radius 0.1 (N = 256, D = 16,384)'
    >>> describe_samples("latents of 1,000 pictures", 1000, 16384)
    'latents of 1,000 pictures (N = 1,000, D = 16,384)'
    """
    size = f"N = {n_samples:,}, D = {n_features:,}"
    if " of " in label:
        return f"{label} ({size})"
    name, *settings = label.split(", ")
    return f"{', '.join([f'{name} neighborhood', *settings])} ({size})"


def _shape(tensor: Tensor) -> str:
    return "×".join(str(side) for side in tensor.shape)
