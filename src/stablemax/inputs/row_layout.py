"""Where rows lie in an array whose classes may be on any axis, and how they are copied into one piece each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stablemax.inputs.regular_file import reading
from stablemax.inputs.spooled import Spool, check_room
from stablemax.inputs.stored import StoredArray, ends_early
from stablemax.inputs.workspace import bytes_of
from stablemax.numerics.formats import Array

CLASSES = 512
"""Classes that are turned to rows at once."""
TILE_BYTES = 3 << 20
"""Bytes of a tile: it holds whole rows unless the runs that are written become too short."""
SHORT_RUN = 512
"""Numbers of a run that is worth a read or a write of its own."""
TURNED_SHARE = 8
"""A tile is turned in this many strips."""
IN_PLACE_BYTES = 1 << 20
"""Arrays of fewer bytes are read and written in place, which takes less time than making a file."""


@dataclass(frozen=True)
class Section:
    """Rows that fill a box of an array (outer, classes, inner)."""

    #: The first outer index, and how many.
    outer: int
    count: int
    #: The inner indices; all of them where `count` is more than 1.
    left: int
    right: int
    #: The number of its first row among the rows of all sections.
    place: int

    @property
    def wide(self) -> int:
        """How many rows lie side by side."""
        return self.right - self.left

    @property
    def rows(self) -> int:
        """How many rows the section has."""
        return self.count * self.wide


@dataclass(frozen=True)
class RowLayout:
    """Where the rows of a C-ordered array lie: row r at ``[r // inner, :, r % inner]``."""

    #: The product of the axes before that of the classes.
    outer: int
    #: K.
    classes: int
    #: The product of the axes after that of the classes: so many rows lie interleaved.
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
        """The shape (outer, classes, inner) of the array."""
        return self.outer, self.classes, self.inner

    def sections(self, start: int, stop: int) -> Iterator[Section]:
        """Cut rows into as few boxes as they fill: the end of an outer index, whole ones, the beginning of one.

        >>> for section in RowLayout(5, 10, 3).sections(1, 11):
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


def layout_of(shape: Sequence[int], axis: int, *, fortran_order: bool = False) -> RowLayout | None:
    """Find the layout of rows along an axis; None where no such layout gives them in their order.

    The rows are in the order of the other axes, the last varying fastest. In Fortran order the array lies reversed,
    which keeps that order only where there is a single other axis.

    >>> layout_of((8, 21, 4, 5), 1)
    RowLayout(outer=8, classes=21, inner=20)
    >>> layout_of((6, 4), 1, fortran_order=True)
    RowLayout(outer=1, classes=4, inner=6)
    >>> layout_of((6, 4, 3), 1, fortran_order=True) is None
    True
    """
    if fortran_order and len(shape) > 2:
        return None
    if fortran_order:
        shape, axis = shape[::-1], len(shape) - 1 - axis
    return RowLayout(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def spread(rows: Array, box: Array) -> None:
    """Copy rows (n, K) into their box (count, K, wide), rounded to its dtype.

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

    >>> import numpy as np
    >>> rows = np.empty((3, 2))
    >>> gather(np.array([[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]]), rows)
    >>> rows.tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    count, classes, wide = box.shape
    to, lying = rows.reshape(count, wide, classes), box.transpose(0, 2, 1)
    # NumPy copies a row at a time: so many classes of neighbouring rows stay in the cache from row to row.
    for first in range(0, classes, CLASSES):
        to[:, :, first : first + CLASSES] = lying[:, :, first : first + CLASSES]


class Place(NamedTuple):
    """Where the numbers of an array begin in an open file."""

    #: Unbuffered: many small reads would fill a buffer anew each time, and a full disk shows at the write itself.
    stream: Any
    offset: int = 0
    name: str = "the array"


def move(place: Place, tile: Array, corner: tuple[int, int, int], box: tuple[int, int, int], *, write: bool) -> None:
    """Read or write a tile of the box (outer, tall, broad) that lies in a file, as few runs without gaps.

    >>> import io, numpy as np
    >>> box, tile = np.arange(12, dtype=np.uint8).reshape(2, 2, 3), np.empty((2, 1, 2), np.uint8)
    >>> move(Place(io.BytesIO(box.tobytes())), tile, (0, 1, 1), (2, 2, 3), write=False)
    >>> tile.tolist() == box[:, 1:, 1:].tolist()
    True
    """
    _, tall, broad = box
    count, height, width = tile.shape
    size, view = tile.dtype.itemsize, bytes_of(tile)
    run = width if width < broad else width * height if height < tall else width * height * count
    for done in range(0, tile.size, run):
        outer, row = divmod(done // width, height)
        begins = ((corner[0] + outer) * tall + corner[1] + row) * broad + corner[2]
        place.stream.seek(place.offset + begins * size)
        rest = view[done * size : (done + run) * size]
        while rest:
            moved = place.stream.write(rest) if write else place.stream.readinto(rest)
            if not moved and not write:
                raise ends_early(place.name)
            rest = rest[moved:]


def in_row_order(stored: StoredArray, layout: RowLayout) -> StoredArray:
    """Copy an array in a file of this machine to a temporary file, as (N, K)."""
    check_room(stored.size_bytes, stored.name)
    with Spool(stored.name, in_memory=-1) as spool, stored.open_raw() as source, reading(stored.name):
        spool.reserve(stored.size_bytes)
        with Path(spool.path).open("r+b", buffering=0) as target:
            turn(Place(source, stored.offset, stored.name), Place(target), layout.box, stored.dtype.itemsize)
        return replace(
            stored,
            shape=(layout.rows, layout.classes),
            path=spool.path,
            version=None,
            offset=0,
            fortran_order=False,
            labels=None,
        )


def turn(source: Place, target: Place, box: tuple[int, int, int], itemsize: int) -> None:
    """Copy an array (outer, tall, broad) of one file as (outer, broad, tall) into another, a tile at a time."""
    outer, tall, broad = box
    # The copy moves bits, whatever number format they are in.
    dtype, cells = np.dtype(f"u{itemsize}"), max(1, TILE_BYTES // itemsize)
    several = max(1, cells // TURNED_SHARE // (tall * broad))
    height = min(tall, max(min(math.isqrt(cells), SHORT_RUN), cells // broad))
    width = min(broad, max(1, cells // height))
    # A tile is turned in strips, so that memory holds the tile once, and a copy of one strip.
    strip = width if several > 1 else min(width, max(1, cells // TURNED_SHARE // height))
    memory = np.empty(several * height * width, dtype), np.empty(several * height * strip, dtype)
    for first, top, left in itertools.product(range(0, outer, several), range(0, tall, height), range(0, broad, width)):
        shape = min(several, outer - first), min(height, tall - top), min(width, broad - left)
        tile = memory[0][: math.prod(shape)].reshape(shape)
        move(source, tile, (first, top, left), box, write=False)
        for begin in range(0, shape[2], strip):
            part = tile[:, :, begin : begin + strip]
            turned = memory[1][: part.size].reshape(shape[0], part.shape[2], shape[1])
            gather(part, turned.reshape(-1, shape[1]))
            move(target, turned, (first, left + begin, top), (outer, broad, tall), write=True)
