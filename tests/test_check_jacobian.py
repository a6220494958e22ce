"""``scripts/check_jacobian.py``: our singular values against those of torch, SciPy and NumPy."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from latentlab import encode, load_vae

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
check_jacobian = importlib.import_module("check_jacobian")


def test_our_values_are_those_of_both_oracles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["--size", "16", "--dense-size", "16", "--json", str(figures)]
    assert check_jacobian.main(arguments) == 0
    lanczos, dense = json.loads(figures.read_text())
    assert (lanczos["oracle"], dense["oracle"]) == ("lanczos", "dense")
    assert max(lanczos["difference"], dense["difference"]) < 1e-3
    # The two oracles compute the same values by different methods.
    np.testing.assert_allclose(lanczos["expected"], dense["expected"], rtol=1e-4)
    assert dense["products_of_oracle"] == 64
    assert capsys.readouterr().out.count("largest relative difference") == 2


@pytest.mark.slow
def test_at_32_pixels_they_are_those_of_the_dense_jacobian() -> None:
    assert check_jacobian.main(["--size", "0", "--dense-size", "32", "--tolerance", "1e-3"]) == 0


def test_products_are_those_of_finite_differences() -> None:
    vae = load_vae("mini", device="cpu", dtype="float32")
    latent = encode(vae, "sample:flower", size=32)
    generator = torch.Generator().manual_seed(0)
    tangent = torch.randn(latent.values.shape, generator=generator)
    with torch.no_grad():
        ends = [vae.decode((latent.values + sign * 0.01 * tangent)[None])[0] for sign in (1, -1)]
    change = (ends[0] - ends[1]) / 0.02
    pushed = check_jacobian.push(vae, latent, tangent[None])[0]
    assert float((pushed - change).norm() / change.norm()) < 0.01
    pulled = check_jacobian.pull(vae, latent, change)
    assert float((pulled * tangent).sum()) == pytest.approx(float(change.square().sum()), rel=0.01)


def test_a_difference_above_the_tolerance_sets_the_exit_code() -> None:
    arguments = ["--size", "0", "--dense-size", "16", "--tolerance", "0"]
    assert check_jacobian.main(arguments) == 1


def test_what_cannot_be_loaded_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_jacobian.main(["missing.png"]) == 3
    assert capsys.readouterr().err.startswith("error: Got ")


@pytest.mark.slow
@pytest.mark.shared
def test_taef2_agrees_with_its_dense_jacobian(shared: Path) -> None:
    # The script's default of 64 px takes some minutes.
    photo = shared / "data" / "photos" / "n02510455_giant_panda.jpg"
    model = shared / "models" / "taef2"
    sizes = ["--size", "0", "--dense-size", "24", "--tolerance", "1e-3"]
    assert check_jacobian.main([str(photo), "--model", str(model), *sizes]) == 0
