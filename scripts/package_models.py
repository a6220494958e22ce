"""Put trained models into the package and renew their checksums.

``python scripts/package_models.py RUN`` copies the models that ``train_mini.py`` left in RUN
(``mini``, ``linear``, ``linear32``) into ``latentlab/models``; without RUN only ``SHA256SUMS`` is
renewed. A model's card stays as it is: write into it what ``score_mini.py`` measures.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from latentlab.errors import FileError, LatentlabError
from latentlab.machine.files import replace_when_done, sha256_of_file, write_bytes
from latentlab.models.shipped import MODELS_FOLDER, SUMS

MODELS = ("mini", "linear", "linear32")
FILES = ("config.json", "diffusion_pytorch_model.safetensors")


def copy_models(run: Path, models: Path) -> None:
    """Copy every model of a finished run.

    Raises
    ------
    FileError : a file is missing; then nothing was copied.
    """
    sources = [run / name / file for name in MODELS for file in FILES]
    missing = [str(source) for source in sources if not source.is_file()]
    if missing:
        raise FileError(f"no {', '.join(missing)}", "a finished run", "train to the end first")
    for source in sources:
        with replace_when_done(models / source.parent.name / source.name) as temporary:
            shutil.copyfile(source, temporary)


def renew_sums(models: Path) -> None:
    """Write the SHA-256 of every model's files, as ``sha256sum`` would."""
    files = sorted(path for path in models.glob("*/*") if path.is_file())
    lines = [f"{sha256_of_file(path)}  {path.relative_to(models).as_posix()}\n" for path in files]
    write_bytes(models / SUMS, "".join(lines).encode())


def main(arguments: list[str] | None = None) -> int:
    """Copy, renew, and turn what went wrong into one line and an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="folder of a finished training run")
    parser.add_argument("--models", type=Path, default=MODELS_FOLDER, help="folder of models")
    options = parser.parse_args(arguments)
    try:
        if options.run:
            copy_models(options.run, options.models)
        renew_sums(options.models)
    except LatentlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
