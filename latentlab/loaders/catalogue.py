"""Named models: the hub repository of each VAE, its license and its size.

The list is ``catalogue.toml`` in this folder; nothing is downloaded to read it. Repositories may
change licenses, access and sizes. A ``note`` names facts that are less certain.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from latentlab.errors import ModelNotFoundError


@dataclass(frozen=True)
class CatalogueEntry:
    """One named VAE.

    Parameters
    ----------
    name : str, what the user types
    repo : str, hub repository ``owner/name``
    family : str, class in diffusers, or ``"TAESD"`` for TAESD's own layout
    channels : int, channels of a latent in model space, unpacked
    license : str, as stated by the repository or its authors
    size_mb : float, size of the download in megabytes (10⁶ bytes)
    stride : int, pixels along one side of a latent cell
    subfolder : str, optional, folder of the VAE inside the repository
    files : sequence of str, files to download from the subfolder
    gated : bool, whether the hub requires an account that has accepted the license
    note : str, anything worth knowing before the download
    """

    name: str
    repo: str
    family: str
    channels: int
    license: str
    size_mb: float
    stride: int = 8
    subfolder: str | None = None
    files: Sequence[str] = ("config.json", "diffusion_pytorch_model.safetensors")
    gated: bool = False
    note: str = ""


def _read_catalogue() -> dict[str, CatalogueEntry]:
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    return {name: CatalogueEntry(name, **fields) for name, fields in tomllib.loads(text).items()}


CATALOGUE = _read_catalogue()
"""Name → entry, in the order of catalogue.toml."""


def find_entry(name: str) -> CatalogueEntry:
    """Return the catalogue entry with this name; case is ignored.

    Raises
    ------
    ModelNotFoundError : no such name; the message suggests the closest ones.

    Examples
    --------
    >>> find_entry("flux1").repo
    'Tongyi-MAI/Z-Image-Turbo'
    """
    entry = CATALOGUE.get(name.lower())
    if entry is None:
        near = get_close_matches(name.lower(), CATALOGUE, n=3) or list(CATALOGUE)
        raise ModelNotFoundError(
            f"the model name {name!r}",
            f"a name of the catalogue, such as {', '.join(near)}",
            "list all names with latentlab models",
        )
    return entry
