"""Torch modules as ONNX files that carry no trace of the machine that wrote them."""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentlab.errors import MissingExtraError, ParityError

OPSET = 20

_EXTRA = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Raise MissingExtraError unless onnx, onnxscript and onnxruntime are installed."""
    for name in _EXTRA:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(
                f"an export without {name}",
                "the extra for ONNX files",
                "run pip install 'latentlab[digits]'",
            ) from error


def to_onnx(
    module: nn.Module,
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    facts: Mapping[str, Any],
    *,
    free_batch: bool = True,
) -> bytes:
    """Return the bytes of an ONNX file with a module's weights, and facts in its metadata.

    Parameters
    ----------
    module : nn.Module in eval mode, on the CPU; returns a tuple of Tensors
    example : name of each input → Tensor that it is traced with
    outputs : names of the outputs
    facts : key → text, or a JSON-ready value
    free_batch : bool, whether the first side of every input may be any number; else the file takes
        the example's shapes alone
    """
    shapes: Any = None
    if free_batch:
        batch = torch.export.Dim("batch")
        shapes = tuple({0: batch} for _ in example)
    with _without_chatter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(example.values()),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=tuple(example),
            output_names=tuple(outputs),
            dynamic_shapes=shapes,
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


def check_onnx(
    content: bytes,
    inputs: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    tolerance: float,
) -> float:
    """Return the largest difference of an ONNX file's outputs from PyTorch's.

    Parameters
    ----------
    content : bytes of the file, which is run with onnxruntime on the CPU
    inputs : name → Tensor
    expected : name of each output → Tensor, from PyTorch
    tolerance : float, relative to the largest output if that is above 1

    Raises
    ------
    ParityError : the difference is above the tolerance.
    """
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = {name: value.numpy() for name, value in inputs.items()}
    found = 0.0
    for (name, wanted), values in zip(
        expected.items(), session.run(list(expected), given), strict=True
    ):
        difference = float(np.abs(values - wanted.numpy()).max())
        allowed = tolerance * max(1.0, float(wanted.abs().max()))
        if not difference <= allowed:
            raise ParityError(
                f"{name} from onnxruntime that differs from PyTorch's by {difference:.2g}",
                f"a difference of at most {allowed:.2g}",
                "try other versions of torch and onnxruntime and report this",
            )
        found = max(found, difference)
    return found
