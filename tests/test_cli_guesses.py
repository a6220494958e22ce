"""What people try first: every wrong guess is answered by the sentence that helps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, save_image
from typer.main import get_command

from latentlab import __version__
from latentlab.cli.guesses import _COMMANDS, _OPTIONS
from latentlab.cli.inputs import check_image, expand
from latentlab.cli.main import app, run
from latentlab.errors import ImageError, LatentlabError

# Words after `latentlab` → words of the answer.
OPTIONS = {
    "pca": "expected an image. Pass one, such as photo.jpg, or sample:flower",
    "reconstruct": "sample:flower",
    "interpolate a.jpg": "Got one image, but expected two images.",
    "encode photos": "Pass --out NAME.",
    "pca photo.png --n-components 3": "Pass --components 8.",
    "pca photo.png --n_components=3": "Pass --components 8.",
    "pca photo.png --random-state 0": "Pass --seed 0.",
    "pca photo.png --random_state 0": "Pass --seed 0.",
    "pca photo.png --n_samples 64": "Pass --samples 64.",
    "pca photo.png --svd-solver randomized": "Pass --randomized.",
    "pca photo.png --whiten": "centered and never scaled",
    "pca photo.png --output-dir here": "Pass --out run.",
    "pca photo.png --image-size 256": "--size 256",
    "pca photo.png --resolution 256": "--size 256",
    "pca photo.png -size 256": "Write --size.",
    "pca photo.png -out run": "Write --out.",
    "pca photo.png -model mini": "Write --model.",
    "pca photo.png -n_components 3": "Pass --components 8.",
    "encode photos -o store -batch_size=8": "Pass --batch.",
    "pca photo.png --figure_format pdf": "Write --figure-format.",
    "pca photo.png --model-id flux1": "latentlab models",
    "pca photo.png --checkpoint x.safetensors": "--model NAME",
    "pca photo.png --fp16": "Pass --dtype bfloat16.",
    "pca photo.png --gpu": "Pass --device cuda.",
    "pca photo.png --no-cuda": "Pass --device cpu.",
    "pca photo.png --batch-size 8": "as large as the memory allows",
    "pca photo.png --num-workers 8": "needs no worker processes",
    "pca photo.png --verbose": "progress is shown anyway",
    "pca photo.png -v": "progress is shown anyway",
    "pca photo.png --version": "latentlab --version",
    "pca photo.png --overwrite": "into a new folder",
    "pca photo.png --token x": "HF_TOKEN",
    "pca photo.png --cache-dir x": "HF_HOME",
    "pca photo.png --trust-remote-code": "never run",
    "pca photo.png --radius 0.1": "--set radius=0.1",
    "pca photo.png --method tokens": "Pass --neighborhood",
    "pca photo.png --no-nulls": "Pass --nulls none.",
    "pca photo.png --sample 64": "The closest option is --samples.",
    "pca photo.png --steps 3": "it belongs to `latentlab traverse`",
    "pca --image photo.png": "latentlab pca photo.jpg",
    "pca photo.png --plot": "writes its figures there",
    "pca photo.png --scree": "writes its figures there",
    "pca photo.png --dim 64": "Pass --components 3",
    "pca photo.png -s 256": "in full: --size, --samples, --set, --seed or --space.",
    "pca photo.png -d cuda": "in full: --device or --dtype",
    "pca photo.png -f pdf": "--figure-format",
    "pca photo.png -c 5": "--components",
    "pca photo.png --size 0": "a positive number of pixels, or native",
    "pca photo.png --size -8": "--size 256",
    "pca photo.png --csv": "scores.csv",
    "pca photo.png --title Flower": "plot(ax)",
    "pca photo.png --tokens": "Pass --neighborhood tokens.",
    "pca photo.png --quick": "--samples 64 --size 128",
    "pca photo.png --prompt cat": "without text",
    "pca photo.png --layer 3": "encoder and decoder",
    "pca photo.png --umap": "latentlab explore STORE --map umap",
    "pca photo.png --config x.toml": "LATENTLAB_MODEL",
    "pca photo.png --dry-run": "said before it",
    "pca photo.png --model": "See `latentlab pca --help`.",
    "traverse photo.png --pc 3": "Pass --components 3",
    "traverse photo.png --direction 2": "Pass --components 3",
    "traverse photo.png --video": "--format gif, webp, apng or mp4",
    "metrics photo.png --metric psnr": "--only psnr",
    "models --list": "lists all of them",
    "models --download": "See `latentlab models --help`.",
    "digits demo --model x": "and 10 other commands",
    "--model flux1 pca photo.png": "Write it after the command, as in `latentlab pca … --model`.",
    "-m flux1 pca photo.png": "Write it after the command, as in `latentlab pca … -m`.",
    "--verbose pca photo.png": "progress is shown anyway",
    "interpolate a.png b.png -n 9": "it belongs to `latentlab pca`",
    "store verify photos --images photos": "Pass --pictures FOLDER.",
    "traverse --num-frames 9": "Pass --steps 16.",
    "traverse --range 3": "Pass --span.",
    "traverse --duration 3": "Pass --fps 12.",
    "directions photo.png --method ica": "Pass --finder",
    "directions photo.png --n_directions 4": "Pass --components 8.",
    "reconstruct photo.png --samples 9": "it belongs to `latentlab pca`",
    "encode photos --out store --batch-size 8": "Pass --batch.",
    "encode photos --out store --num_workers 2": "Pass --workers.",
    "encode photo.png more.png --out store": "Pass the folder that holds the images.",
    "interpolate a.png b.png c.png": "Pass two images",
    "report": "expected an image or a folder of photos. Pass one, such as photo.jpg",
    "report photo.png more.png": "Pass one image, or one folder of photos.",
    "doctor photos more": "Pass one folder of photos.",
    "models flux1": "latentlab models --download NAME",
    "digits train --learning-rate 0.1": "Pass --rate.",
    "digits train --latent-dim 4": "Pass --latent.",
}
COMMANDS = {
    "analyze photo.png": "latentlab pca IMAGE",
    "umap photo.png": "latentlab pca IMAGE",
    "sample:flower": "latentlab pca sample:flower",
    "photo.png": "latentlab pca photo.png",
    "download flux1": "latentlab models --download NAME",
    "list": "latentlab models",
    "train": "latentlab digits train",
    "help": "latentlab --help",
    "version": "latentlab --version",
    "gui": "latentlab explore IMAGE",
    "serve": "latentlab explore IMAGE",
    "sample flower": "latentlab pca sample:flower",
    "digit": "Did you mean 'digits'? See",
    "store ls": "Write one of info, ",
    "store photos": "`latentlab store info photos`",
    "digits mnist": "Write one of train, ",
    "embed photos": "latentlab encode FOLDER",
    "diagnose photos": "latentlab doctor FOLDER",
    "morph a.png b.png": "latentlab interpolate A B",
}
ARGUMENTS = {
    "https://example.org/cat.jpg": ("a URL", "curl -LO https://example.org/cat.jpg"),
    "s3://bucket/cat.jpg": ("a URL", "Download it first"),
    "file:///tmp/cat.jpg": ("an address", "/tmp/cat.jpg"),
    "*.webp": ("matches no file", "pattern"),
    "-": ("the standard input", "as a file"),
    "~/cat.jpg": ("does not exist", "quotes"),
    "flower": ("without its prefix", "sample:flower"),
    "sample:cat": ("'sample:cat'", "sample:china"),
    "flux1": ("the name of a model", "--model flux1"),
    "mini": ("the name of a model", "--model mini"),
    "tokens": ("the name of a neighborhood", "--neighborhood tokens"),
    "ica": ("the name of a finder", "--finder ica"),
    "256": ("a number", "--size 256"),
    "640x480": ("a number", "--size 640x480"),
    "size=256": ("a setting", "--size 256"),
    "phto.png": ("does not exist", "photo.png"),
    "nowhere/cat.jpg": ("in nowhere, which does not exist", "path"),
    "nothing-like-it.gif": ("does not exist", "path"),
    "empty": ("no image directly in it", "latentlab encode"),
    "photos": ("a folder with 2 images", "Pass images in it, such as photos/a.png."),
    "store": ("a store of latents", "latentlab pca store"),
    "run": ("a run folder", "latentlab traverse --run run"),
    "run/pca.json": ("a result of `latentlab`", "latentlab traverse --run run"),
    "runs": ("a folder of runs", "--run runs/cat"),
    "PHOTO.PNG": ("does not exist", "Pass photo.png."),
    "help": ("does not exist", "Write --help."),
    "walks": ("a folder of results", "the image itself"),
    "model": ("the folder of a model", "--model model"),
    "notes.txt": ("no image that Pillow can read", "PNG"),
    "scan.pdf": ("a .pdf file", "PNG or JPEG"),
    "array.npy": ("a .npy file", "latentlab.analyze"),
    "vae.safetensors": ("a .safetensors file", "--model"),
    "photos.zip": ("a .zip file", "latentlab encode"),
    "photos.tar": ("a .tar file", "latentlab encode"),
    "nothing.png": ("0 bytes", "again"),
    "half.png": ("breaks off or is damaged", "again"),
}


def commands() -> list[Any]:
    """Return every command and group, with the program itself."""
    found: list[Any] = [get_command(app)]
    for command in found:
        found += getattr(command, "commands", {}).values()
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one thing of every kind."""
    place = tmp_path_factory.mktemp("everything")
    photo = save_image(place / "photo.png")
    (place / "half.png").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    for name in ("notes.txt", "scan.pdf", "array.npy", "vae.safetensors"):
        (place / name).write_text("text")
    for name in ("photos.zip", "photos.tar", "nothing.png"):
        (place / name).touch()
    marks = {"store": "store.json", "run": "pca.json", "walks": "run.json", "model": "config.json"}
    for folder, mark in marks.items():
        (place / folder).mkdir()
        (place / folder / mark).write_text("{}")
    (place / "runs" / "cat").mkdir(parents=True)
    (place / "runs" / "cat" / "run.json").write_text("{}")
    (place / "empty").mkdir()
    (place / "photos").mkdir()
    for name in ("a.png", "b.png"):
        save_image(place / "photos" / name)
    return place


@pytest.fixture
def mess(everything: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder, in which no test may leave a run."""
    monkeypatch.chdir(everything)
    return everything


@pytest.mark.parametrize("words", [*OPTIONS, *COMMANDS])
def test_wrong_options_and_commands_get_the_sentence_that_helps(
    words: str, mess: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words.split()) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert {**OPTIONS, **COMMANDS}[words] in error
    assert ".." not in error.replace("...", "")


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_what_is_no_image_gets_the_sentence_that_helps(argument: str, mess: Path) -> None:
    with pytest.raises(ImageError) as caught:
        check_image(argument)
    for words in ARGUMENTS[argument]:
        assert words in str(caught.value)


def test_the_name_of_a_run_gets_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("latentlab-runs") / "cat-mini-1"
    folder.mkdir(parents=True)
    (folder / "pca.json").touch()
    with pytest.raises(ImageError, match=f"latentlab traverse --run {folder}"):
        check_image("cat-mini-1")


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        ("pca photos", 3, "latentlab encode photos --out photos-latents"),
        ("reconstruct photos", 3, "Pass images in it, such as photos/a.png."),
        ("traverse store", 3, "latentlab pca store"),
        ("traverse --run store", 3, "latentlab pca store"),
        ("traverse --run photo.png", 3, "latentlab traverse photo.png"),
        ("traverse", 3, "latentlab pca IMAGE"),
        ("directions run", 3, "latentlab traverse --run run"),
        ("interpolate photo.png photos", 3, "a folder with 2 images"),
        ("transfer photo.png phto.png", 3, "photo.png"),
        ("transfer photo.png", 2, "at least two images"),
        ("reconstruct https://x.org/a.jpg", 3, "curl"),
        ("encode photo.png --out new", 3, "latentlab pca photo.png"),
        ("encode store --out new", 3, "a store of latents"),
        ("encode photos --out photos", 3, "holds other files, such as a.png"),
        ("encode photos --out photo.png", 3, "where nothing can be written"),
        ("encode empty --out new", 3, "no image"),
        ("encode phtos --out new", 3, "Pass photos."),
        ("store info photos", 3, "latentlab encode photos"),
        ("store verify run", 3, "no store"),
        ("store export stor --out x.npz", 3, "Pass store."),
    ],
)
def test_commands_check_what_they_are_given_before_a_model_is_loaded(
    words: str, code: int, answer: str, mess: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words.split()]) == code
    error = capsys.readouterr().err
    assert answer in error
    assert "loading" not in error
    assert error.count("\n") == 1


def test_wrong_inputs_are_found_without_torch(mess: Path) -> None:
    calls = [["pca", "photos"], ["pca", "half.png"], ["encode", "empty", "--out", "new"]]
    calls += [["traverse"], ["reconstruct", "phto.png"], ["store", "info", "photos"]]
    calls += [["directions", "256"], ["interpolate", "photo.png", "flux1"], ["transfer", "a", "b"]]
    calls += [["digits", "factors", "nowhere"], ["digits", "demo", "photo.png"]]
    options = ["-k nonsense", "--nulls nonsense", "--size big", "--region 1,2", "--set rotation"]
    wrong = [["pca", "photo.png", *words.split()] for words in options]
    wrong += [["directions", "photo.png", "--finder", "icca"], ["pca", "photo.png", "--steps", "3"]]
    wrong += [["traverse", "photo.png", "--finder", "icca"]]
    code = (
        "import sys; from latentlab.cli.main import run\n"
        f"codes = [run(call) for call in {calls + wrong}]\n"
        "print(codes, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{[3] * len(calls) + [2] * len(wrong)} False"


def test_every_sentence_names_options_that_some_command_has() -> None:
    known = {name for command in commands() for each in command.params for name in each.opts}
    for sentence in (*_COMMANDS.values(), *(each for many in _OPTIONS.values() for each in many)):
        assert {*re.findall("--[a-z-]+", sentence)} <= known | {"--help"}, sentence


def test_patterns_that_the_shell_left_alone_are_expanded(mess: Path) -> None:
    assert expand(["photos/*.png", "photo.png"]) == ["photos/a.png", "photos/b.png", "photo.png"]
    assert expand([str(mess / "photos/[ab].png")]) == [str(mess / f"photos/{x}.png") for x in "ab"]
    assert expand(["*.webp", "sample:flower"]) == ["*.webp", "sample:flower"]
    save_image(mess / "p[ab].png")
    assert expand(["p[ab].png"]) == ["p[ab].png"]


@pytest.mark.parametrize("command", ["", "pca", "digits", "digits train", "store info"])
def test_h_is_help(command: str, cli: CommandLine) -> None:
    asked = cli(*command.split(), "-h")
    assert asked.code == 0
    assert asked.out.startswith("Usage: latentlab")
    assert asked == cli(*command.split(), "--help")
    assert "-h, --help" in asked.out


def test_a_command_longer_than_any_name_is_unknown(cli: CommandLine) -> None:
    failed = cli("a" * 300)
    assert failed.code == 2
    assert "No such command" in failed.error


def test_out_has_the_names_that_other_tools_give_it() -> None:
    outs = [each.opts for command in commands() for each in command.params if each.name == "out"]
    assert len(outs) > 10
    assert all(names == ["--out", "--output", "-o"] for names in outs)


def test_the_version_is_an_attribute(cli: CommandLine) -> None:
    assert cli("--version").out == f"latentlab {__version__}\n"


def test_a_readable_image_or_video_passes(mess: Path) -> None:
    check_image("photo.png")
    check_image("sample:flower")
    with pytest.raises(LatentlabError):
        check_image("notes.txt")
