"""Whether latents have the scale that a diffusion model expects: a deviation of about 1."""

from __future__ import annotations

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


def describe_scale(deviation: float, name: str = "latents") -> str:
    """Return a line with the standard deviation, and what to check where it is far from 1.

    Examples
    --------
    >>> describe_scale(0.93)
    'latents: standard deviation 0.93 in model space'
    >>> print(describe_scale(0.058, "cat"))
    cat: standard deviation 0.058 in model space, far from 1 (× 17 would give 1): check the \
normalization of the model, and whether it is trained
    """
    line = f"{name}: standard deviation {deviation:.2g} in model space"
    if not is_far_from_one(deviation):
        return line
    factor = f" (× {1 / deviation:.2g} would give 1)" if deviation > 0 else ""
    return (
        f"{line}, far from 1{factor}: check the normalization of the model, and whether it is "
        "trained"
    )
