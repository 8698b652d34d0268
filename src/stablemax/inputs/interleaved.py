"""Where rows lie in an array whose classes are not on its last axis, and how they get there and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stablemax.formats import Array

TILE_CELLS = 1 << 13
"""Numbers that are turned from classes to rows at once: more do not stay in the cache from row to row."""
MANY_ROWS = 256
"""So many rows give runs worth reading one after the other, where each class is a run of its own."""


@dataclass(frozen=True)
class Section:
    """Rows that fill a box of an array (outer, classes, inner).

    Attributes
    ----------
    outer, count : int
        The first outer index, and how many.
    left, right : int
        The inner indices; all of them where `count` is more than 1.
    place : int
        Of its first row among the rows that were cut.
    """

    outer: int
    count: int
    left: int
    right: int
    place: int

    @property
    def wide(self) -> int:
        """How many rows lie side by side."""
        return self.right - self.left

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.count * self.wide

    def within(self, box: Array, other: Section) -> Array:
        """Return these rows of a box (count, classes, wide) that holds those of another section."""
        begin, left = self.outer - other.outer, self.left - other.left
        return box[begin : begin + self.count, :, left : left + self.wide]


@dataclass(frozen=True)
class Layout:
    """Where rows lie in an array without gaps, the last axis varying fastest.

    Attributes
    ----------
    outer, classes, inner : int
        The product of the axes before that of the classes, the classes, and the product of those
        after it. Row r is at ``[r // inner, :, r % inner]``.
    """

    outer: int
    classes: int
    inner: int

    @property
    def rows(self) -> int:
        """N."""
        return self.outer * self.inner

    @property
    def is_plain(self) -> bool:
        """Whether the numbers of a row lie side by side."""
        return self.inner == 1

    @property
    def box(self) -> tuple[int, int, int]:
        """The shape that the array has for a section."""
        return self.outer, self.classes, self.inner

    def sections(self, start: int, stop: int) -> Iterator[Section]:
        """Cut rows into as few boxes as they fill: the end of an outer index, whole ones, the beginning of one.

        Examples
        --------
        >>> for section in Layout(5, 10, 3).sections(1, 11):
        ...     print(section)
        Section(outer=0, count=1, left=1, right=3, place=0)
        Section(outer=1, count=2, left=0, right=3, place=2)
        Section(outer=3, count=1, left=0, right=2, place=8)
        """
        row = start
        while row < stop:
            outer, left = divmod(row, self.inner)
            count = 1 if left else max(1, (stop - row) // self.inner)
            section = Section(outer, count, left, min(self.inner, left + stop - row), row - start)
            yield section
            row += section.rows


def layout_of(shape: Sequence[int], axis: int, *, fortran_order: bool = False) -> Layout | None:
    """Find the layout of rows along an axis; None where no such layout gives them in their order.

    The rows are in the order of the other axes, the last varying fastest. In Fortran order the
    array lies reversed, which keeps that order only where there is a single other axis.

    Examples
    --------
    >>> layout_of((8, 21, 4, 5), 1)
    Layout(outer=8, classes=21, inner=20)
    >>> layout_of((6, 4), 1, fortran_order=True)
    Layout(outer=1, classes=4, inner=6)
    >>> layout_of((6, 4, 3), 1, fortran_order=True) is None
    True
    """
    if fortran_order and len(shape) > 2:
        return None
    if fortran_order:
        shape, axis = shape[::-1], len(shape) - 1 - axis
    return Layout(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def spread(rows: Array, box: Array) -> None:
    """Copy rows (n, K) into their box (count, K, wide), rounded to its dtype.

    Examples
    --------
    >>> import numpy as np
    >>> box = np.zeros((1, 2, 3))
    >>> spread(np.arange(6.0).reshape(3, 2), box)
    >>> box.tolist()
    [[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]]
    """
    count, classes, wide = box.shape
    box[...] = rows.reshape(count, wide, classes).transpose(0, 2, 1)


def gather(box: Array, rows: Array) -> None:
    """Copy rows (n, K) out of their box (count, K, wide).

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.empty((3, 2))
    >>> gather(np.array([[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]]), rows)
    >>> rows.tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    count, classes, wide = box.shape
    to, lying = rows.reshape(count, wide, classes), box.transpose(0, 2, 1)
    if classes * wide <= TILE_CELLS:
        to[...] = lying
        return
    # NumPy copies in the order of the target, a row at a time, whose classes may all fall on the same
    # lines of the cache (they do where `inner` is a power of two). A tile of few classes or of few rows
    # stays in the cache until its lines are used up.
    tall, broad = (TILE_CELLS // 8, 8) if wide >= MANY_ROWS else (16, TILE_CELLS // 16)
    for outer in range(count):
        for left in range(0, wide, tall):
            for first in range(0, classes, broad):
                tile = outer, slice(left, left + tall), slice(first, first + broad)
                to[tile] = lying[tile]
