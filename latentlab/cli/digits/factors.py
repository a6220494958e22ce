"""``latentlab digits factors``: what each latent does, and which one is the tilt."""

from __future__ import annotations

from collections.abc import Mapping
from math import degrees
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import progress_bar, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.results import print_table, report, results_folder


def factors(
    context: typer.Context,
    run: digits_options.Run = None,
    data: digits_options.RunData = None,
    pictures: Annotated[
        int, typer.Option(min=100, help="Number of test images to measure; more take longer.")
    ] = 10_000,
    seed: options.Seed = 0,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
) -> None:
    """Find which latent follows slant, thickness or another factor.

    Factors: slant, thickness, width, height, area and length.
    """
    from latentlab.digits.factors import save_factors
    from latentlab.digits.folders import load_run

    loaded = load_run(run)
    with progress_bar(quiet=quiet, in_bytes=True) as progress:
        test = loaded.read_data(data, offline=offline, progress=progress).test.draw(pictures)
    folder = results_folder(out, "factors")
    say(f"measuring {len(test):,} test images", quiet=quiet)
    facts = save_factors(loaded, test, folder, seed=seed)
    report(context, folder, facts, _print_summary, seed=seed)


def _print_summary(facts: Mapping[str, Any]) -> None:
    pictures = f"{facts['pictures']:,} test images"
    _print_latents(facts, "rho", f"|Spearman| within a label, mean over labels, {pictures}")
    title = "mutual information with the rank within a label, nats"
    _print_latents(facts, "mutual_information", title)
    print(_name_tilt(facts))
    if left_out := facts["constant_factors"]:
        print(f"left out, since it never varies within a label: {', '.join(left_out)}")
    _print_scores(facts)


def _name_tilt(facts: Mapping[str, Any]) -> str:
    tilt = facts["tilt_dimension"]
    if not any(facts["active"]):
        return "no latent is the tilt: all have collapsed"
    if tilt is None:
        return "no latent is the tilt: none correlates with the slant above chance"
    found = facts["dimensions"][tilt]
    return (
        f"z{tilt} is the tilt: |ρ| with the slant {found['rho']['slant']:.3f} on average, "
        f"{found['rho_slant_worst']:.3f} for the worst label, "
        f"{found['rho_chance']['slant']:.3f} by chance"
    )


def _print_latents(facts: Mapping[str, Any], what: str, title: str) -> None:
    names = [name for name in facts["dimensions"][0][what] if name not in facts["constant_factors"]]
    rows = []
    for entry in facts["dimensions"]:
        cells = [f"{entry[what][name]:.2f}" for name in names]
        rows.append([f"z{entry['index']}", f"{entry['kl']:.2f}", *cells])
        if what == "rho":
            rows[-1].append(f"{degrees(entry['change']['slant']):+.0f}°")
        elif what == "mutual_information":
            beside = max(entry[f"{what}_chance"][name] for name in names)
            rows[-1].append(f"{beside:.2f}")
    last = "turns by" if what == "rho" else "by chance"
    print_table(["", "KL", *names, last], rows, title)


def _print_scores(facts: Mapping[str, Any]) -> None:
    rotated, shuffled = facts["rotation_control"], facts["shuffled_control"]

    def row(name: str, found: float, control: Mapping[str, float], chance: float) -> list[str]:
        spread = f"{control['mean']:.3f} ± {control['std']:.3f}"
        return [name, f"{found:.3f}", spread, f"{chance:.3f}"]

    rows = [
        row("MIG", facts["mig"], rotated["mig"], shuffled["mig"]),
        row("MIG, corrected for N", *(of["mig_corrected"] for of in (facts, rotated, shuffled))),
        *(
            row("MIG of the slant", found["slant"], rotated["slant_gap"], shuffled["gaps"]["slant"])
            for found in [facts["gaps"]]
            if "slant" in found
        ),
        *(
            row(f"DCI {name}", value, rotated["dci"][name], shuffled["dci"][name])
            for name, value in facts["dci"].items()
        ),
        row("SAP (r²)", facts["sap"], rotated["sap"], shuffled["sap"]),
    ]
    print_table(["", "as it is", "rotated at random", "factors shuffled"], rows)
