"""Hold the decoder's singular values against two computations that are not latentlab's.

``python scripts/check_jacobian.py PHOTO … --model DIR`` finds the leading singular directions of
the decoder at each photo as ``latentlab directions --finder jacobian`` does, and prints them beside

- SciPy's Lanczos iteration on JᵀJ (``eigsh``), with products by ``torch.autograd.functional``'s
  ``jvp`` and ``vjp``, at ``--size``;
- the SVD of the dense Jacobian, column by column through the graph of the gradient, of the photo
  at ``--dense-size`` (0 leaves it out; at 64 px a model with 32 channels takes 0.3 GB).

Each line ends with the largest relative difference, and the number of products that were needed.
The exit code is 1 where one is above ``--tolerance``. ``--json FILE`` writes everything.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from latentlab.errors import LatentlabError
from latentlab.results.folders import write_json

if TYPE_CHECKING:
    from latentlab import Latent, LatentVAE

COMPARED = 4


def push(vae: LatentVAE, latent: Latent, tangents: Tensor) -> Tensor:
    """J times each of (b, C, h, w): changes (b, 3, H, W), by torch's double backward trick."""
    with sdpa_kernel(SDPBackend.MATH):
        point = latent.values.expand_as(tangents).contiguous()
        return torch.autograd.functional.jvp(vae.decode, point, tangents)[1]


def pull(vae: LatentVAE, latent: Latent, changes: Tensor) -> Tensor:
    """Jᵀ times one (3, H, W): a gradient (C, h, w), by torch's backward mode."""
    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.functional.vjp(vae.decode, latent.values[None], changes[None])[1][0]


def lanczos_values(vae: LatentVAE, latent: Latent, k: int) -> tuple[np.ndarray, int]:
    """The k largest singular values, descending, by SciPy's eigsh on JᵀJ; products needed."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    products = 0

    def twice(vector: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 2
        tangent = torch.from_numpy(vector.ravel()).to(latent.values).view_as(latent.values)
        change = push(vae, latent, tangent[None])[0]
        return pull(vae, latent, change).flatten().double().numpy()

    size = latent.values.numel()
    start = np.random.default_rng(0).standard_normal(size)
    operator = LinearOperator((size, size), matvec=twice, dtype=np.float64)
    found = eigsh(operator, k=k, v0=start, tol=1e-4, return_eigenvectors=False)
    return np.sqrt(np.sort(found)[::-1]), products


def dense_values(
    vae: LatentVAE, latent: Latent, k: int, *, batch: int = 8
) -> tuple[np.ndarray, int]:
    """The k largest singular values, descending, of the dense Jacobian; products needed.

    Its columns are products with unit vectors; the squares are eigenvalues of JᵀJ, in float64.
    """
    columns = dense_columns(vae, latent, batch=batch)
    gram = columns.double() @ columns.double().T
    return torch.linalg.eigvalsh(gram).flip(0)[:k].sqrt().numpy(), len(columns)


def dense_columns(vae: LatentVAE, latent: Latent, *, batch: int) -> Tensor:
    """The Jacobian's columns as rows (n_in, n_out): Jᵀ times a probe is linear in the probe.

    So J times a unit vector is the gradient of that vector's part in it, and one graph serves all.
    """
    size = latent.values.numel()
    point = latent.values.expand(batch, *latent.values.shape).clone().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        images = vae.decode(point)
        probe = torch.zeros_like(images, requires_grad=True)
        (pulled,) = torch.autograd.grad(images, point, probe, create_graph=True)
    columns = torch.empty(size, images[0].numel())
    for first in range(0, size, batch):
        axes = torch.zeros(batch, size)
        axes[range(min(batch, size - first)), range(first, min(first + batch, size))] = 1
        (pushed,) = torch.autograd.grad(
            pulled, probe, axes.view_as(point), retain_graph=True, materialize_grads=True
        )
        columns[first : first + batch] = pushed.flatten(1)[: size - first]
    return columns


def compare(vae: LatentVAE, latent: Latent, oracle: str, *, block: int = 8) -> dict[str, Any]:
    """Our values beside those of ``lanczos`` or ``dense``, and the largest relative difference."""
    from latentlab.pullback import decoder_map, top_singular

    found = top_singular(decoder_map(vae, latent), block)
    start = time.perf_counter()
    compute = {"lanczos": lanczos_values, "dense": dense_values}[oracle]
    expected, products = compute(vae, latent, COMPARED)
    values = found.values[:COMPARED].numpy()
    return {
        "picture": latent.title,
        "oracle": oracle,
        "values": values.tolist(),
        "expected": expected.tolist(),
        "difference": float(np.abs(values / expected - 1).max()),
        "products": found.products,
        "products_of_oracle": products,
        "seconds_of_oracle": time.perf_counter() - start,
    }


def print_comparison(facts: dict[str, Any]) -> None:
    """One line: values, the oracle's values, difference, products."""
    ours, theirs = (" ".join(f"{v:.4f}" for v in facts[key]) for key in ("values", "expected"))
    print(f"{facts['picture']}: {ours} | {facts['oracle']} {theirs}", end=" | ")
    print(f"largest relative difference {facts['difference']:.1e}", end=" | ")
    print(f"{facts['products']} and {facts['products_of_oracle']} products", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", default=["sample:flower"], help="files; the flower")
    parser.add_argument("--model", default="mini", help="what load_vae takes")
    parser.add_argument("--size", type=int, default=256, help="for Lanczos; 0 leaves it out")
    parser.add_argument("--dense-size", type=int, default=64, help="for the SVD; 0 leaves it out")
    parser.add_argument("--tolerance", type=float, default=0.01, help="largest difference")
    parser.add_argument("--json", type=Path, help="write everything here")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All comparisons, printed as they come."""
    from latentlab import encode, load_vae

    vae = load_vae(options.model, device="cpu", dtype="float32")
    sizes = {"lanczos": options.size, "dense": options.dense_size}
    facts = []
    for photo in options.photos:
        for oracle, size in sizes.items():
            if size:
                facts.append(compare(vae, encode(vae, photo, size=size), oracle))
                print_comparison(facts[-1])
    return facts


def main(arguments: list[str] | None = None) -> int:
    """Compare, and turn what went wrong into one line and an exit code."""
    options = parse(arguments)
    try:
        facts = measure(options)
        if options.json:
            write_json(options.json, facts)
    except LatentlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return int(any(one["difference"] > options.tolerance for one in facts))


if __name__ == "__main__":
    sys.exit(main())
