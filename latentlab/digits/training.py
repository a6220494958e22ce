"""Training: the same seed gives the same weights, also after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from latentlab.digits.data import Digits, DigitsData
from latentlab.digits.measure import measure_losses, reconstruct_digits
from latentlab.digits.models import DigitsConfig, DigitsModel, build_model
from latentlab.digits.objective import (
    OBJECTIVES,
    Beta,
    bernoulli_nats,
    kl_nats,
    sample_posterior,
    squared_error,
    total_correlation,
)
from latentlab.errors import NonFiniteError, UsageError

WATCHED = 10
"""How many test pictures, one of each label, are followed through training."""

_LAST_RATE = 0.02


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Parameters
    ----------
    epochs : int, passes over the training set
    beta : Beta, weight of the KL term, or of the total correlation for ``beta-tc``
    objective : ``elbo`` or ``beta-tc``
    batch : int, pictures a step
    rate : float, Adam's; constant for the first half, then falling linearly to 2 %
    seed : int, of weights, order and noise

    Raises
    ------
    UsageError : a value that makes no sense.
    """

    epochs: int = 20
    beta: Beta = field(default_factory=Beta)
    objective: str = "elbo"
    batch: int = 128
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            choices = ", ".join(OBJECTIVES)
            raise UsageError(f"--objective {self.objective}", f"one of {choices}", "choose one")
        for option, value, most in (
            ("--epochs", self.epochs, 100_000),
            ("--batch", self.batch, 100_000),
        ):
            if not 1 <= value <= most:
                raise UsageError(f"{option} {value}", f"1 to {most}", f"raise or lower {option}")
        if not 0 < self.rate <= 1:
            raise UsageError(f"--rate {self.rate}", "above 0 and at most 1", "pass --rate 0.001")

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step out of so many in all."""
        return self.rate * max(_LAST_RATE, min(1.0, 2 * (1 - step / steps)))

    def describe(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def recipe_from(facts: Mapping[str, Any]) -> Recipe:
    """Return the recipe that :meth:`Recipe.describe` described.

    Examples
    --------
    >>> recipe_from(Recipe(epochs=3, beta=Beta(4.0)).describe()).beta.final
    4.0
    """
    return Recipe(**{**facts, "beta": Beta(**facts["beta"])})


class Trainer:
    """A model in training; :meth:`state` and :meth:`restore` stop and go on between epochs.

    Parameters
    ----------
    config : DigitsConfig, whose size is that of the pictures
    recipe : Recipe
    data : DigitsData
    device : where it is trained; random numbers are drawn on the CPU whatever the device

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
        self,
        config: DigitsConfig,
        recipe: Recipe,
        data: DigitsData,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        if config.size != data.train.size:
            raise UsageError(
                f"a model of {config.size} px and pictures of {data.train.size} px",
                "one size",
                "train a model of the pictures' size",
            )
        self.recipe = recipe
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
        """Whether the recipe is finished."""
        return self.epoch >= self.recipe.epochs

    def run_epoch(self, on_step: Callable[[int], None] | None = None) -> dict[str, Any]:
        """Train one epoch; return its figures, which :attr:`history` keeps too.

        Raises
        ------
        NonFiniteError : the loss is no number any more.
        """
        beta = self.recipe.beta.at(self.epoch)
        order = torch.randperm(len(self.train), generator=self.generator)
        batches = torch.split(order.to(self.train.labels.device), self.recipe.batch)
        done, steps = self.epoch * len(batches), self.recipe.epochs * len(batches)
        sums = torch.zeros(3, dtype=torch.float64)
        self.model.train()
        for index, chosen in enumerate(batches):
            self.optimizer.param_groups[0]["lr"] = self.recipe.rate_at(done + index, steps)
            sums += self._step(chosen, beta).to(sums) * len(chosen)
            if on_step:
                on_step(index + 1)
        self.model.eval()
        figures = self._figures(beta, (sums / len(self.train)).tolist())
        self.history.append(figures)
        self.frames.append(self._look())
        return figures

    def _step(self, chosen: Tensor, beta: float) -> Tensor:
        """Take one step; return objective, reconstruction and KL (3,), means over the batch."""
        pictures, labels = self.train.pictures[chosen], self.train.labels[chosen]
        losses = self._losses(pictures, labels, beta)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses[0])
        self.optimizer.step()
        return torch.stack(losses).detach()

    def _losses(
        self, pictures: Tensor, labels: Tensor, beta: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar = self.model.encoder(pictures, labels)
        if not self.model.config.is_variational:
            error = squared_error(self.model.decoder(mean, labels), pictures).mean()
            return error, error, torch.zeros_like(error)
        z = sample_posterior(mean, logvar, self.generator)
        reconstruction = bernoulli_nats(self.model.decoder(z, labels), pictures).mean()
        kl = kl_nats(mean, logvar).sum(1).mean()
        if self.recipe.objective == "beta-tc":
            extra = total_correlation(z, mean, logvar, len(self.train))
            return reconstruction + kl + (beta - 1) * extra, reconstruction, kl
        return reconstruction + beta * kl, reconstruction, kl

    def _figures(self, beta: float, means: list[float]) -> dict[str, Any]:
        objective, reconstruction, kl = means
        if not math.isfinite(objective):
            raise NonFiniteError(
                f"a loss of {objective} in epoch {self.epoch + 1}",
                "a finite one",
                "lower --rate or --beta",
            )
        test = measure_losses(self.model, self.test, seed=self.recipe.seed)
        return {
            "epoch": self.epoch + 1,
            "beta": beta,
            "objective": objective,
            "train": {
                "reconstruction": reconstruction,
                "kl": kl,
                "total": reconstruction + kl,
            },
            "test": test.describe(),
        }

    def _look(self) -> Tensor:
        """Return the watched pictures as they are decoded now (WATCHED, H, W), uint8."""
        decoded = reconstruct_digits(self.model, self.watched)[:, 0]
        return (decoded * 255).round().to(torch.uint8)

    # Stopping and going on

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
        """Go back to a state that :meth:`state` returned.

        Raises
        ------
        KeyError, RuntimeError, ValueError : the state belongs to another model.
        """
        self.model.load_state_dict(
            {
                name.removeprefix("model."): value
                for name, value in tensors.items()
                if name.startswith("model.")
            }
        )
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.generator.set_state(tensors["generator"])
        self.frames = list(tensors["frames"])
        self.history = list(facts["history"])


def _one_of_each(digits: Digits) -> Digits:
    """Return the first picture of each label, in the labels' order."""
    labels = digits.labels
    present = torch.bincount(labels).nonzero()[:WATCHED, 0]
    first = [int((labels == label).nonzero()[0]) for label in present.tolist()]
    return Digits(digits.pictures[first], labels[first])
