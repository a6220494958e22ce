"""Latents in files that other programs wrote, read as a store is: ``latentlab.open_latents``.

``open_latents`` is not among the 24 names of ``latentlab.__all__``: who has such files meets it in
`latentlab store import --help` and here, and ``latentlab.open_latents`` works all the same.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from torch import Tensor

from latentlab.errors import FileError, LatentlabError, UsageError
from latentlab.latents import Latent, LatentSpec, Progress
from latentlab.machine.versions import library_versions
from latentlab.store.arrays import pieces
from latentlab.store.contradictions import describe_contradiction
from latentlab.store.manifest import STORED_DTYPES, Manifest
from latentlab.store.opening import is_store
from latentlab.store.parts import Part, parts_of, sentence
from latentlab.store.places import places_at
from latentlab.store.reading import Store, open_store
from latentlab.store.shards import Shape

if TYPE_CHECKING:
    import torch

    from latentlab.loaders.base import LatentVAE

SPACES = ("raw", "model")
UNSTATED = "unstated"
_SHOWN = 1000
_NAMED = 5
"""Most files that an error names beside its own."""


@dataclass(frozen=True, eq=False, repr=False)
class ForeignLatents(Store):
    """The latents that another program wrote, in the order of their files.

    As a :class:`Store`, with the parts of files in the place of shards.

    Parameters
    ----------
    parts : of all files that could be read
    faults : name → why a file, or what it holds, is left out, in one sentence; of latents that
        are not finite the first thousand, ``skipped`` counts all
    space : ``"raw"``, ``"model"`` or ``"unstated"``: what the numbers are
    vae : LatentVAE whose normalization raw latents get, or None
    """

    parts: tuple[Part, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    vae: LatentVAE | None = None

    @property
    def statement(self) -> str:
        """Return in a sentence what the numbers are, and how the latents lie in their files."""
        said = {
            "model": "model space",
            "raw": "raw: the VAE's own latents, not normalized",
            UNSTATED: "not stated: the numbers are taken as they are (--space raw or model)",
        }[self.manifest.space]
        layouts = Counter(part.form.describe() for part in self.parts)
        how = "; ".join(f"{layout}" for layout in layouts)
        return f"space {said}. Layout {how}."

    def finite(self, progress: Progress | None = None) -> ForeignLatents:
        """Return the same without latents that hold NaN or infinity, or cannot be read.

        One pass over all values.

        Raises
        ------
        FileError : none is left.
        """
        parts, faults, unlisted = [], dict(self.faults), self.skipped - len(self.faults)
        for number, part in enumerate(self.parts, 1):
            try:
                bad = frozenset(
                    start + row
                    for start, latents in part.blocks(64)
                    for row in (~latents.flatten(1).isfinite().all(1)).nonzero()[:, 0].tolist()
                )
            except FileError as error:
                faults[part.place.name] = sentence(part.place, error)
                continue
            new = sorted(bad - part.dropped)
            listed = new[: max(0, _SHOWN - len(faults))]
            unlisted += len(new) - len(listed)
            faults |= {part.name(row): "NaN or infinite values" for row in listed}
            parts.append(replace(part, dropped=bad))
            if progress:
                progress("checking the latents", number, len(self.parts))
        kept = [one for one in parts if len(one)]
        return _opened(self.folder, self.manifest, kept, faults, self.vae, unlisted)

    def bucket(self, shape: str | Shape) -> ForeignLatents:
        """Return the latents of one shape."""
        only = super().bucket(shape).only
        parts = [part for part in self.parts if part.form.shape == only]
        unlisted = self.skipped - len(self.faults)
        return _opened(self.folder, self.manifest, parts, self.faults, self.vae, unlisted)

    def __getitem__(self, number: Any) -> Any:
        """Return one latent by its number, or those of a slice."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        from bisect import bisect_right

        from latentlab.store.items import position_of

        position = position_of(number, len(self))
        ends = [*accumulate(self.counts)]
        shard = bisect_right(ends, position)
        part = self.parts[shard]
        row = part.kept[position - ends[shard] + self.counts[shard]]
        for start, latents in part.blocks(64):
            if start <= row < start + len(latents):
                return self._latent(part, row, latents[row - start])
        raise AssertionError

    def __iter__(self) -> Iterator[Latent]:
        """Yield every latent, one at a time, whatever their shapes."""
        for part in self.parts:
            for start, latents in part.blocks(64):
                for offset, values in enumerate(latents):
                    if start + offset not in part.dropped:
                        yield self._latent(part, start + offset, values)

    def _latent(self, part: Part, row: int, values: Tensor) -> Latent:
        record = {
            "model": {**self.manifest.model, "dtype": self.manifest.dtype},
            "input": {"name": part.name(row), "preprocessing": self.manifest.preprocessing},
        }
        name = PurePath(part.name(row)).stem
        return Latent(self.in_space(values[None])[0], self.spec, name=name, record=record)

    def in_space(self, latents: Tensor) -> Tensor:
        """Return latents (n, C, h, w) as float32, in model space where a model was given."""
        values = latents.float()
        return values if self.vae is None else self.vae.normalization.to_model(values)  # type: ignore[attr-defined]

    def lines_of(self, shard: int) -> Iterator[dict[str, Any]]:
        """Yield what is known about each latent of a part."""
        part = self.parts[shard]
        for row in part.kept:
            yield {**part.line(row), "sha256": "", "shard": shard, "row": row}

    def files(self) -> Iterator[Path]:
        """Yield the path of every file."""
        yield from dict.fromkeys(part.place.path for part in self.parts)

    @property
    def exact_dtype(self) -> torch.dtype | None:
        """Return the 16-bit dtype of all values as they count; None if it is another."""
        dtypes = {part.array.dtype for part in self.parts}
        return super().exact_dtype if self.vae is None and len(dtypes) == 1 else None

    def stored_of(self, shard: int, shape: Shape, rows: int) -> Iterator[Tensor]:
        """Yield the latents of one shape of a part: as stored, or normalized by a model.

        At most ``rows`` at a time.
        """
        part = self.parts[shard]
        if part.form.shape != shape:
            return
        for start, latents in part.blocks(rows):
            wanted = [row for row in range(len(latents)) if start + row not in part.dropped]
            if wanted:
                kept = latents if len(wanted) == len(latents) else latents[wanted]
                yield from pieces(kept if self.exact_dtype else self.in_space(kept), rows)


def open_latents(
    path: str | Path,
    *,
    key: str | None = None,
    layout: str | None = None,
    space: str | None = None,
    vae: LatentVAE | None = None,
    follow_links: bool = False,
) -> Store:
    """Return the latents that another program wrote, for reading; a store is opened as it is.

    ``.npy``, ``.npz`` (kohya's too), ``.pt``, ``.pth`` and ``.safetensors`` (LightningDiT's too),
    folders, tar files (``.tar.gz`` too) and zip files of these. Keys, shapes and dtypes are
    recognized by content. Files that cannot be read are left out and listed in ``faults``. Nothing
    but headers is read at first, and with ``vae`` a few latents: a warning says so where they are
    far from unit variance in its model space. Compressed tar files are unpacked into one unnamed
    file in the temporary folder (``TMPDIR``), and so are each compressed member of several arrays
    in a zip file and each ``.pt`` of more than 64 MB in an archive.

    Parameters
    ----------
    path : str or Path; a file, a folder with its subfolders, an archive, or a store
    key : str, optional; the array of each file that holds the latents
    layout : str, optional; how they lie in it: ``"chw"``, ``"nchw"``, ``"nhwc"``, ``"cthw"``,
        ``"ncthw"``, ``"ntchw"``, ``"packed"``, ``"packed=HxW"``, ``"sequence"``, ``"vectors"``, or
        ``"moments"`` where log-variances follow the means
    space : ``"raw"`` (a VAE's own latents) or ``"model"`` (what the diffusion model sees),
        optional; what the numbers are. Without it they are taken as they are.
    vae : LatentVAE, optional; the model that they belong to, whose normalization raw ones get
    follow_links : bool, whether links that lead out of the folder are followed

    Returns
    -------
    Store : (n, C, h, w) float32 in ``batches``, with ``space`` in its manifest

    Raises
    ------
    FileError : nothing can be read, or the path does not exist.
    UsageError : nothing can be read before an option says how; a model without ``space``.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> place = Path(tempfile.mkdtemp()) / "latents.npy"
    >>> np.save(place, np.zeros((5, 16, 8, 8), np.float16))
    >>> latents = open_latents(place, space="model")
    >>> len(latents), latents.shape, latents.manifest.space
    (5, (16, 8, 8), 'model')
    """
    if space not in (None, *SPACES):
        raise UsageError(f"--space {space}", " or ".join(SPACES), "choose one of these")
    if is_store(path):
        return open_store(path)
    listed = places_at(Path(path), follow_links=follow_links)
    parts, faults, first = parts_of(listed, key, layout)
    if not parts and first:
        raise _with_others(first, faults)
    if not parts:
        raise FileError(
            f"{path}, with no file of latents" + listed.left_out() + listed.first_fault(),
            "files in .npy, .npz, .pt, .pth or .safetensors",
            "name the folder that holds them",
        )
    parts = _of_one_model(parts, faults, vae)
    known = space or ("raw" if all(part.raw for part in parts) else None)
    if vae is not None and known is None:
        raise UsageError(
            f"-m {vae.spec.name} for latents that are raw or normalized already",
            "--space raw or --space model",
            "say which: trainers cache raw ones, pipelines return those of model space",
        )
    manifest = _manifest(parts, known, vae, Path(path))
    convert = vae if vae is not None and known == "raw" else None
    if convert is not None and not hasattr(convert, "normalization"):
        raise UsageError(
            f"raw latents for {convert.spec.name}, whose normalization is unknown",
            "a model that load_vae opened",
            "pass latents of model space",
        )
    if vae is not None and known and (why := describe_contradiction(parts, vae, known)):
        warnings.warn(why, stacklevel=2)
    return _opened(Path(path), manifest, parts, faults, convert)


def _with_others(error: LatentlabError, faults: Mapping[str, str]) -> LatentlabError:
    """Return the error of one file, with the names of the others of which none could be read."""
    got = error.got
    named = [name for name in faults if got.startswith(name) or got.endswith(f" in {name}")]
    own = max(named, key=len, default=None)
    others = [name for name in faults if name != own]
    if not others:
        return error
    names = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
    got = f"{got}, and no latents in {len(others):,} more ({names})"
    return type(error)(got, error.expected, error.advice)


def _of_one_model(
    parts: Sequence[Part], faults: dict[str, str], vae: LatentVAE | None
) -> list[Part]:
    """Return the parts with the model's channels, or those of most latents; note the others."""
    counts: Counter[int] = Counter()
    for part in parts:
        counts[part.form.shape[0]] += len(part)
    wanted = vae.spec.channels if vae else counts.most_common(1)[0][0]
    whose = vae.spec.name if vae else "most of the others"
    for part in parts:
        if part.form.shape[0] != wanted:
            name = part.place.name + ("" if part.alone else f":{part.array.name}")
            faults[name] = f"latents of {part.form.shape[0]} channels; {whose} has {wanted}"
    kept = [part for part in parts if part.form.shape[0] == wanted]
    if not kept:
        raise FileError(
            f"latents of {parts[0].form.shape[0]} channels in {parts[0].place.name}",
            f"{wanted} for {whose}",
            "pass the model that they belong to, or --layout",
        )
    return kept


def _manifest(
    parts: Sequence[Part], space: str | None, vae: LatentVAE | None, path: Path
) -> Manifest:
    dtypes = {part.array.dtype for part in parts}
    dtype = dtypes.pop() if len(dtypes) == 1 else "float32"
    stored = dtype if dtype in STORED_DTYPES and not (vae and space == "raw") else "float32"
    unknown = {"name": "unknown", "family": "unknown", "normalization": "unknown", "source": ""}
    model = {"name": vae.spec.name, **asdict(vae.origin)} if vae else unknown
    if space == "raw" and vae is None:
        model["normalization"] = "none applied: raw latents"
    return Manifest(
        model=model,
        spec=vae.spec if vae else _spec_of(parts),
        source="latents",
        size=None,
        preprocessing="latents of another program",
        dtype="float32",
        stored=stored,
        per_shard=256,
        batch=1,
        threads=None,
        pictures=max(1, sum(len(part) for part in parts)),
        versions=library_versions(),
        space="model" if vae and space == "raw" else space or UNSTATED,
        layouts=tuple(dict.fromkeys(part.form.describe() for part in parts)),
    )


def _spec_of(parts: Sequence[Part]) -> LatentSpec:
    """Return the spec of latents of an unknown model."""
    channels = parts[0].form.shape[0]
    tokens = {part.form.shape[2] for part in parts if part.form.layout in ("sequence", "vectors")}
    without_grid = all(part.form.layout in ("sequence", "vectors") for part in parts)
    return LatentSpec("unknown", channels, 1, tokens=max(tokens) if without_grid else 0)


def _opened(
    path: Path,
    manifest: Manifest,
    parts: Sequence[Part],
    faults: Mapping[str, str],
    vae: LatentVAE | None,
    unlisted: int = 0,
) -> ForeignLatents:
    """Return latents; so many are left out that ``faults`` does not list."""
    if not parts:
        name, why = next(iter(faults.items()))
        raise FileError(f"no latent in {path} ({name}: {why})", "at least one", "copy it again")
    shapes: Counter[Shape] = Counter()
    for part in parts:
        shapes[part.form.shape] += len(part)
    sizes = {part.place.name: part.place.size for part in parts}
    return ForeignLatents(
        path,
        manifest,
        dict(sorted(shapes.items())),
        len(faults) + unlisted,
        sum(sizes.values()),
        tuple(map(len, parts)),
        tuple(parts),
        faults,
        vae,
    )
