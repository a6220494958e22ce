"""The same copies of an image without the VAE: as pixels, and through an orthonormal transform.

What they show as well is no property of the VAE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from latentlab.chance.dimension import Dimension, find_dimension
from latentlab.components.fitting import fit_pca
from latentlab.components.summary import summarize_spectrum
from latentlab.directions.additivity import Share
from latentlab.directions.factor_model import explained_shares
from latentlab.encoding.encoder import encode
from latentlab.errors import MemoryLimitError, UsageError
from latentlab.figures.curves import Band
from latentlab.latents import LatentSpec, Spectrum
from latentlab.loaders.callables import wrap_vae
from latentlab.loaders.load import load_vae
from latentlab.loaders.random_weights import with_random_weights
from latentlab.neighborhoods import SAMPLERS, sampler_of
from latentlab.recipes.sampling import SamplingPlan, Say, draw_neighborhood

if TYPE_CHECKING:
    from latentlab.latents import Latent, Neighborhood, Progress
    from latentlab.loaders.base import LatentVAE

PIXELS, LINEAR, RANDOM = "pixels", "linear", "random-weights"
_STRIDE = 8
_VALUES = 3 * _STRIDE**2
_COLORS = {PIXELS: "#56B4E9", LINEAR: "#117733", RANDOM: "#882255"}
_LABELS = {
    PIXELS: "the same copies as pixels",
    LINEAR: "the same copies, orthonormal transform",
    RANDOM: "the same copies, random weights",
}
_WORDS = {
    PIXELS: "as pixels",
    LINEAR: "through an orthonormal transform",
    RANDOM: "through random weights",
}
ON_REQUEST = (RANDOM,)
"""Controls that are drawn if they are asked for, since they take as long as the model."""


@dataclass(frozen=True, eq=False)
class Control:
    """The spectrum of the same copies without the VAE.

    Parameters
    ----------
    name : ``"pixels"``, about as many values as the latent has, chosen at random, or
        ``"linear"``, the built-in transform of 8×8 patches, or ``"random-weights"``, the encoder of
        the model with weights drawn anew
    spectrum : Spectrum
    dimension : Dimension, effective and corrected for sampling, with its interval
    shares : what the factors explain of left-out copies, as in :class:`FactorModel`
    """

    name: str
    spectrum: Spectrum
    dimension: Dimension
    shares: Mapping[str, Share]

    @property
    def words(self) -> str:
        """Return what was done to the copies instead, such as ``"as pixels"``."""
        return _WORDS[self.name]

    def facts(self) -> dict[str, Any]:
        """Return the numbers of ``controls`` in ``pca.json``."""
        numbers = summarize_spectrum(self.spectrum)
        kept = ("participation_ratio", "k50", "k90", "k95", "k99")
        return {
            "n_features": self.spectrum.n_features,
            **{name: numbers[name] for name in kept},
            "effective_dimension": self.dimension.facts(),
            "additivity": [{"model": name, **asdict(share)} for name, share in self.shares.items()],
        }

    def band(self) -> Band:
        """Return the curve for a figure."""
        return Band(_LABELS[self.name], _COLORS[self.name], self.spectrum.cumulative)


def draw_controls(
    latent: Latent,
    hood: Neighborhood,
    image: Any,
    plan: SamplingPlan,
    *,
    say: Say,
    more: Mapping[str, LatentVAE] | None = None,
    progress: Progress | None = None,
) -> tuple[Control, ...]:
    """Return the controls of a neighborhood of changed copies; none for other neighborhoods.

    The copies are those of the neighborhood, since they depend on the image and the seed alone.
    The usual two are drawn at once: making the copies takes longer than transforming them.

    Parameters
    ----------
    latent, hood, image, plan : what was sampled, and how
    say : called with messages
    more : other controls → what encodes the copies; see :func:`controls_on_request`
    progress : called as ``progress(what, done, total)``
    """
    pixels = None if latent.image is None else latent.image.pixels
    if pixels is None or not sampler_of(hood).is_rendered or min(pixels.shape[1:]) < _STRIDE:
        return ()
    kept = max(1, min(_VALUES, round(_VALUES * latent.values.numel() / pixels.numel())))
    drawn: dict[str, Tensor] = {}
    for name, vae in {PIXELS: _both(kept), **(more or {})}.items():
        try:
            own = encode(vae, latent.image)
            told = progress and partial(_report, progress)
            rows = draw_neighborhood(vae, own, image, plan, progress=told).samples
        except MemoryLimitError as error:
            say(f"no {name} control: {error}")
            continue
        if name == PIXELS:
            cut = rows.shape[1] * kept // vae.spec.channels
            drawn |= {PIXELS: rows[:, :cut], LINEAR: rows[:, cut:]}
        else:
            drawn[name] = rows
    return tuple(_control(name, rows, hood) for name, rows in drawn.items())


def _report(progress: Progress, what: str, done: int, total: int) -> None:
    """Report progress under a name of its own: the samples themselves were drawn before."""
    progress(f"{what} for the controls", done, total)


def controls_on_request(
    vae: LatentVAE, names: Sequence[str], *, neighborhood: str, seed: int = 0
) -> dict[str, LatentVAE]:
    """Return what encodes the copies for controls that are not drawn by default, by name.

    Raises
    ------
    UsageError : an unknown control, a neighborhood without copies, or a model without a module.
    """
    check_controls(names, neighborhood)
    return {name: with_random_weights(vae, seed=seed) for name in dict.fromkeys(names)}


def check_controls(names: Sequence[str], neighborhood: str) -> None:
    """Raise UsageError for unknown controls, and for neighborhoods without copies of an image."""
    for name in names:
        if name not in ON_REQUEST:
            raise UsageError(
                f"control {name!r}",
                f"one of {', '.join(ON_REQUEST)}; {PIXELS} and {LINEAR} are always drawn",
                f"pass {ON_REQUEST[0]}",
            )
    if names and not SAMPLERS[neighborhood].is_rendered:
        raise UsageError(
            f"controls {', '.join(names)} with the {neighborhood} neighborhood",
            "copies of an image, which another encoder can encode, too",
            "pass -k augment, or leave --controls out",
        )


def _control(name: str, rows: Tensor, hood: Neighborhood) -> Control:
    spectrum = fit_pca(rows, n_components=1, solver="exact").spectrum
    return Control(name, spectrum, find_dimension(rows, spectrum), explained_shares(rows, hood))


def _both(kept: int) -> LatentVAE:
    """Return what maps images to some of their pixel values beside their orthonormal transform.

    Of each 8×8 patch so many values are kept, others in every patch but the same in every image:
    means would lose the fine detail that shifts and blur move.
    """
    linear = load_vae("linear", device="cpu", dtype="float32")

    @cache
    def chosen(shape: torch.Size) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.rand(shape, generator=generator).argsort(0)[:kept]

    def transform(images: Tensor) -> Tensor:
        values = pixel_unshuffle(images, _STRIDE)
        pixels = values.gather(1, chosen(values.shape[1:]).expand(len(values), -1, -1, -1))
        return torch.cat([pixels, linear.encode(images).mean], 1)

    def back(latents: Tensor) -> Tensor:
        return linear.decode(latents[:, kept:])

    spec = LatentSpec("controls", channels=kept + linear.spec.channels, stride=_STRIDE)
    return wrap_vae(encode=transform, decode=back, spec=spec)
