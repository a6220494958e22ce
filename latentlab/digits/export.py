"""Encoder and decoder as self-describing ONNX files, checked against PyTorch.

``decoder.onnx`` takes ``z`` (B, L), float32, and ``label`` (B,), int64, and returns ``image``
(B, 1, H, W), float32 in [0, 1], ink is 1. ``encoder.onnx`` takes ``image`` and ``label`` and
returns ``mean`` and ``logvar``, both (B, L). Their description is in the metadata of both files
and in ``onnx.json`` beside them.
"""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentlab.digits.description import describe_model
from latentlab.digits.exported import DECODER, DESCRIPTION, ENCODER
from latentlab.digits.folders import DigitsRun
from latentlab.digits.measure import draw_latents
from latentlab.errors import MissingExtraError, ParityError
from latentlab.machine.files import check_folder, sha256_of_file, write_bytes
from latentlab.results.folders import write_json

OPSET = 20
TOLERANCE = 1e-5
"""Largest difference from PyTorch; relative to the largest output if that is above 1."""

_EXTRA = ("onnx", "onnxscript", "onnxruntime")
_CHECKED = 64
_REACH = 2.0


class _Images(nn.Module):
    """The decoder, followed by the sigmoid that turns its logits into images."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor, label: Tensor) -> tuple[Tensor]:
        return (torch.sigmoid(self.decoder(z, label)),)


def export_onnx(run: DigitsRun, folder: Path) -> dict[str, Any]:
    """Write the ONNX files of a run into a folder, after they have passed the check.

    Each file holds its weights, accepts batches of any size and carries its description. The check
    runs it with onnxruntime on latents drawn from the prior at twice its width, under every label.

    Parameters
    ----------
    run : DigitsRun
    folder : created if missing; files of the same names are replaced

    Returns
    -------
    dict with the contents of ``onnx.json``, among them ``max_abs_diff``, the largest difference
    from PyTorch over all outputs; but ``files`` are the paths of decoder, encoder and description

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
    z = draw_latents(model, run.codes, _CHECKED, scale=_REACH)
    label = torch.arange(_CHECKED) % model.config.classes
    images = model.images(z, label)
    parts = {
        DECODER: (_Images(model.decoder), {"z": z, "label": label}, ("image",)),
        ENCODER: (model.encoder, {"image": images, "label": label}, ("mean", "logvar")),
    }
    contents = {name: _to_onnx(*part, facts) for name, part in parts.items()}
    facts["max_abs_diff"] = max(_difference(contents[name], *part) for name, part in parts.items())
    files = [write_bytes(folder / name, content) for name, content in contents.items()]
    sums = {path.name: {"sha256": sha256_of_file(path)} for path in files}
    files.append(write_json(folder / DESCRIPTION, {**facts, "files": sums}))
    return {**facts, "files": files}


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


def _to_onnx(
    module: nn.Module,
    example: Mapping[str, Tensor],
    outputs: tuple[str, ...],
    facts: Mapping[str, Any],
) -> bytes:
    """Return the bytes of an ONNX file with a free batch size and the facts in its metadata."""
    batch = torch.export.Dim("batch")
    with _without_chatter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(example.values()),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=tuple(example),
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in example),
            verbose=False,
        )
    assert program is not None
    return _finish(program.model_proto, facts)


def _finish(proto: Any, facts: Mapping[str, Any]) -> bytes:
    """Return a model's bytes with the facts and without traces of the source it was made from."""
    graph = proto.graph
    graph.name = "latentlab"
    parts = (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (graph, *parts):
        part.doc_string = ""
        del part.metadata_props[:]
    del proto.metadata_props[:]
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        proto.metadata_props.add(key=key, value=text)
    return bytes(proto.SerializeToString(deterministic=True))


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Hide the exporter's notes about its own work from the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        try:
            yield
        finally:
            log.setLevel(level)


@torch.no_grad()
def _difference(
    content: bytes, module: nn.Module, example: Mapping[str, Tensor], outputs: tuple[str, ...]
) -> float:
    """Return the largest difference between an ONNX file and PyTorch.

    Raises
    ------
    ParityError : it is above the tolerance, for the whole batch or for a single image.
    """
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = 0.0
    for count in (_CHECKED, 1):
        part = {name: value[:count] for name, value in example.items()}
        computed = session.run(outputs, {name: value.numpy() for name, value in part.items()})
        for name, values, expected in zip(outputs, computed, module(*part.values()), strict=True):
            difference = float(np.abs(values - expected.numpy()).max())
            allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
            if not difference <= allowed:
                raise ParityError(
                    f"{name} from onnxruntime that differs from PyTorch's by {difference:.2g}",
                    f"a difference of at most {allowed:.2g}",
                    "try other versions of torch and onnxruntime and report this",
                )
            found = max(found, difference)
    return found
