"""One image of a source as 8-bit levels and a hash, or the reason why it cannot be read.

Worker processes run this module, so it does not import torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from latentlab.errors import ImageError, LatentlabError, MissingExtraError
from latentlab.images.cropping import decode_levels
from latentlab.images.fit import Fit
from latentlab.store.sources import OutsideError, Source

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
How = TypeVar("How")
"""How images are cropped and resized: a Fit, or what another decoder takes."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image that can be encoded, or the reason why it cannot.

    Parameters
    ----------
    path : str, its name in the source
    levels : array (H, W, 3), uint8, or None
    size : int, bytes of the file
    sha256 : str, of the same bytes
    problem : str, why there are no levels
    retry : bool, whether another try may succeed, as for a file that was missing
    gone : bool, whether the file itself could not be read, as when its disk is gone
    """

    path: str
    levels: NDArray[np.uint8] | None = None
    size: int = 0
    sha256: str = ""
    problem: str = ""
    retry: bool = False
    gone: bool = False


def describe_preparing(fit: Fit) -> str:
    """Return in words what is done to every image."""
    words = f"center crop to multiples of {fit.multiple} pixels"
    if fit.shape is not None:
        words = f"center crop to a square, LANCZOS {fit.shape[1]}×{fit.shape[0]}"
    elif fit.longest is not None:
        words += f", LANCZOS where a side is longer than {fit.longest}"
    return f"upright, opaque 8-bit sRGB; {words}"


def prepare(source: Source, fit: Fit, path: str) -> Prepared:
    """Return one image of a source; an image that cannot be read is no error.

    Parameters
    ----------
    source : Source
    fit : Fit, how images come onto the model's grid
    path : str, the image's name in the source
    """
    return prepare_with(decode_levels, source, fit, path)


def prepare_with(
    decode: Callable[[bytes, str, How], NDArray[np.uint8]], source: Source, how: How, path: str
) -> Prepared:
    """Return one image of a source as :func:`prepare` does, with another decoder.

    Parameters
    ----------
    decode : content, name and ``how`` → levels (H, W, 3); LatentlabError if it cannot
    source : Source
    how : what the decoder takes
    path : str, the image's name in the source
    """
    try:
        content = source.read(path)
    except OSError as error:
        return Prepared(path, problem=f"cannot be read ({error.strerror})", retry=True, gone=True)
    except OutsideError as error:
        return Prepared(path, problem=_with_advice(error), retry=True)
    except LatentlabError as error:
        return Prepared(path, problem=error.got, retry=True, gone=True)
    try:
        levels = decode(content, path, how)
    except MissingExtraError as error:
        return Prepared(path, problem=_with_advice(error), retry=True)
    except LatentlabError as error:
        # The same damage gives the same line, wherever Pillow's objects are in memory.
        reason = _ADDRESS.sub("", error.got)
        retry = not isinstance(error, ImageError)
        return Prepared(path, problem=reason, retry=retry, gone=retry)
    return Prepared(path, levels, len(content), hashlib.sha256(content).hexdigest())


def _with_advice(error: LatentlabError) -> str:
    return f"{error.got}; {error.advice}"
