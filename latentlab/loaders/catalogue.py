"""Named models: where their VAE lives on the hub, under which license, and how large it is.

Nothing here is downloaded or imported: the list is read by ``latentlab models`` and by
:func:`latentlab.load_vae`. Licenses, gating and sizes belong to the repositories and may
change there; a ``note`` says what is known less well.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    stride : int, pixels along one side of a latent position
    license : str, as the repository or its authors state it
    size_mb : float, download in megabytes (10⁶ bytes)
    subfolder : str, optional, folder of the VAE inside the repository
    files : tuple of str, what to fetch inside the subfolder
    gated : bool, whether the hub asks for an account that accepted the license
    note : str, anything worth knowing before the download
    """

    name: str
    repo: str
    family: str
    channels: int
    stride: int
    license: str
    size_mb: float
    subfolder: str | None = None
    files: tuple[str, ...] = DIFFUSERS_FILES
    gated: bool = False
    note: str = ""


_ENTRIES = (
    CatalogueEntry(
        "flux1",
        "Tongyi-MAI/Z-Image-Turbo",
        "AutoencoderKL",
        channels=16,
        stride=8,
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
        stride=8,
        license="apache-2.0",
        size_mb=168,
        subfolder="vae",
        note="the 4B klein models are Apache-2.0; klein-9B and FLUX.2-dev are non-commercial. "
        "Size as in a copy of the repository",
    ),
    CatalogueEntry(
        "taef1",
        "madebyollin/taef1",
        "AutoencoderTiny",
        channels=16,
        stride=8,
        license="mit",
        size_mb=9.9,
        note="tiny stand-in for flux1: same latents, quick",
    ),
    CatalogueEntry(
        "taef2",
        "madebyollin/taef2",
        "TAESD",
        channels=32,
        stride=8,
        license="mit",
        size_mb=5.4,
        files=("taef2.safetensors",),
        note="tiny stand-in for flux2: same latents, quick. License as for the TAESD project; "
        "size estimated from its half-precision .pth files",
    ),
    CatalogueEntry(
        "sd15",
        "stabilityai/sd-vae-ft-mse",
        "AutoencoderKL",
        channels=4,
        stride=8,
        license="mit",
        size_mb=335,
        note="Stable Diffusion 1.x, decoder fine-tuned with MSE: latents as in the original",
    ),
    CatalogueEntry(
        "taesd",
        "madebyollin/taesd",
        "AutoencoderTiny",
        channels=4,
        stride=8,
        license="mit",
        size_mb=9.8,
        note="tiny stand-in for sd15: same latents, quick",
    ),
    CatalogueEntry(
        "sdxl",
        "madebyollin/sdxl-vae-fp16-fix",
        "AutoencoderKL",
        channels=4,
        stride=8,
        license="mit",
        size_mb=335,
        note="SDXL's VAE fine-tuned to stay finite in half precision; its decoded pictures differ "
        "slightly from stabilityai/sdxl-vae",
    ),
    CatalogueEntry(
        "taesdxl",
        "madebyollin/taesdxl",
        "AutoencoderTiny",
        channels=4,
        stride=8,
        license="mit",
        size_mb=9.8,
        note="tiny stand-in for sdxl: same latents, quick",
    ),
    CatalogueEntry(
        "sd3",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "AutoencoderKL",
        channels=16,
        stride=8,
        license="stabilityai-ai-community",
        size_mb=168,
        subfolder="vae",
        gated=True,
        note="accept the license on the model's page first; taesd3 has the same latents, ungated",
    ),
    CatalogueEntry(
        "taesd3",
        "madebyollin/taesd3",
        "AutoencoderTiny",
        channels=16,
        stride=8,
        license="mit",
        size_mb=9.8,
        note="tiny stand-in for sd3: same latents, quick",
    ),
    CatalogueEntry(
        "qwen-image",
        "Qwen/Qwen-Image",
        "AutoencoderKLQwenImage",
        channels=16,
        stride=8,
        license="apache-2.0",
        size_mb=254,
        subfolder="vae",
        note="a video VAE used on single frames; latents normalized with Wan 2.1's mean and std",
    ),
    CatalogueEntry(
        "wan",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        "AutoencoderKLWan",
        channels=16,
        stride=8,
        license="apache-2.0",
        size_mb=508,
        subfolder="vae",
        note="Wan 2.1's video VAE, used on single frames. Size as in a copy of the weights",
    ),
    CatalogueEntry(
        "sana",
        "mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers",
        "AutoencoderDC",
        channels=32,
        stride=32,
        license="apache-2.0",
        size_mb=1250,
        note="deep-compression autoencoder, no posterior. License as its authors state it for "
        "DC-AE; size as for version 1.0",
    ),
)

CATALOGUE: dict[str, CatalogueEntry] = {entry.name: entry for entry in _ENTRIES}


def find_entry(name: str) -> CatalogueEntry:
    """Return the catalogue entry of this name, whatever its case.

    Raises
    ------
    ModelNotFoundError : no such name; the message proposes the nearest ones.

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
            f"one of the catalogue, such as {', '.join(near)}",
            "list them with latentlab models",
        )
    return entry
