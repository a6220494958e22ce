"""Command lines drawn from the parser's own grammar: every command, every option, any value."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.error import URLError

import numpy as np
import typer.main
from campaigns import Drawn
from PIL import Image
from probing import FaultError, place_of

from latentlab.cli import main as entry
from latentlab.cli.failures import explain

CODES = {0, 1, 2, 3, 4, 5}
"""Exit codes that are documented, but for 130, an interruption."""
_NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1.5",
    "1e3",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "1e-320",
    "x",
    "",
)
_HUGE = ("999999999", "100000000000000000000", "-99999999999999999999")
_WORDS = (
    "",
    "x",
    "a" * 300,
    "no/such/file",
    "..",
    "~nobody",
    "é",
    "-",
    "--",
    "=",
    "1,2",
    "a=b",
    "\t",
)
_PATHS = ("cat.png", "tiny.png", "text.png", "photos", "store", "run", "latents.npy", "deep.npy")
_PLACES = (
    "out",
    "out/deep",
    "cat.png",
    "photos",
    "",
    ".",
    "a" * 300,
    "/dev/null/x",
    "store",
    "run",
)
_NAMED: Mapping[str, tuple[str, ...]] = {
    "model": (
        "linear",
        "mini",
        "linear@none",
        "cat.png",
        "no-such",
        "flux1",
        "linear#ema",
        "photos",
    ),
    "size": ("16", "32", "24x32", "native", "auto", "17", "16x", "x16", "0x0"),
    "samples": ("2", "4", "6"),
    "neighborhood": (
        "augment",
        "gaussian",
        "tokens",
        "crops",
        "window",
        "frames",
        "knn",
        "posterior",
    ),
    "region": ("0,0,8,8", "0,0,1,1", "8,8,0,0", "-1,0,4,4", "0,0,999,999", "a,b,c,d", "1,2"),
    "settings": (
        "radius=0.1",
        "sigma=0",
        "x=1",
        "=",
        "radius=",
        "radius=nan",
        "k=99",
        "radius=1e308",
    ),
    "nulls": ("none", "all", "isotropic", "parallel", "x", ",", "isotropic,isotropic"),
    "finder": ("pca", "random", "ica", "jacobian", "sparse-pca", "supervised", "difference", "x"),
    "format": ("gif", "webp", "apng", "mp4", "x"),
    "figure_format": ("png", "pdf", "svg", "x"),
    "space": ("raw", "model", "x"),
    "layout": ("chw", "nchw", "packed", "packed=2x2", "packed=0x0", "vectors", "moments", "x"),
    "bucket": ("6x4x4", "16x2x2", "x", "0x0x0", "99x99x99x99"),
    "dtype": ("auto", "float32", "bfloat16", "float16", "stored", "int8"),
    "store_dtype": ("float16", "bfloat16", "float32", "int8"),
    "device": ("auto", "cpu", "cuda", "mps", "cuda:99", "cpu:7", "meta", "x"),
    "protocol": ("latentlab-256", "native", "x", "mine.toml", "cat.png"),
    "only": ("psnr", "ssim,psnr", "latents", "x", ",", "psnr,psnr"),
    "controls": ("pixels", "none", "x"),
    "features": ("pixels", "x", "cat.png"),
    "compare": ("pca,random", "random", "x", ","),
    "path": ("linear", "arc", "slerp", "both", "x"),
    "run": ("run", "photos", "no-such", "cat.png"),
    "out": _PLACES,
    "export": _PLACES,
    "onnx": _PLACES,
    "workers": ("0", "-1", "x", "99999999999999999999"),
    "shell": ("bash", "zsh", "fish", "x"),
    "data": ("digits", "photos", "no-such", "cat.png"),
    "epochs": ("1", "0", "-1", "x"),
    "seeds": ("1", "0", "-1", "x"),
    "betas": ("1", "0,1", "nan", "-1", "x", ",", "1e308"),
    "objective": ("elbo", "x"),
    "network": ("mlp", "conv", "x"),
    "pictures": ("photos", "8", "no-such"),
    "labels": ("labels.csv", "cat.png", "no-such"),
    "images": ("photos", "2", "0", "-1", "cat.png"),
    "key": ("latents", "x", ""),
    "port": ("0", "-1", "65536", "x"),
    "tile": ("16", "64", "0", "-1", "17", "x"),
    "batch": ("1", "4", "0", "-1", "x", "999999999"),
    "threads": ("1", "0", "-1", "x", "999999999"),
    "per_shard": ("1", "3", "0", "-1", "x", "999999999"),
    "steps": ("2", "3", "1", "0", "-1", "x"),
    "latent": ("2", "1", "0", "-1", "x"),
}
"""Option → values that are valid, borderline and wrong; others get numbers and words."""
_QUIET: Mapping[str, tuple[str, ...]] = {
    "size": ("--size", "16"),
    "samples": ("--samples", "4"),
    "nulls": ("--nulls", "none"),
    "model": ("--model", "linear"),
    "epochs": ("--epochs", "1"),
    "seeds": ("--seeds", "1"),
    "workers": ("--workers", "0"),
    "frame_size": ("--frame-size", "16"),
    "steps": ("--steps", "2"),
    "levels": ("--levels", "2"),
    "betas": ("--betas", "1"),
    "no_browser": ("--no-browser",),
}
"""What is passed mostly, so that a command is quick."""
_LEFT_OUT = {"compiled", "help", "install_completion", "show_completion"}
_SEVERAL = {"pca", "directions", "reconstruct", "transfer"}
_SLOW = {"digits train", "digits sweep", "digits factors", "digits export", "report"}
"""Commands of seconds, drawn ten times less often."""


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, one in getattr(command, "commands", {}).items():
        yield from _commands(one, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


def draw_line(commands: list[tuple[tuple[str, ...], Any]], draw: random.Random) -> list[str]:
    """Return a command line: a command, its arguments, and options with values of any kind."""
    path, command = draw.choice(commands)
    if " ".join(path) in _SLOW and draw.random() < 0.9:
        path, command = draw.choice(commands)
    line = [*path]
    tame = draw.random() < 0.5
    for one in command.params:
        if one.name in _LEFT_OUT:
            continue
        opts = getattr(one, "opts", [])
        if not opts or not opts[0].startswith("-"):
            count = draw.choice((1, 1, 1, 2, 0)) if one.nargs == -1 else int(draw.random() < 0.97)
            line += [_argument(one.name, draw, tame) for _ in range(count)]
        elif draw.random() < (0.04 if tame else 0.12):
            line += _option(one, opts, draw)
        elif one.name in _QUIET and (tame or draw.random() < 0.9):
            line += _QUIET[one.name]
        elif getattr(one, "required", False):
            line += [opts[0], "out"]
    if draw.random() < 0.05:
        line.insert(
            draw.randrange(len(line) + 1), draw.choice((*_WORDS, "--debug", "--help", "--x"))
        )
    return line


def _argument(name: str, draw: random.Random, tame: bool) -> str:
    if tame:
        known = {"shell": "bash", "source": "latents.npy", "folder": "store", "run": "digits-run"}
        return known.get(name, draw.choice(("cat.png", "photos", "dog.png")))
    return draw.choice((*_PATHS, *_WORDS, *_NAMED.get(name, ())))


def _option(one: Any, opts: list[str], draw: random.Random) -> list[str]:
    name = draw.choice([*opts, *getattr(one, "secondary_opts", [])])
    if one.is_flag:
        return [name]
    values = _NAMED.get(one.name, ()) * 4 + _NUMBERS + _HUGE + (draw.choice(_WORDS),)
    value = draw.choice(values)
    return [f"{name}={value}"] if name.startswith("--") and draw.random() < 0.2 else [name, value]


def prepare_inputs(place: Path) -> None:
    """Write small inputs: images, a broken one, latents, a store, labels and a run."""
    photos = place / "photos"
    photos.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), np.uint8)
    for number, one in enumerate(pixels[:4]):
        Image.fromarray(one).save(photos / f"{number}.png")
    Image.fromarray(pixels[4]).save(place / "cat.png")
    Image.fromarray(pixels[5]).save(place / "dog.png")
    Image.fromarray(pixels[0, :1, :1]).save(place / "tiny.png")
    (place / "text.png").write_text("a photo of a cat")
    np.save(place / "latents.npy", np.random.default_rng(1).normal(size=(5, 16, 4, 4)))
    np.save(place / "deep.npy", np.zeros((2, 3, 1, 1, 1, 4)))
    (place / "mine.toml").write_text('base = "native"\n')
    (place / "labels.csv").write_text("path,kind\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    tiny = ("-m", "linear", "--size", "16", "-q")
    for line in (
        ["encode", "photos", "--out", "store", "--workers", "0", *tiny],
        ["pca", "cat.png", "--samples", "4", "--nulls", "none", "--out", "run", *tiny],
        ["digits", "train", "--epochs", "1", "--latent", "2", "--out", "digits-run", "-q"],
    ):
        assert entry.run(line) == 0, line


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[int], str]]:
    inputs, work = folder / "given", folder / "work"
    inputs.mkdir()
    home, before = folder / "home", Path.cwd()
    home.mkdir()
    quiet = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    quiet |= {"TORCHINDUCTOR_CACHE_DIR": str(home), "TMPDIR": str(home)}
    quiet |= {"HF_HUB_OFFLINE": "1", "LATENTLAB_MEMORY_GB": "2", "COLUMNS": "80"}
    with ExitStack() as stack:
        stack.callback(os.chdir, before)
        stack.enter_context(patch.dict(os.environ, quiet))
        # Pages are not served: nobody would end the server.
        for name in ("explorer.server.ExplorerServer.wait", "web.serving.PageServer.serve_forever"):
            stack.enter_context(patch(f"latentlab.{name}", lambda *_, **__: None))
        stack.enter_context(patch("latentlab.digits.download.urlopen", side_effect=URLError("no")))
        os.chdir(inputs)
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            prepare_inputs(inputs)
        os.chdir(before)
        whole = typer.main.get_command(entry.app)
        # typer would build all commands again for each command line.
        stack.enter_context(patch.object(typer.main, "get_command", lambda _: whole))
        commands = [*_commands(whole)]
        yield partial(_call, commands, inputs, work)


def _call(commands: list[Any], inputs: Path, work: Path, seed: int) -> str:
    """Run the command line of a seed on fresh inputs; return its exit code as a word."""
    line = draw_line(commands, random.Random(seed))
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(inputs, work, symlinks=True)
    os.chdir(work)
    out, err = io.StringIO(), io.StringIO()
    caught: list[Exception] = []

    def explain_and_keep(error: Exception) -> tuple[str, int]:
        caught.append(error)
        return explain(error)

    with (
        patch.object(entry, "explain", explain_and_keep),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = entry.run(line)
    _check(line, code, out.getvalue(), err.getvalue(), caught)
    _check_inputs(line, inputs, work)
    return f"exit {code}"


def _check(line: list[str], code: int, out: str, err: str, caught: list[Exception]) -> None:
    words = " ".join(line)[:300]
    if caught and "Unexpected" in err:
        where = f"{type(caught[-1]).__name__} at {place_of(caught[-1].__traceback__)}"
        raise FaultError("traceback", where, f"{words}: {err.splitlines()[-1][:200]}")
    if code not in CODES:
        raise FaultError("exit code", f"{line[0]} {code}", words)
    # Commands that take several images say what is wrong with each.
    if err.count("error: ") > 1 and line[0] not in _SEVERAL:
        raise FaultError("several errors", line[0], f"{words}: {err[:300]}")
    if "--json" in line and code == 0 and out.strip()[:1] == "{":
        json.loads(out)
    if "Traceback" in err and "--debug" not in line:
        raise FaultError("traceback", line[0], words)


def _check_inputs(line: list[str], inputs: Path, work: Path) -> None:
    """Check that no image and no latents were changed, whatever ``--out`` named."""
    for path in (*inputs.glob("*.png"), *inputs.glob("photos/*"), *inputs.glob("*.npy")):
        other = work / path.relative_to(inputs)
        if not other.is_file() or _hash(other) != _hash(path):
            raise FaultError("an input is changed", line[0], f"{path.name}: {' '.join(line)[:300]}")


def _hash(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


CAMPAIGN = Drawn(
    name="commands",
    reads="every command with arguments and options of any kind, on tiny inputs",
    holds="no traceback or unexpected error, a documented exit code, images and latents unchanged, "
    "nothing written outside the folder, at most 10 s",
    wanted=10_000,
    opened=_opened,
    unit="command lines",
    quick=3,
    starts=True,
)
