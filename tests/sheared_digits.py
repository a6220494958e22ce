"""A digits model whose every image is known: strokes, sheared by latent 3.

Its decoder is a true :class:`latentlab.digits.models.Decoder` with weights written by hand. With
ReLU units that open one after the other along z₃, and only under their own label, its logits
interpolate linearly between strokes drawn at ``KNOTS``; the other latents make strokes thicker.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latentlab.digits.folders import DigitsRun, save_run
from latentlab.digits.measure import Codes
from latentlab.digits.models import DigitsConfig, DigitsModel, build_model

SIZE, LATENT, TILT = 20, 5, 3
KNOTS = np.linspace(-3, 3, 7)
SHEAR = 0.2  # of the image, for each unit of z₃
_FAR = 100.0
_OTHERS = (0.5, 0.3, 0.2, 0.0, 0.4)


def strokes(label: int, shear: float) -> NDArray[np.float64]:
    """Return logits (SIZE, SIZE) of an upright stroke and a bar across it, sheared to the right."""
    middle = (SIZE - 1) / 2
    y, x = np.mgrid[:SIZE, :SIZE] - middle
    x = x + shear * y
    stroke = np.maximum(np.abs(x) - 1.2, np.abs(y) - 7)
    bar = np.maximum(np.abs(x) - 3.5, np.abs(y - (label - 4.5)) - 0.8)
    distance = np.minimum(stroke, bar)
    return np.clip(-4 * distance, -9, 6)


def sheared_model() -> DigitsModel:
    """Return the model; its encoder knows nothing."""
    labels, steps = 10, len(KNOTS) - 1
    config = DigitsConfig("cvae", latent=LATENT, hidden=(labels * (steps + 1),), size=SIZE)
    model = build_model(config)
    first, _, last = model.decoder.head
    inward, offset = np.zeros(first.weight.shape), np.zeros(first.bias.shape)
    outward = np.zeros(last.weight.shape)
    for label in range(labels):
        drawn = np.stack([strokes(label, SHEAR * knot).ravel() for knot in KNOTS])
        slopes = np.diff(drawn, axis=0) / np.diff(KNOTS)[:, None]
        bends = np.diff(slopes, axis=0, prepend=0 * slopes[:1])
        rows = slice(label * (steps + 1), label * (steps + 1) + steps)
        inward[rows, TILT] = 1
        inward[rows, LATENT + label] = _FAR
        offset[rows] = -KNOTS[:-1] - _FAR
        outward[:, rows] = bends.T
        # One more unit for what is there at the first knot and for the other latents.
        inward[rows.stop] = [*_OTHERS, *(_FAR * (np.arange(labels) == label))]
        inward[rows.stop, LATENT + label] += 5
        offset[rows.stop] = -_FAR
        outward[:, rows.stop] = drawn[0] / 5
    with torch.no_grad():
        for parameter, values in (
            (first.weight, inward),
            (first.bias, offset),
            (last.weight, outward),
            (last.bias, np.zeros(SIZE * SIZE)),
        ):
            parameter.copy_(torch.from_numpy(values))
    return model.eval()


def sheared_run(name: str = "strokes") -> DigitsRun:
    """Return the model as a run with codes that are drawn from the prior."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(200, LATENT, generator=generator)
    codes = Codes(mean, torch.zeros_like(mean), torch.arange(200) % 10)
    return DigitsRun(name, sheared_model(), {"tilt_dimension": TILT}, codes)


def save_sheared(folder: Path) -> Path:
    """Write the model as `latentlab digits train` would; return the folder."""
    run = sheared_run()
    assert run.codes is not None
    facts = {"tilt_dimension": TILT, "data": {"name": "digits"}}
    save_run(folder, run.model, facts, [{"epoch": 1}], run.codes)
    return folder
