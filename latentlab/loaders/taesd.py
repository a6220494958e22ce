"""TAESD's own checkpoints (https://github.com/madebyollin/taesd), including TAEF2's pooling.

Each half is a sequence of layers, and the names of its tensors determine the whole architecture: a
convolution without bias halves the resolution (encoder) or follows a doubling (decoder), a number
without tensors is an activation or that doubling, and ``conv`` is a residual block. ``pool`` next
to ``conv`` is the branch that TAEF2 has at its lowest resolution. Latents are model space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE
from latentlab.loaders.registered import FAMILIES

POOL_GROUPS = 4
LONGEST = 256
"""Far more layers than any half of a TAESD checkpoint has."""

Shapes = Mapping[str, tuple[int, ...]]


class Block(nn.Module):
    """relu(conv-relu-conv-relu-conv(x) + skip(x)), after x += pool(x) in blocks with a pool."""

    def __init__(self, shapes: Shapes, name: str) -> None:
        super().__init__()
        first, second, third = (_conv(shapes, f"{name}.conv.{index}") for index in (0, 2, 4))
        self.conv = nn.Sequential(
            first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), third
        )
        narrow = f"{name}.skip" if f"{name}.skip.weight" in shapes else None
        self.skip = _conv(shapes, narrow) if narrow else nn.Identity()
        self.pool = _pool(shapes, f"{name}.pool") if f"{name}.pool.0.weight" in shapes else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the block's output, (B, C, h, w)."""
        if self.pool is not None:
            hidden = hidden + self.pool(hidden)
        return torch.relu_(self.conv(hidden) + self.skip(hidden))


class SoftClamp(nn.Module):
    """tanh(z / 3)·3, the first layer of every TAESD decoder."""

    def forward(self, latents: Tensor) -> Tensor:
        """Return the latents (B, C, h, w) limited to ±3."""
        return torch.tanh(latents / 3) * 3


class TAESD(nn.Module):
    """Encoder and decoder as described by the names and shapes of a checkpoint.

    Parameters
    ----------
    shapes : name → shape, such as ``"encoder.0.weight": (64, 3, 3, 3)``

    Raises
    ------
    KeyError : a tensor is missing.
    ValueError : the halves do not fit together, or their images do not have three colors.
    """

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*_encoder_layers(_below("encoder.", shapes)))
        self.decoder = nn.Sequential(*_decoder_layers(_below("decoder.", shapes)))
        convolutions = [layer for layer in self.encoder if isinstance(layer, nn.Conv2d)]
        doublings = [layer for layer in self.decoder if isinstance(layer, nn.Upsample)]
        first, last = self.encoder[0], self.decoder[-1]
        self.stride = 2 ** sum(layer.stride == (2, 2) for layer in convolutions)
        self.channels: int = convolutions[-1].out_channels
        decoded: int = self.decoder[1].in_channels  # type: ignore[assignment]
        if (self.channels, self.stride) != (decoded, 2 ** len(doublings)):
            raise ValueError(
                f"the encoder returns {self.channels} channels at stride {self.stride}, "
                f"the decoder takes {decoded} at stride {2 ** len(doublings)}"
            )
        if first.in_channels != 3 or last.out_channels != 3:
            raise ValueError("an encoder or decoder whose images do not have three colors")


@FAMILIES.register("TAESD")
class TAESDVAE(ModuleVAE):
    """TAESD, TAESDXL, TAESD3, TAEF1 and TAEF2 as their author publishes them: no posterior.

    Their latents already are model space.
    """

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return the module for ``config["shapes"]``, name → shape of every tensor."""
        return TAESD(config["shapes"])

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return the encoder's channels and stride."""
        return LatentSpec(name, module.channels, module.stride)

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.module.encoder((images + 1) / 2), None

    def _run_decoder(self, latents: Tensor) -> Tensor:
        images: Tensor = self.module.decoder(latents) * 2 - 1
        return images


def join_halves(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of both files in one mapping, under ``encoder.`` and ``decoder.``."""
    return {f"encoder.{key}": tensor for key, tensor in encoder.items()} | {
        f"decoder.{key}": tensor for key, tensor in decoder.items()
    }


def rename_tiny(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return AutoencoderTiny's tensors under TAESD's names.

    diffusers puts ``layers`` between half and number, and does not count the soft clamp at the
    beginning of the decoder.
    """
    renamed = {}
    for key, tensor in tensors.items():
        half, _, rest = key.partition(".layers.")
        number, _, name = rest.partition(".")
        shifted = int(number) + (half == "decoder") if number.isdecimal() else number
        renamed[f"{half}.{shifted}.{name}"] = tensor
    return renamed


def _encoder_layers(shapes: Shapes) -> list[nn.Module]:
    return [
        Block(shapes, str(index))
        if f"{index}.conv.0.weight" in shapes
        else _conv(shapes, str(index), stride=1 if f"{index}.bias" in shapes else 2)
        for index in range(_length(shapes))
    ]


def _decoder_layers(shapes: Shapes) -> list[nn.Module]:
    layers: list[nn.Module] = [SoftClamp(), _conv(shapes, "1"), nn.ReLU(inplace=True)]
    for index in range(3, _length(shapes)):
        if f"{index}.conv.0.weight" in shapes:
            layers.append(Block(shapes, str(index)))
        elif f"{index}.weight" in shapes:
            layers.append(_conv(shapes, str(index)))
        else:
            layers.append(nn.Upsample(scale_factor=2))
    return layers


def _length(shapes: Shapes) -> int:
    numbers = [int(key.partition(".")[0]) for key in shapes]
    if not numbers or max(numbers) >= LONGEST:
        raise ValueError("an encoder or decoder is missing or has too many layers")
    return max(numbers) + 1


def _below(start: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {
        key.removeprefix(start): shape for key, shape in shapes.items() if key.startswith(start)
    }


def _conv(shapes: Shapes, name: str, *, stride: int = 1) -> nn.Conv2d:
    out_channels, in_channels, side, _ = shapes[f"{name}.weight"]
    bias = f"{name}.bias" in shapes
    return nn.Conv2d(in_channels, out_channels, side, stride, padding=side // 2, bias=bias)


def _pool(shapes: Shapes, name: str) -> nn.Sequential:
    widen = _conv(shapes, f"{name}.0")
    norm = nn.GroupNorm(POOL_GROUPS, widen.out_channels)
    return nn.Sequential(widen, norm, nn.ReLU(inplace=True), _conv(shapes, f"{name}.3"))
