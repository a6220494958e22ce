"""Skeletons of many small binary images at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Clockwise from above: the order in which Zhang and Suen number the neighbors P2 to P9.
_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def skeletonize(images: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the skeletons (N, H, W) of binary images (N, H, W).

    Thinning of Zhang and Suen (1984): two alternating passes remove border pixels until lines one
    pixel wide are left. Then the corners of staircases are removed (Holt et al. 1987), so that a
    slanting line consists of diagonal steps and not of twice as many straight ones.

    Examples
    --------
    >>> bar = np.zeros((1, 5, 9), bool)
    >>> bar[:, 1:4, 1:8] = True
    >>> skeletonize(bar)[0, 2].astype(int).tolist()
    [0, 0, 1, 1, 1, 1, 0, 0, 0]
    """
    count, height, width = images.shape
    padded = np.zeros((count, height + 2, width + 2), np.uint8)
    padded[:, 1:-1, 1:-1] = images
    flat = padded.reshape(-1)
    offsets = [row * (width + 2) + column for row, column in _AROUND]
    # Only pixels that are still ink are examined: at most a tenth of a digit's image.
    inked = np.flatnonzero(flat)
    changed = True
    while changed:
        changed = False
        for removable in _REMOVABLE:
            falls = removable[_codes(flat, inked, offsets)]
            if falls.any():
                flat[inked[falls]] = 0
                inked = inked[~falls]
                changed = True
    for corner in _CORNERS:
        flat[inked[corner[_codes(flat, inked, offsets)]]] = 0
        inked = np.flatnonzero(flat)
    skeletons = padded[:, 1:-1, 1:-1].astype(bool)
    _keep_a_point(skeletons, images)
    return skeletons


def _keep_a_point(skeletons: NDArray[np.bool_], images: NDArray[np.bool_]) -> None:
    """Restore the innermost pixel of blobs that vanished, as squares of 2×2 pixels do."""
    from scipy.ndimage import distance_transform_edt

    for index in np.flatnonzero(images.any((1, 2)) & ~skeletons.any((1, 2))):
        depth = distance_transform_edt(images[index])
        skeletons[index][np.unravel_index(depth.argmax(), depth.shape)] = True


def _codes(
    flat: NDArray[np.uint8], inked: NDArray[np.int64], offsets: list[int]
) -> NDArray[np.uint8]:
    """Return the neighborhood of each inked pixel as a number, one bit per neighbor."""
    code = np.zeros(len(inked), np.uint8)
    for bit, offset in enumerate(offsets):
        code |= flat[inked + offset] << bit
    return code


def _neighborhoods(turn: int) -> NDArray[np.bool_]:
    """Return the neighbors (256, 8) of each neighborhood, from above; from below if turned by 4."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return np.roll(bits.astype(bool), -turn, axis=1)


def _removable(turn: int) -> NDArray[np.bool_]:
    """Return, for each of the 256 neighborhoods, whether a pass removes its center.

    The first pass; the second is the same turned by 4.
    """
    bits = _neighborhoods(turn)
    neighbors = bits.sum(1)
    crossings = (~bits & np.roll(bits, -1, axis=1)).sum(1)
    north, east, south, west = bits[:, ::2].T
    closed = east & south & (north | west)
    return np.asarray((neighbors >= 2) & (neighbors <= 6) & (crossings == 1) & ~closed)


def _corner(turn: int) -> NDArray[np.bool_]:
    """Return, for each of the 256 neighborhoods, whether its center is the corner of a staircase.

    Such a pixel has one neighbor above (below, if turned by 4) and one at a side, which touch each
    other without it.
    """
    north, northeast, east, southeast, south, southwest, west, northwest = _neighborhoods(turn).T
    right = east & ~northeast & ~southwest & (~west | ~south)
    left = west & ~northwest & ~southeast & (~east | ~south)
    return np.asarray(north & (right | left))


_CORNERS = (_corner(0), _corner(4))
_REMOVABLE = (_removable(0), _removable(4))
