"""What tests of the command line share: a small model, a small image, and a way to call it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_models import save_tiny

from latentlab.cli.main import run
from latentlab.images.arrays import to_uint8
from latentlab.testing.linear_vae import smooth_image

SIZE = 64


@dataclass(frozen=True)
class Called:
    """Exit code and output of one call."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        """Return the one JSON object on stdout."""
        assert self.code == 0, self.err
        facts = json.loads(self.out)
        assert isinstance(facts, dict)
        return facts

    @property
    def error(self) -> str:
        """Return the one line of a failure: stdout is empty, and stderr has no other of its kind.

        The model that is loaded and the scale of its latents are said before.
        """
        assert self.out == ""
        said = re.compile("loading |.*: standard deviation .* in model space")
        lines = [line for line in self.err.splitlines() if not said.match(line)]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


class CommandLine:
    """Calls commands in this process."""

    def __init__(self, model: Path, image: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.model = str(model)
        self.image = str(image)
        self._capture = capture

    def __call__(self, *arguments: object) -> Called:
        self._capture.readouterr()
        code = run([str(argument) for argument in arguments])
        return Called(code, *self._capture.readouterr())

    def pca(self, *arguments: object, image: object = None, samples: object = 6) -> Called:
        """Call ``pca`` of the small image with the small model, as JSON."""
        return self(
            *("pca", image or self.image, "-m", self.model, "--size", SIZE),
            *("--samples", samples, "--json", *arguments),
        )


def save_image(path: Path, height: int = 70, width: int = 90) -> Path:
    """Write a smooth image and return its path."""
    Image.fromarray(to_uint8(smooth_image(height, width)).numpy()).save(path)
    return path


def save_model(folder: Path) -> Path:
    """Write a small AutoencoderKL (4 channels, stride 2) and return its folder."""
    save_tiny("AutoencoderKL", folder)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the contents of every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
