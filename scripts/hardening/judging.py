"""How a reading of a file that contradicts itself may end."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from probing import FaultError

from latentlab.errors import LatentlabError

HOLDS = "equal to the oracle, or said on stderr or in the record, or refused: never silently other"


def judge_reading(
    theme: str,
    read: Callable[[], Any],
    agrees: Callable[[Any], bool],
    *,
    notes: Callable[[Any], bool] = lambda _: False,
    details: str = "",
) -> str:
    """Return ``"equal"``, ``"said"`` or ``"refused"``.

    Parameters
    ----------
    theme : str, what contradicts what
    read : reads the file
    agrees : what was read → whether it is what the oracle says
    notes : what was read → whether its record tells what was assumed
    details : of the case, for the report of a fault

    Raises
    ------
    FaultError : what was read differs, and nothing was said.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = read()
        except LatentlabError:
            return "refused"
        if agrees(found):
            return "equal"
        told = [one for one in said if issubclass(one.category, UserWarning)]
        if told or notes(found):
            return "said"
    raise FaultError("silently other", theme, details)
