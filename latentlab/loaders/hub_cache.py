"""What the hub's cache on this disk holds, which files of a folder make a model, and whether
they are whole.

The layout is the one huggingface_hub documents, so models fetched by other tools count too::

    models--owner--name/refs/main              the commit that "main" was when last asked
    models--owner--name/snapshots/<commit>/…   links to the files of that commit

Only ``huggingface_hub.constants`` is imported, and late: it costs a few milliseconds, reads
HF_HOME and HF_HUB_CACHE as the client does, and needs no network.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile

from latentlab.errors import DownloadError, WeightsError

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.")
_HALVES = re.compile(r"encoder|decoder")


@dataclass(frozen=True)
class FetchedModel:
    """A folder of model files on this disk.

    Parameters
    ----------
    folder : Path, holds config.json and the weights
    revision : str, commit SHA of the repository that the files belong to
    from_cache : bool, True when the hub was not asked or did not answer, so that a newer
        commit of the same branch may exist
    """

    folder: Path
    revision: str
    from_cache: bool = False


def is_commit(revision: str | None) -> bool:
    """Return whether a revision is a full commit SHA, which can never move."""
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
) -> FetchedModel | None:
    """Return the model if every file of it is on this disk, else None; never uses the network.

    Parameters
    ----------
    repo, subfolder, files, revision : as in :func:`latentlab.loaders.hub.fetch`
    """
    commit = _known_commit(repo, revision or "main")
    if commit is None:
        return None
    folder = snapshot_folder(repo, commit, subfolder)
    if not folder.is_dir():
        return None
    present = [entry.name for entry in folder.iterdir() if entry.is_file()]
    if files is not None:
        complete = all((folder / name).is_file() for name in files)
    else:
        complete = _has_all_shards(choose_files(present))
    return FetchedModel(folder, commit, from_cache=True) if complete else None


def snapshot_folder(repo: str, commit: str, subfolder: str | None = None) -> Path:
    """Return where the cache keeps this folder of this commit, present or not."""
    return _repo_folder(repo) / "snapshots" / commit / (subfolder or "")


def remember_revision(repo: str, revision: str, commit: str) -> None:
    """Note which commit a branch or tag is, so that it can be found again without the hub."""
    if is_commit(revision) or _known_commit(repo, revision) == commit:
        return
    note = _repo_folder(repo) / "refs" / revision
    # A cache that cannot be written still serves what it holds.
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=note.parent, delete=False) as draft:
            draft.write(commit)
        Path(draft.name).replace(note)


def choose_files(names: Collection[str]) -> list[str]:
    """Return the files of one folder that make a model: config.json and one set of weights.

    Safetensors before anything else; diffusers' usual names before others; without those, a
    lone weights file or an encoder–decoder pair. An empty list means that nothing fits, or
    that too much does.

    Examples
    --------
    >>> choose_files(["README.md", "config.json", "diffusion_pytorch_model.bin",
    ...               "diffusion_pytorch_model.safetensors"])
    ['config.json', 'diffusion_pytorch_model.safetensors']
    """
    for suffix in WEIGHT_SUFFIXES:
        weights = _choose_weights(sorted(name for name in names if name.endswith(suffix)), suffix)
        if weights:
            index = [f"diffusion_pytorch_model{suffix}.index.json"]
            return [name for name in ["config.json", *index] if name in names] + weights
    return []


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Refuse files that are damaged, judging by their structure.

    Raises
    ------
    DownloadError : a JSON file holds something else, such as a web page.
    WeightsError : a safetensors file is shorter or longer than its header says.
    """
    for name in names:
        path = folder / name
        flaw = find_flaw(path)
        if flaw is None:
            continue
        kind = DownloadError if path.suffix == ".json" else WeightsError
        raise kind(
            f"{flaw} in {name}",
            "the file as it is on the hub",
            f"delete {path.resolve()} and fetch the model again; "
            "if that does not help, unset HF_ENDPOINT or ask the repository's owner",
        )


def find_flaw(path: Path) -> str | None:
    """Return what is wrong with the structure of a JSON or safetensors file, None if nothing."""
    if path.suffix == ".json":
        return _json_flaw(path)
    if path.suffix == ".safetensors":
        return _safetensors_flaw(path)
    return "an empty file" if path.stat().st_size == 0 else None


def remove_damaged(path: Path) -> None:
    """Remove a file of the cache together with the blob it links to, so that it is fetched anew."""
    blob = path.resolve()
    # A link that leads out of the cache is not ours to follow.
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
    if f"diffusion_pytorch_model{suffix}" in names:
        return [f"diffusion_pytorch_model{suffix}"]
    shards = [name for name in names if name.startswith("diffusion_pytorch_model-")]
    if shards:
        return shards
    others = [name for name in names if not name.startswith("diffusion_pytorch_model.")]
    pair = len(others) == 2 and all(_HALVES.search(name) for name in others)
    return others if pair or len(others) == 1 else []


def _has_all_shards(names: list[str]) -> bool:
    totals = {int(match[2]) for name in names if (match := _SHARD.search(name))}
    shards = sum(1 for name in names if _SHARD.search(name))
    return bool(names) and (not totals or totals == {shards})


def _json_flaw(path: Path) -> str | None:
    text = path.read_bytes()
    try:
        value = json.loads(text)
    except ValueError:
        page = text.lstrip()[:1] == b"<"
        return "a web page" if page else "broken JSON"
    return None if isinstance(value, dict) else "JSON that is no object"


def _safetensors_flaw(path: Path) -> str | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length + 8 > size:
            return f"a truncated header ({size} bytes)"
        header = file.read(length)
    try:
        tensors = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name[:2] != "__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "an unreadable header"
    promised = 8 + length + max(ends, default=0)
    return None if promised == size else f"{size} bytes where its header promises {promised}"
