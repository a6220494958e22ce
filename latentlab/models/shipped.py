"""Files shipped with latentlab, checked before they are used.

Each model is a folder of ``latentlab/models``. ``SHA256SUMS`` beside them lists the digest of
every file, in the format of the command ``sha256sum``.
"""

from __future__ import annotations

from pathlib import Path

from latentlab.errors import WeightsError
from latentlab.machine.files import sha256_of_file

MODELS_FOLDER = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"


def shipped_folder(name: str, models: Path = MODELS_FOLDER) -> Path:
    """Return the folder of a model shipped with latentlab, after checking every file in it.

    Raises
    ------
    WeightsError : a file is missing or differs from the one that was shipped.

    Examples
    --------
    >>> sorted(path.name for path in shipped_folder("linear").iterdir())
    ['config.json', 'diffusion_pytorch_model.safetensors']
    """
    folder = models / name
    for file, digest in _read_sums(models).items():
        if Path(file).parent.name == name:
            _check_file(models / file, digest)
    return folder


def _read_sums(models: Path) -> dict[str, str]:
    try:
        lines = (models / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _damaged(models / SUMS, "is missing") from error
    return {file: digest for digest, file in (line.split(maxsplit=1) for line in lines)}


def _check_file(path: Path, digest: str) -> None:
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise _damaged(path, "is missing") from error
    if found != digest:
        raise _damaged(path, f"has SHA-256 {found[:12]}… instead of {digest[:12]}…")


def _damaged(path: Path, problem: str) -> WeightsError:
    return WeightsError(
        f"the built-in {path}, which {problem}",
        "the file as latentlab ships it",
        "install latentlab again (pip install --force-reinstall --no-deps latentlab)",
    )
