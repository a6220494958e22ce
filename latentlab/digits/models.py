"""The networks: an image of a digit to a few latent numbers and back.

Encoder and decoder have the same interface in all three models. ``encoder(images, label)`` takes
images (B, 1, H, W) in [0, 1] and labels (B,), int64, and returns mean and log-variance, both
(B, L). ``decoder(z, label)`` takes z (B, L), float32, and returns Bernoulli logits (B, 1, H, W);
the image is their sigmoid. Only the conditional model uses the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentlab.digits.checks import check_choice, check_range
from latentlab.errors import FileError, UsageError
from latentlab.machine.parsing import WRONG_FACTS

MODELS = ("autoencoder", "vae", "cvae")
NETWORKS = ("mlp", "conv")
CLASSES = 10
DEFAULT_HIDDEN = {"mlp": (400,), "conv": (16, 32)}
# Beyond e^±10 a posterior is a point or the whole space; the clamp keeps early steps finite.
_LOGVAR_LIMIT = 10.0


@dataclass(frozen=True)
class DigitsConfig:
    """The architecture of a digits model.

    Parameters
    ----------
    model : ``autoencoder``, ``vae`` or ``cvae`` (encoder and decoder both receive the label)
    latent : int, L, the number of latent dimensions
    network : ``mlp`` or ``conv``
    hidden : widths of an MLP's hidden layers, or channels of the two convolutions; reversed in the
        decoder
    size : int, side of the images in pixels, a multiple of 4 for ``conv``
    classes : int, the number of labels

    Raises
    ------
    UsageError : an unknown name, or a number out of its range.

    Examples
    --------
    >>> DigitsConfig("cvae", latent=8).hidden
    (400,)
    """

    model: str = "cvae"
    latent: int = 8
    network: str = "mlp"
    hidden: tuple[int, ...] = ()
    size: int = 28
    classes: int = CLASSES

    def __post_init__(self) -> None:
        check_choice("--model", self.model, MODELS)
        check_choice("--network", self.network, NETWORKS)
        check_range("--latent", self.latent, 1, 256, example=8)
        object.__setattr__(self, "hidden", tuple(self.hidden) or DEFAULT_HIDDEN[self.network])
        if min(self.hidden) < 1 or (self.network == "conv" and len(self.hidden) != 2):
            raise UsageError(
                f"hidden widths {self.hidden}",
                "positive numbers, and two of them for --network conv",
                "pass --hidden 400 for mlp or --hidden 16,32 for conv",
            )
        if self.network == "conv" and self.size % 4:
            raise UsageError(
                f"images of {self.size} px", "a multiple of 4 px for conv", "use --network mlp"
            )

    @property
    def sees_label(self) -> bool:
        """Whether encoder and decoder use the label."""
        return self.model == "cvae"

    @property
    def is_variational(self) -> bool:
        """Whether the code is a distribution."""
        return self.model != "autoencoder"


def config_from(facts: Mapping[str, Any]) -> DigitsConfig:
    """Return the config with these fields, as ``config.json`` has them.

    Raises
    ------
    FileError : a field is missing or invalid.

    Examples
    --------
    >>> from dataclasses import asdict
    >>> config_from(asdict(DigitsConfig("vae", latent=2))).latent
    2
    """
    try:
        return DigitsConfig(**{field.name: facts[field.name] for field in fields(DigitsConfig)})
    except (UsageError, *WRONG_FACTS) as error:
        raise FileError(
            f"an invalid description of a model ({error})",
            "config.json as `latentlab digits train` writes it",
            "train again",
        ) from error


class Encoder(nn.Module):
    """Images (B, 1, H, W) in [0, 1] and labels (B,) to mean and log-variance, both (B, L)."""

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.config = config
        label_width = config.classes if config.sees_label else 0
        if config.network == "conv":
            first, second = config.hidden
            self.body = nn.Sequential(
                nn.Conv2d(1, first, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(first, second, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
            )
            self.head = _dense(second * (config.size // 4) ** 2 + label_width, 2 * config.latent)
        else:
            self.body = nn.Sequential(nn.Flatten())
            self.head = _dense(config.size**2 + label_width, *config.hidden, 2 * config.latent)

    def forward(self, images: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        features = _with_label(self.body(images), label, self.config)
        mean, logvar = self.head(features).chunk(2, dim=1)
        return mean, logvar.clamp(-_LOGVAR_LIMIT, _LOGVAR_LIMIT)


class Decoder(nn.Module):
    """Latents z (B, L) and labels (B,) to Bernoulli logits (B, 1, H, W)."""

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.config = config
        width = config.latent + (config.classes if config.sees_label else 0)
        if config.network == "conv":
            first, second = config.hidden
            side = config.size // 4
            self.head = nn.Sequential(nn.Linear(width, second * side**2), nn.ReLU())
            self.body = nn.Sequential(
                nn.Unflatten(1, (second, side, side)),
                nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.ConvTranspose2d(first, 1, 4, stride=2, padding=1),
            )
        else:
            self.head = _dense(width, *reversed(config.hidden), config.size**2)
            self.body = nn.Sequential(nn.Unflatten(1, (1, config.size, config.size)))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.body(self.head(_with_label(z, label, self.config)))
        return logits


class DigitsModel(nn.Module):
    """An encoder and a decoder that belong together.

    Examples
    --------
    >>> model = DigitsModel(DigitsConfig("cvae", latent=8))
    >>> mean, logvar = model.encoder(torch.zeros(2, 1, 28, 28), torch.tensor([3, 7]))
    >>> mean.shape, model.images(mean, torch.tensor([3, 7])).shape
    (torch.Size([2, 8]), torch.Size([2, 1, 28, 28]))
    """

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @torch.no_grad()
    def images(self, z: Tensor, label: Tensor) -> Tensor:
        """Return the images (B, 1, H, W), in [0, 1], of latents (B, L) and labels (B,)."""
        return torch.sigmoid(self.decoder(z.to(self.device), label.to(self.device)))


def build_model(config: DigitsConfig, *, seed: int = 0) -> DigitsModel:
    """Return a model whose initial weights depend on the seed alone.

    PyTorch's layers draw from the global generator only. Its state is restored afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DigitsModel(config)


def _with_label(features: Tensor, label: Tensor, config: DigitsConfig) -> Tensor:
    if not config.sees_label:
        return features
    one_hot = functional.one_hot(label, config.classes).to(features.dtype)
    return torch.cat((features, one_hot), dim=1)


def _dense(*widths: int) -> nn.Sequential:
    """Return linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
