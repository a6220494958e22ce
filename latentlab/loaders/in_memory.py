"""A model, a pipeline or a state_dict that is in memory already → a VAE in model space.

The weights of a model stay where they are and are shared, so that memory holds them once. The
model itself is left as it is: what is switched to evaluation is a copy of its layers around the
same weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.errors import UsageError
from latentlab.loaders.configs import read_config
from latentlab.loaders.configured import Given, read_configured
from latentlab.loaders.families import Checkpoint
from latentlab.loaders.naming import absolute_path
from latentlab.loaders.pickles import named_tensors
from latentlab.loaders.registered import FAMILIES
from latentlab.loaders.single_files import read_set
from latentlab.loaders.stated import STATED
from latentlab.machine.files import exists

_PARTS = ("vae", "first_stage_model", "autoencoder", "vqvae", "movq", "vqgan")
_WRAPPERS = ("_orig_mod", "module")
"""What torch.compile and DistributedDataParallel call the model that they wrap."""

Config = Mapping[str, Any] | str | Path


def is_in_memory(source: object) -> bool:
    """Return whether a source is a model, a pipeline or tensors instead of a name or a path."""
    return not isinstance(source, str | Path | tuple | list)


def read_model(source: Any, wanted: str | None) -> tuple[nn.Module, Checkpoint]:
    """Return the autoencoder of a model or pipeline, and what is known about it.

    Parameters
    ----------
    source : autoencoder of diffusers, or what has one as ``vae``, such as a pipeline
    wanted : name of the normalization that the user states, or None

    Returns
    -------
    module : copy of its layers around the same weights, in eval mode, without gradients of them
    checkpoint : Checkpoint

    Raises
    ------
    UsageError : nothing like that, or weights that are elsewhere.
    """
    model, owner = _find_autoencoder(source)
    family = next((one.__name__ for one in type(model).__mro__ if one.__name__ in FAMILIES), "")
    if not family or not hasattr(model, "config"):
        raise UsageError(
            f"{type(model).__name__}",
            "a pipeline or an autoencoder of diffusers, or a state_dict with config=",
            "pass your own module to latentlab.wrap_vae(module)",
        )
    tensors = model.state_dict()
    if any(tensor.is_meta for tensor in tensors.values()):
        raise UsageError(
            f"{type(model).__name__} without its weights in memory",
            "weights on a device",
            "load it without enable_sequential_cpu_offload",
        )
    config = {**json.loads(model.to_json_string()), **model.config, "_class_name": family}
    name = str(config.get("_name_or_path") or "").rstrip("/").rpartition("/")[2] or family
    where = f"{family} in memory" + (f" ({config['_name_or_path']})" if name != family else "")
    given = Given(
        tensors,
        where,
        {"weights in memory": hash_tensors(tensors)},
        wanted=wanted,
        pipeline=type(owner).__name__ if owner is not None else "",
        repo=str(config.get("_name_or_path") or ""),
    )
    found = read_configured(given, config, None)
    module = share(model)
    if found.config.get("scaling_factor") != config.get("scaling_factor"):
        # Which pipeline the model belongs to decides whether its scale counts.
        module.register_to_config(scaling_factor=found.config["scaling_factor"])  # type: ignore[operator]
    return module, replace(found, name=name, source=where)


def read_state_dict(
    tensors: Mapping[str, Any],
    config: Config | None,
    *,
    normalization: str | None,
    weights: str | None,
) -> Checkpoint:
    """Return the checkpoint of a state_dict, also of a trainer's with several sets.

    Parameters
    ----------
    tensors : name → Tensor, nested or not
    config : contents or path of config.json, its folder, or the class of diffusers; None if names
        and shapes tell all
    normalization, weights : as for :func:`latentlab.loaders.single_files.read_file`

    Raises
    ------
    UsageError : no tensors, or a configuration that is neither.
    WeightsError : the weights do not determine their model.
    """
    named = named_tensors(tensors, keep=STATED)
    if not named:
        raise UsageError("a mapping without tensors", "a state_dict", "pass module.state_dict()")
    options = _read_options(config)
    digests = {"weights in memory": hash_tensors(named)}
    found = read_set(
        named,
        Path("state_dict"),
        normalization=normalization,
        weights=weights,
        digests=digests,
        config=options,
    )
    return replace(found, name=found.family, source=f"{found.family} from a state_dict")


def _read_options(config: Config | None) -> dict[str, Any]:
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    path = absolute_path(config)
    for place in (path, path / "config.json"):
        if exists(place) and place.is_file():
            return read_config(place)
    if str(config) in FAMILIES:
        return {"_class_name": str(config)}
    raise UsageError(
        f"config={config}",
        "the contents or path of a config.json, or the name of a class of diffusers",
        "pass config=vae.config, or config='AutoencoderKL'",
    )


def _find_autoencoder(source: Any) -> tuple[Any, Any]:
    """Return the model itself, without wrappers, and the pipeline it was in, if there is one."""
    owner = None
    for _ in range(8):
        known = any(one.__name__ in FAMILIES for one in type(source).__mro__)
        if known and isinstance(source, nn.Module):
            return source, owner
        inner = next(
            (
                part
                for name in _WRAPPERS
                if isinstance(part := getattr(source, name, None), nn.Module)
            ),
            None,
        )
        part = next(
            (part for name in _PARTS if isinstance(part := getattr(source, name, None), nn.Module)),
            None,
        )
        if inner is None and part is None:
            break
        owner = owner if inner is not None else source
        source = inner if inner is not None else part
    return source, owner


def share(module: nn.Module) -> nn.Module:
    """Return a copy of a module's layers around the same weights, in eval mode.

    The weights of the copy require no gradients; those of the module do what they did.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> copied = share(layer)
    >>> copied.weight.data_ptr() == layer.weight.data_ptr(), copied.weight.requires_grad
    (True, False)
    """
    memo: dict[int, Any] = {}
    for tensor in chain(module.parameters(), module.buffers()):
        kept = tensor.detach()
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(kept, requires_grad=False) if is_parameter else kept
    copied = deepcopy(module, memo)
    for part in copied.modules():
        if vars(part).pop("_hf_hook", None) is not None:
            vars(part).pop("forward", None)  # of accelerate, which moves the original's weights
    return copied.eval()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, dtypes and bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
