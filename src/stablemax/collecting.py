"""Blocks of rows that lie interleaved in a file: enough rows that a read or a write is worth its call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.blocks import Block, blocks_of
from stablemax.kernels.rows import PIECE
from stablemax.streaming import BYTES_PER_CELL, BYTES_PER_CELL_BY_VARIANT, RESERVED, Plan

if TYPE_CHECKING:
    from stablemax.streaming import Resources

COLLECTED_BYTES = 1 << 28
"""What all workers together hold of such rows, where no cap is given."""
ROWS = 1 << 12
"""Rows beyond which reads and writes gain nothing: the numbers of a class are 8 KiB then, or more."""
FEW_ROWS = 1 << 6
"""Rows of which the numbers of a class are a few hundred bytes."""
BLOCKS = 2
"""Blocks for each thread, so that none is left waiting for long."""
COMPUTED = 4
"""Under a cap the share of a worker's memory that it computes in is one of so many; in the rest rows are held."""

MARGIN = 6 << 20
"""Bytes under a cap that are left free: modules are imported in them. `BYTES_PER_CELL` is generous and leaves
room for that, but what is held is counted to the byte."""


def collecting(
    cut: Plan, rows: int, classes: int, inner: int, held_bytes: int, resources: Resources, *, by_variant: bool = False
) -> Plan | None:
    """Cut rows that lie interleaved into wide blocks, of which a worker holds all.

    Parameters
    ----------
    cut : Plan
        How they are computed.
    rows, classes, inner : int
        N, K, and how many rows lie side by side.
    held_bytes : int
        What is held of a logit of the block: as read ahead, and as it waits to be written.
    resources : Resources
        What may be used.
    by_variant : bool
        As for `plan`.

    Returns
    -------
    Plan or None
        No block is divided between two outer indices without need: where that is possible a block
        lies in the file without gaps. None where there is a single block, or not even one row that is
        longer than a piece can be held.

    Examples
    --------
    >>> from stablemax.streaming import Resources, plan
    >>> found = plan(2000, 50000, Resources(threads=2))
    >>> [block.rows for block in found.blocks[:2]]
    [160, 160]
    >>> found = collecting(found, 2000, 50000, 1000, 8, Resources(threads=2))
    >>> [block.rows for block in found.blocks] if found else None
    [334, 334, 332, 334, 334, 332]
    """
    if len(cut.blocks) == 1:
        return None
    size = BYTES_PER_CELL_BY_VARIANT if by_variant else BYTES_PER_CELL
    piece = (classes if by_variant else min(classes, PIECE)) * size

    def affordable(threads: int) -> tuple[int, int]:
        """Return how many rows are computed at once, and how many each thread can hold."""
        if resources.memory is None:
            return cut.step, COLLECTED_BYTES // threads // (classes * held_bytes)
        share = (resources.memory - RESERVED) // threads
        step = max(1, min(cut.step, share // COMPUTED // piece))
        return step, (share - MARGIN // threads - step * piece) // (classes * held_bytes)

    # Rather fewer threads than reads and writes of a few bytes, which take longer than what is computed.
    enough = (n for n in range(cut.threads, 1, -1) if affordable(n)[1] >= min(inner, FEW_ROWS))
    threads = next(enough, 1)
    step, most = affordable(threads)
    if most < 1 and classes * size > piece:
        return None
    # What is computed at once is held without being counted: there are bytes for it in those of a logit.
    wide = max(step, min(most, max(-(-rows // (threads * BLOCKS)), FEW_ROWS), ROWS))
    if wide >= inner:
        wide -= wide % inner
        blocks = blocks_of(rows, wide)
    else:
        blocks = [part for start in range(0, rows, inner) for part in _even(start, min(start + inner, rows), wide)]
    return Plan(blocks, min(step, wide), threads)


def _even(start: int, stop: int, most: int) -> list[Block]:
    """Cut rows into the fewest blocks of a size, all alike but for the last."""
    count = -(-(stop - start) // most)
    # None is larger than the first, so that memory is taken once.
    return Block(start, stop).steps(-(-(stop - start) // count))
