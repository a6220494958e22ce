"""The image of a latent whose result was saved, read again from its file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from latentlab.errors import ImageError
from latentlab.images.fit import AUTO, NATIVE
from latentlab.images.image import Image
from latentlab.images.reading import read_image
from latentlab.latents import Latent
from latentlab.machine.parsing import WRONG_FACTS

_ADVICE = "pass the latent too, as latentlab.encode(vae, image) returns it"


def with_image(latent: Latent) -> Latent:
    """Return a latent with the image that was encoded, read again if it has none.

    Raises
    ------
    ImageError : no file is recorded, it cannot be read, or it has changed.
    """
    if latent.image is not None:
        return latent
    facts = latent.record.get("input") or {}
    try:
        image = _read(str(facts["path"]), facts["fit"])
    except WRONG_FACTS as error:
        raise ImageError(
            f"the latent of {latent.name} without the file of its image",
            "an encoded image, which these samples change",
            _ADVICE,
        ) from error
    sides = latent.spec.image_size(latent.values.shape[-2:])
    if image.sha256 != facts.get("sha256") or tuple(image.pixels.shape[1:]) != sides:
        raise ImageError(
            f"{facts['path']}, which differs from the image that was encoded",
            "the same file",
            _ADVICE,
        )
    return replace(latent, image=image)


def _read(path: str, fit: dict[str, Any]) -> Image:
    """Return an image as it was read; KeyError, TypeError or ValueError for what is no record."""
    multiple, shape, longest = int(fit["multiple"]), fit["shape"], fit["longest"]
    if shape:
        height, width = shape
        return read_image(path, size=(int(height), int(width)), multiple=multiple)
    if longest:
        return read_image(path, size=AUTO, longest=int(longest), multiple=multiple)
    return read_image(path, size=NATIVE, multiple=multiple)
