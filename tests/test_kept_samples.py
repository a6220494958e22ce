"""Neighborhoods kept on disk: found again only where everything is the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from command_line import CommandLine

from latentlab import encode, load_vae, neighborhood
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.tiles import tiled
from latentlab.results import kept_samples
from latentlab.results.kept_samples import FOLDER, find_kept, keep, samples_key

SETTINGS = {"region": None, "seed": 0, "options": {}}


@pytest.fixture(scope="module")
def vae() -> LatentVAE:
    """Return the linear control, whose weights have a hash."""
    return load_vae("linear")


@pytest.fixture(scope="module")
def latent(vae: LatentVAE) -> Latent:
    """Return the latent of a small image."""
    return encode(vae, "sample:flower", size=64)


def key_of(vae: LatentVAE, latent: Latent, name: str = "augment", **changes: object) -> str | None:
    """Return the key of a neighborhood with some settings changed."""
    plain = {"samples": 8, "dtype": "auto"}
    others = {**SETTINGS, **{k: v for k, v in changes.items() if k not in plain}}
    chosen = {k: changes.get(k, v) for k, v in plain.items()}
    return samples_key(vae, latent, name, chosen["samples"], chosen["dtype"], others)  # type: ignore[arg-type]


def test_what_is_kept_comes_back_the_same(vae: LatentVAE, latent: Latent, tmp_path: Path) -> None:
    hood = neighborhood(vae, latent, "augment", n_samples=8)
    key = key_of(vae, latent)
    keep(tmp_path, key, hood, {"encode": "float32"})
    kept = find_kept(tmp_path, key, latent)
    assert kept is not None
    again, precision = kept
    assert torch.equal(again.samples, hood.samples)
    assert precision == {"encode": "float32"}
    same, other = again.sampling, hood.sampling
    assert (same.name, same.seed, same.label) == (other.name, other.seed, other.label)
    assert (same.options, same.statement) == (other.options, other.statement)
    assert again.layout == hood.layout
    assert again.factors.keys() == hood.factors.keys()
    assert all(torch.equal(again.factors[name], hood.factors[name]) for name in hood.factors)


@pytest.mark.parametrize(
    "change",
    [{"samples": 9}, {"dtype": "float32"}, {"seed": 1}, {"options": {"blur": "0"}},
     {"region": [0, 0, 8, 8]}],
    ids=str,
)  # fmt: skip
def test_any_other_setting_has_another_key(
    vae: LatentVAE, latent: Latent, change: dict[str, object]
) -> None:
    assert key_of(vae, latent, **change) != key_of(vae, latent)


def test_another_image_or_model_has_another_key(vae: LatentVAE, latent: Latent) -> None:
    other = encode(vae, "sample:china", size=64)
    assert key_of(vae, other) != key_of(vae, latent)
    wider = load_vae("linear32")
    assert key_of(wider, encode(wider, "sample:flower", size=64)) != key_of(vae, latent)


def test_tiles_have_another_key(vae: LatentVAE, latent: Latent) -> None:
    assert key_of(tiled(vae, 32, 16), latent) != key_of(vae, latent)


@pytest.mark.parametrize("name", ["gaussian", "tokens", "knn", "frames"])
def test_what_costs_nothing_or_reads_other_files_is_not_kept(
    vae: LatentVAE, latent: Latent, name: str
) -> None:
    assert key_of(vae, latent, name) is None


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "cut"])
def test_a_damaged_file_counts_as_none(
    vae: LatentVAE, latent: Latent, tmp_path: Path, content: bytes | None
) -> None:
    key = key_of(vae, latent)
    keep(tmp_path, key, neighborhood(vae, latent, "augment", n_samples=8), {})
    (path,) = (tmp_path / FOLDER).iterdir()
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    assert find_kept(tmp_path, key, latent) is None


def test_the_oldest_go_when_there_is_too_much(
    vae: LatentVAE, latent: Latent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hood = neighborhood(vae, latent, "augment", n_samples=8)
    monkeypatch.setattr(kept_samples, "LARGEST", 5 * hood.samples.numel() * 4 // 2)
    for age, key in enumerate(["a", "b", "c"]):
        keep(tmp_path, key, hood, {})
        path = tmp_path / FOLDER / f"{key}.safetensors"
        if path.exists():
            os.utime(path, ns=(age, age))
    assert find_kept(tmp_path, "a", latent) is None
    assert find_kept(tmp_path, "c", latent) is not None


def test_where_nothing_can_be_written_nothing_is_kept(
    vae: LatentVAE, latent: Latent, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    hood = neighborhood(vae, latent, "augment", n_samples=8)
    keep(tmp_path / "file", "key", hood, {})
    assert find_kept(tmp_path / "file", "key", latent) is None


def test_traverse_after_pca_draws_nothing(cli: CommandLine) -> None:
    arguments = ["sample:flower", "--size", "64", "-m", "mini", "-n", "8"]
    assert cli("pca", *arguments, "--out", "first", "--json").facts
    walk = ("--components", "1", "--steps", "2", "--out", "second")
    done = cli("traverse", *arguments, *walk)
    assert done.code == 0
    assert "nothing is encoded again" in done.err
    for name in ("pca.json", "pca.safetensors"):
        first, second = (Path(folder, name).read_bytes() for folder in ("first", "second"))
        assert first == second
