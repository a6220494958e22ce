"""Configuration files: ``pyproject.toml``, ``config.toml``, protocols and normalizations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from campaigns import Parser

from latentlab.cli.defaults import choose_model
from latentlab.loaders.measured import read_measured
from latentlab.measures.protocols import Protocol, find_protocol

_PROJECT = b'P[tool.latentlab]\nmodel = "flux1"\n[tool.other]\nx = [1, {y = 2}]\n'
_MEASURED = (
    b'M{"latents_mean": [0.5, -1.0], "latents_std": [1.0, 2.0], "n_images": 7, '
    b'"sha256": {"a.safetensors": "0"}}'
)


def _seeds(_: Path) -> Sequence[bytes]:
    default = Protocol("mine", size=64)
    lines = [f"{key} = {_toml(value)}" for key, value in default.facts().items()]
    return [
        _PROJECT,
        b'P[tool]\nlatentlab = {model = "mini"}\n',
        ("T" + "\n".join(lines)).encode(),
        b'Tbase = "coco-256"\nsize = 128\nclamp = false\n',
        _MEASURED,
    ]


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def _read(content: bytes, folder: Path) -> None:
    kind, text = content[:1], content[1:]
    if kind == b"T":
        path = folder / "protocol.toml"
        path.write_bytes(text)
        protocol = find_protocol(str(path))
        protocol.describe()
        protocol.framing(8)
    elif kind == b"M":
        path = folder / "measured.json"
        path.write_bytes(text)
        read_measured(path, {"a.safetensors": "0"})
    else:
        (folder / "pyproject.toml").write_bytes(text)
        choose_model(folder=folder).announce()


CAMPAIGN = Parser(
    name="settings",
    reads="pyproject.toml, config.toml, protocols and measured normalizations",
    seeds=_seeds,
    read=_read,
    words=[field.name.encode() for field in fields(Protocol)]
    + [
        b"[tool.latentlab]",
        b"model",
        b"base",
        b"inf",
        b"nan",
        b"0x",
        b"1e999",
        b"'''",
        b"[" * 2000,
        b"9" * 400,
    ],
    longest=4096,
)
