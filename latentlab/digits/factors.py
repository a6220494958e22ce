"""Which latent does what: latents against slant, thickness and the rest, within each label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentlab.digits.data import Digits
from latentlab.digits.measure import Codes, encode_digits
from latentlab.digits.models import DigitsModel
from latentlab.digits.morphology import FACTORS, measure_digits
from latentlab.digits.objective import kl_nats
from latentlab.digits.tilt import within_class_spearman
from latentlab.digits.traversal import Sweep, sweep_changes
from latentlab.errors import UsageError
from latentlab.metrics.dci import dci
from latentlab.metrics.mig import information_gaps
from latentlab.metrics.mutual_information import discretize, mutual_information
from latentlab.metrics.sap import sap

ROTATIONS = 5
"""How many random rotations the control is averaged over."""

_TAUGHT = 2 / 3
_TREE_ROWS = 3000
_FEWEST = 100


@dataclass(frozen=True)
class Scores:
    """Disentanglement of latents with respect to the factors, each within its label.

    Parameters
    ----------
    mig : float, mean of ``gaps``
    gaps : by factor, (I₁ − I₂) / H
    dci : disentanglement, completeness and informativeness (R²)
    sap : float, gap in r² between the best latent and the second
    """

    mig: float
    gaps: dict[str, float]
    dci: dict[str, float]
    sap: float


@dataclass(frozen=True, eq=False)
class FactorTable:
    """Latents against factors.

    Parameters
    ----------
    kl : array, (L,), nats on the data
    rho : array, (L, F), |Spearman| within a label, mean over labels
    rho_chance : array, (L, F), the same with pictures shuffled within their labels
    worst : array, (L,), the lowest of ρ with the slant over labels, in the direction of most
    information : array, (L, F), nats, of the latent and the factor's rank within its label
    scores : of the latents as they are
    rotated : of randomly rotated latents: what axes mean nothing give
    shuffled : of factors shuffled within labels: what chance gives
    """

    kl: NDArray[np.float64]
    rho: NDArray[np.float64]
    rho_chance: NDArray[np.float64]
    worst: NDArray[np.float64]
    information: NDArray[np.float64]
    scores: Scores
    rotated: tuple[Scores, ...]
    shuffled: Scores

    @property
    def tilt(self) -> int:
        """The latent that goes with the slant most, counting from zero."""
        return int(self.rho[:, FACTORS.index("slant")].argmax())


def table_of_factors(model: DigitsModel, digits: Digits, *, seed: int = 0) -> FactorTable:
    """Return latents against factors on pictures: the test set's, as a rule.

    Factors enter the mutual information and the scores as ranks within their label, so that what
    a label alone tells of them does not count.

    Parameters
    ----------
    model : DigitsModel
    digits : at least 100 pictures
    seed : int, of rotations, shuffles and trees

    Raises
    ------
    UsageError : too few pictures.
    """
    if len(digits) < _FEWEST:
        raise UsageError(f"{len(digits)} pictures", f"at least {_FEWEST}", "pass more data")
    codes = encode_digits(model, digits)
    values = measure_digits(digits.pictures.numpy())
    return compare(codes, values, seed=seed)


def compare(codes: Codes, values: dict[str, NDArray[np.float64]], *, seed: int = 0) -> FactorTable:
    """Return latents against factors' values (N,), by name."""
    rho = within_class_spearman(codes.mean.numpy(), values, codes.labels.numpy())
    slant = rho[:, :, FACTORS.index("slant")]
    facing = np.sign(slant.mean(0))
    z, ranks = ranked(codes, values)
    rng = np.random.default_rng(seed)
    return FactorTable(
        kl=kl_nats(codes.mean, codes.logvar).double().mean(0).numpy(),
        rho=np.abs(rho).mean(0),
        rho_chance=np.abs(_shuffled_rho(codes, values, seed)).mean(0),
        worst=(facing * slant).min(0),
        information=mutual_information(discretize(z), discretize(ranks)),
        scores=score(z, ranks, seed=seed),
        rotated=tuple(score(turned, ranks, seed=seed) for turned in rotations_of(z, rng)),
        shuffled=score(z, rng.permutation(ranks), seed=seed),
    )


def headline(
    codes: Codes, values: dict[str, NDArray[np.float64]], *, seed: int = 0
) -> dict[str, float]:
    """Return the figures that a sweep compares, by name: a fraction of :func:`compare`'s work."""
    slant = FACTORS.index("slant")
    rho = within_class_spearman(codes.mean.numpy(), values, codes.labels.numpy())
    chance = _shuffled_rho(codes, values, seed)
    z, ranks = ranked(codes, values)
    scores = score(z, ranks, seed=seed)
    turned = rotations_of(z, np.random.default_rng(seed))
    return {
        "tilt_rho": float(np.abs(rho[:, :, slant]).mean(0).max()),
        "tilt_rho_chance": float(np.abs(chance[:, :, slant]).mean(0).max()),
        "mig": scores.mig,
        "disentanglement": scores.dci["disentanglement"],
        "rotated_mig": float(np.mean([information_gaps(some, ranks).mean() for some in turned])),
    }


def ranked(
    codes: Codes, values: dict[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latents (N, L) and the factors' ranks within their label (N, F), without NaN."""
    columns = np.stack([values[name] for name in FACTORS], axis=1)
    whole = np.isfinite(columns).all(1)
    ranks = ranks_within(columns[whole], codes.labels.numpy()[whole])
    return codes.mean.double().numpy()[whole], ranks


def rotations_of(z: NDArray[np.float64], rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield the latents (N, L), each of variance 1, rotated at random, several times."""
    scaled = (z - z.mean(0)) / np.maximum(z.std(0), 1e-12)
    for _ in range(ROTATIONS):
        yield scaled @ _rotation(z.shape[1], rng)


def _shuffled_rho(
    codes: Codes, values: dict[str, NDArray[np.float64]], seed: int
) -> NDArray[np.float64]:
    labels = codes.labels.numpy()
    rng = np.random.default_rng(seed)
    mixed = np.arange(len(labels))
    for label in np.unique(labels):
        mixed[labels == label] = rng.permutation(mixed[labels == label])
    return within_class_spearman(codes.mean.numpy()[mixed], values, labels)


def ranks_within(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each value's rank within its label, from 0 to 1, columns (N, F) apart.

    Examples
    --------
    >>> ranks_within(np.array([[5.0], [7.0], [1.0], [0.0]]), np.array([0, 0, 1, 1]))[:, 0].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    from scipy.stats import rankdata

    ranks = np.zeros_like(values)
    for label in np.unique(labels):
        chosen = labels == label
        ranks[chosen] = (rankdata(values[chosen], axis=0) - 1) / max(1, chosen.sum() - 1)
    return ranks


def score(z: NDArray[np.float64], ranks: NDArray[np.float64], *, seed: int = 0) -> Scores:
    """Return the scores of latents (N, L) for factors (N, F); two thirds teach, the rest check."""
    order = np.random.default_rng(seed).permutation(len(z))
    taught = order[: int(_TAUGHT * len(z))]
    checked = order[len(taught) :]
    # Trees of gradient boosting learn no more from more rows, and take long.
    few, fewer = taught[:_TREE_ROWS], checked[:_TREE_ROWS]
    gaps = information_gaps(z, ranks)
    return Scores(
        mig=float(gaps.mean()),
        gaps=dict(zip(FACTORS, gaps.tolist(), strict=True)),
        dci=asdict(dci(z[few], ranks[few], z[fewer], ranks[fewer], seed=seed, trees=50)),
        sap=sap(z, ranks),
    )


def _rotation(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a rotation (L, L), uniform over all of them (QR of a normal matrix)."""
    q, r = np.linalg.qr(rng.normal(size=(count, count)))
    rotation: NDArray[np.float64] = q * np.sign(np.diag(r))
    return rotation


def describe_table(table: FactorTable, sweep: Sweep | None = None) -> dict[str, Any]:
    """Return the contents of ``factors.json``.

    With a sweep, ``change`` of each dimension says how a factor changes from its first to its
    last step, mean over labels, in radians and pixels.
    """
    changes = {} if sweep is None else sweep_changes(sweep)
    dimensions = []
    for latent in range(len(table.rho)):
        entry: dict[str, Any] = {
            "index": latent,
            "kl": float(table.kl[latent]),
            "rho": dict(zip(FACTORS, table.rho[latent].tolist(), strict=True)),
            "rho_chance": dict(zip(FACTORS, table.rho_chance[latent].tolist(), strict=True)),
            "rho_slant_worst": float(table.worst[latent]),
            "mutual_information": dict(
                zip(FACTORS, table.information[latent].tolist(), strict=True)
            ),
        }
        if changes:
            entry["change"] = {
                name: float(np.nanmean(by_label[:, latent])) for name, by_label in changes.items()
            }
        dimensions.append(entry)
    return {
        "dimensions": dimensions,
        "tilt_dimension": table.tilt,
        **asdict(table.scores),
        "rotation_control": _describe_control(table.rotated),
        "shuffled_control": asdict(table.shuffled),
    }


def _describe_control(scores: tuple[Scores, ...]) -> dict[str, Any]:
    """Return mean and standard deviation over rotations."""

    def both(values: list[float]) -> dict[str, float]:
        return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1))}

    return {
        "rotations": len(scores),
        "mig": both([found.mig for found in scores]),
        "slant_gap": both([found.gaps["slant"] for found in scores]),
        "dci": {name: both([found.dci[name] for found in scores]) for name in scores[0].dci},
        "sap": both([found.sap for found in scores]),
    }


def subset(digits: Digits, count: int, *, seed: int = 0) -> Digits:
    """Return at most so many pictures, drawn from the seed."""
    if count >= len(digits):
        return digits
    chosen = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))[:count]
    return Digits(digits.pictures[chosen], digits.labels[chosen])
