"""Latents of flat colors, and the affine maps between them and RGB.

Latent Color Subspace (2603.12261): the spatial means of flat colors' latents lie near a subspace of
three dimensions. Shares are those of the total variance of these means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.encoding.encoder import encode_batch
from latentlab.errors import UsageError
from latentlab.figures.tables import frame_of, html_block, html_image
from latentlab.loaders.base import LatentVAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 8
_FOLDS = 5
_DIMENSIONS = 3
"""Further components hold a fraction of a percent. A map that uses them fits flat colors better,
but not photos, in which they carry detail (preview R² of mini −2 instead of .99)."""
_CUTOFF = 1e-4
"""Directions whose deviation is below this share of the largest are rounding, not color."""
_BATCH = 8


@dataclass(frozen=True, eq=False, repr=False)
class Palette:
    """The color subspace of a model.

    Parameters
    ----------
    colors : Tensor, (n, 3), float64, RGB in [−1, 1]
    latents : Tensor, (n, C), float64, spatial mean of the latent of an image of each color
    explained_variance_ratio : Tensor, (C,), of the latents' total variance
    components : Tensor, (C, C), rows are principal components of the latents
    rgb_factors, rgb_bias : Tensor, (C, 3) and (3,); RGB = latent @ rgb_factors + rgb_bias
    r2, r2_held_out : float, of RGB from latents: of the fit, and of colors that it has not seen
    rank : int, components of the latents that the map uses, at most 3
    """

    colors: Tensor
    latents: Tensor
    explained_variance_ratio: Tensor
    components: Tensor
    rgb_factors: Tensor
    rgb_bias: Tensor
    r2: float
    r2_held_out: float
    rank: int

    def preview(self, latents: Tensor) -> Tensor:
        """Return RGB images (n, 3, h, w) in [−1, 1], not clamped, of latents (n, C, h, w)."""
        rgb = torch.einsum("nchw,ck->nkhw", latents.double(), self.rgb_factors)
        return rgb + self.rgb_bias[:, None, None]

    def share_of(self, latent: Tensor, n_components: int = 3) -> float:
        """Return the share of the variance of a latent's cells (C, h, w) in the color subspace."""
        cells = latent.double().flatten(1)
        cells = cells - cells.mean(1, keepdim=True)
        inside = self.components[:n_components] @ cells
        return float(inside.square().sum() / cells.square().sum().clamp_min(1e-300))

    def facts(self) -> dict[str, Any]:
        """Return the palette, JSON-ready."""
        return {
            "n_colors": len(self.colors),
            "explained_variance_ratio": self.explained_variance_ratio.tolist(),
            "share_of_three": float(self.explained_variance_ratio[:3].sum()),
            "rgb_factors": self.rgb_factors.tolist(),
            "rgb_bias": self.rgb_bias.tolist(),
            "r2": self.r2,
            "r2_held_out": self.r2_held_out,
            "rank": self.rank,
        }

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each flat color.

        ``red``, ``green`` and ``blue`` in [−1, 1], and ``channel_0``, … in model-space units.
        """
        names = ["red", "green", "blue", *(f"channel_{k}" for k in range(self.latents.shape[1]))]
        rows = torch.cat([self.colors, self.latents], 1).tolist()
        return frame_of([dict(zip(names, row, strict=True)) for row in rows])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the flat colors along the first two components of their latents; return the axes."""
        from latentlab.figures.scatter import draw_scatter

        scores = (self.latents - self.latents.mean(0)) @ self.components[:2].T
        shares = self.explained_variance_ratio[:2].tolist()
        return draw_scatter(
            scores,
            labels=(f"PC 1, {shares[0]:.1%} of the variance", f"PC 2, {shares[1]:.1%}"),
            colors=(self.colors + 1) / 2,
            title=self._title,
            ax=ax,
        )

    @property
    def _title(self) -> str:
        return f"latents of {len(self.colors):,} flat colors, {self.latents.shape[1]} channels"

    def __repr__(self) -> str:
        return f"Palette({self._title}, R² of RGB {self.r2_held_out:.4f} on held-out colors)"

    def _repr_html_(self) -> str:
        from latentlab.figures.canvas import new_figure, png_bytes

        figure = new_figure()
        self.plot(figure.add_subplot())
        said = (
            f"The first three components hold {float(self.explained_variance_ratio[:3].sum()):.2%} "
            f"of the variance. RGB by an affine map: R² {self.r2_held_out:.4f} on held-out colors."
        )
        return html_block("", html_image(png_bytes(figure), self._title), [said])


def find_palette(vae: LatentVAE, levels: int = 6, *, seed: int = 0) -> Palette:
    """Return the color subspace of a model from images of levels³ flat colors.

    Parameters
    ----------
    vae : LatentVAE
    levels : int, values of each of red, green and blue, evenly spaced over the whole range
    seed : int, of the five folds in which colors are held out

    Raises
    ------
    UsageError : fewer than 3 levels or more than 16.

    Examples
    --------
    >>> import latentlab
    >>> palette = find_palette(latentlab.load_vae("linear"), levels=3)
    >>> round(palette.r2_held_out, 6), palette.rank
    (1.0, 3)
    """
    if not 3 <= levels <= 16:
        raise UsageError(f"--levels {levels}", "a number from 3 to 16", "pass --levels 6")
    steps = torch.linspace(-1, 1, levels, dtype=torch.float64)
    colors = torch.cartesian_prod(steps, steps, steps)
    side = vae.only_side or vae.spec.multiple * max(
        1, -(-_CELLS * vae.spec.stride // vae.spec.multiple)
    )
    means = []
    for batch in torch.split(colors, _BATCH):
        images = batch.float()[:, :, None, None].expand(-1, -1, side, side).contiguous()
        means.append(encode_batch(vae, images).mean.double().mean((2, 3)))
    latents = torch.cat(means)
    centered = latents - latents.mean(0)
    variances, vectors = torch.linalg.eigh(centered.T @ centered)
    order = torch.randperm(len(colors), generator=torch.Generator().manual_seed(seed))
    guessed = torch.empty_like(colors)
    for fold in range(_FOLDS):
        out = order[fold::_FOLDS]
        seen = torch.ones(len(colors), dtype=torch.bool)
        seen[out] = False
        factors, bias, _ = _fit(latents[seen], colors[seen])
        guessed[out] = latents[out] @ factors + bias
    factors, bias, rank = _fit(latents, colors)
    return Palette(
        colors,
        latents,
        variances.flip(0).clamp_min(0) / variances.sum(),
        vectors.flip(1).T.contiguous(),
        factors,
        bias,
        r2_of(colors, latents @ factors + bias),
        r2_of(colors, guessed),
        rank,
    )


def _fit(latents: Tensor, colors: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return the least-squares map from the leading components, its bias, and their number."""
    mean, middle = latents.mean(0), colors.mean(0)
    left, spread, right = torch.linalg.svd(latents - mean, full_matrices=False)
    rank = min(_DIMENSIONS, int((spread > _CUTOFF * spread[0]).sum()))
    scaled = left[:, :rank].T @ (colors - middle) / spread[:rank, None]
    factors = right[:rank].T @ scaled
    return factors, middle - mean @ factors, rank


def r2_of(truth: Tensor, guess: Tensor) -> float:
    """Return R² of colors (n, 3), all channels together; NaN where they do not vary."""
    total = (truth - truth.mean(0)).square().sum()
    return float(1 - (truth - guess).square().sum() / total)
