"""Encoder and decoder as self-describing ONNX files, checked against PyTorch.

``decoder.onnx`` takes ``z`` (B, L), float32, and ``label`` (B,), int64, and returns ``image``
(B, 1, H, W), float32 in [0, 1], ink is 1. ``encoder.onnx`` takes ``image`` and ``label`` and
returns ``mean`` and ``logvar``, both (B, L). Their description is in the metadata of both files
and in ``onnx.json`` beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.digits.description import describe_model
from latentlab.digits.exported import DECODER, DESCRIPTION, ENCODER
from latentlab.digits.folders import DigitsRun
from latentlab.digits.measure import draw_latents
from latentlab.encoding.onnx_files import OPSET, check_onnx, require_onnx, to_onnx
from latentlab.machine.files import check_folder, sha256_of_file, write_bytes
from latentlab.results.folders import write_json

TOLERANCE = 1e-5
"""Largest difference from PyTorch; relative to the largest output if that is above 1."""

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
    require_onnx()
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
    contents = {name: to_onnx(*part, facts) for name, part in parts.items()}
    facts["max_abs_diff"] = max(_difference(contents[name], *part) for name, part in parts.items())
    files = [write_bytes(folder / name, content) for name, content in contents.items()]
    sums = {path.name: {"sha256": sha256_of_file(path)} for path in files}
    files.append(write_json(folder / DESCRIPTION, {**facts, "files": sums}))
    return {**facts, "files": files}


@torch.no_grad()
def _difference(
    content: bytes, module: nn.Module, example: Mapping[str, Tensor], outputs: tuple[str, ...]
) -> float:
    """Return the largest difference from PyTorch, for the whole batch and for a single image."""
    found = 0.0
    for count in (_CHECKED, 1):
        part = {name: value[:count] for name, value in example.items()}
        expected = dict(zip(outputs, module(*part.values()), strict=True))
        found = max(found, check_onnx(content, part, expected, tolerance=TOLERANCE))
    return found
