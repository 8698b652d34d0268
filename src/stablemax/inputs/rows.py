"""Stored arrays as rows of classes, read a block at a time by whoever needs it."""

from __future__ import annotations

import bisect
import io
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from stablemax.inputs.files import reading
from stablemax.inputs.stored import StoredArray, ends_early
from stablemax.workspace import bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stablemax.formats import Array
    from stablemax.workspace import Workspace

AHEAD_BYTES = 16
"""Rows that do not lie side by side are read ahead, as many as take so many bytes for each logit asked for:
each class is a read of its own, and a long one costs no more than a short one."""

GAP_BYTES = 1 << 14
"""Where the numbers of a class take fewer bytes, reading all of them is sooner done than seeking the wanted."""
PASSED_BYTES = 1 << 18
"""Bytes of a file that are read at once to take a part of them."""


@dataclass(frozen=True)
class Layout:
    """Where rows lie in an array without gaps, the last axis varying fastest.

    Attributes
    ----------
    outer, classes, inner : int
        The product of the axes before that of the classes, the classes, and the product of those
        after it. Row r is at ``[r // inner, :, r % inner]``.

    Examples
    --------
    >>> list(Layout(2, 5, 3).strips(1, 5))
    [(0, 1, 3, 0), (1, 0, 2, 2)]
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

    def strips(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """Cut rows where the outer index changes: outer index, first and last inner index, place in the rows."""
        row = start
        while row < stop:
            outer, first = divmod(row, self.inner)
            last = min(self.inner, first + stop - row)
            yield outer, first, last, row - start
            row += last - first


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


@dataclass(frozen=True, eq=False)
class _Window:
    """Rows that were read ahead: their classes from `first` on, (classes, rows) as they lie in the file."""

    outer: int
    left: int
    first: int
    strip: Array

    def holds(self, outer: int, left: int, right: int, first: int, classes: int) -> bool:
        return (
            (self.outer, self.first, len(self.strip)) == (outer, first, classes)
            and self.left <= left
            and right <= self.left + self.strip.shape[1]
        )


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of one stored array.

    Attributes
    ----------
    stored : StoredArray
        Where they lie.
    axis : int
        The axis of the classes, not negative; None for an array of one number a row.
    """

    stored: StoredArray
    axis: int | None

    @cached_property
    def layout(self) -> Layout | None:
        """Where the rows lie in the file; None for an array in memory."""
        shape = self.stored.shape
        if self.stored.memory is not None:
            return None
        if self.axis is None:
            # One number a row: in Fortran order the rows of more than one axis are out of order.
            return None if self.stored.fortran_order and len(shape) > 1 else Layout(math.prod(shape), 1, 1)
        return layout_of(shape, self.axis, fortran_order=self.stored.fortran_order)

    @cached_property
    def memory(self) -> Array:
        """The array with the classes last; mapped if the file's layout has the rows out of order."""
        array = self.stored.load().array
        return array[..., np.newaxis] if self.axis is None else np.moveaxis(array, self.axis, -1)

    def __getstate__(self) -> dict[str, Any]:
        # What is mapped or computed stays in its process.
        return {"stored": self.stored, "axis": self.axis}

    @property
    def rows(self) -> int:
        """N."""
        shape = self.stored.shape
        return math.prod(n for place, n in enumerate(shape) if place != self.axis)

    def read(self, start: int, stop: int, first: int, last: int, workspace: Workspace) -> Array:
        """Read some classes of some rows: (stop - start, last - first), as stored."""
        if self.layout is None:
            return self._gathered(start, stop, first, last)
        stored, layout = self.stored, self.layout
        out = workspace.take("stored", (stop - start, last - first), stored.dtype)
        stream = workspace.file(stored.path, "rb", self._open)
        with reading(stored.name):
            if layout.is_plain:
                self._read_rows(stream, out, start, first)
            else:
                self._read_strips(stream, out, start, first, workspace)
        return out

    def _open(self) -> BinaryIO:
        # Unbuffered: a buffer would be filled anew for each piece of a strip.
        stream = self.stored.open()
        return cast("BinaryIO", stream.detach()) if isinstance(stream, io.BufferedReader) else stream

    def _gathered(self, start: int, stop: int, first: int, last: int) -> Array:
        array = self.memory
        if array.ndim <= 2 or (array.flags.c_contiguous and array.dtype.isnative):
            return array.reshape(-1, array.shape[-1])[start:stop, first:last]
        return array[np.unravel_index(np.arange(start, stop), array.shape[:-1])][:, first:last]

    def _read_rows(self, stream: BinaryIO, out: Array, start: int, first: int) -> None:
        size = self.stored.dtype.itemsize
        classes = out.shape[1] if self.axis is None else self.stored_classes
        if out.shape[1] == classes:
            self._fill(stream, out, self.stored.offset + start * classes * size)
            return
        for row in range(len(out)):
            self._fill(stream, out[row], self.stored.offset + ((start + row) * classes + first) * size)

    @property
    def stored_classes(self) -> int:
        """K."""
        return 1 if self.axis is None else self.stored.shape[self.axis]

    def _read_strips(self, stream: BinaryIO, out: Array, start: int, first: int, workspace: Workspace) -> None:
        assert self.layout is not None
        layout, size = self.layout, self.stored.dtype.itemsize
        for outer, left, right, place in layout.strips(start, start + len(out)):
            held = workspace.kept(self)
            if not (isinstance(held, _Window) and held.holds(outer, left, right, first, out.shape[1])):
                wide = right - left
                if out.shape[1] == layout.classes:
                    # Of rows in pieces the next piece comes before the next row.
                    wide = min(layout.inner - left, wide * max(1, AHEAD_BYTES // size))
                strip = np.empty((out.shape[1], wide), self.stored.dtype)
                self._fill_strip(stream, strip, (outer * layout.classes + first) * layout.inner, left, workspace)
                held = _Window(outer, left, first, strip)
                workspace.keep(self, held)
            out[place : place + right - left] = held.strip[:, left - held.left : right - held.left].T

    def _fill_strip(self, stream: BinaryIO, strip: Array, begins: int, left: int, workspace: Workspace) -> None:
        """Read some rows (classes, rows) of the many that lie interleaved from the number at `begins` on."""
        assert self.layout is not None
        inner, size, wide = self.layout.inner, self.stored.dtype.itemsize, strip.shape[1]
        if inner * size > GAP_BYTES:
            for k in range(len(strip)):
                self._fill(stream, strip[k], self.stored.offset + (begins + k * inner + left) * size)
            return
        several = max(1, PASSED_BYTES // (inner * size))
        for k in range(0, len(strip), several):
            part = strip[k : k + several]
            every = workspace.take("passed", (len(part), inner), self.stored.dtype)
            self._fill(stream, every, self.stored.offset + (begins + k * inner) * size)
            part[...] = every[:, left : left + wide]

    def _fill(self, stream: BinaryIO, out: Array, offset: int) -> None:
        stream.seek(offset)
        view = bytes_of(out)
        done = 0
        while done < len(view):
            count = stream.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise ends_early(self.stored.name)
            done += count


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one or several stored arrays, one after the other: (N, K), or (N, 1).

    Attributes
    ----------
    parts : tuple of Part
        All of one dtype and number of classes.
    """

    parts: tuple[Part, ...]
    starts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        counts = [part.rows for part in self.parts]
        object.__setattr__(self, "starts", tuple(sum(counts[:n]) for n in range(len(counts) + 1)))

    @property
    def rows(self) -> int:
        """N."""
        return self.starts[-1]

    @property
    def classes(self) -> int:
        """K; 1 for one number a row."""
        return self.parts[0].stored_classes

    @property
    def dtype(self) -> np.dtype[Any]:
        """In the byte order of this machine."""
        return self.parts[0].stored.dtype.newbyteorder("=")

    @property
    def size_bytes(self) -> int:
        """The bytes of all its numbers."""
        return sum(part.stored.size_bytes for part in self.parts)

    def read(self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None) -> Array:
        """Read a block of rows, or some classes of them.

        Parameters
        ----------
        start, stop : int
            The rows.
        workspace : Workspace
            Of the calling worker; the result may lie in its buffers "stored" and "read".
        first, last : int
            The classes; all when not given.

        Returns
        -------
        ndarray (stop - start, last - first)
            In this machine's byte order, each row contiguous; not to be written to.

        Raises
        ------
        StablemaxError
            If a file cannot be read, or became shorter.

        Examples
        --------
        >>> from stablemax.workspace import Workspace
        >>> arrays = (np.arange(4.0).reshape(2, 2), np.ones((1, 2)))
        >>> rows = Rows(tuple(Part(StoredArray.of(array), 1) for array in arrays))
        >>> rows.read(1, 3, Workspace()).tolist()
        [[2.0, 3.0], [1.0, 1.0]]
        """
        end = self.classes if last is None else last
        found = list(self.parts_of(start, stop))
        if len(found) == 1:
            part, begin, finish, _ = found[0]
            block = part.read(begin, finish, first, end, workspace)
            if block.dtype.isnative and block.strides[-1] == block.itemsize:
                return block
        out = workspace.take("read", (stop - start, end - first), self.dtype)
        for part, begin, finish, place in found:
            out[place : place + finish - begin] = part.read(begin, finish, first, end, workspace)
        return out

    def parts_of(self, start: int, stop: int) -> Iterator[tuple[Part, int, int, int]]:
        """Cut rows where a file ends: the part, its first and last row of them, the place in the rows."""
        at = bisect.bisect_right(self.starts, start) - 1
        row = start
        while row < stop:
            begin, end = self.starts[at], min(self.starts[at + 1], stop)
            if end > row:
                yield self.parts[at], row - begin, end - begin, row - start
                row = end
            at += 1

    def place(self, row: int) -> tuple[str, int]:
        """Name the file of a row, and the row in it."""
        at = min(bisect.bisect_right(self.starts, row) - 1, len(self.parts) - 1)
        return self.parts[at].stored.name, row - self.starts[at]
