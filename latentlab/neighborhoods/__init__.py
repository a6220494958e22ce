"""Samples around a latent: one sampler a file, all behind one registry.

:func:`neighborhood` is the way in; :func:`register_neighborhood` adds a sampler of your own.
"""

from latentlab.neighborhoods.augment import Augment
from latentlab.neighborhoods.base import SAMPLERS, Sampler, register_neighborhood
from latentlab.neighborhoods.crops import Crops
from latentlab.neighborhoods.frames import Frames
from latentlab.neighborhoods.gaussian import Gaussian
from latentlab.neighborhoods.knn import NearestPictures
from latentlab.neighborhoods.posterior import PosteriorSampler
from latentlab.neighborhoods.reencode import Reencode
from latentlab.neighborhoods.sampling import make_sampler, neighborhood
from latentlab.neighborhoods.tokens import Patches, Tokens

__all__ = [
    "SAMPLERS",
    "Augment",
    "Crops",
    "Frames",
    "Gaussian",
    "NearestPictures",
    "Patches",
    "PosteriorSampler",
    "Reencode",
    "Sampler",
    "Tokens",
    "make_sampler",
    "neighborhood",
    "register_neighborhood",
]
