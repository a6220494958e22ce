"""The images of a page's states: the newest state wins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from latentlab.explorer.messages import Show
from latentlab.explorer.pictures import to_jpeg, to_png
from latentlab.explorer.protocol import pack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latentlab.explorer.scenes import Scene
    from latentlab.explorer.studio import Studio
    from latentlab.explorer.subjects import Subject

SETTLED = 0.15
"""Seconds without a newer state after which an image is sent again, without loss."""

View = Callable[[], "tuple[Scene | None, tuple[Subject, ...]]"]
"""What a page looks at now: its scene, and the other image in each model."""


@dataclass(frozen=True, eq=False)
class Painted:
    """The images of one state."""

    id: int
    images: list[NDArray[np.uint8]]
    seconds: float

    def frame(self, *, exact: bool) -> bytes:
        """Return the images as a frame: PNG if they must be exact, else JPEG."""
        write, kind = (to_png, "image/png") if exact else (to_jpeg, "image/jpeg")
        header = {"type": "frame", "id": self.id, "exact": exact, "seconds": self.seconds}
        return pack(header, [(str(k), kind, write(image)) for k, image in enumerate(self.images)])


class Painter:
    """Decodes the newest state whenever the thread that decodes is free.

    All states that came before it are dropped. A state that stays is sent a second time, without
    loss.

    Parameters
    ----------
    studio : Studio
    view : View
    send : sends a frame to the page
    complain : tells the page of an error
    """

    def __init__(
        self,
        studio: Studio,
        view: View,
        send: Callable[[bytes], Awaitable[None]],
        complain: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        self._studio, self._view, self._send, self._complain = studio, view, send, complain
        self._newest: Show | None = None
        self._asked = asyncio.Event()

    def ask(self, show: Show) -> None:
        """Take over a state."""
        self._newest = show
        self._asked.set()

    async def run(self) -> None:
        """Paint states as they come, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._paint()
            except Exception as error:  # noqa: BLE001 (the page says what went wrong)
                await self._complain(error)

    async def _paint(self) -> None:
        done = await self._studio.paint(self._decode)
        if done is None:
            return
        painted, frame = done
        await self._send(frame)
        try:
            await asyncio.wait_for(self._asked.wait(), SETTLED)
        except TimeoutError:
            await self._send(await self._studio.paint(partial(painted.frame, exact=True)))

    def _decode(self) -> tuple[Painted, bytes] | None:
        """Return the newest state's images and their frame; None before there is a scene.

        The state is looked up here, when it is the page's turn, not when it was asked for.
        """
        show, (scene, others) = self._newest, self._view()
        if show is None or scene is None:
            return None
        begun = time.perf_counter()
        images = scene.decode(show.state, others)
        painted = Painted(show.id, images, round(time.perf_counter() - begun, 4))
        return painted, painted.frame(exact=False)
