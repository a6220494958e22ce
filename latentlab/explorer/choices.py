"""What a page can choose: neighborhoods, finders and their settings; and why some are not there.

A page sends numbers. Settings that are text name files, which no page may: those come from whoever
starts the explorer, and hold for every search in which they have a meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.arguments import unknown_argument
from latentlab.directions import FINDERS
from latentlab.errors import LatentlabError, UsageError
from latentlab.images.reading import read_frames
from latentlab.neighborhoods import SAMPLERS
from latentlab.registry import option_types

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE

Pairs = tuple[tuple[str, Any], ...]

_NUMBERS = (int, float)
_FOLDER = "needs a folder of images: start with --set folder=DIR, or with an image of a folder"
_CLIP = "needs a clip: start with --set video=FILE, or with an animated image"
_GRID = "needs latents with a grid of cells"


def numbers_of(entry: type[Any]) -> dict[str, float]:
    """Return setting → default, of those of a registered class that are numbers.

    Examples
    --------
    >>> numbers_of(FINDERS["ica"]), numbers_of(SAMPLERS["knn"])
    ({'leading': 16}, {})
    """
    kinds = option_types(entry)
    return {name: getattr(entry, name) for name, kind in kinds.items() if kind in _NUMBERS}


def sort_options(
    options: Mapping[str, Any], neighborhood: str, finder: str
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return options of a start as settings of the first search, and as texts for all searches.

    Raises
    ------
    ArgumentError : an option that nothing has.
    UsageError : text where a number is expected.
    """
    own = {**numbers_of(SAMPLERS[neighborhood]), **numbers_of(FINDERS[finder])}
    entries = (*SAMPLERS.values(), *FINDERS.values())
    texts = {name for one in entries for name, kind in option_types(one).items() if kind is str}
    settings, files = {}, {}
    for name, value in options.items():
        if name in own:
            settings[name] = _number(name, value)
        elif name in texts:
            files[name] = str(value)
        else:
            got = f"option {name!r} for {neighborhood!r} and {finder!r}"
            raise unknown_argument(name, {**own, **dict.fromkeys(texts)}, got)
    return settings, files


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}={value!r}", "a number", f"correct {name}") from error


def options_of(entry: type[Any], settings: Pairs, files: Pairs) -> dict[str, Any]:
    """Return the options of a registered class: numbers that it has, and texts that it has."""
    kinds = option_types(entry)
    numbers = {name: value for name, value in settings if kinds.get(name) in _NUMBERS}
    return numbers | {name: value for name, value in files if kinds.get(name) is str}


def check_settings(neighborhood: str, finder: str, settings: Pairs) -> None:
    """Raise ArgumentError for a setting that neither has as a number."""
    known = {**numbers_of(SAMPLERS[neighborhood]), **numbers_of(FINDERS[finder])}
    for name, _ in settings:
        if name not in known:
            raise unknown_argument(name, known, f"{name!r} for {neighborhood!r} and {finder!r}")


def files_beside(image: Any, images: str | Path | None = None) -> dict[str, str]:
    """Return the texts that follow from a path: the folder around it, and the clip that it is."""
    found: dict[str, str] = {}
    if images is not None and Path(images).is_dir():
        return {"folder": str(images)}
    if isinstance(image, str | Path) and Path(image).is_file():
        found |= SAMPLERS["knn"].options_for(str(image))
        if _is_clip(Path(image)):
            found |= SAMPLERS["frames"].options_for(str(image))
    return found


def _is_clip(path: Path) -> bool:
    try:
        return len(list(islice(read_frames(path, size=16), 2))) == 2
    except (LatentlabError, OSError):
        return False


def neighborhood_choices(vaes: Iterable[LatentVAE], files: Pairs) -> list[dict[str, Any]]:
    """Return all neighborhoods as a page offers them; ``why`` says what one of them lacks here."""
    has_grid = all(vae.spec.has_grid for vae in vaes)
    given = dict(files)
    lacking = {
        **{name: _GRID for name in SAMPLERS if SAMPLERS[name].needs_grid and not has_grid},
        **({} if "folder" in given else {"knn": _FOLDER}),
        **({} if "video" in given else {"frames": _CLIP}),
    }
    return [_choice(SAMPLERS, name, lacking.get(name, "")) for name in SAMPLERS]


def finder_choices(files: Pairs) -> list[dict[str, Any]]:
    """Return all finders as a page offers them; ``blend``: it needs an image to blend with."""
    return [
        {**_choice(FINDERS, name, ""), "blend": name == "difference" and not has_sides(files)}
        for name in FINDERS
    ]


def has_sides(files: Pairs) -> bool:
    """Return whether the finder ``difference`` was told between what."""
    return any(name in ("other", "positive", "negative") for name, _ in files)


def _choice(registry: Any, name: str, why: str) -> dict[str, Any]:
    entry = registry[name]
    settings = [{"name": one, "default": value} for one, value in numbers_of(entry).items()]
    return {"name": name, "about": entry.statement, "settings": settings, "why": why}
