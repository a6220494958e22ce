"""Latents from elsewhere, such as another program's array, as a neighborhood of their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlab.encoding.encoder import describe_model
from latentlab.errors import ShapeError
from latentlab.latents import Latent, Neighborhood, Sampling
from latentlab.layouts import WholeLayout, Window
from latentlab.loaders.base import LatentVAE

_STATEMENT = (
    "Whole latents as they were passed. It shows how these differ, mostly in what is where. Others "
    "have other components."
)


def are_latents(x: Any) -> bool:
    """Return whether something is an array (N, C, h, w) or a sequence of Latents."""
    if isinstance(x, Sequence) and not isinstance(x, str):
        return len(x) > 0 and all(isinstance(one, Latent) for one in x)
    return getattr(x, "ndim", 0) == 4


def given_neighborhood(latents: Any, vae: LatentVAE | None = None) -> Neighborhood:
    """Return latents as rows around their mean, which directions then start from.

    Parameters
    ----------
    latents : array or Tensor (N, C, h, w) in model space, or a sequence of Latents of one shape
    vae : LatentVAE that the latents belong to; Latents know their model

    Raises
    ------
    ShapeError : an array without a VAE, latents of several shapes, or another number of channels
        than the model's.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> given_neighborhood(torch.randn(5, 16, 4, 4), vae)
    Neighborhood('latents' of 'mean of 5 latents', N = 5, D = 256)
    """
    values = latent_values(latents)
    if vae is None and not isinstance(latents, Sequence):
        raise ShapeError(
            f"an array of shape {tuple(values.shape)} without its model",
            "a matrix (n_samples, n_features), or latents (N, C, h, w) with their model",
            "pass vae=vae beside latents, or flatten each sample into one row",
        )
    spec = latents[0].spec if vae is None else vae.spec
    model = latents[0].record.get("model") if vae is None else describe_model(vae)
    count, channels, height, width = values.shape
    if channels != spec.channels:
        raise ShapeError(
            f"latents of shape {tuple(values.shape)}",
            f"(N, {spec.channels}, h, w) for {spec.name}",
            "pass the model that they belong to, channels second",
        )
    layout = WholeLayout((channels, height, width), Window(0, 0, height, width))
    origin = Latent(
        values.double().mean(0).float(),
        spec,
        name=f"mean of {count:,} latents",
        record={"model": model} if model else {},
    )
    sampling = Sampling(
        "latents",
        layout,
        origin,
        label=f"latents of {spec.name}",
        statement=_STATEMENT,
        n_samples=count,
    )
    return Neighborhood(layout.flatten(values), sampling)


def latent_values(latents: Any) -> Tensor:
    """Return latents, an array (N, C, h, w) or Latents, as one Tensor (N, C, h, w), float32.

    Raises
    ------
    ShapeError : Latents of several shapes or models.
    """
    if isinstance(latents, Tensor):
        return latents.detach().cpu().float()
    if not isinstance(latents, Sequence):
        return torch.from_numpy(np.array(latents, np.float32))
    kinds = {f"{latent.spec.name} {tuple(latent.values.shape)}" for latent in latents}
    if len(kinds) > 1:
        raise ShapeError(
            f"latents of {', '.join(sorted(kinds))}",
            "one model and one shape",
            "encode all images with the same model and size",
        )
    return torch.stack([latent.values for latent in latents])
