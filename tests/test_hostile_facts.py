"""Texts and headers of other kinds than those written: one clear error, wherever they are read."""

from __future__ import annotations

import ast
import io
import json
import math
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import save_model
from PIL import Image

import latentlab
from latentlab.cli.defaults import choose_model
from latentlab.errors import FileError, ImageError, LatentlabError, ModelNotFoundError, WeightsError
from latentlab.explorer.protocol import read_text
from latentlab.images.checking import check_readable
from latentlab.images.reading import read_image
from latentlab.loaders import load_vae
from latentlab.loaders.configs import clean_config, read_config
from latentlab.loaders.measured import read_measured
from latentlab.loaders.recognize import describe_weights
from latentlab.loaders.weights import read_metadata, read_tensors
from latentlab.measures.protocols import find_protocol
from latentlab.results.folders import read_json
from latentlab.results.provenance import asked_dtype
from latentlab.store.arrays import Place
from latentlab.store.containers import arrays_in
from latentlab.store.lines import read_lines
from latentlab.store.manifest import read_manifest

DEEP = "[" * 50_000
"""What Python's readers of JSON and TOML end with a RecursionError at."""


def readers(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return readers of files of this folder, by the name of the file."""
    return {
        "facts.json": lambda: read_json(folder / "facts.json"),
        "config.json": lambda: read_config(folder / "config.json"),
        "measured.json": lambda: read_measured(folder / "measured.json", {}),
        "store.json": lambda: read_manifest(folder),
        "lines.jsonl": lambda: [*read_lines(folder / "lines.jsonl")],
        "protocol.toml": lambda: find_protocol(str(folder / "protocol.toml")),
        "pyproject.toml": lambda: choose_model(folder=folder),
    }


@pytest.mark.parametrize("name", readers(Path()))
def test_lists_inside_one_another_without_end_are_one_error(tmp_path: Path, name: str) -> None:
    start = "x = " if name.endswith(".toml") else ""
    (tmp_path / name).write_text(f"{start}{DEEP}\n")
    with pytest.raises(LatentlabError):
        readers(tmp_path)[name]()


def test_a_message_of_lists_without_end_is_refused() -> None:
    with pytest.raises(LatentlabError, match="not JSON"):
        read_text(DEEP)


def test_json_and_toml_are_parsed_in_one_place() -> None:
    """Everywhere else a text could end with a RecursionError that nobody expects."""
    package = Path(latentlab.__file__).parent
    allowed = {"machine/parsing.py", "loaders/catalogue.py", "store/workers.py"}
    own = {"loaders/in_memory.py", "results/comparisons.py"}  # of what was written a line before
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                *("json.loads", "json.load", "tomllib.loads", "tomllib.load"),
            ):
                found.add(path.relative_to(package).as_posix())
    assert found <= allowed | own


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**400), math.inf, math.nan, True, "1", 0],
    ids=["huge", "low", "inf", "nan", "bool", "text", "zero"],
)
def test_a_scale_that_is_no_float_is_refused(value: Any) -> None:
    with pytest.raises(WeightsError, match=r"scaling_factor = .* in config\.json"):
        clean_config({"scaling_factor": value}, "config.json")
    with pytest.raises(WeightsError, match=r"latents_std in config\.json"):
        clean_config({"latents_mean": [0], "latents_std": [[value]]}, "config.json")


@pytest.mark.parametrize("line", ["data_range = 1" + 400 * "0", "size = 4294967296", "seed = 1e3"])
def test_numbers_of_a_protocol_that_nothing_can_hold_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine.toml").write_text(line)
    with pytest.raises(LatentlabError, match="Correct"):
        find_protocol(str(tmp_path / "mine.toml")).describe()


@pytest.mark.parametrize("record", [{"pca": []}, {"pca": {"precision": 3}}, {"pca": None}, {}])
def test_a_record_of_another_kind_leaves_the_precision_to_the_model(
    tmp_path: Path, record: Any
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert asked_dtype(tmp_path) == "auto"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seed", math.inf), ("neighborhood", "window"), ("directions", 7), ("layout", [1])),
        *(("directions", [{}, {}]), ("meanings", [0, 1]), ("notes", "x"), ("matvecs", "x")),
        *(("baseline_strength", "x"), ("n_samples", [4])),
    ],
)
def test_facts_of_another_kind_are_a_damaged_result(tmp_path: Path, key: str, value: Any) -> None:
    vae = load_vae("linear")
    latent = latentlab.encode(vae, torch.rand(3, 16, 16) * 2 - 1)
    hood = latentlab.neighborhood(vae, latent, "gaussian", n_samples=4)
    latentlab.save(latentlab.find_directions(vae, latent, hood, 2), tmp_path)
    facts = json.loads((tmp_path / "directions.json").read_text())
    facts = {**{name: facts[name] for name in facts if name != "sampler"}, key: value}
    (tmp_path / "directions.json").write_text(json.dumps(facts))
    with pytest.raises(FileError):
        latentlab.load(tmp_path)


@pytest.mark.parametrize("count", [[4], {}, "x", "UpDecoderBlock2D"])
def test_channels_that_are_no_number_are_refused(tmp_path: Path, count: Any) -> None:
    save_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "latent_channels": count}))
    with pytest.raises(LatentlabError):
        load_vae(tmp_path)


def test_groups_fewer_than_one_are_refused_when_a_model_is_built(tmp_path: Path) -> None:
    save_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for groups in (-1, 0):
        (tmp_path / "config.json").write_text(json.dumps({**config, "norm_num_groups": groups}))
        with pytest.raises(WeightsError, match=f"norm_num_groups = {groups}"):
            load_vae(tmp_path)


def test_weights_with_fewer_axes_are_described(tmp_path: Path) -> None:
    tensors = {"decoder.conv_in.weight": torch.zeros(3), "encoder.conv_in.weight": torch.zeros(3)}
    assert describe_weights(tensors)


# Headers


@pytest.mark.parametrize(
    "tail",
    [
        *(b"{'descr': '<f4', 'shape': (", b"'''", b"{\n  'a': (1,\n"),
        b"{'descr': '(,)f4', 'fortran_order': False, 'shape': (3,)}",
    ],
)
def test_a_damaged_header_of_numpy_names_its_file(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.npy"
    head = np.lib.format.magic(1, 0) + len(tail).to_bytes(2, "little") + tail
    path.write_bytes(head + bytes(64))
    with pytest.raises(FileError, match=r"a\.npy, which cannot be read"):
        arrays_in(Place(path, path.name, path.stat().st_size))


def test_weights_in_a_zip_file_of_several_disks_are_damaged(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    locator = b"PK\x06\x07" + bytes(12) + (2).to_bytes(4, "little")
    end = content.rindex(b"PK\x05\x06")
    content[end:end] = locator
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.is_zipfile(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="truncated or not a weights file"):
        read_tensors(tmp_path / "a.pt")


def test_damaged_metadata_are_damaged_weights(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes((9).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match=r"a\.safetensors, truncated"):
        read_metadata(tmp_path / "a.safetensors")


# Programs and names


def test_an_image_that_is_a_program_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow knows EPS by its content, and draws it with an interpreter of PostScript."""
    content = io.BytesIO()
    Image.new("RGB", (9, 9)).save(content, "EPS")
    (tmp_path / "cat.png").write_bytes(content.getvalue())
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **_: started.append(a))
    for read in (read_image, check_readable):
        with pytest.raises(ImageError, match=r"cat\.png, a program of PostScript"):
            read(tmp_path / "cat.png")
    assert not started


@pytest.mark.parametrize("name", ["a" * 5000, "~no-such-user/vae", "a," + "b" * 5000])
def test_a_name_that_no_file_can_have_is_an_unknown_model(name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        load_vae(name, offline=True)


def test_an_image_whose_name_no_file_can_have_does_not_exist() -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_image("a" * 5000)
