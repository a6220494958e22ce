"""What one would write by hand: one image at a time, float32, NCHW, scikit-learn and imageio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.decomposition import PCA

from latentlab.loaders.built_in import BUILT_IN
from latentlab.loaders.taesd import TAESD, join_halves
from latentlab.models.shipped import shipped_folder
from latentlab.neighborhoods.augment import change_image

COMPONENTS = 64
"""Components of the PCA, as many as latentlab keeps."""


@dataclass(frozen=True)
class NaiveVAE:
    """A model as it comes from its file, from images in [−1, 1] to its own latents and back."""

    encode: Callable[[torch.Tensor], torch.Tensor]
    decode: Callable[[torch.Tensor], torch.Tensor]

    def job(self, half: str, batch: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Return a job that runs one half, ``encode`` or ``decode``, without gradients."""
        return torch.no_grad()(lambda: getattr(self, half)(batch))


@dataclass
class NaiveJob:
    """What the whole job leaves behind: wall times of its steps, spectrum, latents (N, D)."""

    seconds: dict[str, float] = field(default_factory=dict)
    ratios: NDArray[np.float32] | None = None
    solver: str = ""
    samples: NDArray[np.float32] | None = None

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start


def load_naive(source: str | Path, device: str = "cpu") -> NaiveVAE:
    """Return the model of a folder: diffusers' AutoencoderKL, or TAESD's two files."""
    folder = shipped_folder(str(source)) if source in BUILT_IN else Path(source)
    if (folder / "config.json").is_file():
        from diffusers import AutoencoderKL

        return halves_of(AutoencoderKL.from_pretrained(folder).eval(), device)
    return halves_of(_load_taesd(folder), device)


def halves_of(module: Any, device: str = "cpu") -> NaiveVAE:
    """Return both halves of a plain AutoencoderKL or TAESD; they take and return CPU tensors."""
    module = module.to(device)
    if hasattr(module, "encode"):
        return NaiveVAE(
            lambda images: module.encode(images.to(device)).latent_dist.mean.cpu(),
            lambda latents: module.decode(latents.to(device)).sample.cpu(),
        )
    return NaiveVAE(
        lambda images: module.encoder((images.to(device) + 1) / 2).cpu(),
        lambda latents: (module.decoder(latents.to(device)) * 2 - 1).cpu(),
    )


def run_naive(
    source: str | Path,
    pixels: torch.Tensor,
    factors: Mapping[str, torch.Tensor],
    *,
    components: int,
    steps: int,
    device: str = "cpu",
) -> NaiveJob:
    """Write curve and animations of an image (3, H, W) to this folder; return times and spectrum.

    The factors (N,) say how the image is changed, as for latentlab's ``augment``.
    """
    job = NaiveJob()
    with job.timed("load"):
        vae = load_naive(source, device)
    rows = []
    with job.timed("encode"), torch.no_grad():
        center = vae.encode(pixels[None])
        for index in range(len(next(iter(factors.values())))):
            one = {name: values[index : index + 1] for name, values in factors.items()}
            rows.append(vae.encode(change_image(pixels, one))[0].flatten().numpy())
    job.samples = np.stack(rows)
    with job.timed("pca"):
        pca = PCA(n_components=min(COMPONENTS, len(rows) - 1)).fit(job.samples)
    job.ratios, job.solver = pca.explained_variance_ratio_, str(pca._fit_svd_solver)
    with job.timed("curve"):
        _save_curve(job.ratios)
    lengths = np.sqrt(pca.explained_variance_[:components])
    trails = []
    with job.timed("decode"), torch.no_grad():
        for direction, length in zip(pca.components_, lengths, strict=False):
            step = torch.from_numpy(direction * length).float().view_as(center)
            latents = (center + alpha * step for alpha in torch.linspace(-3, 3, steps))
            trails.append([_to_levels(vae.decode(latent)[0]) for latent in latents])
    with job.timed("gif"):
        _save_animations(trails)
    return job


def _load_taesd(folder: Path) -> Any:
    halves = []
    for half in ("encoder", "decoder"):
        (path,) = folder.glob(f"*{half}.*")
        plain = path.suffix == ".safetensors"
        halves.append(load_file(path) if plain else torch.load(path, weights_only=True))
    tensors = join_halves(*halves)
    # diffusers cannot hold TAEF2: latentlab builds the layers, which then run unchanged.
    module = TAESD({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    module.load_state_dict(tensors)
    return module.eval()


def _save_curve(ratios: NDArray[np.float32]) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot(np.arange(1, len(ratios) + 1), np.cumsum(ratios))
    axes.set(xlabel="component", ylabel="cumulative explained variance")
    figure.savefig("curve.png")


def _to_levels(image: torch.Tensor) -> NDArray[np.uint8]:
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().byte()
    return levels.permute(1, 2, 0).numpy()


def _save_animations(trails: list[list[NDArray[np.uint8]]]) -> None:
    rows = [np.concatenate(frames, axis=0) for frames in zip(*trails, strict=True)]
    for number, frames in enumerate([rows, *trails]):
        imageio.mimsave(f"component_{number}.gif", frames, duration=1000 / 12, loop=0)
