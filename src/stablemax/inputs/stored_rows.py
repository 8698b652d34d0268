"""Stored arrays as rows of classes, read a block at a time."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from stablemax.inputs.regular_file import reading
from stablemax.inputs.row_layout import IN_PLACE_BYTES, Place, RowLayout, gather, in_row_order, layout_of, move
from stablemax.inputs.spooled import at_hand, downloaded
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.formats import Array


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of one stored array."""

    #: The array that holds the rows.
    stored: StoredArray
    #: The axis of the classes, not negative; None for an array of one number a row.
    axis: int | None

    @cached_property
    def layout(self) -> RowLayout | None:
        """Where the rows lie in the file; None for an array in memory, or one to be brought there."""
        shape = self.stored.shape
        if self.stored.memory is not None:
            return None
        if self.axis is None:
            # One number a row: in Fortran order the rows of more than one axis are out of order.
            return None if self.stored.fortran_order and len(shape) > 1 else RowLayout(math.prod(shape), 1, 1)
        return layout_of(shape, self.axis, fortran_order=self.stored.fortran_order)

    @property
    def memory(self) -> Array:
        """The array with the classes last; a large one in a temporary file, which is mapped."""
        array = self._at_hand.array
        if self.axis is None:
            return array[..., np.newaxis]
        # np.moveaxis takes as long as the exponentials of a short row, also where nothing moves.
        return array if self.axis == array.ndim - 1 else np.moveaxis(array, self.axis, -1)

    @cached_property
    def _at_hand(self) -> StoredArray:
        return at_hand(self.stored)

    def __getstate__(self) -> dict[str, Any]:
        # Cached views stay in their process.
        return {"stored": self.stored, "axis": self.axis}

    @property
    def rows(self) -> int:
        """N."""
        return math.prod(n for place, n in enumerate(self.stored.shape) if place != self.axis)

    @property
    def classes(self) -> int:
        """K; 1 for one number a row."""
        return 1 if self.axis is None else self.stored.shape[self.axis]

    def whole(self) -> Array:
        """All rows (N, K): a view of the array where that is possible."""
        array = self.memory
        return array if array.ndim == 2 else array.reshape(-1, self.classes)

    def in_row_order(self) -> Part:
        """Return the part with its rows in one piece each, or at least in a file of this machine.

        Each class of an interleaved row is a read of its own, and one that waits for a server takes longer than a
        megabyte of it.
        """
        if self.layout is not None and self.layout.is_plain:
            return self
        stored = downloaded(self.stored) if self.stored.is_remote else self.stored
        if self.layout is None or stored.size_bytes <= IN_PLACE_BYTES:
            return replace(self, stored=stored)
        return Part(in_row_order(stored, self.layout), 1)

    def read(self, start: int, stop: int, first: int, last: int, workspace: Workspace) -> Array:
        """Read some classes of some rows: (stop - start, last - first), as stored."""
        if self.layout is None:
            return self._from_memory(start, stop, first, last, workspace)
        layout, stored = self.layout, self.stored
        out = workspace.take("stored", (stop - start, last - first), stored.dtype)
        place = Place(workspace.file(stored.path, "rb", stored.open_raw), stored.offset, stored.name)
        with reading(stored.name):
            for section in layout.sections(start, stop):
                rows = out[section.place : section.place + section.rows]
                shape = section.count, last - first, section.wide
                tile = rows.reshape(shape) if layout.is_plain else workspace.take("tile", shape, stored.dtype)
                move(place, tile, (section.outer, first, section.left), layout.box, write=False)
                if not layout.is_plain:
                    gather(tile, rows)
        return out

    def _from_memory(self, start: int, stop: int, first: int, last: int, workspace: Workspace) -> Array:
        """Return rows of an array in memory, copied where their numbers do not lie side by side."""
        box = self._box
        if box is not None and len(box) == 1 and box.strides[1] == box.itemsize:
            return box[0].T[start:stop, first:last]
        out = workspace.take("stored", (stop - start, last - first), self.stored.dtype)
        if box is None:
            array = self.memory
            out[...] = array[np.unravel_index(np.arange(start, stop), array.shape[:-1])][:, first:last]
            return out
        for section in RowLayout(*box.shape).sections(start, stop):
            tile = box[section.outer : section.outer + section.count, first:last, section.left : section.right]
            gather(tile, out[section.place : section.place + section.rows])
        return out

    @cached_property
    def _box(self) -> Array | None:
        """A view of the array as (outer, classes, inner); None where its other axes do not merge into two."""
        *others, classes = self.memory.shape
        for count in range(len(others) + 1):
            shape = math.prod(others[:count]), math.prod(others[count:]), classes
            with contextlib.suppress(ValueError):
                return self.memory.reshape(shape, copy=False).transpose(0, 2, 1)
        return None


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one or several stored arrays, one after the other: (N, K), or (N, 1)."""

    #: All of one dtype and number of classes.
    parts: tuple[Part, ...]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first row of each part among all rows, and N."""
        return tuple(itertools.accumulate((part.rows for part in self.parts), initial=0))

    @property
    def rows(self) -> int:
        """N."""
        return self.starts[-1]

    @property
    def classes(self) -> int:
        """K; 1 for one number a row."""
        return self.parts[0].classes

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the rows in the byte order of this machine."""
        return self.parts[0].stored.dtype.newbyteorder("=")

    @property
    def size_bytes(self) -> int:
        """The bytes of all its numbers."""
        return sum(part.stored.size_bytes for part in self.parts)

    def in_row_order(self) -> Rows:
        """Return rows of which no block needs many small reads; see `Part.in_row_order`.

        >>> from stablemax.inputs.stored import StoredArray
        >>> rows = Rows((Part(StoredArray.of(np.ones((3, 2))), 0),))
        >>> rows.in_row_order().parts == rows.parts
        True
        """
        return Rows(tuple(part if part.stored.memory is not None else part.in_row_order() for part in self.parts))

    def whole(self) -> Array:
        """All rows (N, K) in memory: a view where that is possible."""
        return joined([part.whole() for part in self.parts])

    def read(self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None) -> Array:
        """Read a block of rows, or some classes of them, in this machine's byte order, each row contiguous.

        The result may lie in the workspace's buffers "stored" and "read", and is not to be written to.

        >>> from stablemax.inputs.stored import StoredArray
        >>> from stablemax.inputs.workspace import Workspace
        >>> arrays = (np.arange(4.0).reshape(2, 2), np.ones((1, 2)))
        >>> rows = Rows(tuple(Part(StoredArray.of(array), 1) for array in arrays))
        >>> rows.read(1, 3, Workspace()).tolist()
        [[2.0, 3.0], [1.0, 1.0]]
        """
        end = self.classes if last is None else last
        pieces = list(self.parts_of(start, stop))
        if len(pieces) == 1:
            part, begin, finish, _ = pieces[0]
            block = part.read(begin, finish, first, end, workspace)
            if block.dtype.isnative and block.strides[-1] == block.itemsize:
                return block
        out = workspace.take("read", (stop - start, end - first), self.dtype)
        for part, begin, finish, place in pieces:
            out[place : place + finish - begin] = part.read(begin, finish, first, end, workspace)
        return out

    def parts_of(self, start: int, stop: int) -> Iterator[tuple[Part, int, int, int]]:
        """Cut rows where a file ends: the part, its first and last row of them, the place in the rows."""
        number = bisect.bisect_right(self.starts, start) - 1
        row = start
        while row < stop:
            begin, end = self.starts[number], min(self.starts[number + 1], stop)
            if end > row:
                yield self.parts[number], row - begin, end - begin, row - start
                row = end
            number += 1

    def place(self, row: int) -> tuple[str, int]:
        """Name the file of a row, and the row in it."""
        number = min(bisect.bisect_right(self.starts, row) - 1, len(self.parts) - 1)
        return self.parts[number].stored.name, row - self.starts[number]


def joined(arrays: list[Array]) -> Array:
    """Return arrays one after the other; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
