"""Folders of small images, good and bad, and the stores that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from command_line import files_in, save_image
from PIL import Image

from latentlab.images.arrays import to_uint8
from latentlab.store.filling import Filled, encode_folder
from latentlab.testing.linear_vae import LinearVAE, smooth_image

BAD = {
    "broken.jpg": "breaks off or is damaged",
    "empty.png": "0 bytes",
    "sub/text.png": "no image that Pillow can read",
    "tiny.png": "1×1 pixels",
}
"""Bad image of :func:`make_folder` → why it is skipped."""


def make_folder(folder: Path, count: int = 10, *, bad: bool = False) -> Path:
    """Write images of 24×32 pixels, some of them in a subfolder; return the folder."""
    (folder / "sub").mkdir(parents=True)
    for number in range(count):
        inside = folder / "sub" if number % 3 == 2 else folder
        save_smooth(inside / f"{number:03d}.png", seed=number)
    (folder / "notes.txt").write_text("no image")
    save_image(folder / ".hidden.png")
    if bad:
        whole = save_image(folder / "broken.jpg").read_bytes()
        (folder / "broken.jpg").write_bytes(whole[: len(whole) // 2])
        (folder / "empty.png").touch()
        (folder / "sub" / "text.png").write_text("a photo of a cat")
        Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    return folder


def save_smooth(path: Path, *, seed: int, height: int = 24, width: int = 32) -> Path:
    """Write an image that differs from those of other seeds; return its path."""
    Image.fromarray(to_uint8(smooth_image(height, width, seed)).numpy()).save(path)
    return path


def fill(folder: Path, out: Path, **options: Any) -> Filled:
    """Fill a store with the linear VAE, in this process, three images a shard."""
    chosen = {"per_shard": 3, "workers": 0, **options}
    return encode_folder(chosen.pop("vae", None) or LinearVAE(), folder, out, **chosen)


def same_files(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same names and bytes."""
    return files_in(one) == files_in(other)
