"""Rows as directions: random ones, unit length, fixed signs."""

from __future__ import annotations

import torch
from torch import Tensor


def random_rows(k: int, n_features: int, generator: torch.Generator) -> Tensor:
    """Return k orthonormal rows (k, n_features), float32, uniform over all directions."""
    gaussian = torch.randn(n_features, k, generator=generator, dtype=torch.float64)
    basis, triangle = torch.linalg.qr(gaussian)
    # Without these signs the rows would not be uniformly distributed (Mezzadri 2007).
    rows: Tensor = (basis * triangle.diagonal().sign()).T
    return rows.float().contiguous()


def fix_signs(rows: Tensor) -> Tensor:
    """Return rows (k, D), in place, with the largest entry of each positive."""
    negative = rows.amax(1) < -rows.amin(1)
    return rows.mul_(1 - 2 * negative[:, None].to(rows))


def unit_rows(rows: Tensor) -> Tensor:
    """Return rows (k, D) of unit length, float32, with the largest entry of each positive."""
    tiny = torch.finfo(rows.dtype).tiny
    return fix_signs(rows / rows.norm(dim=1, keepdim=True).clamp_min(tiny)).float()
