"""Metrics of one model over a folder of images: ``latentlab metrics``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from latentlab.encoding.encoder import describe_model
from latentlab.errors import LatentlabError, UsageError, counted
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.tiles import describe_tiles
from latentlab.measures import MEASURES
from latentlab.measures.base import NEEDS, Measure
from latentlab.measures.batch import Batch
from latentlab.measures.memory import ImageMemory
from latentlab.measures.protocols import DEFAULT_PROTOCOL, PROTOCOLS, Protocol, find_protocol
from latentlab.measures.reconstruction import PSNR, SSIM
from latentlab.measures.running import Measured, measure_images, read_framed
from latentlab.recipes.asking import describe_asked, hash_of_images, why_unknown
from latentlab.recipes.sampling import Say, be_silent
from latentlab.results.folders import Saved, create_run
from latentlab.results.measures import save_measured
from latentlab.store.opening import open_source

OPTIONAL = ("labels", "features")
"""What metrics may need that a folder of images and a model do not have."""


@dataclass(frozen=True)
class Question:
    """What is measured, and how.

    Parameters
    ----------
    protocol : Protocol
    only : names of metrics; empty for all that the given things allow
    n_images : int, the first so many files; 0 for all
    options : name of a metric → its options
    """

    protocol: Protocol = PROTOCOLS[DEFAULT_PROTOCOL]
    only: Sequence[str] = ()
    n_images: int = 0
    options: Mapping[str, Mapping[str, Any]] | None = None

    def facts(self) -> dict[str, Any]:
        """Return the protocol, the names of metrics and their options."""
        return {
            "protocol": self.protocol.facts(),
            "only": list(self.only),
            "options": dict(self.options or {}),
        }

    def measures(self, vae: LatentVAE) -> tuple[dict[str, Measure], dict[str, str]]:
        """Return name → metric, and name → why it is left out.

        Raises
        ------
        UsageError : an unknown name in ``only``.
        """
        for name in self.only:
            MEASURES.check(name)
        kept, left_out = {}, {}
        for name in self.only or MEASURES.classes():
            given = (self.options or {}).get(name, {})
            measure = MEASURES.make(name, given)
            missing = [need for need in measure.needs if need in OPTIONAL and need not in given]
            if measure.on_request and name not in self.only:
                left_out[name] = "downloads weights: name it in --only"
            elif missing:
                left_out[name] = f"needs {NEEDS[missing[0]]}: pass --{missing[0]}"
            elif "posterior" in measure.needs and not vae.spec.has_logvar:
                left_out[name] = f"{vae.spec.name} has no log-variance"
            else:
                kept[name] = measure
        return kept, left_out | ({} if self.only else MEASURES.broken)


def measure(
    vae: LatentVAE,
    images: str | Path,
    protocol: str | Protocol = DEFAULT_PROTOCOL,
    *,
    only: Sequence[str] = (),
    n_images: int = 0,
    progress: Progress | None = None,
) -> Measured:
    """Return the metrics of a model over a folder of images, under a named protocol.

    Parameters
    ----------
    vae : LatentVAE
    images : a folder, or a tar file
    protocol : ``"latentlab-256"``, ``"imagenet-256-adm"``, ``"coco-256"``, ``"native"``, a TOML
        file, or a Protocol
    only : names of metrics, such as ``["psnr", "ssim"]``; by default all
    n_images : int, the first so many files; 0 for all
    progress : called as ``progress("measuring", done, total)``

    Returns
    -------
    Measured : values with 95 % intervals over images, and what was skipped

    Raises
    ------
    UsageError : an unknown metric or protocol, or a size that does not fit the model.
    ImageError : no image can be measured.

    Examples
    --------
    >>> import tempfile, shutil, latentlab
    >>> from latentlab.images.examples import sample_path
    >>> photos = tempfile.mkdtemp()
    >>> _ = shutil.copy(sample_path("sample:flower"), photos)
    >>> small = find_protocol("latentlab-256").sized(64)
    >>> found = measure(latentlab.load_vae("mini"), photos, small, only=["psnr"])
    >>> found.values["psnr"].value > 20, found.values["psnr"].n
    (True, 1)
    """
    question = Question(find_protocol(protocol), tuple(only), n_images)
    return ask(vae, Path(images), question, progress=progress)


def ask(
    vae: LatentVAE,
    images: Path,
    question: Question,
    *,
    multiple: int = 0,
    memory: ImageMemory | None = None,
    keep: Callable[[Batch], None] | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Return the metrics of a question; parameters and errors as for :func:`measure`.

    Parameters
    ----------
    multiple : int; sides are multiples of this; 0 for what the model takes
    memory : ImageMemory, optional; of an earlier pass that was interrupted
    keep : called with each batch that was decoded
    """
    measures, left_out = question.measures(vae)
    if not measures:
        raise UsageError(
            f"metrics that cannot be computed ({'; '.join(left_out.values())})",
            "at least one that can",
            "choose others with --only",
        )
    total = count_images(images, question.n_images)
    found = measure_images(
        vae,
        read_framed(images, question.protocol, vae, multiple=multiple, limit=question.n_images),
        measures,
        question.protocol,
        total=total,
        memory=memory,
        keep=keep,
        progress=progress,
    )
    return replace(found, skipped_metrics={**left_out, **found.skipped_metrics})


def count_images(images: Path, limit: int = 0) -> int:
    """Return how many files of a folder or tar file are read."""
    return sum(1 for _ in islice(open_source(images).entries(), limit or None))


def spread(
    vae: LatentVAE,
    images: Path,
    protocol: Protocol,
    *,
    n_images: int = 0,
    progress: Progress | None = None,
    say: Say = be_silent,
) -> dict[str, dict[str, Any]]:
    """Return protocol → PSNR and SSIM of the same images, JSON-ready.

    This protocol and variants of it that differ in one choice come first, then the others. One
    under which nothing can be measured has a ``note`` that says why, which is also said.
    """
    rows: dict[str, dict[str, Any]] = {}
    others = [one for name, one in PROTOCOLS.items() if name != protocol.name]
    for crop in (protocol, *others):
        variants = _variants(crop) if crop is protocol else {crop.name: crop}
        try:
            found = _under(vae, images, crop, variants, n_images=n_images, progress=progress)
        except (LatentlabError, ArithmeticError, ValueError, RuntimeError) as error:
            # What was measured under the other protocols stays.
            found = {name: {"note": " ".join(str(error).split())} for name in variants}
        rows |= found
    for name, row in rows.items():
        if "note" in row:
            say(f"not measured under {name}: {row['note']}")
    return rows


def _under(
    vae: LatentVAE,
    images: Path,
    crop: Protocol,
    variants: Mapping[str, Protocol],
    *,
    n_images: int,
    progress: Progress | None,
) -> dict[str, dict[str, Any]]:
    """Return variant → PSNR and SSIM of images that are framed alike."""
    if vae.only_side and crop.size != vae.only_side:
        raise UsageError(
            f"the protocol {crop.name} of {crop.size or 'any'} pixels",
            f"{vae.only_side}, which alone the model takes",
            "choose another model",
        )
    measures: dict[str, Measure] = {}
    for number, variant in enumerate(variants.values()):
        measures[f"{number}"] = PSNR(under=variant)
        measures[f"{number}'"] = SSIM(under=variant)
    source = read_framed(images, crop, vae, limit=n_images)
    total = count_images(images, n_images)
    found = measure_images(vae, source, measures, crop, total=total, progress=progress)
    rows: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(variants):
        keys = {"psnr": f"{number} psnr", "ssim": f"{number}' ssim"}
        rows[name] = {
            kind: found.values[key].facts() for kind, key in keys.items() if key in found.values
        }
        failed = [found.skipped_metrics.get(key) for key in (f"{number}", f"{number}'")]
        if reasons := [reason for reason in failed if reason]:
            rows[name]["note"] = "; ".join(reasons)
    return rows


def _variants(protocol: Protocol) -> dict[str, Protocol]:
    """Return what differs → this protocol with one choice changed, itself first."""
    window = "uniform" if protocol.ssim_window == "gaussian" else "gaussian"
    name = protocol.name
    pooled = "pooled" if protocol.psnr == "image" else "image"
    color = "luma" if protocol.color == "rgb" else "rgb"
    rounding = "truncate" if protocol.rounding != "truncate" else "round"
    found = {name: protocol}
    found[f"{name}, PSNR {pooled}"] = replace(protocol, psnr=pooled)
    found[f"{name}, {color}"] = replace(protocol, color=color)
    found[f"{name}, rounding: {rounding}"] = replace(protocol, rounding=rounding)
    found[f"{name}, SSIM {window}"] = replace(
        protocol, ssim_window=window, ssim_side=7 if window == "uniform" else 11
    )
    found[f"{name}, range 2"] = replace(protocol, data_range=2 * protocol.data_range)
    return found


def analyze_metrics(
    vae: LatentVAE,
    images: Path,
    question: Question,
    *,
    with_spread: bool = False,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    say: Say = be_silent,
    progress: Progress | None = None,
) -> Saved:
    """Measure a model and save it: ``latentlab metrics``.

    Parameters and errors as for :func:`measure`. An interrupted run continues with the same
    folder.
    """
    say(question.protocol.describe())
    unknown = why_unknown(vae, question.facts())
    if folder and unknown:
        say(f"{vae.spec.name} {unknown}: measured again by every run")
    resumed = folder is not None and not unknown
    folder = folder or create_run(images.resolve().name, vae.spec.name)
    memory = None
    if resumed:
        listing = hash_of_images(images, question.n_images)
        asked = describe_asked(vae, question.facts(), multiple=0, images=listing)
        memory = ImageMemory(folder / "measuring.jsonl", asked)
        if memory.recalled:
            say(f"resumed: {counted(len(memory.recalled))} measured before")
    found = ask(vae, images, question, memory=memory, progress=progress)
    run = {
        "command_line": command_line,
        "model": describe_model(vae),
        **describe_tiles(vae),
        "images": str(images),
    }
    # Saved before the spread, which takes several times as long and may be interrupted.
    saved = save_measured(found, folder, facts=found.facts(), run=run)
    if memory:
        memory.forget()
    if not with_spread:
        return saved
    rows = spread(
        vae, images, question.protocol, n_images=question.n_images, progress=progress, say=say
    )
    return save_measured(found, folder, facts={**found.facts(), "spread": rows}, run=run)
