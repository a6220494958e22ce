"""Run folders of digits models: weights, facts, figures of every epoch, and the checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentlab.digits.data import DigitsData, load_data
from latentlab.digits.exported import locate_model
from latentlab.digits.measure import Codes
from latentlab.digits.models import DigitsModel, build_model, config_from
from latentlab.digits.objective import active_latents
from latentlab.errors import FileError, UsageError
from latentlab.latents import Progress
from latentlab.machine.files import check_folder, write_bytes
from latentlab.machine.parsing import WRONG_FACTS, parse_json
from latentlab.results.folders import read_json, write_json

MODEL = "model.safetensors"
CODES = "codes.safetensors"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.safetensors"
KEPT_CODES = 1000
QUANTILES = (0.005, 0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975, 0.995)
_FORMAT = "latentlab digits 1"


@dataclass(frozen=True, eq=False, repr=False)
class DigitsRun:
    """A trained model with its facts and codes.

    Parameters
    ----------
    name : str, for titles
    model : DigitsModel, ready for use
    facts : contents of ``config.json``
    codes : Codes of up to 1,000 test images
    source : str, as given to :func:`load_run`; ``shipped`` for the model that comes with latentlab
    """

    name: str
    model: DigitsModel
    facts: Mapping[str, Any]
    codes: Codes
    source: str = ""

    def __repr__(self) -> str:
        return f"DigitsRun({self.name!r}, {self.model.config})"

    @property
    def tilt_dimension(self) -> int | None:
        """The latent that is the tilt, counting from zero; None if unknown or if it collapsed."""
        found = self.facts.get("tilt_dimension")
        return int(found) if found is not None and self.active[int(found)] else None

    @property
    def active(self) -> list[bool]:
        """Whether each latent varies with the image; one that does not has collapsed."""
        active: list[bool] = active_latents(self.codes.mean).tolist()
        return active

    def read_data(
        self, name: str | None = None, *, offline: bool = False, progress: Progress | None = None
    ) -> DigitsData:
        """Return the data that the model was trained on, or other data.

        The parameters are those of :func:`latentlab.digits.data.load_data`.

        Raises
        ------
        UsageError : the images have another size than the model's.
        """
        data = load_data(name or self.facts["data"]["name"], offline=offline, progress=progress)
        if data.test.size != self.model.config.size:
            raise UsageError(
                f"--data {data.name} with images of {data.test.size} px",
                f"{self.model.config.size} px, as {self.name} was trained on",
                "choose other data or another run",
            )
        return data


def save_run(
    folder: Path,
    model: DigitsModel,
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    codes: Codes,
) -> list[Path]:
    """Write weights, codes, ``config.json`` and ``metrics.jsonl``; return their paths."""
    check_folder(folder)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    kept = {name: values[:KEPT_CODES].contiguous() for name, values in vars(codes).items()}
    described = {
        "format": _FORMAT,
        "model": asdict(model.config),
        **facts,
        "latent": describe_codes(codes),
    }
    return [
        save_tensors(folder / MODEL, weights),
        save_tensors(folder / CODES, kept),
        write_json(folder / CONFIG, described),
        write_history(folder / METRICS, history),
    ]


def describe_codes(codes: Codes) -> dict[str, Any]:
    """Return mean, standard deviation and quantiles of the posterior means, by dimension."""
    means = codes.mean.double()
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    quantiles = zip(QUANTILES, means.quantile(levels, dim=0).tolist(), strict=True)
    return {
        "mean": means.mean(0).tolist(),
        "std": means.std(0).tolist(),
        "quantiles": {f"{level:g}": values for level, values in quantiles},
    }


def write_history(path: Path, history: Sequence[Mapping[str, Any]]) -> Path:
    """Write a file with one JSON object per line, complete or not at all; return its path."""
    lines = [json.dumps(entry, allow_nan=False) + "\n" for entry in history]
    return write_bytes(path, "".join(lines).encode())


def load_run(source: str | os.PathLike[str] | None = None) -> DigitsRun:
    """Return the model in a run folder; by default, the model that comes with latentlab.

    Raises
    ------
    FileError : the folder does not exist, or files in it are missing, damaged or do not match.
    WeightsError : the shipped files have been changed.

    Examples
    --------
    >>> load_run().tilt_dimension
    3
    """
    folder, shipped = locate_model(source)
    if not (folder / CONFIG).is_file():
        unfinished = (folder / CHECKPOINT).is_file()
        raise FileError(
            f"{folder} without {CONFIG}",
            "a folder that `latentlab digits train` wrote",
            f"finish it with `latentlab digits train --resume --out {folder}`"
            if unfinished
            else "pass one, or no folder for the model that comes with latentlab",
        )
    facts = read_json(folder / CONFIG)
    if facts.get("format") != _FORMAT:
        raise FileError(
            f"{folder / CONFIG} of format {facts.get('format')!r}",
            f"{_FORMAT!r}",
            "pass a folder that `latentlab digits train` wrote",
        )
    config = config_from(facts.get("model", {}))
    codes, _ = load_tensors(folder / CODES)
    weights, _ = load_tensors(folder / MODEL)
    try:
        model = build_model(config)
        model.load_state_dict(weights)
        kept = Codes(**codes)
    except (RuntimeError, TypeError) as error:
        raise _damaged(folder / MODEL, error) from error
    name = "the shipped model" if shipped else folder.name
    return DigitsRun(name, model.eval(), facts, kept, source=str(source or "shipped"))


# Tensors with facts


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None
) -> Path:
    """Write tensors and facts as one safetensors file, complete or not at all; return its path."""
    from safetensors.torch import save

    metadata = {"facts": json.dumps(facts)} if facts is not None else None
    # save_file would make the file unreadable for everybody else (mode 0600).
    return write_bytes(path, save(dict(tensors), metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts of a safetensors file.

    Raises
    ------
    FileError : the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = parse_json((file.metadata() or {}).get("facts", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, *WRONG_FACTS) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> FileError:
    return FileError(
        f"{path}, which cannot be used ({error})",
        "an intact file that `latentlab digits train` wrote",
        "train the model again",
    )
