"""Example images that come with scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from latentlab.errors import ImageError

PREFIX = "sample:"
SAMPLES = ("flower", "china")


def example_folder() -> Path:
    """Return the folder of scikit-learn's images, without importing scikit-learn."""
    spec = find_spec("sklearn")
    return Path(spec.origin).parent / "datasets" / "images" if spec and spec.origin else Path()


def sample_path(source: str) -> Path:
    """Return the file of ``sample:flower`` or ``sample:china``, without importing scikit-learn.

    Raises
    ------
    ImageError : unknown sample, or scikit-learn was installed without its images.

    Examples
    --------
    >>> sample_path("sample:flower").name
    'flower.jpg'
    """
    name = source.removeprefix(PREFIX)
    path = example_folder() / f"{name}.jpg"
    if name not in SAMPLES or not path.is_file():
        known = " or ".join(PREFIX + sample for sample in SAMPLES)
        raise ImageError(f"{source!r}", known, "choose one of these, or pass a file")
    return path
