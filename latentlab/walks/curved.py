"""Walks that follow a direction as it turns: the local frame is found again at every step.

A straight walk keeps the direction of its start. Here each step follows the local counterpart of
the previous direction. For one of the directions that change the image most, the counterpart is
its projection onto the span of the directions that do so at the new place. The projection keeps
the orientation, even where two singular values cross and their vectors swap. For any other
direction, the counterpart is the one that makes the same change of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latentlab.components.pca import PCA
from latentlab.errors import UsageError
from latentlab.latents import Directions, Latent, Progress
from latentlab.layouts import Layout, WholeLayout
from latentlab.linalg.subspaces import grassmann_distance
from latentlab.loaders.base import LatentVAE
from latentlab.pullback import DecoderMap, SingularDirections, decoder_map, top_singular
from latentlab.pullback.features import Features
from latentlab.pullback.least_squares import row_for_change
from latentlab.walks.traversal import Traversal, decode_paths, plan_walk, traversal_title

FRAME = 4
STEP_PRODUCTS = 24
_TOLERANCE = 0.03
_IN_FRAME = 0.9


@dataclass(frozen=True, eq=False, repr=False)
class CurvedPath:
    """Latents along one direction that turns with the decoder.

    Parameters
    ----------
    latents : Tensor, (steps, C, h, w)
    turning : Tensor, (steps,), radians; Grassmann distance of the frame at each latent from that
        at its neighbor on the way to the center, 0 at the center itself
    held : Tensor, (steps,), up to 1; cosine of the direction at each latent with the one it
        follows, 1 where it does not turn; at the center, the norm of the direction's projection
        onto the frame
    gains : Tensor, (steps,); change of the features for one unit along the direction there
    products : int, how many products with Jacobians it took
    """

    latents: Tensor
    turning: Tensor
    held: Tensor
    gains: Tensor
    products: int

    def __repr__(self) -> str:
        turned = float(self.turning.sum())
        return f"CurvedPath({len(self.latents)} latents, {turned:.2f} rad turned)"


@dataclass(frozen=True, eq=False, repr=False)
class CurvedTraversal(Traversal):
    """A traversal along curved paths; see :class:`latentlab.walks.traversal.Traversal`.

    Parameters
    ----------
    curves : one CurvedPath a direction
    """

    curves: tuple[CurvedPath, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the contents of ``traversal.json``, with turning, cosines and gains."""
        facts = super().summary()
        for component, curve in zip(facts["components"], self.curves, strict=True):
            component["turning"] = curve.turning.tolist()
            component["held"] = curve.held.tolist()
            component["gains"] = curve.gains.tolist()
        products = sum(curve.products for curve in self.curves)
        return {**facts, "curved": True, "frame": FRAME, "products": products}


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a walk has come to: a latent, its frame, and the way on as a row of the layout."""

    values: Tensor
    frame: SingularDirections
    row: Tensor
    gain: float
    turning: float
    held: float


def traverse_curved(
    vae: LatentVAE,
    latent: Latent,
    directions: PCA | Directions,
    *,
    layout: Layout | None = None,
    features: str | Features = "identity",
    n_components: int = 5,
    span: float = 3.0,
    steps: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> CurvedTraversal:
    """Return the images along directions that turn with the decoder, with scores and turning.

    Like :func:`latentlab.traverse`, with steps of the same length, but each step follows the local
    counterpart of direction k; see :func:`follow`.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent, where the walk passes at α = 0
    directions : PCA of a neighborhood, or Directions
    layout : WholeLayout, optional; by default that of the directions, or whole latents
    features : in which change is measured, as for :func:`latentlab.pullback.decoder_map`
    n_components, span, steps : as for :func:`latentlab.traverse`
    seed : int
    progress : called as ``progress(what, done, total)``

    Raises
    ------
    UsageError : a layout of tokens or patches, or a frame that turns away from its direction.
    ShapeError, NonFiniteError, MemoryLimitError : as for :func:`latentlab.traverse`.
    ZeroJacobianError : the decoder does not respond to its latent somewhere along the walk.
    """
    found, alphas = plan_walk(latent, directions, n_components, span, steps)
    layout = layout or directions.sampling.layout
    center = decoder_map(vae, latent, layout=layout, features=features)
    check_whole(center.layout)
    frame = top_singular(center, min(FRAME, center.n_features), seed=seed, progress=progress)
    curves = []
    for k in range(n_components):
        step = float(found.step_lengths[k])
        curves.append(follow(center, found.vectors[k], step * alphas, frame=frame, seed=seed))
        if progress:
            progress("following", k + 1, n_components)
    latents = [curve.latents for curve in curves]
    paths, decodes = decode_paths(vae, latents, found, alphas, progress=progress)
    title = f"{traversal_title(latent, found)}, along curved paths"
    unit = found.step_unit
    return CurvedTraversal(paths, alphas, decodes, title, unit, latent.record, tuple(curves))


def follow(
    center: DecoderMap,
    direction: Tensor,
    offsets: Tensor,
    *,
    frame: SingularDirections | None = None,
    seed: int = 0,
) -> CurvedPath:
    """Return the latents at these distances along a direction that turns with the decoder.

    From the center outwards, each step goes straight along the current direction; then the frame,
    the span of the directions that change the image most, is found again in at most 24 products
    from the last one. A direction of the frame is projected onto the new frame. That would turn
    any other direction into something else, so it continues as the direction that makes the same
    change of the image at the new place (damped least squares, in 11 products).

    Parameters
    ----------
    center : DecoderMap in a layout of whole latents, maybe of a region
    direction : Tensor, (C, h, w); its length is ignored
    offsets : Tensor, (steps,), ascending; distances from the center in model-space units
    frame : SingularDirections at the center, if known; by default the first 4
    seed : int

    Raises
    ------
    UsageError : a layout of tokens or patches, or a frame that turns away from its direction.
    ZeroJacobianError, NonFiniteError, MemoryLimitError : as for
        :func:`latentlab.pullback.top_singular`.
    """
    check_whole(center.layout)
    begun = center.count.total
    frame = frame or top_singular(center, min(FRAME, center.n_features), seed=seed)
    row = normalize(center.layout.flatten(direction[None])[0].double(), dim=0)
    held = float((frame.rows.double() @ row).norm())
    here = _Place(center.values, frame, row, _gain(center, row), 0.0, held)
    ahead = offsets[offsets > 0].tolist()
    behind = (-offsets[offsets < 0]).flip(0).tolist()
    onward = list(_outward(center, here, ahead, seed))
    return_way = list(_outward(center, replace(here, row=-row), behind, seed))
    middle = [here] * int((offsets == 0).sum())
    places = [*reversed(return_way), *middle, *onward]
    return CurvedPath(
        latents=torch.stack([place.values for place in places]),
        turning=torch.tensor([place.turning for place in places]),
        held=torch.tensor([place.held for place in places]),
        gains=torch.tensor([place.gain for place in places]),
        products=center.count.total - begun,
    )


def check_whole(layout: Layout) -> None:
    """Raise UsageError unless rows are whole latents: single cells or patches have no frame."""
    if not isinstance(layout, WholeLayout):
        raise UsageError(
            f"a curved walk along {layout.kind}",
            "directions of whole latents, as in the augment and gaussian neighborhoods",
            "choose another --neighborhood, or leave --curved out",
        )


def _outward(
    decoder: DecoderMap, place: _Place, distances: list[float], seed: int
) -> Iterator[_Place]:
    """Yield the places at ascending distances from the center."""
    reached = 0.0
    in_frame = place.held >= _IN_FRAME
    for distance in distances:
        move = (distance - reached) * decoder.layout.lift(place.row.float())
        there = decoder.moved_to(place.values + move)
        frame = top_singular(
            there,
            len(place.frame.values),
            tolerance=_TOLERANCE,
            max_products=STEP_PRODUCTS,
            check_steps=0,
            start=place.frame.rows,
            seed=seed,
        )
        row = _project(place.row, frame) if in_frame else _same_change(decoder, there, place.row)
        place = _Place(
            values=there.values,
            frame=frame,
            row=row,
            gain=_gain(there, row),
            turning=grassmann_distance(place.frame.rows, frame.rows),
            held=float(row @ place.row),
        )
        decoder, reached = there, distance
        yield place


def _project(row: Tensor, frame: SingularDirections) -> Tensor:
    """Return a unit row's projection onto the span of a frame, at length 1.

    Raises
    ------
    UsageError : the frame is orthogonal to the row.
    """
    basis = frame.rows.double()
    projected = (basis @ row) @ basis
    if not float(projected.norm()) > 0:
        raise UsageError(
            "a direction that is orthogonal to everything the decoder responds to",
            "a direction that changes the image all along the walk",
            "lower --span, or leave --curved out",
        )
    return normalize(projected, dim=0)


def _same_change(here: DecoderMap, there: DecoderMap, row: Tensor) -> Tensor:
    """Return the unit row that changes the image there as a unit row changes it here.

    It minimizes ‖J'd' − Jd‖² + g²‖d' − d‖², g = ‖Jd‖, by a few steps of conjugate gradients from
    d' = d. Parts to which the decoder responds more than to d follow the image; the rest stays.
    """
    wanted = here.push(row[None].float())[0]
    missing = wanted - there.push(row[None].float())[0]
    change = row_for_change(there, missing, damping=float(wanted.norm()) ** 2)
    return normalize(row + change, dim=0)


def _gain(decoder: DecoderMap, row: Tensor) -> float:
    return float(decoder.push(row[None].float()).norm())
