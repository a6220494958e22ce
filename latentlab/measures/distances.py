"""Distances between the features of images and those of reconstructions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlab.encoding.encoder import decode_each
from latentlab.errors import FileError, LatentlabError, MissingExtraError, ShapeError, UsageError
from latentlab.loaders.base import LatentVAE
from latentlab.measures import MEASURES
from latentlab.measures.base import Finished, Measure, Tally, TooFewError, Value
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import Array
from latentlab.metrics.frechet import (
    fewest_for_limit,
    frechet_at_infinity,
    frechet_distance,
    kernel_distance,
)

FEWEST = 50
KEPT_VALUES = 2**24
FeatureSpace = Callable[[Tensor], Tensor]
"""Images (n, 3, H, W) in [−1, 1] → features (n, d)."""


def load_features(source: str | FeatureSpace) -> FeatureSpace:
    """Return a feature space: a callable as it is, or one from a TorchScript or an ONNX file.

    Raises
    ------
    FileError : the file cannot be read.
    MissingExtraError : an ONNX file without onnxruntime.
    UsageError : neither a callable nor a .pt, .ts, .pth or .onnx file.
    """
    if callable(source):
        return source
    path = Path(source)
    if path.suffix == ".onnx":
        return _load_onnx(path)
    if path.suffix not in (".pt", ".pth", ".ts"):
        raise UsageError(
            f"features {source!r}", "a TorchScript (.pt, .ts) or ONNX (.onnx) file", "export one"
        )
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated, but it is what published feature spaces come in.
            warnings.simplefilter("ignore", DeprecationWarning)
            module: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise FileError(f"{path} ({first})", "a TorchScript file", "export it again") from error
    space: FeatureSpace = module.eval()
    return space


def _load_onnx(path: Path) -> FeatureSpace:
    try:
        runtime = import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError(
            "an ONNX file without onnxruntime", "the extra digits", "run pip install onnxruntime"
        ) from error
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise FileError(f"{path} ({first})", "an ONNX file", "export it again") from error
    name = session.get_inputs()[0].name

    def space(images: Tensor) -> Tensor:
        try:
            return torch.from_numpy(session.run(None, {name: images.numpy()})[0])
        except Exception as error:
            # The runtime's errors have no class in common but Exception.
            told = " ".join(str(error).split())
            raise ShapeError(
                f"images of shape {tuple(images.shape)}, which {path} does not take ({told})",
                "a model that takes these",
                "export it with free axes, or choose a protocol of its size",
            ) from error

    return space


def features_of(space: FeatureSpace, images: Tensor) -> Array:
    """Return features (n, d), float64, of images in [−1, 1].

    Raises
    ------
    ShapeError : the feature space returns another shape.
    UsageError : it raises an error of its own.
    """
    try:
        with torch.no_grad():
            found = torch.as_tensor(space(images.float()))
    except LatentlabError:
        raise
    except Exception as error:
        # It is the user's code, which may raise anything: the other metrics continue.
        told = " ".join(str(error).split())
        raise UsageError(
            f"a feature space that fails ({type(error).__name__}: {told})",
            f"features (n, d) of images {tuple(images.shape)} in [-1, 1]",
            "call it on one such tensor alone, and correct it",
        ) from error
    shape = tuple(found.shape)
    if len(shape) != 2 or shape[0] != len(images):
        raise ShapeError(
            f"features of shape {shape} for {len(images)} images", "(n, d)", "flatten them"
        )
    return np.asarray(found.double().cpu().numpy())


class FeatureTally(Tally):
    """Features of images and of reconstructions, up to 128 MB each."""

    def __init__(self, source: str | FeatureSpace) -> None:
        self._space = load_features(source)
        self.images: list[Array] = []
        self.others: list[Array] = []

    def add(self, batch: Batch) -> None:
        self.images.append(features_of(self._space, batch.images))
        self.others.append(features_of(self._space, batch.decoded.clamp(-1, 1)))

    def both(self) -> tuple[Array, Array]:
        """Return the features (n, d) of all images, and of what is compared with them."""
        count = sum(map(len, self.images))
        if count < FEWEST:
            raise TooFewError(count, FEWEST)
        return np.concatenate(self.images), np.concatenate(self.others)

    def finish(self) -> Finished:
        a, b = self.both()
        return Finished({**frechet_values(a, b, "frechet"), "kernel": _kernel(a, b)})


def frechet_values(a: Array, b: Array, name: str) -> dict[str, Value]:
    """Return a Fréchet distance of features (n, d), and its limit for infinitely many images.

    Without the limit, which the note then says, for too few images.
    """
    n, d = a.shape
    note = f"biased high in n; {d} features" + (", more than images" if d > n else "")
    plain = frechet_distance(a, b)
    if n < (needed := fewest_for_limit(d)):
        note += f"; {name}_infinity needs at least {needed:,} images for {d:,} features"
        return {name: Value(plain, n=n, note=note)}
    limit = frechet_at_infinity(a, b)
    return {
        name: Value(plain, n=n, note=note),
        f"{name}_infinity": Value(limit.value, limit.low, limit.high, n),
    }


def _kernel(a: Array, b: Array) -> Value:
    return Value(kernel_distance(a, b, paired=True), n=len(a))


@MEASURES.register("feature_distance")
@dataclass(frozen=True)
class FeatureDistance(Measure):
    """Fréchet and kernel distance of reconstructions from images in any feature space."""

    features: Any = ""

    label = "distance in features"
    span = "0 (equal) to ∞; `kernel` may be slightly negative"
    better = "lower"
    needs = ("reconstructions", "features")
    cost = "features of images and reconstructions; a 2-D decomposition of their covariances"
    formula = (
        "`frechet` ‖μ − μ'‖² + tr(Σ + Σ' − 2 (ΣΣ')^½); `frechet_infinity` its intercept against "
        "1/n, from 5 images for each feature on; `kernel` unbiased MMD² under (x·y/d + 1)³, "
        "without the pairs of an image and its own reconstruction"
    )
    reference = "Heusel et al. 2017; Chong and Forsyth 2020; Bińkowski et al. 2018"
    evidence = "whether the set of reconstructions looks like the set of images, to these features"
    not_evidence = (
        "FID, which is this in one port of Inception, from 50,000 images; figures of other sets or "
        "numbers of images are not comparable"
    )
    oracle = "the closed form for Gaussians; SciPy's `sqrtm`"

    def begin(self, protocol: Protocol) -> Tally:
        return FeatureTally(self.features)


@MEASURES.register("interpolation")
@dataclass(frozen=True)
class InterpolationDistance(Measure):
    """Fréchet distance of images decoded halfway between nearest latents."""

    features: Any = ""

    label = "interpolated distance"
    span = "0 to ∞"
    better = "lower"
    needs = ("latents", "vae", "features")
    cost = "a decode of each image"
    at_most = 256
    formula = (
        "`interpolated_frechet` between the features of images and of D((z + z')/2), z' the latent "
        "nearest to z, and its limit `interpolated_frechet_infinity`"
    )
    reference = "iFID, arXiv 2603.05630"
    evidence = "whether the space between latents decodes to images"
    not_evidence = "gFID between tokenizers with other strides; figures in another feature space"
    oracle = "the distance of means of nearest images, with a linear model"

    def begin(self, protocol: Protocol) -> Tally:
        return _BetweenTally(self.features)


class _BetweenTally(FeatureTally):
    """Features of images, and the latents between which others are decoded at the end."""

    def __init__(self, source: str | FeatureSpace) -> None:
        super().__init__(source)
        self._latents: list[Tensor] = []
        self._vae: LatentVAE | None = None

    def add(self, batch: Batch) -> None:
        self._vae = batch.vae
        known = self._latents[0].numel() * len(self._latents) if self._latents else 0
        same = not self._latents or self._latents[0].shape == batch.latents.shape[1:]
        if known < KEPT_VALUES and same:
            self.images.append(features_of(self._space, batch.images))
            self._latents += [*batch.latents.float()]

    def finish(self) -> Finished:
        if self._vae is None or len(self._latents) < FEWEST:
            raise TooFewError(len(self._latents), FEWEST)
        latents = torch.stack(self._latents)
        gaps = torch.cdist(latents.flatten(1).double(), latents.flatten(1).double())
        nearest = gaps.fill_diagonal_(float("inf")).argmin(1)
        for latent, other in zip(latents, latents[nearest], strict=True):
            (image,) = decode_each(self._vae, ((latent + other) / 2)[None])
            self.others.append(features_of(self._space, image[None].clamp(-1, 1)))
        return Finished(frechet_values(*self.both(), "interpolated_frechet"))
