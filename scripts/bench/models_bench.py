"""Encoding and decoding as latentlab does by itself, beside the naive way and two ceilings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench_tables import new_table
from naive import NaiveVAE, halves_of
from rich.table import Table
from timing import Job, Target, ceiling, share_of_ceiling, square_products, time_in_turn
from vae_bench import gflop_of, without_channels_last

if TYPE_CHECKING:
    import torch

    from latentlab import LatentVAE
    from latentlab.batches import Half

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
_LONG = 30.0
"""Seconds of a picture beyond which it is decoded twice only, without a warm-up."""


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
    from latentlab.loaders.kl import KLVAE

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
    """Return one row for encoding and one for decoding pictures of one size.

    latentlab encodes as for a data set and decodes as for frames: in bfloat16 where that is native,
    and as ``--compile`` does where that is asked for. float32 is float32: what TF32 would make of
    the naive way on a GPU has figures of its own.
    """
    import torch

    from latentlab import compile_vae
    from latentlab.precision import for_data_set, use_exact_float32, with_fast_decoder

    use_exact_float32()
    plain = halves_of(without_channels_last(vae).module, vae.device.type)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, size // 8, size // 8, generator=generator)
    picture = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1
    with torch.no_grad():
        latent = vae.encode(picture).mean.cpu()
    encoder, decoder = for_data_set(vae), with_fast_decoder(vae)
    gflop = {half: gflop_of(vae, half, size) for half in ("encode", "decode")}
    for half_vae in {encoder, getattr(decoder, "decoder", decoder)} if compiled else ():
        compile_vae(half_vae)
    halves = (
        _Half("encode", encoder, picture, encoder.dtype),
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

    def job(self, together: int, batches: int) -> Job:
        """Return what runs so many batches one after the other; its result is the last picture."""
        run = self._encode if self.name == "encode" else self._decode
        everything = self.sample.repeat(together * batches, 1, 1, 1).split(together)
        return lambda: run(everything)

    def _encode(self, batches: Sequence[torch.Tensor]) -> torch.Tensor:
        from latentlab.encoder import encode_each

        for mean in encode_each(self.vae, batches):
            last = mean[-1:]
        return last

    def _decode(self, batches: Sequence[torch.Tensor]) -> torch.Tensor:
        import torch

        from latentlab.encoder import decode_each

        for picture in decode_each(self.vae, torch.cat([*batches])):
            last = picture[None]
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
        *("model", "size", "half", "GFLOP", "dtype", "s / picture", "share of ceiling"),
        *("naive, float32", "share of ceiling", "× latentlab", *tf32, "PSNR"),
    )
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['size']} px",
            row["half"],
            f"{row['gflop']:.1f}",
            f"{row['dtype']}{', compiled' if row.get('compiled') else ''}",
            f"{row['seconds']:.4f}",
            f"{row['share']:.0%} of {row['ceiling_gflops']:.0f}",
            f"{row['naive_seconds']:.4f}",
            f"{row['naive_share']:.0%} of {row['naive_ceiling_gflops']:.0f}",
            f"{row['ratio']:.2f}",
            *([f"{row['ratio_to_tf32']:.2f}"] if on_gpu else []),
            f"{row['psnr']:.1f} dB" if row["psnr"] is not None else "–",
        )
    return [table]


def _decodes_in(vae: LatentVAE) -> torch.dtype:
    return getattr(vae, "decoder", vae).dtype


def _measure_half(
    half: _Half, vae: Any, plain: NaiveVAE, size: int, rounds: int, gflop: float
) -> dict[str, Any]:
    from latentlab.batches import batch_size

    dtype = str(half.dtype).removeprefix("torch.")
    device = vae.device.type
    together = batch_size(half.vae, size, size, half.name)
    # Several, so that copies can run beside the batch after them.
    pictures = together * _BATCHES[device]
    ours_alone = {"latentlab": half.job(together, _BATCHES[device])}
    naive_alone = {"naive": _naive_job(plain, half, vae)}
    if device == "cuda":
        naive_alone["naive, TF32"] = _with_tf32(naive_alone["naive"])
    # Beside each job the products of its own dtype.
    jobs = ours_alone | square_products(dtype, device=device)
    jobs |= naive_alone | square_products(device=device)
    start = time.perf_counter()
    ours_alone["latentlab"]()  # warms it up, and compiles it
    slow = not half.vae.is_compiled and time.perf_counter() - start > _LONG
    fewer = dict.fromkeys(ours_alone | naive_alone, min(rounds, 2)) if slow else {}
    timings = time_in_turn(jobs, rounds, fewer=fewer)
    ours, naive = timings["latentlab"].median / pictures, timings["naive"].median
    tf32 = timings["naive, TF32"].median if device == "cuda" else None
    top, naive_top = (ceiling(timings, kind, device=device) / 1e9 for kind in (dtype, "float32"))
    share, naive_share = (
        share_of_ceiling(work * 1e9, timings[name], timings, kind, device=device)
        for name, work, kind in (
            ("latentlab", gflop * pictures, dtype),
            ("naive", gflop, "float32"),
        )
    )
    return {
        "model": vae.spec.name,
        "device": device,
        "size": size,
        "half": half.name,
        "batch": together,
        "gflop": gflop,
        "dtype": dtype,
        "seconds": ours,
        "all_seconds": timings["latentlab"].seconds,
        "pictures": pictures,
        "ceiling_gflops": top,
        "share": share,
        "naive_seconds": naive,
        "naive_all_seconds": timings["naive"].seconds,
        "naive_tf32_seconds": tf32,
        "naive_ceiling_gflops": naive_top,
        "naive_share": naive_share,
        "ratio": naive / ours,
        "ratio_to_tf32": tf32 / ours if tf32 else None,
        "psnr": _psnr(timings["naive"].result, timings["latentlab"].result, half.name),
    }


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
    """Return the PSNR in dB of the pictures; None for latents, which have no peak."""
    from latentlab.metrics.fidelity import psnr

    return psnr(naive, ours) if half == "decode" else None
