"""Folders of pictures with which something happens after they were listed; no torch here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

from latentlab.store.sources import Folder


@dataclass(frozen=True)
class Vanishing(Folder):
    """A folder of which one picture is gone after it was listed."""

    kind: ClassVar[str] = "folder"

    def read(self, path: str) -> bytes:
        if path == "003.png":
            raise FileNotFoundError(2, "No such file or directory")
        return super().read(path)


@dataclass(frozen=True)
class Gone(Folder):
    """A folder whose disk is gone after it was listed."""

    kind: ClassVar[str] = "folder"

    def read(self, path: str) -> bytes:
        raise OSError(5, "Input/output error")


@dataclass(frozen=True)
class Deadly(Folder):
    """A folder with a picture that ends the process that reads it."""

    kind: ClassVar[str] = "folder"

    def read(self, path: str) -> bytes:
        if path == "003.png":
            os._exit(7)
        return super().read(path)
