"""Images for ``mini``: a folder decoded once, crops to train on, photos to judge by, scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentlab.errors import FileError, ImageError
from latentlab.images.arrays import from_uint8, to_uint8
from latentlab.images.cropping import decode_levels, fit_image
from latentlab.images.fit import Fit
from latentlab.metrics.fidelity import psnr

SIDE = 256
SCALES = (256, 256, 256, 224, 192)
"""Sides of the copies that crops are cut from; what is named three times is drawn three times."""


@dataclass(frozen=True)
class PhotoFolder:
    """Decoded photos of a folder: ``pixels`` (N, 256, 256, 3) uint8, and the files left out."""

    pixels: np.ndarray
    names: tuple[str, ...]
    skipped: tuple[str, ...]


def square(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Center square of a uint8 image (H, W, 3), resized as latentlab does: (side, side, 3)."""
    return np.asarray(fit_image(Image.fromarray(pixels), Fit(1, (side, side)))[0])


def read_folder(folder: Path, *, limit: int | None = None) -> PhotoFolder:
    """Every readable image of a folder, in the order of names; broken ones are only listed.

    Raises
    ------
    FileError
        The folder holds no readable image.
    """
    pixels, names, skipped = [], [], []
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
    for file in files[:limit]:
        try:
            pixels.append(decode_levels(file.read_bytes(), file.name, Fit(1, (SIDE, SIDE))))
            names.append(file.name)
        except (ImageError, OSError):
            skipped.append(file.name)
    if not pixels:
        raise FileError(
            f"{folder} without a readable image",
            "a folder of photos",
            "pass --data with the folder that holds them",
        )
    return PhotoFolder(np.stack(pixels), tuple(names), tuple(skipped))


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 images (N, H, W, 3) as float32 (N, 3, H, W) in [-1, 1], channels last in memory."""
    return from_uint8(torch.from_numpy(np.ascontiguousarray(pixels)))


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Images (N, 3, H, W) in [-1, 1] as uint8 images (N, H, W, 3), rounded as a file would be."""
    return to_uint8(images).cpu().numpy()


def scaled_copies(pixels: np.ndarray) -> dict[int, np.ndarray]:
    """The photos at each side of :data:`SCALES`, so that a crop shows detail of several sizes."""
    copies = {SIDE: pixels}
    for side in sorted(set(SCALES) - {SIDE}):
        copies[side] = np.stack([square(photo, side) for photo in pixels])
    return copies


def sample_crops(
    copies: dict[int, np.ndarray], *, seed: int, step: int, batch: int, crop: int
) -> torch.Tensor:
    """Random crops (batch, 3, crop, crop) in [-1, 1], a pure function of ``(seed, step)``."""
    rng = np.random.default_rng([seed, step])
    crops = np.empty((batch, crop, crop, 3), np.uint8)
    large_enough = [side for side in SCALES if copies[side].shape[1] >= crop]
    for k in range(batch):
        photos = copies[large_enough[rng.integers(len(large_enough))]]
        top, left = rng.integers(photos.shape[1] - crop + 1, size=2)
        cut = photos[rng.integers(len(photos)), top : top + crop, left : left + crop]
        crops[k] = cut[:, ::-1] if rng.random() < 0.5 else cut
    return to_tensor(crops)


def bundled_photos() -> dict[str, np.ndarray]:
    """Photos bundled with scikit-learn and scikit-image, to judge by: (256, 256, 3) uint8 each."""
    import skimage
    from sklearn.datasets import load_sample_image

    photos = {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    folder = Path(skimage.__file__).parent / "data"
    files = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
    for name in files:
        if (folder / name).is_file():
            photos[name.split(".")[0]] = np.asarray(Image.open(folder / name).convert("RGB"))
    return {name: square(pixels) for name, pixels in photos.items()}


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004) of two uint8 RGB images, mean over channels."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            a,
            b,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def score(originals: np.ndarray, copies: np.ndarray) -> list[tuple[float, float]]:
    """PSNR in dB and SSIM of each uint8 image against its copy."""
    return [
        (psnr(to_tensor(a), to_tensor(b)), ssim(a, b))
        for a, b in zip(originals, copies, strict=True)
    ]
