"""config.json of a VAE, as people write and convert it, in the form that families expect."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from latentlab.errors import WeightsError
from latentlab.loaders.hub_cache import find_flaw
from latentlab.loaders.weights import damaged, read_metadata
from latentlab.machine.parsing import parse_json

_PAIR = ("latents_mean", "latents_std")
_ADVICE = "correct config.json, or state the scale, as MODEL@none does"


def read_config(path: Path) -> dict[str, Any]:
    """Return the contents of config.json; raises WeightsError for other contents."""
    flaw = find_flaw(path)
    if flaw is not None:
        raise damaged(f"{path}, {flaw}", "a JSON object")
    config: dict[str, Any] = parse_json(path.read_bytes())
    return config


def config_beside(path: Path, families: Collection[str]) -> tuple[dict[str, Any], str]:
    """Return the configuration of a weights file and where it stands; empty without one.

    It is in config.json of the same folder, or in the metadata of a safetensors file.

    Parameters
    ----------
    path : Path of the file
    families : classes that count; a configuration of another class belongs to another model
    """
    for config, where in (
        (_read_quietly(path.parent / "config.json"), f"{path.parent / 'config.json'}"),
        (_embedded(path), f"the metadata of {path.name}"),
    ):
        family = config.get("_class_name")
        if family in families or (family is None and "latent_channels" in config):
            return config, where
    return {}, ""


def _read_quietly(path: Path) -> dict[str, Any]:
    if not path.is_file() or find_flaw(path) is not None:
        return {}
    return read_config(path)


def _embedded(path: Path) -> dict[str, Any]:
    try:
        config = parse_json(read_metadata(path).get("config", ""))
    except ValueError:
        return {}
    inner = config.get("vae", config) if isinstance(config, dict) else {}
    return inner if isinstance(inner, dict) else {}


def clean_config(
    config: Mapping[str, Any], where: str, *, flat: bool = True
) -> tuple[dict[str, Any], str]:
    """Return a configuration whose statistics are flat, and what ``run.json`` notes about it.

    ``latents_mean`` and ``latents_std`` may be nested, as (1, C, 1, 1). One without the other is
    left out with a warning, as diffusers' pipelines do.

    Parameters
    ----------
    config : contents of config.json
    where : str, its path, for messages
    flat : bool; without it statistics keep their shape

    Raises
    ------
    WeightsError : statistics that are no numbers, or zero, NaN or infinite deviations.

    Examples
    --------
    >>> clean_config({"latents_mean": [[[0.5]]], "latents_std": [[[2]]]}, "config.json")
    ({'latents_mean': [0.5], 'latents_std': [2.0]}, '')
    """
    cleaned = dict(config)
    for option in ("scaling_factor", "shift_factor"):
        value = config.get(option)
        if value is not None and (not _is_number(value) or (option[1] == "c" and value == 0)):
            raise WeightsError(f"{option} = {value} in {where}", "a finite number", _ADVICE)
    for option in _PAIR:
        if config.get(option) is not None:
            values = _flat(option, config[option], where)
            cleaned[option] = values if flat else config[option]
    there = [option for option in _PAIR if cleaned.get(option) is not None]
    if len(there) != 1:
        return cleaned, ""
    missing = next(option for option in _PAIR if option not in there)
    warnings.warn(
        f"{where} has {there[0]} without {missing}: left out, as diffusers' pipelines do",
        stacklevel=2,
    )
    cleaned.pop(there[0])
    return cleaned, f"{there[0]} without {missing} in config.json is left out"


def _flat(option: str, values: Any, where: str) -> list[float]:
    numbers: list[Any] = []
    pending = [values]
    while pending:
        value = pending.pop()
        if isinstance(value, list | tuple):
            pending += reversed(value)
        else:
            numbers.append(value)
    least = 0 if option.endswith("std") else -math.inf
    if not numbers or not all(_is_number(one) and one > least for one in numbers):
        kind = "numbers above 0" if least == 0 else "finite numbers"
        raise WeightsError(f"{option} in {where}", kind, _ADVICE)
    return [float(one) for one in numbers]


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # An integer of 400 digits is finite and no float.
    return abs(value) <= sys.float_info.max
