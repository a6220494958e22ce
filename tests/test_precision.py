"""bfloat16 if its rounding does not show, float32 if it would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import CommandLine

from latentlab import encode, load_vae, neighborhood
from latentlab.encoding import precision as encoding
from latentlab.encoding.encoder import decode_each
from latentlab.encoding.precision import (
    MixedVAE,
    decode_precision,
    native_bfloat16,
    with_fast_decoder,
)
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.fidelity import psnr
from latentlab.neighborhoods import precision as sampling
from latentlab.neighborhoods.precision import LARGEST_FLOOR, choose_precision, measure_floor
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture(scope="module")
def mini() -> LatentVAE:
    """Return the built-in model in float32."""
    return load_vae("mini", device="cpu")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every processor multiply bfloat16 natively."""
    for module in (encoding, sampling):
        monkeypatch.setattr(module, "native_bfloat16", lambda device: True)


def test_native_bfloat16_is_what_the_processor_says() -> None:
    flags = Path("/proc/cpuinfo")
    if not flags.exists() or "flags" not in flags.read_text():
        pytest.skip("no list of an x86 processor's abilities")
    words = set(flags.read_text().split())
    assert native_bfloat16(torch.device("cpu")) == bool(words & {"avx512_bf16", "amx_bf16"})
    assert not native_bfloat16(torch.device("mps"))


@pytest.mark.usefixtures("native")
def test_a_wide_neighborhood_is_encoded_in_bfloat16_and_a_narrow_one_is_not(
    mini: LatentVAE,
) -> None:
    latent = encode(mini, "sample:flower", size=64)
    wide = choose_precision(mini, latent, "augment")
    assert wide.vae.dtype == torch.bfloat16
    assert wide.floor is not None
    assert 0 < wide.floor <= LARGEST_FLOOR
    narrow = dict.fromkeys(("shift", "rotation", "zoom", "contrast", "saturation", "hue"), 0)
    small = choose_precision(mini, latent, "augment", **narrow, brightness=0.002, blur=0)
    assert small.vae is mini
    assert small.floor is not None
    assert small.floor > LARGEST_FLOOR
    assert "not at most 1 %" in small.reason


@pytest.mark.slow
@pytest.mark.shared
def test_a_tiny_encoder_is_hurt_by_rounded_images_and_gets_them_whole(shared: Path) -> None:
    taef2 = load_vae(shared / "models/taef2", device="cpu")
    fast = taef2.cast(torch.bfloat16)
    latent = encode(taef2, "sample:china", size=128)
    whole = measure_floor(taef2, fast, latent, "augment")
    encoder = fast.encode
    fast.encode = lambda images: encoder(images.bfloat16().float())  # type: ignore[method-assign]
    rounded = measure_floor(taef2, fast, latent, "augment")
    assert whole is not None
    assert rounded is not None
    assert whole < rounded / 3
    first, original = (next(vae.module.encoder.parameters()) for vae in (fast, taef2))  # type: ignore[attr-defined]
    assert first.equal(original)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", ["gaussian", "tokens", "patches", "posterior"])
def test_nothing_is_compared_where_nothing_is_encoded(mini: LatentVAE, name: str) -> None:
    latent = encode(mini, "sample:flower", size=64)
    chosen = choose_precision(mini, latent, name)
    assert (chosen.vae, chosen.floor) == (mini, None)


def test_without_native_bfloat16_all_stays_float32(
    mini: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (encoding, sampling):
        monkeypatch.setattr(module, "native_bfloat16", lambda device: False)
    latent = encode(mini, "sample:flower", size=64)
    assert choose_precision(mini, latent, "augment").vae is mini
    assert with_fast_decoder(mini) is mini


@pytest.mark.usefixtures("native")
def test_the_floor_is_the_variance_that_rounding_adds(mini: LatentVAE) -> None:
    latent = encode(mini, "sample:flower", size=64)
    fast = mini.cast(torch.bfloat16)
    floor = measure_floor(mini, fast, latent, "augment", seed=5)
    exact, rounded = (
        neighborhood(vae, latent, "augment", n_samples=20, seed=5).samples.numpy()
        for vae in (mini, fast)
    )
    many = (rounded - exact).var(0).sum() / exact.var(0).sum()
    assert floor == pytest.approx(many, rel=1.0)


@pytest.mark.usefixtures("native")
def test_fast_decoding_changes_images_by_less_than_the_eye_sees(mini: LatentVAE) -> None:
    latent = encode(mini, "sample:flower", size=64)
    fast = with_fast_decoder(mini)
    assert isinstance(fast, MixedVAE)
    assert (fast.dtype, fast.spec, fast.origin) == (torch.float32, mini.spec, mini.origin)
    assert decode_precision(fast) == {"decode": "bfloat16"}
    assert decode_precision(mini) == {"decode": "float32"}
    exact = next(decode_each(mini, latent.values[None]))
    rounded = next(decode_each(fast, latent.values[None]))
    assert not torch.equal(exact, rounded)
    assert psnr(exact, rounded) >= 45
    torch.testing.assert_close(
        fast.encode(exact[None]).mean, mini.encode(exact[None]).mean, rtol=0, atol=0
    )


@pytest.mark.usefixtures("native")
def test_a_vae_without_weights_stays_as_it_is() -> None:
    vae = LinearVAE()
    assert with_fast_decoder(vae) is vae


def test_what_was_asked_for_is_used_and_recorded(cli: CommandLine) -> None:
    image = ["sample:flower", "--size", "64", "-m", "mini", "-n", "4", "--nulls", "none"]
    assert cli("pca", *image, "--dtype", "float32", "--out", "exact", "--json").facts
    assert cli("traverse", "--run", "exact", "--components", "1", "--steps", "2", "--json").facts
    facts = json.loads(Path("exact/run.json").read_text())
    assert facts["pca"]["precision"]["encode"] == "float32"
    assert facts["pca"]["precision"]["asked"] == "float32"
    assert facts["traverse"]["precision"] == {"decode": "float32"}


def test_auto_records_what_it_chose_and_why(cli: CommandLine) -> None:
    image = ["sample:flower", "--size", "64", "-m", "mini", "-n", "4", "--nulls", "none"]
    assert cli("pca", *image, "--out", "auto", "--json").facts
    assert cli("traverse", "--run", "auto", "--components", "1", "--steps", "2", "--json").facts
    facts = json.loads(Path("auto/run.json").read_text())
    expected = "bfloat16" if native_bfloat16(torch.device("cpu")) else "float32"
    assert facts["pca"]["precision"]["encode"] == expected
    assert facts["pca"]["precision"]["reason"]
    assert facts["traverse"]["precision"] == {"decode": expected}


def test_commands_do_not_replace_float32_by_tf32_on_a_gpu(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    cli.pca("--nulls", "none", samples=3)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
