"""What the explorer's server reads of a page's messages, and what it refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from explorer_client import unpack

from latentlab.explorer.messages import (
    Cancel,
    Code,
    Color,
    Fit,
    Pick,
    Picture,
    Record,
    Restart,
    Show,
)
from latentlab.explorer.protocol import (
    LARGEST_FRAME,
    ProtocolError,
    pack,
    read_frame,
    read_text,
    to_json,
)
from latentlab.explorer.state import State, Stroke

STROKE = {"direction": 1, "amount": -2, "radius": 0.1, "points": [[0.25, 0.5], [1, 0]]}
STATE = {"alphas": [0.5, -3], "strokes": [STROKE], "blend": 0.25}
PLAN = {"neighborhood": "augment", "finder": "pca", "n_samples": 32, "region": [0, 8, 16, 24]}
WALK = {"direction": 0, "span": 3, "steps": 9, "format": "gif", "state": {}}
GOOD: list[dict[str, Any]] = [
    {"type": "show", "id": 7, "state": STATE},
    {"type": "fit", **PLAN, "seed": 3},
    {"type": "fit", **PLAN, "settings": {"rotation": 5}},
    {"type": "color", "name": "std"},
    {"type": "record", **WALK},
    {"type": "code", "state": STATE},
    {"type": "cancel"},
    {"type": "cancel", "errand": "colors"},
    {"type": "restart"},
    {"type": "pick", "number": 12},
]
READ = State((0.5, -3.0), (Stroke(1, -2.0, 0.1, ((0.25, 0.5), (1.0, 0.0))),), 0.25)


def frame_of(header: bytes, content: bytes = b"image") -> bytes:
    return len(header).to_bytes(4, "big") + header + content


def test_every_message_is_read() -> None:
    assert [read_text(json.dumps(one)) for one in GOOD] == [
        Show(7, READ),
        Fit("augment", "pca", 32, (0, 8, 16, 24), 3),
        Fit("augment", "pca", 32, (0, 8, 16, 24), 0, (("rotation", 5.0),)),
        Color("std"),
        Record(0, 3.0, 9, "gif", State()),
        Code(READ),
        Cancel(),
        Cancel("colors"),
        Restart(),
        Pick(12),
    ]
    header = b'{"type": "image", "role": "other", "name": "../cat.png"}'
    assert read_frame(frame_of(header)) == Picture("other", "../cat.png", b"image")


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "7", '"show"', "{", "{}", '{"type": 1}', '{"type": "quit"}', "NaN"),
        *(
            '{"type": ["show"]}',
            '{"type": "cancel", "more": 1}',
            '{"type": "cancel", "errand": ""}',
            "[" * 100_000,
            " " * 3_000_000,
        ),
        '{"type": "show", "id": 1, "state": {"alphas": [1e999]}}',
        '{"type": "show", "id": 1, "state": {"alphas": [NaN]}}',
        '{"type": "show", "id": 1, "state": {"blend": Infinity}}',
        '{"type": "show", "id": 12345678901234567890, "state": {}}',
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="Reload the page"):
        read_text(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("id", -1), ("id", 1.0), ("id", True), ("id", "1"), ("id", None)),
        *(("state", None), ("state", []), ("state", {"alpha": []}), ("state", {"alphas": "1"})),
        *(("state", {"alphas": [12.1]}), ("state", {"alphas": [0] * 257})),
        *(("state", {"alphas": [True]}), ("state", {"alphas": [[1]]}), ("state", {"blend": -0.1})),
        *(("state", {"strokes": [STROKE] * 129}), ("state", {"strokes": [{}]})),
        ("state", {"strokes": [{**STROKE, "points": []}]}),
        ("state", {"strokes": [{**STROKE, "points": [[0.5, 0.5]] * 513}]}),
        ("state", {"strokes": [{**STROKE, "points": [[0.5]]}]}),
        ("state", {"strokes": [{**STROKE, "points": [[0.5, 1.5]]}]}),
        ("state", {"strokes": [{**STROKE, "radius": 0}]}),
        ("state", {"strokes": [{**STROKE, "direction": 1.5}]}),
    ],
)
def test_fields_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ProtocolError):
        read_text(json.dumps({**GOOD[0], name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("neighborhood", 3), ("neighborhood", "x" * 41), ("finder", None), ("n_samples", 1)),
        *(("n_samples", 1e3), ("n_samples", 10**6), ("region", [0, 0, 8]), ("region", "0,0,8,8")),
        *(("region", [0, 0, -8, 8]), ("seed", -1), ("seed", 2**53), ("folder", "/etc")),
        *(("settings", [1]), ("settings", {"rotation": "/etc"}), ("settings", {"x" * 41: 1})),
        *(("settings", {"a": 1e10}), ("settings", {str(k): 1 for k in range(33)})),
    ],
)
def test_plans_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ProtocolError):
        read_text(json.dumps({**GOOD[1], name: value}))


@pytest.mark.parametrize(
    "frame",
    [
        *(b"", b"\0", b"\0\0\0\0", b"\0\0\0\1{", b"\xff\xff\xff\xff{}", b"\0\0\0\2{}"),
        *(frame_of(b"{}"), frame_of(b"\xff\xfe"), frame_of(b"[]"), frame_of(b'{"type": "show"}')),
        frame_of(b'{"type": "image", "role": "image", "name": 5}'),
        frame_of(b'{"type": "image", "role": "path", "name": "x"}'),
        frame_of(b'{"type": "image", "role": "image", "name": "x"}', b""),
        frame_of(json.dumps({"type": "image", "role": "image", "name": "x" * 121}).encode()),
        frame_of(b'{"type": "image", "role": "image", "path": "/etc/passwd"}'),
        bytes(LARGEST_FRAME + 1),
    ],
)
def test_malformed_frames_are_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_frame(frame)


def test_ten_thousand_mangled_messages_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    texts = [json.dumps(one) for one in GOOD]
    header = b'{"type": "image", "role": "image", "name": "cat"}'
    refusals = []
    for turn in range(10_000):
        raw = bytearray(texts[turn % len(texts)].encode() if turn % 4 else frame_of(header))
        for _ in range(rng.integers(1, 6)):
            _mangle(raw, rng)
        try:
            if turn % 4:
                read_text(raw.decode("latin-1"))
            else:
                read_frame(bytes(raw))
        except ProtocolError as error:
            refusals.append(str(error))
    assert 5000 < len(refusals) < 10_000
    assert max(map(len, refusals)) < 400


def _mangle(raw: bytearray, rng: np.random.Generator) -> None:
    """Change, take out, repeat or add a few bytes."""
    if not raw:
        return
    place = int(rng.integers(len(raw)))
    match rng.integers(4):
        case 0:
            raw[place] = int(rng.integers(256))
        case 1:
            del raw[place : place + int(rng.integers(1, 8))]
        case 2:
            raw[place:place] = raw[place : place + int(rng.integers(1, 12))]
        case _:
            raw[place:place] = rng.choice([b"-", b"9", b"[", b"]", b",", b'"', b"null", b"1e9"])


def test_a_page_full_of_long_strokes_is_read() -> None:
    """As many and as long as the page lets one paint, with points to a thousandth."""
    points = [[0.123, 0.456]] * 400
    strokes = [{**STROKE, "points": points}] * 100
    message = read_text(json.dumps({"type": "show", "id": 1, "state": {"strokes": strokes}}))
    assert isinstance(message, Show)
    assert len(message.state.strokes) == 100


def test_frames_are_unpacked_as_they_were_packed() -> None:
    parts = [("a", "image/png", b"123"), ("b", "image/jpeg", b""), ("c", "x", bytes(range(256)))]
    found = unpack(pack({"type": "frame", "id": 3, "psnr": math.inf}, parts))
    assert found["files"] == {name: content for name, _, content in parts}
    assert (found["id"], found["psnr"]) == (3, None)
    assert to_json({"a": [math.nan, 1.5, {"b": -math.inf}]}) == '{"a":[null,1.5,{"b":null}]}'
