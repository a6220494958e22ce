"""Whether directions found at one image change others likewise, against random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.directions.amounts import STATISTICS
from latentlab.directions.correlations import LABEL_SAMPLES, Correlations, statistic_correlations
from latentlab.encoding.encoder import decode_each
from latentlab.errors import ShapeError, UsageError
from latentlab.figures.tables import frame_of
from latentlab.images.arrays import to_uint8
from latentlab.latents import Directions, Latent, Progress
from latentlab.linalg.bases import random_rows
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.two_way import two_way_interval

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MEASURES = ("cosines", "random_cosines", "label_cosines", "random_label_cosines")
RANDOM_DIRECTIONS = 16


@dataclass(frozen=True, eq=False, repr=False)
class Transfer:
    """How similarly directions change other images and the image they were found at.

    Parameters
    ----------
    labels : k names of the directions
    origin : str, the image that they were found at
    targets : names of the t other images
    alpha : float, the step both ways, in ``unit``
    cosines : Tensor, (t, k), float64; of the change of the target with that of the origin
    random_cosines : Tensor, (t, r), the same for random directions, with steps of equal length
    label_cosines : Tensor, (t, k); of the correlations with image statistics
    random_label_cosines : Tensor, (t, r)
    frames : Tensor, (1 + t, k, 2, H, W, 3), uint8; each image at −alpha and +alpha
    title : str
    unit : str, of alpha, such as ``"σ"`` of the origin's neighborhood along each direction
    seed : int, of the random directions
    record : what ``run.json`` says of model and images, JSON-ready
    """

    labels: tuple[str, ...]
    origin: str
    targets: tuple[str, ...]
    alpha: float
    cosines: Tensor
    random_cosines: Tensor
    label_cosines: Tensor
    random_label_cosines: Tensor
    frames: Tensor
    title: str
    unit: str = "σ"
    seed: int = 0
    record: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the contents of ``transfer.json``."""
        return {
            "title": self.title,
            "origin": self.origin,
            "directions": list(self.labels),
            "alpha": self.alpha,
            "unit": self.unit,
            **self._compare(slice(None)),
            "pairs": [
                {
                    "target": name,
                    **self._compare(slice(index, index + 1)),
                    "cosines": self.cosines[index].tolist(),
                    "label_cosines": self.label_cosines[index].tolist(),
                }
                for index, name in enumerate(self.targets)
            ],
        }

    def _compare(self, targets: slice) -> dict[str, Any]:
        """Return the means over directions and these targets, with 95 % intervals.

        The difference of found and random directions is the headline: it is paired over images,
        and the cosines alone are large for any direction where a decoder is nearly linear.
        """
        measures = {
            "picture_change": (self.cosines, self.random_cosines),
            "label_scores": (self.label_cosines, self.random_label_cosines),
        }
        return {
            name: {
                "difference": float(found[targets].mean() - chance[targets].mean()),
                "difference_interval": two_way_interval(found[targets], chance[targets]),
                "cosine": float(found[targets].mean()),
                "interval": _within(two_way_interval(found[targets])),
                "random": float(chance[targets].mean()),
                "random_interval": _within(two_way_interval(chance[targets])),
            }
            for name, (found, chance) in measures.items()
        }

    def plot(self, *, width: float | None = None) -> Figure:
        """Draw the cosines of every direction beside those of random ones; return the figure.

        Parameters
        ----------
        width : float, optional; of the figure, in inches. Below 6 the panels are stacked.
        """
        from latentlab.figures.transfer import draw_transfer

        return draw_transfer(
            self.labels,
            self.targets,
            {
                f"change of the image at ±{self.alpha:g} {self.unit}": (
                    self.cosines,
                    self.random_cosines,
                ),
                "correlations with image statistics": (
                    self.label_cosines,
                    self.random_label_cosines,
                ),
            },
            origin=self.origin,
            title=self.title,
            width=width,
        )

    def sheet(self) -> NDArray[np.uint8]:
        """Return each image at −alpha and +alpha along each direction as one grid (H, W, 3)."""
        from latentlab.figures.transfer import transfer_sheet

        return transfer_sheet(
            self.frames,
            row_labels=[
                f"{name}\ncosine {float(mean):.2f}"
                for name, mean in zip(self.labels, self.cosines.mean(0), strict=True)
            ],
            names=(self.origin, *self.targets),
            step=(self.alpha, self.unit),
            title=self.title,
        )

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each target and direction.

        ``cosine`` of the changes of both images, ``label_cosine`` of what they correlate with.
        """
        return frame_of(
            {
                "target": target,
                "direction": label,
                "cosine": float(self.cosines[row, k]),
                "label_cosine": float(self.label_cosines[row, k]),
            }
            for row, target in enumerate(self.targets)
            for k, label in enumerate(self.labels)
        )

    def _repr_png_(self) -> bytes:
        from latentlab.figures.canvas import png_bytes

        return png_bytes(self.plot())

    def __repr__(self) -> str:
        found, chance = float(self.cosines.mean()), float(self.random_cosines.mean())
        what = f"cosine {found:.2f}, random {chance:.2f}"
        return f"Transfer({self.origin!r} to {len(self.targets)} images: {what})"


def transfer_directions(
    vae: LatentVAE,
    origin: Latent,
    directions: Directions,
    targets: Sequence[Latent],
    *,
    alpha: float = 2.0,
    n_samples: int = LABEL_SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Transfer:
    """Return whether directions found at one latent change other images in the same way.

    A direction's change of an image is (D(z + α σ v) − D(z − α σ v)) / 2; the cosine of two
    such changes is 1 if the same pixels change in the same way. Label scores are a direction's
    correlations with image statistics; their cosine is 1 if the same things change, wherever in
    the image. Sixteen random directions with steps of the mean length are the null; their cosines
    are large where a decoder is nearly linear.

    Parameters
    ----------
    vae : LatentVAE
    origin : Latent that the directions were found at
    directions : Directions
    targets : other latents, of the same model and size
    alpha : float, above 0; step in standard deviations
    n_samples : int, mixes for the label scores
    seed : int
    progress : called as ``progress("transfer", done, total)``, in decoded images

    Raises
    ------
    UsageError : no targets, an alpha that is not above 0, or directions without a layout.
    ShapeError : latents of different size.

    Examples
    --------
    >>> from latentlab import encode, find_directions, load_vae, neighborhood
    >>> vae = load_vae("linear")
    >>> flower, china = (encode(vae, f"sample:{name}", size=64) for name in ("flower", "china"))
    >>> found = find_directions(vae, flower, neighborhood(vae, flower, "tokens"), n_components=2)
    >>> moved = transfer_directions(vae, flower, found, [china], n_samples=16)
    >>> moved.cosines.round(decimals=3).tolist()  # a linear decoder changes all images equally
    [[1.0, 1.0]]
    """
    check_targets(origin, targets)
    if not 0 < alpha <= 1e6:
        raise UsageError(f"alpha={alpha}", "a number above 0", "pass alpha=2")
    chance = _random_like(directions, seed)
    latents = [origin, *targets]
    seen: list[tuple[Tensor, Tensor]] = []
    read: list[tuple[Correlations, ...]] = []
    frames = []
    moved = len(directions.vectors) + len(chance.vectors)
    decoded = _Decoded(2 * (moved + n_samples + 1) * len(latents), progress)
    for latent in latents:
        changes, images = _change(vae, latent, directions, alpha, decoded)
        random_changes, _ = _change(vae, latent, chance, alpha, decoded)
        scores: list[Correlations] = []
        for some in (directions, chance):
            how: dict[str, Any] = {"n_samples": n_samples, "seed": seed}
            found = statistic_correlations(vae, latent, some, **how, progress=decoded.within)
            scores.append(found)
            decoded.add(n_samples + 1)  # the mixes and their center
        seen.append((changes, random_changes))
        read.append(tuple(scores))
        frames.append(images)
    return Transfer(
        labels=directions.labels,
        origin=origin.name,
        targets=tuple(latent.name for latent in targets),
        alpha=alpha,
        **{
            name: torch.stack([_cosines(first, other) for other in others])
            for name, first, *others in zip(MEASURES, *_rows(seen, read), strict=True)
        },
        frames=torch.stack(frames),
        title=f"{origin.title}\n{directions.basis}",
        unit=directions.step_unit,
        seed=seed,
        record=origin.record,
    )


def check_targets(origin: Latent, targets: Sequence[Latent]) -> None:
    """Raise UsageError without targets, ShapeError where a target has another size."""
    if not targets:
        raise UsageError("one image", "at least two images", "pass the image to transfer to")
    for target in targets:
        if target.values.shape != origin.values.shape:
            raise ShapeError(
                f"images of different size: {target.title} and {origin.title}",
                "images of one size",
                "pass size=256 (--size 256), or another size for all",
            )


@dataclass
class _Decoded:
    """How many images were decoded, of how many, as progress of the whole transfer."""

    total: int
    progress: Progress | None
    done: int = 0

    def add(self, images: int) -> None:
        self.done += images
        self.within("", 0, 0)

    def within(self, _what: str, done: int, _total: int) -> None:
        """Report the progress of a step that has decoded ``done`` images."""
        if self.progress:
            self.progress("transfer", self.done + done, self.total)


def _change(
    vae: LatentVAE, latent: Latent, directions: Directions, alpha: float, decoded: _Decoded
) -> tuple[Tensor, Tensor]:
    """Return half the differences (k, pixels) of images at ±alpha, and those (k, 2, H, W, 3)."""
    changes, frames = [], []
    for vector, length in zip(directions.vectors, directions.step_lengths, strict=True):
        step = alpha * float(length) * vector
        low, high = decode_each(vae, torch.stack([latent.values - step, latent.values + step]))
        changes.append(((high - low) / 2).flatten())
        frames.append(torch.stack([to_uint8(low), to_uint8(high)]))
        decoded.add(2)
    return torch.stack(changes), torch.stack(frames)


def _random_like(directions: Directions, seed: int) -> Directions:
    """Return random directions whose steps are as long as the mean step of these."""
    layout = directions.layout
    if layout is None:
        raise UsageError(
            f"{directions!r} without a layout",
            "directions that a finder found",
            "use latentlab.find_directions",
        )
    generator = torch.Generator().manual_seed(seed)
    count = min(RANDOM_DIRECTIONS, layout.n_features)
    rows = random_rows(count, layout.n_features, generator)
    length = float(directions.step_lengths.mean())
    return replace(
        directions,
        vectors=torch.stack([layout.lift(row) for row in rows]),
        deviations=torch.full((count,), length),
        steps=None,
        shares=torch.zeros(count),
        labels=tuple(f"random {index}" for index in range(1, count + 1)),
        rows=rows,
    )


def _rows(
    seen: Sequence[tuple[Tensor, Tensor]], read: Sequence[tuple[Correlations, ...]]
) -> list[tuple[Tensor, ...]]:
    """Return changes and correlations of each image, with statistics that all images have.

    A gray image has no hue.
    """
    common = [
        name for name in STATISTICS if all(name in one.amounts for two in read for one in two)
    ]
    return [
        (*changes, *(one.rho[:, [[*one.amounts].index(name) for name in common]] for one in two))
        for changes, two in zip(seen, read, strict=True)
    ]


def _within(interval: list[float] | None) -> list[float] | None:
    """Return an interval of cosines inside [−1, 1]."""
    return interval and [max(-1.0, min(1.0, end)) for end in interval]


def _cosines(first: Tensor, other: Tensor) -> Tensor:
    """Return the cosine (k,), float64, of each pair of rows; 0 where one of them is zero."""
    lengths = first.double().norm(dim=1) * other.double().norm(dim=1)
    products = (first.double() * other.double()).sum(1)
    return torch.where(lengths > 0, products / lengths.clamp_min(1e-300), 0.0)
