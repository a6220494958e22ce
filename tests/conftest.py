"""Fixtures: a VAE whose every answer is known, and the real weights where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import hypothesis
import PIL.Image
import pytest
from command_line import CommandLine, save_image, save_model
from guard import (
    SHARED,
    pytest_collection_modifyitems,
    pytest_runtest_logreport,
    pytest_sessionfinish,
)
from matplotlib.figure import Figure

from latentlab.encoding.encoder import encode
from latentlab.images.image import Image
from latentlab.latents import Latent
from latentlab.testing.linear_vae import LinearVAE, smooth_image

# CI draws the same examples for the same tests, so that it judges the change and not the draw.
# Other runs draw new ones. Under load a single example may take a second.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

savefig = Figure.savefig
collect_ignore = ["plugin"]  # a package of its own, which test_plugins.py installs
__all__ = ["pytest_collection_modifyitems", "pytest_runtest_logreport", "pytest_sessionfinish"]


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Fail a test that leaves the environment changed, for later tests would run in it."""
    before = dict(os.environ)
    yield
    changed = {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}
    # scikit-learn sets variables of OpenMP when it is imported.
    left = sorted(name for name in changed if not name.startswith("KMP_"))
    assert not left, f"the environment has changed: {left}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder ../shared; mark tests that use it with ``pytest.mark.shared``."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not beside this checkout")
    return SHARED


@pytest.fixture
def linear_vae() -> LinearVAE:
    """Return a VAE whose every answer is known in closed form."""
    return LinearVAE()


@pytest.fixture
def linear_latent(linear_vae: LinearVAE) -> Latent:
    """Return the latent (6, 8, 10) of a smooth image of 32×40 pixels."""
    return encode(linear_vae, Image(smooth_image(), name="smooth"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``photo.png`` and the model ``small``."""
    folder = tmp_path_factory.mktemp("place")
    save_model(folder / "small")
    save_image(folder / "photo.png")
    return folder


def _save_blank(figure: Figure, file: BinaryIO, *, format: str, **settings: Any) -> None:
    """Write a PNG of the figure's proportions with nothing in it, and other formats as usual."""
    if format != "png":
        savefig(figure, file, format=format, **settings)
        return
    width, height = (int(40 * inches) for inches in figure.get_size_inches())
    PIL.Image.new("RGB", (width, height), "white").save(file, format)


@pytest.fixture
def cli(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> CommandLine:
    """Return a caller of commands in an empty working folder.

    Its figures are composed, but blank in their files: to lay them out and to draw them takes
    longer than all else that a small run does. test_figures_fit.py lays out every one, and what
    README's commands and the wheel write is real.
    """
    monkeypatch.setattr("latentlab.figures.fitting.settle", lambda _figure: None)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", _save_blank)
    monkeypatch.chdir(tmp_path)
    return CommandLine(place / "small", place / "photo.png", capfd)
