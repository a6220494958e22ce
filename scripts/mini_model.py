"""The network of ``mini``, its round trip and scores, and its export as a diffusers folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from mini_data import score, to_pixels, to_tensor
from mini_linear import fit_patch_pca, reconstruct
from torch import nn

from latentlab.metrics.fidelity import psnr

LATENT_CHANNELS = 16


def build_vae(channels: tuple[int, ...]) -> nn.Module:
    """An ``AutoencoderKL`` with 16 latent channels, no attention and no quant convolutions."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=256,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    ).to(memory_format=torch.channels_last)


@torch.no_grad()
def round_trip(vae: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """uint8 images (N, H, W, 3) through posterior mean and decoder."""
    device = next(vae.parameters()).device
    copies = []
    for photo in pixels:
        image = to_tensor(photo[None]).to(device, memory_format=torch.channels_last)
        copies.append(to_pixels(vae.decode(vae.encode(image).latent_dist.mean).sample))
    return np.concatenate(copies)


def mean_psnr(vae: nn.Module, pixels: np.ndarray) -> float:
    """Mean PSNR of the round trip, in dB."""
    pairs = zip(to_tensor(pixels), to_tensor(round_trip(vae, pixels)), strict=True)
    return float(np.mean([psnr(*pair) for pair in pairs]))


@torch.no_grad()
def latent_statistics(vae: nn.Module, pixels: np.ndarray) -> dict[str, list[float] | float]:
    """Mean and standard deviation of the latents of whole photos, and the posterior's log-variance.

    ``mean`` and ``deviation`` are over all values, ``channel_deviations`` and
    ``channel_logvars`` (medians) one number a channel.
    """
    device = next(vae.parameters()).device
    means, logvars = [], []
    for photo in pixels:
        image = to_tensor(photo[None]).to(device, memory_format=torch.channels_last)
        posterior = vae.encode(image).latent_dist
        means.append(posterior.mean.double().cpu())
        logvars.append(posterior.logvar.double().cpu())
    z, v = torch.cat(means).transpose(0, 1).flatten(1), torch.cat(logvars).transpose(0, 1)
    return {
        "mean": z.mean().item(),
        "deviation": z.std().item(),
        "channel_means": z.mean(1).tolist(),
        "channel_deviations": z.std(1).tolist(),
        "channel_logvars": v.flatten(1).median(1).values.tolist(),
    }


def export(vae: nn.Module, folder: Path, pixels: np.ndarray) -> dict[str, list[float] | float]:
    """Write a diffusers folder in fp16 whose factors give model space mean 0 and deviation 1."""
    rounded = build_vae(tuple(vae.config.block_out_channels))
    rounded.load_state_dict({k: v.half().float() for k, v in vae.state_dict().items()})
    statistics = latent_statistics(rounded.eval(), pixels)
    rounded.register_to_config(
        scaling_factor=1 / statistics["deviation"], shift_factor=statistics["mean"]
    )
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    rounded.half().save_pretrained(temporary)
    for file in temporary.iterdir():
        file.chmod(0o644)  # a package is read by others than who built it
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    return statistics


def scores(vae: nn.Module, training: np.ndarray, held_out: dict[str, np.ndarray]) -> dict:
    """PSNR and SSIM of each held-out photo and their means, for the VAE and for the linear code."""
    pixels = np.stack(list(held_out.values()))
    linear = fit_patch_pca(training, LATENT_CHANNELS)
    out = {}
    for name, copies in (
        ("mini", round_trip(vae, pixels)),
        ("linear", reconstruct(linear, pixels)),
    ):
        pairs = score(pixels, copies)
        out[name] = {
            "psnr": float(np.mean([p for p, _ in pairs])),
            "ssim": float(np.mean([s for _, s in pairs])),
            "photos": {
                photo: {"psnr": p, "ssim": s} for photo, (p, s) in zip(held_out, pairs, strict=True)
            },
        }
    return out
