"""What page and server say to each other, and the strict reading of what a page says.

Messages of the page are JSON, or for an image a frame of bytes: the length of a JSON header as four
bytes, big-endian, the header, and the image's file. Answers have the same two forms; the header of
a frame lists its ``parts`` in order. Nothing that a page sends is ever used as a path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from latentlab.errors import UsageError
from latentlab.explorer.messages import (
    Cancel,
    Code,
    Color,
    Fit,
    Message,
    Pick,
    Picture,
    Record,
    Restart,
    Show,
)
from latentlab.explorer.state import LARGEST_ALPHA, State, Stroke
from latentlab.machine.parsing import parse_json

LARGEST_TEXT = 2 * 1024 * 1024
LARGEST_IMAGE = 32 * 1024 * 1024
LARGEST_FRAME = LARGEST_IMAGE + 4096
"""Bytes of a JSON message, of an image's file, and of the frame that it comes in."""

_HEADER = 4
_LONGEST_HEADER = 2048
_LARGEST_SAFE = 2**53 - 1
_NAME = 120
_MOST_ALPHAS = 256
_MOST_STROKES = 128
_MOST_POINTS = 512
_MOST_SAMPLES = 4096
_MOST_SETTINGS = 32
_MOST_DECODED = 300
_LONGEST_SETTING = 40
_LARGEST_SETTING = 1e9
_FORMATS = ("gif", "json", "mp4")


class ProtocolError(UsageError):
    """A page sent something that no page of latentlab sends (exit code 2)."""


def read_text(text: str) -> Message:
    """Return a message of a page.

    Raises
    ------
    ProtocolError : too long, not JSON, or with anything missing, unknown or out of range.

    Examples
    --------
    >>> read_text('{"type": "show", "id": 1, "state": {"alphas": [0.5]}}').state.alphas
    (0.5,)
    """
    if len(text) > LARGEST_TEXT:
        raise _wrong("a message of more than 2 MB", "a shorter one")
    message: Message = _read(_parse(text), _READERS)
    return message


def read_frame(frame: bytes) -> Picture:
    """Return the image in a frame; ProtocolError if it is not a well-formed one."""
    if len(frame) > LARGEST_FRAME:
        raise _wrong("an image of more than 32 MB", "a smaller one")
    length = int.from_bytes(frame[:_HEADER], "big")
    end = _HEADER + length
    if not 2 <= length <= _LONGEST_HEADER or len(frame) <= end:
        raise _wrong("a malformed frame", "a header and an image")
    try:
        text = frame[_HEADER:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong("a header that is no text", "JSON") from error
    role, name = _read(_parse(text), {"image": _image_header})
    return Picture(role, name, frame[end:])


def pack(header: Mapping[str, Any], parts: Sequence[tuple[str, str, bytes]]) -> bytes:
    """Return a frame: a header with the name, media type and length of each part, and the parts.

    Examples
    --------
    >>> pack({"id": 1}, [("a", "image/png", b"xyz")])[4:]
    b'{"id":1,"parts":[{"name":"a","type":"image/png","bytes":3}]}xyz'
    """
    listed = [{"name": name, "type": kind, "bytes": len(content)} for name, kind, content in parts]
    text = to_json({**header, "parts": listed}).encode()
    return len(text).to_bytes(_HEADER, "big") + text + b"".join(content for *_, content in parts)


def to_json(value: Any) -> str:
    """Return compact JSON, with null for numbers that JSON does not have."""
    return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _parse(text: str) -> dict[str, Any]:
    try:
        found = parse_json(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise _wrong("a message that is not JSON", "an object") from error
    if not isinstance(found, dict):
        raise _wrong("JSON that is no object", "an object")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _read(found: dict[str, Any], readers: Mapping[str, Callable[[_Fields], Any]]) -> Any:
    fields = _Fields(found)
    kind = fields.word("type", tuple(readers))
    message = readers[kind](fields)
    fields.finish()
    return message


class _Fields:
    """The fields of a JSON object, each taken once and checked."""

    def __init__(self, found: Any) -> None:
        if not isinstance(found, dict):
            raise _wrong(f"{_short(found)}", "an object")
        self.left = dict(found)

    def take(self, name: str, default: Any = ...) -> Any:
        value = self.left.pop(name, default)
        if value is ...:
            raise _wrong(f"a message without {name!r}", "one with it")
        return value

    def word(self, name: str, words: tuple[str, ...]) -> str:
        value = self.take(name)
        if not isinstance(value, str) or value not in words:
            raise _wrong(f"{name} {_short(value)}", f"one of {', '.join(words)}")
        return value

    def text(self, name: str, longest: int, default: Any = ...) -> str:
        value = self.take(name, default)
        if not isinstance(value, str) or len(value) > longest:
            raise _wrong(f"{name} {_short(value)}", f"text of at most {longest} characters")
        return value

    def whole(self, name: str, low: int, high: int, default: Any = ...) -> int:
        return _whole(self.take(name, default), name, low, high)

    def number(self, name: str, low: float, high: float, default: Any = ...) -> float:
        return _number(self.take(name, default), name, low, high)

    def items(self, name: str, most: int) -> list[Any]:
        value = self.take(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(f"{name} {_short(value)}", f"a list of at most {most}")
        return value

    def finish(self) -> None:
        if self.left:
            raise _wrong(f"unknown {_short(next(iter(self.left)))}", "known fields only")


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise _wrong(f"{name} {_short(value)}", f"a whole number from {low} to {high}")
    return value


def _number(value: Any, name: str, low: float, high: float) -> float:
    if type(value) not in (int, float) or not low <= value <= high:
        raise _wrong(f"{name} {_short(value)}", f"a number from {low:g} to {high:g}")
    return float(value)


def _state(found: Any) -> State:
    fields = _Fields(found)
    limits = ("alphas", -LARGEST_ALPHA, LARGEST_ALPHA)
    state = State(
        tuple(_number(one, *limits) for one in fields.items("alphas", _MOST_ALPHAS)),
        tuple(_stroke(one) for one in fields.items("strokes", _MOST_STROKES)),
        fields.number("blend", 0, 1, 0),
    )
    fields.finish()
    return state


def _stroke(found: Any) -> Stroke:
    fields = _Fields(found)
    points = fields.items("points", _MOST_POINTS)
    if not points:
        raise _wrong("a stroke without points", "one or more")
    stroke = Stroke(
        fields.whole("direction", 0, _MOST_ALPHAS - 1),
        fields.number("amount", -LARGEST_ALPHA, LARGEST_ALPHA),
        fields.number("radius", 0.001, 2),
        tuple(_point(one) for one in points),
    )
    fields.finish()
    return stroke


def _point(found: Any) -> tuple[float, float]:
    if not isinstance(found, list) or len(found) != 2:
        raise _wrong(f"a point {_short(found)}", "two numbers")
    return _number(found[0], "x", 0, 1), _number(found[1], "y", 0, 1)


def _region(found: Any) -> tuple[int, int, int, int] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 4:
        raise _wrong(f"region {_short(found)}", "four whole numbers")
    x, y, width, height = (_whole(one, "region", 0, 65535) for one in found)
    return x, y, width, height


def _show(fields: _Fields) -> Show:
    return Show(fields.whole("id", 0, _LARGEST_SAFE), _state(fields.take("state")))


def _fit(fields: _Fields) -> Fit:
    samples = fields.take("n_samples", None)
    return Fit(
        fields.text("neighborhood", 40),
        fields.text("finder", 40),
        None if samples is None else _whole(samples, "n_samples", 2, _MOST_SAMPLES),
        _region(fields.take("region", None)),
        fields.whole("seed", 0, _LARGEST_SAFE, 0),
        _settings(fields.take("settings", {})),
    )


def _settings(found: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(found, dict) or len(found) > _MOST_SETTINGS:
        raise _wrong(f"settings {_short(found)}", f"an object of at most {_MOST_SETTINGS} numbers")
    if any(len(name) > _LONGEST_SETTING for name in found):
        raise _wrong("a setting with a long name", "one of the page")
    limits = (-_LARGEST_SETTING, _LARGEST_SETTING)
    return tuple((name, _number(value, "a setting", *limits)) for name, value in found.items())


def _record(fields: _Fields) -> Record:
    return Record(
        fields.whole("direction", 0, _MOST_ALPHAS - 1),
        fields.number("span", 0.1, LARGEST_ALPHA),
        fields.whole("steps", 2, 64),
        fields.word("format", _FORMATS),
        _state(fields.take("state")),
    )


def _image_header(fields: _Fields) -> tuple[str, str]:
    return fields.word("role", ("image", "other")), fields.text("name", _NAME, "image")


def _cancel(fields: _Fields) -> Cancel:
    return Cancel(fields.word("errand", ("colors",)) if "errand" in fields.left else "")


def _color(fields: _Fields) -> Color:
    asked = fields.items("numbers", _MOST_DECODED)
    numbers = (_whole(one, "an image's number", 0, _LARGEST_SAFE) for one in asked)
    return Color(fields.text("name", 40), tuple(numbers))


_READERS: Mapping[str, Callable[[_Fields], Message]] = {
    "show": _show,
    "fit": _fit,
    "cancel": _cancel,
    "restart": lambda _: Restart(),
    "record": _record,
    "code": lambda fields: Code(_state(fields.take("state"))),
    "color": _color,
    "pick": lambda fields: Pick(fields.whole("number", 0, _LARGEST_SAFE)),
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _wrong(got: str, expected: str) -> ProtocolError:
    return ProtocolError(got, expected, "reload the page")
