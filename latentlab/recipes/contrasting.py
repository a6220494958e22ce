"""Several models on the same images: ``latentlab compare``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latentlab.encoding.encoder import describe_model
from latentlab.errors import UsageError, counted
from latentlab.figures.canvas import write_figure
from latentlab.figures.comparison import compose_reconstructions
from latentlab.images.arrays import from_uint8, to_uint8
from latentlab.images.framing import frame_levels
from latentlab.images.reading import save_png
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.measures.batch import Batch
from latentlab.measures.comparison import Comparison, names_of
from latentlab.measures.memory import ImageMemory
from latentlab.measures.protocols import DEFAULT_PROTOCOL, Protocol, find_protocol
from latentlab.measures.running import Measured
from latentlab.recipes.asking import describe_asked, hash_of_images, why_unknown
from latentlab.recipes.evaluating import Question, ask
from latentlab.recipes.sampling import Say, be_silent
from latentlab.results.comparisons import (
    keep_measured,
    recall_measured,
    save_comparison_of_models,
)
from latentlab.results.folders import Saved, create_run
from latentlab.store.opening import open_source

Pixels = NDArray[np.uint8]

SHOWN = 6
"""Reconstructions on the sheet, the most disputed images."""
_KEPT = 2**26
"""Bytes of reconstructions that wait for the sheet: those of a few hundred images of 256 pixels."""


@dataclass(eq=False)
class _Reconstructions:
    """What a model made of the first images, some of which the sheet shows without another pass.

    Parameters
    ----------
    room : int, bytes that are left
    pixels : path → (H, W, 3), uint8
    """

    room: int
    pixels: dict[str, Pixels] = field(default_factory=dict)

    def keep(self, batch: Batch) -> None:
        """Keep the reconstructions of a batch for which there is room."""
        for path, decoded in zip(batch.paths, batch.decoded, strict=True):
            if decoded.numel() <= self.room:
                self.room -= decoded.numel()
                self.pixels[path] = to_uint8(decoded).numpy()


def compare(
    vaes: Sequence[LatentVAE],
    images: str | Path,
    protocol: str | Protocol = DEFAULT_PROTOCOL,
    *,
    only: Sequence[str] = (),
    n_images: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Return the metrics of several models on the same images, with paired differences.

    Parameters
    ----------
    vaes : LatentVAEs, at least two
    images, protocol, only, n_images, progress : as for :func:`latentlab.measure`

    Returns
    -------
    Comparison : a value with its interval for each model, and the difference of every two models,
        paired by image; all intervals of differences hold together in 95 % of cases

    Raises
    ------
    UsageError, ImageError : as for :func:`latentlab.measure`.

    Examples
    --------
    >>> import tempfile, shutil, latentlab
    >>> from latentlab.images.examples import sample_path
    >>> photos = tempfile.mkdtemp()
    >>> for name in ("flower", "china"):
    ...     _ = shutil.copy(sample_path(f"sample:{name}"), photos)
    >>> small = find_protocol("latentlab-256").sized(64)
    >>> vaes = [latentlab.load_vae(name) for name in ("mini", "linear")]
    >>> found = compare(vaes, photos, small, only=["psnr"])
    >>> found.models, len(found.differences["psnr"])
    (('mini', 'linear'), 1)
    """
    question = Question(find_protocol(protocol), tuple(only), n_images)
    return _compare(vaes, Path(images), question, progress=progress)


def _compare(
    vaes: Sequence[LatentVAE],
    images: Path,
    question: Question,
    *,
    folder: Path | None = None,
    seen: dict[str, _Reconstructions] | None = None,
    say: Say = be_silent,
    progress: Progress | None = None,
) -> Comparison:
    if len(vaes) < 2:
        raise UsageError(f"{len(vaes)} model", "at least two", "pass -m for each model")
    # One crop for all of them.
    multiple = math.lcm(*(vae.spec.multiple for vae in vaes))
    names = names_of([vae.spec.name for vae in vaes])
    found: list[Measured] = []
    seen = {} if seen is None else seen
    listing = hash_of_images(images, question.n_images) if folder else ""
    for number, (vae, name) in enumerate(zip(vaes, names, strict=True), 1):
        asked = describe_asked(vae, question.facts(), multiple=multiple, images=listing)
        unknown = why_unknown(vae, question.facts())
        path = folder / f"measured-{number}.json" if folder and not unknown else None
        if folder and unknown:
            say(f"{name} {unknown}: measured again by every run")
        known = recall_measured(path, asked, question.protocol) if path else None
        if known:
            say(f"{name}: measured before, {path}")
        else:
            tell = _about(name, progress)
            unfinished = path.with_name(f"measuring-{number}.jsonl") if path else None
            memory = ImageMemory(unfinished, asked) if unfinished else None
            if memory and memory.recalled:
                say(f"{name}: resumed, {counted(len(memory.recalled))} measured before")
            seen[name] = _Reconstructions(_KEPT // len(vaes))
            known = ask(
                vae,
                images,
                question,
                multiple=multiple,
                memory=memory,
                keep=seen[name].keep,
                progress=tell,
            )
            if path and memory:
                keep_measured(known, path, asked)
                memory.forget()
        found.append(known)
    return Comparison(names, tuple(found))


def _about(name: str, progress: Progress | None) -> Progress | None:
    if progress is None:
        return None
    return lambda what, done, total: progress(f"{what} {name}", done, total)


def analyze_comparison(
    vaes: Sequence[LatentVAE],
    images: Path,
    question: Question,
    *,
    folder: Path | None = None,
    per_image: str = ".csv",
    figure_format: str = "png",
    command_line: list[str] | None = None,
    say: Say = be_silent,
    progress: Progress | None = None,
) -> Saved:
    """Compare models and save it: ``latentlab compare``.

    Parameters and errors as for :func:`compare`. What is measured of each model is kept in the
    folder, so that an interrupted comparison continues where it was.
    """
    say(question.protocol.describe())
    folder = folder or create_run(images.resolve().name, "compared")
    seen: dict[str, _Reconstructions] = {}
    found = _compare(vaes, images, question, folder=folder, seen=seen, say=say, progress=progress)
    files = []
    if found.panels:
        files.append(write_figure(folder, "curves", found.plot(), figure_format))
    if sheet := _draw_disputed(vaes, found, images, folder, seen):
        files.append(sheet)
    run = {
        "command_line": command_line,
        "models": [describe_model(vae) for vae in vaes],
        "images": str(images),
    }
    return save_comparison_of_models(found, folder, files=files, run=run, per_image=per_image)


def _draw_disputed(
    vaes: Sequence[LatentVAE],
    found: Comparison,
    images: Path,
    folder: Path,
    seen: Mapping[str, _Reconstructions],
) -> Path | None:
    """Write the reconstructions of the images on which the models differ most; return the path."""
    most = found.disputed()[:SHOWN]
    if not most:
        return None
    protocol, source = found.measured[0].protocol, open_source(images)
    multiple = math.lcm(*(vae.spec.multiple for vae in vaes))
    framing = protocol.framing(multiple)
    framed = [
        (torch.from_numpy(frame_levels(source.read(path), path, framing)), path, value)
        for path, value in most
    ]
    # A sheet has tiles of one shape: that of the most disputed image.
    shown = [one for one in framed if one[0].shape == framed[0][0].shape]
    decoded: dict[str, list[Pixels]] = {}
    for name, vae, measured in zip(found.models, vaes, found.measured, strict=True):
        known = seen[name].pixels if name in seen else {}
        numbers = {path: number for number, path in enumerate(measured.paths)}
        decoded[name] = [
            known[path] if path in known else _decode(vae, protocol, levels, path, numbers[path])
            for levels, path, _ in shown
        ]
    unit = found.unit_of(found.disputed_by)
    sheet = compose_reconstructions(
        [one.numpy() for one, _, _ in shown],
        decoded,
        labels=[f"{Path(path).stem}: {value:.3g} {unit} apart" for _, path, value in shown],
        title="most disputed images first; error maps end at 25 % of the range",
    )
    return save_png(folder / "reconstructions.png", sheet)


def _decode(
    vae: LatentVAE, protocol: Protocol, levels: torch.Tensor, path: str, number: int
) -> Pixels:
    """Return the reconstruction (H, W, 3) of an image that was measured but not kept."""
    batch = Batch(vae, protocol, from_uint8(levels)[None], (path,), number)
    pixels: Pixels = to_uint8(batch.decoded[0]).numpy()
    return pixels
