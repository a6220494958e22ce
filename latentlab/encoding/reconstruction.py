"""An image encoded and decoded again: what the model loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.encoding.encoder import decode, decode_each, encode
from latentlab.errors import UsageError
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.fidelity import psnr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from latentlab.images.arrays import ValueRange
    from latentlab.images.fit import Size


BACKGROUNDS: Mapping[str, tuple[float, float, float]] = {
    "black": (-1.0, -1.0, -1.0),
    "gray": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "red": (1.0, -1.0, -1.0),
    "green": (-1.0, 1.0, -1.0),
    "blue": (-1.0, -1.0, 1.0),
    "yellow": (1.0, 1.0, -1.0),
    "magenta": (1.0, -1.0, 1.0),
    "cyan": (-1.0, 1.0, 1.0),
}
"""The colors over which AlphaVAE compares transparent images."""


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """An image and its reconstruction.

    Parameters
    ----------
    latent : Latent of the image
    image : Tensor, (3, H, W) in [−1, 1]
    decoded : Tensor, (3, H, W), clamped to [−1, 1]
    rgba, decoded_rgba : Tensor, (4, H, W), with the opacity, of a transparent image that a model
        with an alpha channel encoded; else None. ``image`` and ``decoded`` are these over white.
    """

    latent: Latent
    image: Tensor
    decoded: Tensor
    rgba: Tensor | None = None
    decoded_rgba: Tensor | None = None

    @property
    def psnr(self) -> float:
        """Return the peak signal-to-noise ratio in dB; infinite if nothing was lost."""
        return psnr(self.image, self.decoded)

    @property
    def psnr_over(self) -> dict[str, float]:
        """Return background → PSNR in dB of both images over it; empty for an opaque image.

        A color behind transparent pixels counts where it shows alone, as in AlphaVAE (2507.09308).
        """
        if self.rgba is None or self.decoded_rgba is None:
            return {}
        return {
            name: psnr(blend(self.rgba, color), blend(self.decoded_rgba, color))
            for name, color in BACKGROUNDS.items()
        }

    @property
    def errors(self) -> Tensor:
        """Return the error (H, W) of each pixel: mean absolute difference of its three channels.

        In shares of the range from black to white, 0 to 1.
        """
        return (self.image - self.decoded).abs().mean(0) / 2

    def summary(self) -> dict[str, Any]:
        """Return PSNR, mean error and 99th percentile of the error, JSON-ready."""
        errors = self.errors.double().flatten()
        return {
            "title": self.latent.title,
            "psnr": self.psnr,
            "mean_error": float(errors.mean()),
            "error_p99": float(errors.quantile(0.99)) if len(errors) < 2**24 else None,
            **self._transparency(),
        }

    def _transparency(self) -> dict[str, Any]:
        over = self.psnr_over
        if not over:
            return {}
        assert self.rgba is not None
        assert self.decoded_rgba is not None
        alpha = psnr(self.rgba[3:], self.decoded_rgba[3:])
        mean = sum(over.values()) / len(over)
        return {"psnr_over": over, "psnr_over_mean": mean, "psnr_alpha": alpha}

    def plot(self) -> Figure:
        """Return a figure of the image, the reconstruction and the error map side by side."""
        from latentlab.figures.reconstruction import draw_reconstruction

        return draw_reconstruction(
            self.image,
            self.decoded,
            self.errors.numpy(),
            titles=("image", f"reconstruction, {self.psnr:.2f} dB"),
            title=self.latent.title,
        )

    def __repr__(self) -> str:
        return f"Reconstruction({self.latent.title}, {self.psnr:.2f} dB)"

    def _repr_png_(self) -> bytes:
        from latentlab.figures.canvas import png_bytes

        return png_bytes(self.plot())


def reconstruct(
    vae: LatentVAE,
    image: Any,
    size: Size | None = None,
    *,
    value_range: ValueRange | None = None,
) -> Reconstruction:
    """Return an image with its reconstruction: encoded, decoded, clamped to [−1, 1].

    Parameters
    ----------
    vae : LatentVAE
    image : path, PIL image, array or tensor, as for :func:`latentlab.encode`, or a Latent with its
        image
    size, value_range : as for :func:`latentlab.encode`

    Returns
    -------
    Reconstruction : image and decoded (3, H, W), errors (H, W), psnr in dB

    Raises
    ------
    UsageError : a Latent without its image, or an invalid size.
    ImageError : the image cannot be read or is too small for the model.
    NonFiniteError, MemoryLimitError : as for :func:`latentlab.encode`.

    Notes
    -----
    The mean of the posterior is decoded, not a sample. PSNR is over all pixels and channels.

    Examples
    --------
    >>> import latentlab
    >>> found = reconstruct(latentlab.load_vae("mini"), "sample:flower", size=64)
    >>> found.decoded.shape, found.errors.shape, found.psnr > 20
    (torch.Size([3, 64, 64]), torch.Size([64, 64]), True)
    """
    latent = (
        image if isinstance(image, Latent) else encode(vae, image, size, value_range=value_range)
    )
    if latent.image is None:
        raise UsageError(
            "a latent without its image", "an image to compare with", "pass the image instead"
        )
    rgba = latent.image.rgba if vae.takes_alpha else None
    if rgba is None:
        return Reconstruction(latent, latent.image.pixels, decode(vae, latent).clamp(-1, 1))
    decoded = next(decode_each(vae, latent.values[None], rgba=True)).clamp(-1, 1)
    white = BACKGROUNDS["white"]
    return Reconstruction(latent, blend(rgba, white), blend(decoded, white), rgba, decoded)


def blend(rgba: Tensor, color: tuple[float, float, float]) -> Tensor:
    """Return an image (4, H, W) in [−1, 1] over a color in [−1, 1], as (3, H, W).

    Examples
    --------
    >>> clear = torch.tensor([0.5, 0.5, 0.5, -1.0])[:, None, None]
    >>> blend(clear, (1.0, 0.0, -1.0)).flatten().tolist()
    [1.0, 0.0, -1.0]
    """
    opacity = (rgba[3:] + 1) / 2
    behind = torch.tensor(color, dtype=rgba.dtype)[:, None, None]
    return rgba[:3] * opacity + behind * (1 - opacity)
