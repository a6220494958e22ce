"""The figures on the card of the shipped digits model: how good its tilt is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.data import Digits, DigitsData
from latentlab.digits.measure import encode_digits, measure_losses
from latentlab.digits.models import DigitsModel
from latentlab.digits.morphology import slant_of
from latentlab.digits.tilt import find_tilt
from latentlab.errors import UsageError

REACH = 2.0
"""A tilt is judged from −REACH to +REACH."""

_STEPS = 41


def evaluate_tilt(
    model: DigitsModel,
    data: DigitsData,
    *,
    taught: int = 10_000,
    draws: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the figures of a model's tilt, by name, on the test set and on frames of its movement.

    Parameters
    ----------
    model : DigitsModel that uses the label
    data : DigitsData
    taught : int, number of training images that the classifier learns from
    draws : int, how often the other latents are drawn from the prior
    seed : int, of the posterior's samples and of the draws from the prior

    Returns
    -------
    dict with ``tilt_dimension`` and ``tilt_sign``; ``rho_mean`` and ``rho_worst``, |Spearman| with
    the slant within a label; ``rho_others``, the highest mean of another latent; ``rho``, by
    latent; ``turn`` in degrees, by label, and ``turn_min``; ``monotone``, whether every step of
    every label leans further to the right; ``readable``, the share of these frames in which the
    classifier reads the chosen label, and ``classifier_accuracy`` on the test set; the same with
    the other latents drawn from the prior instead of 0 (``turn_drawn_min``, ``monotone_drawn``,
    ``readable_drawn``); and ``test``, the losses in nats
    """
    codes = encode_digits(model, data.test)
    tilt = find_tilt(codes, data.test.images)
    if tilt.dimension is None:
        raise UsageError("a model without a tilt", "a latent that leans digits", "train it longer")
    others = [rho for index, rho in enumerate(tilt.rho) if index != tilt.dimension]
    classifier = teach_classifier(data.train[:taught])
    frames = move_latent(model, tilt.dimension)
    degrees = tilt.sign * np.degrees(_slants(frames))
    drawn = move_latent(model, tilt.dimension, draws=draws, seed=seed)
    degrees_drawn = tilt.sign * np.degrees(_slants(drawn))
    turn, turn_drawn = (part[..., -1] - part[..., 0] for part in (degrees, degrees_drawn))
    return {
        "tilt_dimension": tilt.dimension,
        "tilt_sign": tilt.sign,
        "rho_mean": tilt.rho[tilt.dimension],
        "rho_worst": tilt.worst,
        "rho_others": max(others, default=0.0),
        "rho": list(tilt.rho),
        "turn": turn[0].tolist(),
        "turn_min": float(turn.min()),
        "monotone": bool((np.diff(degrees) > 0).all()),
        "readable": _readable(classifier, frames),
        "turn_drawn_min": float(turn_drawn.min()),
        "monotone_drawn": float((np.diff(degrees_drawn) > 0).all(-1).mean()),
        "readable_drawn": _readable(classifier, drawn),
        "classifier_accuracy": float(
            classifier.score(data.test.images.flatten(1).numpy(), data.test.labels.numpy())
        ),
        "test": asdict(measure_losses(model, data.test, seed=seed)),
    }


def move_latent(
    model: DigitsModel, dimension: int, *, draws: int = 0, seed: int = 0, steps: int = _STEPS
) -> Tensor:
    """Return frames (draws or 1, labels, steps, H, W) of one latent moved from −2 to 2.

    The other latents are 0, or drawn ``draws`` times from the prior.
    """
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    rest = torch.zeros(1, config.latent)
    if draws:
        rest = torch.randn(draws, config.latent, generator=generator)
    z = rest[:, None, None, :].repeat(1, config.classes, steps, 1)
    z[..., dimension] = torch.linspace(-REACH, REACH, steps)
    labels = torch.arange(config.classes)[None, :, None].expand(z.shape[:3])
    images = model.images(z.flatten(0, 2), labels.flatten())
    return images.reshape(*z.shape[:3], config.size, config.size)


def teach_classifier(digits: Digits) -> Any:
    """Return scikit-learn's support vector classifier, trained to read images (N, H·W)."""
    from sklearn.svm import SVC

    return SVC(C=10).fit(digits.images.flatten(1).numpy(), digits.labels.numpy())


def _slants(frames: Tensor) -> NDArray[np.float64]:
    return slant_of(frames.flatten(0, 2).numpy()).reshape(frames.shape[:3])


def _readable(classifier: Any, frames: Tensor) -> float:
    read = classifier.predict(frames.flatten(0, 2).flatten(1).numpy())
    chosen = np.tile(np.repeat(np.arange(frames.shape[1]), frames.shape[2]), frames.shape[0])
    return float((read == chosen).mean())
