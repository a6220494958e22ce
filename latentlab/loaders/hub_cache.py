"""What the hub's cache on this disk contains, which files of a folder make a model, and whether
they are intact.

The layout is the one that huggingface_hub documents, so models fetched by other tools are found::

    models--owner--name/refs/main              the commit that "main" pointed to when last asked
    models--owner--name/snapshots/<commit>/…   links to the files of that commit

Only ``huggingface_hub.constants`` is imported, and only when needed: it takes a few milliseconds,
reads HF_HOME and HF_HUB_CACHE as the client does, and needs no network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from latentlab.errors import DownloadError, FileError, WeightsError
from latentlab.machine.files import replace_when_done
from latentlab.machine.parsing import parse_json

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
"""Kinds of weights files, in order of preference."""
VAE = "vae"
"""Folder of the VAE in the repository of a pipeline."""
_MODEL = "diffusion_pytorch_model"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.")
_VARIANT = re.compile(r"\.(?P<name>[\w-]+?)(-\d{5}-of-\d{5})?\.(safetensors|bin)$")
_PREFERRED = ("fp16", "bf16")
_HALVES = re.compile(r"encoder|decoder")


@dataclass(frozen=True)
class FetchedModel:
    """A folder of model files on this disk.

    Parameters
    ----------
    folder : Path, contains config.json and the weights
    revision : str, commit SHA of the repository that the files belong to
    from_cache : bool, True if the hub was not asked or did not respond, so that a newer commit
        of the same branch may exist
    """

    folder: Path
    revision: str
    from_cache: bool = False


def is_commit(revision: str | None) -> bool:
    """Return whether a revision is a full commit SHA, which never changes its meaning."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def cache_root() -> Path:
    """Return the folder in which the hub's client keeps its models."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached(
    repo: str,
    *,
    subfolder: str | None = None,
    files: Sequence[str] | None = None,
    revision: str | None = None,
    variant: str | None = None,
) -> FetchedModel | None:
    """Return the model if all its files are on this disk, else None; never uses the network.

    Parameters
    ----------
    repo, subfolder, files, revision, variant : as in :func:`latentlab.loaders.hub.fetch`
    """
    commit = _known_commit(repo, revision or "main")
    if commit is None:
        return None
    places = [subfolder] if subfolder or files else [None, VAE]
    for place in places:
        folder = snapshot_folder(repo, commit, place)
        if not folder.is_dir():
            continue
        present = [entry.name for entry in folder.iterdir() if entry.is_file()]
        wanted = files or choose_files(present, variant)
        if is_complete(wanted) and set(wanted) <= set(present):
            return FetchedModel(folder, commit, from_cache=True)
    return None


def snapshot_folder(repo: str, commit: str, subfolder: str | None = None) -> Path:
    """Return the cache's folder for this folder of this commit, whether it exists or not."""
    return _repo_folder(repo) / "snapshots" / commit / (subfolder or "")


def remember_revision(repo: str, revision: str, commit: str) -> None:
    """Record which commit a branch or tag is, so that it can be found without the hub."""
    if is_commit(revision) or _known_commit(repo, revision) == commit:
        return
    note = _repo_folder(repo) / "refs" / revision
    # A cache that is not writable can still be read.
    with suppress(OSError, FileError), replace_when_done(note) as draft:
        draft.write_text(commit)


def choose_files(names: Collection[str], variant: str | None = None) -> list[str]:
    """Return the files of one folder that make a model: config.json and one set of weights.

    safetensors are preferred to other formats, and diffusers' usual names to other names. Without
    those, a single weights file or a pair of encoder and decoder is chosen, and a variant, such as
    ``fp16``, only if there is nothing else or it is asked for. The list is empty if nothing fits
    or if there is more than one choice.

    Examples
    --------
    >>> choose_files(["README.md", "config.json", "diffusion_pytorch_model.bin",
    ...               "diffusion_pytorch_model.safetensors"])
    ['config.json', 'diffusion_pytorch_model.safetensors']
    >>> choose_files(["config.json", "diffusion_pytorch_model.fp16.safetensors"])
    ['config.json', 'diffusion_pytorch_model.fp16.safetensors']
    """
    kinds: dict[str | None, list[str]] = {}
    for name in sorted(names):
        if name.endswith(WEIGHT_SUFFIXES):
            kinds.setdefault(find_variant(name), []).append(name)
    if variant is not None:
        order: list[str | None] = [variant]
    else:
        others = [kind for kind in kinds if kind is not None]
        order = [None, *(kind for kind in _PREFERRED if kind in kinds)]
        order += others if len(others) == 1 else []
    for kind in order:
        for suffix in WEIGHT_SUFFIXES:
            held = [name for name in kinds.get(kind, []) if name.endswith(suffix)]
            weights = _choose_weights(held, f".{kind}{suffix}" if kind else suffix)
            if weights:
                indices = [f"{_MODEL}{suffix}.index.{kind}.json", f"{_MODEL}{suffix}.index.json"]
                index = [name for name in indices if name in names][:1]
                return [*(name for name in ["config.json"] if name in names), *index, *weights]
    return []


def find_variant(name: str) -> str | None:
    """Return the variant in the name of a weights file, None for the plain one.

    Examples
    --------
    >>> find_variant("diffusion_pytorch_model.fp16-00001-of-00002.safetensors")
    'fp16'
    """
    match = _VARIANT.search(name)
    return match["name"] if match and name.startswith(f"{_MODEL}.") else None


def is_complete(names: Sequence[str]) -> bool:
    """Return whether chosen files are a whole model: there are some, and no shard is missing."""
    shards = [match for name in names if (match := _SHARD.search(name))]
    return bool(names) and {int(shard[2]) for shard in shards} <= {len(shards)}


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Check the structure of files.

    Raises
    ------
    DownloadError : a JSON file has other contents, such as a web page.
    WeightsError : a safetensors file is damaged, or another file is empty.
    """
    for name in names:
        path = folder / name
        flaw = find_flaw(path)
        if flaw is None:
            continue
        kind = DownloadError if path.suffix == ".json" else WeightsError
        raise kind(
            f"{name}, {flaw}",
            "the file as it is on the hub",
            f"delete {path.resolve()} and fetch the model again; "
            "if that does not help, unset HF_ENDPOINT or ask the repository's owner",
        )


def find_flaw(path: Path) -> str | None:
    """Return what is wrong with a file, judged by its structure, or None if nothing is wrong."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".json":
            return _json_flaw(path.read_bytes())
        if path.suffix == ".safetensors":
            with safe_open(path, framework="np"):
                return None
        return "an empty file" if path.stat().st_size == 0 else None
    except SafetensorError as error:
        return f"damaged weights ({error})"
    except OSError as error:
        return f"which cannot be read ({error.strerror})"


def remove_damaged(path: Path) -> None:
    """Remove a file of the cache and the blob that it links to, so that it is fetched again."""
    blob = path.resolve()
    # A link out of the cache must not be followed.
    if blob.is_relative_to(cache_root().resolve()):
        blob.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _repo_folder(repo: str) -> Path:
    return cache_root() / f"models--{repo.replace('/', '--')}"


def _known_commit(repo: str, revision: str) -> str | None:
    if is_commit(revision):
        return revision
    if ".." in PurePosixPath(revision).parts or revision.startswith("/"):
        return None
    note = _repo_folder(repo) / "refs" / revision
    return note.read_text().strip() if note.is_file() else None


def _choose_weights(names: list[str], suffix: str) -> list[str]:
    if f"{_MODEL}{suffix}" in names:
        return [f"{_MODEL}{suffix}"]
    shards = [name for name in names if name.startswith(_MODEL) and _SHARD.search(name)]
    if shards:
        return shards
    others = [name for name in names if not name.startswith(f"{_MODEL}.")]
    pair = len(others) == 2 and all(_HALVES.search(name) for name in others)
    return others if pair or len(others) == 1 else []


def _json_flaw(text: bytes) -> str | None:
    try:
        value = parse_json(text)
    except ValueError:
        return "a web page" if text.lstrip()[:1] == b"<" else "broken JSON"
    return None if isinstance(value, dict) else "JSON that is not an object"
