"""The effect of each latent: its correlation with slant, thickness and the rest by label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentlab.digits.data import Digits
from latentlab.digits.folders import DigitsRun
from latentlab.digits.measure import Codes, encode_digits
from latentlab.digits.morphology import FACTORS, measure_digits
from latentlab.digits.objective import active_latents, kl_nats
from latentlab.digits.tilt import Tilt, tilt_of, within_class_spearman
from latentlab.digits.traversal import measure_changes, traversal_values, traverse_latents
from latentlab.errors import UsageError
from latentlab.metrics.dci import dci
from latentlab.metrics.mig import corrected_gaps, information_gaps
from latentlab.metrics.mutual_information import (
    discretize,
    mutual_information,
    shuffled_information,
)
from latentlab.metrics.sap import sap
from latentlab.metrics.varying import varying
from latentlab.results.folders import write_json

ROTATIONS = 5
"""How many random rotations the control is averaged over."""

_TAUGHT = 2 / 3
_TREE_ROWS = 3000
_FEWEST = 100

Factors = dict[str, NDArray[np.float64]]
"""Name of a factor → its values (N,), one per image."""


def compare_factors(codes: Codes, values: Factors, *, seed: int = 0) -> dict[str, Any]:
    """Return what each latent says about the factors, with controls, as values for JSON.

    Factors enter the mutual information and the scores as ranks within their label, so that what
    the label alone tells about them does not count.

    Parameters
    ----------
    codes : Codes of at least 100 images
    values : name of a factor → its values (N,), for all of ``FACTORS``
    seed : int, of rotations, shuffles and trees

    Returns
    -------
    dict with ``dimensions``, for each latent its ``index``; ``kl`` in nats; ``rho`` by factor,
    |Spearman| within a label, mean over labels; ``rho_chance``, the same with images shuffled
    within their labels; ``rho_slant_worst``, the lowest ρ with the slant over labels, positive if
    its sign is the mean's; ``mutual_information`` in nats, by factor, and
    ``mutual_information_chance``, its mean with the factors shuffled; and ``active``, false if it
    has collapsed. ``tilt_dimension`` is the active latent that correlates most with the slant, None
    if all have collapsed or none is above ``tilt_threshold``, see
    :class:`latentlab.digits.tilt.Tilt`. ``constant_factors`` never vary within a label; they are
    None above and left out of the scores. The scores are those of :func:`score`;
    ``rotation_control`` has their mean and standard deviation over random rotations of the active
    latents among themselves, whose axes have no meaning, and ``shuffled_control`` the scores with
    the factors shuffled over all images

    Raises
    ------
    UsageError : too few images, or images of which no factor varies.
    """
    if len(codes.labels) < _FEWEST:
        raise UsageError(f"{len(codes.labels)} images", f"at least {_FEWEST}", "pass more data")
    z, ranks, names = _ranked(codes, values)
    varied = {name: values[name] for name in names}
    tilt = _tilt(codes, varied, seed)
    active = active_latents(codes.mean)
    rng = np.random.default_rng(seed)
    turned = [score(some, ranks, names, seed=seed) for some in _rotations(z, active.numpy(), rng)]
    return {
        "dimensions": _describe_latents(codes, varied, z, ranks, seed),
        "active": active.tolist(),
        "constant_factors": [name for name in FACTORS if name not in names],
        "tilt_dimension": tilt.dimension if tilt else None,
        "tilt_threshold": tilt.threshold if tilt else None,
        **score(z, ranks, names, seed=seed),
        "rotation_control": _describe_control(turned),
        "shuffled_control": score(z, rng.permutation(ranks), names, seed=seed),
    }


def _tilt(codes: Codes, values: Factors, seed: int) -> Tilt | None:
    return tilt_of(codes, values["slant"], seed=seed) if "slant" in values else None


def _describe_latents(
    codes: Codes,
    values: Factors,
    z: NDArray[np.float64],
    ranks: NDArray[np.float64],
    seed: int,
) -> list[dict[str, Any]]:
    """Return the correlations and the information of each latent, by factor, beside chance."""
    rho = within_class_spearman(codes, values)
    tables = {
        "rho": np.abs(rho).mean(0),
        "rho_chance": np.abs(_shuffled_rho(codes, values, seed)).mean(0),
    }
    classes = discretize(z), discretize(ranks)
    tables["mutual_information"] = mutual_information(*classes)
    tables["mutual_information_chance"] = shuffled_information(*classes, seed=seed).mean(0)
    slant = rho[:, :, [*values].index("slant")] if "slant" in values else np.zeros(rho.shape[:2])
    worst = (np.sign(slant.mean(0)) * slant).min(0)
    kl = kl_nats(codes.mean, codes.logvar).double().mean(0).tolist()
    unknown: dict[str, float | None] = dict.fromkeys(FACTORS)
    return [
        {
            "index": latent,
            "kl": kl[latent],
            "rho_slant_worst": float(worst[latent]),
            **{name: unknown | _by_factor([*values], of[latent]) for name, of in tables.items()},
        }
        for latent in range(len(kl))
    ]


def summarize_factors(codes: Codes, values: Factors, *, seed: int = 0) -> dict[str, float]:
    """Return the figures that a β sweep compares, at a fraction of the cost of the table.

    Returns
    -------
    dict with ``tilt_rho``, the highest mean |Spearman| of a latent with the slant within a label;
    ``tilt_rho_chance``, the same with images shuffled; ``mig``; ``disentanglement`` of DCI; and
    ``rotated_mig``, of randomly rotated latents
    """
    slant = {"slant": values["slant"]}
    rho = within_class_spearman(codes, slant)
    chance = _shuffled_rho(codes, slant, seed)
    z, ranks, names = _ranked(codes, values)
    scores = score(z, ranks, names, seed=seed)
    turned = _rotations(z, active_latents(codes.mean).numpy(), np.random.default_rng(seed))
    return {
        "tilt_rho": float(np.abs(rho).mean(0).max()),
        "tilt_rho_chance": float(np.abs(chance).mean(0).max()),
        "mig": scores["mig"],
        "disentanglement": scores["dci"]["disentanglement"],
        "rotated_mig": float(np.mean([information_gaps(some, ranks).mean() for some in turned])),
    }


def _ranked(
    codes: Codes, values: Factors
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return latents (N, L), ranks within a label (N, F) of factors that vary, and their names.

    Images with a factor that is NaN are left out.
    """
    columns = np.stack([values[name] for name in FACTORS], axis=1)
    whole = np.isfinite(columns).all(1)
    columns, labels = columns[whole], codes.labels.numpy()[whole]
    moves = np.any([varying(columns[labels == label]) for label in np.unique(labels)], axis=0)
    if not moves.any():
        raise UsageError("images that are alike", "digits that differ", "pass other data")
    names = [name for name, moved in zip(FACTORS, moves, strict=True) if moved]
    return codes.mean.double().numpy()[whole], ranks_within(columns[:, moves], labels), names


def _rotations(
    z: NDArray[np.float64], active: NDArray[np.bool_], rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Yield the latents (N, L) with the active ones rotated at random among themselves.

    They keep their scale: a collapsed latent that was scaled up would add noise, and one scaled
    to unit variance would be a code that the model does not have. The rotations are uniform over
    all of them: QR of a normal matrix.
    """
    centered = z[:, active] - z[:, active].mean(0)
    for _ in range(ROTATIONS):
        q, r = np.linalg.qr(rng.normal(size=(centered.shape[1],) * 2))
        turned = z.copy()
        turned[:, active] = centered @ (q * np.sign(np.diag(r)))
        yield turned


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


def score(
    z: NDArray[np.float64],
    ranks: NDArray[np.float64],
    names: Sequence[str] = FACTORS,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how disentangled latents (N, L) are with respect to factors (N, F) of these names.

    Returns
    -------
    dict with ``gaps``, (I₁ − I₂) / H by factor, and ``mig``, their mean, which is biased low for
    few images; ``mig_corrected``, see :func:`latentlab.metrics.mig.corrected_gaps`; ``dci``:
    disentanglement, completeness and informativeness (R²), with trees that are trained on two
    thirds of the rows and tested on the rest; and ``sap``, the gap in r² between the best latent
    and the second
    """
    order = np.random.default_rng(seed).permutation(len(z))
    split = int(_TAUGHT * len(z))
    # More rows take the gradient-boosted trees longer and teach them nothing more.
    few, fewer = order[:split][:_TREE_ROWS], order[split:][:_TREE_ROWS]
    gaps = information_gaps(z, ranks)
    return {
        "mig": float(gaps.mean()),
        "mig_corrected": float(corrected_gaps(z, ranks).mean()),
        "gaps": _by_factor(names, gaps),
        "dci": asdict(dci(z[few], ranks[few], z[fewer], ranks[fewer], seed=seed, trees=50)),
        "sap": sap(z, ranks),
    }


def _by_factor(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _describe_control(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation over rotations."""

    def both(values: list[float]) -> dict[str, float]:
        return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1))}

    return {
        "rotations": len(scores),
        "mig": both([found["mig"] for found in scores]),
        "mig_corrected": both([found["mig_corrected"] for found in scores]),
        "slant_gap": both([found["gaps"].get("slant", 0.0) for found in scores]),
        "dci": {name: both([found["dci"][name] for found in scores]) for name in scores[0]["dci"]},
        "sap": both([found["sap"] for found in scores]),
    }


def save_factors(run: DigitsRun, digits: Digits, folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """Write ``factors.json`` for a run and images; return its facts and its path.

    Its facts are those of :func:`compare_factors`, and for each latent ``change``: how each factor
    changes from −2 to 2 σ of the latent, mean over labels.

    Parameters
    ----------
    run : DigitsRun
    digits : at least 100 images, usually of the test set
    folder : for the file
    seed : int, of rotations, shuffles and trees
    """
    codes = encode_digits(run.model, digits)
    found = compare_factors(codes, measure_digits(digits.images.numpy()), seed=seed)
    values = traversal_values(run, reach="sigma", span=2.0, steps=3)
    changes = measure_changes(traverse_latents(run.model, values))
    for latent, facts in enumerate(found["dimensions"]):
        facts["change"] = {name: float(np.nanmean(by[:, latent])) for name, by in changes.items()}
    facts = {"run": run.source, "pictures": len(digits), **found}
    return {**facts, "files": [write_json(folder / "factors.json", facts)]}
