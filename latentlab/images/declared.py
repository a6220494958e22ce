"""What a PNG declares about its colors, by code points or by figures, turned into sRGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

_SRGB = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
_D65 = np.array([0.3127, 0.3290])
_PRIMARIES: dict[int, tuple[str, Any]] = {
    1: ("sRGB's primaries", _SRGB),
    9: ("Rec. 2020", np.array([[0.708, 0.292], [0.170, 0.797], [0.131, 0.046]])),
    12: ("Display P3", np.array([[0.680, 0.320], [0.265, 0.690], [0.150, 0.060]])),
}
"""Code point of ITU-T H.273 → its name, and x and y of red, green and blue; white is D65."""
_REC709 = dict.fromkeys((1, 6, 14, 15), "Rec. 709's curve")
_GAMMAS = {4: 2.2, 5: 2.8}
_TRANSFERS = _REC709 | {code: f"gamma {gamma}" for code, gamma in _GAMMAS.items()}
_TRANSFERS |= {8: "linear", 13: "sRGB's curve", 16: "PQ", 18: "HLG"}
_RGB = 0
"""The matrix coefficients of an image whose channels are red, green and blue."""
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_USUAL_GAMMA = 1 / 2.2


def describe_coding(coding: bytes) -> str:
    """Return what the four numbers of a cICP chunk declare.

    Examples
    --------
    >>> describe_coding(bytes([9, 16, 0, 1])), describe_coding(bytes([12, 13, 0, 0]))
    ('cICP (Rec. 2020, PQ)', "cICP (Display P3, sRGB's curve, narrow range)")
    """
    primaries, transfer, matrix, full = coding
    said = [
        _PRIMARIES[primaries][0] if primaries in _PRIMARIES else f"primaries {primaries}",
        _TRANSFERS.get(transfer, f"transfer {transfer}"),
        *([] if matrix == _RGB else [f"matrix {matrix}"]),
        *([] if full else ["narrow range"]),
    ]
    return f"cICP ({', '.join(said)})"


def is_convertible(coding: bytes) -> bool:
    """Return whether :func:`coded_colors` turns colors that are coded like this into sRGB.

    PQ and HLG are not: how their brightness fits an 8-bit screen is a matter of taste.

    Examples
    --------
    >>> is_convertible(bytes([12, 13, 0, 1])), is_convertible(bytes([9, 16, 0, 1]))
    (True, False)
    """
    primaries, transfer, matrix, _ = coding
    return primaries in _PRIMARIES and _linear(transfer, np.zeros(1)) is not None and matrix == _RGB


def coded_colors(image: Image.Image, coding: bytes) -> tuple[Image.Image, list[str]]:
    """Return sRGB of an 8-bit gray or RGB image by its cICP chunk, and what was done.

    Curves are those of ITU-T H.273, inverted: that of Rec. 709 is the camera's. Colors that sRGB
    does not have are clipped.

    Parameters
    ----------
    image : mode L or RGB
    coding : the four numbers of the chunk, which ``is_convertible``
    """
    primaries, transfer, _, full = coding
    levels = np.arange(256) / 255 if full else ((np.arange(256) - 16) / 219).clip(0, 1)
    linear = _linear(transfer, levels)
    plain = primaries == 1 or image.mode == "L"
    matrix = None if plain else _to_srgb_matrix((*_D65, *_PRIMARIES[primaries][1].ravel()))
    if matrix is None and transfer == 13 and full:
        return image.convert("RGB"), []
    values = linear[np.asarray(image)]
    made = _from_linear(values if matrix is None else values @ matrix.T)
    return made.convert("RGB"), [f"{describe_coding(coding)} to sRGB"]


def _linear(transfer: int, values: Any) -> Any:
    """Return the light that numbers (…) within 0 and 1 stand for; None for an unknown curve."""
    if transfer in _REC709:
        return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))
    if transfer in _GAMMAS:
        return values ** _GAMMAS[transfer]
    return {8: values, 13: _decode_srgb(values)}.get(transfer)


def _from_linear(values: Any) -> Image.Image:
    return Image.fromarray((_encode_srgb(values.clip(0, 1)) * 255 + 0.5).astype(np.uint8))


def declared_colors(image: Image.Image) -> tuple[Image.Image, str] | None:
    """Return sRGB of an 8-bit gray or RGB image by its gAMA and cHRM chunks, and what was done.

    None if there are none, if a sRGB chunk takes precedence, or if they say sRGB.

    Parameters
    ----------
    image : mode L or RGB, with Pillow's ``info``
    """
    gamma, primaries = image.info.get("gamma"), image.info.get("chromaticity")
    if image.mode not in ("L", "RGB") or "srgb" in image.info or not gamma:
        return None
    matrix = np.eye(3) if primaries is None or image.mode == "L" else _to_srgb_matrix(primaries)
    curved = abs(gamma / _USUAL_GAMMA - 1) > 0.02
    turned = matrix is not None and np.abs(matrix - np.eye(3)).max() > 0.02
    if matrix is None or not 0.05 < gamma < 20 or not (curved or turned):
        return None
    levels = np.arange(256) / 255
    linear = levels ** (1 / gamma) if curved else _decode_srgb(levels)
    values = linear[np.asarray(image)]
    if turned:
        values = values @ matrix.T
    said = [f"gamma {gamma:g}"] if curved else []
    return _from_linear(values), " and ".join([*said, *(["primaries"] if turned else [])])


def _to_srgb_matrix(primaries: tuple[float, ...]) -> Any:
    """Return the matrix from linear RGB of these primaries to linear sRGB; None if singular."""
    white, *corners = np.array(primaries, float).reshape(4, 2)
    try:
        own = _to_xyz(np.array(corners), white)
        cones = _BRADFORD @ _white_xyz(_D65) / (_BRADFORD @ _white_xyz(white))
        adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ own
        matrix = np.linalg.inv(_to_xyz(_SRGB, _D65)) @ adapted
    except (np.linalg.LinAlgError, FloatingPointError, ZeroDivisionError):
        return None
    return matrix if np.isfinite(matrix).all() else None


def _to_xyz(corners: Any, white: Any) -> Any:
    columns = np.stack([_white_xyz(one) for one in corners], 1)
    return columns * np.linalg.solve(columns, _white_xyz(white))


def _white_xyz(point: Any) -> Any:
    x, y = point
    if y <= 0:
        raise ZeroDivisionError
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _decode_srgb(values: Any) -> Any:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encode_srgb(values: Any) -> Any:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
