"""``python scripts/bench`` on tiny sizes: it runs, and its clock and its scales are right."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import save_halves, tiny_taesd

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"


@pytest.fixture(autouse=True)
def bench_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the benchmark's files find each other, as they do when their folder is run."""
    monkeypatch.syspath_prepend(BENCH)


def load_main() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_main", BENCH / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_whole_suite_on_tiny_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_halves(tiny_taesd(), tmp_path)
    figures = tmp_path / "figures.json"
    arguments = f"--quick --rounds 1 --shapes 24x96 --null-shapes 24x400 --no-memory --size 32 \
        --samples 4 --steps 3 --photos 3 --counts 5,40 --model {tmp_path} --json {figures}"
    load_main().main(arguments.split())
    report = json.loads(figures.read_text())
    assert report["versions"]["torch"] == torch.__version__
    assert set(report["pca"][0]["methods"]) == {"latentlab", "full", "randomized"}
    assert report["pca"][0]["methods"]["latentlab"]["eigenvalue_error"] < 1e-9
    assert report["nulls"][0]["difference"] < 0.05
    assert report["nulls"][0]["ratio"] > 0
    for row in (*report["vae"], report["job"]):
        assert 0 < row["share"] < 1.5
    assert report["job"]["gflop"]["neighborhood"] == pytest.approx(4 * report["vae"][0]["gflop"])
    assert report["job"]["decodes"] == 2 * 3 - 1
    jacobian = report["jacobian"]
    assert 16 <= jacobian["products"] <= 160
    assert jacobian["product_over_decode"] > 0
    assert [row["heavy_imports"] for row in report["start"][:2]] == [[], []]
    growth = report["store"]["growth"]
    assert [row["pictures"] for row in growth["rows"]] == [5, 40]
    assert 0.5 < growth["memory_ratio"] < 2
    if report["store"]["throughput"]:  # where ../shared is
        assert report["store"]["throughput"]["pictures"] == 3
        assert 0 < report["store"]["throughput"]["ratio"] < 1.5
    assert "whole job" in capsys.readouterr().out


def test_missing_default_model_is_said_and_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load_main()
    monkeypatch.setattr(bench, "DEFAULT_MODEL", tmp_path / "nothing")
    bench.main(["--only", "vae,job"])
    assert "skipped" in capsys.readouterr().out


def test_jobs_take_turns_and_slow_ones_fewer() -> None:
    timing = importlib.import_module("timing")
    order: list[str] = []
    jobs = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timings = timing.time_in_turn(jobs, 3, fewer={"b": 1})
    assert "".join(order) == "ac" + "abc" + "ac" + "ac"
    assert [len(timings[name].seconds) for name in "abc"] == [3, 1, 3]


def test_ceiling_is_the_faster_product_at_its_median() -> None:
    timing = importlib.import_module("timing")
    timings = {
        "product 1024": timing.Timing((0.1, 0.1, 9.0)),
        "product 2048": timing.Timing((0.2, 0.1, 0.4)),
    }
    assert timing.ceiling(timings) == pytest.approx(2 * 2048**3 / 0.2)


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(1.5, True, True), (1.4, True, False), (1.6, False, False)]
)
def test_targets_are_bounds_on_one_side(value: float, at_least: bool, met: bool) -> None:
    timing = importlib.import_module("timing")
    assert timing.Target("x", value, 1.5, at_least=at_least).met is met


def test_exact_eigenvalues_are_those_of_the_covariance() -> None:
    pca_bench = importlib.import_module("pca_bench")
    samples = pca_bench.draw_samples(9, 5)
    expected = np.linalg.eigvalsh(np.cov(samples.double().numpy().T))[::-1]
    np.testing.assert_allclose(pca_bench.exact_eigenvalues(samples), expected, rtol=1e-10)


def test_eigenvalue_error_is_the_largest_of_those_kept() -> None:
    pca_bench = importlib.import_module("pca_bench")
    fitted = SimpleNamespace(explained_variance_=np.array([4.0, 1.8]))
    assert pca_bench.relative_error(fitted, np.array([4.0, 2.0, 1.0])) == pytest.approx(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is reset through /proc")
def test_peak_memory_is_what_was_allocated_at_once() -> None:
    peak_memory = importlib.import_module("peak_memory")
    size = 2**26

    def allocate_twice() -> None:
        for _ in range(2):
            torch.ones(size // 4)

    assert peak_memory.peak_growth(allocate_twice) == pytest.approx(size, rel=0.05)
