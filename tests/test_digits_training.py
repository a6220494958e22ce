"""Training of digits models: repeatable to the bit, interruptible, no loops over samples."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentlab.digits.data import Digits, DigitsData, load_data
from latentlab.digits.folders import CHECKPOINT, CODES, CONFIG, METRICS, MODEL, load_run
from latentlab.digits.models import DigitsConfig
from latentlab.digits.objective import Beta
from latentlab.digits.session import finish_training, resume_training, start_training
from latentlab.digits.training import Recipe, Trainer, recipe_from
from latentlab.errors import FileError, NonFiniteError, UsageError

CONFIG_ = DigitsConfig("cvae", latent=3, hidden=(24,), size=8)
RECIPE = Recipe(epochs=3, beta=Beta(2.0, 0.0, 2), batch=100, seed=5)


@pytest.fixture(scope="module")
def data() -> DigitsData:
    return load_data("digits")


@pytest.fixture(scope="module")
def finished(data: DigitsData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a training that was not interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    finish_training(start_training(CONFIG_, RECIPE, data, folder), folder)
    return folder


def run_epochs(
    data: DigitsData, config: DigitsConfig = CONFIG_, recipe: Recipe = RECIPE
) -> Trainer:
    trainer = Trainer(config, recipe, data)
    while not trainer.is_done:
        trainer.run_epoch()
    return trainer


def test_a_run_folder_holds_weights_facts_metrics_and_images(
    finished: Path, data: DigitsData
) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *(MODEL, CODES, CONFIG, METRICS, CHECKPOINT),
        *("training.png", "training.gif", "reconstructions.png", "samples.png"),
        *("losses.png", "latent.png"),
    }
    lines = [json.loads(line) for line in (finished / METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["beta"] for line in lines] == [0, 1, 2]
    facts = json.loads((finished / CONFIG).read_text())
    assert facts["test"] == lines[-1]["test"]
    assert facts["training"] == asdict(RECIPE)
    assert (facts["data"]["train"], facts["data"]["test"]) == (len(data.train), len(data.test))
    with Image.open(finished / "training.gif") as film:
        # Four states, the last held for more than a second.
        durations = []
        for index in range(film.n_frames):
            film.seek(index)
            durations.append(film.info["duration"])
    assert len(durations) == 4
    assert durations[-1] > 1000


def test_latent_statistics_are_numpys(finished: Path) -> None:
    facts, codes = load_run(finished).facts["latent"], load_run(finished).codes
    assert codes is not None
    means = codes.mean.double().numpy()
    np.testing.assert_allclose(facts["mean"], means.mean(0), atol=1e-6)
    np.testing.assert_allclose(facts["std"], means.std(0, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(facts["quantiles"]["0.95"], np.quantile(means, 0.95, axis=0))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(
    finished: Path, data: DigitsData, tmp_path: Path
) -> None:
    finish_training(start_training(CONFIG_, RECIPE, data, tmp_path), tmp_path)
    for path in finished.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_an_interrupted_training_resumes_to_the_same_files(
    finished: Path, data: DigitsData, tmp_path: Path
) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done > 20:  # in the middle of the second epoch of 15 steps
            raise KeyboardInterrupt

    trainer = start_training(CONFIG_, RECIPE, data, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        finish_training(trainer, tmp_path, interrupt)
    assert not (tmp_path / MODEL).exists()
    assert len((tmp_path / METRICS).read_text().splitlines()) == 1
    with pytest.raises(FileError, match="--resume --out"):
        load_run(tmp_path)
    with pytest.raises(UsageError, match="or --resume to continue"):
        start_training(CONFIG_, RECIPE, data, tmp_path)

    again = resume_training(tmp_path)
    assert again.epoch == 1
    finish_training(again, tmp_path)
    for path in finished.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_training_interrupted_before_its_first_epoch_resumes_too(
    finished: Path, data: DigitsData, tmp_path: Path
) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    trainer = start_training(CONFIG_, RECIPE, data, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        finish_training(trainer, tmp_path, interrupt)
    again = resume_training(tmp_path)
    while not again.is_done:
        again.run_epoch()
    expected = load_run(finished).model.state_dict()
    for name, weight in again.model.state_dict().items():
        assert torch.equal(weight, expected[name]), name


def test_a_damaged_or_missing_checkpoint_is_one_clear_error(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"checkpoint\.safetensors, which cannot be used"):
        resume_training(tmp_path)
    content = (finished / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match="cannot be used"):
        resume_training(tmp_path)


def test_a_damaged_run_is_one_clear_error(finished: Path, tmp_path: Path) -> None:
    for path in finished.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    run = load_run(tmp_path)
    assert str(run.model.config.latent) in repr(run)
    (tmp_path / MODEL).write_bytes(b"nothing")
    with pytest.raises(FileError, match=r"model.safetensors, which cannot be used"):
        load_run(tmp_path)
    facts = json.loads((tmp_path / CONFIG).read_text())
    facts["model"]["latent"] = 4
    (tmp_path / MODEL).write_bytes((finished / MODEL).read_bytes())
    (tmp_path / CONFIG).write_text(json.dumps(facts))
    with pytest.raises(FileError, match=r"model.safetensors, which cannot be used"):
        load_run(tmp_path)
    (tmp_path / CONFIG).write_text("{}")
    with pytest.raises(FileError, match="of format None"):
        load_run(tmp_path)
    with pytest.raises(FileError, match=r"without config.json"):
        load_run(tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "recipe"),
    [
        (DigitsConfig("autoencoder", 4, hidden=(48,), size=8), Recipe(epochs=30)),
        (DigitsConfig("vae", 4, hidden=(48,), size=8), Recipe(epochs=30, beta=Beta(0.5))),
        (
            DigitsConfig("vae", 4, hidden=(48,), size=8),
            Recipe(epochs=30, beta=Beta(2.0), objective="beta-tc"),
        ),
        (
            DigitsConfig("cvae", 4, network="conv", hidden=(8, 8), size=8),
            Recipe(epochs=12, beta=Beta(0.3)),
        ),
    ],
    ids=["autoencoder", "vae", "beta-tc", "conv"],
)
def test_every_model_learns_more_than_the_mean_image(
    data: DigitsData, config: DigitsConfig, recipe: Recipe
) -> None:
    history = run_epochs(data, config, replace(recipe, rate=3e-3, batch=64)).history
    mean = data.train.images.mean(0)
    test = data.test.images
    if config.is_variational:
        best = -(test * mean.clamp(1e-6).log() + (1 - test) * (1 - mean).clamp(1e-6).log())
    else:
        best = (test - mean).square()
    constant = float(best.sum((1, 2, 3)).mean())
    assert history[-1]["test"]["total"] < constant - 1
    assert history[-1]["train"]["total"] < history[0]["train"]["total"]
    for entry in history:
        parts = entry["test"]
        assert parts["total"] == pytest.approx(parts["reconstruction"] + parts["kl"])
        assert len(parts["kl_per_dimension"]) == 4


def test_a_larger_beta_costs_reconstruction_and_saves_divergence(data: DigitsData) -> None:
    low, high = (
        run_epochs(data, recipe=replace(RECIPE, epochs=10, beta=Beta(beta))).history[-1]["test"]
        for beta in (0.1, 8.0)
    )
    assert low["kl"] > high["kl"] + 1
    assert low["reconstruction"] < high["reconstruction"] - 1
    assert low["active_units"] > high["active_units"]


def test_python_works_once_a_batch_not_once_an_image(
    data: DigitsData, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(CONFIG_, RECIPE, data)
    sizes: list[int] = []
    forward = trainer.model.encoder.forward

    def counted(images: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(images))
        return forward(images, label)

    monkeypatch.setattr(trainer.model.encoder, "forward", counted)
    trainer.run_epoch()
    # 15 training batches of 1,437 images, the test set at once, the watched ten.
    assert sizes == [*[100] * 14, 37, 360, 10]


def test_every_image_is_seen_once_an_epoch(data: DigitsData) -> None:
    few = DigitsData("few", data.train[:130], data.test)
    trainer = Trainer(CONFIG_, replace(RECIPE, batch=32), few)
    seen: list[torch.Tensor] = []
    step = trainer._step
    trainer._step = lambda chosen, beta: (seen.append(chosen), step(chosen, beta))[1]
    trainer.run_epoch()
    assert sorted(torch.cat(seen).tolist()) == list(range(130))


def test_a_loss_that_is_no_number_stops_training(data: DigitsData) -> None:
    broken = Digits(data.train.images.clone(), data.train.labels)
    broken.images[3] = float("nan")
    trainer = Trainer(CONFIG_, RECIPE, DigitsData("broken", broken, data.test))
    with pytest.raises(NonFiniteError, match=r"epoch 1.*Lower --rate or --beta"):
        trainer.run_epoch()


def test_recipes_come_back_from_json_and_refuse_nonsense(data: DigitsData) -> None:
    assert recipe_from(json.loads(json.dumps(asdict(RECIPE)))) == RECIPE
    for wrong in ({"epochs": 0}, {"batch": 0}, {"rate": 0.0}, {"objective": "gan"}):
        with pytest.raises(UsageError):
            Recipe(**wrong)
    with pytest.raises(UsageError, match="28 px and images of 8 px"):
        Trainer(DigitsConfig(), RECIPE, data)


def test_the_rate_is_constant_then_falls_to_two_percent() -> None:
    rates = [Recipe(rate=0.1).rate_at(step, 100) for step in (0, 50, 75, 99, 100)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.05, 0.002, 0.002])
