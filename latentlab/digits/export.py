"""Encoder and decoder as ONNX files that say what they are, checked against PyTorch.

``decoder.onnx`` takes ``z`` (B, L), float32, and ``label`` (B,), int64, and returns ``image``
(B, 1, H, W), float32 in [0, 1], ink is 1. ``encoder.onnx`` takes ``image`` and ``label`` and
returns ``mean`` and ``logvar``, both (B, L). What a reader needs to know of them is in the files
themselves and in ``onnx.json`` beside them.
"""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentlab.digits.description import describe_model, rest_of
from latentlab.digits.exported import DECODER, DESCRIPTION, ENCODER
from latentlab.digits.folders import DigitsRun
from latentlab.digits.models import DigitsModel
from latentlab.errors import LatentlabError, MissingExtraError, ParityError
from latentlab.machine.files import check_folder, replace_when_done, sha256_of_file
from latentlab.results.folders import write_json

OPSET = 20
TOLERANCE = 1e-5
"""How far ONNX may be from PyTorch; outputs beyond ±1 may differ by as much of the largest."""

Reference = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Inputs → outputs by name, as PyTorch computes them."""

_EXTRA = ("onnx", "onnxscript", "onnxruntime")
_CHECKED = 64
_REACH = 2.0


@dataclass(frozen=True)
class Exported:
    """What :func:`export_onnx` wrote.

    Parameters
    ----------
    files : decoder, encoder and description
    max_abs_diff : float, the largest difference from PyTorch over all outputs
    description : contents of ``onnx.json``
    """

    files: tuple[Path, ...]
    max_abs_diff: float
    description: Mapping[str, Any]


class _Pictures(nn.Module):
    """The decoder with the sigmoid that makes pictures of its logits."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z, label))


def export_onnx(run: DigitsRun, folder: Path) -> Exported:
    """Return the ONNX files of a run, written into a folder after they were found to be right.

    Each file holds its weights, takes batches of any size and carries its description. It is run
    with onnxruntime on latents as wide as twice the prior, under every label.

    Parameters
    ----------
    run : DigitsRun
    folder : made where missing; files of the same names are replaced

    Raises
    ------
    MissingExtraError : onnx, onnxscript or onnxruntime is not installed.
    ParityError : an output differs from PyTorch's by more than 1e-5.
    FileError : the folder cannot be written.
    """
    _require_extra()
    check_folder(folder)
    model = run.model.cpu().eval()
    facts = {**describe_model(run), "opset": OPSET}
    z, label, pictures = _samples(run)
    decoder = _to_onnx(_Pictures(model.decoder), (z, label), ("z", "label"), ("image",), facts)
    encoder = _to_onnx(
        model.encoder, (pictures, label), ("image", "label"), ("mean", "logvar"), facts
    )
    differences = {
        DECODER: _difference(decoder, {"z": z, "label": label}, _decoded(model)),
        ENCODER: _difference(encoder, {"image": pictures, "label": label}, _encoded(model)),
    }
    files = [_write(folder / DECODER, decoder), _write(folder / ENCODER, encoder)]
    description = {
        **facts,
        "max_abs_diff": max(differences.values()),
        "files": {path.name: {"sha256": sha256_of_file(path)} for path in files},
    }
    files.append(write_json(folder / DESCRIPTION, description))
    return Exported(tuple(files), max(differences.values()), description)


def _require_extra() -> None:
    for name in _EXTRA:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(
                f"an export without {name}",
                "the extra for ONNX files",
                "run pip install 'latentlab[digits]'",
            ) from error


def _samples(run: DigitsRun) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents (B, L), labels (B,) and the pictures (B, 1, H, W) decoded from them."""
    config = run.model.config
    rest, spread = rest_of(run)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(_CHECKED, config.latent, generator=generator)
    z = rest + _REACH * spread * noise
    label = torch.arange(_CHECKED) % config.classes
    return z, label, run.model.pictures(z, label)


def _to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    facts: Mapping[str, Any],
) -> bytes:
    """Return the bytes of a model with a free batch size and the facts in its metadata."""
    batch = torch.export.Dim("batch")
    with _without_chatter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in example),
            verbose=False,
        )
    if program is None:
        raise LatentlabError("no program from torch.onnx", "one", "report this with your versions")
    return _finish(program.model_proto, facts)


def _finish(proto: Any, facts: Mapping[str, Any]) -> bytes:
    """Return a model's bytes, free of traces of the source it was made from, with its facts."""
    graph = proto.graph
    graph.name = "latentlab"
    graph.doc_string = ""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for part in graph.initializer:
        part.doc_string = ""
        del part.metadata_props[:]
    del proto.metadata_props[:]
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key = key
        entry.value = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep the exporter's notes about itself from the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            log.setLevel(level)


def _decoded(model: DigitsModel) -> Reference:
    return lambda z, label: {"image": model.pictures(z, label)}


def _encoded(model: DigitsModel) -> Reference:
    return lambda image, label: dict(
        zip(("mean", "logvar"), model.encoder(image, label), strict=True)
    )


@torch.no_grad()
def _difference(content: bytes, fed: Mapping[str, Tensor], reference: Reference) -> float:
    """Return the largest difference between an ONNX file and PyTorch.

    Raises
    ------
    ParityError : it is above the tolerance, for the whole batch or for a single picture.
    """
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = 0.0
    for count in (len(next(iter(fed.values()))), 1):
        part = {name: value[:count] for name, value in fed.items()}
        given = session.run(names, {name: value.numpy() for name, value in part.items()})
        expected = reference(*part.values())
        for name, values in zip(names, given, strict=True):
            found = max(found, _compare(name, values, expected[name].numpy()))
    return found


def _compare(name: str, values: Any, expected: Any) -> float:
    difference = float(np.abs(values - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise ParityError(
            f"{name} from onnxruntime {difference:.2g} away from PyTorch",
            f"at most {allowed:.2g}",
            "try other versions of torch and onnxruntime, and report this",
        )
    return difference


def _write(path: Path, content: bytes) -> Path:
    with replace_when_done(path) as unfinished:
        unfinished.write_bytes(content)
    return path
