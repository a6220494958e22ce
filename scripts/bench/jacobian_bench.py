"""The decoder's top singular directions: how many products, and what one costs in decodings."""

from __future__ import annotations

from functools import partial
from statistics import median

from measuring import Interlude
from report import Options, Row, Say, Table, at_most, table_of
from sources import IMAGE, load, model_of, run_half

from latentlab import encode
from latentlab.pullback import decoder_map, top_singular

COMPONENTS = 8
PRODUCTS = 160
_DECODINGS_EVERY = 16


def measure(options: Options, say: Say) -> Row:
    say("singular directions of the decoder")
    vae = load(model_of(options))
    latent = encode(vae, IMAGE, size=options.size)
    around = decoder_map(vae, latent)
    decodings = Interlude(lambda *_: run_half(vae, "decode", latent.values[None]), _DECODINGS_EVERY)
    find = partial(top_singular, around, COMPONENTS, max_products=PRODUCTS, progress=decodings)
    seconds, found = decodings.time(find)
    decoding = median(decodings.seconds)
    return {
        "model": vae.spec.name,
        "size": options.size,
        "components": COMPONENTS,
        "products": found.products,
        "converged": found.converged,
        "seconds": seconds,
        "decode_seconds": decoding,
        "product_over_decode": seconds / found.products / decoding,
        "values": found.values.tolist(),
        "residuals": found.residuals.tolist(),
    }


def targets(row: Row) -> list[Row]:
    what = f"top {row['components']} of the Jacobian at {row['size']} px: products"
    return [at_most(what, row["products"], PRODUCTS)]


def tables(row: Row) -> Table:
    return table_of(
        "Top {components} singular directions of {model}'s decoder, {size} px".format_map(row),
        [row],
        ("products", "{products}"),
        ("seconds", "{seconds:.2f}"),
        ("s / product", lambda row: f"{row['seconds'] / row['products']:.4f}"),
        ("× decode", "{product_over_decode:.2f}"),
        ("largest residual", lambda row: f"{max(row['residuals']):.1e}"),
        ("all found", lambda row: "yes" if row["converged"] else "no"),
    )
