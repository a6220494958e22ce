"""A result folder: arrays in safetensors, facts in JSON, and where everything came from.

No timestamps: the same command gives the same bytes on the same machine.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError, ShapeError
from latentlab.latents import Latent, LatentSpec, Spectrum
from latentlab.layouts import layout_from
from latentlab.machine.files import replace_when_done

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.chance.verdict import Judgement
    from latentlab.components.pca import PCA
    from latentlab.layouts import Layout
    from latentlab.walks.traversal import Walk

RUNS_FOLDER = Path("latentlab-runs")
_FACTOR = "factor."
_ELSEWHERE = ".latest"
_RESULTS = {".png", ".gif", ".webp", ".apng", ".mp4", ".json", ".safetensors"}


def create_run(picture: str, model: str, root: Path = RUNS_FOLDER) -> Path:
    """Return a new folder ``root/<picture>-<model>-<n>``, n counting up from 1."""
    stem = f"{_plain(picture)}-{_plain(model)}"
    check_folder(root)
    number = 1
    while True:
        folder = root / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def check_folder(folder: Path) -> None:
    """Raise FileError where a folder neither exists nor can be made, or may not be written."""
    existing = folder.absolute()
    while not (existing.exists() or existing.is_symlink()):
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise FileError(
            f"{folder}, where nothing can be written because of {existing}",
            "a writable folder, or a new one",
            "choose another --out",
        )


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:60] or "picture"


def latest_run(root: Path = RUNS_FOLDER) -> Path:
    """Return the run folder whose ``pca.json`` was written last.

    Raises
    ------
    FileError : there is none.
    """
    elsewhere = root / _ELSEWHERE
    candidates = [*root.glob("*/pca.json")]
    if elsewhere.is_file():
        candidates.append(
            Path(elsewhere.read_text(encoding="utf-8", errors="replace")) / "pca.json"
        )
    runs = [path for path in candidates if path.is_file()]
    if not runs:
        raise FileError(
            f"no pca run in {root}",
            "a picture or an earlier run",
            "run `latentlab pca IMAGE` first, or pass IMAGE or --run DIR",
        )
    return max(runs, key=lambda path: (path.stat().st_mtime_ns, path)).parent


def remember_run(folder: Path, root: Path = RUNS_FOLDER) -> None:
    """Note a run that lies outside ``root``, so that :func:`latest_run` finds it."""
    if folder.absolute().parent == root.absolute():
        return
    # A note is no result: where none can be written, `--run DIR` still names the folder.
    with suppress(OSError, FileError, UnicodeError), replace_when_done(root / _ELSEWHERE) as note:
        note.write_text(str(folder.absolute()), encoding="utf-8")


def write_json(path: Path, facts: Mapping[str, Any]) -> Path:
    """Write facts as JSON, whole or not at all; NaN and infinity become null. Return the path."""
    text = json.dumps(finite(facts), indent=2, ensure_ascii=False, allow_nan=False)
    with replace_when_done(path) as unfinished:
        # A file's name may hold bytes that are no text: they become JSON's own escapes.
        unfinished.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def finite(facts: Any) -> Any:
    """Return facts with NaN and infinity replaced by None, as JSON has neither."""
    if isinstance(facts, Mapping):
        return {str(key): finite(value) for key, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [finite(value) for value in facts]
    return None if isinstance(facts, float) and not math.isfinite(facts) else facts


def read_json(path: Path, command: str = "pca") -> dict[str, Any]:
    """Return the object in a JSON file of a run.

    Raises
    ------
    FileError : the file is missing, or no JSON object.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path} ({error})",
            f"a file written by `latentlab {command}`",
            f"run `latentlab {command}` again",
        ) from error
    if not isinstance(facts, dict):
        raise FileError(
            f"{path} without an object", "a JSON object", f"run `latentlab {command}` again"
        )
    return facts


def save_pca(
    pca: PCA,
    folder: str | Path,
    facts: Mapping[str, Any] | None = None,
    *,
    judgement: Judgement | None = None,
) -> list[Path]:
    """Write figures, ``pca.safetensors`` and ``pca.json`` into a folder; return their paths.

    Parameters
    ----------
    pca : PCA
    folder : created where missing; files of the same name are replaced
    facts : added to ``pca.json``
    judgement : Judgement, optional; what chance gives, for the figures and ``pca.json``
    """
    from latentlab.figures.canvas import (
        draw_cumulative,
        draw_eigenvalues,
        draw_latent_rgb,
        new_figure,
        png_bytes,
    )

    folder = Path(folder)
    check_folder(folder)
    earlier = listed_files(folder, "pca.json", "traversal.json")
    figures = {"cumulative_variance.png": new_figure(), "eigenvalues.png": new_figure()}
    for draw, figure in zip((draw_cumulative, draw_eigenvalues), figures.values(), strict=True):
        draw(pca, judgement=judgement, ax=figure.add_subplot())
    # The mean latent of a store whose rows are cells is one color all over.
    if pca.neighborhood == "tokens" and pca.origin is not None and _varies(pca.origin):
        figures["latent_rgb.png"] = draw_latent_rgb(pca.origin)
    files = [write_bytes(folder / name, png_bytes(figure)) for name, figure in figures.items()]
    files.append(_save_arrays(pca, folder / "pca.safetensors"))
    files.append(folder / "pca.json")
    judged = judgement.facts() if judgement else {}
    described = {**_describe_origin(pca), **pca.summary(), **judged, **(facts or {})}
    write_json(files[-1], {**described, "files": [path.name for path in files]})
    remove_stale(earlier, files)
    return files


def _varies(latent: Latent) -> bool:
    return bool((latent.values != latent.values[:, :1, :1]).any())


def listed_files(folder: Path, *records: str) -> set[Path]:
    """Return the files of a folder that the ``files`` of earlier JSON records name."""
    listed: set[Path] = set()
    for name in records:
        with suppress(FileError):  # none, or damaged: it names nothing
            files = read_json(folder / name).get("files") or []
            listed |= {folder / Path(str(file)).name for file in files}
    return {path for path in listed if path.suffix in _RESULTS}


def remove_stale(earlier: set[Path], files: list[Path]) -> None:
    """Remove files of an earlier result that the new one did not write again."""
    for path in earlier - set(files):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all; return its path."""
    with replace_when_done(path) as unfinished:
        unfinished.write_bytes(content)
    return path


def _save_arrays(pca: PCA, path: Path) -> Path:
    from safetensors.torch import save

    arrays = {
        "components": pca.components,
        "mean": pca.mean,
        "explained_variance": pca.spectrum.explained_variance,
    }
    if pca.origin is not None:
        arrays["origin"] = pca.origin.values
    arrays |= {f"{_FACTOR}{name}": values for name, values in pca.factors.items()}
    # save_file would hide the file from everybody else (mode 0600).
    return write_bytes(path, save({name: array.contiguous() for name, array in arrays.items()}))


def _describe_origin(pca: PCA) -> dict[str, Any]:
    described: dict[str, Any] = {
        "seed": pca.seed,
        "options": dict(pca.options),
        "label": pca.label,
        "title": pca.title,
    }
    if pca.layout is not None:
        described["layout"] = pca.layout.describe()
    if pca.origin is not None:
        spec = pca.origin.spec
        described |= {
            "picture": pca.origin.name,
            "model": spec.name,
            "stride": spec.stride,
            "multiple": spec.multiple,
            "latent_mean": float(pca.origin.values.mean()),
            "latent_std": float(pca.origin.values.std()),
        }
    return described


def load_pca(folder: str | Path) -> PCA:
    """Return the PCA that :func:`save_pca` wrote; its origin has no picture.

    Raises
    ------
    FileError : a file is missing, damaged or does not fit the others.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from latentlab.components.pca import PCA

    folder = Path(folder)
    facts = read_json(folder / "pca.json")
    try:
        arrays = load_file(folder / "pca.safetensors")
        if "layout" not in facts:
            raise ValueError("the PCA of a plain matrix, which no latent belongs to")
        origin = arrays["origin"]
        layout = layout_from(facts["layout"])
        _check_shapes(arrays, layout)
        stride, multiple = int(facts["stride"]), int(facts["multiple"])
        spec = LatentSpec(str(facts["model"]), origin.shape[0], stride, multiple)
        return PCA(
            spectrum=Spectrum(
                arrays["explained_variance"],
                float(facts["total_variance"]),
                facts["n_samples"],
                facts["n_features"],
            ),
            components=arrays["components"],
            mean=arrays["mean"],
            neighborhood=facts["neighborhood"],
            layout=layout,
            origin=Latent(origin, spec, name=facts["picture"]),
            seed=facts["seed"],
            options=facts["options"],
            label=str(facts["label"]),
            factors={
                name.removeprefix(_FACTOR): array
                for name, array in arrays.items()
                if name.startswith(_FACTOR)
            },
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, ShapeError) as error:
        raise FileError(
            f"a damaged or incomplete run in {folder} ({error})",
            "pca.json and pca.safetensors of one `latentlab pca` run",
            "run `latentlab pca` again",
        ) from error


def _check_shapes(arrays: Mapping[str, Tensor], layout: Layout) -> None:
    """Raise ValueError where arrays of a run do not fit one another or the layout."""
    count = len(arrays["components"])
    expected = {
        "origin": layout.shape,
        "mean": (layout.n_features,),
        "components": (count, layout.n_features),
    }
    for name, shape in expected.items():
        if tuple(arrays[name].shape) != shape:
            raise ValueError(f"{name} of shape {tuple(arrays[name].shape)} instead of {shape}")
    if len(arrays["explained_variance"]) < count:
        raise ValueError(f"{count} components without their variances")


def save_walk(
    walk: Walk, folder: Path, *, suffix: str = ".gif", fps: float = 12, loop: bool = True
) -> list[Path]:
    """Write the animations, ``sheet.png`` and ``traversal.json``; return their paths."""
    from latentlab.figures.canvas import animate_trail, walk_sheet
    from latentlab.images.reading import save_png

    check_folder(folder)
    earlier = listed_files(folder, "traversal.json")
    files = [walk.save(folder / f"traversal{suffix}", fps=fps, loop=loop)]
    for index, trail in enumerate(walk.trails, 1):
        path = folder / f"component_{index}{suffix}"
        files.append(animate_trail(trail, path, fps=fps, loop=loop))
    save_png(folder / "sheet.png", walk_sheet(walk))
    files += [folder / "sheet.png", folder / "traversal.json"]
    write_json(files[-1], {**walk.summary(), "files": [path.name for path in files]})
    remove_stale(earlier, files)
    return files
