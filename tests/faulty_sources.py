"""Folders of images that fail after they were listed; this module does not import torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from latentlab.store.sources import Folder


@dataclass(frozen=True)
class Vanishing(Folder):
    """A folder from which one image vanishes after it was listed."""

    def read(self, path: str) -> bytes:
        if path == "003.png":
            raise FileNotFoundError(2, "No such file or directory")
        return super().read(path)


@dataclass(frozen=True)
class Gone(Folder):
    """A folder whose disk fails after it was listed."""

    def read(self, path: str) -> bytes:
        raise OSError(5, "Input/output error")


@dataclass(frozen=True)
class Deadly(Folder):
    """A folder with an image that ends each process that reads it."""

    def read(self, path: str) -> bytes:
        if path == "003.png":
            os._exit(7)
        return super().read(path)
