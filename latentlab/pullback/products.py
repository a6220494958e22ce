"""The decoder around one latent: how fast the image changes along any direction.

The Jacobian itself is never formed, since at 256 px it has billions of entries; there are only
products with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from latentlab.encoding.batches import batch_size
from latentlab.errors import NonFiniteError, ShapeError, ZeroJacobianError
from latentlab.latents import Latent
from latentlab.layouts import Layout, WholeLayout, Window
from latentlab.loaders.base import LatentVAE
from latentlab.machine.memory import is_exhaustion, memory_errors
from latentlab.pullback.features import Features, make_features
from latentlab.pullback.linearization import Linearization

_ADVICE = "lower --size, or choose another --device"
_LIMIT = 1 - 1e-6
_MOST_COPIES = 8


@dataclass
class ProductCount:
    """The number of products with the Jacobian (jvp) and with its transpose (vjp) so far."""

    total: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class DecoderMap:
    """The derivative J at 0 of the map v ↦ features(D(z + lift(v))) for rows v around a latent z.

    Pixel values range over [−1, 1], and rows are in model-space units. Gains for images in [0, 1]
    are half as large.

    Parameters
    ----------
    vae : LatentVAE, with the decoder D
    values : Tensor, (C, h, w), model space; the latent z
    layout : Layout that lifts rows (n_features,) to changes (C, h, w) of the latent; its window
        restricts them to a region
    features : maps images (b, 3, H, W) to the features (b, …) in which change is measured
    count : ProductCount, which every product increases

    Notes
    -----
    The first product keeps the decoder's intermediate results for all further products. Memory is
    about what training on one image needs (on a GPU, on 8), whatever the number of products.
    """

    vae: LatentVAE
    values: Tensor
    layout: Layout
    features: Features
    count: ProductCount = field(default_factory=ProductCount)

    def __post_init__(self) -> None:
        if tuple(self.values.shape) != self.layout.shape:
            raise ShapeError(
                f"a latent of shape {tuple(self.values.shape)}",
                f"{self.layout.shape} like the layout",
                "use the layout of a neighborhood of this latent",
            )

    @property
    def n_features(self) -> int:
        """Return the length D of a row."""
        return self.layout.n_features

    @property
    def copies(self) -> int:
        """Return how many products are computed at once: one on a CPU, where more are no faster."""
        if self.vae.device.type == "cpu":
            return 1
        height, width = self.vae.spec.image_size(self.layout.shape[1:])
        return min(_MOST_COPIES, batch_size(self.vae, height, width, "decode"))

    def push(self, rows: Tensor) -> Tensor:
        """Return J times each row: changes (b, …) of the features for one unit along each row.

        Parameters
        ----------
        rows : Tensor, (b, D)

        Raises
        ------
        ShapeError : rows of another length.
        NonFiniteError : NaN in a product.
        ZeroJacobianError : the decoder's code detaches the image from the latent.
        MemoryLimitError : the decoder's intermediate results do not fit into memory.
        """
        self._check(rows, (self.n_features,), "rows")
        lifted = torch.stack([self.layout.lift(row) for row in rows])
        pushed = self._in_batches(lifted, self._linear.push)
        self.count.total += len(rows)
        return self._finite(pushed, f"change of the image in product {self.count.total} (jvp)")

    def pull(self, changes: Tensor) -> Tensor:
        """Return Jᵀ times each change: rows (b, D) of changes (b, …) of the features.

        Errors as for :meth:`push`.
        """
        self._check(changes, tuple(self._linear.value.shape), "changes")
        pulled = self._drop(self._in_batches(changes, self._linear.pull))
        self.count.total += len(changes)
        return self._finite(pulled, f"row in product {self.count.total} (vjp)")

    def moved_to(self, values: Tensor) -> DecoderMap:
        """Return the map around another latent (C, h, w), with the same count."""
        return replace(self, values=values)

    def clipped(self) -> float:
        """Return the share of pixel values at or beyond ±1 in the layout's window.

        If the decoder clamps its output, no change of the latent changes those.
        """
        with torch.no_grad():
            image = self.vae.decode(self.values[None])[0]
        seen = image
        if self.vae.spec.has_grid:
            seen = self.layout.window.scaled(self.vae.spec.stride).crop(image)
        return float((seen.abs() >= _LIMIT).double().mean())

    def zero_jacobian(self) -> ZeroJacobianError:
        """Return the error that says where and why no direction changes the image."""
        name = self.vae.spec.name
        window = self.layout.window
        where = f"the {window.width}×{window.height} cells at ({window.left}, {window.top})"
        clipped = self.clipped()
        reason = (
            f"{clipped:.0%} of its values are at or beyond ±1, where {name} clamps them"
            if clipped > 0
            else f"{name} decodes every latent to the same image"
        )
        return ZeroJacobianError(
            f"an image that does not change along any direction in {where} ({reason})",
            "a decoder that responds to small changes of its latent",
            "choose another image or region, or a model that does not clamp here",
        )

    @cached_property
    def _linear(self) -> Linearization:
        height, width = self.vae.spec.image_size(self.values.shape[-2:])
        name = self.vae.spec.name
        with memory_errors(f"the derivative of {name} at {height}×{width} pixels", _ADVICE):
            linear = self._linearize(self.values.to(self.vae.device), self.copies)
        if linear.is_constant:
            raise ZeroJacobianError(
                f"images or features of {name} that carry no gradients",
                "a decoder and features that autograd can differentiate",
                "remove torch.no_grad and detach from them",
            )
        self._finite(linear.value, "value of the image or its features")
        return linear

    def _linearize(self, point: Tensor, copies: int) -> Linearization:
        """Return the map with this many products at once, halved until memory suffices."""
        try:
            linear = Linearization(self._decode, point, copies=copies)
            if copies > 1 and not linear.is_constant:
                linear.push(torch.zeros_like(point).expand(copies, *point.shape))
            return linear
        except (MemoryError, RuntimeError) as error:
            if copies == 1 or not is_exhaustion(error):
                raise
        torch.cuda.empty_cache()
        return self._linearize(point, copies // 2)

    def _decode(self, latents: Tensor) -> Tensor:
        return self.features(self.vae.decode(latents))

    def _in_batches(self, batch: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the products with any number of rows, on the CPU, computed a pass at a time."""
        results = []
        copies = self._linear.copies
        for part in torch.split(batch.to(self._linear.value), copies):
            missing = copies - len(part)
            full = torch.cat([part, part.new_zeros(missing, *part.shape[1:])])
            with memory_errors(f"a product with the derivative of {self.vae.spec.name}", _ADVICE):
                results.append(product(full)[: len(part)].cpu())
        return torch.cat(results)

    def _drop(self, lifted: Tensor) -> Tensor:
        """Return the transpose of lifting: rows (b, D) of gradients (b, C, h, w)."""
        rows = lifted.new_zeros(len(lifted), self.n_features, requires_grad=True)
        with torch.enable_grad():
            spread = torch.stack([self.layout.lift(row) for row in rows])
        return torch.autograd.grad(spread, rows, lifted)[0]

    def _check(self, batch: Tensor, shape: tuple[int, ...], what: str) -> None:
        if batch.ndim < 1 or tuple(batch.shape[1:]) != shape or not len(batch):
            raise ShapeError(
                f"{what} of shape {tuple(batch.shape)}",
                f"(b, {', '.join(map(str, shape))})",
                "pass a batch in this map's layout and features",
            )

    def _finite(self, result: Tensor, what: str) -> Tensor:
        if not bool(torch.isfinite(result).all()):
            raise NonFiniteError(
                f"NaN or infinity in the {what} with {self.vae.spec.name} in {self.vae.dtype}",
                "finite numbers",
                "use --dtype float32, or check the decoder for roots or divisions at 0",
            )
        return result


def decoder_map(
    vae: LatentVAE,
    latent: Latent,
    *,
    layout: Layout | None = None,
    features: str | Features = "identity",
) -> DecoderMap:
    """Return the derivative of the decoded image at a latent, as products with the Jacobian.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    layout : Layout, optional; what the rows are, such as the layout of a neighborhood. By default
        each row is a whole latent.
    features : the name of a feature map, or any callable; see
        :func:`latentlab.pullback.features.make_features`

    Raises
    ------
    ShapeError : the layout is for latents of another shape.
    UsageError : there is no feature map with this name.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> latent = latentlab.encode(vae, "sample:flower", size=64)
    >>> around = decoder_map(vae, latent)
    >>> change = around.push(torch.eye(around.n_features)[:2])
    >>> change.shape, round(float(change[0].norm()), 4)
    (torch.Size([2, 3, 64, 64]), 1.0)
    """
    channels, height, width = latent.values.shape
    whole = WholeLayout((channels, height, width), Window(0, 0, height, width))
    return DecoderMap(vae, latent.values, layout or whole, make_features(features))
