"""The way from a picture to a run folder, which ``pca`` and ``traverse`` share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.cli.console import say
from latentlab.cli.options import parse_nulls, parse_region, parse_settings
from latentlab.errors import UsageError
from latentlab.images.examples import PREFIX

if TYPE_CHECKING:
    from latentlab.chance.verdict import Judgement
    from latentlab.components.pca import PCA
    from latentlab.encoding.precision import Precision
    from latentlab.latents import Latent, Neighborhood, Progress
    from latentlab.loaders import LatentVAE

# A null is drawn unasked where it takes less than this share of the run, or than a few seconds: by
# share alone, a run of the built-in model would have it on a busy machine and lack it on a quiet
# one.
_AFFORDABLE = 0.2
_ALWAYS_AFFORDABLE = 5.0


@dataclass(frozen=True)
class Request:
    """What the options of the command line ask for, as they were written."""

    image: str
    size: int | None
    neighborhood: str
    samples: int | None
    region: str | None
    settings: list[str] | None
    seed: int
    command_line: list[str]
    components: int | None = None
    randomized: bool = False
    nulls: str | None = None
    dtype: str = "auto"


def analyse(
    vae: LatentVAE,
    request: Request,
    out: Path | None,
    progress: Progress | None,
    *,
    quiet: bool = False,
) -> tuple[PCA, Path, dict[str, Any]]:
    """Sample, fit, judge and save; return the PCA, its run folder and the facts of ``pca.json``."""
    from latentlab import encode, read_picture, reconstruct
    from latentlab.metrics.fidelity import psnr
    from latentlab.results.folders import RUNS_FOLDER, create_run, remember_run
    from latentlab.results.kept_samples import keep

    started = time.monotonic()
    picture = read_picture(request.image, size=request.size, multiple=vae.spec.multiple)
    latent = encode(vae, picture)
    # Before the long part, so that a decoder that fails does so early.
    quality = psnr(picture.pixels, reconstruct(vae, latent))
    hood, precision, key = sample_fast(vae, latent, request, progress, quiet=quiet)
    found = fit(hood, request)
    if key is not None:
        keep(RUNS_FOLDER, key, hood, precision)
    judgement = compare(hood, found, request, started, progress, quiet=quiet)
    folder = out or create_run(latent.name, vae.spec.name)
    facts = save(vae, hood, found, judgement, folder, request.command_line, quality, precision)
    remember_run(folder)
    return found, folder, facts


def check(request: Request, out: Path | None) -> None:
    """Refuse what can be refused before a model is loaded.

    Raises
    ------
    UsageError : an option that makes no sense whatever the picture.
    FileError : the results could not be written.
    """
    from latentlab.neighborhoods import make_sampler
    from latentlab.results.folders import RUNS_FOLDER, check_folder

    if request.samples is not None and request.samples < 2:
        raise UsageError(f"--samples {request.samples}", "at least 2", "raise --samples")
    parse_region(request.region)
    parse_nulls(request.nulls)
    make_sampler(request.neighborhood, _sampler_options(request))
    check_folder(out or RUNS_FOLDER)


def sample_fast(
    vae: LatentVAE,
    latent: Latent,
    request: Request,
    progress: Progress | None,
    *,
    quiet: bool = False,
) -> tuple[Neighborhood, dict[str, Any], str | None]:
    """Return the neighborhood, kept from an earlier run or drawn in the precision that suffices.

    With it come that precision, and why; and the key to keep the neighborhood under, if it was
    drawn and is worth it.
    """
    from latentlab.results.folders import RUNS_FOLDER
    from latentlab.results.kept_samples import find_kept, samples_key

    region = parse_region(request.region)
    settings = {"region": region, "seed": request.seed, "options": _sampler_options(request)}
    key = samples_key(vae, latent, request.neighborhood, request.samples, request.dtype, settings)
    kept = find_kept(RUNS_FOLDER, key, latent)
    if kept is not None:
        say("samples of an earlier run, nothing is encoded again", quiet=quiet)
        return *kept, None
    precision = choose(vae, latent, request, quiet=quiet)
    hood = sample(precision.vae, latent, request, progress)
    return hood, {"asked": request.dtype, **precision.facts()}, key


def choose(vae: LatentVAE, latent: Latent, request: Request, *, quiet: bool) -> Precision:
    """Return the precision to draw the neighborhood in; the one asked for, if any was."""
    from latentlab.encoding.precision import Precision, choose_precision

    if request.dtype != "auto":
        return Precision(vae, None, "asked for")
    chosen = choose_precision(
        vae,
        latent,
        request.neighborhood,
        _sampler_options(request),
        region=parse_region(request.region),
        seed=request.seed,
    )
    if chosen.floor is not None and chosen.vae is vae:
        say(f"encoding in float32: {chosen.reason}", quiet=quiet)
    return chosen


def sample(
    vae: LatentVAE, latent: Latent, request: Request, progress: Progress | None
) -> Neighborhood:
    """Return the neighborhood of the latent."""
    from latentlab import neighborhood
    from latentlab.components.checks import check_room
    from latentlab.neighborhoods.base import DEFAULT_SAMPLES

    if not request.randomized:
        check_room(min(request.samples or DEFAULT_SAMPLES, latent.values.numel()))
    return neighborhood(
        vae,
        latent,
        request.neighborhood,
        samples=request.samples,
        seed=request.seed,
        region=parse_region(request.region),
        progress=progress,
        **_sampler_options(request),
    )


def _sampler_options(request: Request) -> dict[str, str]:
    chosen = parse_settings(request.settings)
    # A clip is its own neighborhood, and a photo's folder holds its first candidates.
    if request.neighborhood == "frames":
        chosen.setdefault("video", request.image)
    if request.neighborhood == "knn" and not request.image.startswith(PREFIX):
        chosen.setdefault("folder", str(Path(request.image).parent))
    return chosen


def fit(hood: Neighborhood, request: Request) -> PCA:
    """Return the exact PCA, or only the leading components when asked for."""
    from latentlab.components.checks import KEPT_COMPONENTS
    from latentlab.components.pca import fit_pca, fit_randomized_pca

    if not request.randomized:
        return fit_pca(hood, n_components=request.components)
    rank = min(hood.n_samples - 1, hood.n_features)
    leading = request.components or min(KEPT_COMPONENTS, rank)
    return fit_randomized_pca(hood, leading, seed=request.seed)


def compare(
    hood: Neighborhood,
    found: PCA,
    request: Request,
    started: float,
    progress: Progress | None,
    *,
    quiet: bool,
) -> Judgement:
    """Return the spectrum beside the nulls asked for, or beside those that cost little.

    Parameters
    ----------
    started : float, when the run began, by ``time.monotonic``
    """
    from latentlab.chance.verdict import affordable_nulls, judge

    left_out: dict[str, str] = {}
    names = parse_nulls(request.nulls)
    if names is None:
        seconds = max(_AFFORDABLE * (time.monotonic() - started), _ALWAYS_AFFORDABLE)
        names, left_out = affordable_nulls(hood, found.spectrum, seconds)
        for name, reason in left_out.items():
            say(f"{name} null left out: {reason}", quiet=quiet)
    return judge(hood, found, nulls=names, seed=request.seed, progress=progress, left_out=left_out)


def save(
    vae: LatentVAE,
    hood: Neighborhood,
    found: PCA,
    judgement: Judgement,
    folder: Path,
    command_line: list[str],
    quality: float,
    precision: dict[str, Any],
) -> dict[str, Any]:
    """Write a run's files; return the facts of ``pca.json`` with the files' paths."""
    from latentlab.encoding.tiles import describe_tiles
    from latentlab.results.folders import read_json, save_pca
    from latentlab.results.provenance import provenance, record

    facts = {
        "reconstruction_psnr": quality,
        "statement": hood.statement,
        **describe_tiles(vae),
    }
    files = save_pca(found, folder, facts, judgement=judgement)
    settings = {
        "seed": hood.seed,
        "neighborhood": {"name": hood.name, **hood.options},
        "n_samples": hood.n_samples,
        "nulls": [null.name for null in judgement.nulls],
        "precision": precision,
    }
    files.append(record(folder, "pca", provenance(vae, hood.origin, command_line, **settings)))
    return {**read_json(folder / "pca.json"), "files": [str(path) for path in files]}
