"""The user's browser."""

from __future__ import annotations

import os
import sys


def open_browser(address: str) -> None:
    """Open a page in a graphical browser; one in the terminal would cover the messages."""
    import webbrowser

    displays = {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if displays or sys.platform in ("darwin", "win32"):
        webbrowser.open(address)
