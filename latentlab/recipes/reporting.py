"""Everything about a model on one page: ``latentlab report``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentlab.errors import ImageError, LatentlabError
from latentlab.images.examples import PREFIX
from latentlab.images.fit import AUTO, Size
from latentlab.images.reading import read_image
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.measures.protocols import find_protocol
from latentlab.recipes.analysis import Analysis, analyze
from latentlab.recipes.diagnosing import IMAGES, analyze_health
from latentlab.recipes.evaluating import Question, analyze_metrics
from latentlab.recipes.sampling import Say, be_silent
from latentlab.recipes.walking import walk_and_save
from latentlab.results.arrays import write_result
from latentlab.results.diagnoses import rows_of_findings, sentences_on_the_rest
from latentlab.results.folders import Saved, create_run, read_json
from latentlab.results.reports import Block, Folded, Images, Items, Section, Table, Text, write_page
from latentlab.store.opening import open_source

METRICS = ("psnr", "ssim", "ms_ssim", "edges", "color_shift", "latents")
"""Metrics that one encode and one decode of each image are enough for."""
_PROTOCOL = "latentlab-256"
_FRAME = 256
_PLOTS = {
    "cumulative_variance.png": "Cumulative explained variance over the null models",
    "eigenvalues.png": "Eigenvalues",
    "scores.png": "Samples along the first two components",
}


def analyze_report(
    vae: LatentVAE,
    source: str | Path,
    *,
    size: Size = AUTO,
    n_samples: int | None = None,
    n_components: int = 3,
    n_images: int = IMAGES,
    seed: int = 0,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    say: Say = be_silent,
    progress: Progress | None = None,
) -> Saved:
    """Analyze, walk, examine and measure a model, and write it all on one page.

    Parameters
    ----------
    vae : LatentVAE
    source : an image, or a folder of photos, of which the first is analyzed and all are candidates
        for the doctor and the metrics
    size, n_samples, seed, folder, command_line, say, progress : as for :func:`latentlab.analyze`
    n_components : int, components to walk along
    n_images : int, photos of a folder to examine and to measure at most

    Returns
    -------
    Saved : ``report.html`` and the files of all parts in one run folder

    Raises
    ------
    As the recipes of the parts.
    """
    image, photos = _image_of(source, say)
    out = folder or create_run(f"report-{Path(image.removeprefix(PREFIX)).stem}", vae.spec.name)
    how: dict[str, Any] = {"command_line": command_line, "progress": progress}
    found = analyze(
        vae, image, size=size, n_samples=n_samples, seed=seed, folder=out, say=say, **how
    )
    walk = walk_and_save(
        vae,
        found.pca,
        out,
        n_components=min(n_components, len(found.pca.components)),
        steps=9,
        seed=seed,
        suffix=".webp",
        longest=_FRAME,
        **how,
    )
    chosen: str | Path = photos or image
    health = analyze_health(vae, chosen, n_images=n_images, seed=seed, folder=out, say=say, **how)
    parts = [found.saved, walk, health]
    question = Question(_sized(vae), METRICS, n_images)
    if photos is not None:
        parts.append(analyze_metrics(vae, photos, question, folder=out, say=say, **how))
    return _write(vae, found, parts, question, command_line)


def _image_of(source: str | Path, say: Say) -> tuple[str, Path | None]:
    """Return the image to analyze and the folder that it is in, None for an image alone."""
    if str(source).startswith(PREFIX) or not Path(source).is_dir():
        return str(source), None
    for entry in open_source(source).entries():
        path = Path(source) / entry.path
        try:
            read_image(path)
        except LatentlabError as error:
            say(f"passed over: {error.got}")
            continue
        say(f"the neighborhood is that of the first image, {path}")
        return str(path), Path(source)
    raise ImageError(
        f"{source}, with no image in it that can be read",
        "a folder of photos",
        "name another folder; archives are unpacked first",
    )


def _sized(vae: LatentVAE) -> Any:
    """Return the default protocol at a size that the model takes."""
    protocol, side = find_protocol(_PROTOCOL), vae.only_side
    side = side or -(-protocol.size // vae.spec.multiple) * vae.spec.multiple
    return protocol if side == protocol.size else protocol.sized(side)


def _write(
    vae: LatentVAE,
    found: Analysis,
    parts: Sequence[Saved],
    question: Question,
    command_line: list[str] | None,
) -> Saved:
    walk, health, *measured = parts[1:]
    folder, facts = found.folder, found.facts
    title = str(facts["title"]).splitlines()[0]
    sections = [
        Section("Summary", _summary(facts, health.facts)),
        Section("Findings on the model", _findings(folder, health.facts)),
        *(Section("Metrics", _metrics(one.facts, question)) for one in measured),
        Section("The neighborhood", _neighborhood(folder, facts)),
        Section("Along the components", _walks(folder, walk.facts)),
        Section("Provenance", _provenance(folder)),
    ]
    page = write_page(folder / "report.html", f"latentlab: {title}", sections)
    files = [page, *(path for part in parts for path in part.files if path.name != "run.json")]
    return write_result(
        folder,
        "report",
        files=[*dict.fromkeys(files)],
        arrays={},
        facts={"title": title, "model": vae.spec.name, "sections": [s.heading for s in sections]},
        run={"command_line": command_line},
    )


def _summary(facts: Mapping[str, Any], health: Mapping[str, Any]) -> list[Block]:
    state = _state_of(health["findings"])
    psnr = facts["reconstruction_psnr"]
    back = "without loss" if psnr is None else f"with {psnr:.1f} dB PSNR"
    sentences = re.split(r"(?<=\.) (?=[A-Z])", facts["verdict"])
    return [Text(f"The image comes back {back}."), state, Items(sentences)]


def _state_of(findings: Sequence[Mapping[str, Any]]) -> Text:
    """Return how many examinations found something, of those that were possible."""
    found = [one["name"] for one in findings if one["found"]]
    made = sum(one["found"] is not None for one in findings)
    rest = len(findings) - made
    also = f" {rest} more {'was' if rest == 1 else 'were'} not possible." if rest else ""
    if found:
        said = f"{len(found)} of {made} examinations found something: {', '.join(found)}."
        return Text(said + also, "found")
    return Text(f"None of {made} examinations found anything.{also}", "dim" if rest else "healthy")


def _findings(folder: Path, health: Mapping[str, Any]) -> list[Block]:
    rows = rows_of_findings(health)
    headings = ("finding", "value", "threshold", "what it is, and what to do")
    healthy, unknown = sentences_on_the_rest(health)
    figure = folder / "doctor.png"
    blocks: list[Block] = [Table(headings, rows, (0, 1, 2), prose=True)] if rows else []
    blocks += [Text(healthy, "healthy"), *(Text(line, "dim") for line in unknown)]
    blocks += [Text(note, "dim") for note in health["notes"]]
    if figure.is_file():
        caption = "Image, reconstruction with the place marked, and what is wrong there"
        blocks.append(Images([figure], [caption]))
    return blocks


def _metrics(facts: Mapping[str, Any], question: Question) -> list[Block]:
    rows = [
        (name, f"{one['value']:.4g}", _interval(one), str(one["n"]), one["note"])
        for name, one in facts["metrics"].items()
        if one["value"] is not None
    ]
    skipped = [f"{name}: {why}" for part in facts["skipped"].values() for name, why in part.items()]
    return [
        Text(question.protocol.describe(), "dim"),
        Table(("metric", "value", "95 % interval", "images", ""), rows, (0, 1, 2, 3)),
        *(Text(f"Left out: {line}.", "dim") for line in skipped),
    ]


def _interval(one: Mapping[str, Any]) -> str:
    return "–" if one["low"] is None else f"{one['low']:.4g} to {one['high']:.4g}"


def _neighborhood(folder: Path, facts: Mapping[str, Any]) -> list[Block]:
    shares = ", ".join(f"{share:.1%}" for share in facts["explained_variance_ratio"][:5])
    rows = [
        ("samples", f"{facts['n_samples']:,} of the {facts['label']} neighborhood"),
        ("variance of the first components", shares),
        ("components for 50, 90, 95, 99 %", ", ".join(str(facts[f"k{p}"]) for p in _PERCENT)),
        ("effective dimension", _number(facts["participation_ratio_corrected"])),
        ("R² of a logarithm", _number(facts["log_fit_r2"])),
    ]
    kept = [(folder / name, words) for name, words in _PLOTS.items() if (folder / name).is_file()]
    plots = Images([path for path, _ in kept], [words for _, words in kept], large=True)
    back = Images([folder / "reconstruction.png"], ["Image, reconstruction and error"])
    return [Text(facts["statement"], "dim"), Table(("", ""), rows), plots, back]


_PERCENT = (50, 90, 95, 99)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _walks(folder: Path, facts: Mapping[str, Any]) -> list[Block]:
    files = [folder / name for name in facts["files"] if name.startswith("component_")]
    moving = Images(files, [f"component {number}" for number in range(1, len(files) + 1)])
    still = Images([folder / "sheet.png"], ["From −3 to 3 standard deviations"])
    return [moving, still]


def _provenance(folder: Path) -> list[Block]:
    record = read_json(folder / "run.json")
    model, image = record["pca"]["model"], record["pca"]["input"]
    versions = record["pca"]["versions"]
    rows = [
        ("model", f"{model['name']}, {model['family']}, from {model['source']}"),
        ("revision", model["revision"] or "–"),
        *((f"SHA-256 of {name}", digest) for name, digest in model["sha256"].items()),
        ("normalization", model["normalization"]),
        ("computed", f"{model['dtype']} on {model['device']}"),
        ("image", f"{image['name']}, {image['preprocessing']}, SHA-256 {image['sha256']}"),
        ("seed", str(record["pca"]["seed"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    everything = json.dumps(record, indent=1, ensure_ascii=False)
    return [Table(("", ""), rows), Folded("run.json, with everything", everything)]
