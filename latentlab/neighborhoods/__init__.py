"""Samples around a latent: one sampler a file, all behind one registry.

:func:`latentlab.neighborhood` draws samples; ``@SAMPLERS.register("name")`` adds a sampler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentlab.registry import Registry

if TYPE_CHECKING:
    from latentlab.neighborhoods.base import Sampler

_BUILT_IN = (
    *("augment", "colors", "crops", "frames", "gaussian", "knn", "posterior", "reencode"),
    "tokens",
)

SAMPLERS: Registry[Sampler] = Registry(
    "neighborhood",
    __name__,
    {**{name: name for name in _BUILT_IN}, "patches": "tokens"},
    group="latentlab.neighborhoods",
    base="base.Sampler",
)

DEFAULT_NEIGHBORHOOD = "augment"


def sampler_of(samples: Any) -> type[Sampler]:
    """Return the class that drew samples: a Neighborhood, or the name of a sampler.

    For a matrix or an unregistered name it is :class:`latentlab.neighborhoods.base.Sampler`, which
    assumes independent rows of whole latents.
    """
    from latentlab.neighborhoods.base import Sampler

    name = samples if isinstance(samples, str) else getattr(samples, "name", "")
    found: type[Sampler] = SAMPLERS.get(name, Sampler)
    return found
