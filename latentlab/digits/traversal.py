"""Every latent moved alone under every label: a sheet, a film, and the changes of the digit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.checks import check_choice, check_range
from latentlab.digits.figures import ink
from latentlab.digits.folders import DigitsRun
from latentlab.digits.measure import center_and_spread
from latentlab.digits.models import DigitsModel
from latentlab.digits.morphology import FACTORS, measure_digits
from latentlab.errors import UsageError
from latentlab.figures.animation import Frame, write_animation
from latentlab.figures.sheets import compose_sheet, lay_out_sheet
from latentlab.images.reading import save_png
from latentlab.results.folders import write_json

RANGES = ("sigma", "quantile")
_MINUS = "\N{MINUS SIGN}"
_TILE = 56
_FILM_TILE = 84
_SHOWN_STEPS = 5


@dataclass(frozen=True, eq=False)
class LatentTraversal:
    """Images of each latent moved alone, under each label.

    Parameters
    ----------
    labels : the labels; a single one if the model does not use them
    values : Tensor, (L, steps), the values of the latent that moves
    images : Tensor, (labels, L, steps, H, W), in [0, 1]
    """

    labels: tuple[int, ...]
    values: Tensor
    images: Tensor

    @property
    def row_labels(self) -> list[str]:
        """The texts beside the rows of images."""
        return [f"label {label}" for label in self.labels] if len(self.labels) > 1 else [""]


def traverse_latents(
    model: DigitsModel, values: Tensor, *, center: Tensor | None = None
) -> LatentTraversal:
    """Return the images of every latent at these values, under every label.

    Parameters
    ----------
    model : DigitsModel
    values : Tensor, (L, steps)
    center : Tensor, (L,), where the other latents stay; by default 0

    Examples
    --------
    >>> from latentlab.digits.models import DigitsConfig, build_model
    >>> model = build_model(DigitsConfig("cvae", latent=2))
    >>> traverse_latents(model, torch.linspace(-2, 2, 5).expand(2, 5)).images.shape
    torch.Size([10, 2, 5, 28, 28])
    """
    config = model.config
    labels = tuple(range(config.classes)) if config.sees_label else (0,)
    count, steps = values.shape
    rest = torch.zeros(count) if center is None else center
    z = rest.expand(len(labels), count, steps, count).clone()
    z.diagonal(dim1=1, dim2=3)[:] = values.T
    repeated = torch.tensor(labels)[:, None, None].expand(z.shape[:3])
    images = model.images(z.flatten(0, 2), repeated.flatten())
    return LatentTraversal(labels, values, images.reshape(*z.shape[:3], config.size, config.size))


def traversal_values(run: DigitsRun, *, reach: str, span: float, steps: int) -> Tensor:
    """Return the values (L, steps) over which each latent is moved.

    Parameters
    ----------
    run : DigitsRun
    reach : ``sigma``, from −span to span standard deviations of the prior (for an autoencoder, of
        its codes, around their mean); or ``quantile``, evenly in probability, between those
        quantiles of the test set's codes that lie at ±span standard deviations of a normal
    span : float, above 0, at most 5
    steps : int, 2 to 200

    Raises
    ------
    UsageError : an unknown range, or a number out of its range.
    """
    check_choice("--range", reach, RANGES)
    check_range("--steps", steps, 2, 200, example=9)
    if not 0 < span <= 5:
        raise UsageError(f"--span {span}", "a number above 0 and at most 5", "pass --span 2")
    if reach == "sigma":
        center, spread = center_and_spread(run.model, run.codes)
        return center[:, None] + spread[:, None] * torch.linspace(-span, span, steps)
    low = float(torch.special.ndtr(torch.tensor(-span)))
    levels = torch.linspace(low, 1 - low, steps)
    return torch.quantile(run.codes.mean, levels, dim=0).T.contiguous()


def save_traversal(
    run: DigitsRun, values: Tensor, folder: Path, *, reach: str, span: float, fps: float = 12
) -> dict[str, Any]:
    """Write ``traverse.png``, ``traverse.gif`` and ``traverse.json``; return their facts and paths.

    Parameters
    ----------
    values : Tensor, (L, steps), of :func:`traversal_values` with this ``reach`` and ``span``
    fps : float, frames per second
    """
    center, _ = center_and_spread(run.model, run.codes)
    traversal = traverse_latents(run.model, values, center=center)
    ends = f"{_MINUS}{span:g} to {span:g} σ"
    if reach == "quantile":
        ends = f"the quantiles at {_MINUS}{span:g} and {span:g} σ of a normal"
    title, tilt = f"{run.name}: each latent from {ends}, the others at rest", run.tilt_dimension
    facts = {
        "run": run.source,
        "range": reach,
        "span": span,
        "tilt_dimension": tilt,
        "values": values.tolist(),
        "labels": list(traversal.labels),
        "change": {name: change.tolist() for name, change in measure_changes(traversal).items()},
    }
    film = draw_film(traversal, title=title, tilt=tilt)
    files = [
        save_png(folder / "traverse.png", draw_sheet(traversal, title=title, tilt=tilt)),
        write_animation(folder / "traverse.gif", film, fps=fps),
        write_json(folder / "traverse.json", facts),
    ]
    return {**facts, "files": files}


def draw_sheet(traversal: LatentTraversal, *, title: str, tilt: int | None = None) -> Frame:
    """Return one image (H, W, 3): a row per label, a block of five steps per latent.

    Parameters
    ----------
    tilt : int, the latent that is the tilt and is labeled as such
    """
    count = traversal.values.shape[1]
    steps = np.unique(np.linspace(0, count - 1, _SHOWN_STEPS).round().astype(int))
    paper = np.full((*traversal.images.shape[-2:], 3), 255, np.uint8)
    heads: list[str] = []
    rows: list[list[Frame]] = [[] for _ in traversal.labels]
    for latent, values in enumerate(traversal.values):
        heads += [""] * bool(latent)
        name = f"z{latent}{' tilt' if latent == tilt else ''}"
        heads += [
            f"{name if step == steps[len(steps) // 2] else ''}\n{_number(float(values[step]))}"
            for step in steps
        ]
        for row, label in zip(rows, traversal.images, strict=True):
            row += [paper] * bool(latent) + ink(label[latent][steps])
    return compose_sheet(
        rows, row_labels=traversal.row_labels, column_labels=heads, title=title, tile=_TILE
    )


def _number(value: float) -> str:
    return f"{value:+.1f}".replace("-", _MINUS) if round(value, 1) else "0"


def draw_film(traversal: LatentTraversal, *, title: str, tilt: int | None = None) -> list[Frame]:
    """Return the frames (H, W, 3) of all latents moving at once: labels by latents."""
    count, steps = traversal.values.shape
    heads = [f"z{latent}{' (tilt)' if latent == tilt else ''}" for latent in range(count)]
    sheet = lay_out_sheet(
        (*traversal.images.shape[-2:], 3),
        row_labels=traversal.row_labels,
        columns=count,
        column_labels=heads,
        title=title,
        tile=_FILM_TILE,
    )
    return [
        sheet.draw([ink(label[:, step]) for label in traversal.images]) for step in range(steps)
    ]


def measure_changes(traversal: LatentTraversal) -> dict[str, NDArray[np.float64]]:
    """Return how each factor changes from the first to the last step (labels, L), by name.

    In the units of :mod:`latentlab.digits.morphology`: radians and pixels.
    """
    ends = traversal.images[:, :, [0, -1]]
    values = measure_digits(ends.flatten(0, 2).numpy())
    return {name: np.diff(values[name].reshape(ends.shape[:3]))[..., 0] for name in FACTORS}
