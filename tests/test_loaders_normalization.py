"""Model space agrees with diffusers' own pipelines for the same VAE.

Each pipeline's method runs unbound on a stub that has nothing but the VAE, which here returns
the latents that the test chooses: the mean, or a sample of the posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from tiny_models import DEVIATIONS, MEANS, save_tiny
from torch import Tensor

from latentlab.loaders import LatentVAE, load_vae
from latentlab.loaders.normalization import NORMALIZATIONS, Affine

CPU = torch.device("cpu")
Normalize = Callable[[Any, Tensor], Tensor]


def stub(vae: Any, raw: Tensor, **more: Any) -> Any:
    """Return a pipeline without models whose VAE encodes everything to ``raw``."""
    fixed = SimpleNamespace(
        config=vae.config,
        dtype=torch.float32,
        bn=getattr(vae, "bn", None),
        encode=lambda _: SimpleNamespace(latents=raw, latent=raw),
        to=lambda *_, **__: None,
    )
    keep = SimpleNamespace(
        add_noise=lambda latents, *_: latents,
        scale_noise=lambda latents, *_: latents,
        config=SimpleNamespace(sigma_data=1.0),
    )
    return SimpleNamespace(vae=fixed, scheduler=keep, **more)


def pixels(raw: Tensor) -> Tensor:
    return torch.zeros(len(raw), 3, 16, 16)


def with_sd15(vae: Any, raw: Tensor) -> Tensor:
    prepare = diffusers.StableDiffusionImg2ImgPipeline.prepare_latents
    return prepare(stub(vae, raw), pixels(raw), None, len(raw), 1, torch.float32, CPU)


def with_sdxl(vae: Any, raw: Tensor) -> Tensor:
    prepare = diffusers.StableDiffusionXLImg2ImgPipeline.prepare_latents
    return prepare(
        stub(vae, raw), pixels(raw), None, len(raw), 1, torch.float32, CPU, add_noise=False
    )


def with_sd3(vae: Any, raw: Tensor) -> Tensor:
    prepare = diffusers.StableDiffusion3Img2ImgPipeline.prepare_latents
    return prepare(stub(vae, raw), pixels(raw), None, len(raw), 1, torch.float32, CPU)


def with_flux1(vae: Any, raw: Tensor) -> Tensor:
    return diffusers.FluxImg2ImgPipeline._encode_vae_image(stub(vae, raw), pixels(raw), None)


def with_flux2(vae: Any, raw: Tensor) -> Tensor:
    pipeline = diffusers.Flux2Pipeline
    empty = stub(vae, raw, _patchify_latents=pipeline._patchify_latents)
    patches = pipeline._encode_vae_image(empty, pixels(raw), None)
    return pipeline._unpatchify_latents(patches)


def with_sana(vae: Any, raw: Tensor) -> Tensor:
    prepare = diffusers.SanaSprintImg2ImgPipeline.prepare_latents
    return prepare(
        stub(vae, raw, vae_scale_factor=2), pixels(raw), torch.zeros(()), len(raw), 4, 16, 16,
        torch.float32, CPU, torch.Generator(),
    )  # fmt: skip


def with_qwen(vae: Any, raw: Tensor) -> Tensor:
    encode = diffusers.QwenImageImg2ImgPipeline._encode_vae_image
    return encode(stub(vae, raw[:, :, None]), pixels(raw)[:, :, None], None)[:, :, 0]


def with_wan(vae: Any, raw: Tensor) -> Tensor:
    prepare = diffusers.WanVideoToVideoPipeline.prepare_latents
    encoded = iter(raw[:, None, :, None])
    empty = stub(vae, raw, vae_scale_factor_temporal=4, vae_scale_factor_spatial=8)
    empty.vae.encode = lambda _: SimpleNamespace(latents=next(encoded))
    video = pixels(raw)[:, :, None]
    latents = prepare(empty, video, len(raw), 4, 16, 16, torch.float32, CPU)
    return latents[:, :, 0]


SDXL_MEANS = {"latents_mean": MEANS, "latents_std": DEVIATIONS, "scaling_factor": 0.5}
CASES: dict[str, tuple[str, dict[str, Any], Normalize]] = {
    "sd15": ("AutoencoderKL", {}, with_sd15),
    "sdxl": ("AutoencoderKL", {"scaling_factor": 0.13025, "force_upcast": False}, with_sdxl),
    "sdxl with means": ("AutoencoderKL", SDXL_MEANS, with_sdxl),
    "sd3": ("AutoencoderKL", {"scaling_factor": 1.5305, "shift_factor": 0.0609}, with_sd3),
    "flux1": ("AutoencoderKL", {"scaling_factor": 0.3611, "shift_factor": 0.1159}, with_flux1),
    "flux2": ("AutoencoderKLFlux2", {}, with_flux2),
    "taesd": ("AutoencoderTiny", {}, with_sd15),
    "taef1": ("AutoencoderTiny", {"scaling_factor": 0.7, "shift_factor": 0.2}, with_flux1),
    "sana": ("AutoencoderDC", {}, with_sana),
    "qwen-image": ("AutoencoderKLQwenImage", {}, with_qwen),
    "wan": ("AutoencoderKLWan", {}, with_wan),
}


@pytest.fixture(scope="module", params=CASES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LatentVAE, Any, Normalize]:
    family, options, normalize = CASES[request.param]
    folder = tmp_path_factory.mktemp("normalization")
    theirs = save_tiny(family, folder, **options)
    stated = "sdxl" if options is SDXL_MEANS else None
    return load_vae(folder, device="cpu", normalization=stated), theirs, normalize


def images() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def encode_raw(theirs: Any, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return mean and standard deviation of diffusers' own ``encode``, 4-D."""
    if type(theirs).__name__ in {"AutoencoderKLQwenImage", "AutoencoderKLWan"}:
        posterior = theirs.encode(images[:, :, None]).latent_dist
        return posterior.mode()[:, :, 0], posterior.std[:, :, 0]
    encoded = theirs.encode(images)
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode(), encoded.latent_dist.std
    return (encoded.latents if hasattr(encoded, "latents") else encoded.latent), None


def decode_raw(theirs: Any, raw: Tensor) -> Tensor:
    if type(theirs).__name__ in {"AutoencoderKLQwenImage", "AutoencoderKLWan"}:
        return theirs.decode(raw[:, :, None]).sample[:, :, 0]
    return theirs.decode(raw).sample


@torch.no_grad()
def test_mean_agrees_with_the_pipeline(case: tuple[LatentVAE, Any, Normalize]) -> None:
    vae, theirs, normalize = case
    mean, _ = encode_raw(theirs, images())
    torch.testing.assert_close(
        vae.encode(images()).mean, normalize(theirs, mean), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_logvar_agrees_with_the_pipelines_samples(case: tuple[LatentVAE, Any, Normalize]) -> None:
    vae, theirs, normalize = case
    mean, deviation = encode_raw(theirs, images())
    posterior = vae.encode(images())
    if deviation is None:
        assert posterior.logvar is None
        return
    assert posterior.logvar is not None
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        posterior.mean + (posterior.logvar / 2).exp() * noise,
        normalize(theirs, mean + deviation * noise),
        rtol=1e-4,
        atol=1e-5,
    )


@torch.no_grad()
def test_decode_undoes_the_pipelines_normalization(
    case: tuple[LatentVAE, Any, Normalize],
) -> None:
    vae, theirs, normalize = case
    raw = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)) * 0.3
    ours = vae.decode(normalize(theirs, raw))
    expected = decode_raw(theirs, raw)
    if expected.abs().max() == 1:  # diffusers clamps the frames of video models
        ours = ours.clamp(-1, 1)
    assert expected.std() > 0.01
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_wan22_with_pixel_patches_agrees_with_diffusers(tmp_path: Path) -> None:
    options = {"patch_size": 2, "in_channels": 12, "out_channels": 12, "is_residual": True}
    options |= {"dim_mult": [1, 1]}
    theirs: Any = save_tiny("AutoencoderKLWan", tmp_path, **options)
    vae = load_vae(tmp_path, device="cpu")
    assert vae.spec.stride == 4
    images = torch.rand(2, 3, 16, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mean, _ = encode_raw(theirs, images)
        posterior = vae.encode(images)
        torch.testing.assert_close(posterior.mean, with_wan(theirs, mean), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            vae.decode(posterior.mean).clamp(-1, 1), decode_raw(theirs, mean), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("affine", "formula"),
    [
        (NORMALIZATIONS["sd15"], "(z - 0) * 0.18215"),
        (NORMALIZATIONS["sd3"], "(z - 0.0609) * 1.5305"),
        (Affine((1.0, 2.0), (0.5, 0.25)), "(z - [1, 2]) * [0.5, 0.25]"),
        (Affine(), "none: the model's own latents are model space"),
    ],
)
def test_normalization_describes_itself(affine: Affine, formula: str) -> None:
    assert affine.describe() == formula


def test_negative_scale_keeps_the_variance_positive() -> None:
    logvar = Affine(scale=(-2.0,)).logvar_to_model(torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(logvar.exp(), torch.full((1, 1, 1, 1), 4.0))
