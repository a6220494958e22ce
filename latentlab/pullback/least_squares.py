"""The small change of a latent that produces a given change of the image."""

from __future__ import annotations

import torch
from torch import Tensor

from latentlab.pullback.products import DecoderMap


def row_for_change(
    decoder: DecoderMap, change: Tensor, *, damping: float = 0.0, steps: int = 4
) -> Tensor:
    """Return a row v (D,), float64, that approximately minimizes ‖Jv − change‖² + damping ‖v‖².

    A few steps of conjugate gradients from 0, with two products each after one product for the
    start. They first reach the parts of the change to which the decoder responds most.

    Parameters
    ----------
    decoder : DecoderMap
    change : Tensor, (…), of the features
    damping : float, at least 0; directions whose squared gain is below it are hardly used
    steps : int

    Raises
    ------
    ShapeError, ZeroJacobianError, NonFiniteError, MemoryLimitError : as for
        :meth:`DecoderMap.push`.

    Examples
    --------
    >>> import latentlab
    >>> from latentlab.pullback import decoder_map
    >>> vae = latentlab.load_vae("linear")
    >>> around = decoder_map(vae, latentlab.encode(vae, "sample:flower", size=64))
    >>> row = torch.eye(around.n_features)[3]
    >>> torch.allclose(row_for_change(around, around.push(row[None])[0]).float(), row, atol=1e-5)
    True
    """
    missing = decoder.pull(change[None])[0].double()
    found, search = torch.zeros_like(missing), missing.clone()
    for _ in range(steps):
        energy = float(missing @ missing)
        image = decoder.pull(decoder.push(search[None].float()))[0].double() + damping * search
        curvature = float(search @ image)
        if not curvature > 0:
            break
        length = energy / curvature
        found = found + length * search
        missing = missing - length * image
        search = missing + float(missing @ missing) / energy * search
    return found
