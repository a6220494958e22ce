"""The interface that every VAE has in latentlab.

Images are (B, 3, H, W) in [−1, 1], also for models of gray or transparent images, whose own
channels are made here and nowhere else. Latents are (B, C, H/stride, W/stride) in model space.
A subclass implements two methods, :meth:`LatentVAE._encode` and :meth:`LatentVAE._decode`;
shapes, devices and dtypes are handled here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.errors import ShapeError
from latentlab.latents import LatentSpec, Posterior
from latentlab.loaders.image_channels import RGBA, from_rgb, to_rgb
from latentlab.loaders.normalization import Affine


@dataclass(frozen=True)
class ModelOrigin:
    """Where a model came from, for ``run.json``.

    Parameters
    ----------
    source : str, what the user asked for (catalogue name, hub id, absolute path)
    family : str, such as ``"AutoencoderKL"`` or ``"TAESD"``
    revision : str, commit of the hub repository, or None for local files
    sha256 : file name → SHA-256 of the weights
    normalization : str, the formula of the map to model space, with its numbers
    notes : what the family does to images or latents beyond that, one sentence each
    """

    source: str
    family: str
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    normalization: str = Affine().describe()
    notes: tuple[str, ...] = ()


class LatentVAE(ABC):
    """A pretrained VAE in model space, as :func:`latentlab.load_vae` returns it.

    Attributes
    ----------
    spec : LatentSpec
    origin : ModelOrigin
    device : torch.device of the weights
    dtype : torch.dtype of the weights; results are float32 regardless
    image_dtype : torch.dtype in which the encoder takes images
    image_channels : channels of the model's own images: 3, or 1 for gray, 4 for RGBA, or others
    batch_sizes : (half, height, width) → the fastest batch size, for the sizes measured so far
    compiled_by : backend of torch.compile, or None if the VAE is not compiled
    """

    def __init__(
        self, spec: LatentSpec, origin: ModelOrigin, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.spec = spec
        self.origin = origin
        self.device = device
        self.dtype = dtype
        self.image_dtype = dtype
        self.image_channels = 3
        self.batch_sizes: dict[tuple[str, int, int], int] = {}
        self.compiled_by: Any = None

    def encode(self, images: Tensor) -> Posterior:
        """Return mean and log-variance (B, C, H/stride, W/stride), float32, of images.

        Parameters
        ----------
        images : Tensor, (B, 3, H, W), expected in [−1, 1] but not clamped; H and W are multiples
            of ``spec.multiple``. A model of gray images gets their luma, one of RGBA gets them
            opaque; (B, ``image_channels``, H, W) is taken as it is, and (B, 4, H, W) with the
            opacity where the model ``takes_alpha``. Gradients flow through the encoder.

        Raises
        ------
        ShapeError : not a 4-D batch with such channels, or sides that are not such multiples.
        """
        advice = "crop or pad the images, or call latentlab.encode, which crops them"
        images = from_rgb(images, self.image_channels)
        with_alpha = self.takes_alpha and images.ndim == 4 and images.shape[1] == RGBA
        channels = RGBA if with_alpha else self.image_channels
        self._check_batch("images", images, channels, self.spec.multiple, advice)
        self._check_side("images", images, self.only_side)
        mean, logvar = self._encode(self._place(images, self.image_dtype))
        return Posterior(mean.float(), None if logvar is None else logvar.float())

    def decode(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, H, W), float32, approximately in [−1, 1] and not clamped.

        Gray images are repeated, RGBA is blended on white, and other numbers of channels than
        1, 3 and 4 are returned as they are.

        Parameters
        ----------
        latents : Tensor, (B, C, h, w), model space. Gradients flow through the decoder.

        Raises
        ------
        ShapeError : not a 4-D batch with ``spec.channels`` channels, or h and w that are not
            multiples of ``spec.multiple / spec.stride``.
        """
        self._check_latents(latents)
        images = self._decode(self._place(latents, self.dtype)).float()
        return to_rgb(images) if images.shape[1] == self.image_channels else images

    def _check_latents(self, latents: Tensor) -> None:
        cells = self.spec.multiple // self.spec.stride if self.spec.has_grid else 1
        advice = "pass a latent that this model encoded"
        self._check_batch("latents", latents, self.spec.channels, cells, advice)
        if self.spec.has_grid:
            self._check_side("latents", latents, (self.only_side or 0) // self.spec.stride)
        elif tuple(latents.shape[2:]) != (1, self.spec.tokens):
            raise ShapeError(f"latents of shape {tuple(latents.shape)}", self._tokens(), advice)

    @property
    def takes_alpha(self) -> bool:
        """Return whether the model encodes the opacity of an image, and decodes it."""
        return self.image_channels == RGBA

    def decode_rgba(self, latents: Tensor) -> Tensor:
        """Return images with their opacity (B, 4, H, W), the colors as they are behind it.

        Raises
        ------
        ShapeError : as for :meth:`decode`, or the model does not take the opacity.
        """
        if not self.takes_alpha:
            raise ShapeError(
                f"decode_rgba of {self.spec.name}", "a model with an alpha channel", "call decode"
            )
        self._check_latents(latents)
        return self._decode_rgba(self._place(latents, self.dtype)).float()

    def _decode_rgba(self, latents: Tensor) -> Tensor:
        """Return colors and opacity (B, 4, H, W) in [−1, 1] of latents, as :meth:`_decode`."""
        return self._decode(latents)

    @property
    def is_compiled(self) -> bool:
        """Return whether encoder and decoder are compiled."""
        return self.compiled_by is not None

    @property
    def runs_aside(self) -> bool:
        """Return whether the device computes asynchronously, as CUDA does."""
        return self.device.type == "cuda"

    @property
    def only_side(self) -> int | None:
        """Return the side, in pixels, of the only images that the model takes; None for any."""
        return self.spec.side or None

    def _tokens(self) -> str:
        spec = self.spec
        return f"(B, {spec.channels}, 1, {spec.tokens}), the tokens of {spec.name}"

    @property
    def time_stride(self) -> int:
        """Return how many frames of a clip become one latent; 1 for models of images.

        0 for a model like those of videos that takes one frame only.
        """
        return 1

    @property
    def first_frame_alone(self) -> bool:
        """Return whether a clip's first latent stands for its first frame alone, as if causal."""
        return False

    @property
    def most_clip_latents(self) -> int | None:
        """Return how many latents of a clip have a known map to model space; None for any."""
        return None

    def encode_clip(self, frames: Tensor) -> Posterior:
        """Return mean and log-variance (t, C, H/stride, W/stride), float32, of a clip.

        Parameters
        ----------
        frames : Tensor, (T, 3, H, W), expected in [−1, 1], consecutive. Of a video model with
            ``time_stride`` s, T is s·k + 1 and t is k + 1, the first latent standing for the first
            frame alone; without ``first_frame_alone`` T is s·k and t is k. Models of images encode
            each frame by itself.

        Raises
        ------
        ShapeError : frames that are no such batch, another number of them, or more than
            ``most_clip_latents`` allows.
        """
        advice = "crop or pad the frames, or call latentlab.encode_clip, which crops them"
        self._check_batch("frames", frames, 3, self.spec.multiple, advice)
        stride, alone = self.time_stride, int(self.first_frame_alone)
        if not stride or (stride == 1 and not alone):
            return self.encode(frames)
        self._check_clip(len(frames))
        count = len(frames)
        mean, logvar = self._encode_frames(self._place(frames, self.image_dtype))
        if len(mean) != alone + (count - alone) // stride:
            raise ShapeError(
                f"{len(mean)} latents of {count} frames from {self.spec.name}",
                f"one for {stride} frames, and one for the first" if alone else f"one for {stride}",
                "encode its frames one by one",
            )
        return Posterior(mean.float(), None if logvar is None else logvar.float())

    def _check_clip(self, count: int) -> None:
        stride, alone = self.time_stride, int(self.first_frame_alone)
        if (count - alone) % stride or count < (alone or stride):
            raise ShapeError(
                f"a clip of {count} frames",
                f"{self.clip_rule} frames for {self.spec.name}",
                "leave out the frames at its end",
            )
        latents, most = alone + (count - alone) // stride, self.most_clip_latents
        if most is not None and latents > most:
            raise ShapeError(
                f"a clip of {latents} latents",
                f"at most {most}, for which {self.spec.name} has statistics",
                f"pass at most {alone + (most - alone) * stride} frames",
            )

    @property
    def clip_rule(self) -> str:
        """Return how many frames a clip may have, such as ``"4k + 1"``."""
        stride = self.time_stride
        return f"{stride}k{' + 1' if self.first_frame_alone else ''}" if stride else "1"

    def _encode_frames(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log-variance (t, C, h, w) in model space of a clip that is checked."""
        raise NotImplementedError

    @property
    def tiling(self) -> dict[str, Any] | None:
        """Return size, overlap and seams of the tiles so far, or None for a VAE without tiles."""
        return None

    def cast(self, dtype: torch.dtype) -> LatentVAE:
        """Return a copy of this VAE that holds its weights and computes in another dtype.

        The copy is compiled and tiled if this VAE is. A VAE without a torch module cannot change
        its dtype and returns itself.
        """
        return self

    @cached_property
    def in_float32(self) -> LatentVAE:
        """Return this VAE computing in float32, for values beyond float16; created only once."""
        return self.cast(torch.float32)

    def activation_bytes(self, height: int, width: int) -> int:
        """Return roughly how many bytes of activations one image of H×W pixels needs.

        Measured on a small image: twice the largest sum of input and output over all layers,
        which leaves room for skip connections. 0 if the VAE has no torch module.
        """
        return int(self._activation_bytes_per_pixel * height * width)

    def clip_activation_bytes(self, count: int, height: int, width: int) -> int:
        """Return roughly how many bytes of activations encoding a clip of H×W pixels needs.

        Measured like :meth:`activation_bytes`, on a small clip of as many frames, because some
        models encode a clip a few frames at a time, and others all at once.
        """
        clip = torch.zeros(count, 3, self._small_side, self._small_side)
        _ = self.time_stride  # found first: it encodes a clip of its own
        largest = self._measure(lambda: self.encode_clip(clip))
        return int(2 * largest / self._small_side**2 * height * width)

    @property
    def _small_side(self) -> int:
        return self.only_side or self.spec.multiple * max(1, 64 // self.spec.multiple)

    @cached_property
    def _activation_bytes_per_pixel(self) -> float:
        side = self._small_side
        images = torch.zeros(1, self.image_channels, side, side)
        return 2 * self._measure(lambda: self.decode(self.encode(images).mean)) / side**2

    def _measure(self, run: Callable[[], object]) -> int:
        """Return the most bytes that go into and come out of one layer while something runs."""
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
                run()
        finally:
            for hook in hooks:
                hook.remove()
        return largest

    @abstractmethod
    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log-variance in model space of images that are checked and placed."""

    @abstractmethod
    def _decode(self, latents: Tensor) -> Tensor:
        """Return images in [−1, 1] of model-space latents that are checked and placed."""

    def _place(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        # A non-blocking copy from pinned memory overlaps with the work queued before it.
        aside = self.runs_aside
        return batch.to(self.device, dtype, non_blocking=aside, memory_format=torch.channels_last)

    def _check_batch(
        self, kind: str, batch: Tensor, channels: int, multiple: int, advice: str
    ) -> None:
        shape = tuple(batch.shape)
        good = len(shape) == 4 and shape[1] == channels and min(shape[2:]) > 0
        if not good or shape[2] % multiple or shape[3] % multiple:
            raise ShapeError(
                f"{kind} of shape {shape}",
                f"(B, {channels}, height, width) with height and width multiples of {multiple} "
                f"for {self.spec.name}",
                advice,
            )

    def _check_side(self, kind: str, batch: Tensor, side: int | None) -> None:
        if side and tuple(batch.shape[2:]) != (side, side):
            raise ShapeError(
                f"{kind} of shape {tuple(batch.shape)}",
                f"{side}×{side}, the only size that {self.spec.name} takes",
                f"pass size={self.only_side} (--size {self.only_side})",
            )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.spec.name}: {self.origin.family}, "
            f"{self.spec.channels} channels, stride {self.spec.stride}, "
            f"{self.dtype} on {self.device})"
        )
