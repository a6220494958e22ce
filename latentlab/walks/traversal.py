"""Directions become latents, latents become frames, frames get scores."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.components.pca import PCA
from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.errors import ShapeError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.latents import Directions, Latent, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.walks import PathScores, score_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LARGEST_SPAN = 1e6


@dataclass(frozen=True, eq=False, repr=False)
class Trail:
    """The pictures along one direction.

    Parameters
    ----------
    label : str, such as ``"PC 1"``
    caption : str, lines to write beside the pictures: label, strength, meaning
    share : float, the direction's share of the neighborhood's variance
    frames : Tensor, (steps, H, W, 3), uint8
    scores : PathScores
    drift : float, ‖E(D(z)) − z‖ in model-space units, mean of the trail's two ends
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
        return f"Trail({self.label!r}, {len(self.frames)} pictures, {self.scores})"


@dataclass(frozen=True, eq=False, repr=False)
class Walk:
    """A traversal: one trail for each direction, all from −span to +span.

    Parameters
    ----------
    trails : one Trail a direction
    alphas : Tensor, (steps,), standard deviations of the neighborhood
    decodes : int, how many latents were decoded
    title : str, picture, model and finder, for sheets
    unit : str, of the alphas
    """

    trails: tuple[Trail, ...]
    alphas: Tensor
    decodes: int
    title: str
    unit: str = "σ"

    def summary(self) -> dict[str, Any]:
        """Return the contents of ``traversal.json``."""
        return {
            "title": self.title,
            "alphas": [round(alpha, 6) for alpha in self.alphas.tolist()],
            "unit": self.unit,
            "components": [
                {
                    "index": index,
                    "label": trail.label,
                    "caption": trail.caption,
                    "explained_variance_ratio": trail.share,
                    **asdict(trail.scores),
                    "drift": trail.drift,
                    "drift_relative": trail.drift_relative,
                }
                for index, trail in enumerate(self.trails, 1)
            ],
            "decodes": self.decodes,
        }

    def save(self, path: str | Path, *, fps: float = 12, loop: bool = True) -> Path:
        """Write all trails as one animation; the format follows the suffix. Return the path."""
        from latentlab.figures.canvas import animate_walk

        return animate_walk(self, Path(path), fps=fps, loop=loop)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the sheet, components × steps; return the axes."""
        from latentlab.figures.canvas import draw_walk

        return draw_walk(self, ax=ax)

    def __repr__(self) -> str:
        where = self.title.replace("\n", ", ")
        return f"Walk({where}: {len(self.trails)} components × {len(self.alphas)} steps)"

    def _repr_html_(self) -> str:
        from latentlab.figures.canvas import walk_html

        return walk_html(self)


def traverse(
    vae: LatentVAE,
    latent: Latent,
    directions: PCA | Directions,
    *,
    components: int = 5,
    span: float = 3.0,
    steps: int = 16,
    progress: Progress | None = None,
) -> Walk:
    """Return the pictures along the first directions, from −span to +span standard deviations.

    The latents are z + α σ_k v_k: σ_k is the neighborhood's standard deviation along direction k,
    so spans are comparable between directions; some finders have ``steps`` of their own instead.
    Equal latents are decoded once; with an odd number of steps that is the center frame, which all
    directions share.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent, where the walk passes at α = 0
    directions : PCA of a neighborhood, or Directions
    components : int, how many directions
    span : float, above 0, in standard deviations
    steps : int, at least 2
    progress : called as ``progress("decoding", done, total)``

    Raises
    ------
    UsageError : a span or number of steps that makes no sense.
    ShapeError : more components than there are, or directions of another model or size.
    NonFiniteError, MemoryLimitError : as for :func:`latentlab.encode`.
    """
    check_steps(components, span, steps)
    found = directions.leading(components) if isinstance(directions, PCA) else directions
    check_directions(found, latent, components)
    alphas = torch.linspace(-span, span, steps)
    paths = [partial(_latents_along, latent, found, k, alphas) for k in range(components)]
    trails, decodes = decode_paths(vae, paths, found, alphas, progress=progress)
    return Walk(trails, alphas, decodes, walk_title(latent, found), found.step_unit)


def decode_paths(
    vae: LatentVAE,
    paths: Sequence[Callable[[], Tensor]],
    found: Directions,
    alphas: Tensor,
    *,
    progress: Progress | None = None,
) -> tuple[tuple[Trail, ...], int]:
    """Return the trail of each path, and how many latents were decoded.

    Parameters
    ----------
    vae : LatentVAE
    paths : one function a direction, which returns the latents (steps, C, h, w) of its path, the
        same at every call
    found : Directions, which name the trails
    alphas : Tensor, (steps,), evenly spaced
    progress : called as ``progress("decoding", done, total)``
    """
    decoder = _SharingDecoder(vae, (path() for path in paths), progress)
    trails = tuple(
        _trail(vae, decoder, path(), found, k, float(alphas[1] - alphas[0]))
        for k, path in enumerate(paths)
    )
    return trails, decoder.decodes


def walk_title(latent: Latent, found: Directions) -> str:
    """Return two lines for the sheet of a walk: picture and model, then the directions."""
    return f"{latent.title}\n{found.basis or found.finder}"


def check_steps(components: int, span: float, steps: int) -> None:
    """Raise UsageError where numbers of components or steps, or the span, make no sense."""
    if not isinstance(components, int) or components < 1:
        raise UsageError(f"components={components}", "1 or more", "pass --components 5")
    if not 0 < span <= _LARGEST_SPAN:
        raise UsageError(
            f"span={span}",
            f"a span above 0 and up to {_LARGEST_SPAN:g} standard deviations",
            "pass --span 3.0",
        )
    if not isinstance(steps, int) or steps < 2:
        raise UsageError(f"steps={steps}", "at least 2 steps", "pass --steps 16")


def check_directions(found: Directions, latent: Latent, components: int) -> None:
    """Raise ShapeError where directions are too few, or of another model or size."""
    available = len(found.vectors)
    if components > available:
        raise ShapeError(
            f"components={components}",
            f"1 to {available}, which is how many directions there are",
            "lower --components, or run `latentlab pca` with more samples",
        )
    if found.vectors.shape[1:] != latent.values.shape:
        raise ShapeError(
            f"directions of shape {tuple(found.vectors.shape[1:])}",
            f"{tuple(latent.values.shape)} like the latent",
            "use the same model and size for both",
        )


def _latents_along(latent: Latent, found: Directions, k: int, alphas: Tensor) -> Tensor:
    """Return the latents (steps, C, h, w) at these standard deviations along direction k."""
    step = float(found.step_lengths[k]) * found.vectors[k]
    return latent.values + alphas[:, None, None, None] * step


class _SharingDecoder:
    """Decodes latents one at a time and equal latents once."""

    def __init__(self, vae: LatentVAE, paths: Iterable[Tensor], progress: Progress | None) -> None:
        self.vae = vae
        self.progress = progress
        self.decodes = 0
        self._uses = Counter(_digest(latent) for path in paths for latent in path)
        self._kept: dict[bytes, Tensor] = {}

    def frames(self, path: Tensor) -> Iterator[Tensor]:
        """Yield the picture (3, H, W) of each latent of a path."""
        for latent in path:
            key = _digest(latent)
            if key in self._kept:
                yield self._kept[key]
                continue
            frame = next(decode_each(self.vae, latent[None]))
            self.decodes += 1
            if self.progress:
                self.progress("decoding", self.decodes, len(self._uses))
            if self._uses[key] > 1:
                self._kept[key] = frame
            yield frame


def _digest(latent: Tensor) -> bytes:
    # Adding 0 turns −0 into 0, which is the same latent.
    return hashlib.sha256((latent + 0.0).contiguous().numpy().tobytes()).digest()


def _trail(
    vae: LatentVAE, decoder: _SharingDecoder, path: Tensor, found: Directions, k: int, step: float
) -> Trail:
    pictures: list[Tensor] = []
    drifts: list[float] = []

    def watched() -> Iterator[Tensor]:
        for index, frame in enumerate(decoder.frames(path)):
            pictures.append(to_uint8(frame))
            if index in (0, len(path) - 1):
                again = encode_batch(vae, frame[None]).mean[0]
                drifts.append(float((again - path[index]).norm()))
            yield frame

    scores = score_path(watched(), step)
    drift = sum(drifts) / len(drifts)
    return Trail(
        label=found.labels[k],
        caption=found.captions[k],
        share=float(found.shares[k]),
        frames=torch.stack(pictures),
        scores=scores,
        drift=drift,
        drift_relative=drift / float(path[[0, -1]].flatten(1).norm(dim=1).mean()),
    )
