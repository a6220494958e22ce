"""Options and commands that people try because other tools have them, and what to write here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from latentlab.arguments import option_for
from latentlab.directions import FINDERS
from latentlab.errors import UsageError, counted
from latentlab.machine.files import exists
from latentlab.neighborhoods import SAMPLERS

_MODEL = "pass --model NAME; see `latentlab models`"
_FILES = "open the files of the run folder; every run writes its figures there"
_KEPT = "leave it out: results go into a new folder, and --out replaces those of an earlier run"
_SETTING = "write it as a setting, such as --set radius=0.1; each neighborhood has its own"
_COMPLETION = "run `latentlab completion bash`, or zsh, or fish"
_OPTIONS: Mapping[str, Sequence[str]] = {
    "outdir save save-to dest": ("pass --out",),
    "approximate fast": ("pass --randomized",),
    "whiten scale standardize normalize center": (
        "leave it out: samples are centered and never scaled, so variances keep the latent's units",
    ),
    "model-name model-id model-path checkpoint ckpt weights vae autoencoder pretrained "
    "pretrained-model-name-or-path repo repo-id": (_MODEL,),
    "revision": (
        "leave it out: a model is fetched at its latest revision, which run.json records",
    ),
    "subfolder": ("write it behind the hub id: --model owner/name:subfolder",),
    "trust-remote-code": ("leave it out: code of a repository is never run",),
    "token hf-token": ("set the variable HF_TOKEN, or run `hf auth login`",),
    "cache-dir": ("set the variable HF_HOME",),
    "no-download no-network": ("pass --offline",),
    "images photos": ("pass --pictures FOLDER",),
    "image images i input input-image img file path": (
        "pass the image without an option, such as `latentlab pca photo.jpg`",
    ),
    "input-dir data-dir folder directory dir": (
        "pass the folder without an option, such as `latentlab encode photos --out STORE`",
    ),
    "batch-size bs b": ("pass --batch", "leave it out: batches are as large as the memory allows"),
    "num-workers n-workers jobs j n-jobs processes": (
        "pass --workers",
        "leave it out: one image needs no worker processes",
    ),
    "cpu no-cuda no-gpu": ("pass --device cpu",),
    "mps": ("pass --device mps",),
    "float16 bfloat16 fp32 float32 mixed-precision": ("pass --dtype, such as --dtype bfloat16",),
    "verbose v vv log-level progress": (
        "leave it out: progress is shown anyway, and --quiet turns it off",
    ),
    "version v": ("run `latentlab --version`",),
    "verbose": ("leave it out: progress is shown anyway",),
    "silent no-progress": ("pass --quiet",),
    "force overwrite exist-ok yes y": (_KEPT,),
    "dim dims num-pcs pcs pc": ("pass --components 3, for the first three",),
    "direction directions": ("pass --components 3, for the first three",),
    "quick preview draft": ("pass less, such as --samples 64 --size 128",),
    "dry-run": ("leave it out: the time that long work will take is said before it",),
    "config": ("leave it out: LATENTLAB_MODEL sets the default model, and all else is an option",),
    "prompt text caption guidance cfg": ("leave it out: latentlab looks at the VAE, without text",),
    "layer layers timestep": ("leave it out: the latent between encoder and decoder is analyzed",),
    "umap tsne": ("run `latentlab explore STORE --map umap`, on the latents of a folder",),
    "title xlabel ylabel cmap style": (
        "leave it out: in Python, plot(ax) of a result draws on axes of your own",
    ),
    "metric metrics": ("pass --only, such as --only psnr",),
    "csv tsv parquet scores": (
        "pass --per-image csv, or parquet",
        "leave it out: `latentlab pca` writes scores.csv into its run folder",
    ),
    "list ls": ("run `latentlab models`, which lists all of them",),
    "radius epsilon eps noise rotation strength hue zoom shift": (_SETTING,),
    "sigma std": ("pass --span 3", _SETTING),
    "method algorithm type kind mode": (
        "pass --finder for directions, or --neighborhood for what is sampled",
        "pass --neighborhood for what is sampled",
        "pass --path",
    ),
    "baseline permutations n-permutations n-perm bootstrap": ("pass --nulls NAME",),
    "no-nulls no-null": ("pass --nulls none",),
    "range alpha extent max": ("pass --span",),
    "gif mp4 webp video movie animation": ("pass --format gif, webp, apng or mp4",),
    "pdf svg png": ("pass --figure-format pdf, or svg",),
    "plot show figure view open no-plot scree eigenvalues curve": (_FILES,),
    "crop roi mask box bbox": ("pass --region x,y,width,height",),
    "label annotate": ("pass --labels",),
    "output-format as-json to-json": ("pass --json",),
    "load run-dir resume-from": ("pass --run FOLDER",),
    "download pull fetch": ("run `latentlab models --download NAME`",),
    "lr learning-rate": ("pass --rate",),
    "latent-dim latent-dims latent-size z-dim": ("pass --latent",),
    "n-epochs num-epochs max-epochs": ("pass --epochs",),
    "dataset": ("pass --data",),
    "generate-shell-completion completion": (_COMPLETION,),
}
"""Names, without their hyphens → sentences; the first whose options the command has is said.

Names that mean an argument in Python too are in :mod:`latentlab.arguments`.
"""

_COMMANDS: Mapping[str, str] = {
    "analyze analyse analysis fit run components spectrum explain": "run `latentlab pca IMAGE`",
    "gui ui app view web browse serve slider sliders interactive map": (
        "run `latentlab explore IMAGE`, or with a store"
    ),
    "umap tsne": "run `latentlab pca IMAGE`, or `latentlab explore STORE --map umap`",
    "walk traversal sweep edit animate": "run `latentlab traverse`, after `latentlab pca`",
    "direction find label labels finders": "run `latentlab directions IMAGE`",
    "morph blend slerp lerp": "run `latentlab interpolate A B`",
    "decode roundtrip reconstruction psnr": "run `latentlab reconstruct IMAGE`",
    "embed latents extract batch": "run `latentlab encode FOLDER --out STORE`",
    "check diagnose diagnosis health validate test": "run `latentlab doctor FOLDER --model NAME`",
    "html page": "run `latentlab report IMAGE`, or with a folder of photos",
    "list ls model": "run `latentlab models`",
    "download pull fetch": "run `latentlab models --download NAME`",
    "info verify export": "run `latentlab store info STORE`, or verify, or export",
    "train demo factors mnist": "run `latentlab digits train` or `latentlab digits demo`",
    "version": "run `latentlab --version`",
    "help": "run `latentlab --help`, or `latentlab pca --help`",
    "completions generate-shell-completion": _COMPLETION,
    "plot show open": _FILES,
    "sample samples example examples flower china": (
        "run `latentlab pca sample:flower`, or with sample:china"
    ),
    "init config": "run `latentlab pca sample:flower`; nothing needs to be configured",
}
"""Names → what to run."""

_EXTRA = {
    "encode": "pass the folder that holds the images",
    "interpolate": "pass two images, and run it again for another pair",
    "traverse": "pass one image, and run it again for another",
    "doctor": "pass one folder of photos",
    "report": "pass one image, or one folder of photos",
    "models": "run `latentlab models --download NAME` for one of them",
    "store": "pass one store",
}
"""Command → what to do with arguments that are too many."""


_TRY = "such as photo.jpg, or sample:flower for a first try"
_MISSING = {
    "image": ("no image", "an image", f"pass one, {_TRY}"),
    "images": ("no image", "one or more", f"pass them, {_TRY}"),
    "subject": ("nothing", "an image or a folder of photos", f"pass one, {_TRY}"),
    "first": ("no image", "two images", "pass both, such as a.jpg b.jpg"),
    "last": ("one image", "two images", "pass the second after it"),
    "out": ("no --out", "the folder to write", "pass --out NAME"),
}
"""Argument that is missing → what to do."""


def answer(error: Any) -> UsageError | None:
    """Return the error that answers a wrong guess on the command line; None if it is none.

    Parameters
    ----------
    error : TyperException, what the parser found
    """
    context, message = getattr(error, "ctx", None), error.format_message()
    if context is None:
        return None
    if message.startswith("No such option"):
        return _of_option(error.option_name, context)
    if named := re.match("No such command '(.*?)'", message):
        return _of_command(named[1], context)
    if extra := re.match(r"Got unexpected extra argument.*? \((.*)\)", message):
        path = context.command_path.split()
        advice = next((_EXTRA[word] for word in path[1:] if word in _EXTRA), "leave it out")
        return UsageError(extra[1], "fewer arguments", advice)
    if (missing := getattr(error, "param", None)) and message.startswith("Missing"):
        said = _MISSING.get(missing.name)
        return UsageError(*said) if said else None
    return None


def _of_option(option: str, context: Any) -> UsageError | None:
    known = [name for parameter in context.command.params for name in parameter.opts]
    plain = _plain(option)
    advice = _exact(plain, known) or _elsewhere(plain, context) or _similar(plain, known)
    return _wrong_option(option, advice, context) if advice else None


def check_hyphens(arguments: Sequence[str], context: Any) -> None:
    """Raise UsageError for a long option with one hyphen: -out would be read as -o ut."""
    known = [name for parameter in context.command.params for name in parameter.opts]
    for word in arguments:
        if word == "--":
            return
        long = re.fullmatch("-[a-zA-Z][a-zA-Z_-]+(=.*)?", word)
        if long and (advice := _exact(_plain(word), known)):
            raise _wrong_option(word, advice, context)


def _wrong_option(option: str, advice: str, context: Any) -> UsageError:
    return UsageError(option, f"an option of `{context.command_path}`", advice)


def _plain(option: str) -> str:
    return option.partition("=")[0].lstrip("-").lower().replace("_", "-")


def _exact(plain: str, known: Collection[str]) -> str:
    """Return what to write for an option that this command has under this or another name."""
    if f"--{plain}" in known:
        return f"write --{plain}"
    for option, registry in (("--neighborhood", SAMPLERS), ("--finder", FINDERS)):
        if option in known and plain in registry:
            return f"pass {option} {plain}"
    if told := _sentence(plain, known):
        return told
    example = option_for(plain.replace("-", "_"), known)
    return f"pass {example}" if example else ""


def _sentence(plain: str, known: Collection[str]) -> str:
    """Return what the table says about an option, where the command has what it says."""
    for names, sentences in _OPTIONS.items():
        if plain in names.split():
            for sentence in sentences:
                named = re.findall("--[a-z-]+", re.sub("`.*?`", "", sentence))
                if set(named) <= set(known):
                    return sentence
    return ""


def _similar(plain: str, known: Sequence[str]) -> str:
    long = [name for name in known if name[:2] == "--"]
    if len(plain) == 1:
        fitting = [name for name in long if name[2] == plain]
        if not fitting:
            return ""
        listed = " or ".join(part for part in (", ".join(fitting[:-1]), fitting[-1]) if part)
        return f"write the option in full: {listed}"
    near = get_close_matches(f"--{plain}", long, n=1)
    return f"the closest option is {near[0]}" if near and plain else ""


_LISTED = 3
"""Commands named in a sentence."""


def _elsewhere(plain: str, context: Any) -> str:
    """Return which other commands have an option of this name."""
    root = context.find_root()
    having = [
        name
        for name, command in root.command.commands.items()
        if any({f"-{plain}", f"--{plain}"} & {*parameter.opts} for parameter in command.params)
    ]
    if having and context.parent is None:
        hyphens = "-" if len(plain) == 1 else "--"
        return f"write it after the command, as in `latentlab {having[0]} … {hyphens}{plain}`"
    first, others = having[:_LISTED], having[_LISTED:]
    commands = ", ".join(f"`latentlab {name}`" for name in first)
    more = f" and {counted(len(others), 'other commands')}" if others else ""
    return f"leave it out here; it belongs to {commands}{more}" if having else ""


def _of_command(word: str, context: Any) -> UsageError | None:
    if context.parent is not None:
        return _of_group(word, context)
    got = word, "a command"
    plain = word.lower().replace("_", "-")
    for names, advice in _COMMANDS.items():
        if plain in names.split():
            return UsageError(*got, advice)
    if exists(Path(word)) or re.match(r"\w+://|sample:", word):
        return UsageError(*got, f"write the command first, such as `latentlab pca {word}`")
    return None


def _of_group(word: str, context: Any) -> UsageError | None:
    """Return what to write instead of a word after ``latentlab store`` or ``latentlab digits``."""
    names = [*context.command.commands]
    if get_close_matches(word, names):  # the parser names those
        return None
    example = f"`{context.command_path} {_EXAMPLES.get(context.info_name, names[0])} {word}`"
    advice = f"write one of {', '.join(names)}"
    if exists(Path(word)):
        advice = f"write the command first, such as {example}"
    return UsageError(word, f"a command of `{context.command_path}`", advice)


_EXAMPLES = {"store": "info", "digits": "demo"}
"""Group → its command that is tried first on a folder."""
