"""What latents look like, how they become feature vectors, and how a direction becomes a latent.

A layout is the pair *flatten* and *lift*. PCA sees rows of length ``n_features``. Only the layout
knows whether a row was a whole latent, one token or a k×k patch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from latentlab.errors import FileError, ShapeError, UsageError
from latentlab.machine.parsing import WRONG_FACTS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LatentSpec:
    """What the latents of one model look like.

    Parameters
    ----------
    name : str
        The model's name in titles and folders, such as ``"taef2"``.
    channels : int
        Latent channels C.
    stride : int
        An image of H×W pixels has H/stride × W/stride latent cells.
    multiple : int, optional
        Sides of an image must be multiples of this many pixels; 0 means ``stride``.
    has_logvar : bool, optional
        Whether the encoder returns a log-variance besides the mean.
    tokens : int, optional
        Tokens n of latents (C, 1, n) without a grid, such as TiTok's; 1 for vectors. ``stride``
        is left out then. 0 for latents with a grid.
    side : int, optional
        Side in pixels of the only images of a model without a grid; 0 if unknown.

    Examples
    --------
    >>> LatentSpec("titok", 12, tokens=32, side=256).image_size((1, 32))
    (256, 256)
    >>> LatentSpec("flux1", 16, 8).image_size((64, 48))
    (512, 384)
    """

    name: str
    channels: int
    stride: int = 0
    multiple: int = 0
    has_logvar: bool = False
    tokens: int = field(default=0, repr=False)
    side: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.tokens > 0 and self.side >= 0:
            object.__setattr__(self, "stride", self.side or 1)
        if min(self.channels, self.stride) < 1 or self.multiple % self.stride:
            raise UsageError(
                f"{self.channels} channels, stride {self.stride} and multiple {self.multiple}",
                "at least 1 channel and pixel, and a multiple of the stride",
                "correct the LatentSpec",
            )
        if self.multiple == 0:
            object.__setattr__(self, "multiple", self.stride)

    @property
    def has_grid(self) -> bool:
        """Return whether latents have a grid of cells, each above a part of the image."""
        return not self.tokens

    def image_size(self, cells: Sequence[int]) -> tuple[int, int]:
        """Return (height, width) in pixels of the image of a latent (C, h, w), from (h, w)."""
        if self.tokens:
            return self.side or 1, self.side or 1
        height, width = cells
        return height * self.stride, width * self.stride

    def latent_size(self, pixels: Sequence[int]) -> tuple[int, int]:
        """Return (h, w) of the latent of an image, from its (height, width) in pixels."""
        if self.tokens:
            return 1, self.tokens
        height, width = pixels
        return height // self.stride, width // self.stride


@dataclass(frozen=True)
class Window:
    """A rectangle of latent cells: rows ``top:top+height``, columns ``left:left+width``."""

    top: int
    left: int
    height: int
    width: int

    def crop(self, latents: Tensor) -> Tensor:
        """Return the window's part of latents (..., h, w), as a view (..., height, width)."""
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        return latents[..., rows, columns]

    def scaled(self, stride: int) -> Window:
        """Return the same part of the image, in pixels."""
        return Window(*(stride * side for side in (self.top, self.left, self.height, self.width)))


@dataclass(frozen=True)
class Layout(ABC):
    """One way to turn latents of one shape into feature vectors.

    Parameters
    ----------
    shape : (C, h, w) of the latents
    window : the part of the latents that is analyzed; lifted directions are zero outside it
    """

    shape: tuple[int, int, int]
    window: Window

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        _, height, width = self.shape
        bottom = self.window.top + self.window.height
        right = self.window.left + self.window.width
        inside = min(self.window.top, self.window.left) >= 0 and bottom <= height and right <= width
        if not inside or min(self.window.height, self.window.width) < 1:
            raise ShapeError(
                f"{self.window} on latents of {height}×{width} cells",
                "a window of at least one cell inside the latent",
                "choose a region inside the image",
            )

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Return the length of one feature vector."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Return (rows, columns) of the positions that one latent's feature vectors come from.

        None if a latent is a single feature vector.
        """
        return None

    @abstractmethod
    def flatten(self, latents: Tensor) -> Tensor:
        """Return the feature vectors (n, n_features) of latents (B, C, h, w)."""

    @abstractmethod
    def _spread(self, vector: Tensor) -> Tensor:
        """Return a feature vector (n_features,) spread over the window (C, height, width)."""

    def rows_of(self, latents: Tensor) -> Tensor:
        """Return the feature vectors (n, n_features) of latents (B, C, h, w) of this shape.

        Raises
        ------
        ShapeError : latents of another shape.
        """
        if tuple(latents.shape[1:]) != self.shape:
            raise ShapeError(
                f"latents of shape {tuple(latents.shape)}",
                f"(n, {', '.join(map(str, self.shape))})",
                "encode images with the model and size of those that were fitted",
            )
        return self.flatten(latents)

    def lift(self, direction: Tensor) -> Tensor:
        """Return a direction (n_features,) as a change (C, h, w) of the whole latent.

        Raises
        ------
        ShapeError : the direction's length is not ``n_features``.
        """
        if tuple(direction.shape) != (self.n_features,):
            raise ShapeError(
                f"a direction of shape {tuple(direction.shape)}",
                f"({self.n_features},) for {self.kind} of {self.shape}",
                "pass one row of the components",
            )
        lifted = direction.new_zeros(self.shape)
        self.window.crop(lifted).copy_(self._spread(direction))
        return lifted

    def describe(self) -> dict[str, Any]:
        """Return the layout as JSON-ready facts, which :func:`layout_from` reads back."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class WholeLayout(Layout):
    """One row for each latent: all channels and cells of the window.

    Examples
    --------
    >>> import torch
    >>> layout = WholeLayout((4, 8, 8), Window(0, 0, 8, 8))
    >>> rows = layout.flatten(torch.randn(5, 4, 8, 8))
    >>> rows.shape, layout.lift(rows[0]).shape
    (torch.Size([5, 256]), torch.Size([4, 8, 8]))
    """

    kind: ClassVar[str] = "whole"

    @property
    def n_features(self) -> int:
        return self.shape[0] * self.window.height * self.window.width

    def flatten(self, latents: Tensor) -> Tensor:
        return self.window.crop(latents).flatten(1)

    def fields(self, rows: Tensor) -> Tensor:
        """Return rows (n, n_features) as fields over the window (n, C, height, width)."""
        return rows.reshape(-1, self.shape[0], self.window.height, self.window.width)

    def _spread(self, vector: Tensor) -> Tensor:
        return vector.view(self.shape[0], self.window.height, self.window.width)


@dataclass(frozen=True)
class TokenLayout(Layout):
    """One row of C numbers for each cell; a lifted direction moves all cells equally."""

    kind: ClassVar[str] = "tokens"

    @property
    def n_features(self) -> int:
        return self.shape[0]

    @property
    def grid(self) -> tuple[int, int]:
        return self.window.height, self.window.width

    def flatten(self, latents: Tensor) -> Tensor:
        return self.window.crop(latents).movedim(1, -1).reshape(-1, self.shape[0])

    def _spread(self, vector: Tensor) -> Tensor:
        return vector[:, None, None].expand(-1, self.window.height, self.window.width)


@dataclass(frozen=True)
class PatchLayout(Layout):
    """One row for each k×k patch of cells (all positions); a lifted direction tiles the window.

    Parameters
    ----------
    patch : int, side k of a patch in latent cells
    """

    patch: int = 2

    kind: ClassVar[str] = "patches"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.patch <= min(self.window.height, self.window.width):
            raise ShapeError(
                f"patches of {self.patch}×{self.patch} cells",
                f"a side of 1 to {min(self.window.height, self.window.width)}",
                "lower the patch side or enlarge the image or region",
            )

    @property
    def n_features(self) -> int:
        return self.shape[0] * self.patch**2

    @property
    def grid(self) -> tuple[int, int]:
        return self.window.height - self.patch + 1, self.window.width - self.patch + 1

    def flatten(self, latents: Tensor) -> Tensor:
        windows = self.window.crop(latents).unfold(2, self.patch, 1).unfold(3, self.patch, 1)
        return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, self.n_features)

    def _spread(self, vector: Tensor) -> Tensor:
        tile = vector.view(self.shape[0], self.patch, self.patch)
        down = -(-self.window.height // self.patch)
        across = -(-self.window.width // self.patch)
        return tile.repeat(1, down, across)[:, : self.window.height, : self.window.width]


LAYOUTS: dict[str, type[Layout]] = {
    layout.kind: layout for layout in (WholeLayout, TokenLayout, PatchLayout)
}


def layout_from(facts: Mapping[str, Any]) -> Layout:
    """Return the layout that :meth:`Layout.describe` described.

    Raises
    ------
    FileError : the facts name no known layout or lack a field.
    """
    fields = dict(facts)
    try:
        layout = LAYOUTS[fields.pop("kind")]
        window = Window(**fields.pop("window"))
        channels, height, width = fields.pop("shape")
        return layout((channels, height, width), window, **fields)
    except WRONG_FACTS as error:
        raise FileError(
            f"a layout description that does not fit ({error!r})",
            f"one of {', '.join(LAYOUTS)} with shape and window",
            "run `latentlab pca` again",
        ) from error
