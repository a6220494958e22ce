"""How many directions a decoder responds to, from random probes and without eigenvectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.errors import UsageError
from latentlab.latents import Progress
from latentlab.pullback.products import DecoderMap

_NORMAL_95 = 1.96


@dataclass(frozen=True)
class Estimate:
    """A random estimate with its standard error.

    Parameters
    ----------
    value : float
    error : float, standard error
    """

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """Return the normal 95 % interval."""
        return self.value - _NORMAL_95 * self.error, self.value + _NORMAL_95 * self.error


@dataclass(frozen=True)
class Traces:
    """Sums over all singular values of the decoder, and what follows from them.

    Parameters
    ----------
    trace : Estimate of tr G = Σ s², G = JᵀJ
    trace_squared : Estimate of tr G² = Σ s⁴
    effective_dimension : Estimate of PR_G = (tr G)² / tr G², 1 to D: the number of directions with
        equal gains that would give the same ratio
    dimensions : int, D
    probes : int, number of random vectors
    """

    trace: Estimate
    trace_squared: Estimate
    effective_dimension: Estimate
    dimensions: int
    probes: int

    @property
    def random_gain(self) -> float:
        """Return √(tr G / D), the root mean square gain of a random direction of length 1."""
        return math.sqrt(self.trace.value / self.dimensions)


def estimate_traces(
    decoder: DecoderMap, *, probes: int = 64, seed: int = 0, progress: Progress | None = None
) -> Traces:
    """Return the traces of G = JᵀJ and G², and the decoder's effective dimension.

    tr G = E‖Jε‖² and tr G² = E‖Gε‖² over vectors ε of random signs (Hutchinson 1990). The bias of
    the ratio is removed, and its standard error estimated, by leaving out one probe at a time (the
    jackknife).

    Parameters
    ----------
    decoder : DecoderMap
    probes : int, at least 2; each takes two products
    seed : int
    progress : called as ``progress("probing", done, probes)``

    Raises
    ------
    UsageError : fewer than two probes.
    ZeroJacobianError, NonFiniteError, MemoryLimitError : as for
        :func:`latentlab.pullback.top_singular`.

    Examples
    --------
    >>> import latentlab
    >>> from latentlab.pullback import decoder_map
    >>> vae = latentlab.load_vae("linear")
    >>> latent = latentlab.encode(vae, "sample:flower", size=64)
    >>> traces = estimate_traces(decoder_map(vae, latent), probes=4)  # an orthonormal decoder
    >>> round(traces.effective_dimension.value), round(traces.random_gain, 4)
    (1024, 1.0)
    """
    if probes < 2:
        raise UsageError(f"probes={probes}", "at least 2", "pass, say, probes=64")
    generator = torch.Generator().manual_seed(seed)
    first: list[Tensor] = []
    second: list[Tensor] = []
    for begun in range(0, probes, decoder.copies):
        shape = min(decoder.copies, probes - begun), decoder.n_features
        signs = torch.randint(0, 2, shape, generator=generator).float() * 2 - 1
        pushed = decoder.push(signs)
        first.append(pushed.double().flatten(1).square().sum(1))
        second.append(decoder.pull(pushed).double().square().sum(1))
        if progress:
            progress("probing", begun + shape[0], probes)
    traces, squared = torch.cat(first), torch.cat(second)
    if not float(squared.sum()) > 0:
        raise decoder.zero_jacobian()
    return Traces(
        trace=_mean(traces),
        trace_squared=_mean(squared),
        effective_dimension=_participation(traces, squared),
        dimensions=decoder.n_features,
        probes=probes,
    )


def _mean(values: Tensor) -> Estimate:
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)))


def _participation(traces: Tensor, squared: Tensor) -> Estimate:
    """Return (mean trace)² / mean square; the jackknife removes its bias of order 1/n."""
    n = len(traces)
    whole = traces.mean() ** 2 / squared.mean()
    without = ((traces.sum() - traces) / (n - 1)) ** 2 / ((squared.sum() - squared) / (n - 1))
    value = n * whole - (n - 1) * without.mean()
    error = ((n - 1) / n * (without - without.mean()).square().sum()).sqrt()
    return Estimate(float(value), float(error))
