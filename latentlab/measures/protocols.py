"""Protocols: what is done to images before they are compared, as data."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from latentlab.arguments import unknown_argument
from latentlab.errors import FileError, UsageError
from latentlab.images.colors import to_yiq
from latentlab.images.framing import CROPS, FILTERS, Framing
from latentlab.machine.parsing import parse_toml

_NARROWEST = 0.1
"""Standard deviation of a Gaussian window, in pixels, that still has weights."""
_LARGEST = 2**31 - 1
"""Largest size, window and seed."""
DEFAULT_PROTOCOL = "latentlab-256"
_CHOICES = {
    "crop": tuple(CROPS),
    "filter": FILTERS,
    "latent": ("mean", "sample"),
    "rounding": ("round", "truncate", "none"),
    "psnr": ("image", "pooled"),
    "ssim_window": ("gaussian", "uniform"),
    "color": ("rgb", "luma"),
}


@dataclass(frozen=True)
class Protocol:
    """Everything that PSNR and SSIM of the same weights on the same images depend on.

    Parameters
    ----------
    name : str
    crop : ``"square"``, ``"shorter"``, ``"adm"`` or ``"none"``; see ``images.framing.CROPS``
    filter : Pillow's filter for resizing
    size : int, side in pixels; 0 without resizing
    latent : ``"mean"`` of the posterior, or a ``"sample"`` of it
    seed : int, of the samples
    clamp : bool, whether reconstructions are clamped to the range of images
    rounding : ``"round"`` or ``"truncate"`` to 8 bits, or ``"none"``
    psnr : ``"image"``, the mean of the images' PSNR, or ``"pooled"``, that of the mean error
    data_range : float, the peak, in ranges from black to white. 1 is right.
    ssim_window : ``"gaussian"`` or ``"uniform"``
    ssim_side : int, odd, pixels of the window's side
    ssim_sigma : float, standard deviation of the Gaussian window in pixels
    color : ``"rgb"``, or ``"luma"`` (Rec. 601, full range) of both images
    note : str, where the protocol comes from

    Raises
    ------
    UsageError : a value that is none of the choices.

    Examples
    --------
    >>> Protocol("mine", size=128, rounding="none").describe()
    'mine: square, lanczos 128×128, posterior mean, clamped, not rounded, rgb, PSNR by image, SSIM \
gaussian 11 (σ 1.5)'
    """

    name: str
    crop: str = "square"
    filter: str = "lanczos"
    size: int = 256
    latent: str = "mean"
    seed: int = 0
    clamp: bool = True
    rounding: str = "round"
    psnr: str = "image"
    data_range: float = 1.0
    ssim_window: str = "gaussian"
    ssim_side: int = 11
    ssim_sigma: float = 1.5
    color: str = "rgb"
    note: str = ""

    def __post_init__(self) -> None:
        for field, known in _CHOICES.items():
            value = getattr(self, field)
            if value not in known:
                choices = ", ".join(known)
                got = f"{field} = {value!r} in the protocol {self.name}"
                raise UsageError(got, f"one of {choices}", "correct the protocol")
        if self.ssim_side < 3 or self.ssim_side % 2 == 0 or self.seed < 0:
            raise UsageError(
                f"ssim_side = {self.ssim_side} and seed = {self.seed} in the protocol {self.name}",
                "an odd window of at least 3 pixels and a seed of at least 0",
                "correct the protocol",
            )
        if not (0 < self.data_range < math.inf and _NARROWEST <= self.ssim_sigma < math.inf):
            raise UsageError(
                f"data_range = {self.data_range:g} and ssim_sigma = {self.ssim_sigma:g} in the "
                f"protocol {self.name}",
                f"a positive range and a window's deviation of at least {_NARROWEST:g} pixels",
                "correct the protocol",
            )
        if max(self.size, self.seed, self.ssim_side) > _LARGEST:
            raise UsageError(
                f"a number above {_LARGEST:,} in the protocol {self.name}",
                "sizes in pixels and a seed",
                "correct the protocol",
            )
        self.framing(1)

    def framing(self, multiple: int) -> Framing:
        """Return how images are cropped and resized for a model that takes such multiples.

        Raises
        ------
        UsageError : the size is no multiple.
        """
        if self.size % multiple:
            near = max(1, round(self.size / multiple)) * multiple
            raise UsageError(
                f"the protocol {self.name} of {self.size} pixels",
                f"a multiple of {multiple}, which the model takes",
                f"pass --size {near}, which changes the protocol",
            )
        return Framing(self.crop, self.filter, self.size, multiple)

    def sized(self, size: int) -> Protocol:
        """Return this protocol at another size, with another name."""
        crop = "square" if self.crop == "none" else self.crop
        return replace(self, name=f"{self.name}, {size} px", size=size, crop=crop)

    def to_unit(self, images: Tensor) -> Tensor:
        """Return images (n, 3, H, W) in [−1, 1] as they are compared: (n, 1 or 3, H, W), float64.

        Black is 0 and white is 1.
        """
        unit = (images.double() + 1) / 2
        unit = unit.clamp(0, 1) if self.clamp else unit
        if self.rounding == "round":
            unit = (unit * 255).round() / 255
        elif self.rounding == "truncate":
            # A level that float32 carries as 99.99999 is level 100.
            unit = (unit * 255 + 1e-4).floor() / 255
        return to_yiq(unit)[:, :1] if self.color == "luma" else unit

    def facts(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return asdict(self)

    def describe(self) -> str:
        """Return all of it in one line."""
        size = f"{self.filter} {self.size}×{self.size}" if self.size else "no resize"
        latent = "posterior mean" if self.latent == "mean" else f"sample with seed {self.seed}"
        rounding = {"round": "rounded to 8 bits", "truncate": "truncated to 8 bits"}
        sigma = f" (σ {self.ssim_sigma:g})" if self.ssim_window == "gaussian" else ""
        words = [
            *(f"{self.crop}, {size}", latent, "clamped" if self.clamp else "not clamped"),
            *(rounding.get(self.rounding, "not rounded"), self.color),
            "PSNR by image" if self.psnr == "image" else "PSNR of the pooled error",
            f"SSIM {self.ssim_window} {self.ssim_side}{sigma}",
        ]
        if self.data_range != 1:
            words.append(f"range {self.data_range:g}")
        return f"{self.name}: {', '.join(words)}"


PROTOCOLS = {
    one.name: one
    for one in (
        Protocol("latentlab-256", note="what latentlab does to images elsewhere, at 256 pixels"),
        Protocol(
            "imagenet-256-adm",
            crop="adm",
            filter="bicubic",
            note="the crop of ADM's ImageNet reference batches; the rest as published tables "
            "of reconstruction mostly do",
        ),
        Protocol(
            "coco-256",
            crop="shorter",
            filter="bilinear",
            latent="sample",
            rounding="none",
            psnr="pooled",
            ssim_window="uniform",
            ssim_side=7,
            note="torchvision's Resize and CenterCrop, a sample of the posterior, float images "
            "and scikit-image's defaults. Cards with figures on COCO state less than this.",
        ),
        Protocol("native", crop="none", size=0, note="images keep their size"),
    )
}
"""Name → protocol."""


def find_protocol(name: str | Protocol) -> Protocol:
    """Return a protocol by its name, or from a TOML file with its fields.

    A file may begin with ``base = "latentlab-256"``, or another name, and keeps its other fields.

    Raises
    ------
    UsageError : an unknown name or field, or an invalid value.
    FileError : a file that cannot be read or is no TOML.

    Examples
    --------
    >>> find_protocol("native").size
    0
    """
    if isinstance(name, Protocol):
        return name
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if not name.endswith(".toml"):
        choices = ", ".join(PROTOCOLS)
        raise UsageError(
            f"protocol {name!r}", f"one of {choices}, or a .toml file", "choose one of them"
        )
    return _read_protocol(Path(name))


def _read_protocol(path: Path) -> Protocol:
    try:
        given = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        advice = "check the path and its syntax"
        raise FileError(f"{path} ({error})", "a TOML file with a protocol", advice) from error
    base = given.pop("base", DEFAULT_PROTOCOL)
    if not isinstance(base, str) or base not in PROTOCOLS:
        raise UsageError(
            f"base = {base!r} in {path}", f"one of {', '.join(PROTOCOLS)}", "name one of them"
        )
    known = {field.name: field.type for field in fields(Protocol)}
    for field, value in [*given.items()]:
        if field not in known:
            raise unknown_argument(field, known, f"{field!r} in {path}")
        given[field] = _checked(value, str(known[field]), field, path)
    return replace(PROTOCOLS[base], **{"name": path.stem, "note": "", **given})


def _checked(value: Any, kind: str, field: str, path: Path) -> Any:
    """Return a value of a file; raise UsageError if it is not of its field's type."""
    kinds = {"int": int, "bool": bool, "float": int | float}.get(kind, str)
    is_right = isinstance(value, kinds) and isinstance(value, bool) == (kind == "bool")
    # TOML has integers that are no floats.
    is_huge = kind == "float" and isinstance(value, int) and abs(value) > sys.float_info.max
    if is_right and not is_huge:
        return value
    got = f"{field} = {value!r} in {path}"
    raise UsageError(got, f"a value of type {kind}", "correct it")
