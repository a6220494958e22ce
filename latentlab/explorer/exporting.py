"""The explorer as a folder for any static host: the decoder itself, or images decoded before.

``scene/scene.json`` describes the folder; docs/glossary.md explains its keys. Beside it lie the
pictures of each model as PNG and, where the decoder is part of the page, two files of float32,
little-endian, in C order: the latent (C, h, w) and the unit directions (K, C, h, w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from latentlab.encoding.encoder import decode
from latentlab.encoding.onnx_files import require_onnx
from latentlab.errors import UsageError
from latentlab.explorer.decoders import (
    LARGEST_DECODER,
    export_decoder,
    on_cpu,
    quick_size,
    weights_of,
)
from latentlab.explorer.fits import Plan
from latentlab.explorer.frames import write_frames
from latentlab.explorer.protocol import to_json
from latentlab.explorer.scenes import Scene
from latentlab.explorer.state import LARGEST_ALPHA
from latentlab.explorer.studio import scenes_around
from latentlab.explorer.subjects import read_subjects
from latentlab.loaders.base import LatentVAE
from latentlab.web.pages import (
    check_export_folder,
    export_page,
    gpu_files,
    page_files,
    runtime_files,
)

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.images.fit import Size
    from latentlab.latents import Progress

FORMAT = "latentlab explorer page 1"
SCENE = "scene/scene.json"
_SERVED = {"main.js", "socket.js", "widget.js", "embedded.js", "embedded.css"}
_LEFT_OUT = {
    "decoder": _SERVED,
    "frames": _SERVED | {"worker.js", "latent.js", "headers.js"},
}


@dataclass(frozen=True)
class ExportedExplorer:
    """A page that was written.

    Parameters
    ----------
    files : paths of all its files
    engine : ``"decoder"`` or ``"frames"``
    size : (width, height) of its images, in pixels
    bytes : of all files
    max_abs_diff : largest difference of a decoder's images from PyTorch's; None without a decoder
    why : str, why there is no decoder; empty if there is one, or if nobody asked for it
    """

    files: tuple[Path, ...]
    engine: str
    size: tuple[int, int]
    bytes: int
    max_abs_diff: float | None = None
    why: str = ""


def export_explorer(
    vae: LatentVAE | Sequence[LatentVAE],
    image: Any,
    folder: str | Path,
    *,
    size: Size = "auto",
    plan: Plan | None = None,
    frames: bool = False,
    progress: Progress | None = None,
) -> ExportedExplorer:
    """Write the explorer of an image into a folder that any static host can serve.

    Decoders up to 10 MB become part of the page and run in the browser, so that every state can be
    reached. Of larger ones, images along each direction are decoded now; the page shows the
    nearest one, and moves along one direction at a time.

    Parameters
    ----------
    vae : LatentVAE, or two of them
    image : anything that :func:`latentlab.encode` takes
    folder : new, empty, or an unchanged earlier export
    size : as for :func:`latentlab.encode`; by default the image keeps its shape and is shrunk to at
        most 256 pixels, or to fewer at which a browser needs 0.3 s for an image
    plan : Plan of neighborhood and finder, optional
    frames : bool, whether to decode images now even if the decoder is small
    progress : called as ``progress(what, done, total)``, optional

    Raises
    ------
    FileError : the folder holds other files, or cannot be written.
    UsageError : more than two models, or images decoded before of more than 40 MB.
    MissingExtraError : onnx or onnxruntime-web is not installed.
    ParityError : the decoder in the page computes something else than PyTorch.
    """
    vaes = (vae,) if isinstance(vae, LatentVAE) else tuple(vae)
    if not 1 <= len(vaes) <= 2:
        raise UsageError(f"{len(vaes)} models", "one or two", "pass --model once or twice")
    check_export_folder(Path(folder))
    why = "" if frames else _why_not(vaes)
    live = not frames and not why
    if live:
        require_onnx()
        runtime_files()
        vaes = tuple(on_cpu(one) for one in vaes)
    tell = progress or _be_silent
    scene = _explore(vaes, image, size, plan or Plan(), tell, live=live)
    with TemporaryDirectory(prefix="latentlab-explorer-") as scratch:
        written = (_write_decoders if live else write_frames)(scene, Path(scratch), tell)
        facts = _describe(scene, written, Path(scratch))
        page = _page(facts["engine"], Path(scratch))
        files = tuple(export_page(page, Path(folder)))
    width, height = facts["scene"]["models"][0]["size"]
    differences = [one["max_abs_diff"] for one in facts["models"] if "max_abs_diff" in one]
    total = sum(path.stat().st_size for path in files)
    largest = max(differences, default=None)
    return ExportedExplorer(files, facts["engine"], (width, height), total, largest, why)


def _why_not(vaes: Sequence[LatentVAE]) -> str:
    """Return why the decoders cannot be part of a page; empty if they can."""
    for vae in vaes:
        found = weights_of(vae)
        if not found:
            return f"{vae.spec.name} consists of functions, which have no ONNX file"
        if found > LARGEST_DECODER:
            return (
                f"the decoder of {vae.spec.name} has {found / 1e6:,.0f} MB, and a page takes "
                f"{LARGEST_DECODER / 1e6:.0f} MB"
            )
    return ""


def _explore(
    vaes: Sequence[LatentVAE], image: Any, size: Size, plan: Plan, progress: Progress, *, live: bool
) -> Scene:
    """Return the scene with everything that is ever known of it."""
    longest = min(quick_size(vae) for vae in vaes) if live else None
    subjects = read_subjects(vaes, image, size, longest)
    if live:  # as the browser decodes, in float32
        subjects = tuple(
            replace(one, decoder=one.vae, decoded=decode(one.vae, one.latent)) for one in subjects
        )
    *_, scene = scenes_around(Scene(subjects), plan, progress)
    return scene


def _write_decoders(scene: Scene, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write latents, directions and decoders; return their part of the description."""
    models = []
    (folder / "model").mkdir()
    (folder / "scene").mkdir()
    for index, (subject, fit) in enumerate(zip(scene.subjects, scene.fits, strict=True)):
        progress("exporting the decoder", index, len(scene.subjects))
        exported = export_decoder(subject.vae, subject.latent)
        names = {
            "decoder": f"model/{index}.onnx",
            "latent": f"scene/{index}-latent.bin",
            "directions": f"scene/{index}-directions.bin",
        }
        (folder / names["decoder"]).write_bytes(exported.content)
        (folder / names["latent"]).write_bytes(_to_bytes(subject.latent.values))
        (folder / names["directions"]).write_bytes(_to_bytes(fit.directions.vectors))
        models.append({**names, "max_abs_diff": exported.max_abs_diff})
    return {"engine": "decoder", "webgpu": bool(gpu_files()), "models": models}


def _to_bytes(values: Tensor) -> bytes:
    return values.float().contiguous().numpy().astype("<f4").tobytes()


def _describe(scene: Scene, written: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write the pictures and ``scene.json``; return what is in it."""
    (folder / "scene").mkdir(exist_ok=True)
    models = []
    for index, (subject, model) in enumerate(zip(scene.subjects, written["models"], strict=True)):
        pictures = {}
        for name, _, content in subject.parts():
            pictures[name] = f"scene/{index}-{name}.png"
            (folder / pictures[name]).write_bytes(content)
        models.append({**model, "pictures": pictures})
    facts = {
        "format": FORMAT,
        "version": version("latentlab"),
        **written,
        "models": models,
        "limits": {"alpha": LARGEST_ALPHA},
        "scene": scene.header(),
    }
    (folder / SCENE).write_text(to_json(facts) + "\n", encoding="utf-8")
    return facts


def _page(engine: str, folder: Path) -> dict[str, Path]:
    """Return the files of a page by address: the front end, its engine, and what was written."""
    page = {
        name: path for name, path in page_files("explorer").items() if name not in _LEFT_OUT[engine]
    }
    page["main.js"] = page.pop("static.js")
    runtime = {**runtime_files(), **gpu_files()} if engine == "decoder" else {}
    written = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {**page, **runtime, **written}


def _be_silent(what: str, done: int, total: int) -> None:
    """Report no progress."""
