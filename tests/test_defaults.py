"""Which model is used, in order of precedence, and how that is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentlab.cli.defaults import DEFAULT_MODEL, MODEL_VARIABLE, choose_model
from latentlab.cli.main import run
from latentlab.errors import UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder without any configuration above it that counts."""
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    work = tmp_path / "project" / "deep"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    return tmp_path


def configure(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_any_choice_it_is_the_default_and_a_short_line_says_so(home: Path) -> None:
    chosen = choose_model()
    assert chosen.name == DEFAULT_MODEL
    assert chosen.announce() == "loading mini, the default; for another, see `latentlab models`"
    assert choose_model("flux1").announce() == ""


def test_each_choice_comes_before_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home / "config/latentlab/config.toml", 'model = "sana"')
    assert choose_model().name == "sana"
    configure(home / "project/pyproject.toml", '[tool.latentlab]\nmodel = "sd3"')
    assert choose_model().name == "sd3"
    monkeypatch.setenv(MODEL_VARIABLE, "flux2")
    assert choose_model().name == "flux2"
    assert choose_model("taesd").name == "taesd"
    assert "chosen by LATENTLAB_MODEL" in choose_model().announce()


def test_a_pyproject_of_another_tool_is_skipped(home: Path) -> None:
    configure(home / "project/pyproject.toml", '[tool.latentlab]\nmodel = "sd3"')
    configure(home / "project/deep/pyproject.toml", '[project]\nname = "other"')
    assert choose_model().name == "sd3"


@pytest.mark.parametrize("text", ["model = ", "[tool.latentlab]\nmodel = 3", "[tool]\nlatentlab=1"])
def test_a_broken_configuration_is_an_error_that_names_the_file(home: Path, text: str) -> None:
    configure(home / "project/pyproject.toml", text)
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        choose_model()


def test_what_was_asked_for_is_never_replaced_by_another(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, "no-such-model")
    assert run(["pca", "sample:flower", "--size", "64"]) == 4
    error = capsys.readouterr().err
    assert "loading no-such-model (chosen by LATENTLAB_MODEL)" in error
    assert "error: Got the model name 'no-such-model'" in error


def test_the_built_in_control_runs_by_name_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, "linear")
    assert run(["pca", "sample:flower", "--size", "64", "--samples", "8", "--offline"]) == 0
    assert run(["traverse", "--components", "2", "--steps", "3"]) == 0
    assert "flower · linear · 64×64 px" in capsys.readouterr().out
