"""Run folders of directions and of their transfer to other images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.directions.transfer import Transfer
from latentlab.images.reading import save_png
from latentlab.latents import Directions
from latentlab.results.arrays import (
    check_facts,
    check_shapes,
    load_sampling,
    open_result,
    texts,
    write_result,
)

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.directions.labels import Label
    from latentlab.results.folders import Saved
    from latentlab.walks.traversal import Traversal

FACTS = "directions.json"
_ARRAYS = ("vectors", "deviations", "shares", "rows", "strengths", "residuals", "steps")
_LISTED = ("strengths", "residuals", "deviations", "steps")
_FACTS = ("finder", "strength_name", "baseline_strength", "matvecs", "step_unit")
_TRANSFER_ARRAYS = (
    "cosines",
    "random_cosines",
    "label_cosines",
    "random_label_cosines",
    "frames",
)


def save_directions(
    directions: Directions,
    folder: Path,
    *,
    labels: tuple[Label, ...] = (),
    walk: Traversal | None = None,
    facts: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Saved:
    """Write arrays, facts, ``run.json`` and a sheet of walks; return what was written.

    Parameters
    ----------
    directions : Directions from :func:`latentlab.find_directions`
    folder : created where missing; an earlier result in it is replaced
    labels : from :func:`latentlab.label_directions`
    walk : Traversal, optional; drawn as ``sheet.png``
    facts : added to ``directions.json``
    run : for ``run.json``, instead of what the directions record about model and image
    """
    sampling = directions.sampling
    origin = sampling.origin
    described = {
        **_describe(directions),
        "labels": [label.describe() for label in labels],
        **(facts or {}),
    }
    return write_result(
        folder,
        "directions",
        files=[save_png(folder / "sheet.png", walk.sheet())] if walk else [],
        arrays={name: getattr(directions, name) for name in _ARRAYS},
        facts=described,
        run=run or {**(origin.record if origin else {}), **sampling.facts()},
        sampling=sampling,
    )


def _describe(directions: Directions) -> dict[str, Any]:
    sampling = directions.sampling
    where = f"{sampling.origin.title}\n" if sampling.origin else ""
    return {
        **{name: getattr(directions, name) for name in (*_FACTS, "meanings", "notes", "basis")},
        **{name: _listed(getattr(directions, name)) for name in _LISTED},
        "title": f"{where}{directions.basis}",
        "directions": list(directions.labels),
        "explained_variance_ratio": _listed(directions.shares),
        "sampler": sampling.name,
        "sampler_statement": sampling.statement,
    }


def _listed(values: Tensor | None) -> list[float] | None:
    return None if values is None else values.tolist()


def load_directions(folder: str | Path) -> Directions:
    """Return the directions that :func:`save_directions` wrote; their origin has no image.

    Raises
    ------
    FileError : a file is missing, damaged or inconsistent with the other.
    """
    with open_result(folder, "directions") as (facts, arrays, record):
        name = str(facts.get("sampler") or facts.get("neighborhood", {}).get("name", "matrix"))
        # A finder's own statement may stand under "statement".
        statement = facts.get("sampler_statement", facts.get("statement", ""))
        sampling = load_sampling({**facts, "statement": statement}, arrays, name, record)
        _check(arrays, sampling.layout, len(facts["directions"]))
        known: dict[str, Any] = {name: arrays.get(name) for name in _ARRAYS}
        chance = facts["baseline_strength"]
        return Directions(
            **known,
            finder=str(facts["finder"]),
            strength_name=str(facts["strength_name"]),
            baseline_strength=None if chance is None else float(chance),
            matvecs=int(facts["matvecs"]),
            step_unit=str(facts["step_unit"]),
            labels=texts(facts["directions"]),
            basis=str(facts.get("basis", str(facts["title"]).splitlines()[-1])),
            sampling=sampling,
            meanings=texts(facts["meanings"]),
            notes=texts(facts["notes"]),
        )


def _check(arrays: Mapping[str, Tensor], layout: Any, count: int) -> None:
    """Raise ValueError if arrays of directions do not match one another or the layout."""
    shape = tuple(arrays["vectors"].shape[1:]) if layout is None else layout.shape
    optional = [name for name in ("strengths", "residuals", "steps") if name in arrays]
    expected = dict.fromkeys(("deviations", "shares", *optional), (count,))
    check_shapes(arrays, {"vectors": (count, *shape), **expected})
    if layout is not None and "rows" in arrays:
        check_shapes(arrays, {"rows": (count, layout.n_features)})


def save_transfer(
    transfer: Transfer,
    folder: Path,
    *,
    facts: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    figure_format: str = "png",
) -> Saved:
    """Write figure, sheet, arrays, ``transfer.json`` and ``run.json``; return what was written.

    Parameters
    ----------
    transfer : Transfer
    folder : created where missing; an earlier result in it is replaced
    facts : added to ``transfer.json``
    run : for ``run.json``, instead of what the transfer records about model and image
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``; the sheet is made of pixels and stays PNG
    """
    from latentlab.figures.canvas import write_figure

    return write_result(
        folder,
        "transfer",
        files=[
            write_figure(folder, "transfer", transfer.plot(), figure_format),
            save_png(folder / "transfer_sheet.png", transfer.sheet()),
        ],
        arrays={name: getattr(transfer, name) for name in _TRANSFER_ARRAYS},
        facts={**transfer.summary(), "seed": transfer.seed, **(facts or {})},
        run=run or transfer.record,
    )


def load_transfer(folder: str | Path) -> Transfer:
    """Return the transfer that :func:`save_transfer` wrote.

    Raises
    ------
    FileError : a file is missing, damaged or inconsistent with the other.
    """
    with open_result(folder, "transfer") as (facts, arrays, record):
        labels = texts(facts["directions"])
        targets = texts([pair["target"] for pair in facts["pairs"]])
        expected = {name: (len(targets), *arrays[name].shape[1:]) for name in _TRANSFER_ARRAYS}
        frames = (1 + len(targets), len(labels), *arrays["frames"].shape[2:])
        check_shapes(arrays, {**expected, "cosines": (len(targets), len(labels)), "frames": frames})
        transfer = Transfer(
            labels=labels,
            origin=str(facts["origin"]),
            targets=targets,
            alpha=float(facts["alpha"]),
            **{name: arrays[name] for name in _TRANSFER_ARRAYS},
            title=str(facts["title"]),
            unit=str(facts["unit"]),
            seed=int(facts["seed"]),
            record=record,
        )
        check_facts(facts, transfer.summary())
        return transfer
