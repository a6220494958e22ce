"""The architecture of a model with weights drawn anew: what it shows without any training."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from latentlab.errors import UsageError
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.families import ModuleVAE
from latentlab.loaders.tiles import TiledVAE


def with_random_weights(vae: LatentVAE, *, seed: int = 0) -> ModuleVAE:
    """Return a VAE of the same architecture with random weights, in float32.

    Every layer is initialized as PyTorch initializes a new one. Parameters that belong to no such
    layer keep their values in random order. The map to model space stays that of the model.

    Parameters
    ----------
    vae : LatentVAE around a torch module
    seed : int

    Raises
    ------
    UsageError : a VAE without a torch module, such as one from ``wrap_vae``, or one in tiles.

    Examples
    --------
    >>> from latentlab import load_vae
    >>> with_random_weights(load_vae("mini")).spec.name
    'mini, random weights'
    """
    if isinstance(vae, TiledVAE):
        raise UsageError(
            f"random weights for {vae.spec.name} in tiles",
            "a model that takes whole images",
            "leave out --tile or --controls random-weights",
        )
    if not isinstance(vae, ModuleVAE):
        raise UsageError(
            f"random weights for {vae.spec.name}, which has no torch module",
            "a model that latentlab loaded",
            "leave --controls random-weights out",
        )
    module = deepcopy(vae.module)
    for part in module.modules():
        vars(part).pop("forward", None)  # compiled code, which belongs to the original
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw_weights(module)
    spec = replace(vae.spec, name=f"{vae.spec.name}, random weights")
    origin = replace(vae.origin, sha256={}, notes=(f"weights drawn with seed {seed}",))
    return type(vae)(
        module,
        spec,
        origin,
        normalization=vae.normalization,
        device=vae.device,
        dtype=torch.float32,
    )


def draw_weights(module: nn.Module) -> None:
    """Draw every parameter of a module anew, in place, from the global generator."""
    drawn: set[int] = set()
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
            drawn |= {id(one) for one in part.parameters(recurse=False)}
    for parameter in module.parameters():
        if id(parameter) not in drawn:
            parameter.data.copy_(_shuffled(parameter.data))


def _shuffled(values: Tensor) -> Tensor:
    order = torch.randperm(values.numel()).to(values.device)
    return values.flatten()[order].view(values.shape)
