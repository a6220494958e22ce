"""Processes that share work, on one host or several: the rank of this one, and waiting.

torchrun starts them, and accelerate's ``PartialState`` reads from the environment how they reach
one another. Neither of these watches the other ranks while one waits, which this module does: it
waits for a slow rank as long as that rank works, but at most a minute for one that is gone.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from latentlab.errors import RanksError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

_HEARTBEAT = 2.0
_PATIENCE = 60.0
_POLL = 0.1
_JOINING = timedelta(minutes=5)
"""How long ranks may take to meet at the start; torch would wait for half an hour."""


@dataclass(frozen=True)
class Ranks:
    """One process among those that work together.

    Parameters
    ----------
    rank : int, from 0; rank 0 writes what is written once
    world : int, number of ranks
    local_rank : int, from 0, among the ranks on this host
    board : a store of torch.distributed that all ranks read and write; None for one process
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    board: Any = None
    _waits: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    @property
    def is_first(self) -> bool:
        """Return whether this process writes what is written once."""
        return self.rank == 0

    def device(self, asked: str) -> str:
        """Return the device of this rank; ``auto`` and ``cuda`` give each rank its own GPU.

        Ranks share GPUs if there are more ranks than GPUs on this host.
        """
        if asked not in ("auto", "cuda") or self.world == 1:
            return asked
        import torch

        if not torch.cuda.is_available():
            return asked
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"

    def wait(self, what: str) -> None:
        """Return when every rank has come to this point.

        Parameters
        ----------
        what : str, name of the point, for messages; each rank must pass it the same number of times

        Raises
        ------
        RanksError : a rank has failed, or has given no sign of life for a minute.
        """
        if self.world == 1:
            return
        self._waits[what] += 1
        point = f"arrived/{what}/{self._waits[what]}"
        with _lost_board(what):
            self.board.add(point, 1)
            watch = _Watch(self)
            while self.board.add(point, 0) < self.world:
                watch.look(what)
                time.sleep(_POLL)

    def add_up(self, values: Tensor, what: str) -> Tensor:
        """Return the sum of a tensor over all ranks, on every rank; the tensor itself is changed.

        Parameters
        ----------
        values : Tensor on the CPU, of the same shape and dtype on every rank
        what : str, as for :meth:`wait`

        Raises
        ------
        RanksError : as for :meth:`wait`.
        """
        if self.world == 1:
            return values
        import torch.distributed as dist

        self.wait(what)
        with _lost_board(what):
            dist.all_reduce(values)
        return values


class _Watch:
    """When each rank last gave a sign of life."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.seen = {rank: (-1, time.monotonic()) for rank in range(ranks.world)}

    def look(self, what: str) -> None:
        """Raise RanksError if a rank has failed or fallen silent."""
        board, now = self.ranks.board, time.monotonic()
        for rank, (beats, since) in self.seen.items():
            name = f"rank {rank} of {self.ranks.world}"
            if board.check([f"failed/{rank}"]):
                raise _gone(f"{name}, which failed", what)
            beat = board.add(f"alive/{rank}", 0)
            if beat != beats:
                self.seen[rank] = (beat, now)
            elif now - since > _PATIENCE:
                raise _gone(f"{name}, silent for {_PATIENCE:.0f} s", what)


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Yield this process among those that torchrun started, or a single rank without torchrun.

    Raises
    ------
    UsageError : environment variables of torchrun are missing or invalid.
    RanksError : the other ranks cannot be reached.
    """
    world = _number("WORLD_SIZE") if "WORLD_SIZE" in os.environ else 1
    if world == 1:
        yield Ranks()
        return
    ranks = _join(world)
    stop = threading.Event()
    threading.Thread(target=_beat, args=(ranks, stop), daemon=True).start()
    try:
        yield ranks
        _leave(ranks)
    except BaseException:
        with suppress(RuntimeError):  # the board may be what failed
            ranks.board.set(f"failed/{ranks.rank}", "")
        raise
    finally:
        stop.set()


def ranks_here() -> int:
    """Return how many ranks torchrun started on this host; one without torchrun."""
    return _number("LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in os.environ else 1


def _number(variable: str, least: int = 1) -> int:
    value = os.environ.get(variable, "")
    if not value.isdecimal() or int(value) < least:
        raise UsageError(
            f"{variable}={value}" if variable in os.environ else f"WORLD_SIZE without {variable}",
            f"a number of at least {least}, as torchrun sets it",
            "start with torchrun, or unset WORLD_SIZE and LOCAL_WORLD_SIZE",
        )
    return int(value)


def _join(world: int) -> Ranks:
    import torch
    from accelerate import PartialState
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    # torchrun's own process already hosts the board, unless its environment says otherwise.
    first = _number("RANK", least=0) == 0
    hosts_board = first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    # Without this, accelerate would choose the number of threads.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    port = _number("MASTER_PORT")
    with _lost_board("the other ranks"):
        board = TCPStore(os.environ.get("MASTER_ADDR", "localhost"), port, world, hosts_board)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        own = PrefixStore(f"latentlab/{attempt}", board)
        # gloo on every device: sums are small and lie in the CPU's memory.
        state = PartialState(cpu=True, backend="gloo", store=own, timeout=_JOINING)
    return Ranks(state.process_index, state.num_processes, state.local_process_index, own)


def _beat(ranks: Ranks, stop: threading.Event) -> None:
    with suppress(RuntimeError):  # the ranks that wait find out
        while not stop.wait(_HEARTBEAT):
            ranks.board.add(f"alive/{ranks.rank}", 1)


def _leave(ranks: Ranks) -> None:
    """Let rank 0 leave last: others may still be reading the board, which is on its host."""
    from accelerate import PartialState

    PartialState().destroy_process_group()
    with suppress(RuntimeError):
        ranks.board.add("left", 1)
        limit = time.monotonic() + _PATIENCE
        while ranks.is_first and ranks.board.add("left", 0) < ranks.world:
            if time.monotonic() > limit:
                return
            time.sleep(_POLL)


@contextmanager
def _lost_board(what: str) -> Iterator[None]:
    """Turn an error of torch.distributed into one clear line."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise _gone(f"no connection to the other ranks ({reason})", what) from error


def _gone(got: str, what: str) -> RanksError:
    return RanksError(
        f"{got}, while waiting for {what}",
        "every rank to work until the end",
        "run the same command again, with any number of ranks, to resume it",
    )
