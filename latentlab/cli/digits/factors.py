"""``latentlab digits factors``: which latent does what, and which is the tilt."""

from __future__ import annotations

from collections.abc import Mapping
from math import degrees
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.setting import data_of, record_command, results_folder


def factors(
    context: typer.Context,
    run: digits_options.Run = None,
    data: digits_options.RunData = None,
    pictures: Annotated[
        int, typer.Option(min=100, help="How many test pictures to measure; more take longer.")
    ] = 10_000,
    seed: options.Seed = 0,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: bool = False,
) -> None:
    """Measure slant, thickness, width, height, area and length against every latent."""
    from latentlab.digits.factors import describe_table, subset, table_of_factors
    from latentlab.digits.folders import load_run
    from latentlab.digits.traversal import sweep_latents, sweep_values
    from latentlab.results.folders import write_json

    loaded = load_run(run)
    digits = subset(data_of(loaded, data, offline=offline, quiet=quiet).test, pictures)
    folder = results_folder(out, "factors")
    say(f"measuring {len(digits):,} test pictures", quiet=quiet)
    table = table_of_factors(loaded.model, digits, seed=seed)
    values = sweep_values(loaded, reach="sigma", span=2.0, steps=3)
    facts: dict[str, Any] = {
        "run": str(run or "shipped"),
        "pictures": len(digits),
        **describe_table(table, sweep_latents(loaded.model, values)),
    }
    files = [
        write_json(folder / "factors.json", facts),
        record_command(folder, "factors", context.obj, seed=seed),
    ]
    facts |= {"out": str(folder), "files": [str(file) for file in files]}
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(
        f"|Spearman| within a label, mean over labels, {facts['pictures']:,} test pictures",
        style="bold",
    )
    console.print(_latent_table(facts, "rho"))
    console.print("mutual information with the rank within a label, nats", style="bold")
    console.print(_latent_table(facts, "mutual_information"))
    tilt = facts["tilt_dimension"]
    found = facts["dimensions"][tilt]
    console.print(
        f"z{tilt} is the tilt: |ρ| with the slant {found['rho']['slant']:.3f} on average, "
        f"{found['rho_slant_worst']:.3f} for the worst label, "
        f"{found['rho_chance']['slant']:.3f} by chance"
    )
    console.print(_score_table(facts))
    for path in facts["files"]:
        print(path)


def _latent_table(facts: Mapping[str, Any], what: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    names = list(facts["dimensions"][0][what])
    turns = what == "rho"
    for heading in ("", "KL", *names, *["turns by"] * turns):
        table.add_column(heading, justify="right" if heading else "left")
    for entry in facts["dimensions"]:
        turned = f"{degrees(entry['change']['slant']):+.0f}°"
        cells = [f"{entry[what][name]:.2f}" for name in names]
        table.add_row(f"z{entry['index']}", f"{entry['kl']:.2f}", *cells, *[turned] * turns)
    return table


def _score_table(facts: Mapping[str, Any]) -> Any:
    from rich.table import Table

    rotated, shuffled = facts["rotation_control"], facts["shuffled_control"]
    table = Table(box=None, pad_edge=False)
    for heading in ("", "as it is", "rotated at random", "factors shuffled"):
        table.add_column(heading, justify="right" if heading else "left")

    def add(name: str, found: float, control: Mapping[str, float], chance: float) -> None:
        spread = f"{control['mean']:.3f} ± {control['std']:.3f}"
        table.add_row(name, f"{found:.3f}", spread, f"{chance:.3f}")

    add("MIG", facts["mig"], rotated["mig"], shuffled["mig"])
    add(
        "MIG of the slant",
        facts["gaps"]["slant"],
        rotated["slant_gap"],
        shuffled["gaps"]["slant"],
    )
    for name, value in facts["dci"].items():
        add(f"DCI {name}", value, rotated["dci"][name], shuffled["dci"][name])
    add("SAP (r²)", facts["sap"], rotated["sap"], shuffled["sap"])
    return table
