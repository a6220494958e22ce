"""Arrays of results in safetensors, and how samples were drawn, in arrays and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError, ShapeError
from latentlab.latents import Latent, LatentSpec, Sampling
from latentlab.layouts import layout_from
from latentlab.machine.files import write_bytes
from latentlab.results.folders import read_json

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the JSON files; 0 is that of files without one."""

_FACTOR = "factor."


def save_arrays(path: Path, arrays: Mapping[str, Tensor | None]) -> Path:
    """Write the arrays that there are into one safetensors file; return its path."""
    from safetensors.torch import save

    # save_file would hide the file from everybody else (mode 0600).
    known = {name: array.contiguous() for name, array in arrays.items() if array is not None}
    return write_bytes(path, save(known))


def read_result(folder: Path, stem: str, command: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the facts and arrays of a result.

    Raises
    ------
    FileError : a file is missing or damaged, or was written by a newer latentlab.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    facts = read_json(folder / f"{stem}.json", command)
    if facts.get("format", 0) not in range(FORMAT + 1):
        raise FileError(
            f"{folder / f'{stem}.json'} of format {facts['format']!r}",
            f"format {FORMAT} or older",
            "update latentlab",
        )
    path = folder / f"{stem}.safetensors"
    if not path.is_file():
        raise FileError(
            f"{folder} without {path.name}, as versions before 0.2 wrote it",
            "a result with its arrays",
            f"run `latentlab {command}` again",
        )
    try:
        return facts, load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(folder, stem, command, error) from error


@contextmanager
def damage_named(folder: Path, stem: str, command: str) -> Iterator[None]:
    """Turn what contents that do not fit one another raise into one clear FileError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ShapeError) as error:
        raise _damaged(folder, stem, command, error) from error


def _damaged(folder: Path, stem: str, command: str, error: Exception) -> FileError:
    return FileError(
        f"damaged or incomplete files in {folder} ({error})",
        f"{stem}.json and {stem}.safetensors of one `latentlab {command}` run",
        f"run `latentlab {command}` again",
    )


def check_shapes(arrays: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError where arrays do not have the shapes expected."""
    for name, shape in expected.items():
        if tuple(arrays[name].shape) != shape:
            raise ValueError(f"{name} of shape {tuple(arrays[name].shape)} instead of {shape}")


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
        }
    return facts


def load_sampling(
    facts: Mapping[str, Any], arrays: Mapping[str, Tensor], name: str, record: Mapping[str, Any]
) -> Sampling:
    """Return how samples were drawn, from the facts and arrays of a result.

    Parameters
    ----------
    facts, arrays : of the result, also of one that version 0.1 wrote
    name : str, of the sampler
    record : what ``run.json`` says of model and image
    """
    layout = layout_from(facts["layout"]) if facts.get("layout") else None
    origin = None
    if "origin" in arrays:
        spec = LatentSpec(
            str(facts["model"]),
            arrays["origin"].shape[0],
            int(facts["stride"]),
            int(facts["multiple"]),
            bool(facts.get("has_logvar", False)),
        )
        origin = Latent(
            arrays["origin"],
            spec,
            arrays.get("origin_logvar"),
            name=str(facts["picture"]),
            record=record,
        )
        if layout is not None:
            check_shapes(arrays, {"origin": layout.shape})
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
    )
