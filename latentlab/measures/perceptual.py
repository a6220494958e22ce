"""Perceptual metrics of other packages, which are not required."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentlab.errors import MissingExtraError
from latentlab.measures import MEASURES
from latentlab.measures.base import PerImage, Tally
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol

EXTRA = "perceptual"


@dataclass(frozen=True)
class _Perceptual(PerImage):
    """A metric whose network comes with another package, loaded once."""

    package: ClassVar[str]

    def begin(self, protocol: Protocol) -> Tally:
        self.network()
        return super().begin(protocol)

    def network(self) -> Any:
        """Return the network.

        Raises
        ------
        MissingExtraError : the package is not installed.
        """
        if self.name not in _LOADED:
            try:
                module = import_module(self.package)
            except ImportError as error:
                raise MissingExtraError(
                    f"{self.name} without {self.package}",
                    f"the extra {EXTRA}",
                    f"run pip install 'latentlab[{EXTRA}]', or leave {self.name} out",
                ) from error
            _LOADED[self.name] = self.build(module)
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
