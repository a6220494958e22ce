"""Latents in another order and with other signs: the same model, with the tilt at a given place."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from latentlab.digits.data import Digits
from latentlab.digits.measure import encode_digits
from latentlab.digits.models import DigitsModel
from latentlab.digits.morphology import FACTORS, measure_digits
from latentlab.digits.objective import active_latents, kl_nats
from latentlab.digits.tilt import within_class_spearman
from latentlab.errors import ShapeError


def reorder_latents(
    model: DigitsModel, order: Sequence[int], signs: Sequence[int] | None = None
) -> DigitsModel:
    """Return a model whose latent j is ``signs[j]`` times the given model's latent ``order[j]``.

    Images, reconstructions and losses stay the same: the prior has no order and no signs.

    Parameters
    ----------
    model : DigitsModel
    order : each of 0 … L − 1 once
    signs : +1 or −1 for each; by default +1

    Raises
    ------
    ShapeError : ``order`` is not a permutation, or ``signs`` has another length.
    """
    count = model.config.latent
    facing = torch.tensor([1] * count if signs is None else list(signs), dtype=torch.float32)
    if sorted(order) != list(range(count)) or len(facing) != count:
        raise ShapeError(
            f"order {list(order)} and {len(facing)} signs",
            f"0 to {count - 1}, each once, and a sign for each",
            "pass a permutation",
        )
    turned = copy.deepcopy(model)
    chosen = list(order)
    last, first = turned.encoder.head[-1], turned.decoder.head[0]
    if not isinstance(last, torch.nn.Linear) or not isinstance(first, torch.nn.Linear):
        raise ShapeError("a code without linear layers around it", "both", "use a DigitsModel")
    with torch.no_grad():
        rows = [*chosen, *(count + index for index in chosen)]
        both = torch.cat((facing, torch.ones(count))).to(last.weight)
        last.weight.copy_(last.weight[rows] * both[:, None])
        last.bias.copy_(last.bias[rows] * both)
        first.weight[:, :count] = first.weight[:, chosen].clone() * facing.to(first.weight)
    return turned


def sort_latents(model: DigitsModel, digits: Digits, *, tilt_at: int = 3) -> DigitsModel:
    """Return the model with the tilt as latent ``tilt_at`` and the others by decreasing KL.

    A larger tilt leans further to the right. Every other latent gets the sign with which the factor
    that it correlates with most, within a label, grows.

    Parameters
    ----------
    model : DigitsModel
    digits : Digits to measure with; of the training set if the test set is for the figures
    tilt_at : int, counting from zero; at most the last latent
    """
    codes = encode_digits(model, digits)
    factors = measure_digits(digits.images.numpy())
    rho = within_class_spearman(codes, factors)
    slant = np.abs(rho[:, :, FACTORS.index("slant")]).mean(0)
    # A latent that collapsed is no tilt, however its remains correlate.
    active = active_latents(codes.mean).numpy()
    tilt = int(np.where(active | ~active.any(), slant, -1).argmax())
    kl = kl_nats(codes.mean, codes.logvar).mean(0)
    order = [index for index in kl.argsort(descending=True).tolist() if index != tilt]
    order.insert(min(tilt_at, len(order)), tilt)
    mean = rho.mean(0)
    leading = np.where(np.arange(len(mean)) == tilt, FACTORS.index("slant"), np.abs(mean).argmax(1))
    facing = np.where(mean[np.arange(len(mean)), leading] < 0, -1, 1)
    return reorder_latents(model, order, facing[order].tolist())
