"""Files that were made to fill the memory, or whose damage no reader expects: one line each."""

from __future__ import annotations

import io
import pickle
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from latentlab.errors import FileError, WeightsError
from latentlab.loaders import load_vae, pickles
from latentlab.loaders.weights import read_tensors
from latentlab.store.containers import Place, arrays_in


def shared(levels: int) -> dict[str, Any]:
    """Return a mapping of ten keys a level that all lead to one tensor: 10^levels names."""
    found: dict[str, Any] = {"w": torch.zeros(1)}
    for _ in range(levels):
        found = {f"k{i}": found for i in range(10)}
    return found


def endless() -> dict[str, Any]:
    found: dict[str, Any] = {"w": torch.zeros(1)}
    found["again"] = found
    return found


def place(path: Path) -> Place:
    return Place(path, path.name, path.stat().st_size)


@pytest.fixture
def few_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentlab.loaders.pickles.MOST_ENTRIES", 1000)


@pytest.mark.usefixtures("few_entries")
def test_weights_with_countless_names_are_refused(tmp_path: Path) -> None:
    torch.save(shared(4), tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match=r"nested mappings with more than 1,000 entries"):
        read_tensors(tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match=r"nested mappings with more than 1,000 entries"):
        load_vae(shared(4))
    torch.save(shared(2), tmp_path / "b.ckpt")
    assert len(read_tensors(tmp_path / "b.ckpt")) == 100


@pytest.mark.usefixtures("few_entries")
@pytest.mark.parametrize("content", [shared(4), endless()], ids=["countless", "endless"])
def test_latents_with_countless_names_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"a\.pt, which holds more than .* inside one another"):
        arrays_in(place(tmp_path / "a.pt"))


FILL_MEMORY = {
    "memo": b"\x80\x02Nr\xff\xff\xff\xff0cfoo\nBar\n.",
    "bytes": b"\x80\x05cfoo\nBar\n\x96" + (2**36).to_bytes(8, "little") + b"abc0.",
}
"""Kind → a pickle that a careless reader allocates 64 GB for."""


@pytest.mark.parametrize("kind", FILL_MEMORY)
def test_a_few_bytes_never_fill_the_memory(kind: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))
    try:
        with suppress(EOFError):
            assert pickles._load(io.BytesIO(FILL_MEMORY[kind])).__name__ == "Bar"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_long_arrays_of_bytes_beside_weights_are_read() -> None:
    content = [bytearray(b"short"), bytearray(100_000)]
    assert pickles._load(io.BytesIO(pickle.dumps(content, 5))) == content
