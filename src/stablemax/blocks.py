"""Rows that are computed together."""

from __future__ import annotations

from dataclasses import dataclass


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

    def steps(self, size: int) -> list[Block]:
        """Cut it into blocks of a size.

        Examples
        --------
        >>> Block(4, 7).steps(2)
        [Block(start=4, stop=6), Block(start=6, stop=7)]
        """
        return [Block(start, min(start + size, self.stop)) for start in range(self.start, self.stop, size)]


def blocks_of(rows: int, size: int) -> list[Block]:
    """Cut rows into blocks of a size.

    Examples
    --------
    >>> blocks_of(5, 2)
    [Block(start=0, stop=2), Block(start=2, stop=4), Block(start=4, stop=5)]
    """
    return Block(0, rows).steps(size)
