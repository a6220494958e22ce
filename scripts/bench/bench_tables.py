"""Measured figures as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from timing import Target


def pca_table(rows: list[dict[str, Any]]) -> Table:
    """Return one line for each shape and method."""
    table = new_table(
        "Exact PCA beside scikit-learn's",
        "samples",
        "method",
        "seconds",
        "× latentlab",
        "peak / samples",
        "eigenvalue error",
    )
    for row in rows:
        for method, figures in row["methods"].items():
            peak, error = figures["peak_over_samples"], figures["eigenvalue_error"]
            table.add_row(
                "{}×{:,}".format(*row["shape"]) if method == "latentlab" else "",
                method if method == "latentlab" else f"sklearn {method}",
                f"{figures['seconds']:.3f}",
                f"{figures['ratio']:.2f}",
                "–" if peak is None else f"{peak:.2f}",
                "–" if error is None else f"{error:.1e}",
            )
    return table


def null_table(rows: list[dict[str, Any]]) -> Table:
    """Return one line for each shape."""
    table = new_table(
        "Parallel analysis beside NumPy: permute a copy, singular values",
        "samples",
        "draws",
        "seconds",
        "NumPy, extrapolated",
        "× latentlab",
        "peak / samples",
        "difference",
    )
    for row in rows:
        peak = row["peak_over_samples"]
        table.add_row(
            "{}×{:,}".format(*row["shape"]),
            str(row["draws"]),
            f"{row['seconds']:.2f}",
            f"{row['naive_seconds']:.1f}",
            f"{row['ratio']:.1f}",
            "–" if peak is None else f"{peak:.2f}",
            f"{row['difference']:.1e}",
        )
    return table


def model_table(rows: list[dict[str, Any]]) -> Table:
    """Return one line for each half of the model and way to run it."""
    table = new_table(
        f"{rows[0]['model']} at {rows[0]['size']} px, float32",
        "half",
        "run",
        "s / image",
        "× latentlab",
        "GFLOP/s",
        "share of ceiling",
    )
    for row in rows:
        top = row["ceiling_gflops"]
        ours = {"batch": 1, "seconds_per_image": row["seconds"], "ratio": 1.0}
        for way in (ours, *row["plain"]):
            rate = row["gflop"] / way["seconds_per_image"]
            table.add_row(
                f"{row['half']}, {row['gflop']:.1f} GFLOP" if way is ours else "",
                "latentlab" if way is ours else f"NCHW, batch {way['batch']}",
                f"{way['seconds_per_image']:.4f}",
                f"{way['ratio']:.2f}",
                f"{rate:.0f}",
                f"{rate / top:.0%} of {top:.0f}",
            )
    return table


def job_table(job: dict[str, Any]) -> Table:
    """Return one line for each step of the whole job."""
    size = f"{job['size']} px, {job['samples']} samples, {job['components']}×{job['steps']} frames"
    table = new_table(
        f"Whole job, {job['model']}, {size}", "step", "seconds", "GFLOP", "share of ceiling"
    )
    for step, seconds in job["seconds"].items():
        share = job["share_of_step"].get(step)
        table.add_row(
            step,
            f"{seconds:.2f}",
            f"{job['gflop'][step]:.0f}" if share is not None else "–",
            f"{share:.0%}" if share is not None else "–",
        )
    table.add_row(
        "model runs / wall time",
        f"{job['seconds']['neighborhood'] + job['seconds']['traverse']:.2f}",
        f"{sum(job['gflop'].values()):.0f}",
        f"{job['share']:.0%} of {job['ceiling_gflops']:.0f}",
    )
    return table


def jacobian_table(row: dict[str, Any]) -> Table:
    """Return the line of the decoder's singular directions."""
    table = new_table(
        f"Top {row['components']} singular directions of {row['model']}'s decoder, "
        f"{row['size']} px",
        "products",
        "seconds",
        "s / product",
        "× decode",
        "largest residual",
        "all found",
    )
    table.add_row(
        str(row["products"]),
        f"{row['seconds']:.2f}",
        f"{row['seconds'] / row['products']:.4f}",
        f"{row['product_over_decode']:.2f}",
        f"{max(row['residuals']):.1e}",
        "yes" if row["converged"] else "no",
    )
    return table


def start_table(rows: list[dict[str, Any]]) -> Table:
    """Return one line for each command."""
    table = new_table(
        "Commands that load no model", "command", "seconds", "python alone", "heavy imports"
    )
    for row in rows:
        table.add_row(
            f"latentlab {row['command']}",
            f"{row['seconds']:.3f}",
            f"{row['python_seconds']:.3f}",
            ", ".join(row["heavy_imports"]) or "none",
        )
    return table


def target_table(targets: list[Target]) -> Table:
    """Return one line for each figure that has a bound."""
    table = new_table("Figures and bounds", "figure", "measured", "bound", "kept")
    for target in targets:
        table.add_row(
            target.name,
            f"{target.value:.3g}",
            f"{'≥' if target.at_least else '≤'} {target.bound:g}",
            "[green]yes[/]" if target.met else "[red]no[/]",
        )
    return table


def new_table(title: str, first: str, *others: str) -> Table:
    """Return an empty table: words in the first column, numbers in the others."""
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
