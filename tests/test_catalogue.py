"""The named models, and the command that lists and fetches them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from hub_stub import HubStub, StubRepo, commit_of, serve_hub
from huggingface_hub import close_session, constants
from typer.testing import CliRunner

from latentlab.cli.models import models
from latentlab.errors import DownloadError, ModelNotFoundError
from latentlab.loaders.catalogue import CATALOGUE, CatalogueEntry, find_entry

NAMES = {
    "flux1", "flux2", "taef1", "taef2", "sd15", "taesd", "sdxl", "taesdxl", "sd3", "taesd3",
    "qwen-image", "sana",
}  # fmt: skip
WEIGHTS = b"\x02\0\0\0\0\0\0\0{}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    """Return a stub that serves every entry of the catalogue with empty weights."""
    with serve_hub() as stub:
        template = stub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", stub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        for entry in CATALOGUE.values():
            folder = f"{entry.subfolder}/" if entry.subfolder else ""
            bodies = {name: b"{}" if name == "config.json" else WEIGHTS for name in entry.files}
            stub.repos[entry.repo] = StubRepo({folder + name: bodies[name] for name in bodies})
        yield stub
        close_session()


@pytest.fixture
def app() -> typer.Typer:
    """Return a command line with only the command under test."""
    app = typer.Typer()
    app.command("models")(models)
    return app


def _run(app: typer.Typer, *words: str) -> tuple[str, str]:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, done.stderr


def test_every_family_of_the_field_has_a_name() -> None:
    assert set(CATALOGUE) >= NAMES


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_entry_is_well_formed(entry: CatalogueEntry) -> None:
    import diffusers

    assert CATALOGUE[entry.name] is entry
    assert entry.repo.count("/") == 1
    assert entry.family == "TAESD" or hasattr(diffusers, entry.family)
    assert ("config.json" in entry.files) == (entry.family != "TAESD")
    assert any(name.endswith(".safetensors") for name in entry.files)
    assert entry.license
    assert entry.size_mb > 0


@pytest.mark.parametrize(
    ("tiny", "large"),
    [("taef1", "flux1"), ("taef2", "flux2"), ("taesd", "sd15"), ("taesdxl", "sdxl")],
)
def test_tiny_models_share_the_latent_shape_of_their_full_models(tiny: str, large: str) -> None:
    small, big = CATALOGUE[tiny], CATALOGUE[large]
    assert (small.channels, small.stride) == (big.channels, big.stride)
    assert small.size_mb < big.size_mb / 10


def test_flux1_needs_no_account() -> None:
    assert not CATALOGUE["flux1"].gated


def test_unknown_name_suggests_similar_ones() -> None:
    with pytest.raises(ModelNotFoundError, match=r"the model name 'flux-1'.*flux1"):
        find_entry("flux-1")
    assert find_entry("FLUX1") is CATALOGUE["flux1"]


def test_listing_imports_neither_torch_nor_the_hub_client() -> None:
    script = (
        "import sys, typer\n"
        "from latentlab.cli.models import models\n"
        "models(json_output=True)\n"
        "heavy = {'torch', 'diffusers', 'httpx2', 'httpx', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["models"]) == len(CATALOGUE)


def test_table_lists_every_model_and_whether_it_is_on_this_disk(
    hub: HubStub, app: typer.Typer
) -> None:
    _run(app, "--download", "taef2", "--quiet")
    rows = {line.split()[0]: line for line in _run(app)[0].splitlines() if line.strip()}
    assert set(rows) >= set(CATALOGUE)
    assert rows["taef2"].split()[-1] == "yes"
    assert rows["flux1"].split()[-1] == "no"


def test_json_is_one_object_with_what_is_on_this_disk(hub: HubStub, app: typer.Typer) -> None:
    _run(app, "--download", "sd15", "--quiet")
    hub.requests.clear()
    stdout, _ = _run(app, "--json")
    rows = {row["name"]: row for row in json.loads(stdout)["models"]}
    assert rows["sd15"]["on_disk"]
    assert (Path(rows["sd15"]["path"]) / "config.json").is_file()
    assert rows["sd15"]["revision"] == commit_of(hub.repos["stabilityai/sd-vae-ft-mse"].files)
    assert not rows["flux1"]["on_disk"]
    assert rows["flux1"]["path"] is None
    assert hub.requests == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_model_is_fetched_whole(hub: HubStub, app: typer.Typer, name: str) -> None:
    facts = json.loads(_run(app, "--download", name, "--json", "--quiet")[0])
    assert not facts["from_cache"]
    present = {path.name for path in Path(facts["path"]).iterdir()}
    assert present == set(CATALOGUE[name].files)


def test_progress_goes_to_stderr_only(
    hub: HubStub, app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich assume a terminal
    stdout, stderr = _run(app, "--download", "taesd", "--json")
    json.loads(stdout)
    assert "madebyollin/taesd" in stderr
    assert _run(app, "--download", "taesd", "--json", "--quiet")[1] == ""


def test_offline_download_of_a_missing_model_fails(hub: HubStub, app: typer.Typer) -> None:
    with pytest.raises(DownloadError, match="switched off"):
        _run(app, "--download", "taesd", "--offline", "--quiet")
    assert hub.requests == []
