"""Encoding and decoding as latentlab does by itself, beside the naive way and two ceilings."""

from __future__ import annotations

import statistics
import time
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench_tables import new_table
from naive import NaiveVAE, halves_of
from rich.table import Table
from timing import (
    Job,
    Meanwhile,
    Target,
    ceiling,
    shares_of_ceiling,
    square_products,
    time_in_turn,
)
from vae_bench import gflop_of, without_channels_last

if TYPE_CHECKING:
    import torch

    from latentlab import LatentVAE
    from latentlab.encoding.batches import Half

FLUX1 = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 16,
    "norm_num_groups": 32,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
FLUX1_NAME = "FLUX.1 architecture"
_SHARES = {"cpu": 0.85, "cuda": 0.5}
_RATIOS = {"cpu": 2.0, "cuda": 8.0}
_BATCHES = {"cpu": 1, "cuda": 4}
_OFTENER = 2
"""Our rounds for one naive round on a CPU: a share of its rate scatters more than their ratio."""
_LONG = 30.0
"""Seconds of an image beyond which it is decoded twice only, without a warm-up."""


def flux1_vae(device: str = "cpu", **changes: Any) -> LatentVAE:
    """Return FLUX.1's VAE with random weights, always the same ones, in float32.

    Parameters
    ----------
    device : str
    **changes : of the configuration, to make it smaller
    """
    import torch
    from diffusers import AutoencoderKL

    from latentlab.loaders.base import ModelOrigin
    from latentlab.loaders.diffusers_vae import KLVAE

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = AutoencoderKL(**(FLUX1 | changes))
    return KLVAE(
        module,
        KLVAE.read_spec(module, f"{FLUX1_NAME}, narrowed" if changes else FLUX1_NAME),
        ModelOrigin("random weights", "AutoencoderKL"),
        normalization=KLVAE.read_normalization(module),
        device=torch.device(device),
        dtype=torch.float32,
    )


def measure_halves(
    vae: LatentVAE, size: int, rounds: int, *, compiled: bool = False
) -> list[dict[str, Any]]:
    """Return one row for encoding and one for decoding images of one size.

    latentlab encodes as for a data set and decodes as for frames: in bfloat16 where that is native,
    and as ``--compile`` does where that is asked for. float32 is float32: what TF32 would make of
    the naive way on a GPU has figures of its own.
    """
    import torch

    from latentlab.encoding.precision import for_data_set, use_exact_float32, with_fast_decoder
    from latentlab.loaders.compilation import compile_vae

    use_exact_float32()
    plain = without_channels_last(vae).module
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, size // 8, size // 8, generator=generator)
    image = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1
    with torch.no_grad():
        latent = vae.encode(image).mean.cpu()
    encoder, decoder = for_data_set(vae), with_fast_decoder(vae)
    gflop = {half: gflop_of(vae, half, size) for half in ("encode", "decode")}
    for half_vae in {encoder, getattr(decoder, "decoder", decoder)} if compiled else ():
        compile_vae(half_vae)
    halves = (
        _Half("encode", encoder, image, encoder.dtype),
        _Half("decode", decoder, latent, _decodes_in(decoder)),
    )
    return [
        {**_measure_half(half, vae, plain, size, rounds, gflop[half.name]), "compiled": compiled}
        for half in halves
    ]


@dataclass(frozen=True)
class _Half:
    name: Half
    vae: LatentVAE
    sample: torch.Tensor
    dtype: torch.dtype

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def module(self) -> Any:
        vae: Any = getattr(self.vae, "decoder", self.vae) if self.name == "decode" else self.vae
        return vae.module

    def job(self, together: int, batches: int) -> Job:
        """Return what runs so many batches one after the other; its result is the last image."""
        run = self._encode if self.name == "encode" else self._decode
        everything = self.sample.repeat(together * batches, 1, 1, 1).split(together)
        return lambda: run(everything)

    def _encode(self, batches: Sequence[torch.Tensor]) -> torch.Tensor:
        from latentlab.encoding.encoder import encode_each

        for mean in encode_each(self.vae, batches):
            last = mean[-1:]
        return last

    def _decode(self, batches: Sequence[torch.Tensor]) -> torch.Tensor:
        import torch

        from latentlab.encoding.encoder import decode_each

        for image in decode_each(self.vae, torch.cat([*batches])):
            last = image[None]
        return last


def models_targets(rows: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Return FLUX.1's decoding beside its bounds, where bfloat16 is native."""
    targets = []
    for row in rows:
        if row["model"] == FLUX1_NAME and row["half"] == "decode" and row["dtype"] == "bfloat16":
            how = ", compiled" if row.get("compiled") else ""
            what = f"FLUX.1 decode at {row['size']} px, bfloat16{how}: "
            kind = row["device"]
            targets += [
                Target(f"{what}naive / latentlab, time", row["ratio"], _RATIOS[kind]),
                Target(f"{what}share of the ceiling", row["share"], _SHARES[kind]),
            ]
    return targets


def models_tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return one line for each model, size and half."""
    on_gpu = any(row.get("ratio_to_tf32") for row in rows)
    tf32 = ("× latentlab with TF32",) if on_gpu else ()
    table = new_table(
        "Encoding and decoding by default, and naively",
        *("model", "size", "half", "GFLOP", "dtype", "s / image", "share of ceiling"),
        *("naive, float32", "share of ceiling", "× latentlab", *tf32, "PSNR"),
    )
    for row in rows:
        shares = _range(row.get("all_shares", ()), ".0%")
        table.add_row(
            row["model"],
            f"{row['size']} px",
            row["half"],
            f"{row['gflop']:.1f}",
            f"{row['dtype']}{', compiled' if row.get('compiled') else ''}",
            f"{row['seconds']:.4f}",
            f"{row['share']:.0%}{shares} of {row['ceiling_gflops']:.0f}",
            f"{row['naive_seconds']:.4f}",
            f"{row['naive_share']:.0%} of {row['naive_ceiling_gflops']:.0f}",
            f"{row['ratio']:.2f}{_range(row.get('all_ratios', ()), '.2f')}",
            *([f"{row['ratio_to_tf32']:.2f}"] if on_gpu else []),
            f"{row['psnr']:.1f} dB" if row["psnr"] is not None else "–",
        )
    return [table]


def _range(values: Sequence[float], form: str) -> str:
    return f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""


def _decodes_in(vae: LatentVAE) -> torch.dtype:
    return getattr(vae, "decoder", vae).dtype


def _measure_half(
    half: _Half, vae: Any, plain: Any, size: int, rounds: int, gflop: float
) -> dict[str, Any]:
    """Return a row: what takes turns with what, and the shares of the machine's rate."""
    from latentlab.encoding.batches import batch_size

    device = vae.device.type
    together = batch_size(half.vae, size, size, half.name)
    # Several, so that copies can run beside the batch after them.
    images = together * _BATCHES[device]
    work = {"latentlab": gflop * images, "naive": gflop}
    jobs = {
        "latentlab": half.job(together, _BATCHES[device]),
        "naive": _naive_job(halves_of(plain, device), half, vae),
    }
    beside = device == "cpu" and not half.vae.is_compiled
    measure = _beside_layers if beside else _beside_rounds
    found = measure(half, jobs, plain, rounds, work)
    ours, naive = found["latentlab"], found["naive"]
    pairs = [a / b * images for a, b in zip(naive.seconds, ours.seconds, strict=False)]
    tf32 = found["naive, TF32"].median if "naive, TF32" in found else None
    return {
        "model": vae.spec.name,
        "device": device,
        "size": size,
        "half": half.name,
        "batch": together,
        "gflop": gflop,
        "dtype": half.dtype_name,
        "seconds": ours.median / images,
        "all_seconds": ours.seconds,
        "pictures": images,
        "ceiling_gflops": ours.rate / 1e9,
        "share": statistics.median(ours.shares),
        "all_shares": ours.shares,
        "naive_seconds": naive.median,
        "naive_all_seconds": naive.seconds,
        "naive_tf32_seconds": tf32,
        "naive_ceiling_gflops": naive.rate / 1e9,
        "naive_share": statistics.median(naive.shares),
        "ratio": statistics.median(pairs),
        "all_ratios": sorted(pairs),
        "ratio_to_tf32": tf32 / (ours.median / images) if tf32 else None,
        "psnr": _psnr(naive.result, ours.result, half.name),
    }


@dataclass(frozen=True)
class _Found:
    """Times of a job, its shares of the machine's rate, and that rate in FLOP/s."""

    seconds: Sequence[float]
    shares: Sequence[float]
    rate: float
    result: Any

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def _beside_layers(
    half: _Half, jobs: Mapping[str, Job], plain: Any, rounds: int, work: Mapping[str, float]
) -> dict[str, _Found]:
    """Return times and shares with products between the layers, on a CPU."""
    modules = {"latentlab": half.module, "naive": plain}
    watched = {
        name: Meanwhile(job, modules[name], half.dtype_name if name == "latentlab" else "float32")
        for name, job in jobs.items()
    }
    start = time.perf_counter()
    watched["latentlab"]()  # warms it up
    slow = time.perf_counter() - start > _LONG
    turns = {"naive": min(rounds, 2) if slow else rounds}
    turns["latentlab"] = turns["naive"] * (1 if slow else _OFTENER)
    if not slow:
        watched["naive"]()
    timings = time_in_turn(watched, max(turns.values()), fewer=turns)
    found = {}
    for name, job in watched.items():
        kept = len(timings[name].seconds)
        shares, rates = job.shares(work[name] * 1e9)[-kept:], job.rates[-kept:]
        rate = statistics.median(rates)
        found[name] = _Found(job.seconds[-kept:], shares, rate, timings[name].result)
    return found


def _beside_rounds(
    half: _Half, jobs: Mapping[str, Job], plain: Any, rounds: int, work: Mapping[str, float]
) -> dict[str, _Found]:
    """Return times and shares with products in the same rounds: on a GPU, or of compiled code."""
    device = half.vae.device.type
    kinds = {"latentlab": half.dtype_name, "naive": "float32", "naive, TF32": "float32"}
    if device == "cuda":
        jobs = {**jobs, "naive, TF32": _with_tf32(jobs["naive"])}
    products = [square_products(kind, device=device) for kind in {*kinds.values()}]
    jobs["latentlab"]()  # warms it up, and compiles it
    timings = time_in_turn({**jobs, **dict(ChainMap(*products))}, rounds)
    found = {}
    for name in jobs:
        kind, timing = kinds[name], timings[name]
        flop = work.get(name, work["naive"]) * 1e9
        shares = shares_of_ceiling(flop, timing, timings, kind, device=device)
        rate = ceiling(timings, kind, device=device)
        found[name] = _Found(timing.seconds, shares, rate, timing.result)
    return found


def _with_tf32(job: Job) -> Job:
    """Return a job whose convolutions round to TF32, as torch does where nobody says otherwise."""
    import torch

    def rounded() -> Any:
        torch.backends.cudnn.allow_tf32 = True
        try:
            return job()
        finally:
            torch.backends.cudnn.allow_tf32 = False

    return rounded


def _naive_job(plain: NaiveVAE, half: _Half, vae: Any) -> Job:
    import torch

    run = plain.encode if half.name == "encode" else plain.decode
    sample = half.sample
    if half.name == "decode":
        sample = vae.normalization.from_model(sample)

    def job() -> torch.Tensor:
        with torch.no_grad():
            return run(sample)

    return job


def _psnr(naive: torch.Tensor, ours: torch.Tensor, half: str) -> float | None:
    """Return the PSNR in dB of the images; None for latents, which have no peak."""
    from latentlab.metrics.fidelity import psnr

    return psnr(naive, ours) if half == "decode" else None
