"""Memory limits: what is allowed, what goes to disk, and what is refused in time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from tiny_models import save_tiny

from latentlab.encoding.encoder import decode, decode_each, encode, encode_batch
from latentlab.errors import MemoryLimitError, NonFiniteError, UsageError
from latentlab.loaders import load_vae
from latentlab.machine.memory import allocate_matrix, available_memory, memory_errors
from latentlab.testing.linear_vae import LinearVAE, smooth_image

Usage = namedtuple("Usage", "total used free")
_PAGES = "THP_MEM_ALLOC_ENABLE"


def test_the_variable_lowers_the_limit_and_never_raises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.5")
    assert available_memory() == 500_000_000
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "1e9")
    assert available_memory() < 1e15


@pytest.mark.parametrize("value", ["much", "-1", "0", "nan"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", value)
    with pytest.raises(UsageError, match="LATENTLAB_MEMORY_GB"):
        available_memory()


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({_PAGES: "0"}, "0")])
def test_torch_is_told_to_take_large_pages_unless_the_user_said_otherwise(
    given: dict[str, str], expected: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != _PAGES} | given
    program = f"import os, torch, latentlab; print(os.environ[{_PAGES!r}])"
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == expected


def test_a_matrix_beyond_half_of_the_memory_is_mapped_from_disk_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.001")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    matrix = allocate_matrix(1000, 1000)
    matrix[:] = 3
    assert float(matrix.sum()) == 3e6
    assert list(tmp_path.iterdir()) == []


def test_a_matrix_beyond_the_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.001")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(10, 5, 10**6))
    with pytest.raises(
        MemoryLimitError, match=r"1,000 samples of 1,000 features .*Lower --samples"
    ):
        allocate_matrix(1000, 1000)


@pytest.mark.parametrize("family", ["AutoencoderKL", "AutoencoderTiny"])
def test_activations_are_measured_and_grow_with_the_image(family: str, tmp_path: Path) -> None:
    save_tiny(family, tmp_path)
    vae = load_vae(tmp_path)
    small, large = vae.activation_bytes(64, 64), vae.activation_bytes(128, 256)
    assert large == pytest.approx(8 * small, rel=1e-3)
    # At least the image itself goes in and comes out, in float32.
    assert small >= 2 * 64 * 64 * 3 * 4


def test_an_image_too_large_for_memory_is_refused_before_it_is_encoded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_tiny("AutoencoderKL", tmp_path)
    vae = load_vae(tmp_path)
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.01")
    with pytest.raises(MemoryLimitError, match=r"encoding 512×512 pixels .*lower --size"):
        encode_batch(vae, torch.zeros(1, 3, 512, 512))
    with pytest.raises(MemoryLimitError, match="decoding"):
        next(decode_each(vae, torch.zeros(1, vae.spec.channels, 512, 512)))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_allocators_failures_become_one_error(error: Exception) -> None:
    with pytest.raises(MemoryLimitError, match="Lower it"), memory_errors("a test", "lower it"):
        raise error


def test_other_failures_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors("a test", "lower it"):
        raise RuntimeError("shapes do not match")


def test_nan_from_a_model_is_refused_with_the_dtype_to_choose() -> None:
    class Overflowing(LinearVAE):
        def _encode(self, images: torch.Tensor):
            mean, logvar = super()._encode(images)
            return mean / 0, logvar

    with pytest.raises(NonFiniteError, match="--dtype float32"):
        encode(Overflowing(), smooth_image())


def test_what_encode_and_reconstruct_return_can_take_part_in_gradients() -> None:
    vae = LinearVAE()
    latent = encode(vae, smooth_image())
    weight = torch.ones(1, requires_grad=True)
    vae.decode((latent.values * weight)[None]).square().sum().backward()
    (decode(vae, latent) * weight).sum().backward()
    assert weight.grad is not None
    assert float(weight.grad) != 0


def test_a_disk_that_is_full_is_an_error_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.001")
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(MemoryLimitError, match="No space left"):
        allocate_matrix(1000, 1000)
