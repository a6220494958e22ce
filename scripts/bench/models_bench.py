"""Encoding and decoding by default, against the naive way and two ceilings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from measuring import Job, Jobs, Meanwhile, time_in_turn
from naive import halves_of
from report import Options, Row, Say, Table, at_least, table_of
from sources import BUILT_IN, blocks, gflop_of, load, model_of, without_channels_last

from latentlab import LatentVAE
from latentlab.encoding.batches import Half, batch_size
from latentlab.encoding.encoder import decode_each, encode_each
from latentlab.encoding.precision import for_data_set, use_exact_float32
from latentlab.loaders.base import ModelOrigin
from latentlab.loaders.compilation import compile_vae
from latentlab.loaders.kl import KLVAE
from latentlab.metrics.fidelity import psnr

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
_SMALL = {"block_out_channels": (8, 16, 16, 16), "norm_num_groups": 4}
_BOUNDS = {"cpu": (2.0, 0.85), "cuda": (8.0, 0.5)}
"""Bounds of the naive way's time over latentlab's, and of the share of the ceiling."""
_BATCHES = {"cpu": 1, "cuda": 4}
"""Batches of a run: several on a GPU, where copies overlap with the next batch."""
_OFTENER = 2
"""Our rounds for each naive round on a CPU: shares of its rate scatter more than ratios do."""


def flux1_vae(device: str = "cpu", **changes: Any) -> LatentVAE:
    """Return FLUX.1's VAE, or a smaller one, with random weights, always the same, in float32."""
    from diffusers import AutoencoderKL

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


def measure(options: Options, say: Say) -> list[Row]:
    """Return two rows for each model and size, and two more with ``--compile``."""
    rows = []
    for vae, size in _models(options):
        say(f"{vae.spec.name} at {size} px")
        for compiled in (False, True) if options.compile else (False,):
            rows += _measure_halves(vae, size, options.rounds, compiled=compiled)
    return rows


def _models(options: Options) -> Iterator[tuple[LatentVAE, int]]:
    for source in dict.fromkeys((BUILT_IN, model_of(options))):
        yield load(source, options.device), options.size
    for size in options.flux_sizes:
        yield flux1_vae(options.device, **(_SMALL if options.quick else {})), size


def _measure_halves(vae: Any, size: int, rounds: int, *, compiled: bool) -> list[Row]:
    """Return one row for encoding and one for decoding images of one size.

    latentlab uses bfloat16 where that is native, as for a data set and for frames. float32 is
    float32: what TF32 would make of the naive way on a GPU has figures of its own.
    """
    use_exact_float32()
    fast, plain, image = for_data_set(vae), without_channels_last(vae).module, blocks(size)
    with torch.no_grad():
        latent = vae.encode(image).mean.cpu()
    own = vae.normalization.from_model(latent)
    cases = {
        "encode": (gflop_of(vae, "encode", size), image, image),
        "decode": (gflop_of(vae, "decode", size), latent, own),
    }
    if compiled:
        compile_vae(fast)
    rows = [_measure_half(half, fast, plain, size, rounds, case) for half, case in cases.items()]
    return [{**row, "compiled": compiled} for row in rows]


def _measure_half(half: Half, vae: Any, plain: Any, size: int, rounds: int, case: Any) -> Row:
    gflop, sample, own_sample = case
    device = vae.device.type
    together = batch_size(vae, size, size, half)
    images = together * _BATCHES[device]
    jobs = {
        "latentlab": partial(_run_all, half, vae, sample.repeat(images, 1, 1, 1), together),
        "naive": halves_of(plain, device).job(half, own_sample),
    }
    if device == "cuda":
        jobs["naive, TF32"] = partial(_with_tf32, jobs["naive"])
    found = _take_turns(jobs, vae, plain, rounds)
    ours, naive = found["latentlab"], found["naive"]
    ours_shares, naive_shares = ours.shares(images * gflop * 1e9), naive.shares(gflop * 1e9)
    seconds, naive_seconds, *tf32 = (median(one.seconds) for one in found.values())
    pairs = [a / b * images for a, b in zip(naive.seconds, ours.seconds, strict=False)]
    return {
        "model": vae.spec.name,
        "device": device,
        "size": size,
        "half": half,
        "batch": together,
        "gflop": gflop,
        "dtype": _dtype_of(vae),
        "seconds": seconds / images,
        "all_seconds": ours.seconds,
        "pictures": images,
        "ceiling_gflops": median(ours.rates) / 1e9,
        "share": median(ours_shares),
        "all_shares": ours_shares,
        "naive_seconds": naive_seconds,
        "naive_all_seconds": naive.seconds,
        "naive_tf32_seconds": tf32[0] if tf32 else None,
        "naive_ceiling_gflops": median(naive.rates) / 1e9,
        "naive_share": median(naive_shares),
        "ratio": median(pairs),
        "all_ratios": sorted(pairs),
        "ratio_to_tf32": tf32[0] / seconds * images if tf32 else None,
        "psnr": psnr(naive.result, ours.result) if half == "decode" else None,
    }


def _run_all(half: Half, vae: LatentVAE, samples: torch.Tensor, together: int) -> torch.Tensor:
    """Return the last result of all samples, which run in batches."""
    batches = samples.split(together)
    results = encode_each(vae, batches) if half == "encode" else decode_each(vae, samples)
    return deque(results, 1)[0]


def _with_tf32(job: Job) -> Any:
    """Return a job's result with convolutions that round to TF32, which is torch's default."""
    torch.backends.cudnn.allow_tf32 = True
    try:
        return job()
    finally:
        torch.backends.cudnn.allow_tf32 = False


def _take_turns(jobs: Jobs, vae: Any, plain: Any, rounds: int) -> dict[str, Meanwhile]:
    """Return the jobs with their times and the machine's rate meanwhile."""
    device, dtypes = vae.device.type, {"latentlab": _dtype_of(vae)}
    between_layers = device == "cpu" and not vae.is_compiled
    modules = {"latentlab": vae.module, "naive": plain} if between_layers else {}
    found = {
        name: Meanwhile(job, dtypes.get(name, "float32"), device, modules.get(name))
        for name, job in jobs.items()
    }
    time_in_turn(found, 1, warm_up=False)  # warms up, and compiles
    for one in found.values():
        one.seconds.clear()
        one.rates.clear()
    ours = rounds * (_OFTENER if between_layers else 1)
    time_in_turn(found, ours, fewer=dict.fromkeys(jobs, rounds) | {"latentlab": ours})
    return found


def _dtype_of(vae: Any) -> str:
    return str(vae.dtype).removeprefix("torch.")


def targets(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield FLUX.1's decoding beside its bounds, where bfloat16 is native."""
    for row in rows:
        if (row["model"], row["half"], row["dtype"]) == (FLUX1_NAME, "decode", "bfloat16"):
            what, (ratio, share) = f"FLUX.1 decode at {row['size']} px, ", _BOUNDS[row["device"]]
            yield at_least(f"{what}{_how(row)}: naive / latentlab, time", row["ratio"], ratio)
            yield at_least(f"{what}{_how(row)}: share of the ceiling", row["share"], share)


def tables(rows: Sequence[Row]) -> Table:
    with_tf32 = any(row["ratio_to_tf32"] for row in rows)
    return table_of(
        "Encoding and decoding by default, and naively",
        rows,
        ("model", "{model}"),
        ("size", "{size} px"),
        ("half", "{half}"),
        ("GFLOP", "{gflop:.1f}"),
        ("dtype", _how),
        ("s / image", "{seconds:.4f}"),
        ("share of ceiling", _share),
        ("naive, float32", "{naive_seconds:.4f}"),
        ("share of ceiling", "{naive_share:.0%} of {naive_ceiling_gflops:.0f}"),
        ("× latentlab", lambda row: f"{row['ratio']:.2f}{_range(row['all_ratios'], '.2f')}"),
        *([("× latentlab with TF32", "{ratio_to_tf32:.2f}")] if with_tf32 else []),
        ("PSNR", "{psnr:.1f} dB"),
    )


def _how(row: Row) -> str:
    return f"{row['dtype']}{', compiled' if row['compiled'] else ''}"


def _share(row: Row) -> str:
    ranges = _range(row["all_shares"], ".0%")
    return f"{row['share']:.0%}{ranges} of {row['ceiling_gflops']:.0f}"


def _range(values: Sequence[float], form: str) -> str:
    return f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
