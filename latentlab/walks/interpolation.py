"""Paths from one image to another through latent space, and how evenly the image changes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentlab.directions.transfer import check_targets
from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.errors import ShapeError, UsageError
from latentlab.figures.animation import LONGEST_SIDE, shrink_frames, write_animation
from latentlab.figures.paths import draw_changes, frames_sheet
from latentlab.figures.tables import as_rows, frame_of, html_block, html_image
from latentlab.images.arrays import to_uint8
from latentlab.latents import Latent, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.walks.paths import WAYS, Way, image_change

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_EVEN = 1.02
_ROUNDS = 8


@dataclass(frozen=True, eq=False, repr=False)
class Interpolation:
    """The images on a path between two latents.

    Parameters
    ----------
    path : str, ``"linear"``, ``"slerp"`` or ``"arc"``
    positions : Tensor, (steps,), float64 from 0 to 1; where on the path each frame lies
    latents : Tensor, (steps, C, h, w)
    frames : Tensor, (steps, H, W, 3), uint8
    changes : Tensor, (steps − 1,), float64; root mean square change of the values of an image,
        in units of [−1, 1], from each frame to the next
    straight : float, the same between the first frame and the last
    drifts : Tensor, (steps,), ‖E(D(z)) − z‖ / ‖z‖ of each latent
    title : str, for sheets
    decodes : int, how many latents were decoded, including positions that were tried
    record : what ``run.json`` says of model and images, JSON-ready
    """

    path: str
    positions: Tensor
    latents: Tensor
    frames: Tensor
    changes: Tensor
    straight: float
    drifts: Tensor
    title: str
    decodes: int
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> float:
        """Return the length of the path in image space: the sum of all changes."""
        return float(self.changes.sum())

    @property
    def detour(self) -> float:
        """Return the length over that of the straight line in pixels, which is a cross-fade; ≥ 1.

        NaN between two equal images.
        """
        return self.length / self.straight if self.straight else math.nan

    @property
    def speed_ratio(self) -> float:
        """Return the largest change over the smallest; 1 for an even path, NaN for a still one."""
        slowest = float(self.changes.min())
        return float(self.changes.max()) / slowest if slowest else math.nan

    def summary(self) -> dict[str, Any]:
        """Return the facts of ``interpolation.json`` on this path."""
        return {
            "path": self.path,
            "steps": len(self.frames),
            "positions": self.positions.tolist(),
            "changes": self.changes.tolist(),
            "length": self.length,
            "straight": self.straight,
            "detour": self.detour,
            "speed_ratio": self.speed_ratio,
            "drift_relative": self.drifts.tolist(),
            "decodes": self.decodes,
        }

    def save(
        self,
        path: str | Path,
        *,
        fps: float = 12,
        loop: bool = True,
        longest: int | None = LONGEST_SIDE,
    ) -> Path:
        """Write the frames as an animation; the format follows the suffix. Return its path.

        Frames with a side above ``longest`` pixels are shrunk; None keeps their size.
        """
        frames = shrink_frames(list(self.frames.numpy()), longest)
        return write_animation(path, frames, fps=fps, loop=loop, ping_pong=loop)

    def plot(self, ax: Axes | None = None, *, others: Sequence[Interpolation] = ()) -> Axes:
        """Draw how much the image changes per frame, here and on other paths; return the axes."""
        return draw_changes(
            {path.legend: path.changes for path in (self, *others)},
            straight=self.straight,
            title=self.title.partition("\n")[0],
            ax=ax,
        )

    @property
    def legend(self) -> str:
        """Return the path's name with its speed ratio and length, for figures."""
        speed = f"fastest / slowest {self.speed_ratio:.2f}"
        return f"{self.path}: {speed}, length {self.detour:.2f} × straight"

    def sheet(self) -> NDArray[np.uint8]:
        """Return all frames as a labeled grid (H, W, 3), in reading order."""
        frames = list(self.frames.numpy())
        return frames_sheet(frames, self.positions.tolist(), title=self.title)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each frame.

        Its ``position`` on the path, the ``change`` from the frame before, in units of [−1, 1], and
        the relative drift when it is encoded again.
        """
        columns = {
            "position": self.positions.tolist(),
            "change": [None, *self.changes.tolist()],
            "drift_relative": self.drifts.tolist(),
        }
        return frame_of(as_rows(columns))

    def _repr_html_(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            content = self.save(Path(folder) / "path.webp").read_bytes()
        image = html_image(content, f"{self.title}: {len(self.frames)} frames", "webp")
        return html_block(self.title, image, [self.legend])

    def __repr__(self) -> str:
        return f"Interpolation({self.path}, {len(self.frames)} frames, detour {self.detour:.3f})"


def interpolate(
    vae: LatentVAE,
    first: Latent,
    last: Latent,
    *,
    path: str = "linear",
    steps: int = 24,
    progress: Progress | None = None,
) -> Interpolation:
    """Return the images on a path from one latent to another, ends included.

    Parameters
    ----------
    vae : LatentVAE
    first, last : Latent, of one model and size
    path : str

        * ``"linear"``: the straight line in latent space, at even steps;
        * ``"slerp"``: the arc of a circle through both latents around the origin, at even angles,
          along which lengths stay those of the ends;
        * ``"arc"``: a path that goes straighter in image space, at an even speed there. It is
          halved three times: the latent in the middle of each piece is moved to where its image
          comes nearest the mean of the images at both ends of the piece (two Gauss–Newton
          steps of 4 conjugate gradients, 9 products with the Jacobian each). On the broken line
          through these 9 latents, frames are moved to where the polyline of images has equal
          pieces, until the largest change is at most 1.02 times the smallest, in at most 7
          rounds of decodings. Its limit, where a decoder can show all images, is the
          cross-fade of pixels.
    steps : int, at least 3; frames, ends included
    progress : called as ``progress(what, done, total)``

    Raises
    ------
    UsageError : an unknown path, too few steps, or a slerp between opposite latents.
    ShapeError : latents of different sizes or models.
    NonFiniteError, MemoryLimitError : as for :func:`latentlab.encode`.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> ends = [latentlab.encode(vae, f"sample:{name}", size=64) for name in ("flower", "china")]
    >>> interpolate(vae, *ends, steps=5)  # a linear decoder goes straight
    Interpolation(linear, 5 frames, detour 1.000)
    """
    check_interpolation(path, steps)
    _check_ends(vae, first, last)
    way = WAYS[path](vae, first, last, progress)
    film = _Film(vae, way, steps * (_ROUNDS if path == "arc" else 1), progress)
    positions = torch.linspace(0, 1, steps, dtype=torch.float64)
    if path == "arc":
        positions = _even_positions(film, positions)
    record = {**first.record, "input": [end.record.get("input") for end in (first, last)]}
    title = _title(first, last, path)
    return Interpolation(path=path, title=title, record=record, **film.shoot(positions))


def check_interpolation(path: str, steps: int) -> None:
    """Raise UsageError for an unknown path or too few steps."""
    if path not in WAYS:
        raise UsageError(f"path {path!r}", f"one of {', '.join(WAYS)}", "pass --path linear")
    if not isinstance(steps, int) or steps < 3:
        raise UsageError(f"steps={steps}", "at least 3 steps", "pass --steps 24")


@dataclass(eq=False)
class _Film:
    """Decodes a path at any positions, and counts."""

    vae: LatentVAE
    way: Way
    total: int
    progress: Progress | None
    decodes: int = 0

    def latents(self, positions: Tensor) -> Tensor:
        """Return the latents (n, C, h, w) at these positions."""
        return torch.stack([self.way(position) for position in positions.tolist()])

    def images(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield the image (3, H, W) of each latent, decoded in batches."""
        for image in decode_each(self.vae, latents):
            self.decodes += 1
            if self.progress:
                self.progress("decoding", self.decodes, max(self.total, self.decodes))
            yield image

    def changes(self, positions: Tensor) -> Tensor:
        """Return the changes (n − 1,) between images at these positions."""
        pairs = pairwise(self.images(self.latents(positions)))
        return torch.tensor([image_change(*pair) for pair in pairs], dtype=torch.float64)

    def shoot(self, positions: Tensor) -> dict[str, Any]:
        """Return the frames at these positions and all that is measured on them."""
        latents = self.latents(positions)
        frames: list[Tensor] = []
        drifts: list[float] = []
        ends: list[Tensor] = []

        def watched() -> Iterator[Tensor]:
            for latent, image in zip(latents, self.images(latents), strict=True):
                again = encode_batch(self.vae, image[None]).mean[0]
                drifts.append(float((again - latent).norm() / latent.norm()))
                frames.append(to_uint8(image))
                ends[1:] = [image]  # the first image, and the last one so far
                yield image

        changes = [image_change(*pair) for pair in pairwise(watched())]
        return {
            "positions": positions,
            "latents": latents,
            "frames": torch.stack(frames),
            "changes": torch.tensor(changes, dtype=torch.float64),
            "straight": image_change(*ends),
            "drifts": torch.tensor(drifts),
            "decodes": self.decodes,
        }


def _even_positions(film: _Film, positions: Tensor) -> Tensor:
    """Return positions at which consecutive images are about equally far apart."""
    best, unevenness = positions, math.inf
    for _ in range(_ROUNDS - 1):
        changes = film.changes(positions)
        slowest = float(changes.min())
        if not float(changes.max()) > 0:
            return positions
        ratio = float(changes.max()) / slowest if slowest else math.inf
        if ratio < unevenness:
            best, unevenness = positions, ratio
        if ratio <= _EVEN:
            break
        reached = torch.cat([torch.zeros(1, dtype=torch.float64), changes.cumsum(0)])
        wanted = np.linspace(0, float(reached[-1]), len(positions))
        positions = torch.from_numpy(np.interp(wanted, reached.numpy(), positions.numpy()))
    return best


def _check_ends(vae: LatentVAE, first: Latent, last: Latent) -> None:
    channels = {vae.spec.channels, first.values.shape[0], last.values.shape[0]}
    if len(channels) > 1:
        raise ShapeError(
            f"latents of {first.values.shape[0]} and {last.values.shape[0]} channels",
            f"{vae.spec.channels} channels, as {vae.spec.name} has",
            "encode both images with the same model",
        )
    check_targets(first, [last])


def _title(first: Latent, last: Latent, path: str) -> str:
    _, where = first.title.split(" · ", 1)
    return f"{first.name} to {last.name} · {where}\n{path} path"
