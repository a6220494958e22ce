"""Named models: the hub repository of each VAE, its license and its size.

Nothing is downloaded or imported here: ``latentlab models`` and :func:`latentlab.load_vae` read
this list. Licenses, access and sizes are up to the repositories and may change there; a ``note``
names facts that are less certain.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from difflib import get_close_matches

from latentlab.errors import ModelNotFoundError

DIFFUSERS_FILES = ("config.json", "diffusion_pytorch_model.safetensors")


@dataclass(frozen=True)
class CatalogueEntry:
    """One named VAE.

    Parameters
    ----------
    name : str, what the user types
    repo : str, hub repository ``owner/name``
    family : str, class in diffusers, or ``"TAESD"`` for TAESD's own layout
    channels : int, channels of a latent in model space, unpacked
    stride : int, pixels along one side of a latent cell
    license : str, as stated by the repository or its authors
    size_mb : float, size of the download in megabytes (10⁶ bytes)
    subfolder : str, optional, folder of the VAE inside the repository
    files : tuple of str, files to download from the subfolder
    gated : bool, whether the hub requires an account that has accepted the license
    note : str, anything worth knowing before the download
    """

    name: str
    repo: str
    family: str
    _: KW_ONLY
    channels: int
    stride: int = 8
    license: str
    size_mb: float
    subfolder: str | None = None
    files: tuple[str, ...] = DIFFUSERS_FILES
    gated: bool = False
    note: str = ""


def _tiny(name: str, full: str, *, channels: int, size_mb: float = 9.8) -> CatalogueEntry:
    """Return the entry of a TAESD in diffusers' layout, the fast substitute for ``full``."""
    return CatalogueEntry(
        name,
        f"madebyollin/{name}",
        "AutoencoderTiny",
        channels=channels,
        license="mit",
        size_mb=size_mb,
        note=f"tiny, fast substitute for {full} with the same latents",
    )


_ENTRIES = (
    CatalogueEntry(
        "flux1",
        "Tongyi-MAI/Z-Image-Turbo",
        "AutoencoderKL",
        channels=16,
        license="apache-2.0",
        size_mb=168,
        subfolder="vae",
        note="FLUX.1's VAE, byte for byte (SHA-256 f5b59a26…), from an ungated repository; also in "
        "black-forest-labs/FLUX.1-schnell:vae and FLUX.1-dev:vae, which are gated",
    ),
    CatalogueEntry(
        "flux2",
        "black-forest-labs/FLUX.2-klein-4B",
        "AutoencoderKLFlux2",
        channels=32,
        license="apache-2.0",
        size_mb=168,
        subfolder="vae",
        note="the 4B klein models are Apache-2.0; klein-9B and FLUX.2-dev are non-commercial. "
        "Size measured on a copy of the repository",
    ),
    _tiny("taef1", "flux1", channels=16, size_mb=9.9),
    replace(
        _tiny("taef2", "flux2", channels=32, size_mb=5.4),
        family="TAESD",
        files=("taef2.safetensors",),
        note="tiny, fast substitute for flux2 with the same latents. License as for the TAESD "
        "project; size estimated from its half-precision .pth files",
    ),
    CatalogueEntry(
        "sd15",
        "stabilityai/sd-vae-ft-mse",
        "AutoencoderKL",
        channels=4,
        license="mit",
        size_mb=335,
        note="Stable Diffusion 1.x with a decoder fine-tuned on MSE; latents as in the original",
    ),
    _tiny("taesd", "sd15", channels=4),
    CatalogueEntry(
        "sdxl",
        "madebyollin/sdxl-vae-fp16-fix",
        "AutoencoderKL",
        channels=4,
        license="mit",
        size_mb=335,
        note="SDXL's VAE fine-tuned to stay finite in half precision; its decoded images differ "
        "slightly from those of stabilityai/sdxl-vae",
    ),
    _tiny("taesdxl", "sdxl", channels=4),
    CatalogueEntry(
        "sd3",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "AutoencoderKL",
        channels=16,
        license="stabilityai-ai-community",
        size_mb=168,
        subfolder="vae",
        gated=True,
        note="accept the license on the model's page first; taesd3 has the same latents and is "
        "not gated",
    ),
    _tiny("taesd3", "sd3", channels=16),
    CatalogueEntry(
        "qwen-image",
        "Qwen/Qwen-Image",
        "AutoencoderKLQwenImage",
        channels=16,
        license="apache-2.0",
        size_mb=254,
        subfolder="vae",
        note="a video VAE, used on single frames; latents are normalized with the mean and "
        "standard deviation of Wan 2.1",
    ),
    CatalogueEntry(
        "wan",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        "AutoencoderKLWan",
        channels=16,
        license="apache-2.0",
        size_mb=508,
        subfolder="vae",
        note="Wan 2.1's video VAE, used on single frames. Size measured on a copy of the weights",
    ),
    CatalogueEntry(
        "sana",
        "mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers",
        "AutoencoderDC",
        channels=32,
        stride=32,
        license="apache-2.0",
        size_mb=1250,
        note="deep-compression autoencoder without a posterior. License as stated by its authors "
        "for DC-AE; size as for version 1.0",
    ),
)

CATALOGUE: dict[str, CatalogueEntry] = {entry.name: entry for entry in _ENTRIES}


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
