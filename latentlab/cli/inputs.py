"""What an argument is, and what to do about one of the wrong kind, before anything heavy loads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from shlex import quote

from latentlab.errors import FileError, ImageError, LatentlabError, counted
from latentlab.images.examples import PREFIX, SAMPLES, sample_path
from latentlab.machine.archives import ARRAYS, PACKED, PARQUET, TAR, ZIPS

_URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:|www\.", re.IGNORECASE)
_RESULTS = ("pca.json", "directions.json")
"""Files of the runs that `latentlab traverse` can resume."""
_SAVE = "save it as PNG or JPEG first"
_UNREADABLE = {
    **dict.fromkeys((".svg", ".pdf", ".ai", ".eps"), _SAVE),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".exr", ".hdr"), _SAVE),
    **dict.fromkeys(
        (*ARRAYS, ".h5"),
        "pass arrays and tensors in Python: latentlab.analyze(vae, array)",
    ),
    **dict.fromkeys(
        (".safetensors", ".ckpt", ".bin", ".gguf"), "pass a model as --model, beside an image"
    ),
    **dict.fromkeys(PACKED, "unpack it first"),
    **dict.fromkeys((TAR, *ZIPS, PARQUET), "encode all of its images with `latentlab encode`"),
}
"""Suffix of a file that is no image → what to do with it."""


def expand(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with every pattern that the shell left alone replaced by its files."""
    return [name for argument in arguments for name in _matches(argument) or [argument]]


def _matches(argument: str) -> list[str]:
    if not has_magic(argument) or Path(argument).exists():
        return []
    return sorted(glob(argument, recursive=True))  # noqa: PTH207 (absolute patterns too)


def check_image(argument: str, command: str | None = None) -> None:
    """Raise what is wrong with an argument where an image belongs; one frame is decoded.

    Parameters
    ----------
    argument : as it was typed
    command : ``"pca"``, which means more by a folder than the others do

    Raises
    ------
    ImageError : it is no image, and the message says what it is instead.
    """
    if argument.startswith(PREFIX):
        sample_path(argument)
        return
    path = Path(argument)
    if path.is_dir():
        raise _folder_as_image(path, command)
    if path.name in _RESULTS and path.is_file():
        resume = f"run `latentlab traverse --run {quote(str(path.parent))}`"
        raise ImageError(f"{path}, a result of `latentlab`", "an image", resume)
    if not path.exists():
        raise _missing(argument, "an image")
    advice = _UNREADABLE.get(path.suffix.lower())
    if advice:
        raise ImageError(f"{path}, a {path.suffix} file", "an image", advice)
    from latentlab.images.checking import check_readable

    check_readable(path)


def check_images(arguments: Sequence[str]) -> None:
    """Raise what is wrong with the first argument that is no image, as :func:`check_image`."""
    for argument in arguments:
        check_image(argument)


def check_source(path: Path, *, follow_links: bool = False) -> None:
    """Raise what is wrong with the folder or archive that is to be encoded.

    Raises
    ------
    ImageError : it is no source of images, or holds none.
    """
    from latentlab.images.formats import count_kinds, head_of_file, is_image
    from latentlab.store.opening import is_store, open_source
    from latentlab.store.sources import left_out

    wanted = "a folder of images, or a tar, zip or parquet file"
    if not path.exists():
        raise _missing(str(path), wanted)
    if is_store(path):
        advice = f"run `latentlab pca {quote(str(path))}`, or pass the folder of the images"
        raise ImageError(f"{path}, a store of latents", wanted, advice)
    if path.is_file() and is_image(path, partial(head_of_file, path)):
        advice = f"pass its folder, or run `latentlab pca {quote(str(path))}` for this one"
        raise ImageError(f"{path}, one image", wanted, advice)
    source = open_source(path, follow_links=follow_links)
    if next(iter(source.entries()), None) is None:
        others = count_kinds(left_out(source))
        raise ImageError(
            f"{path}, with no image in it" + (f", but {others}" if others else ""),
            "files such as .jpg, .png or .webp that are not hidden",
            "name the folder that holds the images",
        )


def check_store(path: Path) -> None:
    """Raise FileError, with what to do, for a path that is no store."""
    from latentlab.store.opening import is_store

    if is_store(path):
        return
    wanted = "a store that `latentlab encode` wrote"
    if not path.exists():
        raise _missing(str(path), wanted, FileError)
    if path.is_dir() and (found := _images_in(path)):
        advice = f"run {_encoding(path)} first"
        raise FileError(f"{path}, a folder with {counted(len(found))}", wanted, advice)
    raise FileError(f"{path}, which is no store", wanted, "pass the --out of `latentlab encode`")


def check_run(path: Path | None) -> None:
    """Raise FileError for a path that is no run folder; for None, if there is no run yet."""
    from latentlab.results.folders import latest_run
    from latentlab.store.opening import is_store

    folder = latest_run() if path is None else path
    if any((folder / name).is_file() for name in _RESULTS):
        return
    advice = "pass a folder that `latentlab pca` or `latentlab directions` wrote"
    if is_store(folder):
        advice = f"run `latentlab pca {quote(str(folder))}` first, and pass its run folder"
    elif folder.is_file():
        advice = f"for an image, run `latentlab traverse {quote(str(folder))}`, without --run"
    raise FileError(f"--run {folder}", "a folder with a pca.json or directions.json", advice)


def _folder_as_image(path: Path, command: str | None) -> ImageError:
    """Return the error for a folder in the place of an image: what it is, and its commands."""
    from latentlab.store.opening import is_store

    name = quote(str(path))
    if is_store(path):
        got, advice = "a store of latents", f"run `latentlab pca {name}`, with the store alone"
    elif any((path / file).is_file() for file in _RESULTS):
        got = "a run folder"
        advice = f"run `latentlab traverse --run {name}`, or pass the image itself"
    elif (path / "run.json").is_file():
        got, advice = "a folder of results", "pass the image itself"
    elif (path / "config.json").is_file() or (path / "model_index.json").is_file():
        got, advice = "the folder of a model", f"pass an image, and --model {name}"
    elif found := _images_in(path):
        got = f"a folder with {counted(len(found))}"
        advice = f"pass images in it, such as {quote(str(path / found[0].name))}"
        if command == "pca":
            pattern = f"{name}/*{found[0].suffix}"
            advice = (
                f"for all of them together run {_encoding(path)}; for some of them pass images, "
                f"such as {pattern}; for means over all of them add -k augment; for one image and "
                "its nearest neighbors pass that image with -k knn"
            )
    elif runs := sorted(path.glob("*/run.json")):
        got = "a folder of runs"
        advice = f"pass an image, or the run to resume, such as --run {quote(str(runs[0].parent))}"
    else:
        got = "a folder with no image directly in it"
        advice = "pass an image file; `latentlab encode` also reads the folders inside a folder"
    return ImageError(f"{path}, {got}", "an image", advice)


def _images_in(folder: Path) -> list[Path]:
    from latentlab.images.checking import list_images

    try:
        return list_images(folder)
    except ImageError:
        return []


def _encoding(path: Path) -> str:
    name, store = quote(str(path)), quote(f"{path.name or 'images'}-latents")
    return f"`latentlab encode {name} --out {store}` and `latentlab pca {store}`"


# What was meant by something that does not exist


def _missing(argument: str, wanted: str, kind: type[LatentlabError] = ImageError) -> LatentlabError:
    for guess in (_as_address, _as_word, _as_setting, _as_run, _as_misspelled):
        if told := guess(argument):
            return kind(f"{argument}, {told[0]}", wanted, told[1])
    return kind(f"{argument}, which does not exist", wanted, "check the path")


_Told = tuple[str, str] | None
"""What an argument is, and what to do; None if it is something else."""


def _as_address(argument: str) -> _Told:
    if argument.lower().startswith("file:"):
        return "an address", f"write the path: {re.sub('^file:(//)?', '', argument)}"
    if _URL.match(argument):
        how = f"download it first: curl -LO {quote(argument)}"
        return "a URL", how if argument.lower().startswith(("http", "www")) else "download it first"
    if has_magic(argument):
        return "which matches no file", "check the pattern and the folder"
    if argument == "-":
        return "the standard input", "save the image as a file and pass its path"
    if argument.startswith("~"):
        return "which does not exist", "leave out the quotes, so that the shell replaces ~"
    return None


def _as_word(argument: str) -> _Told:
    from latentlab.directions import FINDERS
    from latentlab.loaders.built_in import BUILT_IN
    from latentlab.loaders.catalogue import CATALOGUE
    from latentlab.neighborhoods import SAMPLERS

    if argument in SAMPLES:
        return "a sample image without its prefix", f"write {PREFIX}{argument}"
    if argument.lower() in {*BUILT_IN, *CATALOGUE}:
        return "the name of a model", f"pass --model {argument.lower()}, and an image before it"
    if argument in SAMPLERS:
        return "the name of a neighborhood", f"write --neighborhood {argument}"
    if argument in FINDERS:
        return "the name of a finder", f"write --finder {argument}"
    if argument == "help":
        return "which does not exist", "write --help"
    return None


def _as_setting(argument: str) -> _Told:
    if re.fullmatch(r"\d+(x\d+)?(px)?", argument):
        return "a number", f"write --size {argument}"
    name, equals, value = argument.partition("=")
    if equals and name.isidentifier():
        return "a setting", f"write --{name.replace('_', '-')} {value}, or --set {argument}"
    return None


def _as_run(argument: str) -> _Told:
    from latentlab.results.folders import RUNS_FOLDER

    folder = Path(RUNS_FOLDER) / argument
    if not any((folder / name).is_file() for name in _RESULTS):
        return None
    return "the name of a run", f"run `latentlab traverse --run {quote(str(folder))}`"


def _as_misspelled(argument: str) -> _Told:
    path = Path(argument)
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return f"in {path.parent}, which does not exist", "check the path"
    plain = {name.lower(): name for name in names}
    near = [plain[name] for name in get_close_matches(path.name.lower(), plain, n=1, cutoff=0.8)]
    return ("which does not exist", f"pass {quote(str(path.with_name(near[0])))}") if near else None
