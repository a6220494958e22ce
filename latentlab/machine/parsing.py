"""JSON and TOML of any origin: whatever is wrong with a text is a ValueError."""

from __future__ import annotations

from typing import Any

WRONG_FACTS = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    RecursionError,
)
"""What is raised where facts are taken apart that are of other kinds than those written."""


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return the value in a text of JSON, as ``json.loads`` does.

    Parameters
    ----------
    text : str, or bytes in UTF-8, UTF-16 or UTF-32
    **options : of ``json.loads``

    Raises
    ------
    ValueError : the text is no JSON, or lists and objects lie too deep inside one another.

    Examples
    --------
    >>> parse_json('{"size": 7}')
    {'size': 7}
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: lists and objects too deep inside one another
    """
    import json

    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise ValueError("lists and objects too deep inside one another") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table in a text of TOML, as ``tomllib.loads`` does.

    Raises
    ------
    ValueError : the text is no TOML, or arrays and tables lie too deep inside one another.

    Examples
    --------
    >>> parse_toml('model = "flux1"')
    {'model': 'flux1'}
    """
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("arrays and tables too deep inside one another") from error
