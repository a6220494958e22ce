"""Decoders small enough for a browser, as ONNX files for one size of image."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from latentlab.encoding.onnx_convolutions import quicken_convolutions
from latentlab.encoding.onnx_files import check_onnx, require_onnx, to_onnx

if TYPE_CHECKING:
    from latentlab.latents import Latent
    from latentlab.loaders.base import LatentVAE

LARGEST_DECODER = 10_000_000
"""Bytes of the largest decoder that goes into a page."""
TOLERANCE = 1e-4
"""Largest difference of an image in [−1, 1] from PyTorch's; relative to the largest value."""
MOST_PRODUCTS = 6.8e9
"""Products of weights and activations for an image that takes 0.3 s in WebAssembly, in two threads.

Measured in Chromium on two cores of a server: 15 to 16 billion a second in one thread, 22 in two.
They are counted as PyTorch would compute them; the file needs about half of them.
"""

_SIZES = range(64, 257, 16)


@dataclass(frozen=True)
class ExportedDecoder:
    """A decoder for latents of one shape.

    Parameters
    ----------
    content : bytes of the ONNX file: ``latent`` (1, C, h, w) to ``image`` (1, 3, H, W)
    max_abs_diff : float, the largest difference from PyTorch in the images that were compared
    """

    content: bytes
    max_abs_diff: float


class _Decoder(nn.Module):
    """The decoder of a VAE, with all of its modules registered as the exporter wants it."""

    def __init__(self, vae: LatentVAE) -> None:
        super().__init__()
        self.vae = vae
        for name, part in vars(vae).items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)

    def forward(self, latent: Tensor) -> tuple[Tensor]:
        return (self.vae.decode(latent),)


def on_cpu(vae: LatentVAE) -> LatentVAE:
    """Return a VAE that computes in float32 on the CPU, as browsers do; itself if it does."""
    if vae.dtype != torch.float32:
        vae = vae.in_float32
    if vae.device.type == "cpu":
        return vae
    moved = copy.deepcopy(vae)
    for part in vars(moved).values():
        if isinstance(part, nn.Module):
            part.cpu()
    moved.device = torch.device("cpu")
    return moved


def export_decoder(vae: LatentVAE, latent: Latent, seed: int = 0) -> ExportedDecoder:
    """Return the decoder of a VAE as an ONNX file for latents of one shape, after a check.

    The check compares it with PyTorch at the latent and at the latent with noise.

    Parameters
    ----------
    vae : LatentVAE in float32 on the CPU
    latent : Latent
    seed : int, of the noise

    Raises
    ------
    MissingExtraError : onnx, onnxscript or onnxruntime is not installed.
    ParityError : an image differs from PyTorch's by more than 1e-4.
    """
    require_onnx()
    values = latent.values[None]
    facts = {"model": vae.spec.name, "sha256": dict(vae.origin.sha256)}
    content = to_onnx(_Decoder(vae), {"latent": values}, ("image",), facts, free_batch=False)
    content = quicken_convolutions(content)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(values.shape, generator=generator) * values.std()
    found = 0.0
    for tried in (values, values + noise):
        with torch.no_grad():
            expected = {"image": vae.decode(tried)}
        difference = check_onnx(content, {"latent": tried}, expected, tolerance=TOLERANCE)
        found = max(found, difference)
    return ExportedDecoder(content, found)


def weights_of(vae: LatentVAE) -> int:
    """Return the bytes in float32 of what decodes, or of the whole model if it has no ``decoder``.

    Examples
    --------
    >>> import latentlab
    >>> weights_of(latentlab.load_vae("linear"))
    13056
    """
    modules = [part for part in vars(vae).values() if isinstance(part, nn.Module)]
    halves = [getattr(part, "decoder", None) for part in modules]
    decoders = [half for half in halves if isinstance(half, nn.Module)] or modules
    return 4 * sum(weights.numel() for part in decoders for weights in part.parameters())


def quick_size(vae: LatentVAE) -> int:
    """Return the largest side, up to 256 pixels, at which a browser follows a hand.

    Examples
    --------
    >>> import latentlab
    >>> quick_size(latentlab.load_vae("mini")), quick_size(latentlab.load_vae("linear"))
    (256, 256)
    """
    multiple = vae.spec.multiple
    sides = [side for side in _SIZES if side % multiple == 0] or [multiple]
    if vae.only_side:
        return vae.only_side
    small = sides[0]
    cost = products(vae, small) / small**2
    return max((side for side in sides if cost * side**2 <= MOST_PRODUCTS), default=small)


@torch.no_grad()
def products(vae: LatentVAE, side: int) -> int:
    """Return how many products of weights and activations decoding a square image needs.

    Counted are those of the layers of convolution and of dense layers.
    """
    found = 0

    def count(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal found
        transposed = isinstance(layer, nn.ConvTranspose2d)
        places = inputs[0] if transposed else output
        if isinstance(layer, nn.Linear):
            found += places.numel() * layer.in_features
        else:
            found += places[:, :1].numel() * layer.weight.numel()

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    modules = [part for part in vars(vae).values() if isinstance(part, nn.Module)]
    layers = [one for part in modules for one in part.modules() if isinstance(one, kinds)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        cells = vae.spec.latent_size((side, side))
        vae.decode(torch.zeros(1, vae.spec.channels, *cells))
    finally:
        for hook in hooks:
            hook.remove()
    return found
