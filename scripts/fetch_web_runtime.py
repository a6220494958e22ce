"""Fetch what the pages need of onnxruntime-web: four files, checked, into ``latentlab/web/vendor``.

``python scripts/fetch_web_runtime.py`` runs ``npm pack`` and unpacks the files. With
``--if-possible`` a missing npm or network is only a warning: everything but the pages works without
the files. Files other than the expected ones are an error in any case.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from latentlab.errors import DownloadError, LatentlabError, MissingExtraError
from latentlab.machine.files import write_bytes
from latentlab.web.pages import (
    RUNTIME,
    RUNTIME_FOLDER,
    RUNTIME_GPU,
    RUNTIME_PACKAGE,
    RUNTIME_VERSION,
    gpu_files,
    runtime_files,
)

_TIMEOUT = 300


def pack(folder: Path) -> Path:
    """Return the archive that npm downloads into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingExtraError(
            f"no npm, and so no {RUNTIME_PACKAGE}", "npm on the PATH", "install it and run again"
        )
    command = [npm, "pack", "--silent", f"{RUNTIME_PACKAGE}@{RUNTIME_VERSION}"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise _undelivered(f"no answer in {_TIMEOUT} s") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise _undelivered((done.stderr.strip().splitlines() or ["no archive"])[-1])
    return archives[0]


def _undelivered(reason: str) -> DownloadError:
    return DownloadError(
        f"no {RUNTIME_PACKAGE} {RUNTIME_VERSION} from npm ({reason})", "an archive", "try again"
    )


def unpack(archive: Path, folder: Path) -> None:
    """Write the files out of npm's archive, after comparing their SHA-256."""
    try:
        with tarfile.open(archive) as package:
            for name, digest in (RUNTIME | RUNTIME_GPU).items():
                member = package.extractfile(f"package/dist/{name}")
                content = member.read() if member else b""
                if hashlib.sha256(content).hexdigest() != digest:
                    raise DownloadError(
                        f"another {name} than {RUNTIME_PACKAGE} {RUNTIME_VERSION} has",
                        f"SHA-256 {digest[:12]}…",
                        "do not use it; report this",
                    )
                write_bytes(folder / name, content)
    except (tarfile.TarError, KeyError, OSError) as error:
        raise DownloadError(
            f"an archive of {RUNTIME_PACKAGE} that cannot be read ({error})",
            "npm's package",
            "run again",
        ) from error


def fetch(folder: Path) -> None:
    """Make the folder hold the expected files."""
    try:
        complete = bool(runtime_files(folder)) and (not RUNTIME_GPU or bool(gpu_files(folder)))
    except LatentlabError:
        complete = False
    if not complete:
        with tempfile.TemporaryDirectory() as scratch:
            unpack(pack(Path(scratch)), folder)
    for name in RUNTIME | RUNTIME_GPU:
        os.utime(folder / name)  # newer than this script, so that make leaves it alone


def main(arguments: list[str] | None = None) -> int:
    """Fetch, and turn what went wrong into one line and an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RUNTIME_FOLDER, help="folder for the files")
    parser.add_argument(
        "--if-possible", action="store_true", help="only warn if there is no npm or network"
    )
    options = parser.parse_args(arguments)
    try:
        fetch(options.out)
    except LatentlabError as error:
        unreachable = isinstance(error, MissingExtraError) or "from npm" in error.got
        if options.if_possible and unreachable:
            print(
                f"going on without decoders in pages (`digits demo`, `explore --export`): {error}",
                file=sys.stderr,
            )
            return 0
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
