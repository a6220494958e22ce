"""Fit the linear control models on a folder of photos and write them into the package.

``python scripts/fit_linear.py --data DIR`` writes ``latentlab/models/linear`` (16 components) and
``linear32``, each a config.json and a small safetensors file, and renews ``SHA256SUMS``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import torch
from mini_data import read_folder
from mini_linear import PATCH, PatchPCA, fit_patch_pca
from safetensors.torch import save_file

from latentlab.errors import LatentlabError
from latentlab.loaders.built_in import MODELS_FOLDER, SUMS

COMPONENTS = {"linear": 16, "linear32": 32}


def basis_of(pca: PatchPCA) -> dict[str, torch.Tensor]:
    """Basis (C, 3, 8, 8), the largest entry of each row positive, and mean patch (3, 8, 8)."""
    rows = torch.from_numpy(pca.components.copy())
    rows *= rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    shape = (PATCH, PATCH, 3)
    return {
        "basis": rows.view(-1, *shape).permute(0, 3, 1, 2).float().contiguous(),
        "mean": torch.from_numpy(pca.mean).view(shape).permute(2, 0, 1).float().contiguous(),
    }


def write_model(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A folder in diffusers' layout for :class:`latentlab.loaders.linear.PatchTransform`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "_class_name": "PatchTransform",
        "latent_channels": len(tensors["basis"]),
        "patch_size": PATCH,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    path = folder / "diffusion_pytorch_model.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)


def renew_sums(models: Path) -> None:
    """Write the SHA-256 of every model's files, as ``sha256sum`` would."""
    files = sorted(path for path in models.glob("*/*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(models).as_posix()}\n"
        for path in files
    ]
    (models / SUMS).write_text("".join(lines), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Fit, write, and turn what went wrong into one line and an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photos")
    parser.add_argument("--out", type=Path, default=MODELS_FOLDER, help="folder of models")
    options = parser.parse_args(arguments)
    try:
        photos = read_folder(options.data)
    except LatentlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for name, count in COMPONENTS.items():
        write_model(options.out / name, basis_of(fit_patch_pca(photos.pixels, count)))
    renew_sums(options.out)
    print(f"{len(photos.names)} photos, {len(photos.skipped)} skipped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
