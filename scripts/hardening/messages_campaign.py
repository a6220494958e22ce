"""Messages of the explorer's page, as text and as frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from campaigns import Parser
from members import BETWEEN, joined, split

from latentlab.explorer.protocol import pack, read_frame, read_text, to_json

_STATE = {
    "alphas": [0.5, -2],
    "strokes": [{"direction": 1, "amount": 1.5, "radius": 0.1, "points": [[0.5, 0.25]]}],
    "blend": 0.5,
}
_MESSAGES = (
    {"type": "show", "id": 1, "state": _STATE},
    {"type": "fit", "neighborhood": "window", "finder": "pca", "n_samples": 32, "seed": 3},
    {"type": "fit", "neighborhood": "augment", "finder": "ica", "region": [0, 0, 8, 8]},
    {"type": "cancel"},
    {"type": "restart"},
    {"type": "record", "direction": 0, "span": 3, "steps": 8, "format": "gif", "state": _STATE},
    {"type": "code", "state": {"alphas": []}},
    {"type": "pick", "number": 7},
)


def _seeds(_: Path) -> Sequence[bytes]:
    header = json.dumps({"type": "image", "role": "other", "name": "cat.png"}).encode()
    texts = (b"T" + json.dumps(one).encode() for one in _MESSAGES)
    return [*texts, b"F" + _frame(header, b"\x89PNG"), b"H" + joined([header, b"\x89PNG"])]


def _frame(header: bytes, content: bytes) -> bytes:
    return len(header).to_bytes(4, "big") + header + content


def _read(content: bytes, _: Path) -> None:
    kind, rest = content[:1], content[1:]
    if kind == b"H":
        header, picture_file = split(rest, 2)
        kind, rest = b"F", _frame(header or b"", picture_file or b"")
    if kind == b"F":
        picture = read_frame(rest)
        pack({"name": picture.name, "role": picture.role}, [("image", "image/png", rest)])
        return
    # The server hands over text that is UTF-8; lone surrogates may come from JSON.
    message = read_text(
        rest.decode("utf-8", errors="surrogateescape" if kind == b"S" else "replace")
    )
    to_json({name: str(value) for name, value in vars(message).items()}).encode()


CAMPAIGN = Parser(
    name="messages",
    reads="WebSocket messages of the explorer",
    seeds=_seeds,
    read=_read,
    words=[
        *(b'"type"', b'"show"', b'"state"', b'"strokes"', b'"points"', b'"alphas"', b'"record"'),
        *(
            b'"n_samples"',
            b'"region"',
            b'"blend"',
            b"NaN",
            b"Infinity",
            b"1e999",
            b"-0",
            b"\\ud800",
        ),
        *(b"[" * 2000, b"9" * 40, BETWEEN),
    ],
    longest=4096,
)
