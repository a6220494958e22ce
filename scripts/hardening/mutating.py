"""Plain mutation of valid inputs, as the quick form does it, and changes inside of their JSON.

Mutators of bytes seldom leave JSON readable, so what is behind its parser is hardly reached. The
guided form therefore makes half of its mutations with :func:`change_json`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

_NUMBERS = (b"0", b"-1", b"1e999", b"null", b"[]", b"{}", b'""', b"99999999999999999999", b"NaN")
_EDGES = (0, 1, 127, 128, 255)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e308, 5e-324, 2**31, 2**53, 10**30),
    *(float("nan"), float("inf"), "", "x", "a" * 300, "..", "/", "\ud800", "\0", "1"),
    *([], [0], [[]], {}, {"a": 1}, [1, 2, 3]),
)
_TRIES = 4
"""Places at which JSON is looked for in an input."""
_DECODER = json.JSONDecoder()


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


def change_json(content: bytes, draw: random.Random) -> bytes | None:
    """Return an input with one value changed in a JSON object that it holds; None without one."""
    starts = [found.start() for found in re.finditer(rb"\{", content)]
    text = content.decode("latin-1")  # a character is a byte
    for start in draw.sample(starts, min(_TRIES, len(starts))):
        try:
            found, end = _DECODER.raw_decode(text, start)
            _change_value(found, draw)
            changed = json.dumps(found, separators=(",", ":")).encode()
        except (ValueError, RecursionError):
            continue
        return content[:start] + changed + content[end:]
    return None


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every list or object in a tree with each of its keys."""
    for key in [*tree] if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _change_value(tree: dict[str, Any], draw: random.Random) -> None:
    places = [*_places(tree)]
    if not places:
        tree["x"] = draw.choice(_VALUES)
        return
    (holder, key), (other, name) = draw.choice(places), draw.choice(places)
    value, another = holder[key], other[name]
    match draw.randrange(7):
        case 0:
            holder[key] = draw.choice(_VALUES)
        case 1:
            del holder[key]
        case 2 if isinstance(value, int | float):
            holder[key] = draw.choice((value + 1, value - 1, -value, value * 2, str(value)))
        case 2 | 3 if isinstance(value, list) and value:
            holder[key] = draw.choice((value[:-1], value + value[-1:], value[::-1], value * 2))
        case 4 if isinstance(holder, dict):
            holder[str(name)] = holder.pop(key)
        case 5:
            holder[key] = [value]
        case _ if not isinstance(another, dict | list):  # a tree would hold itself
            holder[key] = another
        case _:
            holder[key] = draw.choice(_VALUES)


def _change(
    content: bytearray, draw: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]
) -> None:
    place = draw.randrange(len(content) + 1)
    end = min(len(content), place + draw.choice((1, 2, 4, 16, 64)))
    match draw.randrange(8):
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
        case 6:
            content[:] = change_json(bytes(content), draw) or content
        case _:
            del content[place:]
