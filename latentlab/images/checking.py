"""Which files are images or videos that can be read, found out without torch."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from pathlib import Path

from latentlab.errors import ImageError
from latentlab.images.formats import head_of_file, is_image, open_image
from latentlab.images.pillow import check_pixels, decoding
from latentlab.images.video import VIDEO_SUFFIXES, read_video
from latentlab.machine.files import exists


def check_readable(path: str | os.PathLike[str]) -> None:
    """Raise the error that reading an image or a video would end with; its first frame is decoded.

    Raises
    ------
    ImageError : it is a folder, missing, empty, damaged, no image, or too large.
    MissingExtraError : a video file without the extra ``video``.
    """
    file = Path(path)
    check_file(file)
    if file.suffix.lower() in VIDEO_SUFFIXES:
        with closing(read_video(file)) as frames:
            next(frames)
        return
    with decoding(file), open_image(file, file) as image:
        check_pixels(image)
        image.draft("RGB", (64, 64))  # a JPEG is decoded at an eighth of its size
        image.load()


def check_file(path: Path) -> None:
    """Raise ImageError for a folder, and for a file that is missing or empty."""
    if exists(path) and path.is_dir():
        raise ImageError(
            f"{path}, a folder",
            "one image file",
            "name an image inside it, or encode all of them with `latentlab encode`",
        )
    if not exists(path):
        raise ImageError(f"{path}, which does not exist", "an image file", "check the path")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} with 0 bytes", "an image file", "copy or download it again")


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of a folder, sorted by name; hidden files are skipped.

    Files of unknown suffixes are images if their first bytes say so.

    Raises
    ------
    ImageError : the folder does not exist, or has no image in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ImageError(f"{root}, which is no folder", "a folder of images", "check the path")
    found = sorted(
        path
        for path in root.iterdir()
        if path.is_file() and is_image(path, partial(head_of_file, path))
    )
    if not found:
        raise ImageError(
            f"{root} without an image in it",
            "files such as .jpg, .png or .webp that are not hidden",
            "name the folder that holds the images themselves",
        )
    return found
