"""A command that serves a page, started in a process of its own and ended as Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

# The process that started the tests may have set interrupts to be ignored.
_HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


def interrupt_server(program: str, folder: Path) -> tuple[int, str, str]:
    """Return exit code, further output and errors of a program, interrupted once it has an address.

    Parameters
    ----------
    program : str, Python that prints the address of its page
    folder : Path, to run in
    """
    with subprocess.Popen(
        [sys.executable, "-c", _HEARING + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=folder,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, output, errors
