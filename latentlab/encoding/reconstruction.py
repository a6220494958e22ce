"""An image encoded and decoded again: what the model loses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from latentlab.encoding.encoder import decode, encode
from latentlab.errors import UsageError
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.fidelity import psnr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from latentlab.images.arrays import ValueRange
    from latentlab.images.fit import Size


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """An image and its reconstruction.

    Parameters
    ----------
    latent : Latent of the image
    image : Tensor, (3, H, W) in [−1, 1]
    decoded : Tensor, (3, H, W), clamped to [−1, 1]
    """

    latent: Latent
    image: Tensor
    decoded: Tensor

    @property
    def psnr(self) -> float:
        """Return the peak signal-to-noise ratio in dB; infinite if nothing was lost."""
        return psnr(self.image, self.decoded)

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
        }

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
    return Reconstruction(latent, latent.image.pixels, decode(vae, latent).clamp(-1, 1))
