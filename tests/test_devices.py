"""Results on an accelerator equal those on the CPU; without one, only the CPU is tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from tiny_models import save_tiny

from latentlab import encode, load_vae, neighborhood
from latentlab.encoding.batches import batch_size, pinned, run_halving
from latentlab.encoding.encoder import decode_each, encode_batch, encode_each
from latentlab.errors import MemoryLimitError
from latentlab.loaders import LatentVAE
from latentlab.loaders.compilation import compile_vae
from latentlab.pullback import decoder_map, top_singular

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
FAMILIES = ("AutoencoderKL", "AutoencoderDC", "AutoencoderKLWan", "TAESD")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=needs_cuda)])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a device, on which float32 is float32 throughout the test."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield request.param
    torch.backends.cudnn.allow_tf32 = allowed


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        save_tiny(family, place / family)
    return {family: place / family for family in FAMILIES}


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_latents_and_images_are_those_of_the_cpu(
    family: str, device: str, folders: dict[str, Path]
) -> None:
    here, there = load_vae(folders[family], device="cpu"), load_vae(folders[family], device=device)
    expected, found = encode_batch(here, images(3)).mean, encode_batch(there, images(3)).mean
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    seen = torch.stack([*decode_each(there, expected)])
    torch.testing.assert_close(
        seen, torch.stack([*decode_each(here, expected)]), rtol=1e-3, atol=1e-4
    )


def test_many_batches_keep_their_order(device: str, folders: dict[str, Path]) -> None:
    vae = load_vae(folders["TAESD"], device=device)
    batches = [*images(40).split(3)]
    singly = torch.cat([encode_batch(vae, batch).mean for batch in batches])
    found = torch.cat([*encode_each(vae, iter(batches))])
    torch.testing.assert_close(found, singly, rtol=1e-4, atol=1e-5)
    seen = torch.stack([*decode_each(vae, found)])
    again = torch.cat([torch.stack([*decode_each(vae, latents[None])]) for latents in found])
    torch.testing.assert_close(seen, again, rtol=1e-4, atol=1e-5)


def test_a_batch_that_memory_really_does_not_hold_is_halved(device: str) -> None:
    # more than any address space, or all that a GPU has
    room = 2**46 if device == "cpu" else torch.cuda.mem_get_info()[1]
    seen = []

    def run(batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        if len(batch) > 2:
            torch.empty(room, dtype=torch.float64, device=device)
        return batch

    assert [len(part) for part in run_halving(run, torch.zeros(8, 1), "eight")] == [2] * 4
    assert seen == [8, 4, 2, 2, 4, 2, 2]
    with pytest.raises(MemoryLimitError):
        run_halving(lambda batch: torch.empty(room, device=device), torch.zeros(1, 1), "one")


def test_batches_are_sized_and_wait_in_memory_that_copies_need_not_wait_for(
    device: str, folders: dict[str, Path]
) -> None:
    vae = load_vae(folders["AutoencoderKL"], device=device)
    assert 1 <= batch_size(vae, 32, 48) <= 64
    assert bool(vae.batch_sizes) == (device != "cpu")
    assert pinned(images(1), vae).is_pinned() == (device != "cpu")


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("family", ["AutoencoderKL", "TAESD"])
def test_cuda_graphs_give_every_image_its_own(family: str, folders: dict[str, Path]) -> None:
    plain, compiled = (load_vae(folders[family], device="cuda") for _ in range(2))
    compile_vae(compiled)
    for count in (4, 4, 4, 2):
        batch = images(count) * count / 4
        expected, found = (encode_batch(vae, batch).mean for vae in (plain, compiled))
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)
        seen = [torch.stack([*decode_each(vae, expected)]) for vae in (plain, compiled)]
        torch.testing.assert_close(*seen, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("family", ["AutoencoderKL", "TAESD"])
def test_singular_values_are_those_of_the_cpu(
    family: str, device: str, folders: dict[str, Path]
) -> None:
    values = []
    for place in ("cpu", device):
        vae: LatentVAE = load_vae(folders[family], device=place)
        latent = encode(vae, images(1)[0])
        values.append(top_singular(decoder_map(vae, latent), 3, tolerance=1e-3).values.cpu())
    torch.testing.assert_close(*values, rtol=1e-3, atol=0)


def test_samples_hardly_differ(device: str, folders: dict[str, Path]) -> None:
    found = []
    for place in ("cpu", device):
        vae = load_vae(folders["TAESD"], device=place)
        latent = encode(vae, images(1)[0])
        found.append(neighborhood(vae, latent, "augment", n_samples=5, seed=0).samples)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_commands_run_from_an_image_to_a_traversal(cli: CommandLine, device: str) -> None:
    assert cli.pca("--device", device, "--out", "run").facts["n_samples"] == 6
    walk = ("--run", "run", "--device", device, "--components", 2, "--steps", 3, "--json")
    assert len(cli("traverse", *walk).facts["components"]) == 2
