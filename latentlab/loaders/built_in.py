"""The VAEs that come with latentlab, each in diffusers' layout."""

from __future__ import annotations

from pathlib import Path

from latentlab.shipped import MODELS_FOLDER, SUMS, shipped_folder

__all__ = ["BUILT_IN", "MODELS_FOLDER", "SUMS", "built_in_folder"]

BUILT_IN = {
    "mini": "a small KL autoencoder, 16 channels, trained on 1,000 photos",
    "linear": "principal components of 8×8 patches, 16 channels: the control",
    "linear32": "principal components of 8×8 patches, 32 channels: the control",
}
"""Name → what it is."""


def built_in_folder(name: str, models: Path = MODELS_FOLDER) -> Path:
    """Return the folder of a built-in model after checking every file in it.

    Raises
    ------
    WeightsError : a file is missing or is not the one that was shipped.

    Examples
    --------
    >>> sorted(path.name for path in built_in_folder("linear").iterdir())
    ['config.json', 'diffusion_pytorch_model.safetensors']
    """
    return shipped_folder(name, models)
