"""The digits model that comes with latentlab: what its card says, measured again."""

from __future__ import annotations

import importlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from scipy.stats import spearmanr
from skimage.measure import moments_central

from latentlab.digits.data import FILES, DigitsData, load_data
from latentlab.digits.exported import DECODER, read_exported
from latentlab.digits.folders import MODEL, DigitsRun, load_run
from latentlab.digits.measure import encode_digits
from latentlab.digits.models import DigitsConfig
from latentlab.models.shipped import MODELS_FOLDER

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
digits_evaluation = importlib.import_module("digits_evaluation")
train_digits = importlib.import_module("train_digits")

CARD = MODELS_FOLDER / "digits" / "MODEL_CARD.md"


@pytest.fixture(scope="module")
def run() -> DigitsRun:
    return load_run()


@pytest.fixture(scope="module")
def mnist(shared: Path) -> DigitsData:
    return load_data(str(shared / "data" / "mnist"))


@pytest.fixture(scope="module")
def figures(run: DigitsRun, mnist: DigitsData) -> dict[str, Any]:
    return digits_evaluation.evaluate_tilt(run.model, mnist, taught=4000, draws=1)


def slant(image: np.ndarray) -> float:
    """Return a slant in degrees from scikit-image's moments."""
    moments = moments_central(image, order=2)
    return float(np.degrees(np.arctan(-moments[1, 1] / moments[2, 0])))


def test_the_shipped_model_is_small_conditional_and_says_that_z3_is_the_tilt(
    run: DigitsRun,
) -> None:
    assert run.model.config.sees_label
    assert run.model.config.size == 28
    assert run.tilt_dimension == 3
    assert (MODELS_FOLDER / "digits" / MODEL).stat().st_size <= 1.4e6
    assert run.codes is not None
    assert run.codes.mean.shape == (1000, run.model.config.latent)
    assert not run.model.training


def test_the_onnx_files_belong_to_the_weights_and_all_of_it_is_small() -> None:
    folder = MODELS_FOLDER / "digits"
    facts = read_exported(folder)
    assert facts["tilt_dimension"] == 3
    assert facts["max_abs_diff"] <= 1e-5
    z = torch.randn(20, facts["latent"], generator=torch.Generator().manual_seed(5))
    labels = torch.arange(20) % 10
    session = InferenceSession(folder / DECODER, providers=["CPUExecutionProvider"])
    (image,) = session.run(None, {"z": z.numpy(), "label": labels.numpy()})
    np.testing.assert_allclose(image, load_run().model.images(z, labels), atol=1e-5)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3e6


def test_moving_z3_turns_every_digit_to_the_right_by_twenty_degrees_and_more(
    run: DigitsRun,
) -> None:
    for label in digits_evaluation.move_latent(run.model, 3, steps=17)[0].numpy():
        slants = [slant(frame) for frame in label]
        assert slants[-1] - slants[0] >= 20
        assert (np.diff(slants) > 0).all()


@pytest.mark.shared
def test_z3_is_the_slant_and_no_other_latent_is(run: DigitsRun, mnist: DigitsData) -> None:
    means = encode_digits(run.model, mnist.test).mean.numpy()
    slants = np.array([slant(image) for image in mnist.test.images[:, 0].double().numpy()])
    rho = np.array(
        [
            [spearmanr(means[some, latent], slants[some])[0] for latent in range(means.shape[1])]
            for some in (mnist.test.labels.numpy() == label for label in range(10))
        ]
    )
    assert rho[:, 3].mean() >= 0.9
    assert rho[:, 3].min() >= 0.8
    assert np.delete(np.abs(rho).mean(0), 3).max() <= 0.3


@pytest.mark.slow
@pytest.mark.shared
def test_the_evaluation_meets_its_targets(run: DigitsRun, figures: dict[str, Any]) -> None:
    assert figures["tilt_dimension"] == 3
    assert figures["tilt_sign"] == 1
    assert figures["rho_mean"] >= 0.9
    assert figures["rho_worst"] >= 0.8
    assert figures["rho_others"] <= 0.3
    assert figures["turn_min"] >= 20
    assert figures["monotone"]
    assert figures["classifier_accuracy"] >= 0.9
    assert figures["readable"] >= 0.95
    assert figures["test"]["total"] <= run.facts["total_at_beta_1"] + 10


@pytest.mark.shared
@pytest.mark.slow
def test_the_card_says_what_is_measured(run: DigitsRun, figures: dict[str, Any]) -> None:
    card = CARD.read_text(encoding="utf-8")
    said = (
        *(f"{figures[name]:.3f}" for name in ("rho_mean", "rho_worst", "rho_others")),
        f"{figures['turn_min']:.1f}°",
        f"{figures['test']['total']:.2f} nats",
        f"{run.facts['total_at_beta_1']:.2f} nats",
    )
    missing = [number for number in said if number not in card]
    assert not missing
    assert figures["test"]["total"] == pytest.approx(run.facts["test"]["total"], abs=1e-3)


@pytest.mark.slow
def test_the_script_trains_sorts_and_writes_a_model_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DigitsConfig("cvae", latent=5, hidden=(32,), size=8)
    monkeypatch.setattr(train_digits, "CONFIG", config)
    data = load_data("digits")
    for part, digits in (("train", data.train), ("test", data.test)):
        images = (digits.images[:, 0].numpy() * 255).round().astype(np.uint8)
        for name, array in zip(FILES[part], (images, digits.labels.numpy()), strict=True):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (tmp_path / name).write_bytes(header + array.astype(np.uint8).tobytes())
    out = tmp_path / "models"
    words = ["--data", str(tmp_path), "--out", str(out), "--threads", "1"]
    monkeypatch.setattr(train_digits, "SCREENING", 1)
    assert train_digits.main([*words, "--epochs", "3", "--seeds", "2", "--beta", "0.5"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tilt_dimension"] == 3
    assert told["tilt_sign"] == 1
    run = load_run(out / "digits")
    assert run.tilt_dimension == 3
    assert "digits/model.safetensors" in (out / "SHA256SUMS").read_text()
    assert "digits/decoder.onnx" in (out / "SHA256SUMS").read_text()
    before = (out / "digits" / "decoder.onnx").read_bytes()
    assert train_digits.main([*words, "--export"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert (out / "digits" / "decoder.onnx").read_bytes() == before
    assert train_digits.main([*words, "--evaluate"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert train_digits.main(["--data", str(tmp_path / "nowhere"), "--out", str(out)]) == 3


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
