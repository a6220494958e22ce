"""``latentlab encode``: the latents of a folder of pictures, in a store that can go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, progress_bar
from latentlab.cli.machine import Machine, say_tiling

if TYPE_CHECKING:
    from latentlab.loaders import LatentVAE
    from latentlab.store.filling import Filled
    from latentlab.store.manifest import Manifest


def encode(
    pictures: Annotated[
        Path, typer.Argument(help="A folder of pictures, with its subfolders, or a tar file.")
    ],
    out: Annotated[Path, typer.Option(help="The store: a new folder, or one to go on with.")],
    model: options.Model = None,
    size: options.Size = None,
    store_dtype: Annotated[
        str, typer.Option(help="What latents are stored in: float16, bfloat16 or float32.")
    ] = "float16",
    per_shard: Annotated[
        int | None, typer.Option(help="Pictures of one file; 256.", show_default=False)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Pictures that the model sees at once; as suits the device.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the model on a CPU, on which its last digits depend."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that decode pictures, and survive those that end one; one less than "
            "the cores, but none beside a model on two cores.",
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    tile: options.Tile = None,
    compiled: options.Compile = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: options.Debug = False,
) -> None:
    """Encode every picture of a folder; started again, it goes on where it was."""
    from latentlab.machine.distributed import joined_ranks
    from latentlab.store.filling import fill_store
    from latentlab.store.manifest import MANIFEST, check_options, read_manifest
    from latentlab.store.opening import open_source

    check_options(stored=store_dtype, per_shard=per_shard, batch=batch, threads=threads)
    source = open_source(pictures)
    with joined_ranks() as ranks:
        # One process speaks for all.
        quiet = quiet or not ranks.is_first
        begun = read_manifest(out) if (out / MANIFEST).exists() else None
        if begun:
            tile, compiled = tile or begun.tile, compiled or begun.compiled
        place = ranks.device(device)
        machine = Machine(model, place, dtype, offline, quiet, tile, compiled)
        vae = machine.fetch()
        vae = machine.prepare(_cast(vae, begun) if dtype == "auto" else vae)
        with progress_bar(quiet=quiet) as progress:
            filled = fill_store(
                vae,
                source,
                out,
                size=size,
                stored=store_dtype,
                per_shard=per_shard,
                batch=batch,
                threads=threads,
                workers=workers,
                ranks=ranks,
                progress=progress,
            )
    say_tiling(vae, quiet=quiet)
    if ranks.is_first:
        facts = _facts(filled)
        if json:
            print_json(facts)
        elif not quiet:
            _print_summary(facts, ranks.world)


def _cast(vae: LatentVAE, begun: Manifest | None) -> LatentVAE:
    """Return the VAE in the precision that a store was begun in, or in that which suits a new one.

    Another machine may choose another for itself, and must not where it goes on with this one's.
    """
    from latentlab.encoding.precision import for_data_set
    from latentlab.loaders.load import DTYPES

    return vae.cast(DTYPES[begun.dtype]) if begun else for_data_set(vae)


def _facts(filled: Filled) -> dict[str, Any]:
    from latentlab.store.reading import open_store

    store = open_store(filled.folder)
    return {
        "store": str(filled.folder),
        "pictures": len(store),
        "skipped": store.skipped,
        "shards": store.manifest.shards,
        "bytes": store.bytes,
        "bytes_per_latent": store.bytes / len(store) if len(store) else None,
        "computed": filled.computed,
        "seconds": filled.seconds,
        "pictures_per_second": filled.pictures_per_second,
        "files": [str(path) for path in store.files()],
    }


def _print_summary(facts: Mapping[str, Any], world: int) -> None:
    size = facts["bytes"] / 1e6
    print(f"latents: {facts['pictures']:,}, shards: {facts['shards']:,}, {size:,.1f} MB")
    if facts["skipped"]:
        index = Path(facts["store"]) / "index.jsonl"
        print(f'skipped: {facts["skipped"]:,}, see "skipped" in {index}')
    if facts["computed"]:
        rank = f" by the first of {world} ranks" if world > 1 else ""
        print(f"read now{rank}: {facts['computed']:,}, {facts['pictures_per_second']:.1f} a second")
    print(facts["store"])
