"""Which of a file's arrays holds latents, and how they lie in it: judged by names and shapes.

What several layouts would explain is asked for, never guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from latentlab.errors import FileError, LatentlabError, UsageError
from latentlab.store.arrays import StoredArray
from latentlab.store.shards import Shape

CHANNELS = (3, 4, 8, 12, 16, 24, 32, 36, 48, 64, 128)
"""Numbers of channels that the latents of published models have."""

FORMS: Mapping[str, str] = {
    "chw": "(C, h, w)",
    "nchw": "(N, C, h, w)",
    "nhwc": "(N, h, w, C)",
    "cthw": "(C, T, h, w)",
    "ncthw": "(N, C, T, h, w)",
    "ntchw": "(N, T, C, h, w)",
    "packed": "(N, h·w, 4C), FLUX's tokens of 2×2 cells",
    "sequence": "(N, n, C), tokens without a grid",
    "vectors": "(N, C)",
}
"""Layout → its axes. ``packed=HxW`` states the grid of tokens where it is no square."""

MOMENTS = "moments"
_NDIM = {
    "vectors": 2,
    "chw": 3,
    "packed": 3,
    "sequence": 3,
    "nchw": 4,
    "nhwc": 4,
    "cthw": 4,
    "ncthw": 5,
    "ntchw": 5,
}
_PACKED = 64
_MANY = 12
_KOHYA = re.compile(r"latents_\d+x\d+")
_KEYS = ("latents", "latent", "z", "moments", "parameters")
_MOMENT_KEYS = ("moments", "parameters")


@dataclass(frozen=True)
class Form:
    """How latents lie in an array.

    Parameters
    ----------
    layout : str, one of :data:`FORMS`
    shape : (C, h, w) of one latent
    per_entry : int, latents of one entry along the first axis, such as the frames of a clip
    count : int, latents of the whole array
    grid : (rows, columns) of packed tokens, else None
    has_logvar : bool, whether the channels are means, then log-variances, which are left out
    """

    layout: str
    shape: Shape
    count: int
    per_entry: int = 1
    grid: tuple[int, int] | None = None
    has_logvar: bool = False

    def describe(self) -> str:
        """Return the layout and its axes in words."""
        parts = [f"{self.layout} {FORMS[self.layout]}"]
        if self.grid:
            parts.append(f"unpacked from {self.grid[0]}×{self.grid[1]} tokens")
        if self.has_logvar:
            parts.append("means, without the log-variances behind them")
        return ", ".join(parts)

    def latents(self, block: Tensor) -> Tensor:
        """Return the latents (n, C, h, w) of a block of entries along the first axis."""
        channels, height, width = self.shape
        match self.layout:
            case "nhwc" | "sequence":
                block = block.movedim(-1, 1)
            case "cthw":
                block = block.movedim(1, 0)
            case "ncthw":
                block = block.movedim(2, 1)
            case "packed":
                rows, columns = height // 2, width // 2
                block = block.reshape(-1, rows, columns, channels, 2, 2)
                block = block.permute(0, 3, 1, 4, 2, 5)
        stored = channels * (2 if self.has_logvar else 1)
        return block.reshape(-1, stored, height, width)[:, :channels]


def whole_at_once(form: Form) -> bool:
    """Return whether the first axis counts no latents, so that the array is one block."""
    return form.layout in ("chw", "cthw")


def choose(arrays: Sequence[StoredArray], key: str | None) -> list[StoredArray]:
    """Return the arrays of a file that hold latents.

    Raises
    ------
    UsageError : none does, or several might.
    """
    found = {array.name: array for array in arrays}
    if key is not None:
        if key not in found:
            raise UsageError(
                f"no array {key!r}", f"one of {_names(arrays)}", "pass one of them as --key"
            )
        return [found[key]]
    buckets = [array for name, array in found.items() if _KOHYA.fullmatch(name)]
    if buckets and "latents" in found:
        raise UsageError(
            f"both latents and {buckets[0].name}", "one name for latents", "pass --key NAME"
        )
    if buckets:
        return buckets
    likely = [array for array in arrays if array.is_float and len(array.shape) > 1]
    known = [array for array in likely if array.name in _KEYS]
    candidates = known or [array for array in likely if len(array.shape) > 2] or likely
    if len(candidates) == 1:
        return candidates
    if not candidates:
        raise _no_floats(arrays)
    if len(candidates) > _MANY:
        raise UsageError(
            f"{len(candidates)} arrays, which look like the weights of a model",
            "latents",
            "pass a model as --model, beside an image, or --key NAME",
        )
    raise UsageError(
        f"several arrays that may be latents ({_names(candidates)})", "one", "pass --key NAME"
    )


def _names(arrays: Sequence[StoredArray]) -> str:
    return ", ".join(
        f"{array.name or 'unnamed'} {'×'.join(map(str, array.shape)) or 'without axes'}"
        for array in arrays
    )


def _no_floats(arrays: Sequence[StoredArray]) -> LatentlabError:
    """Return the error for a file without an array that would be taken unasked."""
    wanted = "an array of floats with 2 to 5 axes"
    for array in arrays:
        if len(array.shape) > 1 and array.dtype.startswith(("int", "uint", "float8")):
            key = array.name or '""'
            got = f"an array of {array.dtype} ({_names([array])})"
            return UsageError(got, wanted, f"pass --key {key} if these numbers are latents")
    types = {array.dtype for array in arrays if not array.is_float}
    listed = f"{_names(arrays) or 'no arrays'}" + (f" ({', '.join(sorted(types))})" * bool(types))
    return FileError(f"no latents among {listed}", wanted, "pass another file")


def is_raw(arrays: Sequence[StoredArray], form: Form, key: str) -> bool:
    """Return whether the program that wrote a file is known to store a VAE's own latents.

    kohya's caches of models with four channels (those of FLUX are scaled), LightningDiT's, and
    moments, which are stored before anything is sampled or scaled.
    """
    names = {array.name for array in arrays}
    kohya = any(name.startswith(("original_size", "crop_ltrb")) for name in names)
    lightning = {"latents", "latents_flip", "labels"} <= names
    return form.has_logvar or lightning or (kohya and form.shape[0] == 4)


def form_of(array: StoredArray, layout: str | None = None) -> Form:
    """Return how latents lie in an array.

    Parameters
    ----------
    array : StoredArray
    layout : one of :data:`FORMS`, ``"packed=HxW"`` or ``"moments"``; by default recognized

    Raises
    ------
    UsageError : several layouts explain the shape, or the one that was asked for does not.
    """
    moments = layout == MOMENTS or array.name in _MOMENT_KEYS
    asked = None if layout in (None, MOMENTS) else layout
    name, _, grid = (asked or _recognized(array.shape)).partition("=")
    if name not in FORMS:
        known = f"{', '.join(FORMS)}, packed=HxW or {MOMENTS}"
        raise UsageError(f"--layout {layout}", known, "choose one of these")
    if len(array.shape) != _NDIM[name]:
        raise _misfit(array.shape, name)
    if not all(array.shape):
        empty = "×".join(map(str, array.shape))
        raise FileError(
            f"an array {empty} that holds no numbers", "at least one latent", "leave it out"
        )
    form = _form(name, array.shape, grid)
    if moments:
        if form.shape[0] % 2:
            raise UsageError(
                f"moments of {form.shape[0]} channels", "an even number", "pass another --layout"
            )
        form = replace(form, shape=(form.shape[0] // 2, *form.shape[1:]), has_logvar=True)
    return form


def _misfit(shape: Sequence[int], layout: str) -> UsageError:
    return UsageError(
        f"an array {'×'.join(map(str, shape))} for --layout {layout}",
        f"{FORMS[layout]}",
        "pass the layout that the array has",
    )


def _form(name: str, shape: tuple[int, ...], grid: str) -> Form:
    match name, shape:
        case "vectors", (n, c):
            return Form(name, (c, 1, 1), n)
        case "sequence", (n, length, c):
            return Form(name, (c, 1, length), n)
        case "chw", (c, h, w):
            return Form(name, (c, h, w), 1)
        case "nchw", (n, c, h, w):
            return Form(name, (c, h, w), n)
        case "nhwc", (n, h, w, c):
            return Form(name, (c, h, w), n)
        case "cthw", (c, t, h, w):
            return Form(name, (c, h, w), t, t)
        case "ncthw", (n, c, t, h, w):
            return Form(name, (c, h, w), n * t, t)
        case "ntchw", (n, t, c, h, w):
            return Form(name, (c, h, w), n * t, t)
    n, tokens, features = shape
    rows, columns = _grid(tokens, grid)
    if features % 4:
        raise _misfit(shape, "packed")
    return Form("packed", (features // 4, 2 * rows, 2 * columns), n, grid=(rows, columns))


def _grid(tokens: int, grid: str) -> tuple[int, int]:
    """Return rows and columns of packed tokens: as asked for, else those of a square."""
    side = math.isqrt(tokens)
    sides = [int(part) for part in grid.lower().split("x") if part.isdigit()] or [side, side]
    if len(sides) == 2 and sides[0] * sides[1] == tokens:
        return sides[0], sides[1]
    raise UsageError(
        f"{tokens:,} packed tokens" + (f" for a grid of {grid}" if grid else ", no square"),
        f"rows × columns that make {tokens:,}",
        "pass --layout packed=HxW, in tokens (half the sides of the latent)",
    )


def _recognized(shape: tuple[int, ...]) -> str:
    """Return the one layout that explains a shape, or ask."""
    match shape:
        case (_, features) if features != _PACKED:
            return "vectors"
        case (1, tokens, features) if features == _PACKED and tokens != _PACKED:
            return "packed"
        case (c, h, w) if c in CHANNELS and (w != _PACKED or 1 <= 2 * h / w <= 4):
            return "chw"
        case (_, tokens, features) if features == _PACKED and tokens >= 8 * _PACKED:
            return "packed"
        case (n, c, h, w):
            return _of_four(n, c, h, w, shape)
        case (_, a, b, _, _) if (a in CHANNELS[1:]) != (b in CHANNELS[1:]):
            return "ncthw" if a in CHANNELS[1:] else "ntchw"
        case (_, a, 1, _, _) if a > 1:
            return "ncthw"
        case (_, 1, b, _, _) if b > 1:
            return "ntchw"
    raise _ambiguous(shape)


def _of_four(n: int, c: int, h: int, w: int, shape: tuple[int, ...]) -> str:
    if c in CHANNELS:
        return "nchw"  # torch's own order, so that it goes before the others
    if w in CHANNELS and n not in CHANNELS and h > c / 8:
        return "nhwc"
    if n in CHANNELS and w not in CHANNELS and c == 1:
        return "cthw"
    if n in CHANNELS or w in CHANNELS:
        raise _ambiguous(shape)
    return "nchw"


def _ambiguous(shape: tuple[int, ...]) -> UsageError:
    fits = [name for name, ndim in _NDIM.items() if ndim == len(shape)]
    if len(shape) == 2:
        fits.append("packed")
    return UsageError(
        f"an array {'×'.join(map(str, shape)) or 'without axes'} that "
        + (f"{' or '.join(fits)} would explain" if fits else "no layout explains"),
        "2 to 5 axes of one known order",
        "pass --layout " + (", or --layout ".join(fits) if fits else "NAME"),
    )
