"""Models, pipelines and tensors in memory; modules of one's own, read off a dry run."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from tiny_models import DEVIATIONS, MEANS, TINY, ldm_tensors, tiny_kl
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

import latentlab
from latentlab.errors import ShapeError, UsageError
from latentlab.loaders import LatentVAE, load_vae, wrap_vae
from latentlab.testing import check_vae

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def encode(vae: LatentVAE) -> Tensor:
    with torch.no_grad():
        return vae.encode(IMAGES).mean


# in memory


@pytest.mark.parametrize("family", ["AutoencoderKL", "AutoencoderTiny", "AutoencoderKLQwenImage"])
def test_a_model_in_memory_equals_its_folder_and_shares_its_weights(
    tmp_path: Any, family: str
) -> None:
    module: Any = TINY[family]().train()
    module.save_pretrained(tmp_path)
    vae: Any = load_vae(module)
    folder = load_vae(tmp_path, device="cpu")
    torch.testing.assert_close(encode(vae), encode(folder))
    assert (vae.spec.channels, vae.spec.stride) == (folder.spec.channels, folder.spec.stride)
    assert vae.origin.normalization.split(" (")[0] == folder.origin.normalization.split(" (")[0]
    own = {name: one.data_ptr() for name, one in module.named_parameters()}
    assert {name: one.data_ptr() for name, one in vae.module.named_parameters()} == own
    # The model itself can go on training.
    assert module.training
    assert all(one.requires_grad for one in module.parameters())
    assert not any(one.requires_grad for one in vae.module.parameters())
    assert type(module) is getattr(diffusers, family)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_is_kept_unless_another_is_given(dtype: torch.dtype) -> None:
    module: Any = tiny_kl().to(dtype)
    assert load_vae(module).dtype == dtype
    assert load_vae(module, dtype="float32").dtype == torch.float32
    assert module.dtype == dtype


class StableDiffusionXLPipeline:
    def __init__(self, vae: nn.Module) -> None:
        self.vae = vae


class GlmImagePipeline(StableDiffusionXLPipeline):
    pass


def test_the_pipeline_decides_how_its_vae_is_scaled() -> None:
    module = tiny_kl(latents_mean=MEANS, latents_std=DEVIATIONS, scaling_factor=0.5)
    with torch.no_grad():
        raw = module.encode(IMAGES).latent_dist.mode()  # type: ignore[operator]
    mean, deviation = (torch.tensor(one).view(1, 4, 1, 1) for one in (MEANS, DEVIATIONS))
    for pipeline, scale in ((StableDiffusionXLPipeline, 0.5), (GlmImagePipeline, 1.0)):
        vae = load_vae(pipeline(module))
        torch.testing.assert_close(encode(vae), (raw - mean) * scale / deviation)
        assert pipeline.__name__ in vae.origin.normalization
    assert module.config.scaling_factor == 0.5  # type: ignore[union-attr]
    with pytest.warns(UserWarning, match="does not say whether it is sdxl or glm-image"):
        load_vae(module)


def test_compiled_and_wrapped_models_are_found() -> None:
    module = tiny_kl()
    expected = encode(load_vae(module))
    for wrapped in (SimpleNamespace(_orig_mod=module), SimpleNamespace(first_stage_model=module)):
        assert torch.equal(encode(load_vae(wrapped)), expected)


def test_what_is_stated_comes_first() -> None:
    module = tiny_kl(scaling_factor=0.5)
    vae = load_vae(module, normalization="none")
    torch.testing.assert_close(encode(vae), encode(load_vae(module)) / 0.5)
    assert vae.origin.normalization.startswith("none")
    default = diffusers.AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, down_block_types=("DownEncoderBlock2D",)
    )
    assert "0.18215 (diffusers' default" in load_vae(default).origin.normalization


@pytest.mark.parametrize("source", [nn.Linear(2, 2), object(), 3])
def test_other_objects_are_refused(source: Any) -> None:
    with pytest.raises(UsageError, match=r"latentlab\.wrap_vae\(module\)"):
        load_vae(source)


def test_weights_that_are_elsewhere_are_refused() -> None:
    with torch.device("meta"), pytest.raises(UsageError, match="without its weights in memory"):
        load_vae(tiny_kl())


def test_a_state_dict_with_any_kind_of_config(tmp_path: Any) -> None:
    module: Any = tiny_kl(scaling_factor=0.3)
    module.save_pretrained(tmp_path)
    expected = encode(load_vae(tmp_path, device="cpu"))
    tensors = module.state_dict()
    trained = {"state_dict": {f"module.vae.{name}": one for name, one in tensors.items()}}
    for source in (tensors, trained):
        for config in (dict(module.config), tmp_path, tmp_path / "config.json"):
            vae = load_vae(source, config=config, device="cpu")
            assert torch.equal(encode(vae), expected)
            assert vae.origin.normalization == "(z - 0) * 0.3"
    assert vae.origin.source == "AutoencoderKL from a state_dict"


def test_a_state_dict_whose_shapes_tell_the_rest() -> None:
    tensors = ldm_tensors()
    for config in (None, "AutoencoderKL"):
        vae = load_vae(tensors, config=config, normalization="none", device="cpu")
        assert vae.spec.stride == 2
    both = {"model": tensors, "ema": {name: 2 * one for name, one in tensors.items()}}
    averaged = load_vae(both, weights="ema", normalization="none", device="cpu")
    assert any("ema" in note for note in averaged.origin.notes)


def test_options_that_do_not_fit_the_source(tmp_path: Any) -> None:
    module = tiny_kl()
    with pytest.raises(UsageError, match="config or weights for AutoencoderKL"):
        load_vae(module, config="AutoencoderKL")
    with pytest.raises(UsageError, match="config for mini"):
        load_vae("mini", config="AutoencoderKL")
    with pytest.raises(UsageError, match="config=none-such"):
        load_vae(module.state_dict(), config="none-such")
    with pytest.raises(UsageError, match="a mapping without tensors"):
        load_vae({"a": 1})


# images of other channels


@pytest.mark.parametrize(("channels", "words"), [(1, "sees gray"), (4, "sees RGBA")])
def test_gray_and_transparent_models(channels: int, words: str) -> None:
    module: Any = tiny_kl(in_channels=channels, out_channels=channels, scaling_factor=1.0)
    with pytest.warns(UserWarning, match=words):
        vae = load_vae(module)
    luma = (IMAGES * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    opaque = torch.cat([IMAGES, torch.ones(2, 1, 32, 32)], 1)
    own = luma if channels == 1 else opaque
    with torch.no_grad():
        expected = module.encode(own).latent_dist.mode()
        decoded = module.decode(expected).sample
    torch.testing.assert_close(encode(vae), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vae.encode(own).mean, expected, rtol=1e-4, atol=1e-5)
    if channels == 4:
        alpha = (decoded[:, 3:] / 2 + 0.5).clamp(0, 1)
        decoded = decoded[:, :3] * alpha + 1 - alpha
    torch.testing.assert_close(
        vae.decode(expected), decoded.expand(-1, 3, -1, -1), rtol=1e-4, atol=1e-5
    )
    assert not check_vae(vae).problems
    assert any(words in note for note in vae.origin.notes)
    assert latentlab.encode(vae, "sample:flower", size=32).values.shape == (4, 16, 16)


# modules of one's own


class Folding(nn.Module):
    """2×2 pixels become channels, and what is returned depends on ``kind``."""

    def __init__(self, kind: str = "tensor", channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1)
        nn.init.dirac_(self.first.weight)
        nn.init.zeros_(self.first.bias)
        self.kind = kind

    def encode(self, images: Tensor) -> Any:
        mean = pixel_unshuffle(self.first(images), 2)
        moments = torch.cat([mean, 0 * mean - 2], 1)
        return {
            "tensor": lambda: mean,
            "latent_dist": lambda: SimpleNamespace(
                latent_dist=DiagonalGaussianDistribution(moments)
            ),
            "latents": lambda: SimpleNamespace(latents=mean),
            "sample": lambda: SimpleNamespace(sample=mean),
            "pair": lambda: (mean, 0 * mean - 2),
            "vq": lambda: (mean, torch.tensor(0.3), (None, None)),
            "mapping": lambda: {"mu": mean, "log_var": 0 * mean - 2},
            "normal": lambda: torch.distributions.Normal(mean, 0.5),
            "moments": lambda: moments,
        }[self.kind]()

    def decode(self, latents: Tensor) -> Any:
        images = pixel_shuffle(latents, 2)
        if images.shape[1] != self.first.in_channels:
            raise RuntimeError("channels")
        return {"latent_dist": SimpleNamespace(sample=images), "pair": (images, None)}.get(
            self.kind, images
        )


WITH_LOGVAR = {"latent_dist", "pair", "mapping", "normal", "moments"}
KINDS = ("tensor", "latents", "sample", "vq", *sorted(WITH_LOGVAR))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_module_returns_is_read_off_a_dry_run(kind: str) -> None:
    module = Folding(kind)
    vae = wrap_vae(module)
    assert (vae.spec.name, vae.spec.channels, vae.spec.stride) == ("Folding", 12, 2)
    found = vae.encode(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(found.mean, pixel_unshuffle(module.first(IMAGES), 2))
    assert vae.spec.has_logvar == (kind in WITH_LOGVAR) == (found.logvar is not None)
    if found.logvar is not None and kind != "normal":
        assert found.logvar.eq(-2).all()
    assert vae.decode(found.mean).shape == IMAGES.shape
    assert not check_vae(vae).problems
    guessed = "encode returns two tensors of one shape, read as mean and log-variance"
    assert (guessed in vae.origin.notes) == (kind == "pair")


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_images_of_any_channels(channels: int) -> None:
    vae = wrap_vae(Folding(channels=channels))
    assert (vae.image_channels, vae.spec.channels) == (channels, 4 * channels)
    own = torch.rand(2, channels, 8, 8)
    assert vae.encode(own).mean.shape == (2, 4 * channels, 4, 4)
    returned = vae.decode(torch.zeros(1, 4 * channels, 4, 4))
    assert returned.shape[1] == (6 if channels == 6 else 3)
    assert not check_vae(vae).problems
    if channels == 6:
        with pytest.raises(ShapeError, match=r"\(B, 6, height, width\)"):
            vae.encode(IMAGES)


def test_vectors_have_a_fixed_image_size() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inward, self.outward = nn.Linear(784, 5), nn.Linear(5, 784)

        def encode(self, images: Tensor) -> Tensor:
            mean: Tensor = self.inward(images.flatten(1))
            return mean

        def decode(self, latents: Tensor) -> Tensor:
            return self.outward(latents).view(-1, 1, 28, 28).tanh()

    vae = wrap_vae(Flat())
    assert (vae.spec.channels, vae.spec.stride, vae.only_side) == (5, 28, 28)
    assert not check_vae(vae).problems
    with pytest.raises(ShapeError, match="28×28, the only size"):
        vae.encode(torch.zeros(1, 3, 56, 56))


def test_scale_and_shift_are_undone_by_decode() -> None:
    vae = wrap_vae(Folding("latent_dist"), shift=0.5, scale=0.25, name="mine")
    plain = wrap_vae(Folding("latent_dist"))
    assert vae.spec.name == "mine"
    assert vae.origin.normalization == "(z - 0.5) * 0.25"
    latents = torch.randn(1, 12, 4, 4)
    torch.testing.assert_close(vae.decode(latents), plain.decode(latents / 0.25 + 0.5))
    logvar = vae.encode(IMAGES).logvar
    assert logvar is not None
    assert float(logvar[0, 0, 0, 0]) == pytest.approx(-2 + 2 * math.log(0.25))


def test_a_module_keeps_training_beside_its_wrapper() -> None:
    module = Folding().train()
    vae = wrap_vae(module)
    before = encode(vae)
    assert module.training
    with torch.no_grad():
        module.first.weight.mul_(2)
    assert not torch.equal(encode(vae), before)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Linear(2, 2), "Linear without encode"),
        (None, "no module and no pair of functions"),
        (SimpleNamespace(encode=lambda x: x[:, :, ::2], decode=lambda z: z), "encode returns"),
        (SimpleNamespace(encode=lambda x: x, decode=lambda z: z[..., :1]), "decode returns"),
        (SimpleNamespace(encode=lambda x: "latent", decode=lambda z: z), "str from encode"),
    ],
)
def test_what_a_dry_run_cannot_read_is_said(module: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        wrap_vae(module)


def test_functions_without_a_spec() -> None:
    vae = wrap_vae(encode=lambda x: pixel_unshuffle(x, 4), decode=lambda z: pixel_shuffle(z, 4))
    assert (vae.spec.channels, vae.spec.stride) == (48, 4)


def test_nothing_is_said_of_a_sound_module() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap_vae(Folding("latent_dist"))
        load_vae(tiny_kl(scaling_factor=0.5))
