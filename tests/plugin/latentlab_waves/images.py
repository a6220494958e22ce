"""A metric and a model family."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE
from latentlab.measures.base import PerImage


@dataclass(frozen=True)
class LargestError(PerImage):
    """Largest absolute error of the reconstructions."""

    label, unit, span, better = "largest error", "range", "0 (equal) to 1", "lower"
    formula, reference, oracle = "max |x − D(E(x))|, mean over images", "–", "NumPy"
    evidence, not_evidence = "the worst pixel of an image", "how the rest looks"

    def columns(self, batch):
        image, other = batch.compared()
        return {"largest_error": (image - other).abs().flatten(1).amax(1)}


class Halve(torch.nn.Module):
    """One weight: what the latents are multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))


class Halves(ModuleVAE):
    """2×2 pixels become channels, times the gain that is the only weight."""

    @classmethod
    def build_module(cls, config):
        return Halve()

    @classmethod
    def read_spec(cls, module, name):
        return LatentSpec(name, channels=12, stride=2)

    def _run_encoder(self, images):
        return self.module.gain * torch.nn.functional.pixel_unshuffle(images, 2), None

    def _run_decoder(self, latents):
        return torch.nn.functional.pixel_shuffle(latents / self.module.gain, 2)
