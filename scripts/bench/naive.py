"""What one would write by hand: one image at a time, float32, NCHW, scikit-learn and imageio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

COMPONENTS = 64
"""Components of the PCA: what latentlab keeps, too."""


@dataclass(frozen=True)
class NaiveVAE:
    """The two halves of a model as it comes from its file.

    Parameters
    ----------
    encode : images (1, 3, H, W) in [−1, 1] → the VAE's own latents (1, C, h, w)
    decode : latents → images
    """

    encode: Callable[[torch.Tensor], torch.Tensor]
    decode: Callable[[torch.Tensor], torch.Tensor]


@dataclass
class NaiveJob:
    """What the whole job leaves behind.

    Parameters
    ----------
    seconds : step → wall time
    ratios : explained variance ratios of the components kept
    solver : str, scikit-learn's choice
    samples : (N, D), the latents
    """

    seconds: dict[str, float] = field(default_factory=dict)
    ratios: NDArray[np.float32] | None = None
    solver: str = ""
    samples: NDArray[np.float32] | None = None

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the wall time of the block to a step."""
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0) + time.perf_counter() - start


def load_naive(source: str | Path, device: str = "cpu") -> NaiveVAE:
    """Return the model of a folder: diffusers' AutoencoderKL, or TAESD's two files.

    diffusers cannot hold TAEF2, so its layers are built as latentlab builds them; they are run as
    they come.
    """
    from latentlab.loaders.built_in import BUILT_IN
    from latentlab.models.shipped import shipped_folder

    folder = shipped_folder(str(source)) if source in BUILT_IN else Path(source)
    if (folder / "config.json").is_file():
        from diffusers import AutoencoderKL

        return halves_of(AutoencoderKL.from_pretrained(folder).eval().to(device), device)
    return halves_of(_load_taesd(folder).to(device), device)


def halves_of(module: Any, device: str = "cpu") -> NaiveVAE:
    """Return encode and decode of a plain module: diffusers' AutoencoderKL, or TAESD.

    What they take and return is on the CPU.
    """
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
    folder: Path,
    *,
    components: int,
    steps: int,
    device: str = "cpu",
) -> NaiveJob:
    """Write the curve and the animations of one image; return times and spectrum.

    Parameters
    ----------
    source : folder or name of the model
    pixels : Tensor, (3, H, W) in [−1, 1]
    factors : name → Tensor (N,), how the image is changed, as for latentlab's ``augment``
    folder : where the files go
    """
    import numpy as np
    import torch
    from sklearn.decomposition import PCA

    from latentlab.neighborhoods.augment import change_image

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
        _save_curve(job.ratios, folder / "curve.png")
    trails = []
    with job.timed("decode"), torch.no_grad():
        for direction, variance in zip(
            pca.components_[:components], pca.explained_variance_[:components], strict=True
        ):
            step = torch.from_numpy(direction * np.sqrt(variance)).float().view_as(center)
            latents = (center + alpha * step for alpha in torch.linspace(-3, 3, steps))
            trails.append([_to_levels(vae.decode(latent)[0]) for latent in latents])
    with job.timed("gif"):
        _save_animations(trails, folder)
    return job


def _load_taesd(folder: Path) -> Any:
    import torch
    from safetensors.torch import load_file

    from latentlab.loaders.taesd import TAESD, join_halves

    halves = []
    for half in ("encoder", "decoder"):
        (path,) = folder.glob(f"*{half}.*")
        plain = path.suffix == ".safetensors"
        halves.append(load_file(path) if plain else torch.load(path, weights_only=True))
    tensors = join_halves(*halves)
    module = TAESD({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    module.load_state_dict(tensors)
    return module.eval()


def _save_curve(ratios: NDArray[np.float32], path: Path) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.plot(np.arange(1, len(ratios) + 1), np.cumsum(ratios))
    axes.set(xlabel="component", ylabel="cumulative explained variance")
    figure.savefig(path)


def _to_levels(image: torch.Tensor) -> NDArray[np.uint8]:
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().byte()
    array: NDArray[np.uint8] = levels.permute(1, 2, 0).numpy()
    return array


def _save_animations(trails: list[list[NDArray[np.uint8]]], folder: Path) -> None:
    import imageio
    import numpy as np

    rows = [np.concatenate(frames, axis=0) for frames in zip(*trails, strict=True)]
    for number, frames in enumerate([rows, *trails]):
        imageio.mimsave(folder / f"component_{number}.gif", frames, duration=1000 / 12, loop=0)
