"""Images to latents and latents to images, in small batches and without gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.encoding.batches import (
    ADVICE,
    Sent,
    batch_size,
    one_ahead,
    pinned,
    run_halving,
    send_to_cpu,
)
from latentlab.encoding.precision import dtype_name
from latentlab.encoding.sizes import longest_side
from latentlab.errors import NonFiniteError, ShapeError
from latentlab.images.pillow import OVER_WHITE
from latentlab.images.reading import read_image
from latentlab.latents import Latent, Posterior
from latentlab.loaders.base import LatentVAE
from latentlab.machine.memory import available_memory, check_memory

if TYPE_CHECKING:
    from latentlab.images.arrays import ValueRange
    from latentlab.images.fit import Size
    from latentlab.images.image import Image


def encode(
    vae: LatentVAE,
    image: Any,
    size: Size | None = None,
    *,
    value_range: ValueRange | None = None,
) -> Latent:
    """Return the latent of one image: the posterior's mean, and its log-variance if any.

    Parameters
    ----------
    vae : LatentVAE
    image : path, PIL image, NumPy array (H, W, 3), uint8 or float in [0, 1], Tensor (3, H, W),
        uint8 or float in [−1, 1], or Image
    size : int, optional; center-crop to a square, then resize to size×size pixels. By default,
        or with ``"native"``, the image keeps its size and is cropped to multiples of
        ``vae.spec.multiple``. ``"auto"``: an image with a side above 384 px (1,024 on a GPU) is
        shrunk to that, as commands do.
    value_range : values of black and white in a float array or tensor, such as ``(0, 1)``, optional

    Returns
    -------
    Latent : values (C, H/stride, W/stride), float32, model space

    Raises
    ------
    ImageError : the image cannot be read or is too small for the model.
    UsageError : size is not a multiple of ``vae.spec.multiple``, or values outside their range.
    NonFiniteError : the model returned NaN, as float16 does for some families.
    MemoryLimitError : the image is too large for this machine.

    Examples
    --------
    >>> import latentlab
    >>> latent = encode(latentlab.load_vae("mini"), "sample:flower", size=64)
    >>> latent.values.shape, latent.name
    (torch.Size([16, 8, 8]), 'flower')
    """
    loaded = read_for(vae, image, size, value_range)
    pixels = loaded.pixels
    if loaded.rgba is not None and vae.takes_alpha:
        pixels = loaded.rgba
        done = loaded.preprocessing.replace(OVER_WHITE, "transparency encoded")
        loaded = replace(loaded, preprocessing=done)
    posterior = encode_batch(vae, pixels[None])
    logvar = None if posterior.logvar is None else posterior.logvar[0]
    latent = Latent(posterior.mean[0], vae.spec, logvar, loaded, loaded.name)
    record = {"model": describe_model(vae), "input": describe_latent(latent)}
    return replace(latent, record=record)


def read_for(
    vae: LatentVAE, image: Any, size: Size | None = None, value_range: ValueRange | None = None
) -> Image:
    """Return an image on the grid of a model; see :func:`encode` for its size and values."""
    return read_image(
        image,
        size=size,
        longest=longest_side(vae),
        multiple=vae.spec.multiple,
        value_range=value_range,
    )


def describe_model(vae: LatentVAE) -> dict[str, Any]:
    """Return the model's entry in ``run.json``, JSON-ready."""
    return {
        "name": vae.spec.name,
        "source": vae.origin.source,
        "family": vae.origin.family,
        "revision": vae.origin.revision,
        "sha256": dict(vae.origin.sha256),
        "normalization": vae.origin.normalization,
        **({"notes": list(vae.origin.notes)} if vae.origin.notes else {}),
        "dtype": dtype_name(vae.dtype),
        "device": str(vae.device),
        "compiled": vae.is_compiled,
    }


def describe_input(image: Image | None, name: str = "") -> dict[str, Any]:
    """Return the entry in ``run.json`` of an image, or of a latent without one, JSON-ready."""
    if image is None:
        return {"name": name, "sha256": None, "preprocessing": None}
    return {
        "name": image.name,
        "sha256": image.sha256,
        "preprocessing": image.preprocessing,
        **({"path": image.path, "fit": asdict(image.fit)} if image.fit else {}),
    }


def describe_latent(latent: Latent) -> dict[str, Any]:
    """Return the entry of a latent's image in ``run.json``, as recorded where the image is gone."""
    recorded = latent.record.get("input") if latent.image is None else None
    if recorded:
        return dict(recorded)
    described = describe_input(latent.image, latent.name)
    return {**described, "latent_std": float(latent.values.std())}


def encode_batch(vae: LatentVAE, images: Tensor) -> Posterior:
    """Return the posterior (B, C, h, w), on the CPU, of images (B, 3, H, W) in [−1, 1].

    A batch that does not fit into memory is halved. If float16 overflows, the batch is encoded
    again in float32, with a warning.

    Raises
    ------
    NonFiniteError, MemoryLimitError : as for :func:`encode`.
    """
    return begin_batch(vae, images).wait()


@dataclass(frozen=True)
class BegunBatch:
    """A batch of images that is being encoded; see :func:`begin_batch`.

    Parameters
    ----------
    vae : LatentVAE
    images : Tensor, (b, 3, H, W) in [−1, 1]
    mean, logvar : Sent, on their way to the CPU; logvar None if the encoder returns none
    """

    vae: LatentVAE
    images: Tensor
    mean: Sent
    logvar: Sent | None

    def wait(self) -> Posterior:
        """Wait for the posterior (b, C, h, w) and return it, on the CPU.

        Raises
        ------
        NonFiniteError, MemoryLimitError : as for :func:`encode`.
        """
        mean = self.mean.wait()
        if _overflows(self.vae, mean):
            _warn_of_float16("encode", self.vae)
            return encode_batch(self.vae.in_float32, self.images)
        check_finite(mean, f"latents from {self.vae.spec.name} in {self.vae.dtype}")
        return Posterior(mean, self.logvar.wait() if self.logvar else None)


def begin_batch(vae: LatentVAE, images: Tensor) -> BegunBatch:
    """Begin to encode images (b, 3, H, W) in [−1, 1]; return the batch to wait for.

    Raises
    ------
    MemoryLimitError : as for :func:`encode`.
    """
    parts = _run_encoder(vae, images)
    mean = send_to_cpu(torch.cat([part.mean for part in parts]))
    logvars = [part.logvar for part in parts if part.logvar is not None]
    return BegunBatch(vae, images, mean, send_to_cpu(torch.cat(logvars)) if logvars else None)


def encode_each(vae: LatentVAE, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the mean (b, C, h, w), on the CPU, of each batch of images (b, 3, H, W) in [−1, 1].

    Like :func:`encode_batch` for each batch, but on CUDA the next batch is prepared and begun while
    one is encoded and copied.

    Raises
    ------
    NonFiniteError, MemoryLimitError : as for :func:`encode`.
    """
    begun = (begin_batch(vae, images) for images in batches)
    for posterior in one_ahead(begun, ahead=vae.runs_aside):
        yield posterior.mean


def decode_each(vae: LatentVAE, latents: Tensor, *, rgba: bool = False) -> Iterator[Tensor]:
    """Yield the image (3, H, W), on the CPU and not clamped, of each latent (n, C, h, w).

    With ``rgba`` it is (4, H, W) with the opacity, of a model that ``takes_alpha``. Memory and
    float16 are handled as in :func:`encode_batch`. On CUDA images are copied while the next are
    decoded.

    Raises
    ------
    NonFiniteError : the model returned NaN.
    MemoryLimitError : one image is too large for this machine.
    """
    run = vae.decode_rgba if rgba else vae.decode
    height, width = vae.spec.image_size(latents.shape[-2:])
    what = f"decoding {height}×{width} pixels with {vae.spec.name}"
    _check_room(vae, height, width, what)
    together = 1 if len(latents) == 1 else batch_size(vae, height, width, "decode")
    batches = torch.split(latents, together)
    sent = (
        send_to_cpu(part)
        for batch in batches
        for part in run_halving(run, pinned(batch, vae), what)
    )
    done = 0
    for images in one_ahead(sent, ahead=vae.runs_aside):
        if _overflows(vae, images):
            _warn_of_float16("decode", vae)
            again = latents[done : done + len(images)]
            yield from decode_each(vae.in_float32, again, rgba=rgba)
        else:
            check_finite(images, f"images from {vae.spec.name} in {vae.dtype}")
            yield from images
        done += len(images)


def decode(vae: LatentVAE, latent: Latent | Tensor) -> Tensor:
    """Return the image (3, H, W) of a latent, float32 around [−1, 1], on the CPU, not clamped.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent, or Tensor (C, h, w) in model space

    Raises
    ------
    ShapeError : the latent's shape does not fit the model.
    NonFiniteError : the model returned NaN.
    MemoryLimitError : the image is too large for this machine.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("mini")
    >>> decode(vae, encode(vae, "sample:flower", size=64)).shape
    torch.Size([3, 64, 64])
    """
    values = latent.values if isinstance(latent, Latent) else latent
    if values.ndim != 3:
        raise ShapeError(
            f"a latent of shape {tuple(values.shape)}",
            f"({vae.spec.channels}, height, width)",
            "pass one latent, or latents (B, C, h, w) to vae.decode",
        )
    return next(decode_each(vae, values[None]))


def _run_encoder(vae: LatentVAE, images: Tensor) -> list[Posterior]:
    """Return the posteriors of a batch, or of its parts, on the VAE's device."""
    height, width = images.shape[-2:]
    what = f"encoding {height}×{width} pixels with {vae.spec.name}"
    _check_room(vae, height, width, what)
    return run_halving(vae.encode, pinned(images, vae), what)


def _check_room(vae: LatentVAE, height: int, width: int, what: str) -> None:
    # A GPU raises an error when its memory runs out, and the batch is halved. On a CPU only images
    # that might be too large are measured: no VAE needs 32 kB per pixel.
    if not vae.runs_aside and height * width * 2**15 > available_memory():
        check_memory(vae.activation_bytes(height, width), what, ADVICE)


def check_finite(values: Tensor, what: str) -> None:
    """Raise NonFiniteError if values contain NaN or infinity."""
    if not _is_finite(values):
        raise NonFiniteError(
            f"NaN or infinite {what}", "finite numbers", "use --dtype float32 (or bfloat16)"
        )


def _overflows(vae: LatentVAE, values: Tensor) -> bool:
    return vae.dtype == torch.float16 and not _is_finite(values)


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def _warn_of_float16(verb: str, vae: LatentVAE) -> None:
    warnings.warn(
        f"{vae.spec.name} overflows when it {verb}s in float16, so float32 was used instead; "
        "choose --dtype bfloat16 or float32",
        UserWarning,
        stacklevel=3,
    )
