"""How far a decoder's Jacobian, and directions, keep to the axes of latent space.

A spectrum does not see a rotation of latent space; these numbers do. Each stands beside those of
the same space with its channels turned at random: without a difference, channels are as good as any
other basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentlab.latents import Progress
from latentlab.linalg.rotations import Turned, beside_rotations
from latentlab.pullback.products import DecoderMap


def channel_concentration(vectors: Tensor, *, seed: int = 0) -> Turned:
    """Return how far directions keep to single channels, beside rotations of channel space.

    The mean over directions of Σ_c e_c², with e_c the share of a direction's squared length in
    channel c: 1 for directions within one channel each, 1/C for those that use all C alike.

    Parameters
    ----------
    vectors : Tensor, (k, C, h, w)
    seed : int

    Examples
    --------
    >>> vectors = torch.zeros(1, 4, 2, 2)
    >>> vectors[0, 1] = 1
    >>> channel_concentration(vectors).value
    1.0
    """
    flat = vectors.double().flatten(2)
    outer = flat @ flat.mT  # (k, C, C)
    whole = outer.diagonal(dim1=1, dim2=2).sum(1).clamp_min(torch.finfo(outer.dtype).tiny)

    def measure(turn: Tensor) -> Tensor:
        energies = torch.einsum("ic,kcd,id->ki", turn, outer, turn) / whole[:, None]
        return energies.square().sum(1).mean()

    return beside_rotations(measure, vectors.shape[1], smaller=False, seed=seed)


@dataclass(frozen=True)
class DecoderAlignment:
    """How far JᵀJ is diagonal, seen in some cells of the latent.

    Parameters
    ----------
    cells : int, how many cells, chosen at random
    products : int, with the Jacobian and with its transpose
    off_diagonal : float, share of ‖JᵀJ‖² (Frobenius) off the diagonal, of the cells' columns
    between_cells : float, the part of that share between different cells
    within_cells : Turned, the share off the diagonal of a cell's own C×C block
    ima : Turned, Σ_c ln‖J_c‖ − ½ ln det JᵀJ of a cell's C columns, in nats, mean over cells: 0 if
        channels change the image in orthogonal ways, in which they are independent mechanisms
        (Gresele et al. 2021, 2106.05200)
    """

    cells: int
    products: int
    off_diagonal: float
    between_cells: float
    within_cells: Turned
    ima: Turned

    def facts(self) -> dict[str, Any]:
        """Return ``alignment.decoder`` of ``directions.json``."""
        turned = {"within_cells": self.within_cells.facts(), "ima": self.ima.facts()}
        return {**vars(self), **turned}


def decoder_alignment(
    decoder: DecoderMap, n_cells: int = 4, *, seed: int = 0, progress: Progress | None = None
) -> DecoderAlignment:
    """Return how far JᵀJ is diagonal in some cells, beside rotations of channel space.

    Takes 2 C products a cell, for C channels.

    Parameters
    ----------
    decoder : DecoderMap whose rows are whole latents, or regions of them
    n_cells : int, how many cells are looked at; all if there are fewer
    seed : int, of the choice of cells and of the rotations
    progress : called as ``progress("cells of the decoder", done, total)``

    Raises
    ------
    ZeroJacobianError : no direction in these cells changes the image.

    Examples
    --------
    >>> import latentlab
    >>> from latentlab.pullback import decoder_map
    >>> vae = latentlab.load_vae("linear")
    >>> latent = latentlab.encode(vae, "sample:flower", size=32)
    >>> found = decoder_alignment(decoder_map(vae, latent), 1)
    >>> round(found.off_diagonal, 6), round(found.ima.value, 6)
    (0.0, 0.0)
    """
    window = decoder.layout.window
    channels, places = decoder.layout.shape[0], window.height * window.width
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(places, generator=generator)[:n_cells].tolist()
    before = decoder.count.total
    columns = []
    for done, place in enumerate(chosen, 1):
        columns.append(_columns_of(decoder, place, channels, places))
        if progress:
            progress("cells of the decoder", done, len(chosen))
    # (cells, C, C): the block of each cell with itself.
    blocks = torch.stack([one[:, :, at] for one, at in zip(columns, chosen, strict=True)])
    whole = sum(float(one.square().sum()) for one in columns)
    if not whole:
        raise decoder.zero_jacobian()
    diagonal = float(blocks.diagonal(dim1=1, dim2=2).square().sum())
    return DecoderAlignment(
        cells=len(chosen),
        products=decoder.count.total - before,
        off_diagonal=1 - diagonal / whole,
        between_cells=1 - float(blocks.square().sum()) / whole,
        within_cells=off_diagonal_share(blocks, seed=seed),
        ima=ima_contrast(blocks, seed=seed),
    )


def off_diagonal_share(blocks: Tensor, *, seed: int = 0) -> Turned:
    """Return the share of ‖B‖² off the diagonal of blocks (n, C, C), beside rotations."""
    whole = blocks.square().sum().clamp_min(torch.finfo(blocks.dtype).tiny)

    def measure(turn: Tensor) -> Tensor:
        return 1 - _diagonals(blocks, turn).square().sum() / whole

    return beside_rotations(measure, blocks.shape[1], smaller=True, seed=seed)


def ima_contrast(blocks: Tensor, *, seed: int = 0) -> Turned:
    """Return ½ (Σ ln B_cc − ln det B), mean over blocks (n, C, C), beside rotations."""
    tiny = torch.finfo(blocks.dtype).eps * float(blocks.diagonal(dim1=1, dim2=2).amax())
    volume = torch.linalg.eigvalsh(blocks).clamp_min(tiny).log().sum(1)

    def measure(turn: Tensor) -> Tensor:
        lengths = _diagonals(blocks, turn).clamp_min(tiny).log().sum(1)
        contrast: Tensor = (lengths - volume).mean() / 2
        return contrast

    return beside_rotations(measure, blocks.shape[1], smaller=True, seed=seed)


def _diagonals(blocks: Tensor, turn: Tensor) -> Tensor:
    diagonals: Tensor = torch.einsum("ic,ncd,id->ni", turn, blocks, turn)
    return diagonals


def _columns_of(decoder: DecoderMap, place: int, channels: int, places: int) -> Tensor:
    """Return the C columns of JᵀJ that belong to a cell, as (C, C, cells), float64."""
    columns = []
    for channel in range(channels):
        row = torch.zeros(channels, places)
        row[channel, place] = 1
        column = decoder.pull(decoder.push(row.view(1, -1)))[0]
        columns.append(column.double().view(channels, places))
    return torch.stack(columns)
