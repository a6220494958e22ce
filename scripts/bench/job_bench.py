"""The whole job from an image to its frames: model runs and wall time, against the ceiling."""

from __future__ import annotations

from functools import partial

from measuring import Interlude, Products
from report import Options, Row, Say, Table, at_least, new_table
from sources import blocks, gflop_of, load, model_of, without_model
from vae_bench import SHARE

from latentlab import encode, fit_pca, neighborhood, traverse

_EVERY = 8
"""Calls of the progress callback after which the ceiling is measured again."""


def measure(options: Options, say: Say) -> Row:
    if skipped := without_model(options):
        return skipped
    vae = load(model_of(options))
    samples, components, products = options.samples, options.components, Products()
    between = Interlude(products.measure, _EVERY)
    latent = encode(vae, blocks(options.size)[0])
    sample = partial(neighborhood, vae, latent, n_samples=samples, progress=between)
    sampling, hood = between.time(sample)
    fitting, pca = between.time(lambda: fit_pca(hood, n_components=components))
    walk_options = {"n_components": components, "steps": options.steps, "progress": between}
    walking, walk = between.time(lambda: traverse(vae, latent, pca, **walk_options))
    gflop = {half: gflop_of(vae, half, options.size) for half in ("encode", "decode")}
    # The drift of each trail takes two more encodings.
    work = {
        "neighborhood": samples * gflop["encode"],
        "traverse": walk.decodes * gflop["decode"] + 2 * components * gflop["encode"],
    }
    seconds = {"neighborhood": sampling, "fit_pca": fitting, "traverse": walking}
    top, rate = products.rate() / 1e9, sum(work.values()) / (sampling + walking)
    return {
        "model": vae.spec.name,
        "size": options.size,
        "samples": samples,
        "components": components,
        "steps": options.steps,
        "decodes": walk.decodes,
        "seconds": seconds,
        "gflop": work,
        "gflops": rate,
        "ceiling_gflops": top,
        "share": rate / top,
        "share_of_step": {step: work[step] / seconds[step] / top for step in work},
    }


def targets(job: Row) -> list[Row]:
    what = (
        "whole job, {samples} samples, {components}×{steps} frames, float32: share of the ceiling"
    )
    return [at_least(what.format_map(job), job["share"], SHARE)]


def tables(job: Row) -> Table:
    gflop, seconds, shares = job["gflop"], job["seconds"], job["share_of_step"]
    work = {step: (f"{gflop[step]:.0f}", f"{share:.0%}") for step, share in shares.items()}
    lines = [(step, f"{took:.2f}", *work.get(step, "––")) for step, took in seconds.items()]
    runs, total = sum(seconds[step] for step in gflop), sum(gflop.values())
    share = f"{job['share']:.0%} of {job['ceiling_gflops']:.0f}"
    lines.append(("model runs / wall time", f"{runs:.2f}", f"{total:.0f}", share))
    title = "Whole job, {model}, {size} px, {samples} samples, {components}×{steps} frames"
    headings = ("step", "seconds", "GFLOP", "share of ceiling")
    return new_table(title.format_map(job), headings, lines)
