"""The same copies of an image without the VAE: as pixels, and through an orthonormal transform.

What they show as well is no property of the VAE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from latentlab.components.fitting import fit_pca
from latentlab.components.summary import summarize_spectrum
from latentlab.directions.factor_model import Share, explained_shares
from latentlab.encoding.encoder import encode
from latentlab.errors import MemoryLimitError
from latentlab.figures.curves import Band
from latentlab.latents import LatentSpec, Spectrum
from latentlab.loaders.callables import wrap_vae
from latentlab.loaders.load import load_vae
from latentlab.neighborhoods import sampler_of
from latentlab.recipes.sampling import SamplingPlan, Say, draw_neighborhood

if TYPE_CHECKING:
    from latentlab.latents import Latent, Neighborhood, Progress
    from latentlab.loaders.base import LatentVAE

PIXELS, LINEAR = "pixels", "linear"
_STRIDE = 8
_VALUES = 3 * _STRIDE**2
_COLORS = {PIXELS: "#56B4E9", LINEAR: "#117733"}
_LABELS = {PIXELS: "the same copies as pixels", LINEAR: "the same copies, orthonormal transform"}


@dataclass(frozen=True, eq=False)
class Control:
    """The spectrum of the same copies without the VAE.

    Parameters
    ----------
    name : ``"pixels"``, about as many values as the latent has, chosen at random, or
        ``"linear"``, the built-in transform of 8×8 patches
    spectrum : Spectrum
    shares : what the factors explain of left-out copies, as in :class:`FactorModel`
    """

    name: str
    spectrum: Spectrum
    shares: Mapping[str, Share]

    def facts(self) -> dict[str, Any]:
        """Return the numbers of ``controls`` in ``pca.json``."""
        numbers = summarize_spectrum(self.spectrum)
        kept = ("participation_ratio", "k50", "k90", "k95", "k99")
        return {
            "n_features": self.spectrum.n_features,
            **{name: numbers[name] for name in kept},
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
    progress: Progress | None = None,
) -> tuple[Control, ...]:
    """Return the controls of a neighborhood of changed copies; none for other neighborhoods.

    The copies are those of the neighborhood, since they depend on the image and the seed alone.
    Both controls are drawn at once: making the copies takes longer than transforming them.
    """
    pixels = None if latent.image is None else latent.image.pixels
    if pixels is None or not sampler_of(hood).is_rendered or min(pixels.shape[1:]) < _STRIDE:
        return ()
    kept = max(1, min(_VALUES, round(_VALUES * latent.values.numel() / pixels.numel())))
    vae = _both(kept)
    try:
        own = encode(vae, latent.image)
        rows = draw_neighborhood(vae, own, image, plan, progress=progress).samples
    except MemoryLimitError as error:
        say(f"no controls without the VAE: {error}")
        return ()
    cut = rows.shape[1] * kept // vae.spec.channels
    parts = {PIXELS: rows[:, :cut], LINEAR: rows[:, cut:]}
    return tuple(_control(name, part, hood) for name, part in parts.items())


def _control(name: str, rows: Tensor, hood: Neighborhood) -> Control:
    spectrum = fit_pca(rows, n_components=1).spectrum
    return Control(name, spectrum, explained_shares(rows, hood))


def _both(kept: int) -> LatentVAE:
    """Return what maps images to some of their pixel values beside their orthonormal transform.

    Of each 8×8 patch so many values are kept, others in every patch but the same in every image:
    means would lose the fine detail that shifts and blur move.
    """
    linear = load_vae("linear", device="cpu", dtype="float32")

    def transform(images: Tensor) -> Tensor:
        values = pixel_unshuffle(images, _STRIDE)
        generator = torch.Generator().manual_seed(0)
        chosen = torch.rand(values.shape[1:], generator=generator).argsort(0)[:kept]
        pixels = values.gather(1, chosen.expand(len(values), -1, -1, -1))
        return torch.cat([pixels, linear.encode(images).mean], 1)

    def back(latents: Tensor) -> Tensor:
        return linear.decode(latents[:, kept:])

    spec = LatentSpec("controls", channels=kept + linear.spec.channels, stride=_STRIDE)
    return wrap_vae(encode=transform, decode=back, spec=spec)
