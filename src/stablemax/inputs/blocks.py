"""Blocks: rows that are computed together."""

from __future__ import annotations

from dataclasses import dataclass

SHARES = 2
"""A worker takes its share of the rows that are left divided by this: the others may be slower."""


@dataclass(frozen=True)
class Block:
    """Rows that are computed together."""

    #: The rows, counted from 0; `stop` is not one of them.
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows the block has."""
        return self.stop - self.start

    def steps(self, size: int) -> list[Block]:
        """Cut the block into blocks of a size.

        >>> Block(4, 7).steps(2)
        [Block(start=4, stop=6), Block(start=6, stop=7)]
        """
        return [Block(start, min(start + size, self.stop)) for start in range(self.start, self.stop, size)]


def blocks_of(rows: int, size: int) -> list[Block]:
    """Cut rows into blocks of a size.

    >>> blocks_of(5, 2)
    [Block(start=0, stop=2), Block(start=2, stop=4), Block(start=4, stop=5)]
    """
    return Block(0, rows).steps(size)


def tapering(rows: int, step: int, most: int, workers: int) -> list[Block]:
    """Cut rows into blocks of several steps, fewer and fewer of them.

    Handing out a block costs the same however large it is, and at the end nobody should wait for another's large one:
    each is a share of what is left (Polychronopoulos and Kuck, "Guided self-scheduling", IEEE Trans. Comput. 36, 1987).

    >>> [block.rows for block in tapering(125, 10, 16, 2)]
    [40, 30, 20, 10, 10, 10, 5]
    """
    blocks, start = [], 0
    while start < rows:
        left = -(-(rows - start) // step)
        size = step * min(most, -(-left // (SHARES * workers)))
        blocks.append(Block(start, min(start + size, rows)))
        start += size
    return blocks
