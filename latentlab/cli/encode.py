"""``latentlab encode``: the latents of a folder of images, in a store that can be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, progress_bar, say
from latentlab.cli.foreign import Links
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_source
from latentlab.cli.machine import Machine, say_tiling
from latentlab.encoding.scale import describe_scale
from latentlab.errors import FileError
from latentlab.images.fit import AUTO


@grouped
def encode(
    images: Annotated[
        Path,
        typer.Argument(
            help="A folder of images, with its subfolders, or a tar, zip or parquet file."
        ),
    ],
    out: Annotated[
        Path, typer.Option(*options.OUT, help="The store: a new folder, or one to resume.")
    ],
    machine: Machine,
    size: options.Size = AUTO,
    store_dtype: Annotated[
        str, typer.Option(help="Dtype of the stored latents: float16, bfloat16 or float32.")
    ] = "float16",
    per_shard: Annotated[
        int | None, typer.Option(help="Images in one file. Default: 256.", show_default=False)
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Images in one call of the model. Default: chosen for the device."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="CPU threads. They change the last digits, so a store keeps the number it was "
            "started with."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Worker processes for decoding images. Default: cores − 1, or 0 when the model "
            "itself runs on a two-core CPU.",
        ),
    ] = None,
    follow_links: Links = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Encode every image of a folder. An interrupted run resumes where it stopped."""
    check_source(images, follow_links=follow_links)
    side = options.parse_size(size)
    from latentlab.encoding.precision import for_data_set
    from latentlab.machine.distributed import joined_ranks
    from latentlab.recipes.encoding import describe_filled, loading_options
    from latentlab.store.filling import check_new_store, encode_folder
    from latentlab.store.manifest import check_options
    from latentlab.store.opening import open_source

    counts = {"per_shard": per_shard, "batch": batch, "threads": threads}
    check_options(stored=store_dtype, **counts)
    with joined_ranks() as ranks:
        quiet = quiet or not ranks.is_first  # one process speaks for all
        if ranks.is_first:
            check_new_store(out)
        how = loading_options(out, machine.dtype, machine.tile, machine.compiled)
        vae = machine.load(quiet=quiet, device=ranks.device(machine.device), **how)
        if how["dtype"] == "auto":
            vae = for_data_set(vae)
        with progress_bar(quiet=quiet, shorten="lower --size") as progress:
            filled = encode_folder(
                vae,
                open_source(images, follow_links=follow_links),
                out,
                size=side,
                store_dtype=store_dtype,
                **counts,
                workers=workers,
                ranks=ranks,
                progress=progress,
            )
    say_tiling(vae, quiet=quiet)
    if ranks.is_first:
        facts = describe_filled(filled)
        if json:
            print_json(facts)
        elif not quiet:
            _print_summary(facts, ranks.world, vae.origin.normalization)
        if not facts["pictures"]:
            say("no image could be read", quiet=quiet)
            raise typer.Exit(FileError.exit_code)


def _print_summary(facts: Mapping[str, Any], world: int, normalization: str) -> None:
    size = facts["bytes"] / 1e6
    print(f"latents: {facts['pictures']:,}, shards: {facts['shards']:,}, {size:,.1f} MB")
    if facts["latent_std"] is not None:
        print(describe_scale(facts["latent_std"], normalization=normalization))
    if facts["skipped"]:
        index = Path(facts["store"]) / "index.jsonl"
        print(f'skipped: {facts["skipped"]:,}, see "skipped" in {index}')
        for why, count in facts["skipped_because"].items():
            print(f"  {count:,}: {why}")
    if facts["left_out"]:
        from latentlab.images.formats import count_kinds

        print(f"left out (no images, or links not followed): {count_kinds(facts['left_out'])}")
    if facts["computed"]:
        rank = f" by rank 0 of {world}" if world > 1 else ""
        print(f"read now{rank}: {facts['computed']:,}, {facts['pictures_per_second']:.1f} a second")
    print(facts["store"])
