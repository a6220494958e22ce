"""The registry of VAE families and the one way from weights to a :class:`LatentVAE`.

A family is a subclass of :class:`ModuleVAE` with four short methods. The module is built
without memory first and its keys and shapes are compared with the weights: whatever does not
fit ends in one :class:`WeightsError` before anything is allocated.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from latentlab.errors import WeightsError
from latentlab.latents import LatentSpec
from latentlab.loaders.base import LatentVAE, ModelOrigin
from latentlab.loaders.first_layer import first_convolution, pass_on
from latentlab.loaders.normalization import Affine
from latentlab.loaders.recognize import describe_weights
from latentlab.loaders.weights import check_finite

LARGEST_NUMBER = 65_536
"""No dimension in the configuration of a real VAE comes near this."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is known of their architecture, before a module is built.

    Parameters
    ----------
    family : str, key of :data:`FAMILIES`
    config : the family's own options
    tensors : name → Tensor, in the family's own names
    where : str, path for messages
    sha256 : file name → SHA-256
    assumption : str, what had to be assumed because the file does not say; empty if nothing
    """

    family: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    where: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    assumption: str = ""


class ModuleVAE(LatentVAE):
    """A :class:`LatentVAE` around one torch module.

    Attributes
    ----------
    module : nn.Module in eval mode; its parameters take no gradients. Where it has an
        ``encoder``, the first convolution of that takes the picture, and takes it in float32.
    normalization : Affine to model space
    """

    family: ClassVar[str]
    ignored_options: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        module: nn.Module,
        spec: LatentSpec,
        origin: ModelOrigin,
        *,
        normalization: Affine,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(spec, origin, device=device, dtype=dtype)
        first = first_convolution(module)
        exact = first if dtype.itemsize == 2 else None
        self.module: Any = _place_module(module, device, dtype, exact=exact)
        self.picture_dtype = dtype if exact is None else torch.float32
        if first is not None:
            pass_on(first, dtype)
        self.normalization = normalization

    def cast(self, dtype: torch.dtype) -> ModuleVAE:
        """Return this VAE with a copy of its weights in another dtype; compiled if this one is."""
        module = deepcopy(self.module)
        for part in module.modules():
            vars(part).pop("forward", None)  # compiled code, which belongs to the original
        copied = type(self)(
            module,
            self.spec,
            self.origin,
            normalization=self.normalization,
            device=self.device,
            dtype=dtype,
        )
        if self.is_compiled:
            from latentlab.loaders.compilation import compile_vae

            compile_vae(copied, backend=self.compiled_by)
        return copied

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return the untrained module that a configuration describes."""
        colors = cls.count_colors(config)
        for option in ("in_channels", "out_channels", "input_channels"):
            if config.get(option, colors) != colors:
                raise ValueError(f"{option} = {config[option]} where pictures have {colors}")
        diffusers_class = getattr(import_module("diffusers"), cls.family)
        options = _known_options(diffusers_class, config, ignored=cls.ignored_options)
        module: nn.Module = diffusers_class(**options)
        return module

    @classmethod
    def count_colors(cls, config: Mapping[str, Any]) -> int:
        """Return how many channels the encoder takes and the decoder gives."""
        return 3

    @classmethod
    def rename_keys(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights under the names of today's module."""
        return tensors

    @classmethod
    @abstractmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return what the module's latents look like."""

    @classmethod
    @abstractmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the way to model space that goes with the loaded module."""


FAMILIES: dict[str, type[ModuleVAE]] = {}
"""Family name (diffusers' class name where there is one) → adapter."""

_Adapter = TypeVar("_Adapter", bound=type[ModuleVAE])


def register_family(name: str) -> Callable[[_Adapter], _Adapter]:
    """Return a class decorator that makes a family known under ``_class_name`` in config.json.

    Parameters
    ----------
    name : str, such as ``"AutoencoderKL"``; the same name replaces an earlier family
    """

    def register(adapter: _Adapter) -> _Adapter:
        adapter.family = name
        FAMILIES[name] = adapter
        return adapter

    return register


def build_vae(
    checkpoint: Checkpoint,
    *,
    name: str,
    source: str,
    device: torch.device,
    dtype: torch.dtype,
    revision: str | None = None,
) -> ModuleVAE:
    """Return the VAE that a checkpoint holds, every key and shape checked.

    Raises
    ------
    WeightsError : the configuration builds nothing, or keys, shapes or numbers do not fit it.
    """
    adapter = FAMILIES[checkpoint.family]
    module = _build_empty(adapter, checkpoint)
    tensors = adapter.rename_keys(checkpoint.tensors)
    _check_fit(module, tensors, checkpoint)
    check_finite(tensors, checkpoint.where)
    # torch refuses to assign only strictly matching names, which were just checked
    module.load_state_dict(dict(tensors), assign=True)
    normalization = adapter.read_normalization(module)
    formula = normalization.describe()
    origin = ModelOrigin(
        source=source,
        family=checkpoint.family,
        revision=revision,
        sha256=checkpoint.sha256,
        normalization=f"{formula} ({checkpoint.assumption})" if checkpoint.assumption else formula,
    )
    spec = adapter.read_spec(module, name)
    return adapter(module, spec, origin, normalization=normalization, device=device, dtype=dtype)


def _build_empty(adapter: type[ModuleVAE], checkpoint: Checkpoint) -> nn.Module:
    problem = _unreasonable(checkpoint.config)
    if not problem:
        try:
            with torch.device("meta"):
                return adapter.build_module(checkpoint.config)
        except (
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RuntimeError,
            AssertionError,
            NotImplementedError,
        ) as error:
            problem = str(error) or type(error).__name__
    raise WeightsError(
        f"{checkpoint.where}, from which no {checkpoint.family} can be built ({problem})",
        "complete weights, and the config.json that belongs to them where there is one",
        "download the model again",
    )


def _unreasonable(config: Mapping[str, Any]) -> str:
    pending = list(config.items())
    while pending:
        key, value = pending.pop()
        if isinstance(value, list | tuple):
            pending += [(key, item) for item in value]
        elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            return f"{key} = {value}"
    return ""


def _known_options(
    diffusers_class: type, config: Mapping[str, Any], *, ignored: frozenset[str]
) -> dict[str, Any]:
    options = {key: value for key, value in config.items() if not key.startswith("_")}
    expected = set(signature(diffusers_class).parameters)
    unknown = sorted(set(options) - expected - ignored)
    if unknown:
        warnings.warn(
            f"{diffusers_class.__name__} of this diffusers knows no option {', '.join(unknown)}: "
            "the model is built without",
            UserWarning,
            stacklevel=2,
        )
    return {key: value for key, value in options.items() if key in expected}


def _check_fit(module: nn.Module, tensors: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    mismatched = [
        f"{key} of shape {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & tensors.keys())
        if tensors[key].shape != wanted[key].shape
    ]
    problems = [
        f"{len(keys)} {kind} (first: {keys[0]})"
        for kind, keys in (
            ("missing keys", missing),
            ("unexpected keys", unexpected),
            ("mismatched shapes", mismatched),
        )
        if keys
    ]
    if problems:
        raise WeightsError(
            f"{', '.join(problems)} in {checkpoint.where}",
            f"the weights of {checkpoint.family} as configured",
            f"{describe_weights(checkpoint.tensors)}; choose the folder of that family",
        )


def _place_module(
    module: nn.Module, device: torch.device, dtype: torch.dtype, *, exact: nn.Module | None
) -> nn.Module:
    """Return a module with its weights on a device in a dtype, those of one layer in float32."""
    kept = [] if exact is None else [*exact.parameters()]
    # one by one, because diffusers' own to() talks to stderr and torch's refuses a memory format
    # for the 5-D weights of video models; as copies, because the weights may still be mapped
    # from their file
    for tensor in (*module.parameters(), *module.buffers()):
        layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        wanted = torch.float32 if any(tensor is one for one in kept) else dtype
        kind = wanted if tensor.is_floating_point() else tensor.dtype
        tensor.data = tensor.data.to(device, kind, copy=True, memory_format=layout)
    return module.eval().requires_grad_(False)
