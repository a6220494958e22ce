"""What is wrong with a model, examined on images: :func:`diagnose`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from latentlab.encoding.batches import ADVICE
from latentlab.encoding.encoder import describe_model
from latentlab.examinations import behavior, latents, places, reconstruction
from latentlab.examinations.diagnosis import Diagnosis, Evidence
from latentlab.examinations.findings import Finding, unexamined
from latentlab.figures.canvas import check_figure_format
from latentlab.images.fit import Size
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.tiles import describe_tiles
from latentlab.machine.files import check_folder
from latentlab.machine.memory import memory_errors
from latentlab.recipes.examined import Examined, gather_images
from latentlab.recipes.sampling import Say, be_silent
from latentlab.results.diagnoses import save_diagnosis
from latentlab.results.folders import RUNS_FOLDER, Saved, create_run

IMAGES = 16
_NOT_FINITE = "no image has a finite latent and reconstruction"
_FLAT = 1 / 127.5
"""Standard deviation of an image in which there is nothing to see: one level."""
Examine = Callable[[], Finding | tuple[Finding, ...]]


def diagnose(
    vae: LatentVAE,
    images: Any = None,
    *,
    n_images: int = IMAGES,
    size: Size | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    say: Say = be_silent,
) -> Diagnosis:
    """Return what is wrong with a model: a finding for each examination.

    Parameters
    ----------
    vae : LatentVAE
    images : a Tensor (n, 3, H, W) in [−1, 1], a sequence of what :func:`latentlab.encode` takes, a
        folder, a tar file or an image file; by default the two sample images
    n_images : int, at most so many, drawn at random from a folder
    size : int, (height, width) or ``"native"``, as for :func:`latentlab.encode`; by default 256, or
        the next size that the model takes. A tensor keeps its size.
    seed : int, of the draw
    progress : called as ``progress("examining", done, total)``
    say : called with what was chosen and left out

    Returns
    -------
    Diagnosis : findings with value, threshold and advice; one that could not be examined has
        ``found=None`` and its ``problem``

    Raises
    ------
    ImageError : no image can be read.
    UsageError : an invalid size.
    Whatever the model raises if it can encode none of the images.

    Examples
    --------
    >>> import latentlab
    >>> found = diagnose(latentlab.load_vae("linear"), size=128)
    >>> found.found
    ()
    >>> found["blur"].value > found["blur"].threshold
    True
    """
    chosen, notes = gather_images(vae, images, n_images, size, seed)
    every, failed = _run(vae, chosen, progress)
    notes += failed
    for note in notes:
        say(note)
    finite = _finite(every)
    findings = [
        *_attempt(("finite",), partial(latents.examine_finite, every.latents, every.decoded)),
        *_on_images(finite),
        *_on_model(vae, finite),
    ]
    return Diagnosis(vae.spec.name, tuple(findings), len(every.images), tuple(notes), finite)


def analyze_health(
    vae: LatentVAE,
    images: Any = None,
    *,
    n_images: int = IMAGES,
    size: Size | None = None,
    seed: int = 0,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    figure_format: str = "png",
    progress: Progress | None = None,
    say: Say = be_silent,
) -> Saved:
    """Examine a model and save the diagnosis: ``latentlab doctor``.

    Parameters and errors as for :func:`diagnose` and :func:`latentlab.analyze`.
    """
    check_folder(folder or RUNS_FOLDER)
    check_figure_format(figure_format)
    how: dict[str, Any] = {"n_images": n_images, "size": size, "seed": seed}
    found = diagnose(vae, images, **how, progress=progress, say=say)
    run = {
        "command_line": command_line,
        "model": describe_model(vae),
        **describe_tiles(vae),
        "images": None if images is None else str(images),
        **how,
        "notes": list(found.notes),
    }
    out = folder or create_run("doctor", vae.spec.name)
    return save_diagnosis(found, out, run=run, figure_format=figure_format)


def _run(
    vae: LatentVAE, chosen: Sequence[Examined], progress: Progress | None
) -> tuple[Evidence, list[str]]:
    """Return images with latents and reconstructions, one by one, and what failed."""
    kept: list[Examined] = []
    means, decoded, notes = [], [], []
    first: Exception | None = None
    for number, one in enumerate(chosen):
        try:
            with torch.inference_mode(), memory_errors(f"examining {one.name}", ADVICE):
                mean = vae.encode(one.pixels[None].clone()).mean
                result = vae.decode(mean.clone())[0].cpu()
        except Exception as error:  # noqa: BLE001 (whatever an adapter raises is what is wrong)
            first = first or error
            notes.append(f"left out: {one.name}, {type(error).__name__}: {error}")
            continue
        kept.append(one)
        means.append(mean[0].cpu())
        decoded.append(result)
        if progress:
            progress("examining", number + 1, len(chosen))
    if first is not None and not kept:
        raise first
    names, images = [one.name for one in kept], [one.pixels for one in kept]
    hashes = [one.sha256 for one in kept]
    return Evidence(names, images, means, decoded, vae.spec.stride, hashes), notes


def _finite(every: Evidence) -> Evidence:
    """Return what is finite, with reconstructions clamped to [−1, 1], as they are when saved."""
    kept = [
        k
        for k, (mean, image) in enumerate(zip(every.latents, every.decoded, strict=True))
        if bool(torch.isfinite(mean).all()) and bool(torch.isfinite(image).all())
    ]
    return replace(
        every,
        names=[every.names[k] for k in kept],
        hashes=[every.hashes[k] for k in kept],
        images=[every.images[k] for k in kept],
        latents=[every.latents[k] for k in kept],
        decoded=[every.decoded[k].clamp(-1, 1) for k in kept],
    )


def _on_images(seen: Evidence) -> list[Finding]:
    """Return the findings on reconstructions and on latents."""
    pairs, stride = (seen.images, seen.decoded), seen.stride
    examinations: Mapping[tuple[str, ...], Examine] = {
        ("lattice",): partial(reconstruction.examine_lattice, *pairs, stride),
        ("color shift",): partial(reconstruction.examine_color, *pairs),
        ("blur", "lost detail"): partial(reconstruction.examine_sharpness, *pairs),
        places.NAMES: partial(places.examine_places, *pairs, stride),
        ("unit variance",): partial(latents.examine_deviation, seen.latents),
        ("normalization",): partial(latents.examine_normalization, seen.latents),
        ("dead channels",): partial(latents.examine_channels, seen.latents),
        ("droplets",): partial(latents.examine_droplets, seen.latents, stride),
        ("black holes",): partial(latents.examine_outliers, seen.latents, stride),
    }
    problem = _problem_of(seen)
    return [
        finding
        for names, examine in examinations.items()
        for finding in (_none(names, problem) if problem else _attempt(names, examine))
    ]


def _problem_of(seen: Evidence) -> str:
    """Return why images show nothing; empty if they can be examined."""
    if not seen.images:
        return _NOT_FINITE
    varies = any(float(image.std()) > _FLAT for image in seen.images)
    return "" if varies else "the images are flat: pass photos"


def _on_model(vae: LatentVAE, seen: Evidence) -> list[Finding]:
    """Return the findings on the model's behavior, which need one image and a companion."""
    named = (vae.spec.name, vae.origin.source)
    family = _attempt(("channels",), partial(behavior.examine_family, vae.spec, named))
    if not seen.images:
        return [*_none(("float16", "repeats", "batch"), _NOT_FINITE), *family]
    image, latent, decoded = seen.images[0], seen.latents[0], seen.decoded[0]
    alike = [one for one in seen.images[1:] if one.shape == image.shape]
    other = alike[0] if alike else image.flip(-1)
    given = (latent, decoded)
    findings = _attempt(("float16",), partial(behavior.examine_float16, vae, image))
    findings += _attempt(("repeats",), partial(behavior.examine_repeats, vae, image, *given))
    if findings[-1].found:
        return [*findings, unexamined("batch", "one image alone changes already"), *family]
    batch = partial(behavior.examine_batch, vae, image, other, *given)
    return [*findings, *_attempt(("batch",), batch), *family]


def _none(names: Sequence[str], problem: str) -> list[Finding]:
    return [unexamined(name, problem) for name in names]


def _attempt(names: tuple[str, ...], examine: Examine) -> list[Finding]:
    """Return the findings of an examination; where it fails, why."""
    try:
        with torch.inference_mode(), memory_errors(f"examining {names[0]}", ADVICE):
            result = examine()
    except Exception as error:  # noqa: BLE001 (one examination must not stop the others)
        return _none(names, f"{type(error).__name__}: {error}")
    return [result] if isinstance(result, Finding) else [*result]
