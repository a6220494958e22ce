"""Measure a model as the card of ``mini`` reports it, beside the linear control.

``python scripts/score_mini.py`` scores the shipped ``mini`` on photos that were not trained on:
PSNR and SSIM of each, seconds to encode and decode, model space, posterior, and how log-like the
``augment`` curve is. ``--photos DIR`` takes other photos, ``--model`` another model, ``--json
FILE`` writes everything.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mini_data import bundled_photos, read_folder, score, to_pixels

from latentlab.encoding.encoder import decode
from latentlab.errors import LatentlabError
from latentlab.results.folders import write_json

if TYPE_CHECKING:
    from latentlab import LatentVAE

CONTROL = "linear"
USUAL_LOGVAR = (-23.0, -17.0)
"""Where most log-variances of Stable Diffusion's VAEs lie, before any scaling."""
ROUNDS = 5


def score_model(vae: LatentVAE, photos: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """PSNR in dB and SSIM of each uint8 photo (H, W, 3) after the round trip."""
    from latentlab import encode

    copies = [to_pixels(decode(vae, encode(vae, photo))[None])[0] for photo in photos.values()]
    pairs = score(np.stack(list(photos.values())), np.stack(copies))
    return {name: {"psnr": p, "ssim": s} for name, (p, s) in zip(photos, pairs, strict=True)}


def describe_latents(vae: LatentVAE, photos: dict[str, np.ndarray]) -> dict[str, Any]:
    """Mean, deviation and smallest channel deviation of model space, and the posterior.

    Of the log-variance, in the model's own units: quantiles, and the share in ``USUAL_LOGVAR``.
    """
    import torch

    from latentlab import encode

    latents = [encode(vae, photo) for photo in photos.values()]
    values = torch.stack([latent.values for latent in latents])
    facts: dict[str, Any] = {
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "smallest_channel_deviation": float(values.std((0, 2, 3)).min()),
    }
    if vae.spec.has_logvar:
        logvar = torch.stack([latent.logvar for latent in latents if latent.logvar is not None])
        own = logvar.numpy() - model_space_logvar(vae)
        facts["logvar_5_50_95"] = np.quantile(own, (0.05, 0.5, 0.95)).tolist()
        low, high = USUAL_LOGVAR
        facts["logvar_usual"] = float(((own >= low) & (own <= high)).mean())
    return facts


def model_space_logvar(vae: LatentVAE) -> float:
    """Return what the change to model space adds to the model's own log-variance."""
    import torch

    zero = torch.zeros(1, vae.spec.channels, 1, 1)
    return float(vae.normalization.logvar_to_model(zero).mean())  # type: ignore[attr-defined]


def time_round_trip(vae: LatentVAE, photo: np.ndarray) -> dict[str, float]:
    """Median seconds to encode and to decode one photo."""
    from latentlab import encode
    from latentlab.images.reading import read_image

    image = read_image(photo)
    latent = encode(vae, image)
    jobs = {"encode": lambda: encode(vae, image), "decode": lambda: decode(vae, latent)}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for name in list(jobs) * ROUNDS:
        start = time.perf_counter()
        jobs[name]()
        seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def fit_augmented(vae: LatentVAE, photos: dict[str, np.ndarray], samples: int) -> dict[str, Any]:
    """R² of the log fit, k90 and shares of the first five components around each photo."""
    from latentlab import encode, fit_pca, neighborhood

    facts = {}
    for name, photo in photos.items():
        found = fit_pca(neighborhood(vae, encode(vae, photo), "augment", n_samples=samples))
        summary = found.summary()
        facts[name] = {key: summary[key] for key in ("log_fit_r2", "k90", "participation_ratio")}
        facts[name]["shares"] = summary["explained_variance_ratio"][:5]
    return facts


def print_scores(ours: dict[str, Any], control: dict[str, Any]) -> None:
    """A row for each photo and one for the means, in the card's format."""
    print("| photo | PSNR | `linear` | SSIM |\n|---|---|---|---|")
    for name, figures in ours.items():
        print(f"| {name} | {figures['psnr']:.2f} | {control[name]['psnr']:.2f} ", end="")
        print(f"| {figures['ssim']:.3f} |".replace("| 0.", "| ."))
    psnr, ssim = (np.mean([f[key] for f in ours.values()]) for key in ("psnr", "ssim"))
    linear = np.mean([figures["psnr"] for figures in control.values()])
    print(f"| mean | {psnr:.2f} | {linear:.2f} | {ssim:.3f} |".replace("| 0.", "| ."))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini", help="what load_vae takes")
    parser.add_argument("--photos", type=Path, help="folder of photos; else the bundled ones")
    parser.add_argument("--limit", type=int, help="only so many photos of the folder")
    parser.add_argument("--samples", type=int, default=256, help="of augment; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write everything here")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures, printed as they come."""
    from latentlab import load_vae

    if options.photos:
        folder = read_folder(options.photos, limit=options.limit)
        photos = dict(zip(folder.names, folder.pixels, strict=True))
    else:
        photos = bundled_photos()
    vae = load_vae(options.model)
    first = next(iter(photos.values()))
    facts = {
        "photos": score_model(vae, photos),
        CONTROL: score_model(load_vae(CONTROL), photos),
        "latents": describe_latents(vae, photos),
        "seconds": time_round_trip(vae, first),
    }
    print_scores(facts["photos"], facts[CONTROL])
    print(f"model space {facts['latents']}\nseconds {facts['seconds']}", flush=True)
    if options.samples:
        facts["augment"] = fit_augmented(vae, photos, options.samples)
        for name, curve in facts["augment"].items():
            print(f"augment around {name}: R² of the log fit {curve['log_fit_r2']:.3f}, ", end="")
            print(f"k90 {curve['k90']}, {', '.join(f'{s:.1%}' for s in curve['shares'])}")
    return facts


def main(arguments: list[str] | None = None) -> int:
    """Measure, and turn what went wrong into one line and an exit code."""
    options = parse(arguments)
    try:
        facts = measure(options)
        if options.json:
            write_json(options.json, facts)
    except LatentlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
