"""Downloads through the real client against a hub on the loopback interface."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_stub import PAGE, HubStub, StubRepo, commit_of, serve_hub
from huggingface_hub import close_session, constants

from latentlab.errors import (
    DownloadError,
    GatedModelError,
    LatentlabError,
    ModelNotFoundError,
    WeightsError,
)
from latentlab.loaders.hub import fetch
from latentlab.loaders.hub_cache import FetchedModel, cached, choose_files

REPO = "owner/tiny-vae"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def vae_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return config and weights of a small AutoencoderKL with random weights."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-vae")
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    vae.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _point_client_at(url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vae_files: dict[str, bytes]
) -> Iterator[HubStub]:
    """Return a stub that serves the small VAE to the client, whose cache is empty."""
    with serve_hub() as stub:
        _point_client_at(stub.url, tmp_path, monkeypatch)
        stub.repos[REPO] = StubRepo({f"vae/{name}": body for name, body in vae_files.items()})
        yield stub
        close_session()


def _go_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the client at a port without a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    close_session()
    monkeypatch.setattr(constants, "ENDPOINT", url)


def _fail(kind: type[LatentlabError], *words: str, **options: object) -> str:
    """Return the message of a fetch that must fail soon, in one line with these words."""
    begin = time.perf_counter()
    with pytest.raises(kind) as caught:
        fetch(**{"repo": REPO, "subfolder": "vae", **options})  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert time.perf_counter() - begin < 12  # the client alone would retry for 23 seconds
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def test_fetched_folder_loads_with_plain_diffusers(
    hub: HubStub, vae_files: dict[str, bytes]
) -> None:
    from diffusers import AutoencoderKL

    model = fetch(REPO, subfolder="vae")
    vae = AutoencoderKL.from_pretrained(model.folder, local_files_only=True)
    assert model.revision == commit_of(hub.repos[REPO].files)
    assert not model.from_cache
    assert {p.name: p.read_bytes() for p in model.folder.iterdir()} == vae_files
    assert vae.config.latent_channels == 4


def test_only_needed_files_are_downloaded(hub: HubStub) -> None:
    hub.repos[REPO].files |= {
        "vae/diffusion_pytorch_model.bin": b"x" * 100,
        "vae/diffusion_pytorch_model.fp16.safetensors": b"x" * 100,
        "unet/diffusion_pytorch_model.safetensors": b"x" * 100,
        "README.md": b"hello",
    }
    model = fetch(REPO, subfolder="vae")
    gets = [line for line in hub.requests if line.startswith("GET") and "/resolve/" in line]
    assert len(gets) == 2
    assert sorted(path.name for path in model.folder.iterdir()) == ["config.json", WEIGHTS]


def test_second_fetch_downloads_nothing(hub: HubStub) -> None:
    first = fetch(REPO, subfolder="vae")
    hub.requests.clear()
    assert fetch(REPO, subfolder="vae") == first
    assert hub.requests == [f"GET /api/models/{REPO}"]


def test_new_commit_of_a_branch_is_fetched(hub: HubStub) -> None:
    first = fetch(REPO, subfolder="vae")
    config = json.loads(hub.repos[REPO].files["vae/config.json"]) | {"scaling_factor": 0.5}
    hub.repos[REPO].files["vae/config.json"] = json.dumps(config).encode()
    second = fetch(REPO, subfolder="vae")
    assert second.revision != first.revision
    assert json.loads((second.folder / "config.json").read_text())["scaling_factor"] == 0.5


def test_named_files_without_config_are_fetched(hub: HubStub, vae_files: dict[str, bytes]) -> None:
    hub.repos["owner/tae"] = StubRepo({"tae.safetensors": vae_files[WEIGHTS], "README.md": b"x"})
    model = fetch("owner/tae", files=("tae.safetensors",))
    assert [path.name for path in model.folder.iterdir()] == ["tae.safetensors"]


def test_sharded_weights_load_with_plain_diffusers(hub: HubStub, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    vae.save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    bodies = {path.name: path.read_bytes() for path in (tmp_path / "sharded").iterdir()}
    assert len(bodies) > 3
    hub.repos["owner/sharded"] = StubRepo(bodies)
    model = fetch("owner/sharded")
    again = AutoencoderKL.from_pretrained(model.folder, local_files_only=True)
    for name, tensor in vae.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    known = cached("owner/sharded")
    assert known is not None
    next(known.folder.glob("*-00001-of-*")).unlink()
    assert cached("owner/sharded") is None


def test_pickled_weights_are_taken_only_without_safetensors(hub: HubStub) -> None:
    hub.repos["owner/old"] = StubRepo({"config.json": b"{}", "diffusion_pytorch_model.bin": b"x"})
    names = {path.name for path in fetch("owner/old").folder.iterdir()}
    assert names == {"config.json", "diffusion_pytorch_model.bin"}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["taesd_decoder.safetensors", "taesd_encoder.safetensors", "README.md"], 2),
        (["vae-ft-mse-840000-ema-pruned.safetensors", "vae-ft-mse-840000-ema-pruned.ckpt"], 1),
        (["ae.safetensors", "flux1-dev.safetensors"], 0),
        (["README.md"], 0),
    ],
)
def test_files_are_chosen_only_if_they_make_one_model(names: list[str], chosen: int) -> None:
    assert len(choose_files(names)) == chosen


def test_progress_ends_at_the_sum_of_all_files(
    hub: HubStub, vae_files: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, int, int]] = []
    fetch(REPO, subfolder="vae", progress=lambda *call: calls.append(call))
    total = sum(len(body) for body in vae_files.values())
    assert calls[-1] == (f"{REPO} {WEIGHTS}", total, total)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    assert capfd.readouterr() == ("", "")


def test_a_tag_and_a_commit_are_kept_apart_from_main(
    hub: HubStub, vae_files: dict[str, bytes]
) -> None:
    other = {"vae/config.json": b'{"a": 1}', f"vae/{WEIGHTS}": vae_files[WEIGHTS]}
    hub.repos[REPO].tags["v1"] = other
    main = fetch(REPO, subfolder="vae")
    tagged = fetch(REPO, subfolder="vae", revision="v1")
    assert tagged.revision == commit_of(other) != main.revision
    assert fetch(REPO, subfolder="vae", revision=commit_of(other)).folder == tagged.folder


def test_cached_finds_complete_models_only(hub: HubStub) -> None:
    assert cached(REPO, subfolder="vae") is None
    model = fetch(REPO, subfolder="vae")
    hub.requests.clear()
    found = cached(REPO, subfolder="vae", files=("config.json", WEIGHTS))
    assert found == FetchedModel(model.folder, model.revision, from_cache=True)
    assert cached(REPO, subfolder="vae", files=("config.json", "more.bin")) is None
    assert cached(REPO, subfolder="vae", revision="v1") is None
    assert cached(REPO, subfolder="vae", revision="../../secret") is None
    (model.folder / WEIGHTS).unlink()
    assert cached(REPO, subfolder="vae") is None
    assert hub.requests == []


def test_without_network_the_cached_model_is_used_and_logged(
    hub: HubStub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = fetch(REPO, subfolder="vae")
    _go_dark(monkeypatch)
    with caplog.at_level(logging.WARNING, logger="latentlab"):
        again = fetch(REPO, subfolder="vae")
    assert again == FetchedModel(model.folder, model.revision, from_cache=True)
    assert model.revision in caplog.text


def test_without_network_another_revision_is_never_used(
    hub: HubStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(REPO, subfolder="vae")
    _go_dark(monkeypatch)
    _fail(DownloadError, "no connection", revision="v1")
    _fail(DownloadError, "no connection", revision="0" * 40)


def test_no_network_and_no_cache(hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    _go_dark(monkeypatch)
    _fail(DownloadError, "no connection to http://127.0.0.1", "HTTPS_PROXY")


def test_slow_name_resolution_is_not_waited_for(
    hub: HubStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stall(*_: object, **__: object) -> None:
        hub.released.wait(20)
        raise socket.gaierror("no name server")

    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    monkeypatch.setattr(socket, "getaddrinfo", stall)
    close_session()
    _fail(DownloadError, "no response within 1 s")


@pytest.mark.slow
def test_hub_that_never_responds(hub: HubStub) -> None:
    hub.fault = "api-hang"
    _fail(DownloadError, "no connection", "HF_HUB_ETAG_TIMEOUT")


def test_offline_uses_the_cache_and_no_network(hub: HubStub) -> None:
    message = _fail(DownloadError, "not complete in", "--offline", offline=True)
    assert REPO in message
    fetch(REPO, subfolder="vae")
    hub.requests.clear()
    assert fetch(REPO, subfolder="vae", offline=True).from_cache
    assert hub.requests == []


def test_offline_variable_of_the_client_is_respected(
    hub: HubStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _fail(DownloadError, "HF_HUB_OFFLINE")
    assert hub.requests == []


def test_gated_repository_names_the_page(hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos[REPO].gated = True
    _fail(GatedModelError, f"{hub.url}/{REPO}", "hf auth login", "HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    _fail(GatedModelError, "the license at")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert (fetch(REPO, subfolder="vae").folder / WEIGHTS).is_file()


def test_refused_token(hub: HubStub) -> None:
    hub.fault = "api-401"
    _fail(GatedModelError, "HTTP 401", "HF_TOKEN")


def test_unknown_repository(hub: HubStub) -> None:
    _fail(ModelNotFoundError, "owner/nothing", "spelling", repo="owner/nothing")


def test_impossible_repository_name(hub: HubStub) -> None:
    _fail(ModelNotFoundError, "a/b/c", "owner/name", repo="a/b/c")
    assert hub.requests == []


def test_unknown_revision(hub: HubStub) -> None:
    _fail(ModelNotFoundError, "no revision 'v9'", "branch, tag or commit", revision="v9")


def test_the_folder_vae_of_a_pipeline_is_found_without_its_name(
    hub: HubStub, vae_files: dict[str, bytes]
) -> None:
    model = fetch(REPO)
    assert {path.name for path in model.folder.iterdir()} == vae_files.keys()
    assert fetch(REPO, offline=True).folder == model.folder


@pytest.mark.parametrize("variant", ["fp16", "bf16", "pruned"])
def test_a_repository_with_only_a_variant(
    hub: HubStub, vae_files: dict[str, bytes], variant: str
) -> None:
    files = hub.repos[REPO].files
    body = files.pop(f"vae/{WEIGHTS}")
    name = f"diffusion_pytorch_model.{variant}.safetensors"
    files[f"vae/{name}"] = body
    assert (fetch(REPO).folder / name).is_file()
    assert cached(REPO, subfolder="vae", variant=variant) is not None
    assert cached(REPO, subfolder="vae", variant="other") is None


def test_unknown_folder_suggests_folders_with_a_model(hub: HubStub) -> None:
    hub.repos[REPO].files = {
        name.replace("vae/", "first/"): body for name, body in hub.repos[REPO].files.items()
    }
    _fail(ModelNotFoundError, f"such as {REPO}:first", subfolder=None)
    _fail(ModelNotFoundError, f"{REPO}:vea", subfolder="vea")


def test_unknown_file_lists_the_existing_ones(hub: HubStub) -> None:
    _fail(ModelNotFoundError, "no vae/ae.safetensors", WEIGHTS, files=("ae.safetensors",))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("api-html", "an invalid response"),
        ("api-list", "an invalid response"),
        ("api-404", "HTTP 404"),
        ("api-500", "HTTP 500"),
        ("api-503", "again later"),
        ("file-404", "HTTP 404"),
        ("file-500", "HTTP 500"),
        ("file-no-headers", "an invalid response"),
    ],
)
def test_bad_mirror(hub: HubStub, fault: str, words: str) -> None:
    hub.fault = fault
    _fail(DownloadError, words, hub.url, "HF_ENDPOINT or set it to a working mirror")


def test_too_many_requests(hub: HubStub) -> None:
    hub.fault = "api-429"
    _fail(DownloadError, "HTTP 429", "a few minutes")


def _files_left() -> list[str]:
    return [path.name for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file()]


def test_response_shorter_than_announced_leaves_nothing_behind(hub: HubStub) -> None:
    hub.fault = "file-wrong-length"
    _fail(DownloadError, "truncated vae/config.json", "the command again")
    assert not any(name.endswith(".incomplete") for name in _files_left())
    hub.fault = ""
    assert not fetch(REPO, subfolder="vae").from_cache


@pytest.mark.slow
def test_server_that_always_cuts_a_file_off_is_given_up(hub: HubStub) -> None:
    # Larger than the client's chunk of 10 MiB: only then does it see progress and retry forever.
    hub.repos[REPO].files[f"vae/{WEIGHTS}"] = bytes(24 << 20)
    hub.fault = "file-short"
    _fail(DownloadError, f"truncated vae/{WEIGHTS}", "the command again")
    assert not any(name.endswith((".incomplete", WEIGHTS)) for name in _files_left())


def test_connection_lost_during_a_file_is_distinguished_from_no_connection(
    hub: HubStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object, **__: object) -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", lose)
    _fail(DownloadError, "a connection lost during vae/config.json", "reset by peer")


def test_weights_shorter_than_their_header(hub: HubStub) -> None:
    whole = hub.repos[REPO].files[f"vae/{WEIGHTS}"]
    hub.repos[REPO].files[f"vae/{WEIGHTS}"] = whole[:-100]
    _fail(WeightsError, f"{WEIGHTS}, damaged weights")
    assert cached(REPO, subfolder="vae") is None


@pytest.mark.parametrize("body", [b"", b"1234", PAGE, b"\xff" * 64])
def test_weights_that_are_not_safetensors(hub: HubStub, body: bytes) -> None:
    hub.repos[REPO].files[f"vae/{WEIGHTS}"] = body
    _fail(WeightsError, "header", WEIGHTS, "fetch the model again")


@pytest.mark.parametrize(
    ("body", "words"),
    [(PAGE, "a web page"), (b'{"a": ', "broken JSON"), (b"[1]", "JSON that is not an object")],
)
def test_config_that_is_not_json(hub: HubStub, body: bytes, words: str) -> None:
    hub.repos[REPO].files["vae/config.json"] = body
    _fail(DownloadError, f"config.json, {words}", "HF_ENDPOINT")
    assert cached(REPO, subfolder="vae") is None


def test_file_damaged_in_the_cache_is_fetched_again(
    hub: HubStub, vae_files: dict[str, bytes]
) -> None:
    model = fetch(REPO, subfolder="vae")
    blob = (model.folder / WEIGHTS).resolve()
    blob.write_bytes(vae_files[WEIGHTS][:-7])
    _fail(WeightsError, str(blob), offline=True)
    fetch(REPO, subfolder="vae")
    assert (model.folder / WEIGHTS).read_bytes() == vae_files[WEIGHTS]


def test_too_little_space_is_reported_before_the_first_byte(
    hub: HubStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    _fail(DownloadError, "0 MB free", "HF_HOME")
    assert not any("/resolve/" in line for line in hub.requests)


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "space for the model"), (errno.EACCES, "no permission")]
)
def test_disk_that_fails_during_the_download(
    hub: HubStub, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", refuse)
    _fail(DownloadError, words, "HF_HOME")


def test_variables_of_the_client_are_respected(hub: HubStub, tmp_path: Path) -> None:
    hub.repos[REPO].gated = True
    script = (
        f"from latentlab.loaders.hub import fetch\nprint(fetch({REPO!r}, subfolder='vae').folder)\n"
    )
    env = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_good",
        "NO_PROXY": "127.0.0.1",
    }
    env.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path / "home")
    assert (folder / WEIGHTS).is_file()
    assert done.stderr == ""
