"""ONNX files of digits models: what they compute, what they say of themselves, what they hide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command_line import CommandLine
from sheared_digits import KNOTS, LATENT, SHEAR, SIZE, TILT, save_sheared, sheared_run, strokes

from latentlab.digits import export as exporting
from latentlab.digits.description import describe_model
from latentlab.digits.export import export_onnx
from latentlab.digits.exported import read_exported
from latentlab.digits.folders import DigitsRun, load_run
from latentlab.digits.measure import Codes
from latentlab.digits.models import DigitsConfig, build_model
from latentlab.encoding import onnx_files
from latentlab.errors import FileError, MissingExtraError, ParityError

MODELS = [
    DigitsConfig("cvae", latent=3, hidden=(16,), size=12),
    DigitsConfig("vae", latent=2, network="conv", hidden=(2, 3), size=8),
    DigitsConfig("autoencoder", latent=2, hidden=(8,), size=8),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the files of the model whose every image is known."""
    return list(export_onnx(sheared_run(), tmp_path_factory.mktemp("onnx"))["files"])


def run_onnx(path: Path, **fed: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, fed))


@pytest.mark.parametrize("label", [0, 3, 9])
def test_the_decoder_draws_what_the_closed_form_says(exported: list[Path], label: int) -> None:
    z = np.zeros((len(KNOTS), LATENT), np.float32)
    z[:, TILT] = KNOTS
    labels = np.full(len(KNOTS), label)
    (image,) = run_onnx(exported[0], z=z, label=labels)
    expected = [1 / (1 + np.exp(-strokes(label, SHEAR * knot))) for knot in KNOTS]
    assert image.dtype == np.float32
    assert image.shape == (len(KNOTS), 1, SIZE, SIZE)
    np.testing.assert_allclose(image[:, 0], expected, atol=1e-5)


def test_both_files_agree_with_pytorch_at_any_batch_size(exported: list[Path]) -> None:
    model = sheared_run().model
    rng = np.random.default_rng(1)
    for count in (1, 2, 33):
        z = rng.normal(size=(count, LATENT)).astype(np.float32)
        label = rng.integers(0, 10, count)
        (image,) = run_onnx(exported[0], z=z, label=label)
        told = torch.from_numpy(label)
        np.testing.assert_allclose(image, model.images(torch.from_numpy(z), told), atol=1e-5)
        mean, logvar = run_onnx(exported[1], image=image, label=label)
        with torch.no_grad():
            expected = model.encoder(torch.from_numpy(image), told)
        np.testing.assert_allclose(mean, expected[0], atol=1e-5)
        np.testing.assert_allclose(logvar, expected[1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.model)
def test_every_kind_of_model_can_be_exported(tmp_path: Path, config: DigitsConfig) -> None:
    mean = 3 * torch.randn(50, config.latent, generator=torch.Generator().manual_seed(0)) + 1
    codes = Codes(mean, torch.zeros_like(mean), torch.zeros(50, dtype=torch.int64))
    facts = export_onnx(DigitsRun("any", build_model(config), {}, codes), tmp_path)
    assert facts["max_abs_diff"] <= 1e-5
    files = facts["files"][:2]
    for path in files:
        onnx.checker.check_model(onnx.load(path), full_check=True)
    inputs = [[value.name for value in onnx.load(path).graph.input] for path in files]
    assert inputs == [["z", "label"], ["image", "label"]]


def test_each_file_carries_its_description(exported: list[Path]) -> None:
    beside = json.loads(exported[2].read_text())
    for path in exported[:2]:
        proto = onnx.load(path)
        inside = {entry.key: entry.value for entry in proto.metadata_props}
        assert [entry.version for entry in proto.opset_import] == [beside["opset"]]
        for name in ("labels", "ranges", "tilt_dimension", "normalization", "size", "opset"):
            assert json.loads(inside[name]) == beside[name], name
    assert beside["labels"] == list(range(10))
    assert (beside["size"], beside["latent"], beside["tilt_dimension"]) == (SIZE, LATENT, TILT)
    assert set(beside["quantiles"]) == set()  # this run's facts have none


def test_a_file_says_nothing_of_the_place_it_was_made_in(exported: list[Path]) -> None:
    for path in exported:
        content = path.read_bytes()
        for trace in (b"/latentlab/", b".py", b"stack_trace", str(Path.home()).encode() + b"/"):
            assert trace not in content, trace


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(exported: list[Path], tmp_path: Path) -> None:
    again = export_onnx(sheared_run(), tmp_path)
    for first, second in zip(exported[:2], again["files"][:2], strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_a_description_knows_what_latents_do() -> None:
    facts = describe_model(sheared_run())
    assert facts["tilt_sign"] == 1
    tilt = facts["effects"][TILT]
    assert tilt["factor"] == "slant"
    # From −2 to 2; the bar is wider than high, which costs a little.
    assert tilt["change"] == pytest.approx(2 * np.arctan(2 * SHEAR), rel=0.02)


def test_ranges_hold_three_deviations_and_all_but_the_outermost_codes() -> None:
    mean = torch.zeros(1000, 2)
    mean[:, 1] = torch.linspace(-4.21, 0.5, 1000)
    codes = Codes(mean, torch.zeros_like(mean), torch.zeros(1000, dtype=torch.int64))
    vae = DigitsRun("vae", build_model(DigitsConfig("vae", latent=2, size=8)), {}, codes)
    assert describe_model(vae)["ranges"] == [[-3.0, 3.0], [-4.2, 3.0]]
    plain = build_model(DigitsConfig("autoencoder", latent=2, size=8))
    facts = describe_model(DigitsRun("plain", plain, {}, codes))
    np.testing.assert_allclose(facts["rest"], [0, (0.5 - 4.21) / 2], atol=1e-5)
    np.testing.assert_allclose(facts["spread"], mean.std(0), atol=1e-5)
    assert facts["ranges"][1][0] == pytest.approx(np.floor((-1.855 - 3 * 1.361) * 10) / 10)


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = exporting.to_onnx

    def spoiled(*arguments: Any) -> bytes:
        proto = onnx.load_from_string(true(*arguments))
        for weights in proto.graph.initializer:
            if "bias" in weights.name:
                values = onnx.numpy_helper.to_array(weights) + 1e-2
                name = weights.name
                weights.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), name))
        return bytes(proto.SerializeToString())

    monkeypatch.setattr(exporting, "to_onnx", spoiled)
    with pytest.raises(ParityError, match=r"differs from PyTorch's .* at most 1e-05"):
        export_onnx(sheared_run(), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_without_the_extra_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(onnx_files.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentlab\[digits\]'"):
        export_onnx(sheared_run(), tmp_path)


def test_the_command_reports_files_and_difference(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cli = CommandLine(tmp_path, tmp_path, capfd)
    save_sheared(tmp_path / "run")
    facts = cli("digits", "export", tmp_path / "run", "--onnx", tmp_path / "o", "--json").facts
    assert 0 <= facts["max_abs_diff"] <= 1e-5
    assert [Path(path).name for path in facts["files"]] == [
        *("decoder.onnx", "encoder.onnx", "onnx.json")
    ]
    assert all(Path(path).is_file() for path in facts["files"])
    assert facts["tilt_dimension"] == TILT
    quantiles = json.loads((tmp_path / "o" / "onnx.json").read_text())["quantiles"]
    means = load_run(tmp_path / "run").codes
    assert means is not None
    np.testing.assert_allclose(
        quantiles["0.95"], np.quantile(means.mean.numpy().astype(float), 0.95, axis=0)
    )
    refused = cli("digits", "export", tmp_path / "run")
    assert refused.code == 2
    assert refused.error.endswith("Add --onnx DIR.")
    assert cli("digits", "export", tmp_path / "none", "--onnx", tmp_path / "o").code == 3


def test_a_decoder_of_another_export_is_found_out(exported: list[Path], tmp_path: Path) -> None:
    for path in exported:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert read_exported(tmp_path)["name"] == "strokes"
    (tmp_path / "decoder.onnx").write_bytes(b"another")
    with pytest.raises(FileError, match="another export"):
        read_exported(tmp_path)
