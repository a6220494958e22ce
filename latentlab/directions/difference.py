"""The direction from one image, or folder of images, to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene
from latentlab.directions.ridge import FOLDS, fold_of
from latentlab.encoding.encoder import encode_batch
from latentlab.errors import UsageError
from latentlab.images.checking import list_images
from latentlab.images.image import Image
from latentlab.images.reading import read_image

_METHODS = ("means", "discriminant")


@FINDERS.register("difference")
@dataclass(frozen=True)
class Difference(Finder):
    """The difference of two latents, of two folders' mean latents, or their linear discriminant.

    It leads from the image to ``other``, or from ``negative`` to ``positive``. Images are cropped
    and resized to the size of the analyzed one. Strength is the separation: the distance between
    the two sides along the direction, in standard deviations within a side. Between two images
    the deviation is that of the neighborhood. Between folders the separation is cross-validated,
    since thousands of features always separate the few images that a direction was fitted to.

    Parameters
    ----------
    other : str, an image; from Python also an :class:`~latentlab.images.image.Image`
    positive, negative : str, folders of at least two images each, instead of ``other``
    method : ``"means"``, or ``"discriminant"``: the inverse covariance within the folders,
        shrunk, times the difference of their means
    shrinkage : float in (0, 1], how far that covariance is drawn to a multiple of the identity
    """

    other: str | Image = ""
    positive: str = ""
    negative: str = ""
    method: str = "means"
    shrinkage: float = 0.1

    statement = (
        "The direction from one image or folder to another. It contains every difference between "
        "the two, wanted or not. With few images per side, it may separate those images and "
        "no others."
    )
    strength_name = "separation (in standard deviations within a side)"
    cross_validated = True

    def __post_init__(self) -> None:
        folders = bool(self.positive) + bool(self.negative)
        if bool(self.other) == bool(folders) or folders == 1:
            raise UsageError(
                f"other={self.other!r}, positive={self.positive!r}, negative={self.negative!r}",
                "another image, or two folders",
                "add --set other=B.jpg, or --set positive=DIR --set negative=DIR",
            )
        if self.method not in _METHODS or (self.other and self.method != "means"):
            raise UsageError(
                f"method={self.method!r}{' between two images' if self.other else ''}",
                "means, or discriminant between two folders",
                "pass --set method=means",
            )
        if not 0 < self.shrinkage <= 1:
            raise UsageError(
                f"shrinkage={self.shrinkage}", "a number above 0, up to 1", "set shrinkage to 0.1"
            )

    def search(self, scene: Scene, k: int) -> Found:
        sides = self._sides(scene)
        row = self._fit(*sides)[None]
        strengths = self.measure(scene, row) if self.other else self._cross_validate(scene, *sides)
        return Found(row.float(), strengths, (self._name(scene),))

    def measure(self, scene: Scene, rows: Tensor) -> Tensor:
        negative, positive = self._sides(scene)
        distance = (positive.mean(0) - negative.mean(0)) @ rows.double().T
        if self.other:
            return distance.abs() / scene.variances(rows).sqrt()
        return _separation(negative @ rows.double().T, positive @ rows.double().T).abs()

    def limit(self, scene: Scene) -> tuple[int, str]:
        return 1, "two sides have one difference"

    def _name(self, scene: Scene) -> str:
        if self.other:
            other = Path(self.other).stem if isinstance(self.other, str) else self.other.name
            return f"{scene.latent.name} → {other}"
        return f"{Path(self.negative).name} → {Path(self.positive).name}"

    def _sides(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Return feature rows (n, D), float64, of both sides, one for each image."""

        def encode() -> tuple[Tensor, Tensor]:
            if self.other:
                return _features(scene, scene.latent.values), _encode_image(scene, self.other)
            return _encode_folder(scene, self.negative), _encode_folder(scene, self.positive)

        return scene.once((self, "sides"), encode)

    def _fit(self, negative: Tensor, positive: Tensor) -> Tensor:
        """Return the unit direction (D,), float64, from one side to the other."""
        difference = positive.mean(0) - negative.mean(0)
        if not float(difference.norm()) > 0:
            raise UsageError("two identical sides", "images that differ", "choose another image")
        if self.method == "discriminant":
            difference = _discriminant(negative, positive, self.shrinkage)
        return normalize(difference, dim=0)

    def _cross_validate(self, scene: Scene, negative: Tensor, positive: Tensor) -> Tensor:
        """Return the separation (1,) of held-out images."""
        generator = scene.generator()
        folds = min(FOLDS, len(negative), len(positive))
        fold_n, fold_p = (fold_of(len(side), folds, generator) for side in (negative, positive))
        scores_n, scores_p = negative.new_empty(len(negative)), positive.new_empty(len(positive))
        for fold in range(folds):
            seen_n, seen_p = negative[fold_n != fold], positive[fold_p != fold]
            direction = self._fit(seen_n, seen_p)
            low, high = seen_n.mean(0) @ direction, seen_p.mean(0) @ direction
            # Every fold has its own direction: its training means are 0 and 1.
            scores_n[fold_n == fold] = (negative[fold_n == fold] @ direction - low) / (high - low)
            scores_p[fold_p == fold] = (positive[fold_p == fold] @ direction - low) / (high - low)
        return _separation(scores_n[:, None], scores_p[:, None]).clamp_min(0)


def _separation(negative: Tensor, positive: Tensor) -> Tensor:
    """Return the distance (k,) of the means of scores (n, k) over their pooled deviation."""
    freedom = len(negative) + len(positive) - 2
    squares = sum((side - side.mean(0)).square().sum(0) for side in (negative, positive))
    within = (torch.as_tensor(squares) / freedom).sqrt().clamp_min(1e-300)
    return (positive.mean(0) - negative.mean(0)) / within


def _discriminant(negative: Tensor, positive: Tensor, shrinkage: float) -> Tensor:
    """Return the shrunk inverse covariance within sides times their difference, (D,).

    Through the Gram matrix of the n centered images (Woodbury), as D is far larger than n.
    """
    difference = positive.mean(0) - negative.mean(0)
    within = torch.cat([negative - negative.mean(0), positive - positive.mean(0)])
    gram = within @ within.T
    if not float(gram.trace()) > 0:
        raise UsageError(
            "folders of identical images", "images that differ", "pass --set method=means"
        )
    ridge = shrinkage * float(gram.trace()) / within.shape[1]
    inner = gram * (1 - shrinkage) + ridge * torch.eye(len(within), dtype=gram.dtype)
    projected = torch.linalg.solve(inner, within @ difference)
    direction: Tensor = difference - (1 - shrinkage) * (within.T @ projected)
    return direction


def _encode_folder(scene: Scene, folder: str) -> Tensor:
    """Return the features (n, D), float64, of all images in a folder."""
    images = list_images(Path(folder))
    if len(images) < 2:
        raise UsageError(
            f"{folder} with {len(images)} image{'s' if len(images) != 1 else ''}",
            "at least 2 images per folder",
            "add images, or compare two images with --set other=B.jpg",
        )
    rows = []
    for done, path in enumerate(images, 1):
        rows.append(_encode_image(scene, str(path)))
        if scene.progress:
            scene.progress(f"encoding {Path(folder).name}", done, len(images))
    return torch.cat(rows)


def _encode_image(scene: Scene, source: str | Image) -> Tensor:
    """Return the features (1, D), float64, of an image at the size of the scene's."""
    height, width = scene.latent.spec.image_size(scene.latent.values.shape[1:])
    image = read_image(source, size=(height, width))
    return _features(scene, encode_batch(scene.vae, image.pixels[None]).mean[0])


def _features(scene: Scene, values: Tensor) -> Tensor:
    # Many rows of one latent, such as its tokens, count as their mean.
    return scene.neighborhood.layout.flatten(values[None]).double().mean(0, keepdim=True)
