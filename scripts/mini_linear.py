"""The linear stride-8 code: the baseline that ``mini`` must beat, and the point it starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from latentlab.images.arrays import to_uint8

PATCH = 8
ANCHOR = 6.0
"""Value of the two constant channels that keep a GroupNorm's scale the same for every image."""


@dataclass(frozen=True)
class PatchPCA:
    """PCA of 8x8 RGB patches: ``mean`` (192,), ``components`` (k, 192), ``deviations`` (k,).

    A patch is flattened in the order row, column, channel.
    """

    mean: np.ndarray
    components: np.ndarray
    deviations: np.ndarray


def patches(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) as non-overlapping patches (N, H/8, W/8, 192)."""
    n, height, width, _ = images.shape
    grid = images.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, 3)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // PATCH, width // PATCH, -1)


def fit_patch_pca(pixels: np.ndarray, n_components: int = 16) -> PatchPCA:
    """Principal components of the 8x8 patches of uint8 photos, in units of [-1, 1]."""
    n_features = 3 * PATCH**2
    total, gram, count = np.zeros(n_features), np.zeros((n_features, n_features)), 0
    for photo in pixels:
        rows = patches(photo[None] / 127.5 - 1).reshape(-1, n_features)
        total += rows.sum(0)
        gram += rows.T @ rows
        count += len(rows)
    mean = total / count
    values, vectors = np.linalg.eigh(gram / count - np.outer(mean, mean))
    order = np.argsort(values)[::-1][:n_components]
    return PatchPCA(mean, vectors[:, order].T, np.sqrt(np.maximum(values[order], 1e-12)))


def reconstruct(pca: PatchPCA, pixels: np.ndarray) -> np.ndarray:
    """uint8 images (N, H, W, 3) after the round trip through the linear code."""
    rows = patches(pixels / 127.5 - 1) - pca.mean
    rows = rows @ pca.components.T @ pca.components + pca.mean
    n, h, w, _ = rows.shape
    grid = rows.reshape(n, h, w, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    images = grid.reshape(n, h * PATCH, w * PATCH, 3)
    return to_uint8(torch.from_numpy(images).movedim(-1, -3)).numpy()


@torch.no_grad()
def start_from_linear(vae: nn.Module, pca: PatchPCA, *, logvar: float) -> None:
    """Give an ``AutoencoderKL`` the whitened patch PCA as its encoder, and silence its branches.

    The stride-2 convolutions gather pixels into 3, 12, then as many mixtures of the 48 as the next
    level holds; skip connections carry them on, and ``silu(x) - silu(-x) = x`` makes the last
    activation linear. Two constant channels dominate the variance that a GroupNorm over all
    channels divides by. Every residual branch ends in zeros (Goyal et al., 2017), so the encoder
    starts linear and training adds what a linear code lacks. :func:`fit_decoder` does the same for
    the other half.

    Parameters
    ----------
    vae : diffusers.AutoencoderKL of four levels, ``norm_num_groups=1``, changed in place; the
        levels have at least 14, 14, 50 and 50 channels
    pca : PatchPCA of as many components as the VAE has latent channels
    logvar : log-variance of the posterior at the start
    """
    for block in (m for m in vae.modules() if type(m).__name__ == "ResnetBlock2D"):
        nn.init.zeros_(block.conv2.weight)
        nn.init.zeros_(block.conv2.bias)
        if block.conv_shortcut is not None:
            kept = min(block.conv_shortcut.in_channels, block.conv_shortcut.out_channels) - 2
            _set_rows(block.conv_shortcut, {(0, 0): np.eye(kept)})
            _carry_anchors(block.conv_shortcut)
    encoder, decoder = vae.encoder, vae.decoder
    downs = [block.downsamplers[0].conv for block in encoder.down_blocks[:-1]]
    for conv, taps in zip((encoder.conv_in, *downs), _gathering_taps(downs, pca), strict=True):
        _set_rows(conv, taps)
    for conv in (*downs, *(block.upsamplers[0].conv for block in decoder.up_blocks[:-1])):
        _carry_anchors(conv)
    for conv in (encoder.conv_in, decoder.conv_in):
        conv.weight[-2:] = 0
        conv.bias[-2:] = torch.tensor([ANCHOR, -ANCHOR])
    _read_out(encoder.conv_out, pca, logvar)


def _gathering_taps(downs: list[nn.Conv2d], pca: PatchPCA) -> list[dict[tuple, np.ndarray]]:
    """Weights of the first and the stride-2 convolutions that compute the whitened PCA code."""
    white = pca.components / pca.deviations[:, None]
    k, corners = len(white), [(i, j) for i in (0, 1) for j in (0, 1)]
    # Of the 48 values of a 4x4 quadrant the code needs few mixtures: an SVD names the best ones.
    quadrants = white.reshape(k, 2, 4, 2, 4, 3).transpose(1, 3, 0, 2, 4, 5).reshape(4 * k, 48)
    width = min(48, downs[1].out_channels - 2)
    mixtures = np.linalg.svd(quadrants, full_matrices=False)[2][:width]
    halves = mixtures.reshape(width, 2, 2, 2, 2, 3).transpose(1, 3, 0, 2, 4, 5)
    codes = (quadrants @ mixtures.T).reshape(2, 2, k, width)
    return [
        {(1, 1): np.eye(3)},
        {(i, j): np.eye(12)[:, 3 * (2 * i + j) :][:, :3] for i, j in corners},
        {(i, j): halves[i, j].reshape(width, 12) for i, j in corners},
        {(i, j): np.vstack([codes[i, j], -codes[i, j]]) for i, j in corners},
    ]


def _set_rows(conv: nn.Conv2d, taps: dict[tuple, np.ndarray]) -> None:
    """Make the first outputs of a convolution the given mixtures of its first inputs."""
    for (i, j), rows in taps.items():
        conv.weight[: len(rows)] *= 0 if (i, j) == next(iter(taps)) else 1
        conv.bias[: len(rows)] = 0
        conv.weight[: len(rows), : rows.shape[1], i, j] = torch.from_numpy(rows).float()


def _carry_anchors(conv: nn.Conv2d) -> None:
    """Pass the two constant channels through a convolution untouched, and into nothing else."""
    center = conv.kernel_size[0] // 2 if conv.stride == (1, 1) else 0
    conv.weight[-2:] = 0
    conv.weight[:, -2:] = 0
    conv.bias[-2:] = 0
    conv.weight[-2:, -2:, center, center] = torch.eye(2)


def _read_out(conv: nn.Conv2d, pca: PatchPCA, logvar: float) -> None:
    """Posterior mean = the centered code, log-variance = a constant."""
    k, center = len(pca.components), conv.kernel_size[0] // 2
    scale = float(np.sqrt((2 * ANCHOR**2 + 2 * k) / conv.in_channels))
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, logvar)
    conv.weight[:k, :k, center, center] = scale * torch.eye(k)
    conv.weight[:k, k : 2 * k, center, center] = -scale * torch.eye(k)
    offset = pca.components @ pca.mean / pca.deviations
    conv.bias[:k] = -torch.from_numpy(offset).float()


@torch.no_grad()
def fit_decoder(vae: nn.Module, images: torch.Tensor, *, ridge: float = 1.0) -> None:
    """Least-squares weights for the convolutions on the decoder's straight path, level by level.

    With silent branches the decoder is a chain of ``upsample, convolve``. The first convolution
    keeps the principal components of 3x3 latents; each following one predicts, at its resolution,
    the pixels of the patch below each position (48, 12, then 3 values and their negatives); the
    last predicts the image from what GroupNorm and SiLU leave.

    Parameters
    ----------
    vae : as :func:`start_from_linear` leaves it, in place
    images : (N, 3, H, W) in [-1, 1]
    ridge : weight of the penalty on the weights, relative to the mean square of the inputs; small
        ones give large weights that cancel, which the first optimizer steps blow up
    """
    decoder = vae.decoder
    latents = torch.cat([vae.encode(image[None]).latent_dist.mean for image in images])
    _keep_components(decoder.conv_in, latents)
    maps = decoder.conv_in(latents)
    for patch, block in zip((4, 2, 1), decoder.up_blocks[:-1], strict=True):
        maps = nn.functional.interpolate(_shortcut(block, maps), scale_factor=2.0)
        targets = nn.functional.pixel_unshuffle(images, patch)
        targets = torch.cat([targets, -targets], 1) if patch == 1 else targets
        _fit_rows(block.upsamplers[0].conv, maps, targets, ridge)
        maps = block.upsamplers[0].conv(maps)
    maps = _shortcut(decoder.up_blocks[-1], maps)
    _fit_rows(decoder.conv_out, nn.functional.silu(decoder.conv_norm_out(maps)), images, ridge)


def _shortcut(block: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    """What a block with silent branches does to its input."""
    conv = block.resnets[0].conv_shortcut
    return maps if conv is None else conv(maps)


def _neighborhoods(maps: torch.Tensor) -> torch.Tensor:
    """The 3x3 neighborhood of each position: (N, C, H, W) as (N H W, 9 C) double rows."""
    columns = nn.functional.unfold(maps, 3, padding=1)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1]).double()


def _keep_components(conv: nn.Conv2d, maps: torch.Tensor) -> None:
    """Make a 3x3 convolution compute the leading principal components of its neighborhoods."""
    covariance = torch.cov(_neighborhoods(maps).T)
    vectors = torch.linalg.eigh(covariance)[1].flip(1).T
    kept = vectors[: conv.out_channels - 2].reshape(-1, *conv.weight.shape[1:])
    conv.weight[: len(kept)] = kept.float()
    conv.bias[: len(kept)] = 0


def _fit_rows(conv: nn.Conv2d, maps: torch.Tensor, targets: torch.Tensor, ridge: float) -> None:
    """Make the first outputs of a 3x3 convolution the least-squares fit of the targets."""
    n_features, n_targets = 9 * conv.in_channels + 1, targets.shape[1]
    gram = torch.zeros(n_features, n_features, dtype=torch.float64)
    cross = torch.zeros(n_features, n_targets, dtype=torch.float64)
    # Neighboring rows say much the same; a stride coprime to the side still meets every column.
    stride = max(1, maps[0, 0].numel() // 2048) + 1
    for one, wanted in zip(maps, targets, strict=True):
        rows = _neighborhoods(one[None])[::stride]
        rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
        gram += rows.T @ rows
        cross += rows.T @ wanted.flatten(1).T[::stride].double()
    # Anchors and the constant are collinear, so a penalty decides between them.
    penalty = ridge * gram.diagonal().mean() / len(gram) * torch.eye(n_features)
    solution = torch.linalg.solve(gram + penalty, cross).T.float()
    conv.weight[:n_targets] = solution[:, :-1].reshape(n_targets, *conv.weight.shape[1:])
    conv.bias[:n_targets] = solution[:, -1]
