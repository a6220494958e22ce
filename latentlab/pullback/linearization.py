"""The derivative of a function at one point: products with its Jacobian and with the transpose.

Both kinds of product use the graph of one forward and one backward pass, which is kept. A product
with the transpose is a backward pass. That pass is linear in the gradient it carries, so that its
own derivative is a product with the Jacobian. Each product costs about as much as the function.
torch's forward mode evaluates the function anew for every product, which cost as much as three to
four evaluations on the decoders measured, and it fails on group norms of channels-last tensors. It
is used only if an operation can be differentiated only once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import Function
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

from latentlab.machine.memory import is_exhaustion


class Linearization:
    """The Jacobian J of a function of batches at one point, as products.

    Parameters
    ----------
    function : maps (b, *in) to (b, *out), each row independently; parameters may require gradients
    point : Tensor, (*in)
    copies : int, number of products that one pass computes

    Attributes
    ----------
    value : Tensor, (*out), the function at the point
    is_constant : bool, whether autograd finds no path from the value back to the point
    """

    def __init__(self, function: Callable[[Tensor], Tensor], point: Tensor, *, copies: int) -> None:
        self.function = function
        self.copies = copies
        self._point = point.detach().expand(copies, *point.shape).clone().requires_grad_()
        with torch.enable_grad(), _twice_differentiable():
            self._value = function(self._point)
        self.value = self._value[0].detach()
        self.is_constant = not self._value.requires_grad

    def pull(self, cotangents: Tensor) -> Tensor:
        """Return Jᵀ times each row: (copies, *in) of cotangents (copies, *out)."""
        return _gradient(self._value, self._point, cotangents)

    def push(self, tangents: Tensor) -> Tensor:
        """Return J times each row: (copies, *out) of tangents (copies, *in)."""
        if self._transposed is None:
            return self._push_forward(tangents)
        probe, pulled = self._transposed
        return _gradient(pulled, probe, tangents)

    @cached_property
    def _transposed(self) -> tuple[Tensor, Tensor] | None:
        """Return a probe (copies, *out) and Jᵀ times it with its graph; None if there is none."""
        probe = torch.zeros_like(self._value).requires_grad_()
        try:
            pulled = _gradient(self._value, self._point, probe, create_graph=True)
            torch.autograd.grad(pulled, probe, torch.zeros_like(pulled), retain_graph=True)
        except (RuntimeError, NotImplementedError) as error:
            if is_exhaustion(error):
                raise
            return None
        return probe, pulled

    def _push_forward(self, tangents: Tensor) -> Tensor:
        point = self._point.detach()
        with torch.no_grad(), warnings.catch_warnings(), _twice_differentiable():
            # torch compiles its forward formulas with a function that it has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            with forward_ad.dual_level():
                dual = forward_ad.make_dual(point, tangents)  # type: ignore[no-untyped-call]
                found = forward_ad.unpack_dual(self.function(dual))  # type: ignore[no-untyped-call]
        return torch.zeros_like(self._value) if found.tangent is None else found.tangent


def _gradient(
    outputs: Tensor, inputs: Tensor, cotangents: Tensor, *, create_graph: bool = False
) -> Tensor:
    """Return the transposed Jacobian of outputs with respect to inputs, times cotangents."""
    (gradient,) = torch.autograd.grad(
        outputs, inputs, cotangents, True, create_graph, materialize_grads=True
    )
    return gradient


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Make attention, convolutions and group norms differentiable twice and in forward mode."""
    with sdpa_kernel(SDPBackend.MATH), _Replacements():
        yield


class _Replacements(TorchFunctionMode):
    """Replaces torch's convolutions by ours, and makes inputs of group norms contiguous."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.conv2d:
            return _convolve(*args, **(kwargs or {}))
        # In forward mode torch views the input, which channels-last tensors do not allow.
        if func is torch.nn.functional.group_norm and not torch.is_grad_enabled():
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))


def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    settings = (stride, padding, dilation, groups)
    if isinstance(padding, str) or not (torch.is_grad_enabled() and input.requires_grad):
        return torch.conv2d(input, weight, bias, *settings)
    applied = (input, weight.detach(), bias, settings)
    convolved: Tensor = _Convolution.apply(*applied)  # type: ignore[no-untyped-call]
    return convolved


class _Convolution(Function):
    """A convolution with fixed weights, whose second derivative is one convolution.

    torch's second derivative also computes the gradient of the weights, needed or not.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...]
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.place = hidden.shape, settings
        return torch.conv2d(hidden, weight, bias, *settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        applied = (gradients[0], weight, ctx.place)
        pulled = _TransposedConvolution.apply(*applied)  # type: ignore[no-untyped-call]
        return pulled, None, None, None


class _TransposedConvolution(Function):
    """The transpose of a convolution, whose own transpose is that convolution."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, place: Any) -> Tensor:
        shape, ctx.settings = place
        ctx.save_for_backward(weight)
        transposed: Tensor = conv2d_input(shape, weight, gradient, *ctx.settings)  # type: ignore[no-untyped-call]
        return transposed

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return torch.conv2d(tangents[0], weight, None, *ctx.settings), None, None
