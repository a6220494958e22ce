"""Every latent dimension moved under every label: a sheet, a film, and what it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.figures import ink
from latentlab.digits.folders import DigitsRun
from latentlab.digits.models import DigitsModel
from latentlab.digits.morphology import FACTORS, measure_digits
from latentlab.errors import UsageError
from latentlab.figures.sheets import compose_sheet, lay_out_sheet

if TYPE_CHECKING:
    from latentlab.figures.animation import Frame

RANGES = ("sigma", "quantile")
_TILE = 56
_FILM_TILE = 84


@dataclass(frozen=True, eq=False)
class Sweep:
    """Pictures of each latent moved alone, the others at 0, under each label.

    Parameters
    ----------
    labels : the labels, one only where the model is told none
    values : Tensor, (L, steps), where each latent went
    pictures : Tensor, (labels, L, steps, H, W), in [0, 1]
    """

    labels: tuple[int, ...]
    values: Tensor
    pictures: Tensor


def sweep_latents(
    model: DigitsModel,
    values: Tensor,
    *,
    labels: Sequence[int] | None = None,
    center: Tensor | None = None,
) -> Sweep:
    """Return the pictures of every latent at these values, under every label.

    Parameters
    ----------
    model : DigitsModel
    values : Tensor, (L, steps)
    labels : which; all of them without, or one where the model is told none
    center : Tensor, (L,), where the other latents stay; 0 without

    Examples
    --------
    >>> from latentlab.digits.models import DigitsConfig, build_model
    >>> model = build_model(DigitsConfig("cvae", latent=2))
    >>> sweep_latents(model, torch.linspace(-2, 2, 5).expand(2, 5)).pictures.shape
    torch.Size([10, 2, 5, 28, 28])
    """
    config = model.config
    if labels is None:
        labels = range(config.classes) if config.sees_label else (0,)
    count, steps = values.shape
    rest = torch.zeros(count) if center is None else center
    z = rest.expand(len(labels), count, steps, count).clone()
    for latent in range(count):
        z[:, latent, :, latent] = values[latent]
    told = torch.tensor(labels)[:, None, None].expand(z.shape[:3])
    pictures = model.pictures(z.flatten(0, 2), told.flatten())
    shape = (len(labels), count, steps, config.size, config.size)
    return Sweep(tuple(labels), values, pictures.reshape(shape))


def sweep_values(run: DigitsRun, *, reach: str, span: float, steps: int) -> Tensor:
    """Return where each latent goes (L, steps).

    Parameters
    ----------
    run : DigitsRun
    reach : ``sigma``, from −span to span standard deviations of the prior (of the codes for an
        autoencoder, around their mean); or ``quantile``, evenly in probability between the
        quantiles of the test set's codes that ±span standard deviations of a normal would have
    span : float, above 0, at most 5
    steps : int, 2 to 200

    Raises
    ------
    UsageError : a range that makes no sense, or quantiles without codes.
    """
    if reach not in RANGES:
        raise UsageError(f"--range {reach}", f"one of {', '.join(RANGES)}", "choose one")
    if not 0 < span <= 5 or not 2 <= steps <= 200:
        raise UsageError(
            f"--span {span} with --steps {steps}",
            "a span above 0 and up to 5, and 2 to 200 steps",
            "pass --span 2 --steps 9",
        )
    latent = run.model.config.latent
    if reach == "sigma" and run.model.config.is_variational:
        return torch.linspace(-span, span, steps).expand(latent, steps)
    if run.codes is None:
        raise UsageError(f"{run.name} without codes", "those of a run folder", "train again")
    means = run.codes.mean
    if reach == "sigma":
        return means.mean(0)[:, None] + means.std(0)[:, None] * torch.linspace(-span, span, steps)
    low = float(torch.special.ndtr(torch.tensor(-span)))
    levels = torch.linspace(low, 1 - low, steps)
    return torch.quantile(means, levels, dim=0).T.contiguous()


def sweep_sheet(sweep: Sweep, *, title: str, shown: int = 5, tilt: int | None = None) -> Frame:
    """Return one picture (H, W, 3): a row a label, a block of steps a latent.

    Parameters
    ----------
    shown : int, how many steps of each latent, evenly chosen
    tilt : int, the latent that is the tilt, which is named
    """
    steps = np.unique(np.linspace(0, sweep.values.shape[1] - 1, shown).round().astype(int))
    paper = np.full((*sweep.pictures.shape[-2:], 3), 255, np.uint8)
    heads: list[str] = []
    rows: list[list[Frame]] = [[] for _ in sweep.labels]
    for latent, values in enumerate(sweep.values):
        if latent:
            heads.append("")
        name = f"z{latent}{' tilt' if latent == tilt else ''}"
        heads += [
            f"{name if step == steps[len(steps) // 2] else ''}\n{_number(float(values[step]))}"
            for step in steps
        ]
        for row, label in zip(rows, sweep.pictures, strict=True):
            row += [paper] * bool(latent) + ink(label[latent][steps])
    return compose_sheet(
        rows, row_labels=_row_labels(sweep), column_labels=heads, title=title, tile=_TILE
    )


def _number(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") if round(value, 1) else "0"


def _row_labels(sweep: Sweep) -> list[str]:
    return [f"label {label}" for label in sweep.labels] if len(sweep.labels) > 1 else [""]


def sweep_film(sweep: Sweep, *, title: str, tilt: int | None = None) -> list[Frame]:
    """Return the frames (H, W, 3) of all latents moving at once: labels by latents."""
    count = sweep.values.shape[0]
    heads = [f"z{latent}{' (tilt)' if latent == tilt else ''}" for latent in range(count)]
    sheet = lay_out_sheet(
        (*sweep.pictures.shape[-2:], 3),
        row_labels=_row_labels(sweep),
        columns=count,
        column_labels=heads,
        title=title,
        tile=_FILM_TILE,
    )
    return [
        sheet.draw([ink(label[:, step]) for label in sweep.pictures])
        for step in range(sweep.values.shape[1])
    ]


def sweep_changes(sweep: Sweep) -> dict[str, NDArray[np.float64]]:
    """Return how each factor changes from the first to the last step (labels, L), by name.

    In the units of :mod:`latentlab.digits.morphology`: radians and pixels.
    """
    ends = sweep.pictures[:, :, [0, -1]]
    values = measure_digits(ends.flatten(0, 2).numpy())
    shape = ends.shape[:3]
    return {name: np.diff(values[name].reshape(shape), axis=2)[..., 0] for name in FACTORS}
