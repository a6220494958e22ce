"""What each latent does: latents against slant, thickness and the rest, within each label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentlab.digits.data import Digits
from latentlab.digits.folders import DigitsRun
from latentlab.digits.measure import Codes, encode_digits
from latentlab.digits.models import DigitsModel
from latentlab.digits.morphology import FACTORS, measure_digits
from latentlab.digits.objective import kl_nats
from latentlab.digits.tilt import within_class_spearman
from latentlab.digits.traversal import measure_changes, traversal_values, traverse_latents
from latentlab.errors import UsageError
from latentlab.metrics.dci import dci
from latentlab.metrics.mig import information_gaps
from latentlab.metrics.mutual_information import discretize, mutual_information
from latentlab.metrics.sap import sap
from latentlab.results.folders import write_json

ROTATIONS = 5
"""How many random rotations the control is averaged over."""

_SLANT = FACTORS.index("slant")
_TAUGHT = 2 / 3
_TREE_ROWS = 3000
_FEWEST = 100

Factors = dict[str, NDArray[np.float64]]
"""Name of a factor → its values (N,), one per image."""


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
    rho_chance : array, (L, F), the same with images shuffled within their labels
    worst : array, (L,), the lowest ρ with the slant over labels, positive if its sign is the mean's
    information : array, (L, F), nats, between the latent and the factor's rank within its label
    scores : Scores of the latents as they are
    rotated : scores of randomly rotated latents, whose axes have no meaning
    shuffled : scores with the factors shuffled over all images: the chance level
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
        """The latent that correlates most with the slant, counting from zero."""
        return int(self.rho[:, _SLANT].argmax())


def table_of_factors(model: DigitsModel, digits: Digits, *, seed: int = 0) -> FactorTable:
    """Return the table of latents against factors, measured on images.

    Factors enter the mutual information and the scores as ranks within their label, so that what
    the label alone tells about them does not count.

    Parameters
    ----------
    model : DigitsModel
    digits : at least 100 images, usually of the test set
    seed : int, of rotations, shuffles and trees

    Raises
    ------
    UsageError : too few images.
    """
    if len(digits) < _FEWEST:
        raise UsageError(f"{len(digits)} images", f"at least {_FEWEST}", "pass more data")
    codes = encode_digits(model, digits)
    return compare_factors(codes, measure_digits(digits.images.numpy()), seed=seed)


def compare_factors(codes: Codes, values: Factors, *, seed: int = 0) -> FactorTable:
    """Return the table of codes against values of the factors; see :func:`table_of_factors`."""
    rho = within_class_spearman(codes, values)
    slant = rho[:, :, _SLANT]
    z, ranks = _ranked(codes, values)
    rng = np.random.default_rng(seed)
    return FactorTable(
        kl=kl_nats(codes.mean, codes.logvar).double().mean(0).numpy(),
        rho=np.abs(rho).mean(0),
        rho_chance=np.abs(_shuffled_rho(codes, values, seed)).mean(0),
        worst=(np.sign(slant.mean(0)) * slant).min(0),
        information=mutual_information(discretize(z), discretize(ranks)),
        scores=score(z, ranks, seed=seed),
        rotated=tuple(score(turned, ranks, seed=seed) for turned in _rotations(z, rng)),
        shuffled=score(z, rng.permutation(ranks), seed=seed),
    )


def summarize_factors(codes: Codes, values: Factors, *, seed: int = 0) -> dict[str, float]:
    """Return the figures that a β sweep compares, at a fraction of the cost of the table.

    Returns
    -------
    dict with ``tilt_rho``, the highest mean |Spearman| of a latent with the slant within a label;
    ``tilt_rho_chance``, the same with images shuffled; ``mig``; ``disentanglement`` of DCI; and
    ``rotated_mig``, of randomly rotated latents
    """
    rho = within_class_spearman(codes, values)
    chance = _shuffled_rho(codes, values, seed)
    z, ranks = _ranked(codes, values)
    scores = score(z, ranks, seed=seed)
    turned = _rotations(z, np.random.default_rng(seed))
    return {
        "tilt_rho": float(np.abs(rho[:, :, _SLANT]).mean(0).max()),
        "tilt_rho_chance": float(np.abs(chance[:, :, _SLANT]).mean(0).max()),
        "mig": scores.mig,
        "disentanglement": scores.dci["disentanglement"],
        "rotated_mig": float(np.mean([information_gaps(some, ranks).mean() for some in turned])),
    }


def _ranked(codes: Codes, values: Factors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latents (N, L) and the factors' ranks within their label (N, F), without NaN."""
    columns = np.stack([values[name] for name in FACTORS], axis=1)
    whole = np.isfinite(columns).all(1)
    ranks = ranks_within(columns[whole], codes.labels.numpy()[whole])
    return codes.mean.double().numpy()[whole], ranks


def _rotations(z: NDArray[np.float64], rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield the latents (N, L), each scaled to variance 1, in several random rotations.

    The rotations are uniform over all of them: QR of a normal matrix.
    """
    scaled = (z - z.mean(0)) / np.maximum(z.std(0), 1e-12)
    for _ in range(ROTATIONS):
        q, r = np.linalg.qr(rng.normal(size=(z.shape[1], z.shape[1])))
        yield scaled @ (q * np.sign(np.diag(r)))


def _shuffled_rho(codes: Codes, values: Factors, seed: int) -> NDArray[np.float64]:
    labels = codes.labels.numpy()
    rng = np.random.default_rng(seed)
    mixed = np.arange(len(labels))
    for label in np.unique(labels):
        mixed[labels == label] = rng.permutation(mixed[labels == label])
    return within_class_spearman(replace(codes, mean=codes.mean[mixed]), values)


def ranks_within(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each value's rank within its label, from 0 to 1, for each column of (N, F) alone.

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
    """Return the scores of latents (N, L) for factors (N, F).

    DCI's trees are trained on two thirds of the rows and tested on the rest.
    """
    order = np.random.default_rng(seed).permutation(len(z))
    split = int(_TAUGHT * len(z))
    # More rows take the gradient-boosted trees longer and teach them nothing more.
    few, fewer = order[:split][:_TREE_ROWS], order[split:][:_TREE_ROWS]
    gaps = information_gaps(z, ranks)
    return Scores(
        mig=float(gaps.mean()),
        gaps=_by_factor(gaps),
        dci=asdict(dci(z[few], ranks[few], z[fewer], ranks[fewer], seed=seed, trees=50)),
        sap=sap(z, ranks),
    )


def _by_factor(values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(FACTORS, values.tolist(), strict=True))


def describe_table(table: FactorTable, changes: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return the contents of ``factors.json``.

    Parameters
    ----------
    table : FactorTable
    changes : name of a factor → its change along each latent (labels, L), as
        :func:`latentlab.digits.traversal.measure_changes` returns it; averaged over labels
    """
    dimensions = [
        {
            "index": latent,
            "kl": float(table.kl[latent]),
            "rho": _by_factor(table.rho[latent]),
            "rho_chance": _by_factor(table.rho_chance[latent]),
            "rho_slant_worst": float(table.worst[latent]),
            "mutual_information": _by_factor(table.information[latent]),
            "change": {name: float(np.nanmean(by[:, latent])) for name, by in changes.items()},
        }
        for latent in range(len(table.kl))
    ]
    return {
        "dimensions": dimensions,
        "tilt_dimension": table.tilt,
        **asdict(table.scores),
        "rotation_control": _describe_control(table.rotated),
        "shuffled_control": asdict(table.shuffled),
    }


def _describe_control(scores: Sequence[Scores]) -> dict[str, Any]:
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


def save_factors(run: DigitsRun, digits: Digits, folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """Write ``factors.json`` for a run and images; return its facts and its path.

    The parameters are those of :func:`table_of_factors`. The changes are from −2 to 2 σ.
    """
    table = table_of_factors(run.model, digits, seed=seed)
    values = traversal_values(run, reach="sigma", span=2.0, steps=3)
    changes = measure_changes(traverse_latents(run.model, values))
    found = describe_table(table, changes)
    facts = {"run": run.source, "pictures": len(digits), **found}
    return {**facts, "files": [write_json(folder / "factors.json", facts)]}
