"""The training script of ``mini``: repeatable, interruptible, and right where it starts."""

from __future__ import annotations

import copy
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from latentlab import encode, load_vae
from latentlab.encoding.encoder import decode
from latentlab.errors import FileError
from latentlab.models.shipped import shipped_folder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
mini_data = importlib.import_module("mini_data")
mini_linear = importlib.import_module("mini_linear")
mini_model = importlib.import_module("mini_model")
package_models = importlib.import_module("package_models")
score_mini = importlib.import_module("score_mini")
train_mini = importlib.import_module("train_mini")

TINY = train_mini.Recipe(
    steps=4,
    channels=(14, 14, 50, 50),
    batch=4,
    crops=(16, 32),
    warm_up=2,
    precision="float32",
    validation=1,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than these small steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """Return four smooth color images, (4, 256, 256, 3) uint8."""
    rng = np.random.default_rng(0)
    small = Image.Resampling.BICUBIC
    fields = [Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)) for _ in range(4)]
    return np.stack([np.asarray(field.resize((256, 256), small)) for field in fields])


@pytest.fixture(scope="module")
def started(photos: np.ndarray) -> object:
    """Return a run at step 0; copy it before it takes steps."""
    return train_mini.start_run(TINY, photos, CPU)


@pytest.fixture
def folder(tmp_path: Path, photos: np.ndarray) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    for k, pixels in enumerate(photos[:3]):
        Image.fromarray(pixels).save(path / f"{k}.png")
    return path


def weights(run: object) -> dict[str, torch.Tensor]:
    trained = {f"vae.{k}": v for k, v in run.vae.state_dict().items()}
    return trained | {f"averaged.{k}": v for k, v in run.averaged.state_dict().items()}


@pytest.mark.slow
def test_an_interrupted_and_resumed_run_ends_in_the_same_bits(
    tmp_path: Path, photos: np.ndarray, started: object
) -> None:
    whole = copy.deepcopy(started)
    (tmp_path / "whole").mkdir()
    assert train_mini.train(whole, TINY, photos, out=tmp_path / "whole", photos=4, log_every=1)

    out = tmp_path / "parts"
    out.mkdir()
    parts = copy.deepcopy(started)
    for stopped_at in (1, 2, 3):
        done = train_mini.train(parts, TINY, photos, out=out, photos=4, log_every=1, minutes=0)
        assert (done, parts.step) == (False, stopped_at)
        parts = train_mini.start_run(TINY, None, CPU)
        train_mini.load_checkpoint(parts, TINY, 4, out / "checkpoint.pt")
    assert train_mini.train(parts, TINY, photos, out=out, photos=4, log_every=1)

    expected = weights(whole)
    for name, value in weights(parts).items():
        assert torch.equal(value, expected[name]), name
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    lines = [[json.loads(line) for line in log] for log in logs]
    assert [line["step"] for line in lines[1]] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]


def test_the_same_seed_starts_from_the_same_weights(photos: np.ndarray, started: object) -> None:
    again = weights(train_mini.start_run(TINY, photos, CPU))
    assert all(torch.equal(value, again[name]) for name, value in weights(started).items())


def test_training_lowers_the_loss(photos: np.ndarray, started: object) -> None:
    run, recipe = copy.deepcopy(started), replace(TINY, rate=1e-4, steps=100)
    crops = mini_data.to_tensor(photos[:, :32, :32])
    seen = [train_mini.train_step(recipe, run, crops)["loss"].item() for _ in range(12)]
    assert seen[-1] < 0.9 * seen[0]


def test_a_kill_is_noted_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with train_mini.asked_to_stop() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert sorted(signals) == [signal.SIGINT, signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_lines_of_steps_to_be_done_again_leave_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    train_mini.trim_log(log, 2)
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path, started: object) -> None:
    run = copy.deepcopy(started)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(FileError, match="Drop --resume"):
        train_mini.load_checkpoint(run, TINY, 4, path)
    train_mini.save_checkpoint(run, TINY, 4, path)
    with pytest.raises(FileError, match=r"Got .* of 4 photos .* expected 7 photos"):
        train_mini.load_checkpoint(run, TINY, 7, path)
    with pytest.raises(FileError, match=r"'kl': 0\.5"):
        train_mini.load_checkpoint(run, replace(TINY, kl=0.5), 4, path)
    train_mini.load_checkpoint(run, replace(TINY, steps=9), 4, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match="damaged"):
        train_mini.load_checkpoint(run, TINY, 4, path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_sizes_of_crops_take_turns_with_as_many_pixels(photos: np.ndarray) -> None:
    copies = dict.fromkeys(mini_data.SCALES, photos)
    shapes = [train_mini.crops_at(TINY, copies, step).shape for step in range(3)]
    assert shapes == [(4, 3, 16, 16), (1, 3, 32, 32), (4, 3, 16, 16)]


def test_a_run_can_start_from_an_exported_model(photos: np.ndarray, tmp_path: Path) -> None:
    first = train_mini.start_run(TINY, photos, CPU)
    mini_model.export(first.vae, tmp_path, photos)
    second = train_mini.start_run(TINY, photos, CPU, tmp_path)
    for old, new in zip(first.vae.parameters(), second.vae.parameters(), strict=True):
        torch.testing.assert_close(new, old.half().float(), rtol=0, atol=0)


def test_crops_depend_on_seed_and_step_alone_and_come_from_the_photos(photos: np.ndarray) -> None:
    copies = dict.fromkeys(mini_data.SCALES, photos)
    draw = {"batch": 3, "crop": 8}
    first = mini_data.sample_crops(copies, seed=5, step=7, **draw)
    mini_data.sample_crops(copies, seed=5, step=8, **draw)
    again = mini_data.sample_crops(copies, seed=5, step=7, **draw)
    assert torch.equal(first, again)
    assert not torch.equal(first, mini_data.sample_crops(copies, seed=5, step=8, **draw))
    assert not torch.equal(first, mini_data.sample_crops(copies, seed=6, step=7, **draw))
    windows = np.lib.stride_tricks.sliding_window_view(photos, (8, 8), axis=(1, 2))
    for crop in mini_data.to_pixels(first):
        wanted = [c.transpose(2, 0, 1) for c in (crop, crop[:, ::-1])]
        corners = [windows[..., 0, 0] == c[:, 0, 0] for c in wanted]
        places = [(np.argwhere(hit.all(-1)), c) for hit, c in zip(corners, wanted, strict=True)]
        assert any(
            np.array_equal(windows[tuple(place)], c) for found, c in places for place in found
        )


def test_pixels_survive_the_way_to_a_tensor_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    tensor = mini_data.to_tensor(levels)
    assert (tensor.min().item(), tensor.max().item()) == (-1, 1)
    assert np.array_equal(mini_data.to_pixels(tensor), levels)


def test_broken_images_are_counted_and_skipped(folder: Path) -> None:
    good = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    read = mini_data.read_folder(folder)
    assert read.names == ("0.png", "1.png", "2.png")
    assert read.skipped == ("cut.png", "empty.jpg", "notes.txt")
    assert read.pixels.shape == (3, 256, 256, 3)


def test_a_folder_without_images_is_one_line_and_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert train_mini.main(["--data", str(tmp_path / "none"), "--out", out]) == 3
    assert capsys.readouterr().err.startswith("error: Got ")


def test_an_earlier_run_is_not_overwritten(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"hours of work")
    assert train_mini.main(["--data", str(folder), "--out", str(tmp_path)]) == 2
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"hours of work"


def test_patch_pca_agrees_with_scikit_learn(photos: np.ndarray) -> None:
    ours = mini_linear.fit_patch_pca(photos[:2], 4)
    rows = [
        photo[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].ravel() / 127.5 - 1
        for photo in photos[:2]
        for i in range(32)
        for j in range(32)
    ]
    theirs = PCA(4, svd_solver="full").fit(rows)
    aligned = np.abs(np.sum(ours.components * theirs.components_, 1))
    np.testing.assert_allclose(aligned, 1, atol=1e-9)
    np.testing.assert_allclose(ours.deviations**2, theirs.explained_variance_, rtol=1e-3)
    back = theirs.inverse_transform(theirs.transform(rows[:1]))[0].reshape(8, 8, 3)
    levels = ((back.clip(-1, 1) + 1) * 127.5).round()
    np.testing.assert_array_equal(mini_linear.reconstruct(ours, photos[:1])[0, :8, :8], levels)


def test_the_encoder_starts_as_the_whitened_patch_pca(photos: np.ndarray) -> None:
    pca = mini_linear.fit_patch_pca(photos, 16)
    vae = train_mini.build_vae((16, 32, 64, 64))
    mini_linear.start_from_linear(vae, pca, logvar=-10.0)
    with torch.no_grad():
        posterior = vae.encode(mini_data.to_tensor(photos)).latent_dist
    white = (mini_linear.patches(photos / 127.5 - 1) - pca.mean) @ pca.components.T / pca.deviations
    for channel in range(16):
        found = posterior.mean[:, channel].numpy().ravel()
        assert np.corrcoef(found, white[..., channel].ravel())[0, 1] > 0.97
    assert torch.all(posterior.logvar == -10)


def test_the_fitted_decoder_starts_far_above_a_random_one(photos: np.ndarray) -> None:
    vae = train_mini.build_vae(TINY.channels)
    mini_linear.start_from_linear(vae, mini_linear.fit_patch_pca(photos[:3], 16), logvar=-10.0)
    random = train_mini.mean_psnr(vae, photos[3:])
    mini_linear.fit_decoder(vae, mini_data.to_tensor(photos[:3]))
    assert train_mini.mean_psnr(vae, photos[3:]) > random + 10


def test_the_export_is_a_plain_diffusers_folder_of_unit_model_space(
    tmp_path: Path, photos: np.ndarray, started: object
) -> None:
    from diffusers import AutoencoderKL

    train_mini.export(started.averaged, tmp_path / "mini", photos)
    assert sorted(p.name for p in (tmp_path / "mini").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    vae = AutoencoderKL.from_pretrained(tmp_path / "mini")
    with torch.no_grad():
        z = vae.encode(mini_data.to_tensor(photos)).latent_dist.mean
    z = (z - vae.config.shift_factor) * vae.config.scaling_factor
    assert z.shape == (4, 16, 32, 32)
    assert abs(z.mean().item()) < 1e-3
    assert z.std().item() == pytest.approx(1, abs=1e-3)


def test_the_model_fits_into_eight_megabytes() -> None:
    vae = train_mini.build_vae(train_mini.Recipe.channels)
    assert 2 * sum(p.numel() for p in vae.parameters()) < 8e6


def test_the_rate_climbs_then_falls_to_a_hundredth() -> None:
    recipe = train_mini.Recipe(steps=1000, warm_up=100, rate=1.0)
    rates = [train_mini.learning_rate(recipe, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[100] == 1.0
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)
    assert sorted(rates[100:], reverse=True) == rates[100:]


def test_scores_agree_with_scikit_image(photos: np.ndarray) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    expected = peak_signal_noise_ratio(photos[0], photos[1])
    ((psnr, _),) = mini_data.score(photos[:1], photos[1:2])
    assert psnr == pytest.approx(expected)
    assert mini_data.ssim(photos[0], photos[0]) == 1


def test_photos_to_judge_by_are_square_color_images() -> None:
    held_out = mini_data.bundled_photos()
    assert {"china", "flower"} <= set(held_out)
    assert all(p.shape == (256, 256, 3) and p.dtype == np.uint8 for p in held_out.values())


@pytest.mark.shared
def test_all_shared_photos_can_be_read(shared: Path) -> None:
    read = mini_data.read_folder(shared / "data" / "photos", limit=20)
    assert (len(read.names), read.skipped) == (20, ())


@pytest.mark.slow
def test_a_run_ends_with_models_that_the_package_takes(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    sizes = ["--channels", "14", "14", "50", "50", "--batch", "1", "--precision", "float32"]
    assert train_mini.main(["--data", str(folder), "--out", str(run), "--steps", "1", *sizes]) == 0
    written = json.loads((run / "scores.json").read_text())
    assert written["linear"]["psnr"] > 20
    assert package_models.main([str(run), "--models", str(models)]) == 0
    for name in ("mini", "linear", "linear32"):
        assert shipped_folder(name, models).is_dir()
    assert load_vae(str(models / "linear32")).spec.channels == 32
    (run / "mini" / "config.json").unlink()
    assert package_models.main([str(run), "--models", str(tmp_path / "none")]) == 3
    assert "mini/config.json" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_scores_of_a_model_are_those_of_scikit_image(
    tmp_path: Path, folder: Path, photos: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    out = tmp_path / "scores.json"
    arguments = ["--model", "linear32", "--photos", str(folder), "--samples", "6"]
    assert score_mini.main([*arguments, "--json", str(out)]) == 0
    facts = json.loads(out.read_text())
    vae = load_vae("linear32")
    copy_of_first = mini_data.to_pixels(decode(vae, encode(vae, photos[0]))[None])[0]
    expected = peak_signal_noise_ratio(photos[0], copy_of_first)
    assert facts["photos"]["0.png"]["psnr"] == pytest.approx(expected)
    assert facts["photos"]["0.png"]["psnr"] > facts["linear"]["0.png"]["psnr"]
    assert set(facts["augment"]) == {"0.png", "1.png", "2.png"}
    assert "| mean |" in capsys.readouterr().out
