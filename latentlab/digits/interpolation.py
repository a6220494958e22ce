"""Paths from one latent to another, straight or slerp, and the images along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.digits.checks import check_choice, check_range
from latentlab.digits.folders import DigitsRun
from latentlab.digits.measure import draw_latents, encode_digits
from latentlab.digits.models import DigitsModel
from latentlab.errors import ShapeError
from latentlab.latents import Progress
from latentlab.linalg.slerp import slerp

PATHS = ("linear", "slerp")


@dataclass(frozen=True, eq=False)
class LatentPath:
    """A path through the latent space and the images decoded along it.

    Parameters
    ----------
    kind : ``linear`` or ``slerp``
    z : Tensor, (steps, L), from z_i to z_e
    label : int, for a decoder that uses labels
    images : Tensor, (steps, 1, H, W), in [0, 1]
    """

    kind: str
    z: Tensor
    label: int
    images: Tensor


def choose_ends(
    run: DigitsRun,
    start: Sequence[float] | int | None = None,
    end: Sequence[float] | int | None = None,
    *,
    seed: int = 0,
    data: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the two ends of a path, z_i and z_e, both (L,).

    Parameters
    ----------
    run : DigitsRun
    start, end : the numbers of the latent; or the index of a test image to encode; or None for a
        latent drawn from the prior (for an autoencoder, from a normal fitted to its codes)
    seed : int, of the latents that are drawn
    data, offline, progress : of the test images, see :meth:`DigitsRun.read_data`

    Raises
    ------
    UsageError : no test image has this index.

    Examples
    --------
    >>> from latentlab.digits.folders import load_run
    >>> start, end = choose_ends(load_run(), [0.0, 0.0, 0.0, -2.0, 0.0, 0.0, 0.0, 0.0])
    >>> float(start[3]), end.shape
    (-2.0, torch.Size([8]))
    """
    drawn = draw_latents(run.model, run.codes, 2, seed=seed)
    found = []
    for option, chosen, random in zip(("--start", "--end"), (start, end), drawn, strict=True):
        if chosen is None:
            found.append(random)
        elif isinstance(chosen, int):
            test = run.read_data(data, offline=offline, progress=progress).test
            check_range(option, chosen, 0, len(test) - 1, example=0)
            found.append(encode_digits(run.model, test[[chosen]]).mean[0])
        else:
            found.append(torch.tensor(chosen, dtype=torch.float32))
    return found[0], found[1]


def decode_path(
    model: DigitsModel,
    start: Tensor,
    end: Tensor,
    *,
    label: int = 0,
    kind: str = "linear",
    steps: int = 24,
) -> LatentPath:
    """Return a path from one latent to another and the images along it.

    Parameters
    ----------
    model : DigitsModel
    start, end : Tensor, (L,), z_i and z_e
    label : int, for a decoder that uses labels
    kind : ``linear``, z_I = (1 − t) z_i + t z_e, or ``slerp``, as
        :func:`latentlab.linalg.slerp.slerp` defines it
    steps : int, 2 to 1000, both ends included

    Raises
    ------
    UsageError : an unknown kind, a number of steps or a label out of its range, or a slerp between
        opposite latents.
    ShapeError : a latent of another length than the model's.
    """
    check_choice("--path", kind, PATHS)
    check_range("--steps", steps, 2, 1000, example=24)
    check_range("--label", label, 0, model.config.classes - 1, example=0)
    latent = model.config.latent
    for z in (start, end):
        if z.shape != (latent,):
            raise ShapeError(
                f"a latent of shape {tuple(z.shape)}", f"({latent},)", f"pass {latent} numbers"
            )
    weights = torch.linspace(0, 1, steps)
    linear = kind == "linear"
    z = torch.lerp(start, end, weights[:, None]) if linear else slerp(start, end, weights)
    return LatentPath(kind, z, label, model.images(z, torch.full((steps,), label)))
