"""What a page of the explorer gets if it asks twice, too early, or while other work is going on."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from explorer_client import Page, page_of, pixels, png_of

import latentlab
from latentlab.explorer.fits import Plan
from latentlab.explorer.messages import Picture
from latentlab.explorer.opening import Explorer, explore
from latentlab.explorer.session import Session
from latentlab.explorer.studio import Studio
from latentlab.loaders.base import LatentVAE

HOW: dict[str, Any] = {"neighborhood": "tokens", "size": 64, "port": 0, "browser": False}
PLAN: dict[str, Any] = {"neighborhood": "augment", "finder": "pca", "n_samples": 200}


@pytest.fixture
def vae() -> LatentVAE:
    """Return a model of its own for each test, which may slow it down."""
    return latentlab.load_vae("linear")


@pytest.fixture
def explorer(vae: LatentVAE) -> Iterator[Explorer]:
    """Return a running explorer of the sample image."""
    with explore(vae, "sample:flower", **HOW) as running:
        yield running


@pytest.fixture
def page(explorer: Explorer) -> Iterator[Page]:
    """Return a page that knows all about its image."""
    with page_of(explorer) as opened:
        opened.wait_for_fits(complete=True)
        opened.wait_for("idle")
        yield opened


def slow_down(vae: LatentVAE, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.02) -> list[int]:
    """Let a model take its time to encode; return a list that grows with each call."""
    encode, calls = vae.encode, list[int]()

    def slowly(images: torch.Tensor) -> Any:
        calls.append(len(images))
        time.sleep(seconds)
        return encode(images)

    monkeypatch.setattr(vae, "encode", slowly)
    return calls


def test_a_search_that_was_asked_for_twice_is_canceled_once(
    page: Page, vae: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = slow_down(vae, monkeypatch)
    for _ in range(2):
        page.say("fit", **PLAN)
        page.wait_for("progress", what="sampling augment", errand="")
    page.say("cancel")
    page.wait_for("idle")
    time.sleep(0.2)
    seen = len(calls)
    time.sleep(0.5)
    assert len(calls) == seen


def test_another_image_before_there_is_a_first_is_explained(
    vae: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(vae, monkeypatch, 0.5)
    with explore(vae, "sample:flower", **HOW) as explorer, page_of(explorer) as page:
        page.send_image(png_of(np.zeros((64, 64, 3))), role="other")
        page.wait_for("problem")
        page.wait_for("scene")
        page.show(1)
        assert page.wait_for("frame", exact=True)["id"] == 1


def test_another_image_that_comes_too_late_is_dropped(
    vae: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was encoded at the size of the image before."""
    first = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with explore(vae, first, **{**HOW, "size": "auto"}) as explorer, page_of(explorer) as page:
        page.wait_for_fits(complete=True)
        slow_down(vae, monkeypatch, 0.3)
        page.send_image(png_of(np.full((64, 64, 3), 90)), role="other")
        time.sleep(0.1)
        monkeypatch.undo()
        page.send_image(png_of(np.random.default_rng(1).integers(0, 256, (64, 96, 3))))
        page.wait_for("scene")
        time.sleep(0.6)
        page.show(1, blend=0.5)
        frame = page.wait_for("frame", exact=True)
        assert pixels(frame["files"]["0"]).shape == (64, 96, 3)
        assert "problem" not in [one["type"] for one in page.heard]


def test_a_recording_goes_on_while_another_image_is_read(
    page: Page, vae: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(vae, monkeypatch, 0.3)
    walk = {"direction": 0, "span": 2, "steps": 8, "format": "gif", "state": {}}
    before = len(page.heard)
    page.send_image(png_of(np.full((64, 64, 3), 90)), role="other")
    page.say("record", **walk)
    while not {"file", "other"} <= {one["type"] for one in page.heard[before:]}:
        page.receive()
    assert not any(one["type"] == "idle" and "errand" in one for one in page.heard[before:])


def test_work_that_is_stopped_says_which_it_was(
    page: Page, vae: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = vae.decode

    def slowly(latents: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return decode(latents)

    monkeypatch.setattr(vae, "decode", slowly)
    page.say("record", direction=0, span=2, steps=64, format="gif", state={})
    page.wait_for("progress", what="recording", errand="file")
    page.say("cancel")
    assert page.wait_for("idle", errand="file")["why"] == "The work was stopped."


def test_a_failure_that_nobody_foresaw_is_told_and_the_page_stays(
    page: Page, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise RuntimeError("the device is out of memory")

    monkeypatch.setattr("latentlab.explorer.session.python_code", fail)
    page.say("code", state={})
    assert "out of memory" in page.wait_for("problem")["text"]
    page.show(1)
    assert page.wait_for("frame", exact=True)["id"] == 1


def test_what_nobody_reads_is_kept_once(explorer: Explorer) -> None:
    """A page that asks for the same scene again and again fills no memory."""
    found: list[Session] = []
    begin = Session._follow

    def follow(self: Session, *given: Any) -> None:
        found.append(self)
        begin(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "_follow", follow)
        patch.setattr(Session, "_deliver", _never)
        with page_of(explorer) as silent:
            for _ in range(200):
                silent.say("restart")
            time.sleep(0.5)
            assert len(found) == 201
            assert len(found[-1]._outbox) <= 10


async def _never(self: Any) -> None:
    await asyncio.sleep(60)


def test_an_image_whose_work_is_given_up_is_forgotten_at_once(vae: LatentVAE) -> None:
    """Also one that waits behind other work; a page may send many of 32 MB."""

    async def explore_and_leave() -> list[bool]:
        studio = Studio([vae], "sample:flower", 32, Plan("tokens"))
        begun, busy = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        for _ in range(3):  # all threads for long work
            studio.working.submit(busy.wait)
        pictures = [Picture("image", "cat.png", bytes([number])) for number in range(3)]
        seen = [weakref.ref(one) for one in pictures]
        for number, picture in enumerate(pictures):
            studio.explore(str(number), None, picture).stop()
        del pictures, picture
        gc.collect()
        forgotten = [one() is None for one in seen]
        loop.call_later(0.05, begun.set)
        await begun.wait()
        busy.set()
        studio.close()
        return forgotten

    assert asyncio.run(explore_and_leave()) == [True] * 3


def test_an_image_whose_work_failed_is_forgotten(vae: LatentVAE) -> None:
    async def explore_and_fail() -> bool:
        studio = Studio([vae], "sample:flower", 32, Plan("tokens"))
        picture = Picture("image", "cat.png", b"no image")
        seen, ended = weakref.ref(picture), asyncio.Event()
        job = studio.explore("key", None, picture)
        job.listen(lambda event, _: ended.set() if event == "failed" else None)
        del picture
        await ended.wait()
        for _ in range(100):  # the thread may still be on its way out
            gc.collect()
            if seen() is None:
                break
            await asyncio.sleep(0.05)
        studio.close()
        return seen() is None

    assert asyncio.run(explore_and_fail())
