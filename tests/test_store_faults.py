"""Full disks, foreign stores, damage and changing images give a clear error and lose no work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine, files_in
from faulty_sources import Deadly, Gone, Vanishing
from image_folders import fill, make_folder, same_files, save_smooth
from safetensors.torch import load_file, save_file
from test_cli_bad_input import refused
from torch import Tensor
from torch.distributed import HashStore

from latentlab.cli.console import progress_bar
from latentlab.errors import (
    FileError,
    ImageError,
    MemoryLimitError,
    NonFiniteError,
    UsageError,
)
from latentlab.images.fit import Fit
from latentlab.latents import Posterior
from latentlab.machine.distributed import Ranks
from latentlab.machine.files import sha256_of_file
from latentlab.store.filling import encode_folder
from latentlab.store.preparing import prepare
from latentlab.store.reading import open_store
from latentlab.store.sources import Entry, Folder, left_out, safe_path
from latentlab.store.verification import verify_store
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", 8)


@pytest.fixture
def store(photos: Path, tmp_path: Path) -> Path:
    fill(photos, tmp_path / "store")
    return tmp_path / "store"


# Clocks


def test_a_clock_that_jumps_changes_no_byte_and_no_time_left_is_negative(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encode_folder(LinearVAE(), photos, tmp_path / "steady", size=32, per_shard=3, workers=0)
    moments = chain([1e9], cycle([0.0, 9e4, -3e4, -3e4 + 45, 0.0, 40.0, 100.0]))
    for clock in ("time", "monotonic"):
        monkeypatch.setattr(time, clock, lambda: next(moments))
    with progress_bar() as progress:
        out = tmp_path / "jumping"
        filled = encode_folder(
            LinearVAE(), photos, out, size=32, per_shard=3, workers=0, progress=progress
        )
        assert progress is not None
        for done in range(1, 200):
            progress("sampling", done, 200)
    monkeypatch.undo()
    assert filled.seconds >= 0
    assert filled.images_per_second is None or filled.images_per_second > 0
    assert same_files(tmp_path / "steady", out)
    said = capsys.readouterr().err
    assert "left" in said
    assert "-" not in said.replace("about", "").replace("remaining", ""), said


# Disks


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a small tmpfs, which only root may do."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    options = f"size={kilobytes}k"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_lost(
    cli: CommandLine, photos: Path, tmp_path: Path
) -> None:
    options = ("-m", "linear", "--size", 512, "--per-shard", 2, "--workers", 0)
    with small_disk(tmp_path / "disk", 400) as disk:
        called = cli("encode", photos, "--out", disk / "store", *options)
        refused(called, 3, "No space left on device", "some space")
        there = files_in(disk / "store")
        assert {"store.json", "latents-00000.jsonl"} <= {*there}
        assert "index.jsonl" not in there
        assert not [name for name in there if name.startswith(".")]
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert cli("encode", photos, "--out", disk / "store", *options).code == 0
        assert cli("encode", photos, "--out", tmp_path / "whole", *options).code == 0
        assert same_files(disk / "store", tmp_path / "whole")


def test_a_disk_that_cannot_be_written_is_one_line(
    cli: CommandLine, photos: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 4000) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        called = cli("encode", photos, "--out", disk / "store", "-m", "linear", "--size", 16)
        refused(called, 3, "nothing can be written")


# Other stores, models and images


@dataclass(frozen=True)
class Change:
    """Options other than those with which the store was begun."""

    words: str
    options: dict[str, Any]


CHANGES = {
    "size": Change("size 16 for", {"size": 16}),
    "dtype of the store": Change("store_dtype float32 for", {"store_dtype": "float32"}),
    "images of a shard": Change("per_shard 4 for", {"per_shard": 4}),
    "batch": Change("batch 2 for", {"batch": 2}),
    "channels": Change("another model", {"vae": LinearVAE(channels=5)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_store_with_other_settings_is_refused_and_stays_as_it_is(
    change: str, store: Path, photos: Path
) -> None:
    before = files_in(store)
    with pytest.raises(FileError, match=CHANGES[change].words):
        fill(photos, store, **CHANGES[change].options)
    assert files_in(store) == before


def test_other_weights_are_refused(store: Path, photos: Path) -> None:
    other = LinearVAE()
    other.origin = replace(other.origin, sha256={"weights.safetensors": "0" * 64})
    with pytest.raises(FileError, match="another model"):
        fill(photos, store, vae=other)


def test_options_left_open_are_those_of_the_store(store: Path, photos: Path) -> None:
    (store / "latents-00001.jsonl").unlink()
    fill(photos, store, per_shard=None, batch=None)
    assert open_store(store).manifest.per_shard == 3


@pytest.mark.parametrize("change", ["more", "fewer", "longer"])
def test_another_list_of_images_is_refused(change: str, store: Path, photos: Path) -> None:
    before = files_in(store)
    if change == "more":
        save_smooth(photos / "more.png", seed=9)
    elif change == "fewer":
        (photos / "003.png").unlink()
    else:
        with (photos / "003.png").open("ab") as file:
            file.write(b"x")
    with pytest.raises(FileError, match="other images than those of"):
        fill(photos, store)
    assert files_in(store) == before


def test_a_folder_with_other_files_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds other files"):
        fill(photos, photos)
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="nothing can be written"):
        fill(photos, tmp_path / "file")


def test_a_store_whose_name_safetensors_cannot_open_is_refused(
    photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="not valid UTF-8"):
        fill(photos, tmp_path / os.fsdecode(b"store\xff"))


def test_one_writer_at_a_time(store: Path, photos: Path) -> None:
    from latentlab.machine.files import locked

    with locked(store), pytest.raises(FileError, match="another process is writing"):
        fill(photos, store)
    fill(photos, store)


@pytest.mark.parametrize(
    "options",
    [{"store_dtype": "float64"}, {"per_shard": 0}, {"batch": -1}, {"size": 7}, {"threads": 0},
     {"threads": 10**5}, {"per_shard": 10**20}],
    ids=str,
)  # fmt: skip
def test_invalid_options_are_refused(options: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        fill(photos, tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


# Damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def edit(number: int, **facts: Any) -> Callable[[Path], None]:
    """Return a function that changes facts in one line of an index; None removes a fact."""

    def change(path: Path) -> None:
        lines = path.read_text().splitlines()
        line = json.loads(lines[number]) | facts
        lines[number] = json.dumps({k: v for k, v in line.items() if v is not None})
        path.write_text("\n".join(lines) + "\n")

    return change


DAMAGE = {
    "short latents": ("latents-00001.safetensors", cut, "bytes instead of"),
    "flipped latents": ("latents-00001.safetensors", flip, "is not what"),
    "no latents": ("latents-00001.safetensors", Path.unlink, "is missing"),
    "short index": ("latents-00001.jsonl", cut, "damaged in line 4"),
    "empty index": ("latents-00001.jsonl", lambda path: path.write_bytes(b""), "first line"),
    "another row": ("latents-00001.jsonl", edit(2, row=0), "with row 0 of"),
    "another hash": ("latents-00001.jsonl", edit(2, sha256="0" * 64), "contradicts itself"),
    "no shape": ("latents-00001.jsonl", edit(2, shape=None), "damaged in line 3"),
    "a number for a shape": ("latents-00001.jsonl", edit(2, shape=5), "damaged in line 3"),
    "no path": ("latents-00001.jsonl", edit(3, path=None), "damaged in line 4"),
    "words for bytes": ("latents-00001.jsonl", edit(0, bytes="x"), "first line"),
    "words for shapes": ("latents-00001.jsonl", edit(0, shapes=[["6", 6, 8, 3]]), "first line"),
    "fewer than none": ("latents-00001.jsonl", edit(0, shapes=[[6, 6, 8, -3]]), "first line"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_is_reported_and_computed_again(
    kind: str, store: Path, photos: Path
) -> None:
    before = files_in(store)
    name, damage, words = DAMAGE[kind]
    damage(store / name)
    found = verify_store(store)
    assert found.count >= 1
    assert any(words in problem for problem in found.problems)
    vae = LinearVAE()
    with pytest.warns(UserWarning, match=rf"shard 1 is computed again: .*{words}"):
        fill(photos, store, vae=vae)
    assert vae.encoded == 3
    assert files_in(store) == before
    assert verify_store(store).count == 0


def test_an_index_of_other_images_is_not_accepted(store: Path, photos: Path) -> None:
    before = files_in(store)
    for suffix in ("safetensors", "jsonl"):
        shutil.copy(store / f"latents-00000.{suffix}", store / f"latents-00001.{suffix}")
    with pytest.warns(UserWarning, match="is the index of shard 0"):
        fill(photos, store)
    assert files_in(store) == before


def test_an_index_that_contradicts_itself_is_not_accepted(store: Path, photos: Path) -> None:
    before = files_in(store)
    index = store / "latents-00001.jsonl"
    lines = index.read_text().splitlines()
    line = json.loads(lines[1])
    lines[1] = json.dumps({**line, "shape": [6, 1, 1]})
    index.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match="with row 1 of"):
        fill(photos, store)
    assert files_in(store) == before


CONTRADICTIONS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a row twice": ("latents-00001.jsonl", edit(2, row=0), "row 0 of"),
    "a row too early": ("latents-00001.jsonl", edit(1, row=1), "row 1 of"),
    "another shard": ("latents-00001.jsonl", edit(2, shard=0), "damaged in line 3"),
    "another head": ("latents-00001.jsonl", edit(0, shard=2), "index of shard 2"),
    "fewer images": ("latents-00001.jsonl", edit(0, pictures=2), "2 images"),
    "more skipped": ("latents-00001.jsonl", edit(0, skipped=1), "4 images"),
    "fewer shards": ("store.json", lambda path: recount(path, pictures=3), "more than 1 shard"),
    "other channels": ("store.json", lambda path: recount(path, channels=4), "of 6 channels"),
}


def recount(path: Path, *, pictures: int | None = None, channels: int | None = None) -> None:
    facts = json.loads(path.read_text())
    facts["pictures"] = pictures or facts["pictures"]
    facts["spec"]["channels"] = channels or facts["spec"]["channels"]
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_store_whose_files_contradict_each_other_is_not_read(kind: str, store: Path) -> None:
    """Each way to read would tell something else: by path, by number, or in batches."""
    name, change, words = CONTRADICTIONS[kind]
    change(store / name)
    with pytest.raises(FileError, match=words):
        [*open_store(store).paths()]


def test_an_index_with_a_line_less_is_not_read(store: Path) -> None:
    path = store / "latents-00001.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(FileError, match="2 lines"):
        [*open_store(store).paths()]


def test_unfinished_and_damaged_stores_are_not_read(store: Path, cli: CommandLine) -> None:
    cut(store / "latents-00000.safetensors")
    with pytest.raises(FileError, match="to complete or repair the store"):
        open_store(store)
    (store / "latents-00000.jsonl").unlink()
    refused(cli("store", "info", store), 3, "2 of 3 shards", "to complete or repair")
    (store / "store.json").write_text("{}")
    refused(cli("store", "info", store), 3, "store of format 1")
    refused(cli("store", "info", store / "nothing"), 3, "does not exist")


@pytest.mark.parametrize(
    "facts",
    [
        {"pictures": 7},
        {"pictures": 40},
        {"pictures": 0},
        {"pictures": "8"},
        {"per_shard": 0},
        {"per_shard": 2.5},
        {"batch": True},
        {"threads": "x"},
        {"threads": 10**6},
        {"dtype": "int8"},
        {"stored": "int8"},
        {"tile": "x"},
        {"model": 5},
        {"spec": {"name": "x", "channels": -1, "stride": 8}},
    ],
    ids=str,
)
def test_a_manifest_that_was_edited_is_refused(
    facts: dict[str, Any], store: Path, photos: Path, cli: CommandLine
) -> None:
    written = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps(written | facts))
    before = files_in(store)
    wrong_count = facts.get("pictures") in (7, 40)
    words = "a source of 8 images" if wrong_count else r"store\.json, which cannot be used"
    with pytest.raises(FileError, match=words):
        fill(photos, store, per_shard=None)
    assert files_in(store) == before
    assert cli("store", "verify", store).code == 3


@pytest.mark.parametrize("form", ["fewer rows", "other numbers"])
def test_latents_that_are_not_what_their_index_says_are_not_read(
    form: str, store: Path, cli: CommandLine
) -> None:
    path, index = store / "latents-00001.safetensors", store / "latents-00001.jsonl"
    (name, rows), *_ = load_file(path).items()
    save_file({name: rows[:2].clone() if form == "fewer rows" else rows.float()}, path)
    edit(0, bytes=path.stat().st_size, sha256=sha256_of_file(path))(index)
    refused(cli("store", "export", store, "--out", "x.npy"), 3, "as its index says")
    refused(cli("pca", store), 3, "as its index says")


def test_an_export_never_lies_in_the_store(store: Path, cli: CommandLine) -> None:
    before = files_in(store)
    for name in ("images.npy", "latents-00000.safetensors", "below/x.npz"):
        refused(cli("store", "export", store, "--out", store / name), 2, "inside the store")
    assert files_in(store) == before


# Images that change, vanish and come back


def test_a_changed_image_is_reported_with_exit_code_3(
    store: Path, photos: Path, cli: CommandLine
) -> None:
    assert cli("store", "verify", store, "--pictures", photos).code == 0
    flip(photos / "003.png")
    (photos / "004.png").unlink()
    called = cli("store", "verify", store, "--pictures", photos, "--json")
    assert called.code == 3
    facts = json.loads(called.out)
    assert facts["count"] == 2
    assert facts["whole"] is False
    assert "003.png has changed since it was encoded" in facts["problems"]
    assert "004.png cannot be read (No such file or directory)" in facts["problems"]
    assert cli("store", "verify", store).code == 0


def test_a_missing_image_is_encoded_once_it_is_back(
    photos: Path, store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "other"
    encode_folder(LinearVAE(), Vanishing(photos), out, per_shard=3, workers=0)
    assert open_store(out).skipped == 1
    index = (out / "index.jsonl").read_text()
    assert '"skipped":"cannot be read (No such file or directory)"' in index
    vae = LinearVAE()
    fill(photos, out, vae=vae)
    assert vae.encoded == 3
    assert same_files(out, store)


def test_a_disk_that_is_gone_ends_the_run(photos: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="3 images in a row that cannot be read"):
        encode_folder(LinearVAE(), Gone(photos), tmp_path / "other", per_shard=3, workers=0)
    fill(photos, tmp_path / "other")
    assert same_files(tmp_path / "other", store)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_crashes_its_worker_is_skipped(
    workers: int, photos: Path, store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "other"
    encode_folder(LinearVAE(), Deadly(photos), out, per_shard=3, workers=workers)
    opened = open_store(out)
    assert (len(opened), opened.skipped) == (7, 1)
    assert "ended the process that decoded it (7)" in (out / "index.jsonl").read_text()
    fill(photos, out)
    assert same_files(out, store)


def test_no_image_is_one_line(tmp_path: Path, cli: CommandLine) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "store"
    refused(cli("encode", "empty", "--out", out, "-m", "linear"), 3, "no image")
    refused(cli("encode", "nothing", "--out", out, "-m", "linear"), 3, "nothing")
    assert not [*out.glob("*")]


def test_links_out_of_the_folder_hidden_files_and_loops_are_told(
    photos: Path, tmp_path: Path
) -> None:
    outside = save_smooth(tmp_path / "outside.png", seed=1)
    (photos / "out.png").symlink_to(outside)
    (photos / "in.png").symlink_to(photos / "000.png")
    (photos / "dangling.png").symlink_to(photos / "nothing.png")
    (photos / "loop").symlink_to(photos)
    found = [entry.path for entry in Folder(photos).entries()]
    assert {"in.png", "out.png"} <= {*found}
    assert not {"dangling.png", ".hidden.png"} & {*found}
    assert not [path for path in found if path.startswith("loop")]
    left = {".txt": 1, "link that leads nowhere": 1}
    assert left_out(Folder(photos)) == {**left, "link to a folder": 1}
    assert "--follow-links" in prepare(Folder(photos), Fit(4), "out.png").problem
    followed = Folder(photos, follow_links=True)
    assert prepare(followed, Fit(4), "out.png").levels is not None
    assert left_out(followed) == {**left, "link to a folder around it": 1}


@pytest.mark.parametrize("path", ["../outside.png", "/etc/passwd", "sub/../../x.png", "out.png"])
def test_paths_of_a_list_never_lead_out_of_the_folder(path: str, photos: Path) -> None:
    (photos / "out.png").symlink_to("/etc/passwd")
    with pytest.raises(FileError, match=r"a (path|file) inside"):
        safe_path(photos, path)


def test_a_changed_list_is_not_followed(store: Path, photos: Path) -> None:
    entry = {"path": "../outside.png", "size": 3}
    (store / "pictures.jsonl").write_text(json.dumps(entry) + "\n")
    assert "pictures.jsonl is not the list" in verify_store(store).problems[0]
    fill(photos, store)
    assert not verify_store(store).count


def test_a_list_is_restored_only_for_the_same_images(store: Path, photos: Path) -> None:
    whole = (store / "pictures.jsonl").read_bytes()
    for damaged in (whole[:-5], b"", whole.replace(b'"size"', b'"seize"', 1)):
        (store / "pictures.jsonl").write_bytes(damaged)
        assert verify_store(store).count
        fill(photos, store)
        assert (store / "pictures.jsonl").read_bytes() == whole
    (store / "pictures.jsonl").write_bytes(whole[:-5])
    (photos / "003.png").unlink()
    with pytest.raises(FileError, match=r"which do not match store\.json"):
        fill(photos, store)
    assert (store / "pictures.jsonl").read_bytes() == whole[:-5]


# Numbers


class Overflowing(LinearVAE):
    """A model with a latent that is huge or NaN for one image."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def encode(self, images: Tensor) -> Posterior:
        found = super().encode(images)
        if self.encoded == 5:
            found.mean[0, 0, 0, 0] = self.value
        return found


@pytest.mark.parametrize(
    ("value", "words"),
    [(7e4, "000.png that reaches 70000.*float16"), (torch.nan, "NaN .* for 000.png")],
)
def test_latents_that_cannot_be_stored_name_their_image(
    value: float, words: str, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "one", 2)
    for number in range(4):
        save_smooth(folder / f"000-{number}.png", seed=number)
    with pytest.raises(NonFiniteError, match=words):
        fill(folder, tmp_path / "store", vae=Overflowing(value))
    if value == 7e4:
        fill(folder, tmp_path / "wide", vae=Overflowing(value), store_dtype="float32")


class Small(LinearVAE):
    """A model on a machine with room for 24×32 pixels."""

    def encode(self, images: Tensor) -> Posterior:
        if images[0, 0].numel() > 24 * 32:
            raise MemoryError
        return super().encode(images)


def test_a_shard_of_images_too_large_is_listed_and_the_next_encoded(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "some", 3)
    for number in range(2):
        save_smooth(folder / f"00-{number}.png", seed=number, height=40, width=40)
    fill(folder, tmp_path / "out", vae=Small(), per_shard=2)
    assert len(open_store(tmp_path / "out")) == 3
    assert "too large for this machine" in (tmp_path / "out" / "latents-00000.jsonl").read_text()


def test_a_loop_of_links_leads_nowhere(photos: Path, store: Path) -> None:
    (photos / "003.png").unlink()
    (photos / "003.png").symlink_to(photos / "003.png")
    found = verify_store(store, Folder(photos))
    assert found.problems == ("'003.png', a link which leads out of its folder",)
    prepared = prepare(Folder(photos), Fit(4), "003.png")
    assert prepared.problem.startswith("'003.png', a link which leads out of its folder")


def test_an_image_too_large_for_this_machine_is_left_for_another(
    photos: Path, store: Path, tmp_path: Path
) -> None:
    save_smooth(photos / "000-large.png", seed=1, height=64, width=64)
    out = tmp_path / "other"
    fill(photos, out, vae=Small())
    assert (len(open_store(out)), open_store(out).skipped) == (8, 1)
    assert "too large for this machine" in (out / "index.jsonl").read_text()
    fill(photos, out)
    assert len(open_store(out)) == 9
    # If all images have one size, none of them fits.
    with pytest.raises(MemoryLimitError):
        fill(photos, tmp_path / "square", vae=Small(), size=64)


def test_a_rank_with_other_weights_is_refused(photos: Path, tmp_path: Path) -> None:
    board = HashStore()
    board.add("arrived/the list of images/1", 1)
    other = LinearVAE()
    other.origin = replace(other.origin, family="other")
    fill(photos, tmp_path / "store")
    (tmp_path / "store" / "latents-00001.jsonl").unlink()
    with pytest.raises(FileError, match="another model"):
        fill(photos, tmp_path / "store", vae=other, ranks=Ranks(1, 2, board=board))
    assert not (tmp_path / "store" / "latents-00001.jsonl").exists()


def test_a_folder_that_vanishes_while_it_is_listed_is_an_image_error(photos: Path) -> None:
    entries = Folder(photos).entries()
    assert isinstance(next(entries), Entry)
    shutil.rmtree(photos)
    with warnings.catch_warnings(), pytest.raises(ImageError) as caught:
        [*entries, *Folder(photos).entries()]
    assert "cannot be read" in str(caught.value)
