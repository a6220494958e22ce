"""Ways to find directions around a latent: one finder a file, all behind one registry.

:func:`find` is the way in; :func:`register_finder` adds a finder of your own.
"""

from latentlab.directions.base import FINDERS, Finder, Found, Scene, register_finder
from latentlab.directions.difference import Difference
from latentlab.directions.finding import find, make_finder
from latentlab.directions.ica import IndependentComponents
from latentlab.directions.jacobian import DecoderJacobian
from latentlab.directions.pca import PrincipalComponents
from latentlab.directions.random import RandomDirections
from latentlab.directions.sparse_pca import SparseComponents
from latentlab.directions.supervised import Supervised

__all__ = [
    "FINDERS",
    "DecoderJacobian",
    "Difference",
    "Finder",
    "Found",
    "IndependentComponents",
    "PrincipalComponents",
    "RandomDirections",
    "Scene",
    "SparseComponents",
    "Supervised",
    "find",
    "make_finder",
    "register_finder",
]
