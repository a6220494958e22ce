"""The linear control models: principal components of photos' patches, as folders of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mini_linear import PATCH, PatchPCA, fit_patch_pca
from safetensors.torch import save

from latentlab.linalg.bases import fix_signs
from latentlab.machine.files import write_bytes
from latentlab.results.folders import write_json

COMPONENTS = {"linear": 16, "linear32": 32}


def write_linear_models(out: Path, pixels: np.ndarray) -> None:
    """Fit ``linear`` and ``linear32`` to uint8 photos (N, H, W, 3); write a folder for each."""
    for name, count in COMPONENTS.items():
        write_model(out / name, basis_of(fit_patch_pca(pixels, count)))


def basis_of(pca: PatchPCA) -> dict[str, torch.Tensor]:
    """Basis (C, 3, 8, 8), the largest entry of each row positive, and mean patch (3, 8, 8)."""
    rows = fix_signs(torch.from_numpy(pca.components.copy()))
    shape = (PATCH, PATCH, 3)
    return {
        "basis": rows.view(-1, *shape).permute(0, 3, 1, 2).float().contiguous(),
        "mean": torch.from_numpy(pca.mean).view(shape).permute(2, 0, 1).float().contiguous(),
    }


def write_model(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A folder in diffusers' layout for :class:`latentlab.loaders.linear.PatchTransform`."""
    config = {
        "_class_name": "PatchTransform",
        "latent_channels": len(tensors["basis"]),
        "patch_size": PATCH,
    }
    write_json(folder / "config.json", config)
    write_bytes(folder / "diffusion_pytorch_model.safetensors", save(tensors))
