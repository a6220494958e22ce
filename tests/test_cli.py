"""The contract of the commands: options, output, files and exit codes, by calling them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import SIZE, Called, CommandLine, files_in, save_image
from PIL import Image, ImageSequence
from safetensors.torch import load_file
from tiny_models import tiny_kl

from latentlab import encode
from latentlab.cli.main import run
from latentlab.errors import FileError
from latentlab.loaders import load_vae

PCA_FILES = {
    *("cumulative_variance.png", "eigenvalues.png", "reconstruction.png"),
    *("scores.csv", "scores.png"),
    *("pca.safetensors", "pca.json", "run.json"),
}
PCA_TYPES: dict[str, type] = {
    **dict.fromkeys(("n_samples", "n_features", "k50", "k90", "k95", "k99"), int),
    **dict.fromkeys(("explained_variance", "explained_variance_ratio", "cumulative"), list),
    **dict.fromkeys(("participation_ratio", "participation_ratio_corrected"), float),
    **dict.fromkeys(("log_fit_r2", "linear_fit_r2", "reconstruction_psnr"), float),
    **dict.fromkeys(("latent_mean", "latent_std"), float),
    **dict.fromkeys(("null", "nulls_left_out", "effective_dimension"), dict),
    "components_above_null": int,
    **dict.fromkeys(("components_above_null_of", "verdict"), str),
    "model": str,
    "files": list,
}
COMMON = ("--model", "--size", "--device", "--dtype", "--seed", "--out", "--json", "--quiet")


def start(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def fitted_square(path: str, size: int) -> np.ndarray:
    """Return the centered square of an image at size×size as (1, 3, H, W) in [−1, 1]."""
    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
        levels = np.asarray(square.resize((size, size), Image.Resampling.LANCZOS), np.float32)
    return (levels / 127.5 - 1).transpose(2, 0, 1)[None]


def token_spectrum(latent: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of the tokens' covariance, of a latent (C, h, w)."""
    tokens = latent.reshape(latent.shape[0], -1).T.astype(np.float64)
    singular = np.linalg.svd(tokens - tokens.mean(0), compute_uv=False)
    return singular**2 / (len(tokens) - 1)


def decibels(reference: np.ndarray, other: np.ndarray) -> float:
    error = (np.clip(reference, -1, 1) / 2 - np.clip(other, -1, 1) / 2).astype(np.float64)
    return float(-10 * np.log10(np.mean(error**2)))


# pca: what is printed


def test_pca_prints_one_json_object_with_every_key_of_the_contract(cli: CommandLine) -> None:
    called = cli.pca("-k", "posterior")
    assert called.out.count("\n") == 1
    assert called.out.isascii()
    facts = called.facts
    assert {name: type(facts[name]) for name in PCA_TYPES} == PCA_TYPES
    assert facts["n_samples"] == 6
    assert facts["n_features"] == 4 * 32 * 32
    assert len(facts["explained_variance"]) == len(facts["cumulative"]) == 5
    assert all(Path(file).is_file() for file in facts["files"])


def test_token_spectrum_and_psnr_are_those_of_diffusers_and_numpy(cli: CommandLine) -> None:
    facts = cli("pca", cli.image, "-m", cli.model, "--size", SIZE, "-k", "tokens", "--json").facts
    module: Any = tiny_kl()
    pixels = fitted_square(cli.image, SIZE)
    with torch.no_grad():
        mean = module.encode(torch.from_numpy(pixels)).latent_dist.mean
        decoded = module.decode(mean).sample.numpy()
    latent = (mean[0] * 0.18215).numpy()
    variances = token_spectrum(latent)
    shares = variances / variances.sum()
    assert facts["n_samples"] == 32 * 32
    np.testing.assert_allclose(facts["explained_variance"], variances, rtol=1e-4)
    np.testing.assert_allclose(facts["explained_variance_ratio"], shares, atol=1e-6)
    np.testing.assert_allclose(facts["cumulative"], shares.cumsum(), atol=1e-6)
    ratio = variances.sum() ** 2 / (variances**2).sum()
    assert facts["participation_ratio"] == pytest.approx(ratio, rel=1e-5)
    # Neighboring cells are alike, so what corrects for their number is simulated elsewhere.
    found = facts["effective_dimension"]["corrected"]
    assert facts["participation_ratio_corrected"] == found["value"]
    assert found["lower"] < found["value"] < found["upper"]
    k = np.arange(1, 5)
    for name, x in (("log_fit_r2", np.log(k)), ("linear_fit_r2", k)):
        r2 = np.corrcoef(x, shares.cumsum())[0, 1] ** 2
        assert facts[name] == pytest.approx(r2, abs=1e-6)
    for percent in (50, 90, 95, 99):
        assert facts[f"k{percent}"] == int(np.argmax(shares.cumsum() >= percent / 100)) + 1
    assert facts["latent_mean"] == pytest.approx(latent.mean(), abs=1e-5)
    assert facts["latent_std"] == pytest.approx(latent.std(ddof=1), rel=1e-4)
    assert facts["reconstruction_psnr"] == pytest.approx(decibels(pixels, decoded), abs=0.05)


@pytest.mark.shared
def test_taef2_tokens_at_256_pixels_agree_with_an_independent_svd(
    cli: CommandLine, shared: Path
) -> None:
    photo, model = shared / "data/photos/n01518878_ostrich.jpg", shared / "models/taef2"
    facts = cli("pca", photo, "-m", model, "--size", 256, "-k", "tokens", "--json").facts
    pixels = fitted_square(str(photo), 256)
    vae = load_vae(model)
    with torch.inference_mode():
        latent = vae.encode(torch.from_numpy(pixels)).mean
        decoded = vae.decode(latent).numpy()
    variances = token_spectrum(latent[0].numpy())
    assert facts["model"] == "taef2"
    assert (facts["n_samples"], facts["n_features"]) == (1024, 32)
    shares = variances / variances.sum()
    np.testing.assert_allclose(facts["explained_variance_ratio"], shares, atol=1e-4)
    assert facts["reconstruction_psnr"] == pytest.approx(decibels(pixels, decoded), abs=0.05)


def test_without_json_a_summary_goes_to_stdout_and_messages_to_stderr(cli: CommandLine) -> None:
    called = cli("pca", cli.image, "-m", cli.model, "--size", SIZE, "-n", 6)
    assert called.code == 0
    assert "k for 50, 90, 95, 99 %" in called.out
    assert "cumulative_variance.png" in called.out
    assert called.err.startswith("photo: standard deviation 0.051 in model space, far from 1 (× 20")
    assert called.err.count("\n") == 1


def test_quiet_says_nothing(cli: CommandLine) -> None:
    quiet = cli("pca", cli.image, "-m", cli.model, "--size", SIZE, "-n", 6, "--quiet")
    assert quiet == Called(0, "", "")
    assert cli("traverse", "--components", 1, "--steps", 2, "-q") == Called(0, "", "")


# pca: options


@pytest.mark.parametrize(
    ("name", "options", "samples", "features"),
    [
        ("augment", ["--set", "rotation=0", "--set", "shift=0.1"], 6, 4096),
        ("posterior", [], 6, 4096),
        ("gaussian", ["--set", "radius=0.3"], 6, 4096),
        ("reencode", ["--set", "radius=0.3"], 6, 4096),
        ("tokens", [], 6, 4),
        ("patches", ["--set", "patch=3"], 6, 36),
        ("crops", ["--set", "smallest=0.7"], 6, 4096),
        ("tokens", ["--region", "8,16,20,10"], 6, 4),
        ("gaussian", ["--region", "8,16,20,10"], 6, 4 * 10 * 5),
        ("gaussian", ["--randomized", "--components", "2"], 6, 4096),
    ],
)
def test_every_neighborhood_runs_with_its_settings(
    name: str, options: list[str], samples: int, features: int, cli: CommandLine
) -> None:
    facts = cli.pca("--neighborhood", name, *options).facts
    assert facts["neighborhood"] == name
    assert (facts["n_samples"], facts["n_features"]) == (samples, features)
    settings = dict(option.split("=") for option in options[1::2] if "=" in option)
    assert {key: facts["options"][key] for key in settings} == {
        key: float(value) for key, value in settings.items()
    }


def test_frames_takes_the_clip_itself(cli: CommandLine, tmp_path: Path) -> None:
    frames = [Image.radial_gradient("L").rotate(20 * index).convert("RGB") for index in range(4)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=80)
    facts = cli.pca("-k", "frames", image="clip.gif").facts
    assert facts["n_samples"] == 4
    assert facts["options"]["video"] == "clip.gif"


@pytest.mark.parametrize("options", [[], ["--set", "folder=album"]])
def test_knn_takes_the_photos_folder_or_another(
    options: list[str], cli: CommandLine, tmp_path: Path
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for index in range(4):
        save_image(album / f"{index}.png", 40 + 5 * index, 50)
    facts = cli.pca("-k", "knn", *options, image=album / "0.png", samples=3).facts
    assert facts["n_samples"] == 3
    assert Path(facts["options"]["folder"]).resolve() == album


def test_the_number_of_components_kept_is_the_one_asked_for(cli: CommandLine) -> None:
    facts = cli.pca("--components", 2, "--out", "run").facts
    assert load_file("run/pca.safetensors")["components"].shape == (2, 4096)
    assert facts["cumulative"][-1] == pytest.approx(1)


def test_the_seed_decides_what_is_drawn(cli: CommandLine) -> None:
    first, other = (cli.pca("-k", "gaussian", "--seed", seed).facts for seed in (1, 2))
    assert first["explained_variance"] != other["explained_variance"]


# pca: files


@pytest.fixture(scope="module")
def finished(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished ``pca`` and ``traverse`` run."""
    folder = str(tmp_path_factory.mktemp("finished") / "run")
    pca = ["pca", "photo.png", "-m", "small", "--size", str(SIZE), "-n", "6", "-k", "gaussian"]
    walk = ["traverse", "--run", folder, "--components", "2", "--steps", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for command in (pca, walk):
            assert run([*command, "--out", folder, "--quiet"]) == 0
    return Path(folder)


def test_a_run_folder_holds_figures_arrays_facts_and_animations(finished: Path) -> None:
    walk = {"traversal.gif", "component_1.gif", "component_2.gif", "sheet.png", "traversal.json"}
    assert {path.name for path in finished.iterdir()} == PCA_FILES | walk
    for name in ("cumulative_variance.png", "eigenvalues.png", "sheet.png"):
        with Image.open(finished / name) as image:
            assert min(image.size) > 100
            assert len(set(image.convert("L").tobytes())) > 20


def test_files_may_be_read_by_everybody(finished: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in finished.iterdir()}
    assert len(modes) == 1


def test_arrays_are_orthonormal_components_mean_variances_and_origin(finished: Path) -> None:
    arrays = load_file(finished / "pca.safetensors")
    facts = json.loads((finished / "pca.json").read_text())
    components = arrays["components"].double().numpy()
    np.testing.assert_allclose(components @ components.T, np.eye(5), atol=1e-5)
    assert arrays["mean"].shape == (4096,)
    assert arrays["origin"].shape == (4, 32, 32)
    assert arrays["explained_variance"].tolist() == facts["explained_variance"]


def test_provenance_says_how_to_repeat_the_run(finished: Path, place: Path) -> None:
    facts = json.loads((finished / "run.json").read_text())
    assert facts.keys() == {"pca", "traverse"}
    pca = facts["pca"]
    weights = place / "small" / "diffusion_pytorch_model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert pca["command_line"][:4] == ["pca", "photo.png", "-m", "small"]
    assert facts["traverse"]["command_line"][:2] == ["traverse", "--run"]
    assert pca["model"]["source"] == str(place / "small")
    assert pca["model"]["sha256"] == {weights.name: digest}
    assert (pca["model"]["dtype"], pca["model"]["device"]) == ("float32", "cpu")
    assert "0.18215" in pca["model"]["normalization"]
    assert pca["input"]["sha256"] == hashlib.sha256((place / "photo.png").read_bytes()).hexdigest()
    assert pca["input"]["preprocessing"]
    assert facts["traverse"]["input"] == pca["input"]
    assert pca["seed"] == 0
    assert pca["neighborhood"] == {"name": "gaussian", "radius": 0.1}
    assert pca["versions"]["torch"] == torch.__version__
    assert pca["versions"].keys() >= {"latentlab", "python", "diffusers", "numpy", "pillow"}


def test_the_same_command_gives_the_same_bytes(cli: CommandLine) -> None:
    found = []
    for _ in range(2):
        assert cli.pca("-k", "tokens", "--out", "run").code == 0
        assert cli("traverse", "--run", "run", "--steps", 3, "--components", 2).code == 0
        found.append(files_in(Path("run")))
        for path in Path("run").iterdir():
            path.unlink()
    assert found[0] == found[1]
    assert "latent_rgb.png" in found[0]


def test_default_folders_count_up(cli: CommandLine) -> None:
    for number in (1, 2):
        (file, *_) = cli.pca("-k", "tokens").facts["files"]
        assert Path(file).parent == Path(f"latentlab-runs/photo-small-{number}")


# traverse


@pytest.fixture
def analyzed(cli: CommandLine, finished: Path) -> CommandLine:
    """Return a caller in a folder whose latest run is ``latentlab-runs/photo-small-1``."""
    for name in PCA_FILES:
        target = Path("latentlab-runs/photo-small-1") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((finished / name).read_bytes())
    return cli


def test_traverse_resumes_the_latest_run_and_says_which(analyzed: CommandLine) -> None:
    before = files_in(Path("latentlab-runs"))
    called = analyzed("traverse", "--components", 2, "--steps", 4, "--json")
    facts = called.facts
    assert called.err.splitlines()[0] == "resuming latentlab-runs/photo-small-1"
    after = files_in(Path("latentlab-runs"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"photo-small-1/run.json"}
    assert all(Path(file).is_file() for file in facts["files"])
    assert facts["decodes"] == 8
    expected = {
        **dict.fromkeys(("explained_variance_ratio", "pixel_change", "monotonicity"), float),
        **dict.fromkeys(("flicker", "drift", "clipped"), float),
        "index": int,
    }
    for index, component in enumerate(facts["components"], 1):
        assert {name: type(component[name]) for name in expected} == expected
        assert component["index"] == index


def test_an_odd_number_of_steps_shares_the_center(analyzed: CommandLine) -> None:
    facts = analyzed("traverse", "--components", 3, "--steps", 5, "--json").facts
    assert facts["decodes"] == 3 * 4 + 1


def test_the_latest_run_is_the_one_written_last(analyzed: CommandLine) -> None:
    newer = Path("latentlab-runs/a-newer-run-1")
    newer.mkdir()
    for path in Path("latentlab-runs/photo-small-1").iterdir():
        (newer / path.name).write_bytes(path.read_bytes())
    os.utime(newer / "pca.json", ns=(2**61, 2**61))
    called = analyzed("traverse", "--components", 1, "--steps", 2, "--json")
    assert called.err.splitlines()[0] == f"resuming {newer}"


def test_run_and_out_choose_the_folders(analyzed: CommandLine) -> None:
    source = "latentlab-runs/photo-small-1"
    before = files_in(Path(source))
    options = ("--components", 1, "--steps", 2, "--json", "--out", "elsewhere")
    facts = analyzed("traverse", "--run", source, *options).facts
    assert {Path(file).parent for file in facts["files"]} == {Path("elsewhere")}
    assert files_in(Path(source)) == before


def test_traverse_of_an_image_analyzes_it_first(cli: CommandLine) -> None:
    options = ("-m", cli.model, "--size", SIZE, "-n", 6, "-k", "crops", "--seed", 3)
    walk = ("--components", 1, "--steps", 2, "--json")
    facts = cli("traverse", cli.image, *options, *walk).facts
    folder = Path("latentlab-runs/photo-small-1")
    assert {Path(file).parent for file in facts["files"]} == {folder}
    assert {path.name for path in folder.iterdir()} > PCA_FILES
    recorded = json.loads((folder / "run.json").read_text())
    assert recorded["pca"]["neighborhood"]["name"] == "crops"
    assert recorded["pca"]["seed"] == 3


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [("gif", b"GIF89a"), ("webp", b"RIFF"), ("apng", b"\x89PNG"), ("mp4", b"\0\0\0")],
)
def test_every_format_is_written_as_what_it_is(
    suffix: str, magic: bytes, analyzed: CommandLine
) -> None:
    options = ("--components", 1, "--steps", 3, "--format", suffix, "--json")
    files = [Path(file) for file in analyzed("traverse", *options).facts["files"]]
    animations = [file for file in files if file.suffix == f".{suffix}"]
    assert [file.stem for file in animations] == ["traversal", "component_1"]
    assert all(file.read_bytes().startswith(magic) for file in animations)


@pytest.mark.parametrize(
    ("options", "frames", "looping"), [([], 4, True), (["--no-loop"], 3, False)]
)
def test_fps_and_loop_reach_the_file(
    options: list[str], frames: int, looping: bool, analyzed: CommandLine
) -> None:
    walk = ("--components", 1, "--steps", 3, "--fps", 5, *options)
    assert analyzed("traverse", *walk).code == 0
    with Image.open("latentlab-runs/photo-small-1/component_1.gif") as animation:
        delays = [frame.info["duration"] for frame in ImageSequence.Iterator(animation)]
        assert ("loop" in animation.info) == looping
    assert sum(delays) == 200 * frames


@pytest.mark.slow
@pytest.mark.shared
def test_both_commands_on_real_weights(cli: CommandLine, shared: Path) -> None:
    photo, model = shared / "data/photos/n01518878_ostrich.jpg", shared / "models/taef2"
    pca = cli("pca", photo, "-m", model, "--size", 96, "-n", 12, "--json").facts
    assert pca["explained_variance_ratio"][0] > 2 / 11
    walk = cli("traverse", "--components", 2, "--steps", 5, "--json").facts
    assert walk["decodes"] == 9
    assert all(component["monotonicity"] > 0.9 for component in walk["components"])


# The process


def test_help_version_and_models_import_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from latentlab.cli.main import run\n"
        "codes = [run([word]) for word in ('--help', '--version', 'models')]\n"
        "heavy = {'torch', 'diffusers', 'matplotlib', 'sklearn', 'numpy', 'PIL'}\n"
        "print(codes, sorted(heavy & sys.modules.keys()))\n"
    )
    done = start(sys.executable, "-c", script)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] []", done.stderr


def test_help_draws_nothing_with_rich() -> None:
    script = (
        "import sys\n"
        "from latentlab.cli.main import run\n"
        "run(['pca', '--help'])\n"
        "print('rich' in sys.modules)\n"
    )
    assert start(sys.executable, "-c", script).stdout.splitlines()[-1] == "False"


def test_script_and_module_are_the_same_command() -> None:
    script = start(Path(sys.executable).with_name("latentlab"), "--version")
    module = start(sys.executable, "-m", "latentlab", "--version")
    assert script.returncode == module.returncode == 0
    assert script.stdout == module.stdout
    assert script.stdout.startswith("latentlab 0.")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("pca", (*COMMON, "--offline", "--neighborhood", "--samples", "--region", "--set")),
        ("traverse", (*COMMON, "--offline", "--run", "--steps", "--span", "--format", "--fps")),
        ("models", ("--download", "--json", "--quiet", "--offline")),
    ],
)
def test_help_lists_the_options(command: str, options: tuple[str, ...], cli: CommandLine) -> None:
    called = cli(command, "--help")
    assert called.code == 0
    assert [option for option in options if option not in called.out] == []


def test_a_warning_is_one_line_on_stderr(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object, **__: object) -> None:
        warnings.warn("these weights may be SDXL's", UserWarning, stacklevel=1)
        raise FileError("x", "y", "z")

    monkeypatch.setattr("latentlab.load_vae", warn, raising=False)
    warnings.simplefilter("always")
    called = cli.pca("--quiet")
    assert called.code == 3
    assert called.err.splitlines() == [
        "warning: these weights may be SDXL's",
        "error: Got x, but expected y. Z.",
    ]


def test_without_arguments_the_help_is_printed(cli: CommandLine) -> None:
    assert cli() == cli("--help")
    assert "--debug" in cli().out


def test_an_interrupt_while_sampling_leaves_with_130_and_no_files(
    place: Path, tmp_path: Path
) -> None:
    script = (
        "import os, signal, sys\n"
        # The process that started the tests may have set interrupts to be ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from latentlab.cli.main import main\n"
        "from latentlab.neighborhoods.gaussian import Gaussian\n"
        "draw = Gaussian.draw\n"
        "def interrupted(*given):\n"
        "    for number, drawn in enumerate(draw(*given)):\n"
        "        if number == 3:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "        yield drawn\n"
        "Gaussian.draw = interrupted\n"
        "main(sys.argv[1:])\n"
    )
    options = ("--size", SIZE, "-n", 50, "-k", "gaussian", "--quiet", "--json")
    pca = ("pca", place / "photo.png", "-m", place / "small", *options)
    done = start(sys.executable, "-c", script, *pca, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr == "error: interrupted; files with their final names are complete\n"
    assert files_in(tmp_path) == {}


def test_the_origin_of_a_run_is_the_encoded_image(finished: Path, place: Path) -> None:
    latent = encode(load_vae(place / "small"), place / "photo.png", size=SIZE)
    torch.testing.assert_close(load_file(finished / "pca.safetensors")["origin"], latent.values)
