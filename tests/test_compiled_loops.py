"""Compiled loops over 16-bit latents against NumPy, and against statistics without them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine

from latentlab.machine.threads import fixed_threads
from latentlab.store import compiled, measuring
from latentlab.store.foreign import open_latents
from latentlab.store.importing import import_latents
from latentlab.store.measuring import measure_store
from latentlab.store.statistics import Statistics

LOOPS = ("count_patterns", "sum_latents", "_total", "_multiply")
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(params=["python", pytest.param("numba", marks=pytest.mark.slow)])
def _loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the loops as plain Python, or as numba compiles them."""
    if request.param == "numba":
        _skip_without_numba()
        return
    for name in LOOPS:
        loop = getattr(compiled, name)
        monkeypatch.setattr(compiled, name, getattr(loop, "py_func", loop))


def _skip_without_numba() -> None:
    if not compiled.HAS_NUMBA:
        pytest.skip("numba is not installed (extra fast)")


def latents_of(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Return latents whose channels have means near and far from zero."""
    generator = np.random.default_rng(0)
    values = generator.gamma(3, size=shape) + 40 * np.arange(shape[1])[None, :, None, None] - 3
    return torch.from_numpy(values).to(dtype)


@pytest.mark.usefixtures("_loops")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5, 9, 30), (3, 4, 8, 8)])
def test_sums_and_counts_are_those_of_numpy(
    dtype: torch.dtype, shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_TOGETHER", 400)
    latents, shift = (
        latents_of(dtype, *shape),
        torch.tensor([0.0, 37.5, 77.25, 0.0, 155.0][: shape[1]]),
    )
    found = compiled.fused_sums(latents, shift.double())
    values = latents.double().numpy()
    rest = values - shift.numpy()[None, :, None, None]
    powers = np.stack([rest.sum((2, 3)), (rest**2).sum((2, 3))])
    np.testing.assert_allclose(found.powers, powers, **TOLERANCE)
    np.testing.assert_allclose(found.places, rest.sum(0), **TOLERANCE)
    products = np.einsum("nchw,ndhw->cd", rest, rest)
    np.testing.assert_allclose(found.products, products, **TOLERANCE)
    norms = np.linalg.norm(values, axis=1).reshape(shape[0], -1)
    assert found.norms is not None
    np.testing.assert_allclose(found.norms, norms, rtol=1e-6)
    counts = np.zeros((shape[1], 2**16), np.int64)
    patterns = latents.flatten(2).view(torch.uint16).numpy()
    compiled.count_patterns(patterns, counts)
    right = [np.bincount(one.ravel(), minlength=2**16) for one in patterns.swapaxes(0, 1)]
    np.testing.assert_array_equal(counts, right)


@pytest.mark.usefixtures("_loops")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy, from plain Python
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_statistics_are_the_same_with_and_without_compiled_loops(dtype: torch.dtype) -> None:
    """Moments to 1e-12, all counts exactly; latents with NaN or infinity are left out."""
    values = latents_of(dtype, 7, 3, 8, 9)
    values[1, 0, 0, 0], values[4, 2, 3, 3] = math.nan, math.inf
    values[5, 1, 2, 2] = 3e4  # an outlier cell
    both = [Statistics(3, keep=True, exact=dtype, compiled=which) for which in (True, False)]
    for found in both:
        for block in values[:, :, :, :8].split(3):  # not contiguous
            found.add(block)
        found.add(values[:, :, :2, :2])  # too few cells for loops
        found.add(values[1:2])  # nothing finite
    loops, plain = both
    for name in ("values", "norms"):
        counts = [getattr(one.tallies.merged(), name).counts for one in both]
        assert torch.equal(*counts), name
    assert loops.cells is not None
    assert plain.cells is not None
    for name in ("mean", "second", "third", "fourth", "products"):
        right = getattr(plain.cells, name)
        np.testing.assert_allclose(getattr(loops.cells, name), right, **TOLERANCE, err_msg=name)
    one, other = (found.facts() for found in both)
    for name in ("latents", "cells", "non_finite_share", "latents_non_finite", "outlier_cells"):
        assert one[name] == other[name], name
    assert one["outlier_cells"]["count"] == 1
    for name in ("corners", "edges", "largest"):
        np.testing.assert_allclose(one["spatial"][name], other["spatial"][name], **TOLERANCE)
    for name in ("latents_mean", "latents_std", "scaling_factor"):  # others add in float32
        for end, right in other["constants"][name].items():
            np.testing.assert_allclose(one["constants"][name][end], right, rtol=1e-5, atol=1e-5)
    assert [k for k, _ in loops.farthest(3)] == [k for k, _ in plain.farthest(3)]


@pytest.mark.slow
def test_a_large_store_is_measured_by_compiled_loops_on_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _skip_without_numba()
    np.save(tmp_path / "a.npy", latents_of(torch.float16, 90, 4, 16, 16).numpy())
    store = import_latents(open_latents(tmp_path / "a.npy"), tmp_path / "s", per_shard=8)
    plain = measure_store(store, worst=3)
    monkeypatch.setattr(measuring, "_COMPILED_VALUES", 1)
    assert measure_store(store, compiled=False)["compiled"] is False
    with fixed_threads(1):
        loops = measure_store(store, worst=3)
    with fixed_threads(3):
        assert measure_store(store, worst=3) == loops
    assert (plain["compiled"], loops["compiled"]) == (False, True)
    assert [one["path"] for one in loops["worst"]] == [one["path"] for one in plain["worst"]]
    assert loops["channels"]["percentiles"] == plain["channels"]["percentiles"]
    for name in ("mean", "std", "skewness", "excess_kurtosis", "correlation"):
        right = plain["channels"][name]
        np.testing.assert_allclose(loops["channels"][name], right, **TOLERANCE, err_msg=name)


def test_a_large_store_without_numba_says_what_would_be_faster(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", latents_of(torch.float16, 3, 4, 6, 6).numpy())
    np.save(tmp_path / "b.npy", latents_of(torch.float32, 3, 4, 6, 6).numpy())
    monkeypatch.setattr(compiled, "HAS_NUMBA", False)
    assert "latentlab[fast]" not in cli("store", "stats", tmp_path / "a.npy").err
    monkeypatch.setattr(measuring, "_COMPILED_VALUES", 96)
    said = cli("store", "stats", tmp_path / "a.npy", "--json")
    assert said.err.count("latentlab[fast]") == 1
    assert said.facts["compiled"] is False
    assert "latentlab[fast]" not in cli("store", "stats", tmp_path / "b.npy").err
    assert "latentlab[fast]" not in cli("store", "stats", tmp_path / "a.npy", "--quiet").err
