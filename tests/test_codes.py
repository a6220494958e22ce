"""Disentanglement of codes in a file: scores, controls, and an independent InfoMEC."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from sklearn.metrics import mutual_info_score

from latentlab.errors import FileError, LatentlabError, ShapeError, UsageError
from latentlab.metrics.dci import dci
from latentlab.metrics.infomec import infomec
from latentlab.recipes.codes import SCORES, Codes, measure_codes, read_codes

FAST = ["mig", "modularity", "sap", "infomec"]


def sample(n: int = 600, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 5, (n, k))
    return factors + 0.1 * rng.normal(size=(n, k)), factors


def test_infomec_is_an_independent_implementation() -> None:
    codes, factors = sample()
    codes = codes @ np.array([[1, 0.4, 0], [0, 1, 0], [0.2, 0, 1]])
    low, high = codes.min(0), codes.max(0)
    binned = np.minimum((codes - low) / (high - low) * 20, 19).astype(int)
    shares = np.array(
        [[mutual_info_score(z, v) / mutual_info_score(v, v) for v in factors.T] for z in binned.T]
    )
    found = infomec(codes, factors)
    modular = (np.mean(shares.max(1) / shares.sum(1)) - 1 / 3) / (1 - 1 / 3)
    compact = (np.mean(shares.max(0) / shares.sum(0)) - 1 / 3) / (1 - 1 / 3)
    assert found.modularity == pytest.approx(modular, abs=1e-6)
    assert found.compactness == pytest.approx(compact, abs=1e-6)
    assert 0.3 < found.explicitness <= 1


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("classes", [True, False])
def test_scores_do_not_depend_on_order_sign_and_scale(name: str, classes: bool) -> None:
    codes, factors = sample(300)
    # Trees of classes take long: two factors are enough.
    factors = factors[:, :2] if classes else factors + np.random.default_rng(1).random((300, 3))
    codes = codes @ np.array([[1, 0.4, 0], [0, 1, 0], [0.2, 0, 1]])
    # FactorVAE leaves out latents of less than a twentieth of the largest deviation.
    scale = [-3, 0.5, 7] if name == "factor_vae" else [-3, 0.1, 7]
    first = SCORES[name](Codes(codes, factors))
    other = SCORES[name](Codes(codes[:, [2, 0, 1]] * scale, factors))
    assert other == pytest.approx(first, abs=1e-6)


def test_an_identity_code_is_high_and_falls_under_rotation() -> None:
    found = measure_codes(*sample(k=8), only=["mig", "modularity"])
    for name, chance in (("mig", 0.3), ("modularity", 0.98)):
        one = found["metrics"][name]
        assert one["value"] >= 0.8, name
        assert one["low"] <= one["value"] <= one["high"]
        assert one["rotated"] < chance, name
    assert found["metrics"]["mig"]["shuffled"] < 0.1
    assert found["skipped"]["metrics"] == {}


def test_every_score_of_a_small_code() -> None:
    codes, factors = sample(150)
    for name, score in SCORES.items():
        for key, value in score(Codes(codes, factors)).items():
            assert 0 <= value <= 1, (name, key)


def test_bad_codes_are_refused(tmp_path: Path) -> None:
    codes, factors = sample(120)
    with pytest.raises(LatentlabError, match="at least 100"):
        measure_codes(codes[:50], factors[:50])
    with pytest.raises(ShapeError, match="one row a sample"):
        measure_codes(codes, factors[:50])
    with pytest.raises(UsageError, match="one of mig"):
        measure_codes(codes, factors, only=["fid"])
    with pytest.raises(UsageError, match="NaN"):
        measure_codes(codes * np.nan, factors)
    np.savez(tmp_path / "x.npz", z=codes)
    with pytest.raises(FileError, match="codes"):
        read_codes(tmp_path / "x.npz")


def test_a_damaged_file_of_codes_is_told_in_one_sentence(tmp_path: Path, cli: CommandLine) -> None:
    codes, factors = sample(120)
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, codes=codes, factors=factors)
    content = whole.read_bytes()
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "flipped.npz").write_bytes(content[:200] + bytes(300) + content[500:])
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, codes)
    for name in ("empty", "half", "flipped", "array"):
        with pytest.raises(FileError, match=f"{name}.npz .*numpy.savez"):
            read_codes(tmp_path / f"{name}.npz")
    failed = cli("metrics", tmp_path / "empty.npz")
    assert failed.code == 3
    assert "empty.npz" in failed.error


def test_too_few_rows_in_each_bin_give_no_explicitness(cli: CommandLine) -> None:
    factors = np.linspace(0, 1, 110)[:, None]
    codes = factors + 0.01 * np.random.default_rng(0).normal(size=(110, 2))
    one = measure_codes(codes, factors, only=["infomec"])["metrics"]["info_explicitness"]
    assert (one["value"], one["low"], one["high"]) == (None, None, None)
    assert "enough rows" in one["note"]
    np.savez("few.npz", codes=codes, factors=factors)
    printed = cli("metrics", "few.npz", "--only", "infomec")
    assert printed.code == 0, printed.err
    assert "info_explicitness: no value" in printed.out


def test_the_interval_of_r_squared_may_lie_below_zero() -> None:
    codes, factors = np.random.default_rng(0).normal(size=(2, 120, 2))
    one = measure_codes(codes, factors, only=["dci"])["metrics"]["dci_informativeness"]
    assert one["low"] <= one["value"] < 0
    assert one["value"] <= one["high"] <= 1


def test_factors_that_are_no_numbers_are_named() -> None:
    codes, factors = sample(120)
    holed = factors.astype(float)
    holed[3, 1] = np.nan
    with pytest.raises(UsageError, match="factor 1 with NaN"):
        measure_codes(codes, holed)
    with pytest.raises(UsageError, match="factor 0, 1, 2 with NaN, infinity or text"):
        measure_codes(codes, factors.astype(str))


def test_whole_floats_are_classes() -> None:
    codes, factors = sample(150)
    factors = factors**4
    only = ["mig", "sap"]
    found = measure_codes(codes, factors.astype(float), only=only)["metrics"]
    assert found == measure_codes(codes, factors, only=only)["metrics"]
    scores = dci(
        codes, np.hstack((factors, codes[:, :1])), codes, np.hstack((factors, codes[:, :1]))
    )
    assert scores.informativeness > 0.99
    assert measure_codes(codes, factors > 1, only=["mig"])["metrics"]["mig"]["value"] is not None


def test_explicitness_is_a_share_of_the_entropy_of_the_classes_it_reads() -> None:
    rng = np.random.default_rng(0)
    classes = np.concatenate((rng.integers(0, 2, 300), np.arange(2, 102)))
    # Without noise both classes are read surely; the hundred of one row each are not asked for.
    codes = 20.0 * (classes == 1)[:, None] + rng.normal(size=(400, 2))
    assert infomec(codes, classes[:, None]).explicitness > 0.95
    noise = rng.normal(size=(400, 2))
    assert infomec(noise, classes[:, None]).explicitness < 0.05


def test_the_command_takes_codes(cli: CommandLine) -> None:
    codes, factors = sample(200)
    np.savez("mine.npz", codes=codes, factors=np.hstack((factors, factors[:, :1] * 0)))
    facts = cli("metrics", "mine.npz", "--only", "mig,modularity", "--json").facts
    assert {"model", "n_images", "protocol", "metrics", "skipped"} <= set(facts)
    assert facts["model"] == "mine"
    assert {"value", "low", "high", "n", "note"} <= set(facts["metrics"]["mig"])
    assert facts["protocol"]["constant_factors"] == ["3"]
    printed = cli("metrics", "mine.npz", "--only", "mig").out
    assert "axes rotated" in printed
    assert "never vary, left out: 3" in printed


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"{'descr': '(,)f4', 'fortran_order': False, 'shape': (3,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,",
        b"'''",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999,)}",
    ],
)
def test_codes_with_a_damaged_header_are_refused(tmp_path: Path, header: bytes | None) -> None:
    content = b"no array"
    if header is not None:
        content = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header + bytes(64)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("codes.npy", content)
        archive.writestr("factors.npy", content)
    with pytest.raises(FileError, match=r"a\.npz .*numpy\.savez"):
        read_codes(tmp_path / "a.npz")
