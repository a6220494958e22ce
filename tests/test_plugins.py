"""Classes of installed packages are found by their entry points, and cost nothing until then."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine, save_image
from safetensors.torch import save_file

from latentlab import plugins
from latentlab.chance.nulls import NULLS
from latentlab.cli.main import run
from latentlab.directions import FINDERS
from latentlab.errors import PluginError, UsageError
from latentlab.loaders import FAMILIES, load_vae
from latentlab.measures import MEASURES
from latentlab.neighborhoods import SAMPLERS
from latentlab.plugins import installed_plugins, used_plugins
from latentlab.results.kept_samples import samples_key
from latentlab.testing import check_finder, check_metric, check_neighborhood, check_null

SOURCE = Path(__file__).parent / "plugin"
REGISTRIES = (SAMPLERS, FINDERS, NULLS, MEASURES, FAMILIES)
PACKAGE = {"distribution": "latentlab-waves", "version": "1.5"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the package was installed."""
    copy, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE, copy)  # pip leaves a build folder beside what it builds
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *options, str(copy)], check=True, timeout=120)
    return target


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Return what puts a folder of packages before the others; all is forgotten afterwards."""
    for registry in REGISTRIES:
        for name in registry._modules:
            registry[name]  # what comes with latentlab registers once, when it is imported
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_offered", None)
        monkeypatch.setattr(registry, "broken", {})
    monkeypatch.setattr(plugins, "_USED", {})
    installed_plugins.cache_clear()
    yield lambda folder: monkeypatch.syspath_prepend(str(folder))
    installed_plugins.cache_clear()


@pytest.fixture
def installed(site: Path, search: Callable[[Path], None]) -> None:
    search(site)


@pytest.fixture
def listed(tmp_path: Path, search: Callable[[Path], None]) -> None:
    """List the same package as installed, but without pip, which takes seconds."""
    facts = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())])
        for group, entries in facts["entry-points"].items()
    ]
    search(SOURCE)
    search(package(tmp_path / "site", facts["name"], "\n".join(groups), version=facts["version"]))


def package(folder: Path, name: str, groups: str, code: str = "", version: str = "3.0") -> Path:
    """Write an installed package with these entry points; return its folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    facts = folder / f"{name}-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text(groups)
    return folder


def record(facts: dict[str, Any], command: str) -> Any:
    """Return what run.json says about a command."""
    folder = Path(facts["files"][0]).parent
    return json.loads((folder / "run.json").read_text())[command]


@pytest.mark.slow
def test_pca_and_traverse_use_a_neighborhood_and_a_null(cli: CommandLine, installed: None) -> None:
    facts = cli.pca("-k", "waves", "--set", "height=0.2", "--nulls", "independent").facts
    assert facts["neighborhood"] == "waves"
    assert facts["explained_variance_ratio"][0] > 0.999
    assert facts["components_above_null_of"] == "independent"
    used = [{"kind": "neighborhood", "name": "waves"}, {"kind": "null", "name": "independent"}]
    assert record(facts, "pca")["plugins"] == [{**one, **PACKAGE} for one in used]
    walk = ("--components", 1, "--steps", 3, "--json")
    walked = cli("traverse", "--run", Path(facts["files"][0]).parent, *walk).facts
    assert record(walked, "traverse")["plugins"][0]["name"] == "waves"


@pytest.mark.slow
def test_directions_use_a_finder(cli: CommandLine, installed: None) -> None:
    facts = cli(
        *("directions", cli.image, "-m", cli.model, "--size", 32, "-n", 8, "-k", "waves"),
        *("--finder", "loud-waves", "--components", 2, "--json"),
    ).facts
    assert facts["finder"] == "loud-waves"
    assert facts["strengths"][0] > 0
    assert {one["name"] for one in record(facts, "directions")["plugins"]} == {
        "loud-waves",
        "waves",
    }


@pytest.mark.slow
def test_metrics_use_a_metric_and_a_model_family(
    cli: CommandLine, installed: None, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name in "ab":
        save_image(tmp_path / f"photos/{name}.png", 32 + 2 * (name == "b"), 40)
    (tmp_path / "halves").mkdir()
    (tmp_path / "halves/config.json").write_text('{"_class_name": "Halves"}')
    weights = tmp_path / "halves/diffusion_pytorch_model.safetensors"
    save_file({"gain": torch.tensor([2.0])}, weights)
    facts = cli("metrics", "photos", "-m", "halves", "--size", 32, "--json").facts
    # Values are halved and doubled again, so that no bit is lost.
    assert facts["metrics"]["largest_error"]["value"] == 0
    used = [("metric", "largest_error"), ("model family", "Halves")]
    found = [(one["kind"], one["name"]) for one in record(facts, "metrics")["plugins"]]
    assert found == used


def test_they_keep_the_contracts(listed: None) -> None:
    reports = (
        check_neighborhood("waves"),
        check_finder("loud-waves"),
        check_null("independent"),
        check_metric("largest_error"),
    )
    for report in reports:
        assert report.ok, str(report)
        assert not report.remarks, str(report)


def test_without_plug_ins_the_record_says_nothing(cli: CommandLine, listed: None) -> None:
    assert "plugins" not in record(cli.pca("--nulls", "none").facts, "pca")


def test_names_are_listed_and_nothing_is_imported(
    cli: CommandLine, listed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("latentlab_waves")]:
        monkeypatch.delitem(sys.modules, name)
    assert "waves" in cli("pca", "--help").out
    assert "loud-waves" in cli("directions", "--help").out
    assert [name for name in sys.modules if name.startswith("latentlab_waves")] == []
    assert installed_plugins.cache_info().misses == 1


def test_the_list_of_commands_reads_no_entry_points(listed: None) -> None:
    assert run(["--help"]) == 0
    assert installed_plugins.cache_info().misses == 0


def test_kept_samples_belong_to_a_version(
    listed: None, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import latentlab

    monkeypatch.setattr(SAMPLERS["waves"], "encodes", True)  # else nothing is kept at all
    vae = load_vae("linear")
    latent = latentlab.encode(vae, "sample:flower", size=32)
    first = samples_key(vae, latent, "waves", 4, "auto", {})
    newer = plugins.Plugin("waves", "latentlab_waves.latents:Waves", "latentlab-waves", "1.6")
    monkeypatch.setattr(SAMPLERS, "_offered", {"waves": newer})
    assert first
    assert samples_key(vae, latent, "waves", 4, "auto", {}) != first


BROKEN = {
    "an import": ("raise RuntimeError('no such chip')", "RuntimeError: no such chip"),
    "an exit": ("import sys; sys.exit()", "cannot be imported (SystemExit)"),
    "no such name": ("", "cannot be imported (AttributeError: "),
    "no class": ("Mine = 3", "subclass of latentlab.directions.base.Finder"),
    "another class": ("class Mine: pass", "subclass of latentlab.directions.base.Finder"),
    "abstract": (
        "from latentlab.directions.base import Finder\nclass Mine(Finder): pass",
        "without search",
    ),
    "an option": (
        "from dataclasses import dataclass\nfrom latentlab.directions import FINDERS\n"
        "@FINDERS.register('mine')\n@dataclass(frozen=True)\n"
        "class Mine(FINDERS['pca']):\n    level: float",
        "without a default of level",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_one_is_an_error_only_where_it_is_asked_for(
    fault: str,
    tmp_path: Path,
    search: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, words = BROKEN[fault]
    search(package(tmp_path / "site", "faulty", "[latentlab.finders]\nmine = faulty:Mine\n", code))
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    assert FINDERS["pca"].name == "pca"
    assert "mine" in FINDERS.names()
    with pytest.warns(UserWarning, match="'mine' of the package faulty 3.0") as said:
        assert "mine" not in FINDERS.classes()
    assert "mine" not in FINDERS.classes()
    assert len(said) == 1
    with pytest.raises(PluginError) as error:
        FINDERS.make("mine")
    assert words in str(error.value)
    assert str(error.value).endswith("Update or uninstall faulty.")
    assert used_plugins() == []


@pytest.mark.filterwarnings("default:.*faulty_metric:UserWarning")
def test_a_broken_metric_is_left_out_of_all_and_named_once(
    cli: CommandLine, tmp_path: Path, search: Callable[[Path], None]
) -> None:
    groups = "[latentlab.metrics]\nmine = faulty_metric:Mine\n"
    search(package(tmp_path / "site", "faulty_metric", groups, "import nothing_like_it"))
    (tmp_path / "photos").mkdir()
    save_image(tmp_path / "photos/a.png")
    done = cli("metrics", "photos", "-m", "linear", "--size", 32, "--json")
    assert "faulty_metric 3.0" in done.facts["skipped"]["metrics"]["mine"]
    assert done.err.count("faulty_metric 3.0") == 1
    wanted = cli("metrics", "photos", "-m", "linear", "--only", "mine")
    assert wanted.code == 1
    assert "nothing_like_it" in wanted.err


def test_a_name_that_is_taken_is_refused(tmp_path: Path, search: Callable[[Path], None]) -> None:
    code = "from latentlab.directions.random import Random as Mine"
    search(package(tmp_path / "site", "first", "[latentlab.finders]\nmine = first:Mine\n", code))
    groups = "[latentlab.finders]\nmine = second:Mine\npca = second:Mine\n"
    package(tmp_path / "site", "second", groups, code)
    with pytest.warns(UserWarning, match="has that name") as said:
        assert FINDERS.source_of("mine") == "the package first 3.0"
    words = sorted(str(one.message) for one in said)
    assert words == [
        "the finder 'mine' of the package second 3.0 is left out: the package first 3.0 has that "
        "name",
        "the finder 'pca' of the package second 3.0 is left out: latentlab itself has that name",
    ]
    with pytest.raises(UsageError, match=r"'mine' is by the package first 3\.0"):
        FINDERS.register("mine")(type("Other", (FINDERS["pca"],), {}))


def test_a_class_of_ones_own_does_not_replace_another(search: Callable[[Path], None]) -> None:
    mine = type("Mine", (FINDERS["pca"],), {"__module__": "notebook"})
    with pytest.raises(UsageError, match="'pca' is by latentlab itself"):
        FINDERS.register("pca")(mine)
    FINDERS.register("mine")(mine)
    again = type("Mine", (FINDERS["pca"],), {"__module__": "notebook"})
    assert FINDERS.register("mine")(again) is FINDERS["mine"]
    with pytest.raises(UsageError, match="'mine' is by the class Mine of notebook"):
        FINDERS.register("mine")(type("Mine", (FINDERS["pca"],), {"__module__": "other"}))


DECORATED = """
from latentlab.directions import FINDERS
@FINDERS.register("one")
class One(FINDERS["pca"]): pass
@FINDERS.register("two")
class Two(FINDERS["pca"]): pass
"""


@pytest.mark.parametrize("first", ["names", "import", "class"])
def test_a_package_may_register_what_it_lists(
    first: str, tmp_path: Path, search: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = "[latentlab.finders]\none = twice:One\ntwo = twice:Two\n"
    (package(tmp_path / "site", "twice", groups) / "twice.py").unlink()
    (tmp_path / "site/twice").mkdir()
    (tmp_path / "site/twice/inside.py").write_text(DECORATED)
    (tmp_path / "site/twice/__init__.py").write_text("from twice.inside import One, Two")
    search(tmp_path / "site")
    for name in ("twice", "twice.inside"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if first == "names":
        assert FINDERS.names()[-2:] == ["one", "two"]
    if first != "class":
        import_module("twice")
    assert FINDERS["two"].__name__ == "Two"
    assert FINDERS["one"].__name__ == "One"
    assert FINDERS.source_of("one") == FINDERS.source_of("two") == "the package twice 3.0"
    assert [one["name"] for one in used_plugins()] == ["one", "two"]


def test_a_list_that_cannot_be_read_is_named(
    tmp_path: Path, search: Callable[[Path], None]
) -> None:
    search(package(tmp_path / "site", "garbled", "[latentlab.finders]\nno equals sign\n"))
    with pytest.warns(UserWarning, match="of the package garbled 3.0 are left out"):
        assert "pca" in FINDERS.names()
