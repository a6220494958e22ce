"""Compiled halves agree with plain ones, leave derivatives unchanged, and fail early."""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine
from image_folders import make_folder
from tiny_models import TINY, save_tiny
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

from latentlab import load_vae
from latentlab.encoding import precision
from latentlab.errors import MissingExtraError, UsageError
from latentlab.latents import LatentSpec
from latentlab.loaders import wrap_vae
from latentlab.loaders.compilation import compile_vae
from latentlab.pullback import decoder_map
from latentlab.testing.linear_vae import LinearVAE, smooth_image

COMPILED = sorted(TINY.keys() - {"PatchTransform"})
RUNS = {"AutoencoderKLHunyuanVideo15": 10, "ConsistencyDecoderVAE": 3}
"""How often the halves run for five images, if not once each."""


class Recorder:
    """A substitute for ``torch.compile`` that records what is compiled, how, and what runs."""

    def __init__(self) -> None:
        self.modes: list[str] = []
        self.runs = 0
        self.results: list[Tensor] = []

    def __call__(self, function: Callable[..., Tensor], **options: Any) -> Callable[..., Tensor]:
        self.modes.append(options["mode"])

        def run(*arguments: Any, **given: Any) -> Tensor:
            self.runs += 1
            result = function(*arguments, **given)
            self.results += [x for x in tree_leaves(result) if isinstance(x, Tensor)]
            return result

        return run


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Return a substitute for ``torch.compile``, on a machine with a C++ compiler."""
    recorder = Recorder()
    headers = tmp_path_factory.mktemp("include")
    (headers / "Python.h").touch()
    monkeypatch.setattr(torch, "compile", recorder)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(headers))
    return recorder


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        ("AutoencoderKL", "bfloat16"),
        ("AutoencoderTiny", "float32"),
        ("AutoencoderKLWan", "float32"),
        ("TAESD", "float32"),
    ],
)
@pytest.mark.slow
def test_traced_code_computes_the_same(family: str, dtype: str, tmp_path: Path) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    save_tiny(family, tmp_path)
    plain, compiled = load_vae(tmp_path, dtype=dtype), load_vae(tmp_path, dtype=dtype)
    torch.compiler.reset()
    compile_vae(compiled, backend=backend)
    image = smooth_image(32, 48)[None]
    with torch.inference_mode():
        expected, found = plain.encode(image), compiled.encode(image)
        # One graph for each half: anything that torch cannot trace would break it into pieces.
        assert len(graphs) == 1
        decoded = compiled.decode(expected.mean)
        assert len(graphs) == 2
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(decoded, plain.decode(expected.mean))
        traced = len(graphs)
        compiled.decode(compiled.encode(image).mean)
    assert len(graphs) == traced
    assert compiled.module.state_dict().keys() == plain.module.state_dict().keys()


@pytest.mark.slow
def test_few_batch_and_image_sizes_are_compiled_separately(tmp_path: Path) -> None:
    traced: list[tuple[int, ...]] = []
    symbols: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        traced.extend(tuple(x.shape) for x in inputs if isinstance(x, Tensor) and len(x.shape) == 4)
        symbols.append(sum(isinstance(x, torch.SymInt) for x in inputs))
        return graph.forward

    save_tiny("TAESD", tmp_path)
    plain, compiled = load_vae(tmp_path), load_vae(tmp_path)
    torch.compiler.reset()
    compile_vae(compiled, backend=backend)

    def run(count: int, height: int = 32, width: int = 48) -> None:
        images = torch.stack([smooth_image(height, width, seed) for seed in range(count)])
        with torch.inference_mode():
            expected, found = plain.encode(images).mean, compiled.encode(images).mean
            decoded = compiled.decode(expected)
        assert len(found) == len(decoded) == count
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    for count in (6, 5, 6, 1, 1, 13, 16):
        run(count)
    assert [shape[0] for shape in traced if shape[1:] == (3, 32, 48)] == [6, 1, 16]
    assert len(symbols) == 6
    for height in (40, 48, 56):
        run(6, height)
    assert len(symbols) == 12
    assert not any(symbols)
    for height in (64, 72, 80):
        run(6, height)
    # From the fifth size on, all sizes share code.
    assert len(symbols) == 14
    assert all(symbols[12:])


@pytest.mark.filterwarnings("ignore:.*published scale:UserWarning")
@pytest.mark.filterwarnings("ignore:.*scale latents differently:UserWarning")
@pytest.mark.parametrize("family", COMPILED)
def test_both_halves_of_every_family_run_compiled_and_results_are_copies(
    family: str, tmp_path: Path, compiler: Recorder
) -> None:
    save_tiny(family, tmp_path)
    plain, vae = load_vae(tmp_path), load_vae(tmp_path)
    compile_vae(vae)
    assert compiler.modes == ["default", "default"]
    height, width = (vae.only_side or side for side in (8, 12))
    images = torch.stack([smooth_image(height, width, seed) for seed in range(5)])
    with torch.no_grad():
        latents = vae.encode(images).mean
        decoded = vae.decode(latents)
    assert compiler.runs == RUNS.get(family, 2)
    # A CUDA graph overwrites its results at the next call.
    for result in compiler.results:
        result.zero_()
    # Five images run as six, which must not change them.
    with torch.no_grad():
        expected = plain.encode(images).mean
        torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(decoded, plain.decode(expected), rtol=1e-3, atol=1e-3)


def test_compiling_is_an_option_of_loading_and_tiles_come_on_top(
    tmp_path: Path, compiler: Recorder
) -> None:
    save_tiny("AutoencoderKL", tmp_path)
    assert not load_vae(tmp_path).is_compiled
    vae = load_vae(tmp_path, compiled=True, tile=128)
    assert compiler.modes == ["default", "default"]
    assert vae.is_compiled
    assert vae.tiling is not None
    with pytest.raises(UsageError, match="--compile out"):
        load_vae("linear", compiled=True)


def test_on_cuda_halves_become_cuda_graphs(tmp_path: Path, compiler: Recorder) -> None:
    save_tiny("AutoencoderKL", tmp_path)
    vae = load_vae(tmp_path)
    vae.activation_bytes(32, 32)
    vae.device = torch.device("cuda")  # nothing runs: only the mode is checked
    compile_vae(vae)
    assert compiler.modes == ["reduce-overhead"] * 2


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_derivatives_use_the_plain_layers(tmp_path: Path, compiler: Recorder) -> None:
    save_tiny("AutoencoderTiny", tmp_path)
    plain, vae = load_vae(tmp_path), load_vae(tmp_path)
    compile_vae(vae)
    point = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    gradients = []
    for model in (plain, vae):
        latents = point.clone().requires_grad_()
        model.decode(latents).square().sum().backward()
        assert latents.grad is not None
        gradients.append(latents.grad)
    torch.testing.assert_close(*gradients)
    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.make_dual(point, torch.ones_like(point))
        vae.module.decoder(dual)
    assert compiler.runs == 0
    vae.decode(point)  # gradients are enabled, but nothing requires them
    assert compiler.runs == 1


def test_jacobians_of_a_compiled_decoder_equal_those_of_the_plain_one(tmp_path: Path) -> None:
    from latentlab import encode

    save_tiny("TAESD", tmp_path)
    plain, compiled = load_vae(tmp_path), load_vae(tmp_path)
    torch.compiler.reset()
    compile_vae(compiled, backend="eager")
    latent = encode(plain, smooth_image(16, 16))
    maps = [decoder_map(vae, latent) for vae in (plain, compiled)]
    rows = torch.randn(1, maps[0].n_features, generator=torch.Generator().manual_seed(0))
    pushed = [around.push(rows) for around in maps]
    torch.testing.assert_close(*pushed)
    torch.testing.assert_close(*[around.pull(pushed[0]) for around in maps])


def test_memory_is_measured_before_compiled_code_hides_it(
    tmp_path: Path, compiler: Recorder
) -> None:
    save_tiny("AutoencoderKL", tmp_path)
    plain, vae = load_vae(tmp_path), load_vae(tmp_path)
    compile_vae(vae)
    assert vae.activation_bytes(64, 64) == plain.activation_bytes(64, 64) > 0
    assert compiler.runs == 0


def test_models_without_halves_are_refused(compiler: Recorder) -> None:
    own = wrap_vae(
        encode=lambda images: images, decode=lambda z: z, spec=LatentSpec("own", 3, stride=1)
    )
    for vae in (own, LinearVAE(), load_vae("linear")):
        with pytest.raises(UsageError, match="--compile out"):
            compile_vae(vae)
    assert compiler.modes == []


@pytest.mark.parametrize("lacking", ["g++", "Python.h", "my-c++"])
def test_compiler_and_headers_are_checked_first(
    lacking: str, cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("CXX", raising=False)
    if lacking == "my-c++":
        monkeypatch.setenv("CXX", lacking)
    found = {"g++"} - {lacking}
    monkeypatch.setattr(shutil, "which", lambda name: name if name in found else None)
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    with pytest.raises(MissingExtraError, match="--compile out"):
        compile_vae(load_vae("mini"))
    called = cli.pca("--compile", "--out", "run")
    assert called.code == 1
    assert lacking in called.error
    assert not Path("run").exists()


def test_commands_compile_when_asked(
    cli: CommandLine, compiler: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "native_bfloat16", lambda device: False)
    assert cli.pca("-k", "posterior", "--out", "run").code == 0
    assert compiler.modes == []
    called = cli.pca("-k", "posterior", "--out", "run", "--compile")
    assert called.code == 0
    assert "compiling small: the first images take longer" in called.err
    # The image, its reconstruction, and the samples of the scatter in one batch.
    assert compiler.runs == 3
    walked = cli(
        *("traverse", "--run", "run", "--components", 1, "--steps", 3, "--compile"),
        *("--tile", 128),
    )
    assert walked.code == 0, walked.err
    # Three frames in one batch, and the two ends encoded again. Each random direction is a batch of
    # the frame between its ends, after batches of both ends that find its length.
    by_chance = json.loads(Path("run/traversal.json").read_text())["random"]
    lengths = (by_chance["decodes"] - by_chance["directions"]) // 2
    assert lengths >= by_chance["directions"]
    assert compiler.runs == 3 + 1 + 2 + lengths + by_chance["directions"]
    assert compiler.modes == ["default"] * 4


def test_frames_are_decoded_by_a_compiled_copy_of_16_bits(
    cli: CommandLine, compiler: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "native_bfloat16", lambda device: True)
    assert cli.pca("-k", "posterior", "--out", "run").code == 0
    walk = ("traverse", "--run", "run", "--components", 1, "--steps", 3, "--compile", "--json")
    assert cli(*walk).code == 0
    assert compiler.modes == ["default"] * 4  # both halves of the model, and of its copy
    # Three frames, and those of random directions; the two ends are encoded exactly, to measure how
    # monotone the walk is.
    by_chance = json.loads(Path("run/traversal.json").read_text())["random"]["decodes"]
    kinds = Counter(result.dtype for batch in compiler.results for result in batch)
    assert kinds == {torch.bfloat16: 3 + by_chance, torch.float32: 2}


def test_a_store_is_compiled_when_asked_and_resumes_compiled(
    cli: CommandLine, compiler: Recorder, tmp_path: Path
) -> None:
    photos = make_folder(tmp_path / "photos", 3)
    command = ("encode", photos, "-m", cli.model, "--size", 64, "--workers", 0, "--out")
    compiled = cli(*command, "store", "--compile")
    assert compiled.code == 0, compiled.err
    assert compiler.runs
    assert json.loads(Path("store/store.json").read_text())["compiled"] is True
    compiler.runs = 0
    Path("store/latents-00000.jsonl").unlink()
    assert cli(*command, "store").code == 0
    assert compiler.runs
