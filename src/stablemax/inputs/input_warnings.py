"""Notes about the numbers of an input: how often something occurs, counted block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.text.words import counted

BLOCK_CELLS = 2**20
"""Cells that are looked at together."""
SUM_TOLERANCE = 1e-3
"""How far a soft target's sum may be from 1 before it is noted; three printed digits are enough."""


@dataclass(frozen=True)
class Noticed:
    """How often something occurs, and where first; the counts of blocks merge in any order.

    >>> Noticed(1, (7, "row 7")) + Noticed(2, (3, "row 3"))
    Noticed(count=3, first=(3, 'row 3'))
    """

    #: How often.
    count: int = 0
    #: The row, and the place in words.
    first: tuple[int, str] | None = None

    def __add__(self, other: Noticed) -> Noticed:
        """Merge the counts of two blocks."""
        return Noticed(self.count + other.count, min((f for f in (self.first, other.first) if f), default=None))

    @property
    def place(self) -> str:
        """Where it occurs first, in words."""
        return "" if self.first is None else self.first[1]


def odd_targets(targets: Array, first_row: int = 0) -> Noticed:
    """Count soft targets that do not sum to 1; they are allowed, as in PyTorch."""
    with np.errstate(over="ignore"):
        sums = targets.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(~(np.abs(sums - 1) <= SUM_TOLERANCE))
    if not len(wrong):
        return Noticed()
    row = first_row + int(wrong[0])
    return Noticed(len(wrong), (row, f"row {row:,} with {sums[wrong[0]]:.6g}"))


def inexact_in_float64(rows: Array) -> Array | None:
    """Mark integers (N, K) that float64 cannot hold; None where all are too small for that.

    >>> inexact_in_float64(np.array([[2**53, 2**53 + 1]]))
    array([[False,  True]])
    """
    if rows.dtype.kind not in "iu" or rows.dtype.itemsize < 8:
        return None
    if int(rows.min(initial=0)) >= -(2**53) and int(rows.max(initial=0)) <= 2**53:
        return None
    # The bits of a negative number are negated, which also holds for the smallest of them.
    bits = rows.astype(np.uint64)
    sizes = np.where(rows < 0, ~bits + np.uint64(1), bits)
    lowest = sizes & (~sizes + np.uint64(1))
    return np.asarray(sizes // np.maximum(lowest, np.uint64(1)) >= np.uint64(2**53))


def inexact_integers(rows: Array, first_row: int = 0, first_class: int = 0) -> Noticed:
    """Count integers (N, K) that float64 cannot hold, because every computation here begins there."""
    inexact = inexact_in_float64(rows)
    if inexact is None or not inexact.any():
        return Noticed()
    row, column = (int(n) for n in np.unravel_index(np.argmax(inexact), inexact.shape))
    place = f"row {first_row + row:,}, class {first_class + column:,}: {rows[row, column].item()}"
    return Noticed(int(np.count_nonzero(inexact)), (first_row + row, place))


def in_blocks(count: Callable[[Array, int], Noticed], array: Array) -> Noticed:
    """Count in an array (N, K) a block at a time."""
    return sum((count(block, start) for start, block in array_blocks(array)), Noticed())


def array_blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Cut an array along its first axis, so that looking at a memory map needs little memory."""
    step = max(1, BLOCK_CELLS // max(1, array[:1].size))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def soft_target_notes(noticed: Noticed, name: str) -> tuple[str, ...]:
    """Word what `odd_targets` counted.

    >>> soft_target_notes(odd_targets(np.array([[0.5, 0.5], [1.0, 1.0]])), "targets.npy")
    ('targets.npy: soft targets of 1 row do not sum to 1; the first is row 1 with 2',)
    """
    if not noticed.count:
        return ()
    return (f"{name}: soft targets of {counted(noticed.count, 'row')} do not sum to 1; the first is {noticed.place}",)


def inexact_notes(noticed: Noticed, name: str) -> tuple[str, ...]:
    """Word what `inexact_integers` counted."""
    if not noticed.count:
        return ()
    many = counted(noticed.count, "integer is", "integers are")
    return (f"{name}: {many} not exact in float64; the first is {noticed.place}",)
