"""Clips: video models encode them as diffusers does, and the first frame is kept apart."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine
from PIL import Image
from test_loaders_pipelines import UNDO
from tiny_families import DEVIATIONS, MEANS, blocks
from tiny_models import save_tiny

import latentlab
from latentlab.errors import MemoryLimitError, ShapeError, UsageError
from latentlab.images.reading import read_frames
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods.sampling import neighborhood

STRIDES = {
    "AutoencoderKLCogVideoX": 2,
    "AutoencoderKLCosmos": 2,
    "AutoencoderKLHunyuanImageRefiner": 1,
    "AutoencoderKLHunyuanVideo": 4,
    "AutoencoderKLHunyuanVideo15": 2,
    "AutoencoderKLKVAEVideo": 2,
    "AutoencoderKLLTX2Video": 4,
    "AutoencoderKLLTXVideo": 2,
    "AutoencoderKLMagvit": 1,
    "AutoencoderKLMochi": 2,
    "AutoencoderKLQwenImage": 4,
    "AutoencoderKLWan": 4,
    "Kandinsky6SRVAE": 2,
}
"""Family whose first frame is encoded alone → frames of a latent, in its tiny model."""
OPTIONS: dict[str, dict[str, Any]] = {
    "AutoencoderKLHunyuanVideo": {
        "block_out_channels": (8, 8, 8),
        **blocks("HunyuanVideo{}Block3D", 3),
    },
    "AutoencoderKLQwenImage": {"dim_mult": [1, 1, 1], "temperal_downsample": [True, True]},
    "AutoencoderKLWan": {"dim_mult": [1, 1, 1], "temperal_downsample": [True, True]},
}
"""What makes the temporal layers those of the published models."""
STILL = {"AutoencoderKLAllegro": 2, "AutoencoderVidTok": 2}
"""Family that needs as many frames for its first latent as for the others."""


def load(family: str, folder: Path) -> tuple[LatentVAE, Any]:
    theirs: Any = save_tiny(family, folder / family, **OPTIONS.get(family, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those without a published scale say so
        return latentlab.load_vae(folder / family, device="cpu"), theirs


def clip(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def own_encoding(theirs: Any, frames: torch.Tensor) -> torch.Tensor:
    """Return the mean (1, C, t, h, w) of diffusers' own encode."""
    family, batch = type(theirs).__name__, frames.transpose(0, 1)[None]
    if family == "Kandinsky6SRVAE":
        batch = (batch + 1) * (127.5 / 128) - 1
    if family == "AutoencoderKLAllegro":  # its only way is through tiles: here, one of this size
        theirs.use_tiling = True
        theirs.kernel = theirs.stride = (len(frames), 16, 16)
    return theirs.encode(batch).latent_dist.mode()


@pytest.mark.parametrize("family", sorted(STRIDES | STILL))
@torch.no_grad()
def test_a_clip_is_what_the_pipeline_decodes(family: str, tmp_path: Path) -> None:
    ours, theirs = load(family, tmp_path)
    stride = (STRIDES | STILL)[family]
    alone = int(family in STRIDES)
    assert (ours.time_stride, ours.first_frame_alone) == (stride, bool(alone))
    count = 1 if family == "AutoencoderKLCosmos" else 2  # its statistics are those of two latents
    frames = clip(count * stride + alone)
    found = ours.encode_clip(frames).mean
    raw = own_encoding(theirs, frames)
    assert found.shape == (count + alone, raw.shape[1], *raw.shape[3:])
    as_clip = found.transpose(0, 1)[None]
    if family in UNDO:
        undone = UNDO[family](theirs, as_clip)
    else:
        shape = (1, -1, 1, 1, 1)
        undone = as_clip * torch.tensor(DEVIATIONS).view(shape) + torch.tensor(MEANS).view(shape)
    torch.testing.assert_close(undone, raw, rtol=1e-5, atol=1e-5)
    if "Wan" in family or "Qwen" in family:  # others normalize over all frames of a chunk
        first = ours.encode(frames[:1]).mean
        torch.testing.assert_close(found[:1], first, rtol=1e-4, atol=1e-4)
    if stride > 1:
        with pytest.raises(ShapeError, match=f"{stride}k"):
            ours.encode_clip(frames[:-1])


def save_clip(path: Path, count: int) -> Path:
    frames = [Image.linear_gradient("L").rotate(9 * k).resize((16, 16)) for k in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def test_frames_of_a_video_model_leave_the_first_latent_out(tmp_path: Path) -> None:
    vae, _ = load("AutoencoderKLWan", tmp_path)
    video = save_clip(tmp_path / "clip.gif", 16)
    latents = latentlab.encode_clip(vae, video)
    assert [one.name for one in latents] == ["clip-0", "clip-1-4", "clip-5-8", "clip-9-12"]
    assert latents[2].record["input"]["frames"] == [5, 8]
    hood = neighborhood(vae, latents[0], "frames", video=str(video))
    rows = torch.stack([one.values.flatten() for one in latents[1:]])
    torch.testing.assert_close(hood.samples, rows)
    assert hood.factors["time"].tolist() == [4, 8, 12]
    assert "kept apart" in hood.statement
    few = neighborhood(vae, latents[0], "frames", video=str(video), n_samples=2)
    assert few.n_samples == 2
    with pytest.raises(UsageError, match="at least 9"):
        neighborhood(
            vae, latents[0], "frames", video=str(save_clip(tmp_path / "short.gif", 4)), n_samples=9
        )


def test_frames_beyond_the_statistics_of_a_model_are_left_out_or_it_is_refused(
    tmp_path: Path,
) -> None:
    video = str(save_clip(tmp_path / "clip.gif", 9))
    of_two, _ = load("AutoencoderKLCosmos", tmp_path)
    first = latentlab.encode(of_two, video, size=16)
    message = "statistics of 2 latents.*at least 3, as the first is kept apart. Use another model"
    for one in (video, str(save_clip(tmp_path / "short.gif", 3))):
        with pytest.raises(UsageError, match=message):
            neighborhood(of_two, first, "frames", video=one)
    with pytest.raises(ShapeError, match=r"clip of 5 latents.*at most 2.*Pass at most 3 frames"):
        latentlab.encode_clip(of_two, video)
    assert len(latentlab.encode_clip(of_two, video, n_frames=3)) == 2
    module = save_tiny(
        "AutoencoderKLCosmos",
        tmp_path / "three",
        latents_mean=[value + k for value in MEANS for k in range(3)],
        latents_std=[value + k for value in DEVIATIONS for k in range(3)],
    )
    of_three = latentlab.load_vae(tmp_path / "three", device="cpu")
    hood = neighborhood(of_three, first, "frames", video=video)
    assert "statistics of 3 latents" in hood.statement
    frames = torch.stack([one.pixels for one in read_frames(video, size=16, limit=5)])
    raw = own_encoding(module, frames)[0, :, 1:].transpose(0, 1)
    k = torch.arange(1, 3).view(2, 1, 1, 1)
    means, deviations = (torch.tensor(one).view(1, 4, 1, 1) + k for one in (MEANS, DEVIATIONS))
    expected = (raw - means) * 0.5 / deviations
    torch.testing.assert_close(hood.samples, expected.flatten(1), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="at least 5, since"):
        neighborhood(of_three, first, "frames", video=str(save_clip(tmp_path / "short.gif", 4)))


def test_a_clip_too_large_for_memory_is_refused_before_it_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, _ = load("AutoencoderKLWan", tmp_path)
    # Wan's encoder takes four frames at a time, so that more of them need no more memory.
    few, many = (vae.clip_activation_bytes(count, 64, 64) for count in (5, 17))
    assert 0 < few <= many < 1.2 * few
    video = save_clip(tmp_path / "clip.gif", 9)
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", str(vae.clip_activation_bytes(9, 128, 128) / 2e9))
    with pytest.raises(MemoryLimitError, match=r"encoding 9 frames of 128×128 pixels.*n_frames"):
        latentlab.encode_clip(vae, video, 128)
    assert len(latentlab.encode_clip(vae, video, 64)) == 3


def test_the_stride_in_time_is_found_on_the_smallest_images_that_the_model_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, _ = load("AutoencoderKLWan", tmp_path)
    encode, sides = vae._encode_clip, []

    def encode_above(least: int, clip: torch.Tensor) -> Any:
        sides.append(clip.shape[-1])
        if clip.shape[-1] < least:
            raise ValueError("too small")
        return encode(clip)

    for least, expected in ((0, [vae.spec.multiple]), (64, [vae.spec.multiple, 64])):
        monkeypatch.setattr(vae, "_encode_clip", partial(encode_above, least))
        assert (vae.time_stride, sides) == (4, expected)
        del vae.time_stride
        sides.clear()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), ValueError("no")])
def test_exhausted_memory_does_not_make_a_model_one_of_images(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, _ = load("AutoencoderKLWan", tmp_path)

    def fail(clip: torch.Tensor) -> None:
        raise error

    monkeypatch.setattr(vae, "_encode_clip", fail)
    if isinstance(error, ValueError):
        assert vae.time_stride == 0
        return
    with pytest.raises(MemoryLimitError, match="a clip of 49 frames"):
        _ = vae.time_stride


def test_a_clip_and_its_traversal_work_on_the_command_line(
    tmp_path: Path, cli: CommandLine
) -> None:
    load("AutoencoderKLWan", tmp_path)
    save_clip(tmp_path / "clip.gif", 9)
    how = ("-m", tmp_path / "AutoencoderKLWan", "-k", "frames", "--size", "16", "-q")
    assert cli("pca", tmp_path / "clip.gif", *how, "--out", tmp_path / "run").code == 0
    walk = ("--run", tmp_path / "run", "--components", "1", "--steps", "3", "-q")
    assert cli("traverse", *walk).code == 0


WALKED = sorted((STRIDES | STILL).keys() - {"AutoencoderKLCosmos"})
"""Its tiny model has statistics of two latents, the first of which is kept apart."""
_QUICK = "AutoencoderKLWan", "AutoencoderVidTok"


@pytest.mark.parametrize(
    "family", [pytest.param(one, marks=() if one in _QUICK else pytest.mark.slow) for one in WALKED]
)
def test_every_latent_of_a_clip_is_walked_and_decoded_as_one_frame(
    family: str, tmp_path: Path
) -> None:
    vae, _ = load(family, tmp_path)
    frames = 3 * vae.time_stride + int(vae.first_frame_alone)
    latents = latentlab.encode_clip(vae, save_clip(tmp_path / "clip.gif", frames))
    hood = neighborhood(vae, latents[0], "frames", video=str(tmp_path / "clip.gif"))
    assert hood.n_samples == 3
    pca = latentlab.fit_pca(hood)
    for latent in (latents[0], latents[-1]):
        walk = latentlab.traverse(vae, latent, pca, n_components=1, steps=3)
        with torch.no_grad():
            own = vae.decode(latent.values[None]).clamp(-1, 1)[0].movedim(0, 2)
        middle = walk.paths[0].frames[1].float() / 127.5 - 1
        assert walk.paths[0].frames.shape == (3, 16, 16, 3)
        torch.testing.assert_close(middle, own, atol=0.02, rtol=0)


def test_models_of_one_frame_encode_each_by_itself(tmp_path: Path) -> None:
    of_images = latentlab.load_vae("linear", device="cpu")
    of_one_frame, _ = load("AutoencoderKLQwenImage21", tmp_path)
    assert (of_images.time_stride, of_one_frame.time_stride) == (1, 0)
    frames, video = clip(3), save_clip(tmp_path / "clip.gif", 3)
    for vae in (of_images, of_one_frame):
        torch.testing.assert_close(vae.encode_clip(frames).mean, vae.encode(frames).mean)
        assert len(latentlab.encode_clip(vae, video)) == 3
