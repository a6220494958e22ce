"""Run folders of directions: arrays in safetensors, facts in JSON, a sheet of walks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError, ShapeError
from latentlab.latents import Directions, Latent, LatentSpec
from latentlab.layouts import layout_from
from latentlab.results.folders import (
    check_folder,
    listed_files,
    read_json,
    remove_stale,
    write_bytes,
    write_json,
)

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.directions.labels import Label
    from latentlab.directions.transfer import Transfer
    from latentlab.layouts import Layout
    from latentlab.walks.traversal import Walk

ARRAYS = "directions.safetensors"
FACTS = "directions.json"


def save_directions(
    directions: Directions,
    latent: Latent,
    folder: str | Path,
    *,
    labels: tuple[Label, ...] = (),
    walk: Walk | None = None,
    facts: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``directions.safetensors``, ``directions.json`` and ``sheet.png``; return their paths.

    Parameters
    ----------
    directions : Directions found with :func:`latentlab.find`
    latent : Latent that they leave
    folder : made if missing; an earlier result in it is replaced
    labels : from :func:`latentlab.label`
    walk : Walk, optional; drawn as ``sheet.png``
    facts : added to ``directions.json``
    """
    from latentlab.figures.canvas import walk_sheet
    from latentlab.images.reading import save_png

    folder = Path(folder)
    check_folder(folder)
    earlier = listed_files(folder, FACTS)
    files = [_save_arrays(directions, latent, folder / ARRAYS)]
    if walk is not None:
        files.append(save_png(folder / "sheet.png", walk_sheet(walk)))
    files.append(folder / FACTS)
    described = {
        **describe_directions(directions, latent),
        "labels": [label.describe() for label in labels],
        **(facts or {}),
    }
    write_json(files[-1], {**described, "files": [path.name for path in files]})
    remove_stale(earlier, files)
    return files


def describe_directions(directions: Directions, latent: Latent) -> dict[str, Any]:
    """Return the facts of ``directions.json`` that follow from the directions alone."""
    spec = latent.spec
    return {
        "finder": directions.finder,
        "title": f"{latent.title}\n{directions.basis}",
        "directions": list(directions.labels),
        "strength_name": directions.strength_name,
        "strengths": _listed(directions.strengths),
        "baseline_strength": directions.baseline_strength,
        "residuals": _listed(directions.residuals),
        "matvecs": directions.matvecs,
        "deviations": _listed(directions.deviations),
        "steps": _listed(directions.steps),
        "step_unit": directions.step_unit,
        "explained_variance_ratio": _listed(directions.shares),
        "meanings": list(directions.meanings),
        "notes": list(directions.notes),
        "layout": None if directions.layout is None else directions.layout.describe(),
        "picture": latent.name,
        "model": spec.name,
        "stride": spec.stride,
        "multiple": spec.multiple,
    }


def _listed(values: Tensor | None) -> list[float] | None:
    return None if values is None else values.tolist()


def _save_arrays(directions: Directions, latent: Latent, path: Path) -> Path:
    from safetensors.torch import save

    arrays = {
        "vectors": directions.vectors,
        "deviations": directions.deviations,
        "shares": directions.shares,
        "origin": latent.values,
    }
    optional = {
        "rows": directions.rows,
        "strengths": directions.strengths,
        "residuals": directions.residuals,
        "steps": directions.steps,
    }
    arrays |= {name: array for name, array in optional.items() if array is not None}
    return write_bytes(path, save({name: array.contiguous() for name, array in arrays.items()}))


def save_transfer(transfer: Transfer, folder: Path) -> list[Path]:
    """Write ``transfer.png``, ``transfer_sheet.png`` and ``transfer.json``; return their paths."""
    from latentlab.figures.canvas import png_bytes
    from latentlab.figures.transfer import draw_transfer, transfer_sheet
    from latentlab.images.reading import save_png

    check_folder(folder)
    files = [
        write_bytes(folder / "transfer.png", png_bytes(draw_transfer(transfer))),
        save_png(folder / "transfer_sheet.png", transfer_sheet(transfer)),
        folder / "transfer.json",
    ]
    write_json(files[-1], {**transfer.summary(), "files": [path.name for path in files]})
    return files


def load_directions(folder: str | Path) -> tuple[Directions, Latent]:
    """Return the directions that :func:`save_directions` wrote, and their latent, without picture.

    Raises
    ------
    FileError : a file is missing, damaged or does not fit the other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    facts = read_json(folder / FACTS, "directions")
    try:
        arrays = load_file(folder / ARRAYS)
        layout = layout_from(facts["layout"])
        _check_shapes(arrays, layout, len(facts["directions"]))
        origin = arrays["origin"]
        stride, multiple = int(facts["stride"]), int(facts["multiple"])
        spec = LatentSpec(str(facts["model"]), origin.shape[0], stride, multiple)
        directions = Directions(
            vectors=arrays["vectors"],
            deviations=arrays["deviations"],
            shares=arrays["shares"],
            labels=tuple(facts["directions"]),
            finder=str(facts["finder"]),
            basis=str(facts["title"]).splitlines()[-1],
            rows=arrays["rows"],
            layout=layout,
            strengths=arrays["strengths"],
            strength_name=str(facts["strength_name"]),
            baseline_strength=facts["baseline_strength"],
            residuals=arrays.get("residuals"),
            matvecs=int(facts["matvecs"]),
            meanings=tuple(facts["meanings"]),
            notes=tuple(facts["notes"]),
            steps=arrays.get("steps"),
            step_unit=str(facts["step_unit"]),
        )
        return directions, Latent(origin, spec, name=str(facts["picture"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, ShapeError) as error:
        raise FileError(
            f"damaged or incomplete directions in {folder} ({error})",
            f"{FACTS} and {ARRAYS} of one `latentlab directions` run",
            "run `latentlab directions` again",
        ) from error


def _check_shapes(arrays: Mapping[str, Tensor], layout: Layout, count: int) -> None:
    """Raise ValueError where arrays of a run do not fit one another or the layout."""
    expected = {
        "origin": layout.shape,
        "vectors": (count, *layout.shape),
        "rows": (count, layout.n_features),
        "deviations": (count,),
        "shares": (count,),
        "strengths": (count,),
    }
    for name, shape in expected.items():
        if tuple(arrays[name].shape) != shape:
            raise ValueError(f"{name} of shape {tuple(arrays[name].shape)} instead of {shape}")
