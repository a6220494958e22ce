"""Encoding and decoding as shares of the machine's float32 matrix-product rate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from measuring import Products, time_in_turn
from naive import NaiveVAE, halves_of
from report import Options, Row, Say, Table, at_least, new_table
from sources import blocks, gflop_of, load, model_of, run_half, without_channels_last, without_model

from latentlab import LatentVAE

BATCHES = (1, 4)
SHARE = 0.85


def measure(options: Options, say: Say) -> list[Row] | Row:
    """Return a row for each half: latentlab against batches of plain, contiguous NCHW tensors."""
    if skipped := without_model(options):
        return skipped
    vae = load(model_of(options))
    plain = halves_of(without_channels_last(vae).module)
    image = blocks(options.size)
    halves = {"encode": image, "decode": vae.encode(image).mean.contiguous()}
    return [_measure_half(half, vae, plain, one, options) for half, one in halves.items()]


def _measure_half(
    half: str, vae: LatentVAE, plain: NaiveVAE, one: torch.Tensor, options: Options
) -> Row:
    products = Products()
    jobs = {count: plain.job(half, one.repeat(count, 1, 1, 1)) for count in BATCHES}
    jobs |= {"latentlab": partial(run_half, vae, half, one), "products": products.measure}
    timings = time_in_turn(jobs, options.rounds)
    gflop, top = gflop_of(vae, half, options.size), products.median_rate / 1e9
    ours = timings["latentlab"].median
    each = {count: timings[count].median / count for count in BATCHES}
    return {
        "half": half,
        "model": vae.spec.name,
        "size": options.size,
        "gflop": gflop,
        **timings["latentlab"].figures,
        "gflops": gflop / ours,
        "ceiling_gflops": top,
        "share": gflop / ours / top,
        "plain": [
            {"batch": count, "seconds_per_image": seconds, "ratio": seconds / ours}
            for count, seconds in each.items()
        ],
    }


def targets(rows: Sequence[Row]) -> list[Row]:
    what = "{half} at {size} px, float32: share of the ceiling"
    return [at_least(what.format_map(row), row["share"], SHARE) for row in rows]


def tables(rows: Sequence[Row]) -> Table:
    lines = []
    for row in rows:
        gflop, top = row["gflop"], row["ceiling_gflops"]
        ways = {"latentlab": (row["seconds"], 1.0)}
        for way in row["plain"]:
            ways[f"NCHW, batch {way['batch']}"] = (way["seconds_per_image"], way["ratio"])
        for run, (seconds, ratio) in ways.items():
            what = f"{row['half']}, {gflop:.1f} GFLOP" if run == "latentlab" else ""
            rate = gflop / seconds
            share = f"{rate / top:.0%} of {top:.0f}"
            lines.append((what, run, f"{seconds:.4f}", f"{ratio:.2f}", f"{rate:.0f}", share))
    title = "{model} at {size} px, float32".format_map(rows[0])
    headings = ("half", "run", "s / image", "× latentlab", "GFLOP/s", "share of ceiling")
    return new_table(title, headings, lines)
