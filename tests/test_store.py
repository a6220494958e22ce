"""Stores filled from folders of images: their content, and that it is always the same."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from command_line import files_in
from hypothesis import given
from hypothesis import strategies as st
from image_folders import BAD, fill, make_folder, same_files, save_smooth
from safetensors.torch import load_file

import latentlab
from latentlab.encoding.encoder import BegunBatch
from latentlab.errors import FileError, ImageError, NonFiniteError, ShapeError, UsageError
from latentlab.latents import Posterior
from latentlab.store.filling import encode_folder
from latentlab.store.lines import line_of, read_lines
from latentlab.store.reading import open_store
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("place") / "photos", bad=True)


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stores") / "store"
    fill(photos, out, store_dtype="float32")
    return out


def index_of(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / "index.jsonl").read_bytes().splitlines()]


def test_latents_are_those_of_each_image_encoded_alone(photos: Path, finished: Path) -> None:
    store = open_store(finished)
    latents = torch.cat([*store.batches(2)])
    assert latents.shape == (10, 6, 6, 8)
    for path, latent in zip(store.paths(), latents, strict=True):
        expected = latentlab.encode(LinearVAE(), photos / path).values
        torch.testing.assert_close(latent, expected, rtol=0, atol=1e-6)


def test_index_lists_every_image_once_in_order_with_hash_and_place(
    photos: Path, finished: Path
) -> None:
    lines = index_of(finished)
    paths = [line["path"] for line in lines]
    good = [f"{'sub/' if k % 3 == 2 else ''}{k:03d}.png" for k in range(10)]
    top = sorted([path for path in (*good, *BAD) if "/" not in path])
    below = sorted(path for path in (*good, *BAD) if "/" in path)
    assert paths == [*top[:-1], *below, "tiny.png"]
    for line in lines:
        if line["path"] in BAD:
            assert BAD[line["path"]] in line["skipped"]
            continue
        content = (photos / line["path"]).read_bytes()
        assert line["size"] == len(content)
        assert line["sha256"] == hashlib.sha256(content).hexdigest()
        shard = load_file(finished / f"latents-{line['shard']:05d}.safetensors")
        expected = latentlab.encode(LinearVAE(), photos / line["path"]).values
        stored = shard["latents." + "x".join(map(str, line["shape"]))][line["row"]]
        torch.testing.assert_close(stored, expected, rtol=0, atol=1e-6)


def test_encode_folder_opens_the_source_and_fills_the_store(
    photos: Path, finished: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"store_dtype": "float32", "per_shard": 3, "workers": 0}
    filled = encode_folder(LinearVAE(), str(photos), str(tmp_path / "store"), **options)
    assert (filled.folder, filled.computed) == (tmp_path / "store", 14)
    assert same_files(tmp_path / "store", finished)
    with pytest.raises(ImageError, match="neither a folder nor a tar, zip or parquet file"):
        encode_folder(LinearVAE(), photos / "nothing", tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_no_byte(
    workers: int, photos: Path, finished: Path, tmp_path: Path
) -> None:
    fill(photos, tmp_path / "store", store_dtype="float32", workers=workers)
    assert same_files(tmp_path / "store", finished)


@pytest.mark.parametrize(
    ("cores", "ranks", "beside_model", "expected"),
    [
        *((1, 1, False, 1), (2, 1, False, 1), (2, 1, True, 0), (3, 1, True, 2)),
        *((16, 1, False, 15), (8, 4, True, 0), (8, 4, False, 1), (16, 2, True, 7)),
    ],
)
def test_workers_leave_few_cores_to_a_model_on_the_cpu(
    cores: int, ranks: int, beside_model: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = importlib.import_module("latentlab.store.workers")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(workers, "ranks_here", lambda: ranks)
    assert workers.default_workers(beside_model=beside_model) == expected


@pytest.mark.parametrize(("device", "expected"), [("cpu", True), ("cuda", False)])
def test_the_number_of_workers_depends_on_where_the_model_computes(
    device: str, expected: bool, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(*, beside_model: bool) -> int:
        raise LookupError(beside_model)

    monkeypatch.setattr("latentlab.store.filling.default_workers", tell)
    vae = LinearVAE()
    monkeypatch.setattr(vae, "device", torch.device(device))
    with pytest.raises(LookupError, match=str(expected)):
        fill(photos, tmp_path / "store", vae=vae, workers=None)


def test_a_store_keeps_the_number_of_threads_it_was_begun_with(
    photos: Path, tmp_path: Path
) -> None:
    class Watched(LinearVAE):
        threads: ClassVar[set[int]] = set()

        def encode(self, images: torch.Tensor) -> Posterior:
            self.threads.add(torch.get_num_threads())
            return super().encode(images)

    before = torch.get_num_threads()
    fill(photos, tmp_path / "store", vae=Watched(), threads=before + 1)
    (tmp_path / "store" / "latents-00000.jsonl").unlink()
    fill(photos, tmp_path / "store", vae=Watched())
    assert Watched.threads == {before + 1}
    assert torch.get_num_threads() == before
    with pytest.raises(FileError, match="threads"):
        fill(photos, tmp_path / "store", threads=before + 2)


def test_a_store_that_was_begun_under_an_earlier_spelling_is_resumed(
    photos: Path, tmp_path: Path
) -> None:
    fill(photos, tmp_path / "store")
    (tmp_path / "store" / "latents-00000.jsonl").unlink()
    manifest = tmp_path / "store" / "store.json"
    text = manifest.read_text()
    assert "center crop" in text
    manifest.write_text(text.replace("center crop", "centre crop"))
    fill(photos, tmp_path / "store")
    assert (tmp_path / "store" / "latents-00000.jsonl").exists()
    assert "centre crop" in manifest.read_text()


class Aside(LinearVAE):
    """Stands for a VAE on a device that computes while this process continues."""

    runs_aside = True


def test_a_device_that_runs_aside_gets_its_next_batch_before_the_last_is_waited_for(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, waited = Aside(), 0
    ahead: list[int] = []
    wait = BegunBatch.wait

    def noted(begun: BegunBatch) -> Posterior:
        nonlocal waited
        ahead.append(vae.encoded - waited)
        waited += len(begun.images)
        return wait(begun)

    monkeypatch.setattr(BegunBatch, "wait", noted)
    fill(photos, tmp_path / "aside", vae=vae, per_shard=4, batch=1)
    # One batch is begun ahead of the one waited for; two at the end of a shard, whose last batch is
    # waited for together with the shard.
    assert set(ahead[:-1]) == {2, 3}
    assert ahead[-1] == 1
    fill(photos, tmp_path / "plain", per_shard=4, batch=1)
    assert same_files(tmp_path / "aside", tmp_path / "plain")


@pytest.mark.parametrize("size", [16, None])
def test_an_error_on_a_device_that_runs_aside_names_its_images(
    size: int | None, photos: Path, finished: Path, tmp_path: Path
) -> None:
    class Broken(Aside):
        def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean, logvar = super()._encode(images)
            return (mean * torch.nan if self.encoded == 4 else mean), logvar

    fourth = [*open_store(finished).paths()][3]
    with pytest.raises(NonFiniteError, match=f"for {fourth}"):
        fill(photos, tmp_path / "store", vae=Broken(), size=size, batch=1)


def test_images_of_several_shapes_are_encoded_together_by_shape(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos", 7)
    for number in range(4):
        save_smooth(folder / f"{number:03d}-tall.png", seed=number, height=40, width=16)
    vae = LinearVAE()
    fill(folder, tmp_path / "store", vae=vae, per_shard=6, batch=2)
    store = open_store(tmp_path / "store")
    assert store.shapes == {(6, 6, 8): 7, (6, 10, 4): 4}
    assert len(store) == vae.encoded == 11
    for line in store.images():
        expected = latentlab.encode(LinearVAE(), folder / line["path"]).values
        assert line["shape"] == [*expected.shape]
        shard = load_file(tmp_path / "store" / f"latents-{line['shard']:05d}.safetensors")
        stored = shard["latents." + "x".join(map(str, line["shape"]))][line["row"]]
        torch.testing.assert_close(stored.float(), expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ShapeError, match=r"2 shapes .* --bucket"):
        store.batches(4)


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_stored_dtype_rounds_once(stored: str, photos: Path, tmp_path: Path) -> None:
    fill(photos, tmp_path / "store", store_dtype=stored, size=16)
    store = open_store(tmp_path / "store")
    latents = torch.cat([*store.batches(100)])
    assert latents.dtype == torch.float32
    assert latents.shape[1:] == store.shape == (6, 4, 4)
    (path, *_) = store.paths()
    expected = latentlab.encode(LinearVAE(), photos / path, size=16).values
    torch.testing.assert_close(latents[0], expected.to(getattr(torch, stored)).float())


def test_batches_are_in_order_and_small_and_ranks_can_share_them(finished: Path) -> None:
    store = open_store(finished)
    whole = [*store.batches(2)]
    assert max(map(len, whole)) == 2
    halves = [torch.cat([*store.batches(2, first_shard=k, every=2)]) for k in (0, 1)]
    assert sum(map(len, halves)) == len(store)
    together = {tuple(row.flatten().tolist()) for half in halves for row in half}
    assert together == {tuple(row.flatten().tolist()) for batch in whole for row in batch}
    with pytest.raises(UsageError, match="rows=0"):
        store.batches(0)


def test_the_manifest_records_how_the_latents_were_made(finished: Path, photos: Path) -> None:
    store = open_store(finished)
    assert store.spec == LinearVAE().spec
    facts = json.loads((finished / "store.json").read_text())
    assert facts["format"] == 1
    assert facts["model"]["family"] == "linear"
    assert facts["pictures"] == 14
    listed = (finished / "pictures.jsonl").read_bytes()
    assert facts["list_sha256"] == hashlib.sha256(listed).hexdigest()
    assert str(photos) not in (finished / "store.json").read_text()
    assert store.skipped == len(BAD)


def test_a_finished_store_stays_as_it_is(finished: Path, photos: Path) -> None:
    before = files_in(finished)
    vae = LinearVAE()
    filled = fill(photos, finished, vae=vae, store_dtype="float32")
    assert (filled.computed, filled.images_per_second, vae.encoded) == (0, None, 0)
    assert files_in(finished) == before


def test_progress_counts_images_of_this_run_and_of_earlier_runs(
    photos: Path, tmp_path: Path
) -> None:
    reported: list[tuple[str, int, int]] = []
    fill(photos, tmp_path / "store", progress=lambda *facts: reported.append(facts))
    assert reported == [("encoding", done, 14) for done in range(1, 15)]
    (tmp_path / "store" / "latents-00001.jsonl").unlink()
    reported.clear()
    fill(photos, tmp_path / "store", progress=lambda *facts: reported.append(facts))
    assert reported == [("encoding", done, 14) for done in (12, 13, 14)]


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name), st.integers())
def test_names_of_any_bytes_survive_a_line(name: bytes, size: int) -> None:
    path = os.fsdecode(name)
    line = line_of({"path": path, "size": size})
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert os.fsencode(json.loads(line)["path"]) == name


def test_strange_names_are_stored_and_read(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos", 1)
    strange = [os.fsdecode(b"caf\xe9.png"), "two\nlines.png", "ü €.png", '"quoted\\".png']
    for name in strange:
        save_smooth(folder / name, seed=1)
    fill(folder, tmp_path / "store", workers=1)
    assert {*open_store(tmp_path / "store").paths()} == {"000.png", *strange}
    assert all(line["size"] > 0 for line in read_lines(tmp_path / "store" / "pictures.jsonl"))
