"""Model space of the families in tiny_families.py is that of their own pipelines in diffusers.

Where a pipeline decodes, its own lines are run up to the call of the VAE's decoder, with the
latents in model space; what the decoder would get are the VAE's own latents.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import diffusers
import pytest
import torch
from tiny_families import DEVIATIONS, MEANS, OPTIONS, UNSCALED
from tiny_models import save_tiny
from torch import Tensor

from latentlab.encoding.encoder import describe_model, encode
from latentlab.errors import MissingExtraError, ShapeError, UsageError
from latentlab.loaders import FAMILIES, LatentVAE, load_vae
from latentlab.loaders.base import ModelOrigin
from latentlab.loaders.checkpoints import read_folder
from latentlab.loaders.image_families import VQVAE
from latentlab.loaders.normalization import Affine

FLAT = {
    *("AsymmetricAutoencoderKL", "AutoencoderKLHunyuanImage", "AutoencoderKLKVAE"),
    *("AutoencoderKLTemporalDecoder", "AutoencoderRAE", "ConsistencyDecoderVAE", "VQModel"),
}
STILL = {"AutoencoderKLAllegro": 2, "AutoencoderVidTok": 2}
Undo = Callable[[Any, Tensor], Tensor]


class DecodedError(Exception):
    """The call of the decoder, with the latents that it gets."""


def stub(theirs: Any) -> Any:
    """Return a pipeline that has only a VAE, whose decoder ends the run."""

    def decode(latents: Tensor, *_: object, **__: object) -> NoReturn:
        raise DecodedError(latents)

    buffers = {name: buffer for name, buffer in theirs.named_buffers() if "." not in name}
    vae = SimpleNamespace(
        config=theirs.config, dtype=torch.float32, decode=decode, forward=theirs.forward, **buffers
    )
    sigma = diffusers.EDMEulerScheduler().config
    return SimpleNamespace(
        vae=vae,
        vqvae=vae,
        movq=vae,
        scheduler=SimpleNamespace(config=sigma),
        vae_scaling_factor=theirs.config.get("scaling_factor"),
        vae_scaling_factor_image=theirs.config.get("scaling_factor"),
    )


def caught(run: Callable[[], object]) -> Tensor:
    with pytest.raises(DecodedError) as call:
        run()
    raw: Tensor = call.value.args[0]
    return raw


def whole_statements(lines: list[str], count: int) -> str:
    """Return the first lines, and as many more as their last statement needs."""
    for end in range(count, count + 5):
        code = textwrap.dedent("\n".join(lines[:end]))
        try:
            ast.parse(code)
        except SyntaxError:
            continue
        return code
    raise AssertionError(f"no end of {lines[count - 1]}")


def inline(pipeline: str, start: str, theirs: Any, latents: Tensor) -> Tensor:
    """Return what the decoder gets from the lines of ``__call__`` between a start and its call."""
    lines = inspect.getsource(getattr(diffusers, pipeline).__call__).splitlines()
    last = max(index for index, line in enumerate(lines) if ".decode(" in line)
    first = max(index for index in range(last + 1) if lines[index].strip().startswith(start))
    code = whole_statements(lines[first:], last - first + 1)
    seen = {"self": stub(theirs), "latents": latents, "torch": torch, "vae_dtype": torch.float32}
    seen |= {"generator": None, "condition_kwargs": {}, "timestep": None}
    seen |= {"get_module_execution_device": lambda _: "cpu"}
    seen["self"]._restore_image_tokens_order = lambda given: given
    around = vars(import_module(getattr(diffusers, pipeline).__module__))
    return caught(lambda: exec(code, {**around, **seen}))


def method(pipeline: str, name: str, theirs: Any, latents: Tensor, **options: Any) -> Tensor:
    """Return what the decoder gets from a method of the pipeline."""
    run = getattr(getattr(diffusers, pipeline), name)
    return caught(lambda: run(stub(theirs), latents, **options))


def frames_first(pipeline: str, theirs: Any, latents: Tensor, **options: Any) -> Tensor:
    turned = latents.transpose(1, 2)
    return method(pipeline, "decode_latents", theirs, turned, **options)


def with_ltx(pipeline: str, theirs: Any, latents: Tensor) -> Tensor:
    undo = getattr(diffusers, pipeline)._denormalize_latents
    raw: Tensor = undo(
        latents, theirs.latents_mean, theirs.latents_std, theirs.config.scaling_factor
    )
    return raw


def with_qwen21(theirs: Any, latents: Tensor) -> Tensor:
    return inline("QwenImage21Pipeline", "latents_mean = (", theirs, latents)


def with_allegro(theirs: Any, latents: Tensor) -> Tensor:
    return method("AllegroPipeline", "decode_latents", theirs, latents)


def with_svd(theirs: Any, latents: Tensor) -> Tensor:
    options = {"num_frames": 1, "decode_chunk_size": 1}
    return torch.cat(
        [
            method(
                "StableVideoDiffusionPipeline", "decode_latents", theirs, one[None, None], **options
            )
            for one in latents
        ]
    )


def unchanged(theirs: Any, latents: Tensor) -> Tensor:
    return latents


SCALED = "latents = latents.to(self.vae.dtype) / self.vae"
UNDO: dict[str, Undo] = {
    "AsymmetricAutoencoderKL": partial(
        inline, "StableDiffusionInpaintPipeline", "image = self.vae.decode"
    ),
    "AutoencoderKLAllegro": with_allegro,
    "AutoencoderKLCogVideoX": partial(frames_first, "CogVideoXPipeline"),
    "AutoencoderKLCosmos": partial(
        inline, "CosmosVideoToWorldPipeline", "if self.vae.config.latents_mean is not None"
    ),
    "AutoencoderKLHunyuanImage": partial(inline, "HunyuanImagePipeline", SCALED),
    "AutoencoderKLHunyuanImageRefiner": partial(inline, "HunyuanImageRefinerPipeline", SCALED),
    "AutoencoderKLHunyuanVideo": partial(inline, "HunyuanVideoImageToVideoPipeline", SCALED),
    "AutoencoderKLHunyuanVideo15": partial(inline, "HunyuanVideo15Pipeline", SCALED),
    "AutoencoderKLKVAE": unchanged,
    "AutoencoderKLKVAEVideo": unchanged,
    "AutoencoderKLLTXVideo": partial(with_ltx, "LTXPipeline"),
    "AutoencoderKLLTX2Video": partial(with_ltx, "LTX2Pipeline"),
    "AutoencoderKLMagvit": partial(inline, "EasyAnimatePipeline", "latents = 1 / self.vae.config"),
    "AutoencoderKLMochi": partial(inline, "MochiPipeline", "has_latents_mean ="),
    "AutoencoderKLQwenImage21": with_qwen21,
    "AutoencoderKLTemporalDecoder": with_svd,
    "AutoencoderRAE": unchanged,
    "AutoencoderVidTok": unchanged,
    "ConsistencyDecoderVAE": partial(inline, "StableDiffusionPipeline", "image = self.vae.decode"),
    "Kandinsky6SRVAE": partial(method, "Kandinsky6SRPipeline", "decode_latents"),
    "VQModel": partial(inline, "LDMPipeline", "latents = latents / self.vqvae"),
}


def seeded(run: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return run()


def encode_raw(theirs: Any, images: Tensor) -> Tensor:
    """Return the mean of diffusers' own ``encode``, (B, C, h, w)."""
    family = type(theirs).__name__
    if family == "AutoencoderRAE":
        return theirs.encode((images + 1) / 2).latent
    if family == "Kandinsky6SRVAE":
        images = (images + 1) * (127.5 / 128) - 1
    if family == "AutoencoderKLQwenImage21":
        images = torch.cat([images, torch.ones_like(images[:, :1])], 1)
    if family in FLAT:
        encoded = theirs.encode(images)
        return encoded.latents if family == "VQModel" else encoded.latent_dist.mode()
    clips = images[:, :, None].repeat(1, 1, STILL.get(family, 1), 1, 1)
    return torch.cat([theirs.encode(clip[None]).latent_dist.mode() for clip in clips])[:, :, 0]


def decode_raw(theirs: Any, raw: Tensor) -> Tensor:
    """Return diffusers' own ``decode`` of the VAE's latents (B, C, h, w)."""
    family = type(theirs).__name__
    if family == "AutoencoderRAE":
        return 2 * theirs.decode(raw).sample - 1
    if family == "AutoencoderKLTemporalDecoder":
        return theirs.decode(raw, num_frames=1).sample
    if family == "ConsistencyDecoderVAE":
        each = [torch.Generator().manual_seed(0) for _ in raw]
        return theirs.decode(raw, generator=each).sample
    if family in FLAT:
        return theirs.decode(raw).sample
    more = (torch.zeros(len(raw)),) if theirs.config.get("timestep_conditioning") else ()
    if family in {"AutoencoderKLAllegro", "AutoencoderKLHunyuanVideo15"}:  # they mix up batches
        theirs.use_slicing = True
    decoded = seeded(lambda: theirs.decode(raw[:, :, None], *more))
    clip = getattr(decoded, "sample", decoded)
    frames: Tensor = (clip.transpose(1, 2) if family == "AutoencoderKLAllegro" else clip)[:, :, 0]
    if frames.shape[1] == 4:  # over white, as latentlab decodes
        opacity = (frames[:, 3:] + 1) / 2
        return frames[:, :3] * opacity + 1 - opacity
    return (frames + 1) * (128 / 127.5) - 1 if family == "Kandinsky6SRVAE" else frames


def images() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module", params=sorted(OPTIONS))
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LatentVAE, Any, Undo]:
    family = request.param
    folder = tmp_path_factory.mktemp("pipelines") / family
    theirs: Any = save_tiny(family, folder)
    if family == "AutoencoderKLAllegro":  # its only way is through tiles: here, one of this size
        theirs.use_tiling, theirs.kernel, theirs.stride = True, (2, 16, 16), (2, 16, 16)
    if family in UNSCALED:
        with pytest.warns(UserWarning, match=f"{family} without a published scale"):
            ours = load_vae(folder, device="cpu")
        assert "without a published scale" in ours.origin.normalization
    else:
        stated = "ldm" if family == "VQModel" else None
        ours = load_vae(folder, device="cpu", normalization=stated)
    return ours, theirs, UNDO[family]


def raw_of(undo: Undo, theirs: Any, latents: Tensor) -> Tensor:
    """Return the pipeline's latents for the decoder, (B, C, h, w)."""
    if type(theirs).__name__ in FLAT:
        return undo(theirs, latents)
    return undo(theirs, latents[:, :, None])[:, :, 0]


@torch.no_grad()
def test_latents_are_what_the_pipeline_decodes(case: tuple[LatentVAE, Any, Undo]) -> None:
    ours, theirs, undo = case
    found = ours.encode(images()).mean
    torch.testing.assert_close(
        raw_of(undo, theirs, found), encode_raw(theirs, images()), rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_decode_is_what_the_pipeline_decodes(case: tuple[LatentVAE, Any, Undo]) -> None:
    ours, theirs, undo = case
    shape = ours.encode(images()).mean.shape
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    expected = decode_raw(theirs, raw_of(undo, theirs, latents))
    found = ours.decode(latents)
    if expected.abs().max() == 1:  # diffusers clamps some frames
        found = found.clamp(-1, 1)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_logvar_has_the_scale_of_the_latents(case: tuple[LatentVAE, Any, Undo]) -> None:
    ours, theirs, undo = case
    posterior = ours.encode(images())
    if posterior.logvar is None:
        return
    deviation = (posterior.logvar / 2).exp()
    above = raw_of(undo, theirs, posterior.mean + deviation)
    below = raw_of(undo, theirs, posterior.mean - deviation)
    normalization = ours.normalization  # type: ignore[attr-defined]
    logvar = 2 * ((above - below) / 2).log()
    torch.testing.assert_close(
        normalization.logvar_to_model(logvar), posterior.logvar, rtol=1e-4, atol=1e-4
    )


def test_pipelines_without_a_scale_use_no_class_of_the_unscaled() -> None:
    folder = Path(diffusers.__file__).parent
    sources = "".join(
        path.read_text()
        for rooms in ("pipelines", "modular_pipelines")
        for path in (folder / rooms).rglob("*.py")
    )
    assert "AutoencoderKLHunyuanVideo" in sources
    assert not [family for family in UNSCALED if family in sources]


def test_refiner_shows_the_diffusion_model_the_latent_twice(tmp_path: Path) -> None:
    theirs: Any = save_tiny("AutoencoderKLHunyuanImageRefiner", tmp_path)
    ours = load_vae(tmp_path, device="cpu")
    pipeline = diffusers.HunyuanImageRefinerPipeline
    mean = encode_raw(theirs, images())[:, :, None]
    encoded = SimpleNamespace(latents=mean)
    vae = SimpleNamespace(config=theirs.config, encode=lambda _: encoded)
    tokens = SimpleNamespace(vae=vae, _reorder_image_tokens=pipeline._reorder_image_tokens)
    twice = pipeline._encode_vae_image(tokens, images(), None)[:, :, 0]
    with torch.no_grad():
        found = ours.encode(images()).mean
    torch.testing.assert_close(torch.cat([found, found], 1), twice, rtol=1e-5, atol=1e-5)


def test_kandinskys_codebook_and_scale_are_skipped(tmp_path: Path) -> None:
    options = {"norm_type": "spatial", "block_out_channels": (32, 32), "vq_embed_dim": 4}
    theirs: Any = save_tiny("VQModel", tmp_path, **options)
    ours = load_vae(tmp_path, device="cpu")
    start = "image = self.movq.decode"
    with torch.no_grad():
        found = ours.encode(images()).mean
        raw = inline("KandinskyV22Pipeline", start, theirs, found)
        torch.testing.assert_close(raw, encode_raw(theirs, images()), rtol=1e-5, atol=1e-5)
        expected = theirs.decode(raw, force_not_quantize=True).sample
        torch.testing.assert_close(ours.decode(found), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_an_alpha_channel_is_encoded_as_opaque_and_blended_on_white(tmp_path: Path) -> None:
    theirs: Any = save_tiny("AutoencoderKLQwenImage", tmp_path, input_channels=4)
    ours = load_vae(tmp_path, device="cpu")
    opaque = torch.cat([images(), torch.ones(2, 1, 16, 16)], 1)[:, :, None]
    pipeline = diffusers.QwenImageLayeredPipeline
    empty = SimpleNamespace(vae=theirs, latent_channels=4)
    expected = pipeline._encode_vae_image(empty, opaque, None)
    found = ours.encode(images()).mean
    torch.testing.assert_close(found, expected[:, :, 0], rtol=1e-5, atol=1e-5)
    raw = ours.normalization.from_model(found)  # type: ignore[attr-defined]
    colors, alpha = theirs.decode(raw[:, :, None]).sample[:, :, 0].split([3, 1], 1)
    share = (alpha + 1) / 2
    assert share.min() < 0.9
    decoded = colors * share + (1 - share)
    torch.testing.assert_close(ours.decode(found), decoded, rtol=1e-5, atol=1e-5)
    assert "opaque" in ours.origin.notes[0]


def test_codes_are_the_nearest_entries_of_the_codebook(tmp_path: Path) -> None:
    theirs: Any = save_tiny("VQModel", tmp_path)
    ours = load_vae(f"{tmp_path}@ldm", device="cpu")
    assert isinstance(ours, VQVAE)
    with torch.no_grad():
        codes = ours.code_indices(ours.encode(images()).mean)
        cells = encode_raw(theirs, images()).permute(0, 2, 3, 1)
    distances = (cells[..., None, :] - theirs.quantize.embedding.weight).square().sum(-1)
    assert torch.equal(codes, distances.argmin(-1))


def test_vidtok_with_a_codebook_rounds_in_the_decoder(tmp_path: Path) -> None:
    options = {"regularizer": "fsq", "double_z": False, "codebook_size": 8**4}
    theirs: Any = save_tiny("AutoencoderVidTok", tmp_path, **options)
    with pytest.warns(UserWarning, match="published scale"):
        ours = load_vae(tmp_path, device="cpu")
    clip = images()[:, :, None].repeat(1, 1, 2, 1, 1)
    with torch.no_grad():
        posterior = ours.encode(images())
        rounded, _ = theirs.encode(clip)
        assert posterior.logvar is None
        found, _ = theirs.regularization(posterior.mean[:, :, None])
        torch.testing.assert_close(found, rounded)
        torch.testing.assert_close(ours.decode(posterior.mean), theirs.decode(rounded)[:, :, 0])


def test_notes_say_what_is_done_besides(tmp_path: Path) -> None:
    noted = {
        "AutoencoderKLAllegro": "a still clip of 2 frames",
        "AutoencoderKLCogVideoX": "conditioning images",
        "AutoencoderKLLTXVideo": "seed 0",
        "AutoencoderKLQwenImage21": "encoded as opaque",
        "ConsistencyDecoderVAE": "seed 0",
        "VQModel": "rounds to the codebook",
    }
    for family, words in noted.items():
        save_tiny(family, tmp_path / family)
        stated = "none" if family == "VQModel" else None
        vae = load_vae(tmp_path / family, device="cpu", normalization=stated)
        assert words in " ".join(vae.origin.notes)
        assert words in " ".join(describe_model(vae)["notes"])


FORK = {"latents_mean": MEANS, "latents_std": DEVIATIONS, "scaling_factor": 0.5}


def save_pipeline(folder: Path, pipeline: str, family: str, **options: Any) -> Any:
    """Write a pipeline with nothing but its VAE, and return that."""
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return save_tiny(family, folder / "vae", **options)


@pytest.mark.parametrize("decided_by", ["pipeline", "argument", "suffix"])
@pytest.mark.parametrize(
    ("family", "way", "pipeline", "start", "options"),
    [
        ("AutoencoderKL", "glm-image", "GlmImagePipeline", "latents_mean = (", FORK),
        ("AutoencoderKL", "sdxl", "StableDiffusionXLPipeline", "has_latents_mean =", FORK),
        ("VQModel", "ldm", "LDMPipeline", "latents = latents / self.vqvae", {}),
        ("VQModel", "ldm-super-resolution", "LDMSuperResolutionPipeline", "image = self.vqvae", {}),
    ],
)
@torch.no_grad()
def test_the_pipeline_decides_where_two_scale_differently(
    tmp_path: Path,
    decided_by: str,
    family: str,
    way: str,
    pipeline: str,
    start: str,
    options: dict[str, Any],
) -> None:
    known = pipeline if decided_by == "pipeline" else "OtherPipeline"
    theirs = save_pipeline(tmp_path / "m", known, family, **options)
    stated = way if decided_by == "argument" else None
    suffix = f"@{way}" if decided_by == "suffix" else ""
    ours = load_vae(f"{tmp_path / 'm'}{suffix}", device="cpu", normalization=stated)
    found = ours.encode(images()).mean
    raw = inline(pipeline, start, theirs, found)
    encoded = theirs.encode(images())
    mean = encoded.latents if family == "VQModel" else encoded.latent_dist.mode()
    torch.testing.assert_close(raw, mean, rtol=1e-5, atol=1e-5)
    assert f"({way}, " in ours.origin.normalization
    assert ours.origin.source.endswith(f"@{way}") == (decided_by != "pipeline")


def test_the_repository_decides_where_two_scale_differently(tmp_path: Path) -> None:
    save_tiny("AutoencoderKL", tmp_path, **FORK)
    for repo, way in {"zai-org/GLM-Image": "glm-image", "a/stable-diffusion-xl-b": "sdxl"}.items():
        found = read_folder(tmp_path, repo=repo)
        assert found.assumption == f"{way}, known by the repository ({repo})"
        assert found.config["scaling_factor"] == (1 if way == "glm-image" else 0.5)


def test_without_evidence_the_first_pipeline_is_assumed_aloud(tmp_path: Path) -> None:
    save_tiny("AutoencoderKL", tmp_path, **FORK)
    with pytest.warns(UserWarning, match="assumed sdxl; pass normalization='glm-image'"):
        vae = load_vae(tmp_path, device="cpu")
    assert vae.origin.normalization.endswith("(sdxl, assumed; it could be glm-image)")


@torch.no_grad()
def test_none_leaves_the_latents_of_any_model_as_they_are(tmp_path: Path) -> None:
    for family in ("AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderKLKVAE"):
        theirs: Any = save_tiny(family, tmp_path / family)
        ours = load_vae(tmp_path / family, device="cpu", normalization="none")
        mean = theirs.encode(images()).latent_dist.mode()
        torch.testing.assert_close(ours.encode(images()).mean, mean, rtol=1e-5, atol=1e-5)
        assert ours.origin.normalization.endswith("own latents are model space (as asked for)")


def test_normalizations_of_other_models_are_refused(tmp_path: Path) -> None:
    save_tiny("AutoencoderKL", tmp_path / "m")
    save_tiny("AutoencoderDC", tmp_path / "dc")
    with pytest.raises(UsageError, match=r"@flux1 for .*m with 4 latent channels, but expected @"):
        load_vae(tmp_path / "m", normalization="flux1")
    with pytest.raises(
        UsageError, match=r"normalization=sd15 for .* expected one of none, because"
    ):
        load_vae(tmp_path / "dc", normalization="sd15")
    with pytest.raises(UsageError, match=r"normalization=sdxl for .*m@none, but expected one norm"):
        load_vae(f"{tmp_path / 'm'}@none", normalization="sdxl")
    # One that fits the channels is the user's to choose, whatever config.json says.
    assert (
        "sd15, as asked for" in load_vae(tmp_path / "m", normalization="sd15").origin.normalization
    )


LEVELS4: dict[str, Any] = {
    "AsymmetricAutoencoderKL": {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "down_block_out_channels": (128, 256, 512, 512),
        "up_block_out_channels": (192, 384, 768, 768),
    },
    "AutoencoderKLHunyuanImage": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 64,
        "layers_per_block": 2,
        "spatial_compression_ratio": 32,
        "sample_size": 384,
        "scaling_factor": 0.75,
        "block_out_channels": (128, 256, 512, 512, 1024, 1024),
    },
    "AutoencoderKLTemporalDecoder": {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
    },
    "VQModel": {
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (128, 256, 512),
    },
}
PUBLISHED = {
    "AsymmetricAutoencoderKL": (4, 8),
    "AutoencoderKLAllegro": (4, 8),
    "AutoencoderKLCogVideoX": (16, 8),
    "AutoencoderKLCosmos": (16, 8),
    "AutoencoderKLHunyuanImage": (64, 32),
    "AutoencoderKLHunyuanImageRefiner": (32, 16),
    "AutoencoderKLHunyuanVideo": (16, 8),
    "AutoencoderKLHunyuanVideo15": (32, 16),
    "AutoencoderKLKVAE": (16, 8),
    "AutoencoderKLKVAEVideo": (16, 8),
    "AutoencoderKLLTX2Video": (128, 32),
    "AutoencoderKLLTXVideo": (128, 32),
    "AutoencoderKLMagvit": (16, 8),
    "AutoencoderKLMochi": (12, 8),
    "AutoencoderKLQwenImage21": (64, 16),
    "AutoencoderKLTemporalDecoder": (4, 8),
    "AutoencoderRAE": (768, 16),
    "AutoencoderVidTok": (4, 8),
    "ConsistencyDecoderVAE": (4, 8),
    "Kandinsky6SRVAE": (64, 16),
    "VQModel": (3, 4),
}
"""Channels and stride of the published models, whose options are mostly the classes' defaults."""


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_published_architectures_have_these_latents(family: str) -> None:
    device = torch.device("meta")
    with device:
        module = FAMILIES[family].build_module(LEVELS4.get(family, {})).to(device)
    spec = FAMILIES[family].read_spec(module, family)
    assert (spec.channels, spec.stride) == PUBLISHED[family]
    origin = ModelOrigin(family, family)
    vae = FAMILIES[family](
        module, spec, origin, normalization=Affine(), device=device, dtype=torch.float32
    )
    side = vae.only_side or 2 * spec.stride
    with torch.no_grad(), device:
        mean = vae.encode(torch.zeros(1, 3, side, side)).mean
        assert mean.shape == (1, spec.channels, side // spec.stride, side // spec.stride)
        if family != "ConsistencyDecoderVAE":  # its schedule needs numbers
            assert vae.decode(mean).shape == (1, 3, side, side)


def test_a_model_of_one_size_gets_it_by_default_and_refuses_others(tmp_path: Path) -> None:
    save_tiny("AutoencoderRAE", tmp_path)
    vae = load_vae(tmp_path, device="cpu")
    photo = torch.rand(3, 40, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert encode(vae, photo, size="auto").values.shape == (64, 4, 4)
    with pytest.raises(ShapeError, match=r"16×16, the only size that .* Pass size=16 \(--size 16"):
        encode(vae, photo, size=32)


def test_an_older_diffusers_is_asked_to_be_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny("AutoencoderKLHunyuanImage", tmp_path)
    old = SimpleNamespace(__version__="0.38.0")
    monkeypatch.setattr("latentlab.loaders.diffusers_vae.import_module", lambda _: old)
    with pytest.raises(MissingExtraError, match=r"0\.38\.0 without .*--upgrade diffusers"):
        load_vae(tmp_path, device="cpu")
