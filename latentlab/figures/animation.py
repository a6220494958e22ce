"""Frames (H, W, 3), uint8, to GIF, WebP, APNG and MP4.

GIF: one palette for all frames, and a dither whose pattern stands still. Measured on 30 slowly
moving photo frames of 384×256 (two cores; PSNR as is, and after a Gaussian blur of 2 px, which
is what the eye makes of a dither; *static* is the flicker, in levels RMS, of a half of the
image that does not move at all):

===================================  =====  =========  =========  ======  ======
encoder                              time   PSNR       blurred    size    static
===================================  =====  =========  =========  ======  ======
Pillow's default, a palette a frame  6 s    34.6–38.7  41.3–45.9  2.2 MB  3.5
octree, a palette a frame            0.1 s  33.1–36.9  40.7–44.7  1.6 MB  1.4
octree, one palette, error diffused  0.1 s  32.6–35.4  46.9–51.8  2.0 MB  1.2
ffmpeg, one palette, error diffused  2.5 s  32.2–35.1  42.3–44.1  2.0 MB  0.9
ffmpeg, one palette, Bayer scale 3   1.9 s  33.5–36.0  40.5–42.4  1.9 MB  0
here, median-cut palette             0.5 s  34.1–36.6  43.4–45.5  2.0 MB  0
===================================  =====  =========  =========  ======  ======

Palettes that change from frame to frame and diffused errors make still parts of an image
crawl: flicker that is not in the data. So the palette comes from ffmpeg where that is installed,
else from a median cut, and the dither is always the one here. On 30 frames of each of the two
sample images both palettes are good: 34.9 and 35.7 dB with ffmpeg's, 34.6 and 35.7 dB with the
median cut; blurred 44.4 and 44.0 against 44.9 and 45.9 dB.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentlab.errors import ShapeError, UsageError
from latentlab.images.video import ffmpeg_program, generate_palette, write_mp4
from latentlab.machine.files import replace_when_done, write_bytes

Frame: TypeAlias = NDArray[np.uint8]
Write: TypeAlias = Callable[[Path], Path]
"""What writes a file to a path, and returns that."""

# Suffix → format, clock ticks a second, options: what Pillow writes.
_PILLOW: dict[str, tuple[str, int, dict[str, Any]]] = {
    ".gif": ("GIF", 100, {}),
    ".webp": ("WEBP", 1000, {"quality": 95, "method": 2}),
    ".png": ("PNG", 1000, {}),
    ".apng": ("PNG", 1000, {}),
}
LONGEST_SIDE = 512
"""Longest side of an animation's frames, in pixels, unless another one is asked for."""
_PALETTE_SAMPLES = 20_000
_DITHER_SPREAD = 8
# Pillow looks colors up in cells of four levels by the cell's lowest corner.
_CELL_CENTER = 1.5


def shrink_frames(frames: Sequence[Frame], longest: int | None) -> list[Frame]:
    """Return frames (H, W, 3) with no side above ``longest`` pixels (LANCZOS); None keeps all.

    Examples
    --------
    >>> shrink_frames([np.zeros((768, 1024, 3), np.uint8)], 512)[0].shape
    (384, 512, 3)
    """
    height, width = frames[0].shape[:2]
    if longest is None or max(height, width) <= longest:
        return list(frames)
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk = (Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS) for frame in frames)
    return [np.asarray(frame) for frame in shrunk]


def write_animation(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    *,
    fps: float = 12,
    loop: bool = True,
    ping_pong: bool = True,
) -> Path:
    """Write frames as the animation that the suffix names; return its path.

    Parameters
    ----------
    path : ``.gif``; ``.webp`` (lossy, quality 95); ``.png`` or ``.apng`` (lossless); ``.mp4``
        (H.264, extra ``video``; odd sides grow by one repeated pixel)
    frames : arrays (H, W, 3), uint8, all of one shape
    fps : float
        Frames per second, kept on average: GIF counts in 1/100 s, so 12 frames per second are
        delays of 8 and 9 hundredths, and more than 50 are refused, for viewers slow them down.
    loop : bool
        Repeat for ever, or play once. MP4 has no such mark: the player decides.
    ping_pong : bool
        Append the way back, without the two end frames, so that a loop does not jump.

    Raises
    ------
    UsageError : no frames, an unknown suffix, or an impossible ``fps``.
    ShapeError : a frame that is no (H, W, 3) uint8, or of another size than the first.
    MissingExtraError : ``.mp4`` without the extra ``video``.
    FileError : the file cannot be written; what was there before is kept.

    Examples
    --------
    >>> import tempfile
    >>> ramp = [np.full((16, 16, 3), level, np.uint8) for level in (0, 90, 180, 255)]
    >>> file = write_animation(tempfile.mkdtemp() + "/ramp.gif", ramp, fps=10)
    >>> with Image.open(file) as animation:
    ...     animation.n_frames
    6
    """
    target = Path(path)
    write = encode_animation(target.suffix, frames, fps=fps, loop=loop, ping_pong=ping_pong)
    return write(target)


def encode_animation(
    suffix: str,
    frames: Iterable[Frame],
    *,
    fps: float = 12,
    loop: bool = True,
    ping_pong: bool = True,
) -> Write:
    """Return what writes an animation to a path: encoded already, except MP4.

    Everything is as for :func:`write_animation`, which writes it at once.
    """
    check_format(suffix, fps)
    shown = list(frames)
    _check_frames(shown)
    if ping_pong:
        shown = bounce(shown)
    if suffix.lower() == ".mp4":
        return partial(_write_video, frames=shown, fps=fps)
    return partial(write_bytes, content=_encode_pillow(suffix.lower(), shown, fps, loop))


def bounce(frames: Sequence[Any]) -> list[Any]:
    """Return the frames and the way back, without showing either end twice in a loop.

    Examples
    --------
    >>> bounce([1, 2, 3, 4])
    [1, 2, 3, 4, 3, 2]
    """
    return [*frames, *frames[-2:0:-1]]


def check_format(suffix: str, fps: float) -> None:
    """Refuse early what could not be written in the end.

    Raises
    ------
    UsageError : no format has this suffix, or it cannot show so many frames a second.
    MissingExtraError : ``.mp4`` without ffmpeg.
    """
    if suffix.lower() not in (known := [*_PILLOW, ".mp4"]):
        raise UsageError(
            f"an animation ending in {suffix or 'nothing'!r}",
            f"one of {', '.join(known)}",
            "choose one of these formats",
        )
    most = 50 if suffix.lower() == ".gif" else 240
    if not 0.1 <= fps <= most:
        raise UsageError(f"--fps {fps:g}", f"0.1 to {most} in {suffix[1:]}", "pass --fps 12")
    if suffix.lower() == ".mp4":
        ffmpeg_program()


def _check_frames(frames: list[Frame]) -> None:
    if not frames:
        raise UsageError("no frames", "at least one", "raise --steps")
    first = frames[0].shape
    for index, frame in enumerate(frames):
        good = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        if not good or frame.shape != first or frame.size == 0:
            raise ShapeError(
                f"frame {index} of shape {frame.shape}, {frame.dtype}",
                f"uint8 (H, W, 3), all of one size, as frame 0 of shape {first}",
                "convert with latentlab.images.arrays.to_uint8 and bring the frames to one size",
            )


def _delays(count: int, fps: float, per_second: int) -> list[int]:
    """Return whole ticks of 1/per_second s for each frame, whose sum is right to half a tick."""
    ends = [round(index * per_second / fps) for index in range(count + 1)]
    return [after - before for before, after in pairwise(ends)]


def _write_video(path: Path, frames: list[Frame], fps: float) -> Path:
    with replace_when_done(path) as temporary:
        write_mp4(temporary, frames, fps)
    return path


def _encode_pillow(suffix: str, frames: list[Frame], fps: float, loop: bool) -> bytes:
    format, per_second, options = _PILLOW[suffix]
    first, *rest = _quantized(frames) if format == "GIF" else map(Image.fromarray, frames)
    delays = [1000 // per_second * ticks for ticks in _delays(len(frames), fps, per_second)]
    # A GIF without the mark plays once; the other formats count how often.
    rounds = {"loop": 0} if loop else {} if format == "GIF" else {"loop": 1}
    file = io.BytesIO()
    first.save(
        file, format, save_all=True, append_images=rest, duration=delays, **rounds, **options
    )
    return file.getvalue()


# 256 colors


def _quantized(frames: list[Frame]) -> list[Image.Image]:
    """Return palette images that share one palette and one dither pattern."""
    palette = _shared_palette(frames)
    pattern = _dither_pattern(*frames[0].shape[:2])
    images: dict[int, Image.Image] = {}
    for key, frame in {id(frame): frame for frame in frames}.items():
        dithered = np.clip(frame + pattern, 0, 255).astype(np.uint8)
        images[key] = Image.fromarray(dithered).quantize(palette=palette, dither=Image.Dither.NONE)
    return [images[id(frame)] for frame in frames]


def _shared_palette(frames: list[Frame]) -> Image.Image:
    """Return a palette image for all frames: ffmpeg's colors where it is installed, else ours."""
    shown = frames[:: len(frames) // 32 + 1]
    stride = math.isqrt(sum(frame[..., 0].size for frame in shown) // _PALETTE_SAMPLES) + 1
    sample = [np.ascontiguousarray(frame[::stride, ::stride]) for frame in shown]
    colors = generate_palette(sample)
    if colors is None:
        return _median_cut(sample)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colors)
    return palette


def _median_cut(sample: list[Frame]) -> Image.Image:
    """Return an image with the median-cut palette of some frames, refined by k-means."""
    pixels = np.concatenate([frame.reshape(-1, 3) for frame in sample])
    return Image.fromarray(pixels[None]).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _dither_pattern(height: int, width: int) -> NDArray[np.int16]:
    """Return (height, width, 1): interleaved gradient noise (Jimenez 2014), levels around 1.5.

    Less regular to the eye than a Bayer matrix and, unlike error diffusion, the same in every
    frame.
    """
    rows, columns = np.mgrid[:height, :width]
    noise = (52.9829189 * ((0.06711056 * columns + 0.00583715 * rows) % 1)) % 1 - 0.5
    levels: NDArray[np.int16] = np.rint(noise * _DITHER_SPREAD + _CELL_CENTER).astype(np.int16)
    return levels[..., None]
