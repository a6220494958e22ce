"""The parts of the benchmarks, in order, and what of the options each of them takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_tables import (
    jacobian_table,
    job_table,
    model_table,
    null_table,
    pca_table,
    start_table,
)
from gif_bench import gif_tables, gif_targets, measure_gif
from jacobian_bench import jacobian_targets, measure_jacobian
from models_bench import flux1_vae, measure_halves, models_tables, models_targets
from nulls_bench import measure_nulls, null_targets
from pca_bench import measure_pca, pca_targets
from ranks_bench import measure_ranks, ranks_tables, ranks_targets
from report import Figures, Say, Section
from start_bench import measure_start, start_targets
from store_bench import (
    PHOTOS,
    measure_growth,
    measure_throughput,
    store_tables,
    store_targets,
)
from stream_bench import measure_stream, stream_tables, stream_targets
from vae_bench import job_targets, measure_job, measure_model, vae_targets
from whole_bench import measure_whole, whole_tables, whole_targets

if TYPE_CHECKING:
    from latentlab import LatentVAE

DEFAULT_MODEL = Path(__file__).resolve().parents[3] / "shared" / "models" / "taef2"
BUILT_IN = "mini"
_SMALL_FLUX1 = {"block_out_channels": (8, 16, 16, 16), "norm_num_groups": 4}


def _measure_pca(options: argparse.Namespace, say: Say) -> Figures:
    rows = []
    for shape in options.shapes:
        say(f"exact PCA of {shape[0]}×{shape[1]:,} samples")
        rows.append(measure_pca(shape, options.rounds, memory=options.memory))
    return rows


def _measure_nulls(options: argparse.Namespace, say: Say) -> Figures:
    rows = []
    for shape in options.null_shapes:
        say(f"parallel analysis of {shape[0]}×{shape[1]:,} samples")
        rows.append(measure_nulls(shape, options.rounds, memory=options.memory))
    return rows


def _measure_vae(options: argparse.Namespace, say: Say) -> Figures:
    source = _model(options, or_built_in=False)
    if source is None:
        return _no_model()
    say(f"{source}, plain float32")
    return measure_model(_load(source), options.size, options.rounds)


def _measure_job(options: argparse.Namespace, say: Say) -> Figures:
    source = _model(options, or_built_in=False)
    if source is None:
        return _no_model()
    say("neighborhood, PCA and frames, beside the ceiling")
    return measure_job(_load(source), options.size, **_job_size(options))


def _measure_models(options: argparse.Namespace, say: Say) -> Figures:
    rows = []
    for source in dict.fromkeys((BUILT_IN, _model(options))):
        say(f"{source} at {options.size} px")
        vae = _load(source, options.device)
        rows += measure_halves(vae, options.size, options.rounds)
        if options.compile:
            rows += measure_halves(vae, options.size, options.rounds, compiled=True)
    for size in options.flux_sizes:
        say(f"FLUX.1's architecture at {size} px")
        vae = flux1_vae(options.device, **(_SMALL_FLUX1 if options.quick else {}))
        rows += measure_halves(vae, size, options.rounds)
        if options.compile:
            rows += measure_halves(vae, size, options.rounds, compiled=True)
    return rows


def _measure_whole(options: argparse.Namespace, say: Say) -> Figures:
    source = _model(options)
    say(f"pca and traverse with {source}, three ways")
    return measure_whole(
        source, options.size, options.rounds, device=options.device, **_job_size(options)
    )


def _measure_jacobian(options: argparse.Namespace, say: Say) -> Figures:
    say("singular directions of the decoder")
    return measure_jacobian(_load(_model(options)), options.size)


def _measure_start(options: argparse.Namespace, say: Say) -> Figures:
    return measure_start(options.rounds)


def _measure_store(options: argparse.Namespace, say: Say) -> Figures:
    throughput = None
    if PHOTOS.is_dir():
        from latentlab.encoding.precision import for_data_set

        say(f"stores of {options.photos:,} photos")
        vae = for_data_set(_load(_model(options), options.device))
        throughput = measure_throughput(vae, options.size, options.rounds, options.photos)
    say(f"stores of up to {max(options.counts):,} small images")
    return {"throughput": throughput, "growth": measure_growth(options.counts)}


def _measure_stream(options: argparse.Namespace, say: Say) -> Figures:
    say("streaming PCA of {:,}×{:,}".format(*options.stream_shape))
    return measure_stream(options.stream_shape, options.stream_growing, options.rounds)


def _measure_gif(options: argparse.Namespace, say: Say) -> Figures:
    return measure_gif(options.size, options.rounds)


def _measure_ranks(options: argparse.Namespace, say: Say) -> Figures:
    if not PHOTOS.is_dir():
        return {"skipped": f"no photos at {PHOTOS}"}
    say(f"{options.rank_photos} photos by one process and by two")
    return measure_ranks(
        _model(options), PHOTOS, options.size, options.rank_rounds, images=options.rank_photos
    )


SECTIONS = (
    Section("whole", _measure_whole, whole_tables, whole_targets),
    Section("models", _measure_models, models_tables, models_targets),
    Section("pca", _measure_pca, lambda rows: [pca_table(rows)], pca_targets),
    Section("stream", _measure_stream, stream_tables, stream_targets),
    Section("nulls", _measure_nulls, lambda rows: [null_table(rows)], null_targets),
    Section("vae", _measure_vae, lambda rows: [model_table(rows)], vae_targets),
    Section("job", _measure_job, lambda row: [job_table(row)], job_targets),
    Section("jacobian", _measure_jacobian, lambda row: [jacobian_table(row)], jacobian_targets),
    Section("gif", _measure_gif, gif_tables, gif_targets),
    Section("store", _measure_store, store_tables, store_targets),
    Section("ranks", _measure_ranks, ranks_tables, ranks_targets),
    Section("start", _measure_start, lambda rows: [start_table(rows)], start_targets),
)


def _job_size(options: argparse.Namespace) -> dict[str, int]:
    return {name: getattr(options, name) for name in ("samples", "components", "steps")}


def _model(options: argparse.Namespace, *, or_built_in: bool = True) -> Any:
    """Return the model asked for, the default one where it is there, or the built-in one."""
    if options.model:
        return options.model
    if DEFAULT_MODEL.is_dir():
        return str(DEFAULT_MODEL)
    return BUILT_IN if or_built_in else None


def _no_model() -> Figures:
    return {"skipped": f"no model at {DEFAULT_MODEL}: give one with --model"}


def _load(source: str, device: str = "cpu") -> LatentVAE:
    from latentlab import load_vae

    return load_vae(source, device=device, dtype="float32")
