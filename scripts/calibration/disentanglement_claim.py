"""How far scores of codes are off with few samples, and how often noise is called a code."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from claims import OUTSIDE, RATIO, SIZE, Cell, Claim, Outcome

from latentlab.digits.measure import Codes
from latentlab.digits.tilt import tilt_of
from latentlab.metrics.mig import corrected_gaps, mig
from latentlab.metrics.modularity import modularity


def _code(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=(n, 3))
    codes = values + 0.05 * rng.normal(size=(n, 3))
    return np.hstack((codes, rng.normal(size=(n, 1)))), values


def _gap(n: int, seed: int) -> Outcome:
    truth = mig(*_code(50_000, 12_345))
    codes, values = _code(n, seed)
    return {
        "MIG": mig(codes, values) / truth,
        "corrected": corrected_gaps(codes, values).mean() / truth,
    }


def _noise_in_modularity(seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    codes, values = rng.normal(size=(200, 4)), rng.uniform(size=(200, 3))
    return {"a latent of noise counts": modularity(codes, values, seed=seed) > 0}


def _noise_as_tilt(seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    mean = torch.from_numpy(rng.normal(size=(400, 8)))
    codes = Codes(mean, torch.zeros_like(mean), torch.arange(400) % 10)
    return {
        "a latent is the tilt": tilt_of(codes, rng.normal(size=400), seed=seed).dimension
        is not None
    }


CLAIM = Claim(
    name="disentanglement",
    says="MIG .52, z3 is the tilt",
    assumes="independent samples",
    breaks="MIG of few samples is too low; the corrected one from about N = 100 down",
    cells=(
        *(Cell(f"MIG, N={n:,}", RATIO, partial(_gap, n), runs=40) for n in (200, 1000)),
        Cell("MIG, N=100", OUTSIDE, partial(_gap, 100), runs=40),
        Cell("modularity of noise", SIZE, _noise_in_modularity, runs=400),
        Cell("tilt among 8 latents of noise", SIZE, _noise_as_tilt, runs=1000),
    ),
)
