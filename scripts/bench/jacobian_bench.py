"""The decoder's top singular directions: how many products, and what one costs in decodings."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from timing import Target

if TYPE_CHECKING:
    from latentlab import LatentVAE

COMPONENTS = 8
PRODUCTS = 160
_DECODINGS_EVERY = 16


def measure_jacobian(vae: LatentVAE, size: int, *, components: int = COMPONENTS) -> dict[str, Any]:
    """Return products, seconds, and seconds a product over seconds a decoding, of one image.

    Decodings are timed all along from the progress callback, and their time taken off.
    """
    from latentlab import encode
    from latentlab.pullback import decoder_map, top_singular

    latent = encode(vae, "sample:flower", size=size)
    decodings = _Decodings(vae, latent.values)
    around = decoder_map(vae, latent)
    start = time.perf_counter()
    found = top_singular(around, components, max_products=PRODUCTS, progress=decodings)
    seconds = time.perf_counter() - start - sum(decodings.seconds)
    decoding = statistics.median(decodings.seconds)
    return {
        "model": vae.spec.name,
        "size": size,
        "components": components,
        "products": found.products,
        "converged": found.converged,
        "seconds": seconds,
        "decode_seconds": decoding,
        "product_over_decode": seconds / found.products / decoding,
        "values": found.values.tolist(),
        "residuals": found.residuals.tolist(),
    }


def jacobian_targets(row: dict[str, Any]) -> list[Target]:
    """Return the number of products beside its bound."""
    what = f"top {row['components']} of the Jacobian at {row['size']} px: products"
    return [Target(what, row["products"], PRODUCTS, at_least=False)]


class _Decodings:
    """A progress callback that times a decoding every few products."""

    def __init__(self, vae: LatentVAE, values: Any) -> None:
        self.vae = vae
        self.values = values
        self.seconds: list[float] = []
        self.calls = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        from latentlab.encoding.encoder import decode_each

        if self.calls % _DECODINGS_EVERY == 0:
            start = time.perf_counter()
            list(decode_each(self.vae, self.values[None]))
            self.seconds.append(time.perf_counter() - start)
        self.calls += 1
