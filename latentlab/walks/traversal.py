"""Traversals: frames along directions, and their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.components.pca import PCA
from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.errors import ShapeError, UsageError, counted
from latentlab.figures.canvas import axes_on_screen, draw_pixels
from latentlab.figures.tables import frame_of
from latentlab.figures.walks import WalkFrames, encode_walk, walk_html, walk_sheet
from latentlab.images.arrays import to_uint8
from latentlab.latents import Directions, Latent, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.walks import PathScores, score_path
from latentlab.walks.chance import RandomWalks

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from latentlab.figures.animation import Write

_LARGEST_SPAN = 1e6


@dataclass(frozen=True, eq=False, repr=False)
class TraversalPath:
    """The frames along one direction.

    Parameters
    ----------
    label : str, such as ``"PC 1"``
    caption : str, lines to write beside the frames: label, strength, meaning
    share : float, the direction's share of the neighborhood's variance
    frames : Tensor, (steps, H, W, 3), uint8
    scores : PathScores
    drift : float, ‖E(D(z)) − z‖ in model-space units, mean of the two ends
    drift_relative : float, the same divided by the mean ‖z‖ of the two ends
    """

    label: str
    caption: str
    share: float
    frames: Tensor
    scores: PathScores
    drift: float
    drift_relative: float

    def __repr__(self) -> str:
        return f"TraversalPath({self.label!r}, {len(self.frames)} frames, {self.scores})"


@dataclass(frozen=True, eq=False, repr=False)
class Traversal:
    """Frames along several directions, each from −span to +span.

    Parameters
    ----------
    paths : one TraversalPath a direction
    alphas : Tensor, (steps,), standard deviations of the neighborhood
    decodes : int, how many latents were decoded
    title : str, image, model and finder, for sheets
    unit : str, of the alphas
    record : what ``run.json`` says of model and image, JSON-ready
    random : RandomWalks with the scores of random directions, if they were walked
    """

    paths: tuple[TraversalPath, ...]
    alphas: Tensor
    decodes: int
    title: str
    unit: str = "σ"
    record: Mapping[str, Any] = field(default_factory=dict)
    random: RandomWalks | None = field(default=None, kw_only=True)

    def summary(self) -> dict[str, Any]:
        """Return the contents of ``traversal.json``."""
        return {
            "title": self.title,
            "alphas": [round(alpha, 6) for alpha in self.alphas.tolist()],
            "unit": self.unit,
            "components": [
                {
                    "index": index,
                    "label": path.label,
                    "caption": path.caption,
                    "explained_variance_ratio": path.share,
                    **asdict(path.scores),
                    "drift": path.drift,
                    "drift_relative": path.drift_relative,
                }
                for index, path in enumerate(self.paths, 1)
            ],
            "random": self.random.describe() if self.random else None,
            "decodes": self.decodes,
        }

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with the scores of each direction, as ``traversal.json``."""
        rows = self.summary()["components"]
        return frame_of([{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows])

    def save(self, path: str | Path, *, fps: float = 12, loop: bool = True) -> Path:
        """Write one animation of all directions; the suffix names the format. Return the path."""
        return self.encode(Path(path).suffix, fps=fps, loop=loop)(Path(path))

    def encode(self, suffix: str, *, fps: float = 12, loop: bool = True) -> Write:
        """Return what writes the animation of all directions to a path, encoded already."""
        return encode_walk(self._drawn, suffix, fps=fps, loop=loop)

    def sheet(self) -> NDArray[np.uint8]:
        """Return all frames as one labeled grid (H, W, 3): directions by steps."""
        return walk_sheet(self._drawn)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the sheet; return the axes."""
        return draw_pixels(axes_on_screen(ax), self.sheet(), "")

    @property
    def _drawn(self) -> WalkFrames:
        return WalkFrames(
            [path.frames.numpy() for path in self.paths],
            [path.caption for path in self.paths],
            self.alphas.tolist(),
            self.unit,
            self.title,
        )

    def __repr__(self) -> str:
        where = self.title.replace("\n", ", ")
        extent = f"{counted(len(self.paths), 'directions')} × {counted(len(self.alphas), 'steps')}"
        return f"Traversal({where}: {extent})"

    def _repr_html_(self) -> str:
        return walk_html(self._drawn)


def walk_along(
    vae: LatentVAE,
    latent: Latent,
    directions: PCA | Directions,
    *,
    n_components: int,
    span: float = 3.0,
    steps: int = 16,
    progress: Progress | None = None,
) -> Traversal:
    """Return the frames along the first directions; everything as for :func:`latentlab.traverse`.

    That function finds the latent and the directions of stores, results and folders, too.
    """
    found, alphas = plan_walk(latent, directions, n_components, span, steps)
    latents = [
        latent.values + alphas[:, None, None, None] * (float(length) * vector)
        for length, vector in zip(found.step_lengths, found.vectors[:n_components], strict=False)
    ]
    paths, decodes = decode_paths(vae, latents, found, alphas, progress=progress)
    title = traversal_title(latent, found)
    return Traversal(paths, alphas, decodes, title, found.step_unit, latent.record)


def decode_paths(
    vae: LatentVAE,
    latents: Sequence[Tensor],
    found: Directions,
    alphas: Tensor,
    *,
    progress: Progress | None = None,
) -> tuple[tuple[TraversalPath, ...], int]:
    """Return the frames of each path, and how many latents were decoded.

    Parameters
    ----------
    vae : LatentVAE
    latents : the latents (steps, C, h, w) of each direction's path
    found : Directions, which name the paths
    alphas : Tensor, (steps,), evenly spaced
    progress : called as ``progress("decoding", done, total)``
    """
    keys = [_key(latent) for path in latents for latent in path]
    different = dict(zip(keys, chain(*latents), strict=True))
    images = _decode_once(vae, keys, different, progress)
    step = float(alphas[1] - alphas[0])
    paths = tuple(_decode_path(vae, images, path, found, k, step) for k, path in enumerate(latents))
    return paths, len(different)


def traversal_title(latent: Latent, found: Directions) -> str:
    """Return two lines for sheets: image and model, then the directions."""
    return f"{latent.title}\n{found.basis or found.finder}"


def check_steps(n_components: int, span: float, steps: int) -> None:
    """Raise UsageError for impossible numbers of directions or steps, or an impossible span."""
    if not isinstance(n_components, int) or n_components < 1:
        raise UsageError(f"n_components={n_components}", "1 or more", "pass --components 5")
    if not 0 < span <= _LARGEST_SPAN:
        raise UsageError(
            f"span={span}",
            f"a span above 0 and up to {_LARGEST_SPAN:g} standard deviations",
            "pass --span 3.0",
        )
    if not isinstance(steps, int) or steps < 2:
        raise UsageError(f"steps={steps}", "at least 2 steps", "pass --steps 16")


def plan_walk(
    latent: Latent, directions: PCA | Directions, n_components: int, span: float, steps: int
) -> tuple[Directions, Tensor]:
    """Return the directions of a walk and its alphas (steps,).

    Raises
    ------
    UsageError : a span or number of steps that makes no sense.
    ShapeError : too few directions, or directions of another model or size.
    """
    check_steps(n_components, span, steps)
    found = directions.leading(n_components) if isinstance(directions, PCA) else directions
    available = len(found.vectors)
    if n_components > available:
        raise ShapeError(
            f"n_components={n_components}",
            f"1 to {available}, the number of directions",
            "lower --components, or run `latentlab pca` with more samples",
        )
    if found.vectors.shape[1:] != latent.values.shape:
        raise ShapeError(
            f"directions of shape {tuple(found.vectors.shape[1:])}",
            f"{tuple(latent.values.shape)} like the latent",
            "use the same model and size for both",
        )
    return found, torch.linspace(-span, span, steps)


def _decode_once(
    vae: LatentVAE,
    keys: Sequence[bytes],
    different: Mapping[bytes, Tensor],
    progress: Progress | None,
) -> Iterator[Tensor]:
    """Yield the image (3, H, W) for each key, in order; each latent (C, h, w) is decoded once."""
    decoded = decode_each(vae, torch.stack([*different.values()]))
    left, kept, done = Counter(keys), dict[bytes, Tensor](), 0
    for key in keys:
        if key not in kept:
            kept[key] = next(decoded)
            done += 1
            if progress:
                progress("decoding", done, len(different))
        left[key] -= 1
        yield kept[key] if left[key] else kept.pop(key)


def _key(latent: Tensor) -> bytes:
    # Adding 0 turns −0 into 0, which is the same latent.
    return (latent + 0.0).contiguous().numpy().tobytes()


def _decode_path(
    vae: LatentVAE, images: Iterator[Tensor], path: Tensor, found: Directions, k: int, step: float
) -> TraversalPath:
    frames: list[Tensor] = []
    drifts: list[float] = []

    def watched() -> Iterator[Tensor]:
        for index, (latent, image) in enumerate(zip(path, images, strict=False)):
            frames.append(to_uint8(image))
            if index in (0, len(path) - 1):
                again = encode_batch(vae, image[None]).mean[0]
                drifts.append(float((again - latent).norm()))
            yield image

    scores = score_path(watched(), step)
    drift = sum(drifts) / len(drifts)
    return TraversalPath(
        label=found.labels[k],
        caption=found.captions[k],
        share=float(found.shares[k]),
        frames=torch.stack(frames),
        scores=scores,
        drift=drift,
        drift_relative=drift / float(path[[0, -1]].flatten(1).norm(dim=1).mean()),
    )
