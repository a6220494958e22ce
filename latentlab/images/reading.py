"""Image files to tensors (3, H, W) in [−1, 1] and back; no models here.

Every file becomes upright, 8-bit, opaque sRGB before it is cropped to the model's grid.
:attr:`Image.preprocessing` says in words what was done.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pillow

from latentlab.errors import ImageError, ShapeError, UsageError
from latentlab.images.arrays import ValueRange, channels_last, from_uint8, image_of, pixels_of
from latentlab.images.checking import check_file
from latentlab.images.cropping import crop_box, fit_image, fit_rgba, grid_notes
from latentlab.images.examples import PREFIX, sample_path
from latentlab.images.fit import Fit, Size, fit_of
from latentlab.images.formats import open_image
from latentlab.images.image import Image
from latentlab.images.pillow import decoding
from latentlab.images.video import VIDEO_SUFFIXES, read_video
from latentlab.machine.files import sha256_of_file, write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def read_image(
    source: str | os.PathLike[str] | Pillow.Image | NDArray[Any] | Tensor | Image,
    *,
    size: Size | None = None,
    longest: int | None = None,
    multiple: int = 1,
    value_range: ValueRange | None = None,
) -> Image:
    """Return an image (3, H, W), float32 in [−1, 1], upright, opaque sRGB, on the model's grid.

    Files and PIL images: EXIF orientation is applied; ICC profiles are converted to sRGB;
    transparency is laid over white; 16-bit values are divided by 257; the first frame of an
    animation is used. Float arrays and tensors keep their precision.

    Parameters
    ----------
    source : one of

        * a path, or ``"sample:flower"`` or ``"sample:china"``, scikit-learn's images;
        * a PIL image;
        * a NumPy array (H, W) or (H, W, 1, 3 or 4): uint8 or uint16 (whole range), or, with 1 or
          3 channels, float in [0, 1];
        * a tensor (3, H, W) or (1, H, W): uint8, or float in **[−1, 1]**;
        * a :class:`Image`, which keeps its name and hash.
    size : int, (height, width), ``"native"`` or ``"auto"``, optional
        Crop to the centered square, then Pillow's LANCZOS to size×size; smaller images are
        enlarged. (height, width): the centered part of that shape instead of a square. By
        default, or with ``"native"``, the image is cropped, centered, to multiples of
        ``multiple``. ``"auto"``: the same, but an image with a side above ``longest`` is shrunk.
    longest : int, optional; longest side in pixels for ``size="auto"``
    multiple : int, optional
        Sides are multiples of this many pixels (``LatentSpec.multiple``).
    value_range : values of black and white in a float array or tensor, such as ``(0, 1)``, optional

    Warns
    -----
    ValueRangeWarning : a float tensor without negative values and without ``value_range``.

    Raises
    ------
    ImageError : the file is missing, empty, damaged, not an image, or larger than ``MAX_PIXELS``;
        or, without ``size``, a side is smaller than ``multiple``.
    UsageError : ``size`` is not a positive multiple of ``multiple``, the source type is unknown, or
        values lie outside their range.
    ShapeError : an array has the wrong shape.
    MemoryLimitError : the image does not fit into memory.

    Examples
    --------
    >>> import numpy as np
    >>> gray = np.full((70, 100), 255, np.uint8)
    >>> image = read_image(gray, multiple=16)
    >>> image.pixels.shape, image.preprocessing
    (torch.Size([3, 64, 96]), 'center crop 96×64')
    """
    fit = fit_of(size, multiple, longest)
    if value_range is not None and not _is_of_numbers(source):
        raise UsageError(
            f"value_range={value_range} for a {type(source).__name__}",
            "an array or tensor of numbers other than uint8",
            "leave value_range out: files and 8-bit images have their own",
        )
    if isinstance(source, str) and source.startswith(PREFIX):
        return replace(_read_file(Path(sample_path(source)), fit), path=source, fit=fit)
    if isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]*://", source):
        raise ImageError(f"{source}, a URL", "an image file", "download it first and pass its path")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return replace(_read_file(path, fit), path=str(path.absolute()), fit=fit)
    if isinstance(source, Image):
        return _refit(source, fit)
    if isinstance(source, torch.Tensor) and source.dtype == torch.uint8:
        source = channels_last(source)
    if isinstance(source, np.ndarray) and source.dtype == np.uint8:
        source = image_of(source)
    if isinstance(source, Pillow.Image):
        name = Path(getattr(source, "filename", "") or "image").stem
        with decoding(name):
            rgb, notes, native = fit_image(source, fit)
            rgba = fit_rgba(source, fit)
        return _image(rgb, notes, name, native=native, rgba=rgba)
    pixels, note = pixels_of(source, value_range)
    return _refit(Image(pixels, preprocessing=note), fit)


def _is_of_numbers(source: Any) -> bool:
    is_array = isinstance(source, np.ndarray | torch.Tensor)
    return is_array and source.dtype not in (np.uint8, torch.uint8)


def read_frames(
    path: str | os.PathLike[str],
    *,
    size: Size | None = None,
    longest: int | None = None,
    multiple: int = 1,
    limit: int | None = None,
) -> Iterator[Image]:
    """Yield the frames of an animation or video, one at a time, named ``<stem>-<index>``.

    GIF, WebP, APNG and multi-page TIFF are read by Pillow, video files by ffmpeg (at a constant
    frame rate). Every frame is treated as in :func:`read_image` and hashed by its pixels.

    Parameters
    ----------
    path : file; a still image has one frame
    size, longest, multiple : as in :func:`read_image`
    limit : int, optional; stop after this many frames

    Raises
    ------
    MissingExtraError : a video file without the extra ``video``.
    ImageError : as in :func:`read_image`; damage may be found only at a later frame.
    """
    fit = fit_of(size, multiple, longest)
    file = Path(path)
    check_file(file)
    frames = read_video(file) if file.suffix.lower() in VIDEO_SUFFIXES else _still_frames(file)
    return _images_of(frames, file, fit, limit)


def save_png(path: str | os.PathLike[str], array: NDArray[np.uint8]) -> Path:
    """Write a uint8 array (H, W, 3) or (H, W) as PNG, complete or not at all; return its path.

    Raises
    ------
    ShapeError : the array has the wrong shape or type.
    FileError : the file cannot be written.
    """
    return write_bytes(Path(path), encode_png(array))


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """Return a uint8 array (H, W, 3) or (H, W) as the bytes of a PNG file.

    Raises
    ------
    ShapeError : the array has the wrong shape or type.
    """
    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or pixels.size == 0:
        raise ShapeError(
            f"{pixels.dtype} of shape {pixels.shape}",
            "uint8 (H, W, 3) or (H, W)",
            "convert with latentlab.images.arrays.to_uint8",
        )
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _read_file(path: Path, fit: Fit) -> Image:
    check_file(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        image = next(_images_of(read_video(path), path, fit, 1))
        return replace(image, name=path.stem, sha256=sha256_of_file(path))
    with decoding(path), open_image(path, path) as opened:
        frames = getattr(opened, "n_frames", 1)
        rgb, notes, native = fit_image(opened, fit)
        rgba = fit_rgba(opened, fit)
    if frames > 1:
        notes = [f"first of {frames} frames", *notes]
    return _image(rgb, notes, path.stem, sha256_of_file(path), native, rgba)


def _image(
    rgb: Pillow.Image,
    notes: list[str],
    name: str,
    sha256: str | None = None,
    native: tuple[int, int] | None = None,
    rgba: Pillow.Image | None = None,
) -> Image:
    pixels = _pixels(rgb)
    done = "; ".join(notes) or "unchanged"
    both = None if rgba is None else _pixels(rgba)
    return Image(pixels, name, sha256 or _sha256(pixels), done, native, rgba=both)


def _pixels(image: Pillow.Image) -> Tensor:
    return from_uint8(torch.from_numpy(np.array(image))).contiguous()


def _sha256(pixels: Tensor) -> str:
    return hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()


def _images_of(
    frames: Iterator[Pillow.Image], path: Path, fit: Fit, limit: int | None
) -> Iterator[Image]:
    for index, frame in enumerate(itertools.islice(frames, limit)):
        with decoding(path):
            rgb, notes, native = fit_image(frame, fit)
        yield _image(rgb, [f"frame {index}", *notes], f"{path.stem}-{index}", native=native)


def _still_frames(path: Path) -> Iterator[Pillow.Image]:
    """Yield the frames of an animated image; use each before asking for the next."""
    with decoding(path):
        image = open_image(path, path)
    with image:
        for index in itertools.count():
            with decoding(path):
                try:
                    image.seek(index)
                except EOFError:
                    return
            yield image


# Arrays and tensors, which keep their precision


def _refit(image: Image, fit: Fit) -> Image:
    """Return an image cropped and resized in float, clamped because LANCZOS overshoots."""
    pixels = image.pixels
    height, width = pixels.shape[-2:]
    target = fit.target(width, height)
    left, top, right, bottom = box = crop_box(width, height, target, fit.multiple)
    notes = grid_notes(box, (width, height), target)
    pixels = pixels[:, top:bottom, left:right].contiguous()
    if target is not None and tuple(pixels.shape[1:]) != target:
        bands = [Pillow.fromarray(band.numpy()) for band in pixels]
        scaled = [np.array(band.resize(target[::-1], Pillow.Resampling.LANCZOS)) for band in bands]
        pixels = torch.from_numpy(np.stack(scaled)).clamp(-1, 1)
    done = "; ".join([image.preprocessing, *notes] if image.preprocessing else notes)
    kept = image.rgba if not notes else None  # opaque from here on, as the pixels are
    again = replace(
        image,
        pixels=pixels,
        rgba=kept,
        sha256=image.sha256 or _sha256(pixels),
        preprocessing=done or "unchanged",
        native=image.native or (width, height),
    )
    return replace(again, path="", fit=None) if notes else again
