"""Video files to and from frames, by the ffmpeg program."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentlab.errors import FileError, ImageError, MissingExtraError

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")

# Players guess BT.709 or BT.601 for untagged video by its size, so colors would shift.
_BT709 = (
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv", "-color_range", "tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
)


def ffmpeg_program() -> str:
    """Return the ffmpeg of imageio-ffmpeg, or the one on the PATH.

    Raises
    ------
    MissingExtraError : neither is installed.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        found = shutil.which("ffmpeg")
    if found is None:
        raise MissingExtraError(
            "a video without ffmpeg", "the extra for videos", "run pip install 'latentlab[video]'"
        )
    return found


def read_video(path: Path) -> Generator[Image.Image, None, None]:
    """Return an iterator over the RGB frames of a video file, decoded one at a time.

    Raises
    ------
    MissingExtraError : no ffmpeg; raised at once.
    ImageError : no frame can be decoded; raised when the first one is requested.
    """
    # PPM frames carry their own size.
    command = [ffmpeg_program(), "-v", "error", "-nostdin", "-i", f"file:{path}"]
    return _ppm_frames([*command, "-f", "image2pipe", "-c:v", "ppm", "-"], path)


def _ppm_frames(command: list[str], path: Path) -> Generator[Image.Image, None, None]:
    count = 0
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        try:
            while frame := _read_ppm(process.stdout):
                count += 1
                yield frame
        finally:
            process.kill()
        reason = _last_line(log)
    if count == 0:
        raise ImageError(
            f"{path} without a frame that ffmpeg can read ({reason})",
            "a video file",
            "convert it to MP4 or check that it is complete",
        )


def _read_ppm(stream: IO[bytes] | None) -> Image.Image | None:
    if stream is None or stream.readline() != b"P6\n":
        return None
    width, height = map(int, stream.readline().split())
    stream.readline()
    pixels = stream.read(3 * width * height)
    if len(pixels) < 3 * width * height:
        return None
    return Image.frombytes("RGB", (width, height), pixels)


def write_mp4(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float) -> None:
    """Write frames (H, W, 3), uint8, as H.264 (CRF 14, 4:2:0, BT.709).

    Odd sides grow by one repeated pixel, because 4:2:0 halves them.

    Raises
    ------
    MissingExtraError : no ffmpeg.
    FileError : ffmpeg cannot write the file; the message includes its reason.
    """
    program = ffmpeg_program()
    even = [_pad_to_even(frame) for frame in frames]
    height, width, _ = even[0].shape
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.6g}")
    target = ("-c:v", "libx264", "-crf", "14", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
    command = [program, "-v", "error", "-y", *source, "-i", "-", *target, *_BT709, f"file:{path}"]
    with tempfile.TemporaryFile() as log:
        process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)
        with suppress(BrokenPipeError), process:  # the log says why ffmpeg ended early
            for frame in even:
                process.stdin.write(frame.tobytes())
        reason = _last_line(log)
    if process.returncode:
        raise FileError(
            f"an ffmpeg that failed ({reason})",
            "one that writes H.264",
            "write a GIF or WebP, or run pip install 'latentlab[video]'",
        )


def generate_palette(frames: list[NDArray[np.uint8]]) -> bytes | None:
    """Return 256 RGB colors for all frames (H, W, 3), as 768 bytes, by ffmpeg's palettegen.

    None if ffmpeg is not installed or fails.
    """
    try:
        program = ffmpeg_program()
    except MissingExtraError:
        return None
    height, width, _ = frames[0].shape
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24")
    source = (*raw, "-s", f"{width}x{height}", "-i", "-")
    generate = ("-vf", "palettegen=reserve_transparent=0", "-frames:v", "1", *raw, "-")
    pixels = b"".join(frame.tobytes() for frame in frames)
    try:
        done = subprocess.run(
            [program, "-v", "error", *source, *generate], input=pixels, capture_output=True
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 and len(done.stdout) == 3 * 256 else None


def _pad_to_even(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else "no reason given"
