"""Worker threads: NumPy's loops release the interpreter's lock, so they run side by side."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from stablemax.inputs.blocks import Block
from stablemax.inputs.workspace import Workspace
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import limit_reached

if TYPE_CHECKING:
    from concurrent.futures import Future

Result = TypeVar("Result")

WAITING = 2
"""Blocks for each thread that are handed out before their turn: a slow one does not stop the others."""


class Engine(Protocol):
    """Runs a job on blocks.

    A job is called with a block and the workspace of the worker that runs it. It depends on nothing
    but its own fields and the block, so that any worker may run it, twice if one is lost.
    """

    def run(self, job: Callable[[Block, Workspace], Result], blocks: Sequence[Block]) -> Iterator[Result]:
        """Give the results in the order of the blocks, with at most a few waiting to be taken."""
        ...


@dataclass(frozen=True)
class Threads:
    """Threads of this process."""

    count: int  #: how many, 1 or more

    def run(self, job: Callable[[Block, Workspace], Result], blocks: Sequence[Block]) -> Iterator[Result]:
        """Give the results in the order of the blocks.

        >>> from stablemax.inputs.blocks import blocks_of
        >>> list(Threads(2).run(lambda block, workspace: block.start, blocks_of(6, 2)))
        [0, 2, 4]
        """
        if min(self.count, len(blocks)) <= 1:
            with Workspace() as workspace:
                for block in blocks:
                    yield _quiet(job, block, workspace)
            return
        yield from self._side_by_side(job, blocks)

    def _side_by_side(self, job: Callable[[Block, Workspace], Result], blocks: Sequence[Block]) -> Iterator[Result]:
        # A small input needs no threads, and then their import is saved.
        from concurrent.futures import ThreadPoolExecutor
        from threading import Event

        from stablemax.inputs.remote import STOP

        idle: deque[Workspace] = deque(Workspace() for _ in range(self.count))
        stop = Event()
        pool = ThreadPoolExecutor(self.count, "stablemax", initializer=STOP.set, initargs=(stop,))

        def work(block: Block) -> Result:
            workspace = idle.pop()
            try:
                return _quiet(job, block, workspace)
            finally:
                idle.append(workspace)

        pending: deque[Future[Result]] = deque()
        try:
            for block in blocks:
                with self._started():
                    pending.append(pool.submit(work, block))
                if len(pending) >= WAITING * self.count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # An interrupt arrives here as any error does. Workers that read from a server give up at once; those
            # that compute or write end soon, and are waited for, so that none writes into a file being removed.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for workspace in idle:
                workspace.close()

    @contextlib.contextmanager
    def _started(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            limit = limit_reached(error)
            if limit is None:
                raise
            raise StablemaxError(
                f"{self.count} threads cannot be started: {limit.message}", f"give --threads 1; or {limit.hint}"
            ) from None


def _quiet(job: Callable[[Block, Workspace], Result], block: Block, workspace: Workspace) -> Result:
    # NumPy keeps its error state per thread; overflow is what we are here to look at.
    with np.errstate(all="ignore"):
        return job(block, workspace)
