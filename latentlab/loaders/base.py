"""The one interface behind which every VAE looks alike.

Pictures are (B, 3, H, W) in [−1, 1]; latents are (B, C, H/stride, W/stride) in model space.
A family fills in two methods, :meth:`LatentVAE._encode` and :meth:`LatentVAE._decode`, and
leaves shapes, devices and dtypes to this file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.errors import ShapeError
from latentlab.latents import LatentSpec, Posterior


@dataclass(frozen=True)
class ModelOrigin:
    """Where a model came from, for ``run.json``.

    Parameters
    ----------
    source : str, what the user asked for (catalogue name, hub id, absolute path)
    family : str, such as ``"AutoencoderKL"`` or ``"TAESD"``
    revision : str, commit of the hub repository, or None for local files
    sha256 : file name → SHA-256 of the weights
    normalization : str, the formula to model space with its numbers
    """

    source: str
    family: str
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    normalization: str = "none: the model's own latents are model space"


class LatentVAE(ABC):
    """A pretrained VAE in model space: what :func:`latentlab.load_vae` returns.

    Attributes
    ----------
    spec : LatentSpec
    origin : ModelOrigin
    device : torch.device on which the weights are
    dtype : torch.dtype of the weights; results are float32 whatever it is
    picture_dtype : torch.dtype in which the encoder takes pictures
    batch_sizes : (half, height, width) → how many pictures run best at once, as far as measured
    compiled_by : backend of torch.compile that :func:`latentlab.compile_vae` was given, if it was
    """

    def __init__(
        self, spec: LatentSpec, origin: ModelOrigin, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.spec = spec
        self.origin = origin
        self.device = device
        self.dtype = dtype
        self.picture_dtype = dtype
        self.batch_sizes: dict[tuple[str, int, int], int] = {}
        self.compiled_by: Any = None

    def encode(self, images: Tensor) -> Posterior:
        """Return mean and log-variance (B, C, H/stride, W/stride), float32, of images.

        Parameters
        ----------
        images : Tensor, (B, 3, H, W), [−1, 1] expected and not clamped; sides are multiples of
            ``spec.multiple``. Gradients flow.

        Raises
        ------
        ShapeError : no 4-D batch of three channels, or sides that are no such multiples.
        """
        self._check_images(images)
        mean, logvar = self._encode(self._place(images, self.picture_dtype))
        return Posterior(mean.float(), None if logvar is None else logvar.float())

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W), float32, about [−1, 1] and not clamped.

        Parameters
        ----------
        latents : Tensor, (B, C, h, w), model space. Gradients flow.

        Raises
        ------
        ShapeError : no 4-D batch of ``spec.channels`` channels.
        """
        self._check_latents(latents)
        return self._decode(self._place(latents, self.dtype)).float()

    @property
    def is_compiled(self) -> bool:
        """Return whether :func:`latentlab.compile_vae` compiled it."""
        return self.compiled_by is not None

    @property
    def runs_aside(self) -> bool:
        """Return whether its device computes while this process goes on, as CUDA does."""
        return self.device.type == "cuda"

    @property
    def tiling(self) -> dict[str, Any] | None:
        """Return size, overlap and seams so far of the tiles that it runs on; None without."""
        return None

    def cast(self, dtype: torch.dtype) -> LatentVAE:
        """Return this VAE with its weights, as a copy, and its products in another dtype.

        What is compiled or tiled stays so. A VAE without a torch module computes as it does, and is
        returned itself.
        """
        return self

    @cached_property
    def in_float32(self) -> LatentVAE:
        """Return this VAE computing in float32, for what float16 cannot hold; made once."""
        return self.cast(torch.float32)

    def activation_bytes(self, height: int, width: int) -> int:
        """Return about how many bytes one picture of H×W pixels needs while it passes through.

        Measured on a small picture: the largest input and output of any layer, with as much
        again for what skips over it. 0 where the model is no torch module.
        """
        return int(self._activation_bytes_per_pixel * height * width)

    @cached_property
    def _activation_bytes_per_pixel(self) -> float:
        side = self.spec.multiple * max(1, 64 // self.spec.multiple)
        largest = 0

        def measure(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            nonlocal largest
            tensors = [x for x in (*inputs, output) if isinstance(x, Tensor)]
            largest = max(largest, sum(x.numel() * x.element_size() for x in tensors))

        models = [part for part in vars(self).values() if isinstance(part, nn.Module)]
        leaves = [layer for model in models for layer in model.modules() if not [*layer.children()]]
        hooks = [leaf.register_forward_hook(measure) for leaf in leaves]
        try:
            with torch.inference_mode():
                self.decode(self.encode(torch.zeros(1, 3, side, side)).mean)
        finally:
            for hook in hooks:
                hook.remove()
        return 2 * largest / side**2

    @abstractmethod
    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log-variance in model space of checked, placed images."""

    @abstractmethod
    def _decode(self, latents: Tensor) -> Tensor:
        """Return pictures in [−1, 1] of checked, placed model-space latents."""

    def _place(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        # Without waiting, a copy from pinned memory runs beside the work before it.
        aside = self.runs_aside
        return batch.to(self.device, dtype, non_blocking=aside, memory_format=torch.channels_last)

    def _check_images(self, images: Tensor) -> None:
        multiple = self.spec.multiple
        shape = tuple(images.shape)
        good = len(shape) == 4 and shape[1] == 3 and min(shape[2:], default=0) > 0
        if not good or shape[2] % multiple or shape[3] % multiple:
            raise ShapeError(
                f"images of shape {shape}",
                f"(B, 3, H, W) with H and W multiples of {multiple} for {self.spec.name}",
                "crop or pad the pictures, or use latentlab.encode, which crops",
            )

    def _check_latents(self, latents: Tensor) -> None:
        cells = self.spec.multiple // self.spec.stride
        shape = tuple(latents.shape)
        good = len(shape) == 4 and shape[1] == self.spec.channels and min(shape[2:], default=0) > 0
        if not good or shape[2] % cells or shape[3] % cells:
            raise ShapeError(
                f"latents of shape {shape}",
                f"(B, {self.spec.channels}, h, w) with h and w multiples of {cells} "
                f"for {self.spec.name}",
                "encode a picture with the same model first",
            )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.spec.name}: {self.origin.family}, "
            f"{self.spec.channels} channels, stride {self.spec.stride}, "
            f"{self.dtype} on {self.device})"
        )
