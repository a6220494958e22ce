"""Train ``mini``, the small KL autoencoder that comes with latentlab, on a folder of photos.

``python scripts/train_mini.py --data DIR --out RUN`` writes into RUN

- ``checkpoint.pt``: weights, their moving average, optimizer and step, replaced every few minutes;
- ``log.jsonl``: one line for every --log-every steps;
- ``mini/``: the averaged weights as a diffusers folder (config.json, fp16 safetensors);
- ``linear/``, ``linear32/``: the linear controls, fitted to the same photos;
- ``scores.json``: PSNR and SSIM on photos that were not trained on, beside the linear code's.

Crops and noise are functions of (seed, step) alone. A run that was stopped and resumed with
--resume therefore ends in the same weights as one that never stopped. (With another --steps it
continues under the new schedule.) ``python scripts/package_models.py RUN`` puts the models into the
package, and ``python scripts/score_mini.py`` measures them there.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from linear_models import write_linear_models
from mini_data import (
    PhotoFolder,
    bundled_photos,
    read_folder,
    sample_crops,
    scaled_copies,
    to_tensor,
)
from mini_linear import fit_decoder, fit_patch_pca, start_from_linear
from mini_model import LATENT_CHANNELS, build_vae, export, mean_psnr, scores
from mini_run import (
    Recipe,
    Run,
    load_checkpoint,
    save_checkpoint,
    trim_log,
    write_line,
)
from torch import Tensor, nn

from latentlab.errors import FileError, LatentlabError, UsageError
from latentlab.loaders.device import choose_device
from latentlab.results.folders import write_json


def start_run(
    recipe: Recipe,
    pixels: np.ndarray | None,
    device: torch.device,
    weights: Path | None = None,
) -> Run:
    """A run at step 0, encoder and decoder close to the linear code of the photos.

    With ``weights``, the folder of an exported model, it starts from those. Without photos the
    weights are random: for a checkpoint to replace.
    """
    torch.manual_seed(recipe.seed)
    vae = build_vae(recipe.channels)
    if weights is not None:
        vae.load_state_dict(type(vae).from_pretrained(weights).state_dict())
    elif pixels is not None:
        pca = fit_patch_pca(pixels, LATENT_CHANNELS)
        start_from_linear(vae, pca, logvar=recipe.logvar)
        fit_decoder(vae, to_tensor(pixels[:: math.ceil(len(pixels) / 48)]))
    averaged = build_vae(recipe.channels)
    averaged.load_state_dict(vae.state_dict())
    vae, averaged = vae.to(device).train(), averaged.to(device).eval().requires_grad_(False)
    matrices = [p for p in vae.parameters() if p.ndim > 1]
    vectors = [p for p in vae.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return Run(vae, averaged, torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.99)))


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the top rate at the last step."""
    warm = min(1.0, (step + 1) / recipe.warm_up)
    done = max(0.0, (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up))
    return recipe.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def crops_at(recipe: Recipe, copies: dict[int, np.ndarray], step: int) -> Tensor:
    """The batch of a step: sizes of crops take turns, larger crops being fewer.

    Group norms see a crop's own statistics. Trained on 64 px alone, a network loses 1.3 dB on
    256 px images against the same images cut into tiles.
    """
    crop = recipe.crops[step % len(recipe.crops)]
    batch = max(1, recipe.batch * recipe.crops[0] ** 2 // crop**2)
    return sample_crops(copies, seed=recipe.seed, step=step, batch=batch, crop=crop)


def losses(recipe: Recipe, vae: nn.Module, images: Tensor, *, step: int) -> dict[str, Tensor]:
    """Reconstruction from one posterior sample, and KL divergence from N(0, 1) a latent value.

    ``loss = l1 * mean|d| + l2 * mean d^2 + kl * mean KL`` with images in [-1, 1].
    """
    noise = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    posterior = vae.encode(images).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    epsilon = torch.randn(mean.shape, generator=noise).to(mean)
    difference = vae.decode(mean + torch.exp(0.5 * logvar) * epsilon).sample.float() - images
    l1, l2 = difference.abs().mean(), difference.square().mean()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return {"loss": recipe.l1 * l1 + recipe.l2 * l2 + recipe.kl * kl, "l1": l1, "l2": l2, "kl": kl}


def train_step(recipe: Recipe, run: Run, images: Tensor) -> dict[str, Tensor]:
    """One step of AdamW with clipped gradients, then of the moving average of the weights."""
    device = next(run.vae.parameters()).device
    images = images.to(device, memory_format=torch.channels_last)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, run.step)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        parts = losses(recipe, run.vae, images, step=run.step)
    run.optimizer.zero_grad(set_to_none=True)
    parts["loss"].backward()
    norm = nn.utils.clip_grad_norm_(run.vae.parameters(), recipe.clip)
    run.optimizer.step()
    keep = min(recipe.average, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        old, new = list(run.averaged.parameters()), list(run.vae.parameters())
        torch._foreach_lerp_(old, new, 1 - keep)
    run.step += 1
    return {key: value.detach() for key, value in parts.items()} | {"gradient": norm.detach()}


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that fills when Ctrl-C or a kill arrives, so that a step is never cut in half."""
    signals: list[int] = []
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda received, _frame: signals.append(received))
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    run: Run,
    recipe: Recipe,
    pixels: np.ndarray,
    *,
    out: Path,
    photos: int,
    checkpoint_every: float = 180.0,
    log_every: int = 100,
    minutes: float = math.inf,
    export_always: bool = False,
) -> bool:
    """Take steps until the recipe's last one, a signal or the end of ``minutes``; True when done.

    The last ``recipe.validation`` photos are not trained on; every log line holds their mean PSNR.
    """
    training, validation = split(pixels, recipe)
    copies = scaled_copies(training)
    begin = saved = logged = time.monotonic()
    seen = 0
    with asked_to_stop() as signals:
        while run.step < recipe.steps:
            images = crops_at(recipe, copies, run.step)
            parts = train_step(recipe, run, images)
            seen += len(images)
            if not torch.isfinite(parts["loss"]):
                raise LatentlabError(
                    f"loss {parts['loss'].item()} at step {run.step}",
                    "a finite loss",
                    "lower the rate and resume from the checkpoint",
                )
            now = time.monotonic()
            stop = bool(signals) or now - begin > 60 * minutes
            if run.step % log_every == 0 or run.step == recipe.steps:
                line = {"step": run.step} | {k: round(v.item(), 6) for k, v in parts.items()}
                line["psnr"] = round(mean_psnr(run.averaged, validation), 3)
                line["images_per_s"] = round(seen / (now - logged), 2)
                write_line(line, out / "log.jsonl")
                logged, seen = time.monotonic(), 0
            if stop or now - saved > checkpoint_every or run.step == recipe.steps:
                save_checkpoint(run, recipe, photos, out / "checkpoint.pt")
                saved = time.monotonic()
                if export_always:
                    export(run.averaged, out / "mini", training[:64])
            if stop:
                break
    return run.step == recipe.steps


def split(pixels: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Photos to train on, and evenly spaced ones to validate with."""
    chosen = np.linspace(0, len(pixels) - 1, min(recipe.validation, len(pixels) - 1)).astype(int)
    held = np.isin(np.arange(len(pixels)), chosen)
    return pixels[~held], pixels[held]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photos")
    parser.add_argument("--out", type=Path, default=Path("mini-run"), help="folder of the run")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="length of the schedule")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--start", type=Path, help="exported model to start from")
    parser.add_argument("--resume", action="store_true", help="resume from the checkpoint in --out")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after; resume later")
    parser.add_argument("--export", action="store_true", help="export at every checkpoint too")
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--checkpoint-every", type=float, default=180.0, metavar="SECONDS")
    parser.add_argument("--log-every", type=int, default=100, metavar="STEPS")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default=Recipe.precision,
        help="of the network's products; bfloat16 is faster where the processor has it",
    )
    for name in ("rate", "batch", "l1", "l2", "kl", "logvar"):
        kind = type(getattr(Recipe, name))
        parser.add_argument(f"--{name}", type=kind, default=getattr(Recipe, name))
    parser.add_argument("--channels", type=int, nargs=4, default=Recipe.channels)
    return parser.parse_args(arguments)


def run_from(options: argparse.Namespace) -> None:
    """The whole program after its options: photos, run, training, export, scores."""
    if options.steps < 1:
        raise UsageError(f"--steps {options.steps}", "at least 1", "pass --steps 10000")
    if options.threads:
        torch.set_num_threads(options.threads)
    names = ("steps", "seed", "rate", "batch", "l1", "l2", "kl", "logvar", "precision")
    recipe = Recipe(**{k: getattr(options, k) for k in names}, channels=tuple(options.channels))
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists() and not options.resume:
        raise UsageError(f"{checkpoint} of an earlier run", "an empty --out", "pass --resume")
    photos: PhotoFolder = read_folder(options.data)
    skipped = f", {len(photos.skipped)} skipped ({', '.join(photos.skipped[:5])})"
    count = f"{len(photos.names)} photos{skipped if photos.skipped else ''}"
    print(f"{count} from {options.data}", file=sys.stderr, flush=True)
    if len(photos.names) < 2:
        raise FileError(f"{count} in {options.data}", "at least 2", "pass a folder with more")
    device = choose_device("auto")
    training, _ = split(photos.pixels, recipe)
    run = start_run(recipe, None if options.resume else training, device, options.start)
    if options.resume:
        load_checkpoint(run, recipe, len(photos.names), checkpoint)
    trim_log(options.out / "log.jsonl", run.step)
    done = train(
        run,
        recipe,
        photos.pixels,
        out=options.out,
        photos=len(photos.names),
        checkpoint_every=options.checkpoint_every,
        log_every=options.log_every,
        minutes=options.minutes,
        export_always=options.export,
    )
    if not done:
        print(
            f"stopped at step {run.step} of {recipe.steps}; pass --resume to continue",
            file=sys.stderr,
        )
        return
    statistics = export(run.averaged, options.out / "mini", training)
    write_linear_models(options.out, training)
    exported = type(run.averaged).from_pretrained(options.out / "mini").eval()
    results = scores(exported, training, bundled_photos()) | {"latents": statistics}
    write_json(options.out / "scores.json", results)
    for name in ("mini", "linear"):
        figures = results[name]
        print(f"{name}: PSNR {figures['psnr']:.2f} dB, SSIM {figures['ssim']:.3f}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Train, and turn what went wrong into one line and an exit code."""
    try:
        run_from(parse(arguments))
    except LatentlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
