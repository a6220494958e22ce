"""Images of handwritten digits with labels: MNIST from its files, or scikit-learn's small set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.idx import read_idx
from latentlab.errors import FileError
from latentlab.latents import Progress
from latentlab.machine.files import sha256_of_file

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Part → the names of its images and labels, with or without ``.gz``."""

Device = torch.device | str

_TEST_SHARE = 5
_LARGEST_SIDE = 128


@dataclass(frozen=True, eq=False, repr=False)
class Digits:
    """Images and their labels.

    Parameters
    ----------
    images : Tensor, (N, 1, H, H), float32 in [0, 1], ink is 1
    labels : Tensor, (N,), int64, 0 to 9
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: slice | Tensor | list[int]) -> Digits:
        """Return some of the digits, chosen by a slice, indices or a mask."""
        return Digits(self.images[chosen], self.labels[chosen])

    def __repr__(self) -> str:
        return f"Digits({len(self)} images of {self.size}×{self.size})"

    @property
    def size(self) -> int:
        """Side of an image in pixels."""
        return int(self.images.shape[-1])

    def to(self, device: Device) -> Digits:
        """Return the digits on a device."""
        return Digits(self.images.to(device), self.labels.to(device))

    def draw(self, count: int, *, seed: int = 0) -> Digits:
        """Return at most ``count`` of the digits, drawn at random from the seed."""
        if count >= len(self):
            return self
        generator = torch.Generator().manual_seed(seed)
        return self[torch.randperm(len(self), generator=generator)[:count]]


@dataclass(frozen=True, eq=False)
class DigitsData:
    """A training set and a test set with their source.

    Parameters
    ----------
    name : as given to :func:`load_data`: ``mnist``, ``digits`` or a folder
    train, test : Digits
    sha256 : file name → digest of each file that was read; empty for ``digits``
    """

    name: str
    train: Digits
    test: Digits
    sha256: Mapping[str, str] = field(default_factory=dict)


def load_data(name: str, *, offline: bool = False, progress: Progress | None = None) -> DigitsData:
    """Return a data set by name or folder.

    Parameters
    ----------
    name : ``digits``, scikit-learn's 1,797 images of 8×8, of which every fifth is for testing;
        ``mnist``, downloaded once into the cache; or a folder with MNIST's four IDX files
    offline : never use the network
    progress : called as ``progress(what, bytes so far, bytes in all)`` while downloading

    Raises
    ------
    FileError : the folder does not exist, or files in it are missing, damaged or do not match.
    DownloadError : ``mnist`` could not be downloaded.

    Examples
    --------
    >>> data = load_data("digits")
    >>> data.train, len(data.test)
    (Digits(1437 images of 8×8), 360)
    """
    if name == "digits":
        return _small_set()
    if name == "mnist":
        from latentlab.digits.download import fetch_mnist

        return read_folder(fetch_mnist(offline=offline, progress=progress), name=name)
    return read_folder(Path(name))


def read_folder(folder: Path, *, name: str | None = None) -> DigitsData:
    """Return the data in a folder with MNIST's four IDX files, gzipped or not.

    Raises
    ------
    FileError : a file is missing, damaged, or does not match the others.
    """
    if not folder.is_dir():
        raise FileError(
            f"--data {folder}",
            "digits, mnist, or a folder with MNIST's four files",
            "pass --data digits, which needs no files",
        )
    paths = {part: [_find(folder, stem) for stem in stems] for part, stems in FILES.items()}
    train, test = (_read_pair(*paths[part]) for part in ("train", "test"))
    if train.size != test.size:
        raise FileError(
            f"training images of {train.size} px and test images of {test.size} px",
            "images of one size",
            "use files of one data set",
        )
    sums = {path.name: sha256_of_file(path) for pair in paths.values() for path in pair}
    return DigitsData(name or str(folder), train, test, sums)


def _find(folder: Path, stem: str) -> Path:
    # Some mirrors write a dot instead of the hyphen before "idx".
    for name in (stem, f"{stem}.gz", stem.replace("-idx", ".idx")):
        if (folder / name).is_file():
            return folder / name
    raise FileError(
        f"{folder} without {stem} or {stem}.gz",
        "MNIST's four IDX files",
        "add the file, or pass --data mnist to download them",
    )


def _read_pair(images_path: Path, labels_path: Path) -> Digits:
    images, labels = read_idx(images_path, "images"), read_idx(labels_path, "labels")
    if len(images) != len(labels):
        raise FileError(
            f"{len(images):,} images in {images_path.name} and {len(labels):,} labels in "
            f"{labels_path.name}",
            "a label for every image",
            "use files of one data set",
        )
    height, width = images.shape[1:]
    if height != width or not 4 <= height <= _LARGEST_SIDE:
        raise FileError(
            f"images of {height}×{width} in {images_path}",
            f"squares of 4 to {_LARGEST_SIDE} px",
            "check that this is MNIST or a data set in its format",
        )
    if labels.max() > 9:
        raise FileError(
            f"the label {labels.max()} in {labels_path}",
            "labels from 0 to 9",
            "use a data set with ten classes",
        )
    return _digits(images, labels, 255)


def _digits(images: NDArray[np.uint8], labels: NDArray[np.uint8], white: float) -> Digits:
    scaled = torch.from_numpy(images.astype(np.float32)) / white
    return Digits(scaled[:, None], torch.from_numpy(labels.astype(np.int64)))


def _small_set() -> DigitsData:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    everything = _digits(bunch.images.astype(np.uint8), bunch.target.astype(np.uint8), 16)
    held_out = torch.arange(len(everything)) % _TEST_SHARE == 0
    return DigitsData("digits", everything[~held_out], everything[held_out])
