"""Batches: how many images are decoded at once, in which order, and if memory is exhausted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from latentlab import load_vae
from latentlab.encoding import encoder
from latentlab.encoding.batches import (
    Sent,
    batch_size,
    fastest_batch,
    one_ahead,
    run_halving,
    send_to_cpu,
)
from latentlab.encoding.encoder import decode_each, encode, encode_batch, encode_each
from latentlab.errors import MemoryLimitError, NonFiniteError
from latentlab.latents import LatentSpec, Posterior
from latentlab.loaders import wrap_vae
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.compilation import compile_vae
from latentlab.testing.linear_vae import LinearVAE


def at_most(count: int, seen: list[int]) -> Callable[[Tensor], Tensor]:
    """Return a function that doubles batches and has memory for so many decoded."""

    def run(batch: Tensor) -> Tensor:
        seen.append(len(batch))
        if len(batch) > count:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch * 2

    return run


@pytest.mark.parametrize("room", [1, 2, 3, 7])
def test_a_batch_is_halved_until_it_fits_and_keeps_its_order(room: int) -> None:
    seen: list[int] = []
    parts = run_halving(at_most(room, seen), torch.arange(7.0)[:, None], "doubling")
    assert torch.cat(parts).flatten().tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert seen[0] == 7
    assert max(len(part) for part in parts) <= room


@pytest.mark.parametrize(
    "words", ["CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"]
)
def test_exhausted_memory_is_recognized_in_the_words_of_several_libraries(words: str) -> None:
    def run(batch: Tensor) -> Tensor:
        if len(batch) > 1:
            raise RuntimeError(words)
        return batch

    assert len(run_halving(run, torch.zeros(4, 1), "four")) == 4


def test_one_image_that_does_not_fit_is_a_clear_error() -> None:
    with pytest.raises(MemoryLimitError, match="no memory left for doubling"):
        run_halving(at_most(0, []), torch.zeros(4, 1), "doubling")


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def run(batch: Tensor) -> Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run_halving(run, torch.zeros(4, 1), "doubling")


def test_encoding_continues_in_halves() -> None:
    exact = LinearVAE()
    seen: list[int] = []

    def encode_two(images: Tensor) -> Posterior:
        seen.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return exact.encode(images)

    vae = wrap_vae(encode=encode_two, decode=exact.decode, spec=exact.spec)
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = encode_batch(vae, images).mean
    assert seen[0] == 5
    torch.testing.assert_close(found, exact.encode(images).mean)


def test_the_fastest_batch_is_the_smallest_that_is_about_the_fastest() -> None:
    # 10 ms to start and 1 ms an image: 762 images/s at 32, 865 at 64, 14 % more
    assert fastest_batch(lambda count: 0.010 + 0.001 * count) == 64
    # 1 ms and 1 ms: 800 at 4, 889 at 8, 941 at 16, 6 % more
    assert fastest_batch(lambda count: 0.001 + 0.001 * count) == 8
    assert fastest_batch(lambda count: 0.001 * count) == 1


def test_the_search_for_a_batch_ends_when_memory_is_exhausted() -> None:
    def seconds(count: int) -> float:
        if count > 4:
            raise MemoryLimitError("no memory left", "enough", "lower --size")
        return 1.0

    assert fastest_batch(seconds) == 4


def test_on_a_cpu_the_batch_follows_from_the_size_alone() -> None:
    vae = LinearVAE()
    sizes = {size: batch_size(vae, size, size) for size in (32, 64, 128, 256, 1024)}
    assert sizes == {32: 8, 64: 8, 128: 2, 256: 1, 1024: 1}


def test_elsewhere_it_is_measured_once_for_each_size() -> None:
    # "meta" stands for an accelerator: it takes tensors and computes nothing.
    calls = 0

    def count(batch: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        shape = (4, 4, 4) if batch.shape[1] == 3 else (3, 32, 32)
        return torch.zeros(len(batch), *shape)

    vae = wrap_vae(encode=count, decode=count, spec=LatentSpec("counted", 4, 8), device="meta")
    powers = (1, 2, 4, 8, 16, 32, 64)
    first = batch_size(vae, 32, 32)
    measured = calls
    assert first in powers
    assert batch_size(vae, 32, 32) == first
    assert calls == measured >= 4
    # decoding needs other memory and time than encoding
    assert batch_size(vae, 32, 32, "decode") in powers
    assert calls > measured


@pytest.mark.parametrize("ahead", [False, True])
def test_images_keep_their_order_and_only_one_batch_is_ahead(ahead: bool) -> None:
    begun: list[int] = []

    def begin() -> Iterator[Sent]:
        for index in range(4):
            begun.append(index)
            yield send_to_cpu(torch.tensor([index]))

    arrived = []
    for values in one_ahead(begin(), ahead=ahead):
        arrived.append(int(values))
        assert len(begun) - len(arrived) <= ahead
    assert arrived == [0, 1, 2, 3]


def test_results_may_be_differentiated(linear_vae: LinearVAE) -> None:
    latent = encode(linear_vae, torch.rand(3, 32, 32) * 2 - 1)
    assert not latent.values.is_inference()
    point = latent.values.clone().requires_grad_()
    linear_vae.decode(point[None]).square().sum().backward()
    assert point.grad is not None


class Overflowing(LinearVAE):
    """A linear VAE that is beyond float16's range in float16."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def cast(self, dtype: torch.dtype) -> LatentVAE:
        return Overflowing(dtype)

    def _place(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        return batch

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, logvar = super()._encode(images)
        return (mean * torch.inf if self.dtype == torch.float16 else mean), logvar

    def _decode(self, latents: Tensor) -> Tensor:
        decoded = super()._decode(latents)
        return decoded * torch.nan if self.dtype == torch.float16 else decoded


def test_float16_that_overflows_is_repeated_in_float32() -> None:
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    exact = LinearVAE()
    with pytest.warns(UserWarning, match="overflows when it encodes in float16"):
        found = encode_batch(Overflowing(torch.float16), images).mean
    torch.testing.assert_close(found, exact.encode(images).mean)
    with pytest.warns(UserWarning, match="overflows when it decodes in float16"):
        decoded = torch.stack([*decode_each(Overflowing(torch.float16), found)])
    torch.testing.assert_close(decoded, exact.decode(found))


def test_what_overflows_in_another_precision_is_an_error() -> None:
    vae = wrap_vae(
        encode=lambda images: images[:, :, ::8, ::8] * torch.inf,
        decode=lambda latents: latents,
        spec=LatentSpec("broken", 3, 8),
    )
    with pytest.raises(NonFiniteError, match="NaN or infinite latents"):
        encode_batch(vae, torch.ones(1, 3, 32, 32))


def test_a_cast_is_a_copy_in_another_dtype() -> None:
    vae = load_vae("mini")
    half = vae.cast(torch.bfloat16)
    assert (vae.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    exact, rounded = vae.encode(image).mean, half.encode(image).mean
    assert rounded.dtype == torch.float32
    assert 1e-4 < float((rounded - exact).std() / exact.std()) < 0.05
    assert half.in_float32.dtype == torch.float32


def test_a_cast_of_a_compiled_vae_runs_its_own_weights() -> None:
    vae = load_vae("mini")
    compile_vae(vae, backend="eager")
    half = vae.cast(torch.bfloat16)
    assert vae.is_compiled
    assert half.is_compiled
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    expected = load_vae("mini", dtype="bfloat16").encode(image).mean
    torch.testing.assert_close(half.encode(image).mean, expected, rtol=0, atol=0)


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_are_encoded_in_order_and_again_if_float16_overflows(
    ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "one_ahead", lambda sent, **_: one_ahead(sent, ahead=ahead))
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(4)) * 2 - 1
    exact = LinearVAE()
    expected = exact.encode(images).mean
    found = torch.cat([*encode_each(exact, images.split(2))])
    torch.testing.assert_close(found, expected)
    with pytest.warns(UserWarning, match="overflows when it encodes"):
        again = torch.cat([*encode_each(Overflowing(torch.float16), images.split(2))])
    torch.testing.assert_close(again, expected)
