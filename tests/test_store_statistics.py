"""Statistics of latents against NumPy and SciPy, merged over shards, and their constants."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from safetensors.torch import save_file
from scipy import stats

from latentlab.errors import ShapeError, UsageError
from latentlab.machine.files import read_ahead
from latentlab.machine.threads import fixed_threads
from latentlab.store import measuring
from latentlab.store.foreign import open_latents
from latentlab.store.importing import import_latents
from latentlab.store.measuring import measure_store
from latentlab.store.statistics import PERCENTILES, Statistics


def skewed(*shape: int, seed: int = 0) -> np.ndarray:
    """Return latents with other means, scales and tails in each channel, and smooth cells."""
    generator = np.random.default_rng(seed)
    values = generator.gamma(3, size=shape) + 50 * np.arange(shape[1])[None, :, None, None]
    return values + generator.standard_normal((shape[0], shape[1], 1, 1))


def check_moments(found: dict[str, Any], cells: np.ndarray) -> None:
    """Compare the moments of channels (C, cells) with those of NumPy and SciPy."""
    for name, right in {
        "mean": cells.mean(1),
        "std": cells.std(1),
        "skewness": stats.skew(cells, 1),
        "excess_kurtosis": stats.kurtosis(cells, 1),
        "correlation": np.corrcoef(cells),
    }.items():
        np.testing.assert_allclose(found[name], right, rtol=1e-10, atol=1e-10, err_msg=name)


def test_merged_over_seven_uneven_shards_equals_numpy() -> None:
    values = skewed(200, 5, 8, 6)
    merged = Statistics(5)
    for part in np.split(values, [1, 3, 17, 60, 61, 150]):
        shard = Statistics(5)
        for block in torch.from_numpy(part).split(7):
            shard.add(block)
        merged.merge(shard)
    facts, cells = merged.facts(), values.transpose(1, 0, 2, 3).reshape(5, -1)
    found = facts["channels"]
    check_moments(found, cells)
    constants = facts["constants"]
    assert constants["scaling_factor"]["value"] == pytest.approx(1 / values.std(), rel=1e-10)
    assert constants["shift_factor"]["value"] == pytest.approx(values.mean(), rel=1e-10)
    corners = values[..., [0, 0, -1, -1], [0, -1, 0, -1]].mean((0, 2)) - cells.mean(1)
    np.testing.assert_allclose(facts["spatial"]["corners"], corners / cells.std(1), atol=1e-9)
    assert (facts["latents"], facts["cells"]) == (200, 9600)


def test_percentiles_are_within_the_rounding_of_float16() -> None:
    values = np.random.default_rng(0).standard_normal((300, 2, 8, 8)) * 3
    found = Statistics(2)
    found.add(torch.from_numpy(values))
    cells = values.transpose(1, 0, 2, 3).reshape(2, -1)
    right = np.percentile(cells, PERCENTILES, axis=1, method="higher")
    percentiles = found.facts()["channels"]["percentiles"]
    for p, row in zip(PERCENTILES, right, strict=True):
        np.testing.assert_allclose(percentiles[f"P{p:g}"], row, rtol=6e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_all_percentiles_and_moments_of_16_bit_latents_are_exact(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of these is counted completely, whatever its size; latents with NaN do not count."""
    values = torch.from_numpy(skewed(60, 3, 8, 8)).to(dtype)
    values[10, 1, 2, 2] = 400  # an outlier cell
    save_file({"latents": values}, tmp_path / "a.safetensors")
    store = import_latents(open_latents(tmp_path / "a.safetensors"), tmp_path / "s", per_shard=7)
    monkeypatch.setattr(measuring, "_COUNTED", 100)
    facts = measure_store(store)
    cells = values.double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    found, of = facts["channels"], facts["outlier_cells"]
    assert facts["percentiles_of_every"] == 1
    for p in PERCENTILES:
        right = np.percentile(cells, p, axis=1, method="higher")
        np.testing.assert_array_equal(found["percentiles"][f"P{p:g}"], right)
    check_moments(found, cells)
    assert (of["count"], of["of"]) == (1, 60 * 64)
    norms = np.linalg.norm(values.float().numpy(), axis=1).astype(np.float16)
    low, middle, high = np.percentile(norms, [25, 50, 75], method="higher").astype(np.float64)
    assert of["norm_above"] == pytest.approx(middle + 8 * (high - low) / 1.349, rel=2e-3)


def test_merged_shards_of_float16_equal_numpy_though_some_hold_nan() -> None:
    centers = np.array([3, 0, 99, 150])[:, None, None]  # some means are near zero
    values = torch.from_numpy(skewed(90, 4, 4, 6) - centers).half()
    values[[0, 33, 34], 2, 0, 1] = torch.tensor([math.nan, math.inf, -math.inf]).half()
    merged = Statistics(4, exact=torch.float16)
    for part in torch.tensor_split(values, [1, 3, 17, 34, 35, 70]):
        shard = Statistics(4, exact=torch.float16)
        for block in torch.split(part, 5):
            shard.add(block)
        merged.merge(shard)
    kept = np.delete(values.double().numpy(), [0, 33, 34], 0)
    cells = kept.transpose(1, 0, 2, 3).reshape(4, -1)
    facts = merged.facts()
    for name, right in {
        "std": cells.std(1),
        "skewness": stats.skew(cells, 1),
        "excess_kurtosis": stats.kurtosis(cells, 1),
        "correlation": np.corrcoef(cells),
    }.items():
        np.testing.assert_allclose(facts["channels"][name], right, rtol=1e-10, err_msg=name)
    assert facts["non_finite_share"] == 3 / values.numel()
    assert (facts["latents_non_finite"], facts["outlier_cells"]["of"]) == (3, 87 * 24)
    with pytest.raises(ShapeError, match="latents of torch"):
        merged.add(values.float())
    with pytest.raises(ShapeError, match="statistics of any dtype"):
        merged.merge(Statistics(4))
    with pytest.raises(UsageError, match="complete histograms"):
        Statistics(4, every=2, exact=torch.float16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_latents_that_are_counted_stay_as_they_are(dtype: torch.dtype) -> None:
    block = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = block.clone()
    Statistics(3).add(block)
    assert torch.equal(block, before)


def test_a_block_may_be_overwritten_once_it_is_added() -> None:
    found, block = Statistics(1, exact=torch.float16), torch.ones(1, 1, 2, 2).half()
    found.add(block)
    found.add(block.mul_(3))
    facts = found.facts()["channels"]
    assert (facts["percentiles"]["P25"], facts["percentiles"]["P75"]) == ([1], [3])


def test_intervals_cover_the_truth_though_cells_are_alike() -> None:
    """Over 200 data sets of 60 latents, whose cells share half their variance."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(4)
    for _ in range(200):
        common = torch.randn(60, 2, 1, 1, generator=generator, dtype=torch.float64)
        cells = torch.randn(60, 2, 4, 4, generator=generator, dtype=torch.float64)
        found = Statistics(2)
        found.add(1 + common + cells)
        constants = found.facts()["constants"]
        truth = {"latents_mean": 1, "latents_std": 2**0.5}
        truth |= {"shift_factor": 1, "scaling_factor": 2**-0.5}
        for index, (name, value) in enumerate(truth.items()):
            ends = constants[name]
            low, high = (np.atleast_1d(ends[end])[0] for end in ("lower", "upper"))
            inside[index] += low <= value <= high
    assert ((inside >= 0.89 * 200) & (inside <= 0.99 * 200)).all(), inside


@pytest.mark.parametrize("about", [0, 30])
def test_intervals_of_16_bit_latents_are_those_of_the_same_numbers_in_float64(about: int) -> None:
    """Their sums in each latent have the precision of float32, whose error is far smaller."""
    values = torch.from_numpy(skewed(60, 3, 8, 8) - [[[[3]], [[53]], [[103]]]]).add(about).half()
    short, long = Statistics(3, keep=True, exact=torch.float16), Statistics(3, keep=True)
    short.add(values)
    long.add(values.double())
    for name, right in long.facts()["constants"].items():
        if isinstance(right, dict):
            for end, numbers in right.items():
                found = short.facts()["constants"][name][end]
                np.testing.assert_allclose(found, numbers, rtol=1e-6, atol=1e-6, err_msg=name)
    assert [k for k, _ in short.farthest(5)] == [k for k, _ in long.farthest(5)]


def test_bfloat16_beyond_the_range_of_float32_when_squared_is_finite() -> None:
    values = torch.randn(20, 2, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    values[3] *= 2.0**100
    values[5, 0, 0, 0] = math.nan
    found = Statistics(2, exact=torch.bfloat16)
    found.add(values)
    facts, kept = found.facts(), np.delete(values.double().numpy(), 5, 0)
    assert (facts["latents_non_finite"], facts["non_finite_share"]) == (1, 1 / values.numel())
    np.testing.assert_allclose(facts["channels"]["std"], kept.std((0, 2, 3)), rtol=1e-10)


def test_dead_channels_outliers_and_what_is_not_finite_are_counted(
    tmp_path: Path, cli: CommandLine
) -> None:
    values = np.random.default_rng(0).standard_normal((50, 4, 6, 6)).astype(np.float32)
    values[:, 2] = 0.5
    values[7, 0, 1, 1] = 500
    values[9, 1, 0, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    facts = cli("store", "stats", tmp_path / "a.npy", "--worst", 3, "--json").facts
    assert facts["channels"]["dead"] == [2]
    assert (facts["outlier_cells"]["count"], facts["outlier_cells"]["of"]) == (1, 49 * 36)
    assert facts["non_finite_share"] == 1 / values.size
    assert facts["latents_non_finite"] == 1
    assert [one["path"] for one in facts["worst"][:2]] == ["a.npy#9", "a.npy#7"]
    assert facts["space"] == "unstated"
    kept = np.delete(values, 9, 0).astype(np.float64)
    np.testing.assert_allclose(facts["channels"]["mean"], kept.mean((0, 2, 3)), atol=1e-12)
    said = cli("store", "stats", tmp_path / "a.npy", "--worst", 3).out
    assert "dead channels: 2" in said
    assert "a.npy#9" in said
    assert "space unstated" in said


def test_several_shapes_and_a_store_give_the_same(tmp_path: Path, cli: CommandLine) -> None:
    generator = np.random.default_rng(1)
    wide, tall = (generator.standard_normal((9, 4, *side)) for side in ((4, 8), (8, 4)))
    (tmp_path / "some").mkdir()
    np.save(tmp_path / "some" / "a.npy", wide.astype(np.float32))
    np.save(tmp_path / "some" / "b.npy", tall.astype(np.float32))
    assert cli("store", "import", tmp_path / "some", tmp_path / "store", "--per-shard", 4).code == 0
    facts = cli("store", "stats", tmp_path / "store", "--json").facts
    assert facts["shapes"] == {"4x4x8": 9, "4x8x4": 9}
    both = np.concatenate([one.transpose(1, 0, 2, 3).reshape(4, -1) for one in (wide, tall)], 1)
    np.testing.assert_allclose(facts["channels"]["std"], both.std(1), rtol=1e-6)
    direct = measure_store(open_latents(tmp_path / "some"), worst=2)
    assert direct["constants"]["scaling_factor"]["value"] == pytest.approx(
        facts["constants"]["scaling_factor"]["value"], rel=1e-12
    )
    assert len(direct["worst"]) == 2
    assert all(math.isfinite(one["distance"]) for one in direct["worst"])


def test_threads_change_nothing_and_merged_equals_whole(tmp_path: Path) -> None:
    values = skewed(90, 3, 16, 16).astype(np.float16)
    values[40, 1, 2, 3] = np.inf
    np.save(tmp_path / "a.npy", values)
    with fixed_threads(1):
        one = measure_store(open_latents(tmp_path / "a.npy"), worst=90)
    with fixed_threads(3):
        assert measure_store(open_latents(tmp_path / "a.npy"), worst=90) == one
    merged = Statistics(3)
    for part in np.split(values, [1, 4, 30, 31, 55, 80]):
        shard = Statistics(3)
        shard.add(torch.from_numpy(part))
        merged.merge(shard)
    whole, parts = one["channels"], merged.facts()["channels"]
    for name in ("mean", "std", "skewness", "excess_kurtosis", "correlation"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-12, atol=1e-12, err_msg=name)
    assert parts["percentiles"] == whole["percentiles"]


def test_shards_are_read_before_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", skewed(12, 3, 4, 4).astype(np.float16))
    store = import_latents(open_latents(tmp_path / "a.npy"), tmp_path / "s", per_shard=1)
    asked: list[Path] = []
    monkeypatch.setattr(measuring, "read_ahead", asked.append)
    assert measure_store(store)["latents"] == 12
    latents = sorted((tmp_path / "s").glob("*.safetensors"))
    assert [path for path in asked if path.exists()] == latents[4:]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no such hint")
def test_a_whole_file_is_read_ahead_in_pieces_that_no_device_cuts_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(300_000))
    asked: list[range] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _, start, size, __: asked.append(range(start, start + size))
    )
    read_ahead(path)
    assert sorted({place for piece in asked for place in piece})[:300_000] == [*range(300_000)]
    assert max(map(len, asked)) <= 2**17  # what Linux reads ahead of a device by default


def test_what_is_before_damage_counts_and_the_rest_is_read(
    tmp_path: Path, cli: CommandLine
) -> None:
    folder = tmp_path / "latents"
    folder.mkdir()
    generator = np.random.default_rng(0)
    values = generator.standard_normal((1200, 4, 16, 16)).astype(np.float32)
    np.savez(folder / "a.npz", latents=values)
    content = bytearray((folder / "a.npz").read_bytes())
    content[-2000] ^= 255
    (folder / "a.npz").write_bytes(content)
    np.savez(folder / "b.npz", latents=100 * values[:5])
    called = cli("store", "stats", folder, "--worst", 5, "--json")
    assert called.code == 0
    assert "CRC" in called.facts["damaged"]["a.npz"]
    assert "a.npz: cannot be read" in called.err
    assert 5 < called.facts["latents"] < 1205
    names = {one["path"] for one in called.facts["worst"]}
    assert names == {f"b.npz#{row}" for row in range(5)}
    assert cli("store", "stats", folder / "a.npz").code == 0
    (folder / "b.npz").write_bytes(b"PK and nothing else")
    assert cli("store", "stats", folder / "b.npz").code == 3
