"""One page's connection: what it asks for, and what it is shown."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from latentlab.errors import LatentlabError
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
        self._errand: Job[Any] | None = None
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
            except LatentlabError as error:
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
                given = self.scene.subjects if self.scene else None
                self._follow(self.studio.explore(self.key, Plan(**vars(message)), given), self.key)
            case messages.Restart():
                self._follow(self.studio.explore())
            case messages.Cancel():
                self._leave()
            case messages.Record():
                self._record(message)
            case messages.Pick():
                self._take(await self.studio.paint(partial(self.studio.picture, message.number)))
            case messages.Code():
                text = python_code(self.scene, message.state) if self.scene else ""
                await self._say({"type": "code", "text": text})

    def _take(self, picture: messages.Picture) -> None:
        if picture.role == "other":
            subjects = self.scene.subjects if self.scene else ()

            def read(progress: Progress) -> Iterator[tuple[Subject, ...]]:
                progress("encoding", 0, 1)
                yield tuple(read_other(subject, picture) for subject in subjects)

            self._run(Job(read, self.studio.working), "other")
            return
        key = key_of(picture)
        self._follow(self.studio.explore(key, None, picture), key)

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
        if self._job is not None and self._job is not job:
            self._job.leave(self._hear)
        self._job = job
        job.listen(self._hear)

    def _hear(self, event: str, value: Any) -> None:
        self._put("scene" if event == "stage" else event, value)

    def _hear_map(self, event: str, value: Any) -> None:
        if event in ("stage", "failed"):
            self._put("map" if event == "stage" else "errand failed", value)

    def _run(self, job: Job[Any], kind: str) -> None:
        """Do an errand, whose only stage goes to the page; an earlier one is given up."""
        if self._errand is not None:
            self._errand.stop()
        self._errand = job
        names = {"stage": kind, "failed": "errand failed", "canceled": "errand canceled"}
        job.listen(lambda event, value: self._put(names.get(event, event), value))

    def _leave(self) -> None:
        if self._job is not None:
            if self._job.ended is None:
                self._put("canceled", None)
            self._job.leave(self._hear)
            self._job = None
        if self._errand is not None:
            self._errand.stop()
            self._errand = None

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
                await self._pass_on(*self._outbox.popleft())

    async def _pass_on(self, kind: str, value: Any) -> None:
        match kind:
            case "scene":
                await self._show(value)
            case "other":
                self.others = value
                await self._send(_other_frame(value[0]))
            case "map":
                await self._send(value)
            case "file":
                await self._send(pack({"type": "file"}, [value]))
            case "progress":
                what, done, total = value
                await self._say({"type": kind, "what": what, "done": done, "total": total})
            case "failed":
                await self._complain(value)
                await self._say({"type": "idle"})
            case "errand failed":
                await self._complain(value)
                await self._say({"type": "idle", "errand": explain_failure(value)})
            case "errand canceled":
                await self._say({"type": "idle", "errand": "The work was stopped."})
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
