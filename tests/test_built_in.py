"""The models shipped with latentlab: complete, checked, and linear in closed form."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from latentlab import encode, load_vae
from latentlab.encoding.encoder import decode
from latentlab.errors import WeightsError
from latentlab.images.arrays import to_uint8
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.built_in import BUILT_IN
from latentlab.metrics.fidelity import psnr
from latentlab.models.shipped import MODELS_FOLDER, SUMS, shipped_folder


@pytest.fixture(params=["linear", "linear32"])
def linear(request: pytest.FixtureRequest) -> LatentVAE:
    return load_vae(request.param)


def test_every_built_in_model_has_its_files_in_the_sums() -> None:
    listed = {line.split()[1] for line in (MODELS_FOLDER / SUMS).read_text().splitlines()}
    present = {
        path.relative_to(MODELS_FOLDER).as_posix()
        for path in MODELS_FOLDER.glob("*/*")
        if path.is_file()
    }
    assert listed == present
    assert {Path(file).parent.name for file in listed} - {"digits"} == set(BUILT_IN)


def test_the_basis_is_orthonormal(linear: LatentVAE) -> None:
    rows = load_file(shipped_folder(linear.spec.name) / "diffusion_pytorch_model.safetensors")
    basis = rows["basis"].flatten(1).double()
    identity = torch.eye(linear.spec.channels, dtype=torch.float64)
    torch.testing.assert_close(basis @ basis.T, identity, atol=1e-6, rtol=0)
    assert linear.spec.stride == 8
    assert not linear.spec.has_logvar


def test_encoding_equals_numpys_projection_of_the_patches(linear: LatentVAE) -> None:
    rows = load_file(shipped_folder(linear.spec.name) / "diffusion_pytorch_model.safetensors")
    images = torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    patches = images.numpy().reshape(2, 3, 3, 8, 2, 8).transpose(0, 2, 4, 1, 3, 5)
    centered = patches - rows["mean"].numpy()
    expected = np.einsum("nijabc,kabc->nkij", centered, rows["basis"].numpy())
    np.testing.assert_allclose(linear.encode(images).mean.numpy(), expected, atol=1e-5)


def test_the_decoder_is_the_encoders_transpose(linear: LatentVAE) -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(1, linear.spec.channels, 2, 3, generator=generator)
    x = torch.randn(1, 3, 16, 24, generator=generator)
    zero_image, zero_latent = torch.zeros_like(x), torch.zeros_like(z)
    encoded = linear.encode(x).mean - linear.encode(zero_image).mean
    decoded = linear.decode(z) - linear.decode(zero_latent)
    torch.testing.assert_close((encoded * z).sum(), (decoded * x).sum(), rtol=1e-4, atol=1e-4)


def test_a_decoded_latent_encodes_to_itself(linear: LatentVAE) -> None:
    z = torch.randn(1, linear.spec.channels, 4, 4, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(linear.encode(linear.decode(z)).mean, z, atol=1e-5, rtol=0)


def test_more_components_reconstruct_better() -> None:
    quality = {}
    for name in ("linear", "linear32"):
        vae = load_vae(name)
        latent = encode(vae, "sample:china", size=256)
        quality[name] = psnr(latent.image.pixels, decode(vae, latent))
    assert 22 < quality["linear"] < quality["linear32"] - 2


def test_a_damaged_file_of_the_package_is_one_clear_error(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(MODELS_FOLDER, models)
    weights = models / "linear" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsError, match=r"SHA-256 .* instead of .*latentlab again"):
        shipped_folder("linear", models)
    assert shipped_folder("linear32", models).is_dir()
    weights.unlink()
    with pytest.raises(WeightsError, match="is missing"):
        shipped_folder("linear", models)
    (models / SUMS).unlink()
    with pytest.raises(WeightsError, match="SHA256SUMS, which is missing"):
        shipped_folder("linear32", models)


@pytest.fixture(scope="module")
def mini() -> LatentVAE:
    return load_vae("mini")


def photos() -> dict[str, np.ndarray]:
    from skimage import data
    from sklearn.datasets import load_sample_image

    samples = {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    return samples | {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee")}


def test_mini_loads_with_plain_diffusers_and_agrees(mini: LatentVAE) -> None:
    from diffusers import AutoencoderKL

    plain = AutoencoderKL.from_pretrained(shipped_folder("mini")).float().eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        raw = plain.encode(images).latent_dist.mean
        expected = (raw - plain.config.shift_factor) * plain.config.scaling_factor
        torch.testing.assert_close(mini.encode(images).mean, expected, atol=1e-4, rtol=1e-4)
        decoded = plain.decode(raw).sample
        torch.testing.assert_close(mini.decode(expected), decoded, atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def decoded(mini: LatentVAE) -> dict[str, tuple[Tensor, Tensor]]:
    """Return name → photo (3, 256, 256) and the same after encoding and decoding with mini."""
    latents = {name: encode(mini, pixels, size=256) for name, pixels in photos().items()}
    return {
        name: (latent.image.pixels, decode(mini, latent))
        for name, latent in latents.items()
        if latent.image
    }


@pytest.mark.slow
def test_mini_beats_the_linear_control_on_every_photo_and_28_db_on_average(
    decoded: dict[str, tuple[Tensor, Tensor]],
) -> None:
    control = load_vae("linear")
    quality = {name: psnr(*pair) for name, pair in decoded.items()}
    for name, (image, _) in decoded.items():
        assert quality[name] > psnr(image, control.decode(control.encode(image[None]).mean)[0])
    assert len(quality) == 5
    assert np.mean([*quality.values()]) >= 28.0


@pytest.mark.slow
def test_mini_keeps_the_structure_of_photos(decoded: dict[str, tuple[Tensor, Tensor]]) -> None:
    from skimage.metrics import structural_similarity

    similar = []
    for image, again in decoded.values():
        pair = [to_uint8(pixels).numpy() for pixels in (image, again)]
        similar.append(structural_similarity(*pair, channel_axis=2, gaussian_weights=True))
    assert np.mean(similar) >= 0.85


def test_minis_model_space_is_standardized_with_a_narrow_posterior(mini: LatentVAE) -> None:
    latents = [encode(mini, pixels, size=256) for pixels in photos().values()]
    values = torch.stack([latent.values for latent in latents])
    assert abs(float(values.mean())) < 0.1
    assert float(values.std()) == pytest.approx(1, abs=0.15)
    assert (values.std((0, 2, 3)) > 0.05).all(), "a collapsed channel"
    logvar = torch.stack([latent.logvar for latent in latents])
    assert -25 < float(logvar.mean()) < -8


def test_built_in_models_are_small() -> None:
    size = sum(path.stat().st_size for path in shipped_folder("mini").iterdir())
    assert size <= 8e6
