"""What an engine is: blocks in, results out, in the order of the blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stablemax.workspace import Workspace

Result = TypeVar("Result")


@dataclass(frozen=True)
class Block:
    """Rows that are computed together.

    Parameters
    ----------
    start, stop : int
        The rows, counted from 0; `stop` is not one of them.
    """

    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.stop - self.start


class Engine(Protocol):
    """Runs a job on blocks.

    A job is called with a block and the workspace of the worker that runs it. It depends on nothing
    but its own fields and the block, so that any worker may run it, twice if one is lost.
    """

    def run(self, job: Callable[[Block, Workspace], Result], blocks: Sequence[Block]) -> Iterator[Result]:
        """Give the results in the order of the blocks, with at most a few waiting to be taken."""
        ...


def blocks_of(rows: int, size: int) -> list[Block]:
    """Cut rows into blocks of a size.

    Examples
    --------
    >>> blocks_of(5, 2)
    [Block(start=0, stop=2), Block(start=2, stop=4), Block(start=4, stop=5)]
    """
    return [Block(start, min(start + size, rows)) for start in range(0, rows, size)]
