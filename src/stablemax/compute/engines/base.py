"""What an engine is: blocks in, results out, in the order of the blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stablemax.inputs.blocks import Block
    from stablemax.inputs.workspace import Workspace

Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a job on blocks.

    A job is called with a block and the workspace of the worker that runs it. It depends on nothing
    but its own fields and the block, so that any worker may run it, twice if one is lost.
    """

    def run(self, job: Callable[[Block, Workspace], Result], blocks: Sequence[Block]) -> Iterator[Result]:
        """Give the results in the order of the blocks, with at most a few waiting to be taken."""
        ...
