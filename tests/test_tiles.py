"""Tiles against the whole: exact if cells are independent, measured otherwise."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine, save_image
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_tiny
from torch import Tensor

from latentlab import encode, load_vae
from latentlab.encoding import precision as encoding
from latentlab.encoding.encoder import decode, encode_batch
from latentlab.errors import MemoryLimitError, UsageError
from latentlab.latents import LatentSpec
from latentlab.loaders import LatentVAE, wrap_vae
from latentlab.loaders.tiles import Seams, TiledVAE, spans_of, tiled
from latentlab.neighborhoods import precision as sampling
from latentlab.pullback import decoder_map
from latentlab.store.reading import open_store
from latentlab.testing.linear_vae import LinearVAE, smooth_image


@pytest.fixture(scope="module")
def kl(tmp_path_factory: pytest.TempPathFactory) -> LatentVAE:
    """Return a small AutoencoderKL, stride 2, whose group norms and attention see everything."""
    folder = tmp_path_factory.mktemp("kl")
    save_tiny("AutoencoderKL", folder)
    return load_vae(folder)


def position_vae(tops: list[float]) -> LatentVAE:
    """Return a VAE of stride 1 that encodes its n-th call as the constant ``tops[n]``."""
    values = iter(tops)
    return wrap_vae(
        encode=lambda images: torch.full_like(images, next(values)),
        decode=lambda latents: latents,
        spec=LatentSpec("calls", channels=3, stride=1),
    )


# exact


@settings(max_examples=60)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile=st.integers(2, 12),
    overlap=st.integers(1, 6),
    seed=st.integers(0, 9),
)
def test_a_transform_of_patches_is_the_same_in_tiles_of_any_size(
    height: int, width: int, tile: int, overlap: int, seed: int
) -> None:
    whole = LinearVAE(seed=seed)
    parts = tiled(whole, tile=4 * max(tile, 2 * overlap), overlap=4 * overlap)
    image = smooth_image(4 * height, 4 * width, seed)[None]
    expected, found = whole.encode(image), parts.encode(image)
    assert found.logvar is not None
    assert found.mean.shape == expected.mean.shape == (1, 6, height, width)
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.logvar, expected.logvar, atol=1e-5, rtol=0)
    decoded = parts.decode(expected.mean)
    torch.testing.assert_close(decoded, whole.decode(expected.mean), atol=1e-5, rtol=0)
    assert all(seams.difference < 1e-5 for seams in parts.seams.values())
    assert bool(parts.seams) == (max(4 * height, 4 * width) > parts.tile)


@given(side=st.integers(1, 500), tile=st.integers(2, 60), overlap=st.integers(1, 30))
def test_tiles_cover_a_side_with_the_same_overlap_everywhere(
    side: int, tile: int, overlap: int
) -> None:
    tile = max(tile, 2 * overlap)
    spans = spans_of(side, tile, overlap)
    covered = np.zeros(side, int)
    for span in spans:
        covered[span] += 1
    assert (spans[0].start, spans[-1].stop) == (0, side)
    assert all(first.stop - second.start == overlap for first, second in pairwise(spans))
    assert all(span.stop - span.start == tile for span in spans[:-1])
    assert overlap < spans[-1].stop - spans[-1].start <= tile or len(spans) == 1
    assert covered.min() == 1
    assert (covered == 2).sum() == overlap * (len(spans) - 1)


@pytest.mark.parametrize("size", [(64, 64), (64, 32), (16, 8)])
def test_images_no_larger_than_a_tile_are_the_same_bit_for_bit(
    size: tuple[int, int], kl: LatentVAE
) -> None:
    parts = tiled(kl, tile=64, overlap=16)
    image = smooth_image(*size)[None]
    expected, found = kl.encode(image), parts.encode(image)
    assert torch.equal(found.mean, expected.mean)
    assert found.logvar is not None
    assert expected.logvar is not None
    assert torch.equal(found.logvar, expected.logvar)
    assert torch.equal(parts.decode(expected.mean), kl.decode(expected.mean))
    assert parts.seams == {}


def test_built_in_linear_is_exact_on_a_photo_of_ragged_size() -> None:
    vae = load_vae("linear")
    parts = tiled(vae, tile=128, overlap=32)
    latent, found = encode(vae, "sample:china", size=328), encode(parts, "sample:china", size=328)
    torch.testing.assert_close(found.values, latent.values, atol=1e-4, rtol=0)
    torch.testing.assert_close(decode(parts, latent), decode(vae, latent), atol=1e-5, rtol=0)
    assert parts.seams["encode"].relative < 1e-5


# the blend


def test_weights_rise_linearly_and_sum_to_one() -> None:
    # Four tiles of 8×8 pixels that share 4: constants 1, 0, 0, 0 show the first one's weights.
    image = torch.zeros(1, 3, 12, 12)
    weights = [
        tiled(position_vae([float(k == n) for n in range(4)]), tile=8, overlap=4)
        .encode(image)
        .mean[0, 0]
        for k in range(4)
    ]
    ramp = np.array([1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0, 0, 0])
    np.testing.assert_allclose(weights[0], np.outer(ramp, ramp), atol=1e-6)
    np.testing.assert_allclose(weights[1], np.outer(ramp, ramp[::-1]), atol=1e-6)
    np.testing.assert_allclose(weights[2], np.outer(ramp[::-1], ramp), atol=1e-6)
    np.testing.assert_allclose(torch.stack(weights).sum(0), np.ones((12, 12)), atol=1e-6)


def test_seams_of_constant_tiles_are_their_difference_relative_to_the_result() -> None:
    parts = tiled(position_vae([1.0, 3.0]), tile=8, overlap=4)
    found = parts.encode(torch.zeros(1, 3, 8, 12)).mean
    expected = np.array([1, 1, 1, 1, 1.25, 1.75, 2.25, 2.75, 3, 3, 3, 3])
    np.testing.assert_allclose(found[0, 0, 0], expected, atol=1e-6)
    seams = parts.seams["encode"]
    assert seams.difference == pytest.approx(2)
    assert seams.deviation == pytest.approx(expected.std(), rel=1e-6)
    assert seams.relative == pytest.approx(2 / expected.std(), rel=1e-6)
    assert seams.calls == 1


# measured


def by_hand(tiles: list[Tensor], overlap: int) -> tuple[np.ndarray, float]:
    """Return two blended tiles, and the RMS of their difference in standard deviations."""
    left, right = (tile.numpy().astype(np.float64) for tile in tiles)
    ramp = (np.arange(overlap) + 0.5) / overlap
    tail, head = left[..., -overlap:], right[..., :overlap]
    blend = (1 - ramp) * tail + ramp * head
    whole = np.concatenate([left[..., :-overlap], blend, right[..., overlap:]], -1)
    return whole, float(np.sqrt(((tail - head) ** 2).mean()) / whole.std())


@pytest.mark.parametrize("source", ["mini", "kl"])
def test_seams_of_two_tiles_are_those_computed_by_hand(source: str, kl: LatentVAE) -> None:
    vae = kl if source == "kl" else load_vae("mini")
    stride = vae.spec.stride
    parts = tiled(vae, tile=64, overlap=16)
    image = smooth_image(48, 96)[None]
    with torch.no_grad():
        latent = vae.encode(image)
        halves = [vae.encode(image[..., :64]), vae.encode(image[..., 48:])]
        found = parts.encode(image)
        cells = 16 // stride
        whole, relative = by_hand([half.mean for half in halves], cells)
        images = [
            vae.decode(latent.mean[..., : 64 // stride]),
            vae.decode(latent.mean[..., 48 // stride :]),
        ]
        decoded = parts.decode(latent.mean)
        decoded, image_relative = by_hand(images, 16)
    np.testing.assert_allclose(found.mean, whole, atol=1e-5)
    np.testing.assert_allclose(decoded, decoded, atol=1e-5)
    assert found.logvar is not None
    np.testing.assert_allclose(
        found.logvar, by_hand([h.logvar for h in halves], cells)[0], atol=1e-4
    )
    assert parts.seams["encode"].relative == pytest.approx(relative, rel=1e-4)
    assert parts.seams["decode"].relative == pytest.approx(image_relative, rel=1e-4)
    assert relative > 1e-3
    # And the blend is closer to the untiled latent than the tiles are to each other.
    error = (found.mean - latent.mean).square().mean().sqrt()
    assert 0 < float(error) < parts.seams["encode"].difference


def test_seams_of_several_calls_are_pooled_and_each_record_stays_as_it_is() -> None:
    parts = tiled(position_vae([1.0, 3.0, 1.0, 5.0]), tile=8, overlap=4)
    image = torch.zeros(1, 3, 8, 12)
    parts.encode(image)
    first = parts.seams["encode"]
    parts.encode(image)
    both = parts.seams["encode"]
    assert first.difference == pytest.approx(2)
    assert both.difference == pytest.approx(math.sqrt((2**2 + 4**2) / 2))
    assert both.deviation == pytest.approx(first.deviation * math.sqrt((1 + 2**2) / 2), rel=1e-6)
    assert both.calls == 2
    three = both.pooled(first)
    assert three.difference == pytest.approx(math.sqrt((2**2 + 4**2 + 2**2) / 3))
    with pytest.raises(AttributeError):
        first.calls = 3  # type: ignore[misc]


def test_a_constant_result_has_no_relative_seams() -> None:
    assert math.isnan(Seams(0.0, 0.0).relative)


# the wrapper


def test_derivatives_of_tiles_are_those_of_the_whole() -> None:
    vae = LinearVAE()
    parts = tiled(vae, tile=16, overlap=8)
    latent = encode(vae, smooth_image(24, 40))
    whole, found = decoder_map(vae, latent), decoder_map(parts, latent)
    rows = torch.randn(2, whole.n_features, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.push(rows), whole.push(rows), atol=1e-5, rtol=0)
    changes = whole.push(rows)
    torch.testing.assert_close(found.pull(changes), whole.pull(changes), atol=1e-5, rtol=0)


def test_a_jacobian_through_group_norms_and_attention_is_that_of_differences(kl: LatentVAE) -> None:
    parts = tiled(kl, tile=16, overlap=4)
    latent = encode(kl, smooth_image(16, 24))
    around = decoder_map(parts, latent)
    tangent = torch.randn(1, around.n_features, generator=torch.Generator().manual_seed(1))
    step = 1e-3 * tangent.view(1, *latent.values.shape)
    with torch.no_grad():
        ahead, behind = (parts.decode(latent.values + sign * step) for sign in (1, -1))
    expected = (ahead - behind) / 2e-3
    error = (around.push(tangent).view_as(expected) - expected).norm() / expected.norm()
    assert float(error) < 1e-2


def test_the_wrapper_keeps_what_identifies_the_model(kl: LatentVAE) -> None:
    parts = tiled(kl, tile=64, overlap=16)
    assert (parts.spec, parts.origin) == (kl.spec, kl.origin)
    assert (parts.device, parts.dtype) == (kl.device, kl.dtype)
    assert isinstance(parts, TiledVAE)
    assert parts.tiling == {"tile": 64, "overlap": 16, "seams": {}}


@pytest.mark.parametrize(("tile", "overlap"), [(63, 16), (64, 15), (64, 34), (64, 0), (0, 0)])
def test_sizes_that_do_not_fit_are_refused(tile: int, overlap: int, kl: LatentVAE) -> None:
    with pytest.raises(UsageError, match=r"multiples of 2 .*--tile 512"):
        tiled(kl, tile=tile, overlap=overlap)


def test_memory_is_judged_by_one_tile(kl: LatentVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tiled(kl, tile=64, overlap=16)
    assert parts.activation_bytes(640, 640) == kl.activation_bytes(64, 64)
    assert parts.activation_bytes(640, 32) == kl.activation_bytes(64, 32)
    image = smooth_image(160, 160)[None]
    limit = (kl.activation_bytes(64, 64) + kl.activation_bytes(160, 160)) / 2
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", str(limit / 1e9))
    with pytest.raises(MemoryLimitError, match=r"160×160 pixels .*--tile 512"):
        encode_batch(kl, image)
    assert encode_batch(parts, image).mean.shape == (1, 4, 80, 80)


# the command line


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return an image of 192×32 pixels."""
    return save_image(tmp_path / "large.png", 192, 32)


def tiny_limit(vae: LatentVAE) -> str:
    """Return a memory limit in GB that a tile of 128×32 pixels fits and 192×32 pixels do not."""
    return str((vae.activation_bytes(128, 32) + vae.activation_bytes(192, 32)) / 2e9)


def test_an_image_too_large_for_memory_fits_in_tiles_and_the_run_says_so(
    cli: CommandLine, large: Path, kl: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", tiny_limit(kl))
    for module in (encoding, sampling):
        monkeypatch.setattr(module, "native_bfloat16", lambda device: False)
    command = ("pca", large, "-m", cli.model, "-k", "augment", "-n", 3, "--nulls", "none")
    refused = cli(*command)
    assert refused.code == 5
    assert "--tile" in refused.error
    facts = cli(*command, "--tile", 128, "--out", "run", "--json").facts
    assert facts["tiles"]["tile"] == 128
    assert facts["tiles"]["overlap"] == 64
    seams: dict[str, Any] = facts["tiles"]["seams"]
    assert seams["encode"]["calls"] == 2  # the image, then its three copies together
    assert seams["decode"]["calls"] == 2  # the image, then the samples of the scatter together
    assert seams["encode"]["relative"] > 0
    recorded = json.loads(Path("run/run.json").read_text())["pca"]["tiles"]
    assert recorded == facts["tiles"]
    walked = cli("traverse", "--run", "run", "--steps", 2, "--components", 1)
    assert walked.code == 0
    assert "tiled 128 px, seams" in walked.err
    assert json.loads(Path("run/run.json").read_text())["traverse"]["tiles"]["tile"] == 128


def test_tiles_are_of_16_bits_if_rounding_does_not_show(
    cli: CommandLine, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (encoding, sampling):
        monkeypatch.setattr(module, "native_bfloat16", lambda device: True)
    command = ("pca", large, "-m", cli.model, "-k", "augment", "-n", 3, "--nulls", "none")
    facts = cli(*command, "--tile", 128, "--out", "run", "--json").facts
    # The image, the few that precisions are compared by, twice, and the three copies.
    assert facts["tiles"]["seams"]["encode"]["calls"] == 4
    walked = cli("traverse", "--run", "run", "--steps", 2, "--components", 1, "--tile", 128)
    assert "tiled 128 px, seams" in walked.err
    recorded = json.loads(Path("run/run.json").read_text())
    assert recorded["pca"]["precision"]["encode"] == "bfloat16"
    assert recorded["traverse"]["precision"]["decode"] == "bfloat16"
    # The two ends of the walk, and those of five random ones, each tried at two lengths.
    assert recorded["traverse"]["tiles"]["seams"]["decode"]["calls"] == 11


def test_a_store_of_tiles_says_so_and_resumes_with_them(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    save_image(tmp_path / "photos/wide.png", 96, 300)
    command = ("encode", tmp_path / "photos", "-m", cli.model, "--dtype", "float32", "--workers", 0)
    exact = (*command, "--store-dtype", "float32", "--out", "store")
    called = cli(*exact, "--tile", 128)
    assert called.code == 0
    assert "tiled 128 px, seams" in called.err
    assert cli("store", "info", "store", "--json").facts["tile"] == 128
    vae = tiled(load_vae(cli.model), 128)
    expected = encode(vae, tmp_path / "photos/wide.png").values
    (found,) = torch.cat([*open_store("store").batches(1)])
    torch.testing.assert_close(found, expected)
    assert cli(*exact).code == 0
    refused = cli(*exact, "--tile", 256)
    assert "tile 256" in refused.error
    assert "128, with which the store was begun" in refused.error


def test_the_summary_has_one_line_for_tiles(cli: CommandLine, large: Path) -> None:
    command = ("pca", large, "-m", cli.model, "-k", "posterior", "-n", 3, "--nulls", "none")
    lines = cli(*command, "--tile", 128).out.splitlines()
    (line,) = [line for line in lines if line.startswith("tiled")]
    assert "128 px, seams" in line
    assert "% of the latent's deviation" in line
    assert not [line for line in cli(*command).out.splitlines() if line.startswith("tiled")]
    small = cli(*command[:1], cli.image, *command[2:], "--tile", 128).out
    assert "128 px, one tile" in small


@pytest.mark.parametrize(
    ("tile", "message"), [(100, "expected at least 128"), (129, "multiples of 2")]
)
def test_tiles_of_impossible_size_are_wrong_usage(
    tile: int, message: str, cli: CommandLine
) -> None:
    called = cli.pca("--tile", tile)
    assert called.code == 2
    assert message in called.error


@pytest.mark.parametrize(
    "command",
    [
        ("directions", "IMAGE", "--no-labels", "--compare", "none", "-n", "4"),
        pytest.param(
            ("transfer", "IMAGE", "IMAGE", "-n", "4", "--components", "1"), marks=pytest.mark.slow
        ),
        ("interpolate", "IMAGE", "IMAGE", "--steps", "3"),
    ],
)
def test_other_commands_take_tiles_and_record_them(
    command: tuple[str, ...], cli: CommandLine, large: Path
) -> None:
    arguments = [str(large) if word == "IMAGE" else word for word in command]
    called = cli(*arguments, "-m", cli.model, "--tile", 128, "--out", "run")
    assert called.code == 0, called.err
    assert "tiled 128 px, seams" in called.err
    record = json.loads(Path("run/run.json").read_text())
    assert all(facts["tiles"]["tile"] == 128 for facts in record.values())
