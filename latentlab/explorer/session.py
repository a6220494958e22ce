"""One page's connection: what it asks for, and what it is shown."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from latentlab.errors import UsageError
from latentlab.explorer import messages
from latentlab.explorer.fits import Plan
from latentlab.explorer.jobs import Job, explain_failure
from latentlab.explorer.painting import Painter
from latentlab.explorer.protocol import ProtocolError, pack, read_frame, read_text, to_json
from latentlab.explorer.recording import record_walk
from latentlab.explorer.reproducing import python_code
from latentlab.explorer.studio import START, key_of
from latentlab.explorer.subjects import read_other

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from latentlab.explorer.scenes import Scene
    from latentlab.explorer.studio import Studio
    from latentlab.explorer.subjects import Subject
    from latentlab.latents import Progress

_MOST_MISTAKES = 20
_REFUSED = 1008
_OF_A_JOB = {"scene", "progress", "done", "failed", "canceled"}
"""What a job of scenes tells; no page needs it any more once it follows another one."""


class Session:
    """What one page sees.

    Parameters
    ----------
    socket : WebSocket, accepted
    studio : Studio
    hello : what the page is told first
    """

    def __init__(self, socket: WebSocket, studio: Studio, hello: Mapping[str, Any]) -> None:
        self.socket = socket
        self.studio = studio
        self.hello = hello
        self.scene: Scene | None = None
        self.others: tuple[Subject, ...] = ()
        self.key = START
        self._next_key = START
        self.painter = Painter(
            studio, lambda: (self.scene, self.others), self._send, self._complain
        )
        self._job: Job[Scene] | None = None
        self._errands: dict[str, Job[Any]] = {}
        self._outbox: deque[tuple[str, Any]] = deque()
        self._filled = asyncio.Event()
        self._sending = asyncio.Lock()
        self._mistakes = 0

    async def run(self) -> None:
        """Serve the page until it goes away."""
        await self._say(self.hello)
        self._follow(self.studio.explore())
        if self.studio.map_job is not None:
            self.studio.map_job.listen(self._hear_map)
        loops = (self._read, self.painter.run, self._deliver)
        tasks = [asyncio.create_task(one()) for one in loops]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._leave()
            if self.studio.map_job is not None:
                self.studio.map_job.forget(self._hear_map)

    # What the page asks for

    async def _read(self) -> None:
        while True:
            received = await self.socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            try:
                if received.get("bytes") is not None:
                    self._take(read_frame(received["bytes"]))
                else:
                    await self._obey(read_text(received["text"]))
            except Exception as error:  # noqa: BLE001 (the page says what went wrong)
                await self._complain(error)
                self._mistakes += isinstance(error, ProtocolError)
                if self._mistakes >= _MOST_MISTAKES:
                    await self.socket.close(_REFUSED)
                    return

    async def _obey(self, message: messages.Message) -> None:
        match message:
            case messages.Show():
                self.painter.ask(message)
            case messages.Fit():
                self._fit(message)
            case messages.Restart():
                self._follow(self.studio.explore())
            case messages.Cancel():
                self._cancel(message.errand)
            case messages.Record():
                self._record(message)
            case messages.Pick():
                self._take(await self.studio.paint(partial(self.studio.picture, message.number)))
            case messages.Color():
                self._color(message)
            case messages.Code():
                text = python_code(self.scene, message.state, self.others) if self.scene else ""
                await self._say({"type": "code", "text": text})

    def _fit(self, asked: messages.Fit) -> None:
        given = self.scene.subjects if self.scene else None
        plan = Plan(**vars(asked), files=self.studio.plan.files)
        others = self.others if plan.finder == "difference" else ()
        self._follow(self.studio.explore(self.key, plan, given, others), self.key)

    def _take(self, picture: messages.Picture) -> None:
        if picture.role == "other":
            self._read_other(picture)
            return
        key = key_of(picture)
        self._follow(self.studio.explore(key, None, picture), key)

    def _read_other(self, picture: messages.Picture) -> None:
        if self.scene is None:
            raise UsageError(
                "an image to blend with before there is a first", "the first image", "wait for it"
            )
        subjects = self.scene.subjects

        def read(progress: Progress) -> Iterator[tuple[tuple[Subject, ...], tuple[Subject, ...]]]:
            progress("encoding", 0, 1)
            yield subjects, tuple(read_other(subject, picture) for subject in subjects)

        self._run(Job(read, self.studio.working), "other")

    def _color(self, asked: messages.Color) -> None:
        def measure(progress: Progress) -> Iterator[bytes]:
            yield self.studio.colors(asked.name, progress, asked.numbers)

        self._run(Job(measure, self.studio.working), "colors")

    def _record(self, asked: messages.Record) -> None:
        scene, others = self.scene, self.others
        if scene is None or not scene.fits:
            return

        def record(progress: Progress) -> Iterator[tuple[str, str, bytes]]:
            yield record_walk(scene, others, asked, progress)

        self._run(Job(record, self.studio.working), "file")

    # Long work

    def _follow(self, job: Job[Scene], key: str = START) -> None:
        """Show the stages of a job, on the image of a key, instead of those of the last."""
        self._next_key = key
        if self._job is not None:
            # A job that is asked for again goes on, but has one listener.
            (self._job.forget if self._job is job else self._job.leave)(self._hear)
        kept = [one for one in self._outbox if one[0] not in _OF_A_JOB]
        self._outbox.clear()
        self._outbox.extend(kept)
        self._job = job
        job.listen(self._hear)

    def _hear(self, event: str, value: Any) -> None:
        self._put("scene" if event == "stage" else event, value)

    def _hear_map(self, event: str, value: Any) -> None:
        if event == "stage":
            self._put("map", value)
        elif event == "failed":
            self._put("errand failed", ("map", value))

    def _run(self, job: Job[Any], kind: str) -> None:
        """Do an errand, whose only stage goes to the page; an earlier one of its kind is given up.

        The page knows that: it asked for the newer one.
        """
        if kind in self._errands:
            self._errands[kind].stop()
        self._errands[kind] = job

        def hear(event: str, value: Any) -> None:
            if self._errands.get(kind) is not job:
                return
            if event in ("failed", "canceled"):
                self._put(f"errand {event}", (kind, value))
            elif event == "progress":
                self._put(event, (*value, kind))
            else:
                self._put(kind if event == "stage" else event, value)

        job.listen(hear)

    def _leave(self) -> None:
        if self._job is not None:
            if self._job.ended is None:
                self._put("canceled", None)
            self._job.leave(self._hear)
            self._job = None
        for errand in self._errands.values():
            errand.stop()

    def _cancel(self, errand: str) -> None:
        if not errand:
            self._leave()
        elif errand in self._errands:
            self._errands[errand].stop()

    def _put(self, kind: str, value: Any) -> None:
        if kind == "progress" and self._outbox and self._outbox[-1][0] == "progress":
            self._outbox.pop()
        self._outbox.append((kind, value))
        self._filled.set()

    # What the page is told

    async def _deliver(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                try:
                    await self._pass_on(*self._outbox.popleft())
                except Exception as error:  # noqa: BLE001 (the page says what went wrong)
                    await self._complain(error)

    async def _pass_on(self, kind: str, value: Any) -> None:
        match kind:
            case "scene":
                await self._show(value)
            case "other":
                await self._show_other(*value)
            case "map" | "colors":
                await self._send(value)
            case "file":
                await self._send(pack({"type": "file"}, [value]))
            case "progress":
                what, done, total, *errand = value
                facts = {"what": what, "done": done, "total": total, "errand": "".join(errand)}
                await self._say({"type": kind, **facts})
            case "failed":
                await self._complain(value)
                await self._say({"type": "idle"})
            case "errand failed":
                errand, error = value
                await self._complain(error)
                await self._give_up(errand, explain_failure(error))
            case "errand canceled":
                await self._give_up(value[0], "The work was stopped.")
            case _:
                await self._say({"type": "idle"})

    async def _show(self, scene: Scene) -> None:
        known = self.scene is not None and self.scene.subjects == scene.subjects
        if not known:
            self.others, self.key = (), self._next_key
        self.scene = scene
        if known:
            await self._say({"type": "fits", "scene": scene.header()})
        else:
            await self._send(await self.studio.paint(scene.frame))

    async def _show_other(self, subjects: tuple[Subject, ...], others: tuple[Subject, ...]) -> None:
        """Show an image to blend with, unless it was read at the size of an earlier scene."""
        if self.scene is None or self.scene.subjects != subjects:
            await self._say({"type": "idle"})
            return
        self.others = others
        await self._send(_other_frame(others[0]))

    async def _give_up(self, errand: str, why: str) -> None:
        await self._say({"type": "idle", "errand": errand, "why": why})

    async def _complain(self, error: BaseException) -> None:
        await self._say({"type": "problem", "text": explain_failure(error)})

    async def _say(self, message: Mapping[str, Any]) -> None:
        async with self._sending:
            await self.socket.send_text(to_json(message))

    async def _send(self, frame: bytes) -> None:
        async with self._sending:
            await self.socket.send_bytes(frame)


def _other_frame(subject: Subject) -> bytes:
    pictures = {name: (kind, content) for name, kind, content in subject.parts()}
    header = {"type": "other", "name": subject.latent.name}
    return pack(header, [("image", *pictures["image"])])
