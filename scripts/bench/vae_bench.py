"""Encoding and decoding as shares of the machine's float32 matrix-product rate."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

from timing import Job, Products, Target, ceiling, square_products, time_in_turn

if TYPE_CHECKING:
    from latentlab import LatentVAE

NAIVE_BATCHES = (1, 4)
SHARE = 0.85


def measure_model(
    vae: LatentVAE, size: int, rounds: int, *, batches: tuple[int, ...] = NAIVE_BATCHES
) -> list[dict[str, Any]]:
    """Return one row for encoding and one for decoding, latentlab's way beside the plain one.

    Plain means contiguous NCHW tensors and weights, in batches of these sizes.
    """
    import torch

    plain = without_channels_last(vae)
    images = torch.rand(max(batches), 3, size, size) * 2 - 1
    latents = vae.encode(images[:1]).mean.repeat(max(batches), 1, 1, 1).contiguous()
    return [
        _measure_half("encode", vae, plain, images, rounds, batches),
        _measure_half("decode", vae, plain, latents, rounds, batches),
    ]


def measure_job(
    vae: LatentVAE, size: int, *, samples: int, components: int, steps: int
) -> dict[str, Any]:
    """Return what the whole way from an image to its frames costs beside its model runs.

    The ceiling is probed from the progress callback all along, and the probes' time taken off.
    """
    import torch

    from latentlab import encode, fit_pca, neighborhood, traverse

    latent = encode(
        vae,
        torch.rand(3, size // 8, size // 8).repeat_interleave(8, 1).repeat_interleave(8, 2) * 2 - 1,
    )
    gflop = {half: gflop_of(vae, half, size) for half in ("encode", "decode")}
    probe = _Probe(every=8)
    hood, sampling = probe.time(
        lambda: neighborhood(vae, latent, n_samples=samples, progress=probe)
    )
    pca, fitting = probe.time(lambda: fit_pca(hood, n_components=components))
    walk, walking = probe.time(
        lambda: traverse(vae, latent, pca, components=components, steps=steps, progress=probe)
    )
    # The drift of each trail takes two more encodings.
    work = {
        "neighborhood": samples * gflop["encode"],
        "traverse": walk.decodes * gflop["decode"] + 2 * components * gflop["encode"],
    }
    seconds = {"neighborhood": sampling, "fit_pca": fitting, "traverse": walking}
    top = probe.products.rate() / 1e9
    job = sum(work.values()) / (sampling + walking)
    return {
        "model": vae.spec.name,
        "size": size,
        "samples": samples,
        "components": components,
        "steps": steps,
        "decodes": walk.decodes,
        "seconds": seconds,
        "gflop": work,
        "gflops": job,
        "ceiling_gflops": top,
        "share": job / top,
        "share_of_step": {step: work[step] / seconds[step] / top for step in work},
    }


def vae_targets(rows: list[dict[str, Any]]) -> list[Target]:
    """Return the shares of the ceiling beside their bounds."""
    return [
        Target(
            f"{row['half']} at {row['size']} px, float32: share of the ceiling", row["share"], SHARE
        )
        for row in rows
    ]


def job_targets(job: dict[str, Any]) -> list[Target]:
    """Return the whole job's share of the ceiling beside its bound."""
    what = f"whole job, {job['samples']} samples, {job['components']}×{job['steps']} frames"
    return [Target(f"{what}, float32: share of the ceiling", job["share"], SHARE)]


def _measure_half(
    half: str, vae: LatentVAE, plain: Any, batch: Any, rounds: int, batches: tuple[int, ...]
) -> dict[str, Any]:
    jobs = {"latentlab": _job(vae, half, batch[:1])}
    jobs |= {f"plain {count}": _plain_job(plain, half, batch[:count]) for count in batches}
    timings = time_in_turn(jobs | square_products(), rounds)
    stride = vae.spec.stride if half == "decode" else 1
    size = batch.shape[-1] * stride
    gflop, top = gflop_of(vae, half, size), ceiling(timings) / 1e9
    ours = timings["latentlab"].median
    return {
        "half": half,
        "model": vae.spec.name,
        "size": size,
        "gflop": gflop,
        "seconds": ours,
        "all_seconds": timings["latentlab"].seconds,
        "gflops": gflop / ours,
        "ceiling_gflops": top,
        "share": gflop / ours / top,
        "plain": [
            {
                "batch": count,
                "seconds_per_image": timings[f"plain {count}"].median / count,
                "ratio": timings[f"plain {count}"].median / count / ours,
            }
            for count in batches
        ],
    }


def _job(vae: LatentVAE, half: str, batch: Any) -> Job:
    from latentlab.encoding.encoder import decode_each, encode_batch

    if half == "encode":
        return lambda: encode_batch(vae, batch)
    return lambda: list(decode_each(vae, batch))


def _plain_job(plain: Any, half: str, batch: Any) -> Job:
    import torch

    run = plain._encode if half == "encode" else plain._decode

    def job() -> Any:
        with torch.no_grad():
            return run(batch)

    return job


def without_channels_last(vae: LatentVAE) -> Any:
    """Return a copy of a VAE whose weights are contiguous NCHW, as they come from a file."""
    plain: Any = copy.deepcopy(vae)
    for parameter in plain.module.parameters():
        parameter.data = parameter.data.contiguous()
    return plain


def gflop_of(vae: LatentVAE, half: str, size: int) -> float:
    """Return the GFLOP of one image by torch's own count: products and convolutions."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    side = size if half == "encode" else size // vae.spec.stride
    channels = 3 if half == "encode" else vae.spec.channels
    with FlopCounterMode(display=False) as counter:
        _job(vae, half, torch.zeros(1, channels, side, side))()
    return float(counter.get_total_flops()) / 1e9


class _Probe:
    """A progress callback that measures the machine's rate at every few calls."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.calls = 0
        self.products = Products()
        self.products.measure()

    def __call__(self, what: str, done: int, total: int) -> None:
        self.calls += 1
        if self.calls % self.every == 0:
            self.products.measure()

    def time(self, job: Job) -> tuple[Any, float]:
        """Return a job's result and its wall time without that of the products."""
        start, spent = time.perf_counter(), self.products.spent
        result = job()
        return result, time.perf_counter() - start - (self.products.spent - spent)
