"""Help in groups, and what shells complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CommandLine

from latentlab.cli.main import run
from latentlab.directions import FINDERS
from latentlab.neighborhoods import SAMPLERS

SHELLS = ("bash", "zsh", "fish")


def completed(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """Return what bash is offered for the last word of a command line."""
    monkeypatch.setenv("_LATENTLAB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        run([])
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("latentlab tra", ["traverse", "transfer"]),
        ("latentlab doc", ["doctor"]),
        ("latentlab store v", ["verify"]),
        ("latentlab pca --fi", ["--figure-format"]),
        ("latentlab pca --figure-format ", ["png", "pdf", "svg"]),
        ("latentlab pca --model lin", ["linear", "linear32"]),
        ("latentlab pca -k ", list(SAMPLERS)),
        ("latentlab pca --nulls para", ["parallel"]),
        ("latentlab directions --finder ", list(FINDERS)),
        ("latentlab completion ", list(SHELLS)),
        ("latentlab pca ", []),  # the shell then offers files
    ],
)
def test_commands_options_and_names_are_completed(
    words: str,
    offered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert completed(words, monkeypatch, capsys) == offered


def test_descriptions_list_the_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_LATENTLAB_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "latentlab directions --find")
    with pytest.raises(SystemExit):
        run([])
    option, told = capsys.readouterr().out.rstrip("\n").split("\t")
    assert option == "--finder"
    assert told.startswith("pca, jacobian, ")


@pytest.mark.parametrize("words", ["latentlab ", "latentlab store ", "latentlab digits "])
def test_what_a_command_does_is_a_whole_sentence_beside_its_name(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_LATENTLAB_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", words)
    with pytest.raises(SystemExit):
        run([])
    told = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(told) >= 5
    assert [name for name, sentence in told if not re.fullmatch(r"[A-Z].*[^.]\.", sentence)] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_its_script(shell: str, cli: CommandLine) -> None:
    called = cli("completion", shell)
    assert (called.code, called.err) == (0, "")
    assert f"_LATENTLAB_COMPLETE=complete_{shell}" in called.out
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=called.out, text=True, check=True)


def test_another_shell_is_wrong_usage(cli: CommandLine) -> None:
    called = cli("completion", "tcsh")
    assert called.code == 2
    assert "'bash', 'zsh', 'fish'" in called.error


# How each shell is asked what it offers for `latentlab digits tr`, once it has read the script.
ASKED = {
    "bash": (
        "source ./script; COMP_WORDS=(latentlab digits tr); COMP_CWORD=2\n"
        '_latentlab_completion latentlab; printf "%s\\n" "${COMPREPLY[@]}"'
    ),
    # Without a terminal zsh completes nothing, so what it would list is printed instead.
    "zsh": (
        'compdef() { :; }; _arguments() { print -r -- "$1"; }\n'
        "source ./script; words=(latentlab digits tr); CURRENT=3; _latentlab_completion"
    ),
    "fish": "source ./script; complete -C 'latentlab digits tr'",
}
BARE = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_with_the_script(shell: str, cli: CommandLine, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    program = tmp_path / "latentlab"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m latentlab "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(cli("completion", shell).out)
    place = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [shell, *BARE[shell], "-c", ASKED[shell]],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **place},
    )
    lines = re.split(r'\n|\(\(| (?=")', done.stdout)
    names = [found[1] for line in lines if (found := re.match(r'"?(\w+)(\t|":|$)', line))]
    assert names == ["train", "traverse"]


def test_help_has_its_own_options_first_and_the_shared_ones_in_groups(cli: CommandLine) -> None:
    def headings(*command: str) -> list[str]:
        lines = cli(*command, "-h").out.splitlines()
        return [line.rstrip(":") for line in lines if line[:1].isalpha() and line[-1] == ":"]

    assert headings("pca") == ["Arguments", "Options", "Sampling", "Model", "Output"]
    everything = ["Arguments", "Options", "Sampling", "Model", "Animations", "Output"]
    assert headings("traverse") == everything
    assert headings("models") == ["Options", "Output"]
    assert headings("digits", "export") == ["Arguments", "Options", "Output"]
    assert headings() == ["Options", "Commands"]


def test_the_list_of_commands_is_that_of_the_whole_app(cli: CommandLine) -> None:
    from typer.main import get_command

    from latentlab.cli.main import app

    whole = get_command(app)
    context = whole.make_context("latentlab", [], resilient_parsing=True)
    assert cli("--help").out.rstrip() == whole.get_help(context).rstrip()
    assert cli().out == cli("-h").out == cli("--help").out


@pytest.mark.parametrize("group", [(), ("store",), ("digits",)])
def test_what_a_command_does_is_one_line_in_the_list_and_none_is_cut_off(
    group: tuple[str, ...], cli: CommandLine
) -> None:
    listed = cli(*group, "--help").out.partition("Commands:\n")[2].splitlines()
    assert len(listed) >= 5
    assert cli(*group).out == cli(*group, "-h").out
    assert [
        line for line in listed if not re.match(r"  \w+ +[A-Z].*\.$", line) or "..." in line
    ] == []


def test_no_option_is_lost_in_a_group(cli: CommandLine) -> None:
    from typer.main import get_command

    from latentlab.cli.main import app

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        if not getattr(command, "commands", None):
            shown = cli(name, "--help").out
            options = [each for each in command.params if each.param_type_name == "option"]
            assert [each.opts[0] for each in options if each.opts[0] not in shown] == []
            assert "list[" not in shown
