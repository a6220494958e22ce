"""``python scripts/bench`` on tiny sizes: it runs, and its clock and its scales are right."""

from __future__ import annotations

import importlib
import importlib.util
import json
import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_halves, tiny_taesd

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"


ONLY_COMMANDS = ("smallest", "busy", "overhead", "ranks")
"""Sections that start one command dozens of times; `make bench QUICK=1` tries them."""


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


@pytest.mark.slow
def test_whole_suite_on_tiny_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_halves(tiny_taesd(), tmp_path)
    models = importlib.import_module("models_bench")
    monkeypatch.setattr(models, "batch_size", lambda *_: 2)  # at 32 pixels it would be a hundred
    # Ceilings and browsers take most of the time, and what they find here means nothing.
    monkeypatch.setitem(importlib.import_module("measuring").SIDES, "cpu", (1024,))
    for name, few in (("MOVES", 3), ("POINTS", 400)):
        monkeypatch.setattr(importlib.import_module("explorer_bench"), name, few)
    markdown, figures = tmp_path / "docs" / "figures.md", tmp_path / "docs" / "figures.json"
    bench = load_main()
    sections = ",".join(name for name in bench.SECTIONS if name not in ONLY_COMMANDS)
    arguments = f"--quick --rounds 1 --shapes 24x96 --null-shapes 24x400 --no-memory --size 32 \
        --samples 4 --steps 3 --photos 3 --counts 5,40 --metric-photos 2,3 \
        --stream-shape 600x32 --stream-growing 200x16,800x16 --flux-sizes 32 --latents 40 \
        --device cpu --only {sections} \
        --model {tmp_path} --markdown {markdown}"
    bench.main(arguments.split())
    report = json.loads(figures.read_text())["sections"]
    run = report["pca"]["run"]
    assert run["versions"]["torch"] == torch.__version__
    assert (run["quick"], run["rounds"]) == (True, 1)
    found = {name: section["figures"] for name, section in report.items()}
    assert set(found["pca"][0]["methods"]) == {"latentlab", "full", "randomized"}
    assert found["pca"][0]["methods"]["latentlab"]["eigenvalue_error"] < 1e-9
    assert found["nulls"][0]["difference"] < 0.05
    assert found["nulls"][0]["ratio"] > 0
    for row in (*found["vae"], found["job"]):
        assert 0 < row["share"] < 1.5
    assert found["job"]["gflop"]["neighborhood"] == pytest.approx(4 * found["vae"][0]["gflop"])
    assert found["job"]["decodes"] == 2 * 3 - 1
    jacobian = found["jacobian"]
    assert 16 <= jacobian["products"] <= 160
    assert jacobian["product_over_decode"] > 0
    assert [row["heavy_imports"] for row in found["start"][:2]] == [[], []]
    growth = found["store"]["growth"]
    assert [row["pictures"] for row in growth["rows"]] == [5, 40]
    assert 0.5 < growth["memory_ratio"] < 2
    if found["store"]["throughput"]:  # where ../shared is
        assert found["store"]["throughput"]["pictures"] == 3
        assert 0 < found["store"]["throughput"]["ratio"] < 1.5
    if "skipped" not in found["metrics"]:
        first, each = found["metrics"]["rows"]
        assert (first["photos"], each["encodes"], each["decodes"]) == (2, 3, 3)
        assert first["encodes"] > 2 * 9
        assert 0 < found["metrics"]["whole"]["cpu_ratio"] < 20
    check_new_sections(found)
    text = markdown.read_text()
    assert "| figure | measured | bound | kept |" in text
    assert all(f"## {name}\n" in text for name in report)
    assert "pca + traverse" in capsys.readouterr().out


def check_new_sections(found: dict[str, Any]) -> None:
    """Check what holds of the figures of models, whole jobs, streams and GIFs on any machine."""
    names = [(row["model"], row["half"]) for row in found["models"]]
    assert names[:2] == [("mini", "encode"), ("mini", "decode")]
    assert names[4:] == [("FLUX.1 architecture, narrowed", half) for half in ("encode", "decode")]
    assert all(row["ratio"] > 0 and 0 < row["share"] < 1.5 for row in found["models"])
    assert all(row["psnr"] > 30 for row in found["models"][1::2])
    whole = found["whole"]
    assert [way["name"] for way in whole["ways"]] == ["latentlab", "naive", "latentlab, no nulls"]
    assert whole["psnr_min"] > 30
    assert whole["ratio_errors"]["first 3, full"] < 0.1
    stream = found["stream"]
    assert stream["eigenvalue_error"] < 1e-9
    assert stream["peak_bytes"] >= stream["bytes_before"] > 1e7
    assert set(stream["seconds"]) > {"fit", "products", "eigenpairs"}
    assert [way["name"] for way in found["gif"]["ways"]] == ["latentlab", "imageio"]
    assert all(way["psnr"] > 25 for way in found["gif"]["ways"])


def test_missing_default_model_is_said_and_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load_main()
    monkeypatch.setattr(importlib.import_module("sources"), "DEFAULT_MODEL", tmp_path / "nothing")
    bench.main(["--only", "vae,job", "--markdown", str(tmp_path / "figures.md")])
    assert "skipped" in capsys.readouterr().out
    assert "Skipped: no model at" in (tmp_path / "figures.md").read_text()


def section_of(name: str, value: float) -> Any:
    """Return a section whose only figure is a value that must be at least 1."""
    report = importlib.import_module("report")
    return SimpleNamespace(
        measure=lambda options, say: {"value": value},
        tables=lambda figures: report.new_table("Some table", ("left", "right"), [("a", "b")]),
        targets=lambda figures: [report.at_least(f"the {name}", figures["value"], 1.0)],
    )


def test_tables_are_markdown_with_a_dash_for_what_is_missing() -> None:
    report = importlib.import_module("report")
    rows = [{"name": "a|b", "seconds": 1.25}, {"name": "c", "seconds": None}]
    columns = (("left", "{name}"), ("right", "{seconds:.1f} s"), ("", lambda row: "no"))
    assert report.table_of("Some table", rows, *columns).splitlines() == [
        "**Some table**",
        "",
        "| left | right |  |",
        "| --- | ---: | ---: |",
        "| a\\|b | 1.2 s | no |",
        "| c | – | no |",
    ]


def test_sections_are_merged_and_missed_bounds_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = load_main()
    sections = {"gif": section_of("gif", 0.5), "start": section_of("start", 3.0)}
    monkeypatch.setattr(bench, "SECTIONS", sections)
    markdown, options = tmp_path / "b.md", ["--device", "cpu", "--markdown", str(tmp_path / "b.md")]
    bench.main(["--only", "start", *options])
    assert "All bounds are kept." in markdown.read_text()
    assert "Not measured yet." in markdown.read_text()
    bench.main(["--only", "gif", *options])
    bench.main(["--only", "none", *options])
    merged = json.loads(markdown.with_suffix(".json").read_text())
    values = {name: part["figures"]["value"] for name, part in merged["sections"].items()}
    assert values == {"start": 3.0, "gif": 0.5}
    assert [target["met"] for target in merged["targets"]] == [False, True]
    text = markdown.read_text()
    assert "Not kept: the gif." in text
    assert "Not measured yet." not in text
    assert text.index("## gif") < text.index("## start")


def test_jobs_take_turns_and_slow_ones_fewer() -> None:
    measuring = importlib.import_module("measuring")
    order: list[str] = []
    jobs = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timings = measuring.time_in_turn(jobs, 3, fewer={"b": 1})
    assert "".join(order) == "ac" + "abc" + "ac" + "ac"
    assert [len(timings[name].seconds) for name in "abc"] == [3, 1, 3]


def test_the_ceiling_is_the_faster_product_over_all_its_times() -> None:
    measuring = importlib.import_module("measuring")
    products = measuring.Products()
    products.products = [(2 * 1024**3, None), (2 * 2048**3, None)]
    products.turns = [[0.1, 0.2], [0.1, 0.1], [9.0, 0.3]]
    assert products.rate() == pytest.approx(2 * 2048**3 / 0.2)
    assert products.rate(2) == pytest.approx(2 * 2048**3 / 0.3)
    assert products.median_rate == pytest.approx(2 * 2048**3 / 0.2)


def work_on_a_clock(
    monkeypatch: pytest.MonkeyPatch, measuring: ModuleType, pace: list[float]
) -> Callable[[float], None]:
    """Return what lets time pass at some pace, and let both square products do so."""
    clock = [0.0]

    def work(seconds: float) -> None:
        clock[0] += seconds * pace[0]

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    products = [(2 * 1024**3, lambda: work(0.1)), (2 * 2048**3, lambda: work(0.2))]
    monkeypatch.setattr(measuring, "square_products", lambda dtype, device: products)
    return work


def test_a_share_compares_what_was_timed_in_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring, pace = importlib.import_module("measuring"), [1.0]
    work = work_on_a_clock(monkeypatch, measuring, pace)
    meanwhile = measuring.Meanwhile(lambda: work(0.8), "float32", "cuda")
    # A machine that is half as fast in the second round: the share is the same in each.
    for pace[0] in (1.0, 2.0, 1.0):
        meanwhile()
    assert meanwhile.seconds == pytest.approx([0.8, 1.6, 0.8])
    assert meanwhile.shares(2 * 2048**3) == pytest.approx([0.25] * 3)


def test_products_between_layers_slow_down_with_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = importlib.import_module("measuring")
    pace = [1.0]
    work = work_on_a_clock(monkeypatch, measuring, pace)
    layers = torch.nn.Sequential(*(torch.nn.Conv2d(1, 1, 1) for _ in range(20)))

    def job() -> torch.Tensor:
        hidden = torch.zeros(1, 1, 1, 1)
        for layer in layers:
            work(0.05)
            hidden = layer(hidden)
        return hidden

    meanwhile = measuring.Meanwhile(job, "float32", module=layers)
    for pace[0] in (1.0, 3.0, 0.5):
        meanwhile()
    # 20 layers of 0.05 s, without the ten pairs of products, and the faster is the larger one
    assert meanwhile.seconds == pytest.approx([1.0, 3.0, 0.5])
    assert meanwhile.shares(2 * 2048**3) == pytest.approx([0.2] * 3)
    assert not any(layer._forward_hooks for layer in layers)


@pytest.mark.parametrize(
    ("bound", "value", "met"),
    [("at_least", 1.5, True), ("at_least", 1.4, False), ("at_most", 1.6, False)],
)
def test_targets_are_bounds_on_one_side(bound: str, value: float, met: bool) -> None:
    target = getattr(importlib.import_module("report"), bound)("x", value, 1.5)
    assert (target["met"], target["at_least"]) == (met, bound == "at_least")


def test_exact_eigenvalues_are_those_of_the_covariance() -> None:
    pca_bench = importlib.import_module("pca_bench")
    samples = pca_bench.draw_samples(9, 5)
    expected = np.linalg.eigvalsh(np.cov(samples.double().numpy().T))[::-1]
    np.testing.assert_allclose(pca_bench.exact_eigenvalues(samples), expected, rtol=1e-10)


def test_eigenvalue_error_is_the_largest_of_those_kept() -> None:
    pca_bench = importlib.import_module("pca_bench")
    fitted = SimpleNamespace(explained_variance_=np.array([4.0, 1.8]))
    assert pca_bench.relative_error(fitted, np.array([4.0, 2.0, 1.0])) == pytest.approx(0.1)


def test_flux1_architecture_is_that_of_the_published_model() -> None:
    models_bench = importlib.import_module("models_bench")
    vae = models_bench.flux1_vae()
    assert sum(parameter.numel() for parameter in vae.module.parameters()) == 83_819_683
    assert (vae.spec.channels, vae.spec.stride) == (16, 8)


def test_growth_exponent_is_the_slope_in_logarithms() -> None:
    measuring = importlib.import_module("measuring")
    counts, seconds = zip(*((10**k, 3.0 * 10 ** (1.5 * k)) for k in (3, 5)), strict=True)
    assert measuring.exponent_of(counts, seconds) == pytest.approx(1.5)


def test_rows_of_a_file_are_the_same_whatever_the_chunk(tmp_path: Path) -> None:
    stream_bench = importlib.import_module("stream_bench")
    rows = stream_bench.write_rows(tmp_path / "rows", (1030, 6))
    first, second = torch.cat([*rows.read(7)]), torch.cat([*rows.read(4096)])
    assert first.shape == (1030, 6)
    assert torch.equal(first, second)
    assert (tmp_path / "rows").stat().st_size == 2 * 1030 * 6
    fewer = stream_bench.rows_of(tmp_path / "rows", (10, 6))
    assert torch.equal(torch.cat([*fewer.read(7)]), first[:10])


def test_gif_is_compared_frame_by_frame(tmp_path: Path) -> None:
    from PIL import Image

    gif_bench = importlib.import_module("gif_bench")
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (0, 128, 255)]
    first, *rest = map(Image.fromarray, frames)
    first.save(tmp_path / "plain.gif", save_all=True, append_images=rest)
    assert gif_bench.frame_psnrs(tmp_path / "plain.gif", frames) == [float("inf")] * 3
    off = [frames[0], frames[1] + np.uint8(2), frames[2]]
    psnrs = gif_bench.frame_psnrs(tmp_path / "plain.gif", off)
    assert psnrs[1] == pytest.approx(20 * np.log10(255 / 2), abs=1e-3)


def test_naive_halves_are_those_of_diffusers_and_of_latentlab(tmp_path: Path) -> None:
    from latentlab import load_vae

    naive = importlib.import_module("naive")
    save_halves(tiny_taesd(), tmp_path)
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for source in (tmp_path, "mini"):
        plain, vae = naive.load_naive(source), load_vae(str(source), device="cpu")
        with torch.no_grad():
            own = plain.encode(images)
            model = vae.normalization.to_model(own)
            torch.testing.assert_close(model, vae.encode(images).mean, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(plain.decode(own), vae.decode(model), rtol=1e-4, atol=1e-4)


def test_largest_difference_is_relative() -> None:
    whole_bench = importlib.import_module("whole_bench")
    assert whole_bench.largest_difference([2.0, 0.9], [2.0, 1.0]) == pytest.approx(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is reset through /proc")
def test_peak_memory_is_what_was_allocated_at_once() -> None:
    measuring = importlib.import_module("measuring")
    size = 2**26

    def allocate_twice() -> None:
        # Mapped, for what malloc returns may be memory that the process had before.
        for _ in range(2):
            with mmap.mmap(-1, size) as memory:
                for start in range(0, size, mmap.PAGESIZE):
                    memory[start] = 1

    assert measuring.peak_of(allocate_twice)[1] == pytest.approx(size, rel=0.05)
