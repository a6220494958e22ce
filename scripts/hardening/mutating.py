"""Plain mutation of valid inputs: what the quick form does in place of atheris."""

from __future__ import annotations

import random
from collections.abc import Sequence

_NUMBERS = (b"0", b"-1", b"1e999", b"null", b"[]", b"{}", b'""', b"99999999999999999999", b"NaN")
_EDGES = (0, 1, 127, 128, 255)


def mutated(seeds: Sequence[bytes], number: int, words: Sequence[bytes], longest: int) -> bytes:
    """Return the input of a number: one of the seeds, or a few changes of it.

    Parameters
    ----------
    seeds : valid inputs, which are returned first
    number : int, on which all depends
    words : put in here and there
    longest : int, most bytes of the result
    """
    if number < len(seeds):
        return seeds[number]
    draw = random.Random(number)
    content = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        _change(content, draw, seeds, words)
    return bytes(content[:longest])


def _change(
    content: bytearray, draw: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]
) -> None:
    place = draw.randrange(len(content) + 1)
    end = min(len(content), place + draw.choice((1, 2, 4, 16, 64)))
    match draw.randrange(7):
        case 0 if place < len(content):
            content[place] ^= 1 << draw.randrange(8)
        case 1 if place < len(content):
            content[place] = draw.choice(_EDGES)
        case 2:
            del content[place:end]
        case 3:
            content[place:place] = content[place:end] * draw.choice((1, 2, 100))
        case 4:
            content[place:end] = draw.choice((*words, *_NUMBERS))
        case 5:
            other = draw.choice(seeds)
            start = draw.randrange(len(other) + 1)
            content[place:end] = other[start : start + draw.choice((4, 16, 64, 512))]
        case _:
            del content[place:]
