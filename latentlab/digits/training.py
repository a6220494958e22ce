"""Training of digits models: the same seed gives the same weights, also after an interruption."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlab.digits.checks import check_choice, check_range
from latentlab.digits.data import Device, Digits, DigitsData
from latentlab.digits.measure import image_losses, measure_losses, reconstruct_digits
from latentlab.digits.models import DigitsConfig, DigitsModel, build_model
from latentlab.digits.objective import OBJECTIVES, Beta, total_correlation
from latentlab.errors import NonFiniteError, UsageError
from latentlab.latents import Progress

_WATCHED = 10
_LAST_RATE = 0.02


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Parameters
    ----------
    epochs : int, passes over the training set
    beta : Beta, weight of the KL term, or of the total correlation for ``beta-tc``
    objective : ``elbo`` or ``beta-tc``
    batch : int, images per step
    rate : float, Adam's learning rate; constant in the first half, then falling linearly to 2 %
    seed : int, of weights, order and noise

    Raises
    ------
    UsageError : an unknown objective, or a number out of its range.
    """

    epochs: int = 20
    beta: Beta = field(default_factory=Beta)
    objective: str = "elbo"
    batch: int = 128
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("--objective", self.objective, OBJECTIVES)
        check_range("--epochs", self.epochs, 1, 100_000, example=20)
        check_range("--batch", self.batch, 1, 100_000, example=128)
        if not 0 < self.rate <= 1:
            raise UsageError(f"--rate {self.rate}", "above 0 and at most 1", "pass --rate 0.001")

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of one step of a training of ``steps`` steps."""
        return self.rate * max(_LAST_RATE, min(1.0, 2 * (1 - step / steps)))


def recipe_from(facts: Mapping[str, Any]) -> Recipe:
    """Return the recipe with these fields, as ``config.json`` has them.

    Examples
    --------
    >>> recipe_from(asdict(Recipe(epochs=3, beta=Beta(4.0)))).beta.final
    4.0
    """
    return Recipe(**{**facts, "beta": Beta(**facts["beta"])})


class Trainer:
    """A model in training. Between epochs, :meth:`state` and :meth:`restore` interrupt and resume.

    Parameters
    ----------
    config : DigitsConfig, of the same size as the images
    recipe : Recipe
    data : DigitsData
    device : for the training; random numbers are drawn on the CPU whatever the device

    Raises
    ------
    UsageError : the model and the images differ in size.

    Examples
    --------
    >>> from latentlab.digits.data import load_data
    >>> data = load_data("digits")
    >>> config = DigitsConfig("vae", latent=2, hidden=(16,), size=8)
    >>> trainer = Trainer(config, Recipe(epochs=1), data)
    >>> trainer.run_epoch()["epoch"]
    1
    """

    def __init__(
        self, config: DigitsConfig, recipe: Recipe, data: DigitsData, *, device: Device = "cpu"
    ) -> None:
        if config.size != data.train.size:
            raise UsageError(
                f"a model of {config.size} px and images of {data.train.size} px",
                "one size",
                "train a model of the images' size",
            )
        self.recipe = recipe
        self.data = data
        self.train, self.test = data.train.to(device), data.test.to(device)
        self.watched = _one_of_each(data.test)
        self.model: DigitsModel = build_model(config, seed=recipe.seed).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.rate)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.history: list[dict[str, Any]] = []
        self.frames = [self._look()]

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    @property
    def is_done(self) -> bool:
        """Whether all epochs of the recipe are done."""
        return self.epoch >= self.recipe.epochs

    @property
    def unit(self) -> str:
        """The unit of the losses."""
        return "nats" if self.model.config.is_variational else "squared error"

    @property
    def title(self) -> str:
        """The title of figures: model, latents, β, data and seed."""
        config, recipe, data = self.model.config, self.recipe, self.data.name
        weight = f", β = {recipe.beta.final:g}" if config.is_variational else ""
        kind = ", β-TC" if config.is_variational and recipe.objective == "beta-tc" else ""
        name = data if data in ("mnist", "digits") else Path(data).name
        return f"{config.model}, {config.latent} latents{weight}{kind}, {name}, seed {recipe.seed}"

    def describe(self) -> dict[str, Any]:
        """Return model, recipe and data for JSON."""
        return {
            "model": asdict(self.model.config),
            "training": asdict(self.recipe),
            "data": {
                "name": self.data.name,
                "sha256": dict(self.data.sha256),
                "train": len(self.train),
                "test": len(self.test),
            },
        }

    def run_epoch(self, progress: Progress | None = None) -> dict[str, Any]:
        """Train one epoch; return its figures, which are also appended to :attr:`history`.

        Parameters
        ----------
        progress : called as ``progress("training", steps done, steps in all epochs)``

        Raises
        ------
        NonFiniteError : the loss is NaN or infinite.
        """
        beta = self.recipe.beta.at(self.epoch)
        order = torch.randperm(len(self.train), generator=self.generator)
        batches = torch.split(order.to(self.train.labels.device), self.recipe.batch)
        steps = self.recipe.epochs * len(batches)
        sums = torch.zeros(3, dtype=torch.float64)
        self.model.train()
        for step, chosen in enumerate(batches, self.epoch * len(batches)):
            self.optimizer.param_groups[0]["lr"] = self.recipe.rate_at(step, steps)
            sums += self._step(chosen, beta).to(sums) * len(chosen)
            if progress:
                progress("training", step + 1, steps)
        self.model.eval()
        figures = self._figures(beta, *(sums / len(self.train)).tolist())
        self.history.append(figures)
        self.frames.append(self._look())
        return figures

    def _step(self, chosen: Tensor, beta: float) -> Tensor:
        """Take one step; return objective, reconstruction and KL (3,), means over the batch."""
        losses = self._losses(self.train[chosen], beta)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses[0])
        self.optimizer.step()
        return torch.stack(losses).detach()

    def _losses(self, batch: Digits, beta: float) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar, z, nats, divergences = image_losses(self.model, batch, self.generator)
        reconstruction, kl = nats.mean(), divergences.sum(1).mean()
        if self.recipe.objective == "beta-tc" and self.model.config.is_variational:
            extra = total_correlation(z, mean, logvar, len(self.train))
            return reconstruction + kl + (beta - 1) * extra, reconstruction, kl
        return reconstruction + beta * kl, reconstruction, kl

    def _figures(
        self, beta: float, objective: float, reconstruction: float, kl: float
    ) -> dict[str, Any]:
        if not math.isfinite(objective):
            raise NonFiniteError(
                f"a loss of {objective} in epoch {self.epoch + 1}",
                "a finite loss",
                "lower --rate or --beta",
            )
        return {
            "epoch": self.epoch + 1,
            "beta": beta,
            "objective": objective,
            "train": {"reconstruction": reconstruction, "kl": kl, "total": reconstruction + kl},
            "test": asdict(measure_losses(self.model, self.test, seed=self.recipe.seed)),
        }

    def _look(self) -> Tensor:
        """Return the watched images (N, H, W), uint8, as the model reconstructs them now."""
        decoded = reconstruct_digits(self.model, self.watched)[:, 0]
        return (decoded * 255).round().to(torch.uint8)

    # Interrupting and resuming

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the next epoch depends on: tensors by name, and figures for JSON."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": value for name, value in moments.items()}
        tensors["generator"] = self.generator.get_state()
        tensors["frames"] = torch.stack(self.frames)
        copies = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        return copies, {"history": self.history}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state` returned.

        Raises
        ------
        KeyError, RuntimeError, ValueError : the state belongs to another model.
        """
        weights: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "model":
                weights[rest] = value
            elif kind == "adam":
                index, _, moment = rest.partition(".")
                moments.setdefault(int(index), {})[moment] = value
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.generator.set_state(tensors["generator"])
        self.frames = list(tensors["frames"])
        self.history = list(facts["history"])


def _one_of_each(digits: Digits) -> Digits:
    """Return the first image of each label, in the order of the labels."""
    _, first = np.unique(digits.labels.numpy(), return_index=True)
    return digits[first[:_WATCHED].tolist()]
