"""What all pages of one server share: the models, the threads, and work that was done before."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from latentlab.errors import UsageError
from latentlab.explorer.fits import Plan, fit_in_stages
from latentlab.explorer.jobs import Job
from latentlab.explorer.matching import match_directions
from latentlab.explorer.messages import Picture
from latentlab.explorer.scenes import Scene
from latentlab.explorer.subjects import Subject, read_subjects

if TYPE_CHECKING:
    from latentlab.explorer.maps import StoreMap
    from latentlab.images.fit import Size
    from latentlab.latents import Progress
    from latentlab.loaders.base import LatentVAE

Result = TypeVar("Result")

_KEPT_JOBS = 4
START = "start"
"""The key of the image that the server was started with."""


class Studio:
    """The models and threads that the pages of one server share.

    Images are decoded in one thread, so that pages take turns, and long work runs in three others.

    Parameters
    ----------
    vaes : one or two LatentVAE
    image : anything that :func:`latentlab.encode` takes; with a map None, for its first image
    size : as for :func:`latentlab.encode`, of every image
    plan : Plan of the first search
    map : StoreMap, optional
    """

    def __init__(
        self,
        vaes: Sequence[LatentVAE],
        image: Any,
        size: Size = "auto",
        plan: Plan | None = None,
        map: StoreMap | None = None,
    ) -> None:
        self.vaes = tuple(vaes)
        self.image = image
        self.size = size
        self.plan = plan or Plan()
        self.painting = ThreadPoolExecutor(1, "latentlab-decode")
        self.working = ThreadPoolExecutor(3, "latentlab-work")
        self.map = map
        self._map_job: Job[bytes] | None = None
        self._jobs: OrderedDict[tuple[str, Plan], Job[Scene]] = OrderedDict()

    def explore(
        self,
        key: str = START,
        plan: Plan | None = None,
        given: Picture | tuple[Subject, ...] | None = None,
        others: tuple[Subject, ...] = (),
    ) -> Job[Scene]:
        """Return the work whose stages are scenes of an image; work that was done is kept.

        Parameters
        ----------
        key : str, of the image
        plan : Plan, optional; by default that of the server
        given : Picture, or the subjects that were made of it; None for the server's own image
        others : what a finder may lead to, one a model
        """
        plan = plan or self.plan
        led = f"{key} to {others[0].key}" if others else key
        job = self._jobs.pop((led, plan), None)
        if job is None or not job.is_usable:
            job = Job(lambda progress: self._scenes(given, plan, others, progress), self.working)
        self._jobs[led, plan] = job
        while len(self._jobs) > _KEPT_JOBS:
            self._jobs.popitem(last=False)
        return job

    def _scenes(
        self,
        given: Picture | tuple[Subject, ...] | None,
        plan: Plan,
        others: tuple[Subject, ...],
        progress: Progress,
    ) -> Iterator[Scene]:
        if isinstance(given, tuple):
            # The page keeps its directions until others are found.
            yield from scenes_around(Scene(given), plan, progress, others)
            return
        if given is None:
            given = self.picture(0) if self.image is None else self.image
        subjects = read_subjects(self.vaes, given, self.size)
        scene = Scene(subjects)
        yield scene
        yield from scenes_around(scene, plan, progress, others)

    @property
    def map_job(self) -> Job[bytes] | None:
        """Return the work on the map, which begins with the first page; None without a map."""
        if self._map_job is None and self.map is not None:
            self._map_job = Job(self.map.frames, self.working, keep=True)
        return self._map_job

    def picture(self, number: int) -> Picture:
        """Return an image of the map; UsageError without one."""
        if self.map is None:
            raise UsageError("an image of a map", "a store", "start `latentlab explore STORE`")
        return self.map.picture(number)

    def colors(self, name: str, progress: Progress, numbers: Sequence[int] = ()) -> bytes:
        """Return a coloring of the map as a frame; UsageError without a map."""
        if self.map is None:
            raise UsageError("a color of a map", "a store", "start `latentlab explore STORE`")
        return self.map.color(name, progress, numbers)

    async def paint(self, work: Callable[[], Result]) -> Result:
        """Run something in the thread that decodes."""
        return await asyncio.get_running_loop().run_in_executor(self.painting, work)

    def close(self) -> None:
        """Stop all work."""
        for job in (*self._jobs.values(), self._map_job):
            if job is not None:
                job.stop()
        self.painting.shutdown(wait=False, cancel_futures=True)
        self.working.shutdown(wait=False, cancel_futures=True)


def scenes_around(
    scene: Scene, plan: Plan, progress: Progress, others: tuple[Subject, ...] = ()
) -> Iterator[Scene]:
    """Yield the scene with directions, then with null models, then with labels, of each model."""
    searches = [
        fit_in_stages(subject, plan, progress, other=other)
        for subject, other in zip_longest(scene.subjects, others[: len(scene.subjects)])
    ]
    fits = [next(search) for search in searches]
    match = None
    if len(fits) > 1:
        match = match_directions(scene.subjects, fits, progress)
    yield Scene(scene.subjects, tuple(fits), match)
    for index, search in enumerate(searches):
        for fits[index] in search:
            yield Scene(scene.subjects, tuple(fits), match)


def key_of(picture: Picture) -> str:
    """Return the key of an image that a page sent: the SHA-256 of its file."""
    return hashlib.sha256(picture.content).hexdigest()
