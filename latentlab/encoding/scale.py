"""Whether latents have the scale that a diffusion model expects: a deviation of about 1.

This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable

FAR = 4.0
"""Factor from 1 that is called far: photos in published models have deviations from 0.5 to 2."""


def is_far_from_one(deviation: float) -> bool:
    """Return whether the standard deviation of latents is none of model space.

    Examples
    --------
    >>> is_far_from_one(0.9), is_far_from_one(0.058), is_far_from_one(float("nan"))
    (False, True, True)
    """
    return not 1 / FAR <= deviation <= FAR


def describe_scale(deviation: float, name: str = "latents", *, normalization: str = "") -> str:
    """Return a line with the standard deviation, and what to check where it is far from 1.

    Parameters
    ----------
    deviation : standard deviation of the latents
    name : of the latents
    normalization : of the model, as in ``run.json``; where it has none, none can be left out

    Examples
    --------
    >>> describe_scale(0.93)
    'latents: standard deviation 0.93 in model space'
    >>> print(describe_scale(0.058, "cat"))
    cat: standard deviation 0.058 in model space, far from 1 (× 17 would give 1): is the model \
trained, and this its scale? MODEL@none leaves it out, `latentlab models --measure MODEL` \
measures one
    """
    line = f"{name}: standard deviation {deviation:.2g} in model space"
    if not is_far_from_one(deviation):
        return line
    from latentlab.loaders.normalization import Affine

    factor = f" (× {1 / deviation:.2g} would give 1)" if deviation > 0 else ""
    without = "" if normalization.startswith(Affine().describe()) else "MODEL@none leaves it out, "
    return (
        f"{line}, far from 1{factor}: is the model trained, and this its scale? {without}"
        "`latentlab models --measure MODEL` measures one"
    )


class Scales:
    """What is said about the latents of several images: one range, after the last of them.

    The first one that is far from 1 is said at once, since the model may be at fault.

    Parameters
    ----------
    say : called with messages

    Examples
    --------
    >>> scales = Scales(print)
    >>> for name, deviation in (("cat", 0.93), ("dog", 0.81)):
    ...     scales.add(name, deviation)
    >>> scales.close()
    2 images: standard deviation 0.81 (dog) to 0.93 (cat) in model space
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._found: list[tuple[float, str]] = []

    def add(self, name: str, deviation: float, *, normalization: str = "") -> None:
        """Take the standard deviation of one image's latent; see :func:`describe_scale`."""
        warned = any(is_far_from_one(other) for other, _ in self._found)
        if is_far_from_one(deviation) and not warned:
            self._say(describe_scale(deviation, name, normalization=normalization))
        self._found.append((deviation, name))

    def close(self) -> None:
        """Say the range; of a single image, what is not said yet."""
        if not self._found:
            return
        (low, first), (high, last) = min(self._found), max(self._found)
        if len(self._found) > 1:
            span = f"{low:.2g} ({first}) to {high:.2g} ({last})"
            self._say(f"{len(self._found)} images: standard deviation {span} in model space")
        elif not is_far_from_one(low):
            self._say(describe_scale(low, first))
