"""``latentlab digits``: one JSON object, files that exist, exit codes and clear refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Called, CommandLine
from PIL import Image

from latentlab.digits.folders import load_run


@pytest.fixture
def latentlab(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path, tmp_path, capsys)


SMALL = ("--epochs", 2, "--hidden", 16, "--latent", 3, "--beta", 0.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a small model, written by the command itself."""
    from latentlab.cli.main import run

    folder = tmp_path_factory.mktemp("trained") / "run"
    words = ["digits", "train", *map(str, SMALL), "--out", str(folder), "--quiet"]
    assert run(words) == 0
    return folder


def check_files(called: Called) -> list[Path]:
    files = [Path(file) for file in called.facts["files"]]
    assert files
    for file in files:
        assert file.is_file(), file
        if file.suffix in (".png", ".gif"):
            with Image.open(file) as image:
                image.verify()
    return files


def test_train_prints_its_facts_and_leaves_a_run_folder(latentlab: CommandLine) -> None:
    called = latentlab("digits", "train", *SMALL, "-m", "vae", "--json")
    assert Path(called.facts["out"]).parent.name == "latentlab-runs"
    check_files(called)
    facts = called.facts
    assert facts["model"]["model"] == "vae"
    assert set(facts["test"]) == {
        *("reconstruction", "kl", "total", "kl_per_dimension", "active_units")
    }
    assert facts["unit"] == "nats"
    # Two epochs leave no active unit, so there is no tilt.
    assert (facts["test"]["active_units"], facts["tilt_dimension"]) == (0, None)
    assert load_run(facts["out"]).model.config.model == "vae"
    noted = json.loads((Path(facts["out"]) / "run.json").read_text())["digits train"]
    assert noted["command_line"][:2] == ["digits", "train"]
    assert "torch" in noted["versions"]


def test_an_interrupted_command_says_so_and_leaves_a_checkpoint(
    latentlab: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentlab.digits.training import Trainer

    run_epoch = Trainer.run_epoch

    def interrupted(self: Trainer, on_step: object = None) -> dict[str, object]:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return run_epoch(self)

    monkeypatch.setattr(Trainer, "run_epoch", interrupted)
    stopped = latentlab("digits", "train", *SMALL, "--out", "run", "--quiet")
    assert stopped.code == 130
    assert stopped.err.startswith("error: interrupted")
    assert {path.name for path in Path("run").iterdir()} == {
        *("checkpoint.safetensors", "metrics.jsonl", "training.png")
    }
    assert latentlab("digits", "train", "--out", "nowhere", "--resume").code == 3


@pytest.mark.slow
def test_resume_ends_with_the_same_weights_and_refuses_other_options(
    latentlab: CommandLine, trained: Path, tmp_path: Path
) -> None:
    from latentlab.digits.data import load_data
    from latentlab.digits.models import DigitsConfig
    from latentlab.digits.objective import Beta
    from latentlab.digits.session import finish_training, start_training
    from latentlab.digits.training import Recipe

    def interrupt(what: str, done: int, total: int) -> None:
        if done > 13:  # in the second epoch
            raise KeyboardInterrupt

    data, folder = load_data("digits"), tmp_path / "run"
    trainer = start_training(
        DigitsConfig("cvae", 3, hidden=(16,), size=8),
        Recipe(epochs=2, beta=Beta(0.5)),
        data,
        folder,
    )
    with pytest.raises(KeyboardInterrupt):
        finish_training(trainer, folder, interrupt)
    refused = latentlab("digits", "train", *SMALL, "--out", folder)
    assert refused.code == 2
    assert "or --resume to continue" in refused.error
    refused = latentlab("digits", "train", "--resume", "--epochs", 9, "--out", folder)
    assert refused.code == 2
    assert "--resume with --epochs" in refused.error
    assert latentlab("digits", "train", "--resume").code == 2
    latentlab("digits", "train", "--resume", "--out", folder, "--json")
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (trained / weights).read_bytes()
    assert (folder / "training.gif").read_bytes() == (trained / "training.gif").read_bytes()


@pytest.mark.slow
def test_interpolate_writes_its_film(latentlab: CommandLine, trained: Path) -> None:
    called = latentlab("digits", "interpolate", trained, "--steps", 4, "--json", "--out", "o")
    check_files(called)
    kinds = {path["kind"]: path["norms"] for path in called.facts["paths"]}
    assert set(kinds) == {"linear", "slerp"}
    assert all(len(norms) == 4 for norms in kinds.values())
    assert kinds["linear"][1] < kinds["slerp"][1]
    again = latentlab(
        *("digits", "interpolate", trained, "--start", "1,0,0", "--end", 3, "--path", "linear"),
        *("--steps", 3, "--json", "--out", "o"),
    )
    assert again.facts["paths"][0]["z"][0] == [1, 0, 0]
    assert len(again.facts["paths"]) == 1


def test_a_single_latent_is_interpolated_on_the_line_only(latentlab: CommandLine) -> None:
    small = ("--latent", 1, "--hidden", 4, "--epochs", 1)
    latentlab("digits", "train", *small, "--out", "one", "--quiet")
    called = latentlab("digits", "interpolate", "one", "--steps", 2, "--start", 1, "--json")
    assert [path["kind"] for path in called.facts["paths"]] == ["linear"]
    assert called.facts["paths"][0]["z"][0] == [1]


def test_traverse_writes_sheet_and_film(latentlab: CommandLine, trained: Path) -> None:
    for reach in ("sigma", "quantile"):
        called = latentlab(
            *("digits", "traverse", trained, "--range", reach, "--steps", 3),
            *("--json", "--out", reach),
        )
        check_files(called)
        assert len(called.facts["values"]) == 3
        assert len(called.facts["change"]["slant"]) == 10


def test_factors_say_which_latent_is_the_tilt(latentlab: CommandLine, trained: Path) -> None:
    called = latentlab("digits", "factors", trained, "--pictures", 120, "--json", "--out", "o")
    check_files(called)
    facts = called.facts
    assert [entry["index"] for entry in facts["dimensions"]] == [0, 1, 2]
    for entry in facts["dimensions"]:
        assert entry["kl"] >= 0
        assert set(entry["rho"]) == {"slant", "thickness", "width", "height", "area", "length"}
    assert facts["active"] == [False] * 3
    assert facts["tilt_dimension"] is None
    assert facts["constant_factors"] == ["height"]  # in images of 8×8 pixels
    assert facts["dimensions"][0]["rho"]["height"] is None
    assert facts["gaps"].keys() == set(entry["rho"]) - {"height"}
    assert set(facts["dci"]) == {"disentanglement", "completeness", "informativeness"}
    assert 0 <= facts["mig"] <= 1
    assert set(facts["rotation_control"]) >= {"mig", "dci", "sap"}


@pytest.mark.slow
def test_sweep_reports_every_beta(latentlab: CommandLine) -> None:
    called = latentlab(
        *("digits", "sweep", "--betas", "0.5,4", "--seeds", 2, "--epochs", 1, "--latent", 2),
        *("--hidden", 8, "--json", "--out", "o"),
    )
    check_files(called)
    assert [row["beta"] for row in called.facts["betas"]] == [0.5, 4]
    assert called.facts["seeds"] == [0, 1]
    assert called.facts["betas"][0]["total"]["interval"] > 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("train", "--model", "gan"), 2),
        (("train", "--latent", "0"), 2),
        (("train", "--epochs", "0"), 2),
        (("train", "--objective", "mmd"), 2),
        (("train", "--hidden", "4,x"), 2),
        (("train", "--network", "conv", "--hidden", "4"), 2),
        (("train", "--beta", "-1"), 2),
        (("train", "--beta-start", "0"), 2),
        (("train", "--data", "nowhere"), 3),
        (("train", "--data", "mnist", "--offline"), 4),
        (("train", "--device", "abacus"), 2),
        (("train", "--out", "/proc/nowhere"), 3),
        (("interpolate", "nowhere"), 3),
        (("interpolate", "RUN", "--start", "1,2"), 2),
        (("interpolate", "RUN", "--start", "99999"), 2),
        (("interpolate", "RUN", "--label", "10"), 2),
        (("interpolate", "RUN", "--path", "spline"), 2),
        (("traverse", "RUN", "--span", "0"), 2),
        (("traverse", "RUN", "--range", "all"), 2),
        (("traverse", "RUN", "--seed", "1"), 2),
        (("interpolate", "RUN", "--start", "1,0,0", "--end=-2,0,0"), 2),
        (("factors", "RUN", "--data", "nowhere"), 3),
        (("factors", "RUN", "--pictures", "3"), 2),
        (("sweep", "--betas", "1,two"), 2),
        (("sweep", "--model", "autoencoder"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_makes_no_sense_is_one_line_and_leaves_nothing(
    latentlab: CommandLine,
    trained: Path,
    words: tuple[str, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd() / "cache"))
    asked = [str(trained) if word == "RUN" else word for word in words]
    called = latentlab("digits", *asked, "--quiet")
    assert called.code == code, called.err
    assert called.error.count("\n") == 0
    assert not list(Path.cwd().iterdir())


@pytest.mark.slow
def test_summaries_are_printed_for_people(latentlab: CommandLine, trained: Path) -> None:
    told = latentlab("digits", "factors", trained, "--pictures", 120, "--out", "o")
    assert "no latent is the tilt: all have collapsed" in told.out
    assert "never varies within a label: height" in told.out
    assert "rotated at random" in told.out
    told = latentlab("digits", "train", *SMALL, "-m", "autoencoder", "--out", "a")
    assert "squared error" in told.out
    assert "nats" not in told.out


def test_help_of_the_digits_imports_no_torch() -> None:
    program = (
        "import sys\n"
        "from latentlab.cli.main import run\n"
        "assert run(['digits', 'train', '--help']) == 0\n"
        "assert not {'torch', 'sklearn', 'matplotlib', 'scipy', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
