"""Everything that can be wrong with the input: one clear line and its exit code."""

from __future__ import annotations

import errno
import json
import shutil
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import SIZE, Called, CommandLine, files_in
from PIL import Image
from safetensors.torch import load_file, save_file

from latentlab.errors import MissingExtraError, NonFiniteError
from latentlab.figures.animation import write_animation
from latentlab.images.reading import read_image
from latentlab.results.kept_samples import FOLDER

WEIGHTS = "diffusion_pytorch_model.safetensors"
RUN = "latentlab-runs/photo-small-1"


def refused(called: Called, code: int, *words: str) -> None:
    """Check the exit code, and that one line on stderr says what was got, expected and to do."""
    error = called.error
    assert called.code == code, error
    assert error.startswith("error: Got ")
    assert ", but expected " in error
    assert [word for word in words if word not in error] == []


# Images


def png(width: int, height: int) -> bytes:
    """Return a white 1-bit PNG of any size, made without its pixels in memory."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    row = b"\0" + b"\xff" * -(-width // 8)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def cut_in_half(path: Path, place: Path) -> None:
    content = (place / "photo.png").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def bomb(path: Path, place: Path) -> None:
    path.write_bytes(png(30_000, 20_000))


BAD_IMAGES: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "missing": (lambda path, _: None, "x.png"),
    "directory": (lambda path, _: path.mkdir(), "x.png"),
    "0 bytes": (lambda path, _: path.touch(), "x.png"),
    "text": (lambda path, _: path.write_text("a photo of a cat"), "no image"),
    "header only": (lambda path, _: path.write_bytes(png(8, 8)[:16]), "x.png"),
    "truncated": (cut_in_half, "complete image"),
    "30,000×20,000": (bomb, "million pixels"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_images_are_refused(kind: str, cli: CommandLine, tmp_path: Path, place: Path) -> None:
    make, words = BAD_IMAGES[kind]
    make(tmp_path / "x.png", place)
    started = time.monotonic()
    refused(cli.pca(image="x.png"), 3, words)
    assert time.monotonic() - started < 20
    assert not Path("latentlab-runs").exists()


@pytest.mark.parametrize("side", [(1, 1), (1, 300)])
def test_images_below_the_stride_are_refused(side: tuple[int, int], cli: CommandLine) -> None:
    Image.new("RGB", side).save("x.png")
    called = cli("pca", "x.png", "-m", cli.model, "-n", 6)
    refused(called, 3, f"{side[0]}×{side[1]}", "2×2")


def strange_images(photo: Path, folder: Path) -> dict[str, Path]:
    """Write the same photo in other formats; return name → file."""
    image = Image.open(photo).convert("RGB")
    paths = {}

    def save(name: str, suffix: str, what: Image.Image, **options: Any) -> None:
        paths[name] = folder / f"{name}{suffix}"
        what.save(paths[name], **options)

    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    colors = image.quantize(256, dither=Image.Dither.NONE)
    opaque = image.copy()
    opaque.putalpha(255)
    turned = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    save("16-bit", ".png", Image.fromarray(grey))
    save("cmyk", ".tiff", image.convert("CMYK"))
    save("palette", ".png", colors)
    save("alpha", ".png", opaque)
    save("animated", ".gif", colors, save_all=True, append_images=[turned.resize(image.size)])
    save("rotated", ".png", turned, exif=exif)
    return paths


@pytest.mark.parametrize("kind", ["16-bit", "cmyk", "palette", "alpha", "animated", "rotated"])
def test_unusual_images_are_the_photo_they_show(
    kind: str, cli: CommandLine, tmp_path: Path
) -> None:
    path = strange_images(Path(cli.image), tmp_path)[kind]
    assert cli.pca("-k", "tokens", "--out", "run", image=path).code == 0
    shown, photo = (read_image(file, size=SIZE).pixels for file in (path, cli.image))
    if kind == "16-bit":
        photo = (
            (photo * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0).expand(3, -1, -1)
        )
    assert float((shown - photo).abs().mean()) < 0.06


# Models


def without_a_key(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["decoder.conv_out.bias"]
    save_file(tensors, folder / WEIGHTS)


def with_nan(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["encoder.conv_in.weight"][0, 0, 0, 0] = float("nan")
    save_file(tensors, folder / WEIGHTS)


def of_another_class(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_class_name": "AutoencoderTiny"}))


def of_no_vae(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_class_name": "UNet2DModel"}))


def cut_short(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


BAD_MODELS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing key": (without_a_key, "decoder.conv_out.bias"),
    "NaN": (with_nan, "NaN"),
    "wrong class": (of_another_class, "AutoencoderKL"),
    "no VAE": (of_no_vae, "UNet2DModel"),
    "truncated": (cut_short, WEIGHTS),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "model"),
}


@pytest.mark.filterwarnings("ignore:AutoencoderTiny of this diffusers knows no option")
@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_model_folders_are_refused(kind: str, cli: CommandLine, tmp_path: Path) -> None:
    spoil, words = BAD_MODELS[kind]
    model = Path(shutil.copytree(cli.model, tmp_path / "model"))
    spoil(model)
    refused(cli.pca("-m", model), 4, words)


@pytest.mark.parametrize("source", ["./missing", "missing.safetensors", "no-such-name"])
def test_unknown_models_are_refused(source: str, cli: CommandLine) -> None:
    refused(cli.pca("-m", source, "--offline"), 4, source)


def test_an_empty_folder_is_no_model(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(cli.pca("-m", "empty"), 4, "empty")


def test_offline_without_the_model_on_disk_fails_at_once(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    started = time.monotonic()
    refused(cli.pca("-m", "sana", "--offline"), 4, "offline")
    assert time.monotonic() - started < 5


@pytest.mark.filterwarnings("always::UserWarning")
def test_half_precision_that_overflows_is_done_again_in_float32(
    cli: CommandLine, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(cli.model, tmp_path / "model"))
    tensors = load_file(model / WEIGHTS)
    tensors["encoder.conv_in.weight"] *= 3e4
    tensors["encoder.conv_in.bias"] += 6e4
    save_file(tensors, model / WEIGHTS)
    options = ("-m", model, "-k", "tokens", "--out", "run")
    called = cli.pca(*options, "--dtype", "float16")
    assert "warning: model overflows when it encodes in float16" in called.err
    exact = cli.pca(*options, "--dtype", "float32").facts["explained_variance"]
    assert called.facts["explained_variance"] == pytest.approx(exact, rel=0.02)


# Options of pca

WRONG_USAGE = {
    "--samples 1": "at least 2",
    "--samples 0": "at least 2",
    "--samples -3": "at least 2",
    "--components 0": "0 components",
    "--components 6": "1 to 5",
    "--components 6 --randomized": "1 to 5",
    "--size 63": "62 or 64",
    "--size 0": "positive",
    "--size -64": "positive",
    "--neighborhood nonsense": "augment",
    "--set rotation": "NAME=VALUE",
    "--set rotation=much": "rotation",
    "--set rotation=-5": "0 or more",
    "--set rotation=nan": "0 or more",
    "--set nonsense=1": "rotation",
    "-k gaussian --set radius=0": "above 0",
    "-k patches --set patch=99": "patch",
    "--region 1,2": "x,y,width,height",
    "--region a,b,c,d": "x,y,width,height",
    "--region 0,0,0,0": "inside the 64×64 image",
    "--region 60,60,10,10": "inside the 64×64 image",
    "--region=-4,0,10,10": "inside the 64×64 image",
    "--device nonsense": "cpu",
    "--dtype int8": "float32",
    "-k frames --set nonsense=1": "video",
}


@pytest.mark.parametrize("options", WRONG_USAGE)
def test_values_that_make_no_sense_are_wrong_usage(options: str, cli: CommandLine) -> None:
    refused(cli.pca(*options.split()), 2, WRONG_USAGE[options])
    assert not Path("latentlab-runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("pca", "image"),
        ("traverse photo.png more.png", "more.png"),
        ("pca photo.png --nonsense", "--nonsense"),
        ("pca photo.png --seed 1.5", "--seed"),
        ("pca photo.png --seed -1", "--seed"),
        ("pca photo.png --seed 1" + 30 * "0", "--seed"),
        ("traverse --format avi", "--format"),
        ("traverse --span wide", "--span"),
        ("nonsense", "nonsense"),
        ("models --download", "--download"),
    ],
)
def test_a_command_line_that_does_not_parse_is_wrong_usage(
    arguments: str, words: str, cli: CommandLine
) -> None:
    called = cli(*arguments.split())
    assert called.code == 2
    assert words in called.error
    command = arguments.split()[0]
    where = f"latentlab {command}" if command != "nonsense" else "latentlab"
    assert called.error.endswith(f"See `{where} --help`.")


def test_options_are_checked_before_the_model_is_loaded(cli: CommandLine) -> None:
    for options in (("--set", "nonsense=1"), ("--region", "nonsense")):
        refused(cli.pca(*options, "-m", "./missing"), 2)
    Path("file").touch()
    refused(cli.pca("--out", "file", "-m", "./missing"), 3)


def test_frames_of_a_still_and_knn_of_one_photo_have_too_few_samples(
    cli: CommandLine, tmp_path: Path
) -> None:
    shutil.copy(cli.image, tmp_path / "only.png")
    for name in ("frames", "knn"):
        refused(
            cli.pca("-k", name, image="only.png"),
            2,
            f"1 sample from {name}",
            "folder of more images",
        )


def test_equal_images_have_no_variance(cli: CommandLine, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        shutil.copy(cli.image, tmp_path / name)
    refused(cli.pca("-k", "knn", image="one.png"), 2, "all alike")


def test_neighbors_from_no_folder_are_refused(cli: CommandLine) -> None:
    refused(cli.pca("-k", "knn", "--set", "folder=nowhere"), 3, "nowhere")


# Memory


def test_samples_beyond_the_memory_go_to_the_disk(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("-k", "gaussian", "--json")
    roomy = cli.pca(*options, samples=120).facts
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.003")
    mapped = []
    memmap = np.memmap
    monkeypatch.setattr(np, "memmap", lambda *a, **b: mapped.append(b) or memmap(*a, **b))
    tight = cli.pca(*options, samples=120).facts
    assert [each["shape"] for each in mapped] == [(120, 4096)]
    np.testing.assert_allclose(tight["explained_variance"], roomy["explained_variance"], rtol=1e-9)


@pytest.mark.parametrize("name", ["gaussian", "augment"])
def test_samples_beyond_the_disk_are_out_of_memory(name: str, cli: CommandLine) -> None:
    refused(cli.pca("-k", name, samples=10**12), 5, "1,000,000,000,000", "Lower --samples")


def test_an_image_beyond_the_memory_is_out_of_memory(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.00001")
    refused(cli.pca(), 5, "64×64", "lower --size")


@pytest.mark.parametrize("limit", ["plenty", "0", "-1"])
def test_a_memory_limit_must_be_a_number(
    limit: str, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", limit)
    refused(cli.pca(), 2, limit)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_an_allocator_that_gives_up_anywhere_is_out_of_memory(
    error: Exception, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("latentlab.recipes.analysis.fit_pca", fail)
    called = cli.pca()
    assert called.code == 5
    assert called.error == "error: Out of memory. Lower --size, --samples or --steps."


# Unforeseen errors


def test_an_unforeseen_error_is_one_line_unless_debug_is_asked_for(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr("latentlab.recipes.analysis.fit_pca", fail)
    called = cli.pca()
    assert called.code == 1
    assert "ZeroDivisionError: first line. Run again with --debug" in called.error
    debugged = cli.pca("--debug")
    assert debugged.code == 1
    assert "Traceback" in debugged.err
    assert debugged.err.splitlines()[-1] == called.error


def test_debug_shows_the_traceback_of_a_foreseen_error_and_keeps_its_code(cli: CommandLine) -> None:
    called = cli.pca("--debug", image="missing.png")
    assert called.code == 3
    assert "Traceback" in called.err
    assert called.err.splitlines()[-1].startswith("error: Got missing.png")


# traverse


@pytest.fixture(scope="module")
def saved_run(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished pca run."""
    from latentlab.cli.main import run

    folder = tmp_path_factory.mktemp("saved") / "run"
    common = ["--size", str(SIZE), "-n", "6", "-k", "gaussian", "--quiet", "--out", str(folder)]
    assert run(["pca", str(place / "photo.png"), "-m", str(place / "small"), *common]) == 0
    return folder


@pytest.fixture
def analyzed(cli: CommandLine, saved_run: Path) -> CommandLine:
    """Return a caller in a folder whose latest run is ``latentlab-runs/photo-small-1``."""
    shutil.copytree(saved_run, RUN)
    return cli


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--span 0", "span"),
        ("--span -1", "span"),
        ("--span nan", "span"),
        ("--span inf", "span"),
        ("--steps 1", "steps"),
        ("--steps 0", "steps"),
        ("--components 0", "components"),
        ("--components 6", "components"),
        ("--components 1 --steps 2 --fps 0", "fps"),
        ("--components 1 --steps 2 --fps 99", "fps"),
        ("--size 64", "IMAGE"),
        ("--neighborhood tokens", "IMAGE"),
        ("--dtype nonsense", "float32"),
        ("--device nonsense", "cpu"),
    ],
)
def test_walks_that_make_no_sense_are_wrong_usage(
    options: str, words: str, analyzed: CommandLine
) -> None:
    before = files_in(Path(RUN))
    refused(analyzed("traverse", "--quiet", *options.split()), 2, words)
    assert files_in(Path(RUN)) == before


def test_image_and_run_exclude_each_other(analyzed: CommandLine) -> None:
    refused(analyzed("traverse", analyzed.image, "--run", RUN), 2, "--run")


@pytest.mark.parametrize("options", ["", "--run latentlab-runs", "--run nowhere"])
def test_without_a_run_there_is_nothing_to_resume(options: str, cli: CommandLine) -> None:
    refused(cli("traverse", *options.split()), 3, "latentlab pca")


def edited(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return what changes the JSON object in a file of a run."""

    def edit(folder: Path) -> None:
        facts = json.loads((folder / name).read_text())
        change(facts)
        (folder / name).write_text(json.dumps(facts))

    return edit


def reshaped(name: str, *shape: int) -> Callable[[Path], None]:
    """Return what replaces one of the arrays of a run by zeros."""

    def replace(folder: Path) -> None:
        arrays = load_file(folder / "pca.safetensors")
        save_file({**arrays, name: torch.zeros(shape)}, folder / "pca.safetensors")

    return replace


def halved(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "pca.json halved": halved("pca.json"),
    "pca.json empty": lambda folder: (folder / "pca.json").write_bytes(b""),
    "pca.json binary": lambda folder: (folder / "pca.json").write_bytes(b"\xff\xfe\x00"),
    "pca.json a list": lambda folder: (folder / "pca.json").write_text("[]"),
    "no layout": edited("pca.json", lambda facts: facts.pop("layout")),
    "layout a word": edited("pca.json", lambda facts: facts.update(layout="whole")),
    "unknown layout": edited("pca.json", lambda facts: facts["layout"].update(kind="spiral")),
    "window outside": edited("pca.json", lambda facts: facts["layout"]["window"].update(top=99)),
    "smaller layout": edited("pca.json", lambda facts: facts["layout"].update(shape=[4, 32, 40])),
    "no variance": edited("pca.json", lambda facts: facts.pop("total_variance")),
    "variance a word": edited("pca.json", lambda facts: facts.update(total_variance="much")),
    "stride a word": edited("pca.json", lambda facts: facts.update(stride="two")),
    "no arrays": lambda folder: (folder / "pca.safetensors").unlink(),
    "arrays halved": halved("pca.safetensors"),
    "arrays empty": lambda folder: (folder / "pca.safetensors").write_bytes(b""),
    "fewer features": reshaped("components", 5, 4095),
    "a flat origin": reshaped("origin", 4096),
    "another origin": reshaped("origin", 4, 30, 32),
    "a short mean": reshaped("mean", 7),
    "too few variances": reshaped("explained_variance", 2),
    "run.json halved": halved("run.json"),
    "no run.json": lambda folder: (folder / "run.json").unlink(),
    "no model": edited("run.json", lambda facts: facts.pop("pca")),
    "model a word": edited("run.json", lambda facts: facts["pca"].update(model="taef2")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_runs_are_refused(kind: str, analyzed: CommandLine) -> None:
    DAMAGE[kind](Path(RUN))
    before = files_in(Path(RUN))
    refused(analyzed("traverse", "--quiet", "--components", 1, "--steps", 2), 3, "latentlab pca")
    assert files_in(Path(RUN)) == before


def test_weights_that_changed_since_the_run_are_refused(
    analyzed: CommandLine, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(analyzed.model, tmp_path / "model"))
    edited("run.json", lambda facts: facts["pca"]["model"].update(source=str(model)))(Path(RUN))
    walk = ("traverse", "--quiet", "--components", 1, "--steps", 2)
    assert analyzed(*walk).code == 0
    tensors = load_file(model / WEIGHTS)
    tensors["decoder.conv_out.bias"] += 0.1
    save_file(tensors, model / WEIGHTS)
    refused(analyzed(*walk), 3, "weights", "--model")
    assert analyzed(*walk, "--model", model).code == 0


def test_a_model_of_another_latent_space_cannot_resume_a_run(
    analyzed: CommandLine, tmp_path: Path
) -> None:
    from tiny_models import save_tiny

    save_tiny("AutoencoderKL", tmp_path / "wide", latent_channels=8)
    called = analyzed("traverse", "--quiet", "--components", 1, "--model", tmp_path / "wide")
    refused(called, 2, "8")


# Writing


@pytest.mark.parametrize("out", ["file", "file/below", "file/far/below"])
def test_out_below_a_file_is_refused_and_the_file_kept(out: str, analyzed: CommandLine) -> None:
    Path("file").write_text("precious")
    refused(analyzed.pca("--out", out), 3, "file", "--out")
    refused(analyzed("traverse", "--quiet", "--out", out), 3, "file", "--out")
    assert Path("file").read_text() == "precious"


def test_a_file_in_the_place_of_all_runs_is_refused(cli: CommandLine) -> None:
    Path("latentlab-runs").write_text("precious")
    refused(cli.pca(), 3, "latentlab-runs")


class Interruption:
    """Lets some writes pass and interrupts the next one in the middle."""

    def __init__(self, passing: int, error: BaseException) -> None:
        self.passing = passing
        self.error = error

    def __call__(self, path: Path) -> None:
        if self.passing == 0:
            path.write_text("half of")
            raise self.error
        self.passing -= 1


def break_writes(monkeypatch: pytest.MonkeyPatch, interruption: Interruption) -> None:
    """Let every file that is about to get its final name pass by the interruption."""
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.parent.name != FOLDER:  # kept samples, which belong to no run
            interruption(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)


FULL = OSError(errno.ENOSPC, "No space left on device")


# A full disk at every write, an interrupt at the first and at the last.
@pytest.mark.parametrize(
    ("passing", "error"),
    [
        *((passing, FULL) for passing in range(5)),
        (0, KeyboardInterrupt()),
        (4, KeyboardInterrupt()),
    ],
)
def test_writes_of_pca_that_break_off_keep_what_was_there(
    passing: int, error: BaseException, analyzed: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_in(Path(RUN))
    break_writes(monkeypatch, Interruption(passing, error))
    called = analyzed.pca("-k", "crops", "--components", 2, "--out", RUN)
    if error is FULL:
        refused(called, 3, "No space left", "Free some space")
    else:
        assert (called.code, called.out) == (130, "")
        assert "interrupted" in called.error
    after = files_in(Path(RUN))
    assert after.keys() == before.keys()
    # The reconstruction is the same whatever is sampled.
    assert sum(after[name] != before[name] for name in before) in (passing, passing - 1)


@pytest.mark.parametrize("passing", [0, 1, 2, 4])
def test_a_walk_that_meets_a_full_disk_keeps_the_run(
    passing: int, analyzed: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_in(Path(RUN))
    break_writes(monkeypatch, Interruption(passing, FULL))
    refused(analyzed("traverse", "--quiet", "--components", 1, "--steps", 2), 3, "No space left")
    after = files_in(Path(RUN))
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + passing


def test_an_unforeseen_system_error_is_one_line(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "photo.png")

    monkeypatch.setattr("latentlab.recipes.analysis.fit_pca", fail)
    called = cli.pca()
    assert called.code == 1
    assert called.error.startswith("error: A file could not be read or written: ")
    assert "Input/output error: 'photo.png'" in called.error
    assert called.error.endswith("Check the path, its permissions and the free space.")


# Numbers that do not exist


@pytest.mark.parametrize("samples", [2, 3])
def test_so_few_samples_that_fits_make_no_sense_still_give_a_summary(
    cli: CommandLine, samples: int
) -> None:
    called = cli(
        *("pca", cli.image, "-m", cli.model, "--size", SIZE, "-k", "gaussian"),
        *("--samples", samples, "--out", "few"),
    )
    assert called.code == 0, called.err
    assert "–" in called.out
    assert str(Path("few/pca.json")) in called.out


def test_a_randomized_summary_has_no_numbers_that_need_the_whole_spectrum(
    cli: CommandLine,
) -> None:
    options = ("-k", "gaussian", "--randomized", "--components", 2)
    facts = cli.pca(*options, samples=30).facts
    assert len(facts["explained_variance"]) == 2
    for name in ("participation_ratio", "participation_ratio_corrected", "log_fit_r2", "k90"):
        assert facts[name] is None


def test_brackets_in_a_name_are_no_markup(cli: CommandLine, tmp_path: Path) -> None:
    shutil.copy(cli.image, tmp_path / "photo[final].png")
    called = cli("pca", "photo[final].png", "-m", cli.model, "--size", SIZE, "-k", "tokens")
    assert "photo[final]" in called.out.splitlines()[0]


def test_too_many_samples_for_the_eigenproblem_are_refused_before_the_first(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.01")
    monkeypatch.setattr("latentlab.neighborhoods.gaussian.noisy", None)
    refused(cli.pca("-k", "gaussian", samples=4000), 5, "randomized")


def test_a_decoder_that_fails_does_so_before_the_samples(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_arguments: object) -> None:
        raise NonFiniteError("NaN images", "finite numbers", "use --dtype float32")

    monkeypatch.setattr("latentlab.encoding.reconstruction.decode", overflow)
    monkeypatch.setattr("latentlab.neighborhoods.gaussian.noisy", None)
    refused(cli.pca("-k", "gaussian"), 1, "float32")


def test_mp4_without_ffmpeg_is_refused_before_the_walk(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtraError("no ffmpeg", "ffmpeg", "run pip install 'latentlab[video]'")

    monkeypatch.setattr("latentlab.figures.animation.ffmpeg_program", missing)
    monkeypatch.setattr("latentlab.walks.traversal.decode_each", None)
    assert cli.pca("-k", "gaussian", "--out", "run").code == 0
    refused(cli("traverse", "--run", "run", "--format", "mp4"), 1, "latentlab[video]")


def test_a_video_is_its_own_neighborhood(cli: CommandLine, tmp_path: Path) -> None:
    frames = [np.full((64, 64, 3), level, np.uint8) for level in (0, 80, 160, 240)]
    write_animation(tmp_path / "clip.mp4", frames, ping_pong=False)
    facts = cli.pca("-k", "frames", image="clip.mp4").facts
    assert facts["n_samples"] == 4
    assert facts["picture"] == "clip"
