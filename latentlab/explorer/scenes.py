"""What a page shows of an image: the models, their pictures, and the directions found so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentlab.explorer.protocol import pack
from latentlab.explorer.state import State, latent_of, matched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latentlab.explorer.fits import Fitted
    from latentlab.explorer.subjects import Subject


@dataclass(frozen=True, eq=False)
class Match:
    """Which directions of another model change the image as those of the first do.

    Parameters
    ----------
    indices : for each direction of the first model, the other's
    signs : 1, or −1 where it points the other way
    correlations : of the changes of both images, from 0 to 1
    """

    indices: tuple[int, ...]
    signs: tuple[int, ...]
    correlations: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """An image in one or two models, with the directions around it as far as they are known.

    Parameters
    ----------
    subjects : one Subject a model, of one image
    fits : one Fitted a model; empty before anything was found
    match : Match of the second model's directions; None with one model
    """

    subjects: tuple[Subject, ...]
    fits: tuple[Fitted, ...] = ()
    match: Match | None = None

    def header(self) -> dict[str, Any]:
        """Return the description of a scene that a page gets, JSON-ready."""
        first = self.subjects[0].latent
        image = first.image
        return {
            "image": {"name": first.name, "sha256": image.sha256 if image else ""},
            "models": [subject.describe() for subject in self.subjects],
            "fits": [fit.describe() for fit in self.fits],
            "match": vars(self.match) if self.match else None,
        }

    def frame(self, **more: Any) -> bytes:
        """Return the scene as a frame with all pictures, named ``0/image``, ``1/image``, …"""
        parts = [
            (f"{index}/{name}", kind, content)
            for index, subject in enumerate(self.subjects)
            for name, kind, content in subject.parts()
        ]
        return pack({"type": "scene", "scene": self.header(), **more}, parts)

    def decode(self, state: State, others: tuple[Subject, ...] = ()) -> list[NDArray[np.uint8]]:
        """Return the image (H, W, 3), uint8, of a state in each model."""
        return [
            subject.pixels(self.latent(state, index, others))
            for index, subject in enumerate(self.subjects)
        ]

    def latent(self, state: State, index: int = 0, others: tuple[Subject, ...] = ()) -> Any:
        """Return the latent (C, h, w) of a state in one of the models."""
        subject = self.subjects[index]
        other = others[index].latent.values if others else None
        found = self.fits[index].directions if index < len(self.fits) else None
        if index and self.match:
            state = matched(state, self.match.indices, self.match.signs)
        return latent_of(state, subject.latent.values, found, other)
