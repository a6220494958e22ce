"""The registry of VAE families, and the one way from weights to a :class:`LatentVAE`.

A family is a subclass of :class:`ModuleVAE` with a few short methods. The module is first built
without memory, and its keys and shapes are compared with the weights: any mismatch raises one
:class:`WeightsError` before anything is allocated.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latentlab.errors import WeightsError
from latentlab.latents import LatentSpec
from latentlab.loaders.base import LatentVAE, ModelOrigin
from latentlab.loaders.compilation import compile_vae
from latentlab.loaders.first_layer import first_convolution, pass_on
from latentlab.loaders.image_channels import NOTES
from latentlab.loaders.normalization import Affine
from latentlab.loaders.recognize import describe_weights
from latentlab.loaders.registered import FAMILIES
from latentlab.loaders.weight_sets import choose_set, find_sets
from latentlab.loaders.weights import DAMAGE, check_finite

_EXACT = {torch.float32, torch.float64}
LARGEST_NUMBER = 1_048_576
"""Above every dimension in the configuration of a real VAE; VidTok's codebook has 262,144 codes."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is known about their architecture, before a module is built.

    Parameters
    ----------
    family : str, key of :data:`latentlab.loaders.FAMILIES`
    config : the family's own options
    tensors : name → Tensor, under the family's own names
    where : str, path for messages
    sha256 : file name → SHA-256
    name : str, name of the model for titles and folders
    source : str, what the user has to ask for to get this checkpoint
    assumption : str, what had to be assumed because the file does not say it; empty if nothing
    revision : str, commit of the hub repository, or None for local files
    normalization : Affine that the user or the file states instead of the family's own; None for
        that
    notes : what was chosen or left out in the files, one sentence each
    weights : which of several sets in the tensors the user asks for, such as ``"ema"``
    """

    family: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    where: str
    sha256: Mapping[str, str]
    name: str
    source: str
    assumption: str = ""
    revision: str | None = None
    normalization: Affine | None = None
    notes: tuple[str, ...] = ()
    weights: str | None = None


class ModuleVAE(LatentVAE):
    """A :class:`LatentVAE` around one torch module.

    Attributes
    ----------
    module : nn.Module in eval mode, whose parameters require no gradients. If it has an
        ``encoder``, that encoder's first convolution takes the image and computes in float32.
    normalization : Affine map to model space
    shaped_statistics : bool, whether ``latents_mean`` and ``latents_std`` have a shape that the
        module needs, as one value per position
    """

    family: ClassVar[str]
    shaped_statistics: ClassVar[bool] = False

    def __init__(
        self,
        module: nn.Module,
        spec: LatentSpec,
        origin: ModelOrigin,
        *,
        normalization: Affine,
        device: torch.device,
        dtype: torch.dtype,
        shared: bool = False,
    ) -> None:
        super().__init__(spec, origin, device=device, dtype=dtype)
        self.image_channels = self.read_image_channels(module)
        first = self.first_layer(module)
        exact = first if dtype.itemsize == 2 else None
        self.module: Any = _place_module(module, device, dtype, exact=exact, copy=not shared)
        self.image_dtype = dtype if exact is None else torch.float32
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
            compile_vae(copied, backend=self.compiled_by)
        return copied

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, logvar = self._run_encoder(images)
        if logvar is not None:
            logvar = self.normalization.logvar_to_model(logvar.float())
        return self.normalization.to_model(mean.float()), logvar

    def _decode(self, latents: Tensor) -> Tensor:
        return self._run_decoder(self.normalization.from_model(latents))

    @classmethod
    def rename_keys(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights under the names of the current module."""
        return tensors

    @classmethod
    @abstractmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return the untrained module that a configuration describes."""

    @classmethod
    @abstractmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return the spec of the module's latents."""

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the map from the loaded module's latents to model space, here the identity."""
        return Affine()

    @classmethod
    def read_image_channels(cls, module: Any) -> int:
        """Return the channels of the images that the module takes and returns."""
        return 3

    @classmethod
    def first_layer(cls, module: Any) -> nn.Module | None:
        """Return the layer that takes the image and computes in float32; None without one."""
        return first_convolution(module)

    @classmethod
    def read_assumption(cls, module: Any) -> str:
        """Return what had to be assumed about the normalization; empty if nothing."""
        return ""

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return what this family does to images or latents beyond the formula."""
        return ()

    @abstractmethod
    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the module's own mean and log-variance (B, C, h, w), before normalization."""

    @abstractmethod
    def _run_decoder(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [−1, 1] of the module's own latents."""


def build_vae(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> ModuleVAE:
    """Return the VAE in a checkpoint, with every key and shape checked.

    Raises
    ------
    WeightsError : no module can be built from the configuration, or keys, shapes or numbers of
        the weights do not fit it.
    """
    adapter: type[ModuleVAE] = FAMILIES[checkpoint.family]
    module = _build_empty(adapter, checkpoint)
    tensors, notes = _take_set(adapter.rename_keys(checkpoint.tensors), module, checkpoint)
    _check_fit(module, tensors, checkpoint)
    check_finite(tensors, checkpoint.where)
    if _computes_constants(module):
        module = adapter.build_module(checkpoint.config)
    module.load_state_dict(dict(tensors), assign=True)
    return wrap_module(module, replace(checkpoint, notes=checkpoint.notes + notes), device, dtype)


def wrap_module(
    module: nn.Module,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    *,
    shared: bool = False,
) -> ModuleVAE:
    """Return the VAE around a module that has its weights.

    Parameters
    ----------
    module : nn.Module of the checkpoint's family
    checkpoint : Checkpoint, whose tensors are not needed any more
    device, dtype : where the weights go and what they become
    shared : whether weights that are there already stay where they are instead of being copied
    """
    adapter: type[ModuleVAE] = FAMILIES[checkpoint.family]
    normalization = checkpoint.normalization or adapter.read_normalization(module)
    formula = normalization.describe()
    assumption = checkpoint.assumption or _say_assumption(adapter.read_assumption(module))
    channels = adapter.read_image_channels(module)
    colors = (NOTES[channels],) if channels in NOTES else ()
    for note in colors:
        warnings.warn(note, stacklevel=3)
    origin = ModelOrigin(
        source=checkpoint.source,
        family=checkpoint.family,
        revision=checkpoint.revision,
        sha256=checkpoint.sha256,
        normalization=f"{formula} ({assumption})" if assumption else formula,
        notes=(*checkpoint.notes, *colors, *adapter.read_notes(module)),
    )
    spec = adapter.read_spec(module, checkpoint.name)
    _check_statistics(normalization, spec, checkpoint)
    return adapter(
        module,
        spec,
        origin,
        normalization=normalization,
        device=device,
        dtype=dtype,
        shared=shared,
    )


def _build_empty(adapter: type[ModuleVAE], checkpoint: Checkpoint) -> nn.Module:
    problem = _unreasonable(checkpoint.config)
    if not problem:
        try:
            with torch.device("meta"):
                return adapter.build_module(checkpoint.config)
        except (*DAMAGE, RuntimeError) as error:
            problem = str(error) or type(error).__name__
    raise WeightsError(
        f"{checkpoint.where}, from which no {checkpoint.family} can be built ({problem})",
        "complete weights, with the config.json that belongs to them if there is one",
        "correct config.json, or use the one that the model was trained with",
    )


def _take_set(
    tensors: Mapping[str, Tensor], module: nn.Module, checkpoint: Checkpoint
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Return the set of tensors that fits a module, without the prefixes of trainers, and notes."""
    wanted = module.state_dict().keys()
    notes = _converted(tensors)
    if wanted <= tensors.keys() and checkpoint.weights is None:
        return tensors, notes
    probe = max(wanted, key=len, default="")
    sets = find_sets(tensors, [probe]) if probe else []
    if not sets:
        return tensors, notes
    chosen, said = choose_set(sets, checkpoint.where, checkpoint.weights)
    return chosen.tensors, (*said, *notes)


def _converted(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return a note on the dtypes of weights; a UserWarning says it of those in 8 bits."""
    kinds = {one.dtype for one in tensors.values() if one.is_floating_point()} - _EXACT
    if not kinds:
        return ()
    names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
    note = f"stored in {names}, converted to the dtype of the model"
    if any(kind.itemsize == 1 for kind in kinds):
        warnings.warn(f"weights are {note}: 8 bits leave two or three digits", stacklevel=4)
    return (note,)


def _check_statistics(normalization: Affine, spec: LatentSpec, checkpoint: Checkpoint) -> None:
    for kind, values in (("means", normalization.shift), ("scales", normalization.scale)):
        if type(normalization) is Affine and len(values) not in (1, spec.channels):
            raise WeightsError(
                f"{len(values)} {kind} for {spec.channels} latent channels in {checkpoint.where}",
                "one for each channel",
                "correct latents_mean and latents_std in config.json, or state the scale, as "
                "MODEL@none does",
            )


def _computes_constants(module: nn.Module) -> bool:
    """Return whether a module has buffers that its weights do not contain, as wavelets are."""
    return bool(dict(module.named_buffers()).keys() - module.state_dict().keys())


def _say_assumption(assumption: str) -> str:
    if assumption:
        warnings.warn(assumption, stacklevel=4)
    return assumption


def _unreasonable(config: Mapping[str, Any]) -> str:
    """Return the first option with an absurdly large number, or groups fewer than one; or ""."""
    pending = list(config.items())
    while pending:
        key, value = pending.pop()
        if isinstance(value, list | tuple):
            pending += [(key, item) for item in value]
        elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            return f"{key} = {value}"
        elif isinstance(value, int) and key.endswith("num_groups") and value < 1:
            return f"{key} = {value}"  # torch builds such a norm, and fails when it runs
    return ""


def _check_fit(module: nn.Module, tensors: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    wanted = module.state_dict()
    problems = {
        "missing keys": sorted(wanted.keys() - tensors.keys()),
        "unexpected keys": sorted(tensors.keys() - wanted.keys()),
        "mismatched shapes": [
            f"{key} of shape {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in sorted(wanted.keys() & tensors.keys())
            if tensors[key].shape != wanted[key].shape
        ],
        "quantized weights": [
            f"{key} in {tensors[key].dtype}"
            for key in sorted(wanted.keys() & tensors.keys())
            if wanted[key].is_floating_point() and not tensors[key].is_floating_point()
        ],
    }
    found = [f"{len(keys)} {kind} (first: {keys[0]})" for kind, keys in problems.items() if keys]
    if found:
        raise WeightsError(
            f"{', '.join(found)} in {checkpoint.where}",
            f"the weights of {checkpoint.family} as configured",
            f"{describe_weights(checkpoint.tensors)}; choose the folder of that family, or correct "
            "its config.json",
        )


def _place_module(
    module: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    *,
    exact: nn.Module | None,
    copy: bool,
) -> nn.Module:
    """Return a module with its weights on a device in a dtype; those of ``exact`` in float32."""
    kept = [] if exact is None else [*exact.parameters()]
    # One by one: diffusers' own to() writes to stderr, and torch's refuses a memory format for
    # the 5-D weights of video models. Copied: the weights may still be mapped from their file.
    for tensor in (*module.parameters(), *module.buffers()):
        layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        wanted = torch.float32 if any(tensor is one for one in kept) else dtype
        kind = wanted if tensor.is_floating_point() else tensor.dtype
        if copy or tensor.device != device or tensor.dtype != kind:
            tensor.data = tensor.data.to(device, kind, copy=True, memory_format=layout)
    return module.eval().requires_grad_(False)
