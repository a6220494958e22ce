"""Disentanglement of anybody's codes: ``latentlab metrics CODES.npz``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import FileError, LatentlabError, ShapeError, UsageError
from latentlab.latents import Progress
from latentlab.machine.files import ARCHIVE_DAMAGE
from latentlab.measures.base import TooFewError
from latentlab.metrics.beta_vae import beta_vae_score
from latentlab.metrics.dci import dci
from latentlab.metrics.factor_vae import factor_vae_score
from latentlab.metrics.infomec import infomec
from latentlab.metrics.mig import mig
from latentlab.metrics.modularity import modularity
from latentlab.metrics.mutual_information import BINS
from latentlab.metrics.sap import sap
from latentlab.metrics.varying import are_classes, varying
from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved, create_run

Array = NDArray[Any]
GROUPS = 8
"""Groups of rows, each left out once for the interval (jackknife)."""
ROTATIONS = 3
FEWEST = 100
MOST = 15_000
"""Rows that are used, as in disentanglement_lib: 10,000 to train and 5,000 to test."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes with the factors that made their samples.

    Parameters
    ----------
    codes : array (N, L)
    factors : array (N, K); integers are classes, and so are floats that are whole and few; others
        are binned
    name : str
    """

    codes: Array
    factors: Array
    name: str = "codes"

    def __post_init__(self) -> None:
        z, v = self.codes, self.factors
        good = z.ndim == 2 and v.ndim == 2 and len(z) == len(v) and min(z.size, v.size) > 0
        if not good:
            raise ShapeError(
                f"codes of shape {z.shape} and factors of shape {v.shape}",
                "(N, L) and (N, K)",
                "pass one row a sample in both",
            )
        _check_numbers("code", z)
        _check_numbers("factor", v)

    def rows(self, which: Array) -> Codes:
        """Return some of the rows."""
        return Codes(self.codes[which], self.factors[which], self.name)


def _check_numbers(what: str, columns: Array) -> None:
    """Raise UsageError with the columns that are not finite numbers."""
    bad = [str(number) for number, column in enumerate(columns.T) if not _is_finite(column)]
    if bad:
        raise UsageError(
            f"{what} {', '.join(bad)} with NaN, infinity or text",
            "finite numbers",
            "leave these rows or columns out, and number classes",
        )


def _is_finite(column: Array) -> bool:
    try:
        return column.dtype.kind in "biuf" and bool(np.isfinite(column).all())
    except (TypeError, ValueError):
        return False


def read_codes(path: Path) -> Codes:
    """Return the arrays ``codes`` and ``factors`` of an .npz file.

    Raises
    ------
    FileError : the file cannot be read, or lacks one of them.
    ShapeError, UsageError : arrays of other shapes, or codes that are not finite.
    """
    try:
        # NumPy leaves a damaged file open that it opened itself.
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise ValueError("one array, as numpy.save writes it")
            with arrays:
                codes, factors = arrays["codes"], arrays["factors"]
            if isinstance(codes, bytes) or isinstance(factors, bytes):  # members of other formats
                raise ValueError("members that are no arrays")
            return Codes(codes, factors, path.stem)
    # NumPy evaluates headers, and reserves what they claim.
    except (*ARCHIVE_DAMAGE, MemoryError, SyntaxError, TokenError) as error:
        raise FileError(
            f"{path} ({error})",
            "an .npz file with the arrays codes (N, L) and factors (N, K)",
            "write it with numpy.savez(path, codes=…, factors=…)",
        ) from error


TREES = 20
VOTES = {"train": 1000, "test": 500}
"""Settings below those of disentanglement_lib, whose trees are 100 and votes 10,000 and 5,000."""
FREE_OF_ONE = ("dci_disentanglement", "factor_vae", "beta_vae", "modularity", "info_modularity")
"""Scores of how codes keep factors apart: 1, or chance, for every code if one factor varies."""


def _settings(rows: int) -> dict[str, Any]:
    """Return the settings of scores of so many rows, beside those of disentanglement_lib."""
    train = max(1, 2 * rows // 3)
    return {
        "train_rows": train,
        "test_rows": rows - train,
        "bins": BINS,
        "dci_trees": TREES,
        "votes_train": VOTES["train"],
        "votes_test": VOTES["test"],
    }


def _halves(found: Codes) -> tuple[Codes, Codes]:
    cut = max(1, 2 * len(found.codes) // 3)
    every = np.arange(len(found.codes))
    return found.rows(every < cut), found.rows(every >= cut)


def _mig(found: Codes) -> dict[str, float]:
    return {"mig": mig(found.codes, found.factors)}


def _dci(found: Codes) -> dict[str, float]:
    train, test = _halves(found)
    scores = dci(train.codes, train.factors, test.codes, test.factors, trees=TREES)
    return {f"dci_{name}": float(getattr(scores, name)) for name in _DCI}


_DCI = ("disentanglement", "completeness", "informativeness")


def _sap(found: Codes) -> dict[str, float]:
    train, test = _halves(found)
    return {"sap": sap(train.codes, train.factors, test.codes, test.factors)}


def _factor_vae(found: Codes) -> dict[str, float]:
    return {"factor_vae": factor_vae_score(found.codes, found.factors, **VOTES)}


def _beta_vae(found: Codes) -> dict[str, float]:
    return {"beta_vae": beta_vae_score(found.codes, found.factors, **VOTES)}


def _modularity(found: Codes) -> dict[str, float]:
    return {"modularity": modularity(found.codes, found.factors)}


def _infomec(found: Codes) -> dict[str, float]:
    return {f"info_{name}": value for name, value in vars(infomec(*_pair(found))).items()}


def _pair(found: Codes) -> tuple[ArrayLike, ArrayLike]:
    return found.codes, found.factors


SCORES: Mapping[str, Callable[[Codes], dict[str, float]]] = {
    "mig": _mig,
    "dci": _dci,
    "sap": _sap,
    "factor_vae": _factor_vae,
    "beta_vae": _beta_vae,
    "modularity": _modularity,
    "infomec": _infomec,
}
"""Name → scores of codes, each at most 1, and at least 0 but for R²."""


def check_scores(only: Sequence[str], count: int) -> None:
    """Raise UsageError for names of no score, and TooFewError for too few rows."""
    for one in only:
        if one not in SCORES:
            known = ", ".join(SCORES)
            raise UsageError(f"metric {one!r} of codes", f"one of {known}", "choose one of them")
    if count < FEWEST:
        raise TooFewError(count, FEWEST, "rows")


def measure_codes(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    name: str = "codes",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return disentanglement scores with intervals and two controls, JSON-ready.

    Parameters
    ----------
    codes : array (N, L)
    factors : array (N, K); integers are classes, and so are floats that are whole and few; others
        are binned
    only : names of ``SCORES``; by default all
    seed : int, of the order of rows, rotations and shuffles
    name : str, what the result calls the model
    progress : called as ``progress("scoring", done, total)``

    Returns
    -------
    dict : ``model``, ``n_images``, ``protocol``, ``metrics`` (``value``, ``low``, ``high``, ``n``,
        ``note``, and the controls ``rotated`` and ``shuffled``), ``skipped``

    Raises
    ------
    ShapeError, UsageError : arrays that do not fit, or an unknown name.
    TooFewError : fewer than 100 rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> factors = rng.integers(0, 4, (600, 8))
    >>> found = measure_codes(factors + 0.1 * rng.normal(size=(600, 8)), factors, only=["mig"])
    >>> score = found["metrics"]["mig"]
    >>> score["value"] > 0.9, score["rotated"] < 0.3, score["shuffled"] < 0.1
    (True, True, True)
    """
    whole = Codes(np.asarray(codes), _numbered(np.asarray(factors)), name)
    check_scores(only, len(whole.codes))
    moves = varying(whole.factors)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(whole.codes))[:MOST]
    used = whole.rows(order)
    metrics: dict[str, Any] = {}
    failed: dict[str, str] = {}
    names = [*(only or SCORES)]
    alone = int(moves.sum()) == 1
    for done, one in enumerate(names, 1):
        try:
            if alone and one in FREE_OF_ONE:
                raise UsageError(*_ALONE)
            metrics |= _scored(SCORES[one], used, seed)
        except (LatentlabError, ValueError, ArithmeticError) as error:
            failed[one] = " ".join(str(error).split())
        if progress:
            progress("scoring", done, len(names))
    if alone:
        for name in set(metrics) & set(FREE_OF_ONE):
            del metrics[name]
            failed[name] = str(UsageError(*_ALONE))
    if not metrics:
        raise UsageError(
            f"codes without a score ({next(iter(failed.values()))})", "one", "see above"
        )
    left_out = [str(number) for number in np.flatnonzero(~moves)]
    return {
        "model": name,
        "n_images": len(whole.codes),
        "protocol": {
            "name": "disentanglement",
            "rows": len(used.codes),
            "seed": seed,
            "groups": GROUPS,
            "rotations": ROTATIONS,
            "settings": _settings(len(used.codes)),
            "constant_factors": left_out,
        },
        "metrics": metrics,
        "skipped": {"images": {}, "metrics": failed},
    }


_ALONE = (
    "one factor that varies, for which this score means nothing",
    "at least two",
    "pass samples that differ in more",
)


def _numbered(factors: Array) -> Array:
    """Return factors that are true or false as 1 and 0."""
    return factors.astype(np.int64) if factors.dtype == np.bool_ else factors


def _scored(score: Callable[[Codes], dict[str, float]], used: Codes, seed: int) -> dict[str, Any]:
    """Return scores with jackknife intervals, rotated codes and shuffled factors."""
    from scipy.stats import t

    rng = np.random.default_rng([seed, 1])
    whole = score(used)
    group = np.arange(len(used.codes)) % GROUPS
    without = [score(used.rows(group != number)) for number in range(GROUPS)]
    turned = [score(_rotated(used, rng)) for _ in range(ROTATIONS)]
    order = rng.permutation(len(used.codes))
    shuffled = score(Codes(used.codes, used.factors[order], used.name))
    reach = float(t.ppf(0.975, GROUPS - 1))
    lowest = _lowest(used.factors)
    found = {}
    for name, value in whole.items():
        parts = np.array([one[name] for one in without])
        error = np.sqrt((GROUPS - 1) / GROUPS * np.square(parts - parts.mean()).sum())
        low, high = value - reach * float(error), value + reach * float(error)
        found[name] = {
            "value": _known(value),
            "low": _known(np.maximum(low, lowest.get(name, 0.0))),
            "high": _known(np.minimum(high, 1.0)),
            "n": len(used.codes),
            "note": _note(value, float(error)),
            "rotated": _known(float(np.mean([one[name] for one in turned]))),
            "shuffled": _known(shuffled[name]),
        }
    return found


def _lowest(factors: Array) -> dict[str, float]:
    """Return name → smallest possible score where that is not 0: R² has none."""
    return {} if are_classes(factors).all() else {"dci_informativeness": -np.inf}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _note(value: float, error: float) -> str:
    if not np.isfinite(value):
        return "no value: no factor has two classes or bins with enough rows"
    if not np.isfinite(error):
        return "no interval: without some rows, no factor has two classes or bins with enough rows"
    return ""


def _rotated(used: Codes, rng: np.random.Generator) -> Codes:
    """Return codes, each of variance 1 first, turned at random, whose axes mean nothing."""
    z = np.asarray(used.codes, np.float64)
    spread = z.std(0)
    active = spread > 1e-9 * max(float(spread.max()), 1e-300)
    unit = (z[:, active] - z[:, active].mean(0)) / spread[active]
    turn, upper = np.linalg.qr(rng.normal(size=(unit.shape[1], unit.shape[1])))
    turned = z.copy()
    turned[:, active] = unit @ (turn * np.sign(np.diag(upper)))
    return Codes(turned, used.factors, used.name)


def analyze_codes(
    path: Path,
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    progress: Progress | None = None,
) -> Saved:
    """Score the codes of a file and save it; parameters and errors as for measure_codes."""
    found = read_codes(path)
    facts = measure_codes(*_pair(found), only=only, seed=seed, name=found.name, progress=progress)
    run = {"command_line": command_line, "codes": str(path), "seed": seed}
    folder = folder or create_run(found.name, "codes")
    return write_result(folder, "metrics", files=[], arrays={}, facts=facts, run=run)
