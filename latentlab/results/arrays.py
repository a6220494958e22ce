"""Results in a folder: arrays in safetensors, facts in JSON, and how samples were drawn in both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError, ShapeError
from latentlab.latents import Latent, LatentSpec, Sampling
from latentlab.layouts import layout_from
from latentlab.machine.files import sha256_of_file, write_bytes
from latentlab.machine.parsing import WRONG_FACTS
from latentlab.results.folders import Saved, finite, listed_files, read_json, write_json
from latentlab.results.provenance import record_of_folder, write_record

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the JSON files; files without one count as version 0."""

_COMMANDS = {
    "interpolation": "interpolate",
    "reconstruction": "reconstruct",
    "traversal": "traverse",
}
"""Stem of a result's files → the command that writes them, where the two differ."""

_FACTOR = "factor."
ARRAYS = "arrays_sha256"
"""Key of the SHA-256 of the arrays that a JSON file describes; versions before 0.2 wrote none."""


def write_result(
    folder: Path,
    stem: str,
    *,
    files: Sequence[Path],
    arrays: Mapping[str, Tensor | None],
    facts: Mapping[str, Any],
    run: Mapping[str, Any],
    sampling: Sampling | None = None,
    replaces: Sequence[str] = (),
) -> Saved:
    """Write arrays, facts and ``run.json`` of a result, and remove files of an earlier one.

    Parameters
    ----------
    folder : Path
    stem : str, name of the safetensors and JSON files
    files : figures and animations, already written
    arrays : name → array; those that are None are left out; without any there is no file
    facts : contents of the JSON file, to which the names of all files are added
    run : record for ``run.json``
    sampling : how the samples behind the result were drawn, added to arrays and facts; optional
    replaces : stems of other results in the folder that this one makes obsolete
    """
    stale = listed_files(folder, *(f"{name}.json" for name in (stem, *replaces)))
    written = [*files]
    if sampling is not None:
        arrays = {**arrays, **sampling_arrays(sampling)}
        facts = {**sampling_facts(sampling), **facts}
    if arrays:
        written.append(_save_arrays(folder / f"{stem}.safetensors", arrays))
        facts = {"format": FORMAT, ARRAYS: sha256_of_file(written[-1]), **facts}
    path = folder / f"{stem}.json"
    written.append(path)
    contents = finite({**facts, "files": [file.name for file in written]})
    write_json(path, contents)
    record = write_record(folder, _COMMANDS.get(stem, stem), run)
    for old in stale - set(written):
        old.unlink(missing_ok=True)
    return Saved(folder, (*written, record), contents)


def _save_arrays(path: Path, arrays: Mapping[str, Tensor | None]) -> Path:
    from safetensors.torch import save

    # save_file would hide the file from everybody else (mode 0600).
    return write_bytes(path, save(contiguous(arrays)))


def contiguous(arrays: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Return the arrays that are not None, contiguous in memory, as safetensors wants them."""
    return {name: array.contiguous() for name, array in arrays.items() if array is not None}


@contextmanager
def open_result(
    folder: str | Path, stem: str
) -> Iterator[tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]]:
    """Yield facts, arrays and record of a result that :func:`write_result` wrote.

    Raises
    ------
    FileError : a file is missing, damaged or written by a newer latentlab, or the block raised
        ShapeError or one of WRONG_FACTS because the contents do not fit together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder, command = Path(folder), _COMMANDS.get(stem, stem)
    facts = read_json(folder / f"{stem}.json", command)
    path = folder / f"{stem}.safetensors"
    _check_version(facts, path, command)
    try:
        if ARRAYS in facts and sha256_of_file(path) != facts[ARRAYS]:
            raise ValueError(f"{path.name} is not the one that {stem}.json describes")
        yield facts, load_file(path), record_of_folder(folder, command)
    except (OSError, SafetensorError, ShapeError, *WRONG_FACTS) as error:
        raise FileError(
            f"damaged or incomplete files in {folder} ({error})",
            f"{stem}.json and {stem}.safetensors of one `latentlab {command}` run",
            f"run `latentlab {command}` again",
        ) from error


def _check_version(facts: Mapping[str, Any], path: Path, command: str) -> None:
    if facts.get("format", 0) not in range(FORMAT + 1):
        raise FileError(
            f"{path.with_suffix('.json')} of format {facts['format']!r}",
            f"format {FORMAT} or older",
            "update latentlab",
        )
    if not path.is_file():
        raise FileError(
            f"{path.parent} without {path.name}, as versions before 0.2 wrote it",
            "a result with its arrays",
            f"run `latentlab {command}` again",
        )


def check_shapes(arrays: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError if arrays do not have the expected shapes."""
    for name, shape in expected.items():
        if tuple(arrays[name].shape) != shape:
            raise ValueError(f"{name} of shape {tuple(arrays[name].shape)} instead of {shape}")


def texts(values: Any) -> tuple[str, ...]:
    """Return a list of texts of a JSON file as a tuple; raise ValueError for anything else."""
    if isinstance(values, list) and all(isinstance(one, str) for one in values):
        return tuple(values)
    raise ValueError(f"{values!r:.60} instead of a list of texts")


def check_facts(facts: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
    """Raise ValueError if facts contradict what follows from the arrays beside them.

    Facts that only one of the two has are not compared; the last digits of numbers may differ.

    Parameters
    ----------
    facts : contents of a JSON file
    derived : what the result that was loaded says of itself
    """
    for name in derived:
        if name in facts and not _agree(facts[name], finite(derived[name])):
            raise ValueError(f"{name} contradicts the arrays")


def _agree(stated: Any, derived: Any) -> bool:
    if isinstance(derived, Mapping) and isinstance(stated, Mapping):
        return all(_agree(stated[key], derived[key]) for key in stated.keys() & derived.keys())
    if isinstance(derived, list) and isinstance(stated, list):
        return len(stated) == len(derived) and all(map(_agree, stated, derived))
    numbers = isinstance(derived, int | float) and isinstance(stated, int | float)
    if numbers:
        return math.isclose(stated, derived, rel_tol=1e-5, abs_tol=1e-9)
    return bool(stated == derived)


def sampling_arrays(sampling: Sampling) -> dict[str, Tensor | None]:
    """Return the arrays of how samples were drawn: their origin and their factors."""
    origin = sampling.origin
    return {
        "origin": None if origin is None else origin.values,
        "origin_logvar": None if origin is None else origin.logvar,
        **{f"{_FACTOR}{name}": values for name, values in sampling.factors.items()},
    }


def sampling_facts(sampling: Sampling) -> dict[str, Any]:
    """Return how samples were drawn as JSON-ready facts; see :func:`load_sampling`."""
    layout = sampling.layout
    facts: dict[str, Any] = {
        "seed": sampling.seed,
        "n_samples": sampling.n_samples,
        "options": dict(sampling.options),
        "label": sampling.label,
        "statement": sampling.statement,
        "layout": None if layout is None else layout.describe(),
    }
    if sampling.origin is not None:
        spec = sampling.origin.spec
        facts |= {
            "picture": sampling.origin.name,
            "model": spec.name,
            "stride": spec.stride,
            "multiple": spec.multiple,
            "has_logvar": spec.has_logvar,
            **({} if spec.has_grid else {"tokens": spec.tokens, "side": spec.side}),
        }
    return facts


def load_sampling(
    facts: Mapping[str, Any], arrays: Mapping[str, Tensor], name: str, record: Mapping[str, Any]
) -> Sampling:
    """Return how samples were drawn, from the facts and arrays of a result.

    Parameters
    ----------
    facts, arrays : of the result, which version 0.1 may have written
    name : str, of the sampler
    record : what ``run.json`` records about model and image
    """
    layout = layout_from(facts["layout"]) if facts.get("layout") else None
    origin = None
    if "origin" in arrays:
        if layout is None:
            raise ValueError("an origin without a layout")
        check_shapes(arrays, {"origin": layout.shape})
        spec = LatentSpec(
            str(facts["model"]),
            arrays["origin"].shape[0],
            int(facts["stride"]),
            int(facts["multiple"]),
            bool(facts.get("has_logvar", False)),
            int(facts.get("tokens", 0)),
            int(facts.get("side", 0)),
        )
        origin = Latent(
            arrays["origin"],
            spec,
            arrays.get("origin_logvar"),
            name=str(facts["picture"]),
            record=record,
        )
    return Sampling(
        name=name,
        layout=layout,
        origin=origin,
        seed=int(facts.get("seed", 0)),
        options=dict(facts.get("options", {})),
        label=str(facts.get("label", "")),
        factors={
            key.removeprefix(_FACTOR): array
            for key, array in arrays.items()
            if key.startswith(_FACTOR)
        },
        statement=str(facts.get("statement", "")),
        n_samples=None if facts.get("n_samples") is None else int(facts["n_samples"]),
    )
