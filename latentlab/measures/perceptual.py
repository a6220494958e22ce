"""Perceptual metrics of other packages, which are not required."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from latentlab.errors import DownloadError, MissingExtraError
from latentlab.measures import MEASURES
from latentlab.measures.base import Finished, Measure, PerImage, Tally
from latentlab.measures.batch import Batch
from latentlab.measures.distances import FeatureTally, frechet_values
from latentlab.measures.protocols import Protocol

EXTRA = "perceptual"


@dataclass(frozen=True)
class _Perceptual(PerImage):
    """A metric whose network comes with another package, loaded once."""

    package: ClassVar[str]
    on_request = True
    bounds = (0.0, math.inf)

    def begin(self, protocol: Protocol) -> Tally:
        self.network()
        return super().begin(protocol)

    def network(self) -> Any:
        """Return the network; errors as for :func:`import_extra`."""
        if self.name not in _LOADED:
            _LOADED[self.name] = self.build(import_extra(self.package, self))
        return _LOADED[self.name]

    def build(self, module: Any) -> Any:
        """Return the network of an imported package."""
        raise NotImplementedError

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        with torch.no_grad():
            return {self.name: self.distance(batch.images, batch.decoded.clamp(-1, 1))}

    def distance(self, images: Tensor, others: Tensor) -> Tensor:
        """Return the distance (n,) of images (n, 3, H, W) in [−1, 1]."""
        raise NotImplementedError


_LOADED: dict[str, Any] = {}


def import_extra(package: str, measure: Measure) -> Any:
    """Return an optional package.

    Raises
    ------
    MissingExtraError : it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"{measure.label} without its package {package.partition('.')[0].replace('_', '-')}",
            f"the extra {EXTRA}",
            f"run pip install 'latentlab[{EXTRA}]', or leave {measure.name} out",
        ) from error


@MEASURES.register("lpips")
@dataclass(frozen=True)
class LPIPS(_Perceptual):
    """Learned perceptual distance, AlexNet."""

    package = "lpips"
    label = "LPIPS"
    span = "0 (equal) to about 1"
    better = "lower"
    cost = "a pass of AlexNet over images and reconstructions"
    formula = "weighted distance of unit-normalized features, AlexNet, version 0.1"
    reference = "Zhang et al. 2018 (arXiv 1801.03924)"
    evidence = "how different two images look to people, better than PSNR"
    not_evidence = "figures with VGG, or under another protocol; decoders are trained on it"
    oracle = "the package lpips itself"

    def build(self, module: Any) -> Any:
        return module.LPIPS(net="alex", verbose=False).eval()

    def distance(self, images: Tensor, others: Tensor) -> Tensor:
        return torch.as_tensor(self.network()(images, others)).flatten().double()


@MEASURES.register("dists")
@dataclass(frozen=True)
class DISTS(_Perceptual):
    """Distance of structure and texture, VGG."""

    package = "piq"
    label = "DISTS"
    span = "0 (equal) to about 1"
    better = "lower"
    cost = "a pass of VGG over images and reconstructions"
    formula = "weighted similarity of means and covariances of VGG features"
    reference = "Ding et al. 2020 (arXiv 2004.07728)"
    evidence = "how different two images look, with textures that need not match pixel by pixel"
    not_evidence = "loss of exact detail, such as text"
    oracle = "the package piq itself"

    def build(self, module: Any) -> Any:
        return module.DISTS(reduction="none")

    def distance(self, images: Tensor, others: Tensor) -> Tensor:
        unit = ((one + 1) / 2 for one in (images, others))
        return torch.as_tensor(self.network()(*unit)).flatten().double()


class _NamedTally(FeatureTally):
    """Features whose Fréchet distance has a name of its own."""

    def __init__(self, space: Any, name: str) -> None:
        super().__init__(space)
        self._name = name

    def finish(self) -> Finished:
        return Finished(frechet_values(*self.both(), self._name))


@MEASURES.register("rfid")
@dataclass(frozen=True)
class ReconstructionFID(Measure):
    """Fréchet distance of reconstructions from images in Inception features."""

    label = "rFID"
    span = "0 (equal) to ∞"
    better = "lower"
    on_request = True
    cost = "a pass of Inception over images and reconstructions"
    formula = (
        "`rfid` as `frechet`, in the 2,048 features of pytorch-fid's Inception; `rfid_infinity`"
    )
    reference = "Heusel et al. 2017"
    evidence = "whether the set of reconstructions looks like the set of images"
    not_evidence = (
        "figures from other ports of Inception (4.28 and 2.11 for one model), other sets or other "
        "numbers of images; published ones are from 50,000"
    )
    oracle = "the Fréchet distance of known features"

    def begin(self, protocol: Protocol) -> Tally:
        module = import_extra("pytorch_fid.inception", self)
        network = module.InceptionV3([3]).eval()
        return _NamedTally(lambda images: network((images + 1) / 2)[0].flatten(1), "rfid")


@MEASURES.register("fdd")
@dataclass(frozen=True)
class DinoDistance(Measure):
    """Fréchet distance of reconstructions from images in DINOv2 features."""

    weights: str = "facebook/dinov2-large"

    label = "FDD"
    span = "0 (equal) to ∞"
    better = "lower"
    on_request = True
    cost = "a pass of DINOv2 ViT-L over images and reconstructions"
    formula = "`fdd` as `frechet`, in the first token of DINOv2 at 224 pixels; `fdd_infinity`"
    reference = "Stein et al. 2023 (arXiv 2306.04675)"
    evidence = "as rFID, closer to how people judge"
    not_evidence = "figures from other sizes of DINOv2, other sets or other numbers of images"
    oracle = "the Fréchet distance of known features"

    def begin(self, protocol: Protocol) -> Tally:
        module = import_extra("transformers", self)
        try:
            network = module.AutoModel.from_pretrained(self.weights).eval()
        except OSError as error:
            first = (str(error).splitlines() or [""])[0]
            raise DownloadError(
                f"no weights of {self.weights} ({first})",
                "the weights of DINOv2",
                f"run `hf download {self.weights}` where there is a network, or leave fdd out",
            ) from error
        return _NamedTally(lambda images: _first_token(network, images), "fdd")


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _first_token(network: Any, images: Tensor) -> Tensor:
    unit = (images + 1) / 2
    resized = interpolate(unit, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    normal = (resized - unit.new_tensor(_MEAN).view(3, 1, 1)) / unit.new_tensor(_STD).view(3, 1, 1)
    return torch.as_tensor(network(pixel_values=normal).last_hidden_state[:, 0])
