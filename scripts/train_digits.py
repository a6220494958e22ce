"""Train the conditional β-VAE that comes with latentlab and write it into the package.

``python scripts/train_digits.py --data DIR`` trains on MNIST's IDX files: a few epochs with each
of several seeds, the best of them to the end, and the same network with the same seed at β = 1
for comparison. Then the latents are sorted so that number 3 is the tilt. All choices are made on
training images; the figures are measured on the test set. ``--evaluate`` measures the figures of
the shipped model again, and ``--export`` writes its ONNX files again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from digits_evaluation import evaluate_tilt
from digits_ordering import sort_latents
from package_models import renew_sums

from latentlab.digits.data import DigitsData, load_data
from latentlab.digits.export import export_onnx
from latentlab.digits.exported import SHIPPED
from latentlab.digits.folders import load_run, save_run
from latentlab.digits.measure import encode_digits, measure_losses
from latentlab.digits.models import DigitsConfig, DigitsModel
from latentlab.digits.objective import Beta
from latentlab.digits.tilt import find_tilt
from latentlab.digits.training import Recipe, Trainer
from latentlab.errors import LatentlabError
from latentlab.models.shipped import MODELS_FOLDER

CONFIG = DigitsConfig("cvae", latent=8, hidden=(208,))
RECIPE = Recipe(epochs=60, beta=Beta(2.5))
SEEDS = range(3)
SCREENING = 4
MEASURED = 10_000
TILT = 3


def train_to(trainer: Trainer, epochs: int) -> Trainer:
    """Train until this many epochs are done, with a line for each on stderr."""
    while trainer.epoch < epochs:
        figures = trainer.run_epoch()
        recipe = trainer.recipe
        print(
            f"β {recipe.beta.final:g} seed {recipe.seed} epoch {figures['epoch']}: "
            f"{figures['test']['reconstruction']:.2f} + {figures['test']['kl']:.2f} nats",
            file=sys.stderr,
        )
    return trainer


def margin(trainer: Trainer, data: DigitsData) -> float:
    """Return how far the tilt leads the next latent, in mean |Spearman| on training images."""
    shown = data.train[:MEASURED]
    rho = sorted(find_tilt(encode_digits(trainer.model, shown), shown.images).rho)
    print(f"seed {trainer.recipe.seed}: tilt {rho[-1]:.3f}, next {rho[-2]:.3f}", file=sys.stderr)
    return rho[-1] - rho[-2]


def train_best(data: DigitsData, recipe: Recipe, seeds: range) -> Trainer:
    """Screen the seeds and train the best to the end."""
    trainers = [Trainer(CONFIG, replace(recipe, seed=seed), data) for seed in seeds]
    for trainer in trainers:
        train_to(trainer, min(SCREENING, recipe.epochs))
    best = max(trainers, key=lambda trainer: margin(trainer, data))
    return train_to(best, recipe.epochs)


def write(model: DigitsModel, trainer: Trainer, data: DigitsData, plain: float, out: Path) -> None:
    """Write weights, codes, config and metrics."""
    codes = encode_digits(model, data.test)
    tilt = find_tilt(codes, data.test.images)
    facts = {
        "training": asdict(trainer.recipe),
        "data": {"name": "mnist", "train": len(data.train), "test": len(data.test)},
        "unit": "nats",
        "test": asdict(measure_losses(model, data.test)),
        "total_at_beta_1": plain,
        "tilt_dimension": tilt.dimension,
        "tilt_rho": list(tilt.rho),
    }
    save_run(out / SHIPPED, model, facts, trainer.history, codes)
    export(out)


def export(out: Path) -> None:
    """Write the ONNX files of the model into its folder."""
    export_onnx(load_run(out / SHIPPED), out / SHIPPED)
    renew_sums(out)


def main(arguments: list[str] | None = None) -> int:
    """Train or measure; report an error as one line and an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with MNIST's IDX files, or mnist")
    parser.add_argument("--out", type=Path, default=MODELS_FOLDER, help="folder of models")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--beta", type=float, default=RECIPE.beta.final)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many to screen")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--evaluate", action="store_true", help="measure the model in --out again")
    parser.add_argument("--export", action="store_true", help="export the model in --out again")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        data = load_data(options.data)
        if options.export:
            export(options.out)
        elif not options.evaluate:
            recipe = replace(RECIPE, epochs=options.epochs, beta=Beta(options.beta))
            trainer = train_best(data, recipe, range(options.seeds))
            model = sort_latents(trainer.model, data.train[:MEASURED], tilt_at=TILT)
            plain = replace(trainer.recipe, beta=Beta(1.0))
            other = train_to(Trainer(CONFIG, plain, data), plain.epochs)
            write(model, trainer, data, other.history[-1]["test"]["total"], options.out)
        run = load_run(options.out / SHIPPED)
    except LatentlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    figures = evaluate_tilt(run.model, data)
    print(json.dumps({**figures, "total_at_beta_1": run.facts["total_at_beta_1"]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
