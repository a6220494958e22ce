"""An image in a model: what is known of it before anything is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import lcm
from typing import TYPE_CHECKING, Any

from latentlab.encoding.encoder import decode, encode
from latentlab.encoding.precision import with_fast_decoder
from latentlab.encoding.reconstruction import Reconstruction
from latentlab.explorer.pictures import channels_png, latent_png, read_upload, to_png
from latentlab.images.arrays import to_uint8
from latentlab.images.reading import read_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from latentlab.explorer.messages import Picture
    from latentlab.images.fit import Size
    from latentlab.images.image import Image
    from latentlab.latents import Latent
    from latentlab.loaders.base import LatentVAE

LONGEST_ON_CPU = 256
LONGEST_ON_GPU = 512
"""Longest side, in pixels, to which images are shrunk so that they can follow a hand."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An image in one model.

    Parameters
    ----------
    vae : LatentVAE, for encoding and sampling
    decoder : LatentVAE, the same that decodes in the fastest sufficient precision
    latent : Latent, with its image
    decoded : Tensor, (3, H, W), what the decoder makes of the latent
    """

    vae: LatentVAE
    decoder: LatentVAE
    latent: Latent
    decoded: Tensor

    @property
    def key(self) -> str:
        """Return what tells its image from others: the SHA-256."""
        assert self.latent.image is not None
        return self.latent.image.sha256

    @cached_property
    def psnr(self) -> float:
        """Return the fidelity of the reconstruction in dB."""
        assert self.latent.image is not None
        image, decoded = self.latent.image.pixels, self.decoded.clamp(-1, 1)
        return Reconstruction(self.latent, image, decoded).psnr

    def pixels(self, latent: Tensor) -> NDArray[np.uint8]:
        """Return the image (H, W, 3), uint8, of a latent (C, h, w)."""
        pixels: NDArray[np.uint8] = to_uint8(decode(self.decoder, latent)).numpy()
        return pixels

    def describe(self) -> dict[str, Any]:
        """Return the subject's entry in a scene, JSON-ready."""
        image, values = self.latent.image, self.latent.values
        assert image is not None
        height, width = image.pixels.shape[-2:]
        return {
            "name": self.vae.spec.name,
            "title": self.latent.title,
            "size": [width, height],
            "latent": {
                "shape": list(values.shape),
                "stride": self.vae.spec.stride,
                "grid": self.vae.spec.has_grid,
                "std": float(values.std()),
                "limits": self.channels[1],
            },
            "psnr": self.psnr,
            "preprocessing": image.preprocessing,
            "native": list(image.native) if image.native else None,
        }

    @cached_property
    def channels(self) -> tuple[bytes, list[float]]:
        """Return the picture of the channels, and the limit of each."""
        return channels_png(self.latent.values)

    def parts(self) -> list[tuple[str, str, bytes]]:
        """Return the subject's pictures: name, media type and bytes of each."""
        assert self.latent.image is not None
        pictures = {
            "image": to_png(to_uint8(self.latent.image.pixels).numpy()),
            "reconstruction": to_png(to_uint8(self.decoded).numpy()),
            "latent": latent_png(self.latent.values),
            "channels": self.channels[0],
        }
        return [(name, "image/png", content) for name, content in pictures.items()]


def read_subjects(
    vaes: Sequence[LatentVAE], image: Any, size: Size = "auto", longest: int | None = None
) -> tuple[Subject, ...]:
    """Return an image in each of the models, at one size that all of them take.

    Parameters
    ----------
    vaes : LatentVAE
    image : anything that :func:`latentlab.encode` takes, or a Picture from a page
    size : as for :func:`latentlab.encode`; by default the longer side has at most 256 pixels, 512
        on a GPU
    longest : int, optional; what the longer side has at most by default
    """
    read = _read_picture if _is_picture(image) else _read_given
    loaded = read(vaes, image, size, longest)
    return tuple(_subject(vae, loaded) for vae in vaes)


def _is_picture(image: Any) -> bool:
    return hasattr(image, "role") and hasattr(image, "content")


def _grid(vaes: Sequence[LatentVAE], longest: int | None) -> dict[str, int]:
    on_cpu = any(vae.device.type == "cpu" for vae in vaes)
    sides = [vae.only_side for vae in vaes if vae.only_side]
    return {
        "longest": longest or (LONGEST_ON_CPU if on_cpu else LONGEST_ON_GPU),
        "multiple": lcm(*(vae.spec.multiple for vae in vaes)),
        "side": sides[0] if sides else 0,
    }


def _read_picture(
    vaes: Sequence[LatentVAE], image: Picture, size: Size, longest: int | None
) -> Image:
    grid: dict[str, Any] = _grid(vaes, longest)
    asked: Size = grid.pop("side") or size
    return read_upload(image.content, image.name, size=asked, **grid)


def _read_given(vaes: Sequence[LatentVAE], image: Any, size: Size, longest: int | None) -> Image:
    grid: dict[str, Any] = _grid(vaes, longest)
    asked: Any = grid.pop("side") or size
    return read_image(image, size=asked, **grid)


def read_other(subject: Subject, image: Any) -> Subject:
    """Return another image in the same model at the same size, to blend with."""
    assert subject.latent.image is not None
    height, width = subject.latent.image.pixels.shape[-2:]
    longest, multiple = max(height, width), subject.vae.spec.multiple
    if _is_picture(image):
        image = read_upload(image.content, image.name, longest=4 * longest)
    fitted = read_image(image, size=(height, width), longest=longest, multiple=multiple)
    return _subject(subject.vae, fitted)


def _subject(vae: LatentVAE, image: Image) -> Subject:
    latent = encode(vae, image)
    decoder = with_fast_decoder(vae)
    return Subject(vae, decoder, latent, decode(decoder, latent))
