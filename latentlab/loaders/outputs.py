"""What encoders and decoders of others return, as a mean with a log-variance and as images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from latentlab.errors import ShapeError
from latentlab.latents import Posterior

_INSIDE = ("latent_dist", "posterior", "latents", "latent", "z", "sample", "mean")
_IMAGES = ("sample", "reconstruction", "recon", "images", "x_hat", "x")
_LOGVARS = ("logvar", "log_var", "log_variance")


def read_encoded(encoded: Any) -> tuple[Tensor, Tensor | None]:
    """Return mean and log-variance, or None, of what an encoder returns.

    A tensor is the mean; a tuple of two tensors of the same shape is mean and log-variance, and of
    others the first tensor is the mean. A distribution gives its mean or mode, whatever it is in.

    Raises
    ------
    ShapeError : nothing of this.

    Examples
    --------
    >>> import torch
    >>> normal = torch.distributions.Normal(torch.zeros(1, 4, 2, 2), 2.0)
    >>> mean, logvar = read_encoded({"latent_dist": normal})
    >>> mean.shape, round(float(logvar.max()), 3)
    (torch.Size([1, 4, 2, 2]), 1.386)
    """
    return _read(encoded)[:2]


def is_unnamed_pair(encoded: Any) -> bool:
    """Return whether only its shape tells that a second tensor is the log-variance.

    Examples
    --------
    >>> import torch
    >>> is_unnamed_pair((torch.zeros(1, 4), torch.zeros(1, 4)))
    True
    """
    return _read(encoded)[2]


def _read(encoded: Any) -> tuple[Tensor, Tensor | None, bool]:
    """Return mean, log-variance or None, and whether nothing but its shape tells the latter."""
    for _ in range(4):
        if isinstance(encoded, Tensor):
            return encoded, None, False
        if isinstance(encoded, Posterior):
            return encoded.mean, encoded.logvar, False
        if (parts := _read_distribution(encoded)) is not None:
            return *parts, False
        if isinstance(encoded, tuple | list) and encoded:
            first, *others = encoded
            same = len(others) == 1 and isinstance(first, Tensor)
            if same and isinstance(others[0], Tensor) and others[0].shape == first.shape:
                return first, others[0], True
            encoded = first
            continue
        inside = next((one for name in _INSIDE if (one := _get(encoded, name)) is not None), None)
        if inside is None:
            break
        encoded = inside
    raise ShapeError(
        f"{type(encoded).__name__} from encode",
        "a Tensor, (mean, logvar), a distribution or a Posterior",
        "return one of these",
    )


def read_decoded(decoded: Any) -> Tensor:
    """Return the images in what a decoder returns: itself, the first of a tuple, or ``sample``.

    Raises
    ------
    ShapeError : nothing of this.
    """
    for _ in range(3):
        if isinstance(decoded, Tensor):
            return decoded
        if isinstance(decoded, tuple | list) and decoded:
            decoded = decoded[0]
            continue
        inside = next((one for name in _IMAGES if (one := _get(decoded, name)) is not None), None)
        if inside is None:
            break
        decoded = inside
    raise ShapeError(
        f"{type(decoded).__name__} from decode", "a Tensor of images", "return the images"
    )


def _read_distribution(encoded: Any) -> tuple[Tensor, Tensor | None] | None:
    """Return mean and log-variance of a distribution; None if it is none."""
    mean = _get(encoded, "mean")
    mean = mean if isinstance(mean, Tensor) else _get(encoded, "mu")
    if not isinstance(mean, Tensor) and callable(_get(encoded, "mode")):
        mean = encoded.mode()
    if not isinstance(mean, Tensor):
        return None
    logvar = next((one for name in _LOGVARS if (one := _get(encoded, name)) is not None), None)
    if logvar is None and isinstance(deviation := _get(encoded, "stddev"), Tensor):
        logvar = 2 * deviation.log()
    fits = isinstance(logvar, Tensor) and logvar.shape == mean.shape
    return mean, logvar if fits else None


def _get(value: Any, name: str) -> Any:
    found = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return found if name in ("mode",) or not callable(found) else None
