"""Stored arrays as rows of classes, read a block at a time by whoever needs it."""

from __future__ import annotations

import bisect
import contextlib
import io
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from stablemax.inputs.files import reading
from stablemax.inputs.interleaved import Layout, Section, gather, layout_of
from stablemax.inputs.stored import StoredArray, ends_early
from stablemax.workspace import bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.formats import Array
    from stablemax.workspace import Workspace

AHEAD_BYTES = 16
"""Rows that do not lie side by side are read ahead, as many as take so many bytes for each logit asked for:
each class is a read of its own, and a long one costs no more than a short one."""

GAP_BYTES = 1 << 14
"""Where the numbers of a class take fewer bytes, reading all of them is sooner done than seeking the wanted."""
PASSED_BYTES = 1 << 18
"""Bytes of a file that are read at once to take a part of them."""


@dataclass(frozen=True, eq=False)
class _Window:
    """Rows that were read ahead: their classes from `first` on, as they lie in the file."""

    section: Section
    start: int
    first: int
    numbers: Array
    classes: int

    @property
    def box(self) -> Array:
        """The rows as (count, classes, wide)."""
        shape = self.section.count, self.classes, self.section.wide
        return self.numbers[: math.prod(shape)].reshape(shape)

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + self.section.rows

    def holds(self, row: int, first: int, classes: int) -> bool:
        """Whether some classes of a row are here."""
        return self.start <= row < self.stop and self.first <= first <= first + classes <= self.first + self.classes


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
        if self.axis is None:
            return array[..., np.newaxis]
        # np.moveaxis takes as long as the exponentials of a short row, also where nothing moves.
        return array if self.axis == array.ndim - 1 else np.moveaxis(array, self.axis, -1)

    def __getstate__(self) -> dict[str, Any]:
        # What is mapped or computed stays in its process.
        return {"stored": self.stored, "axis": self.axis}

    @property
    def rows(self) -> int:
        """N."""
        shape = self.stored.shape
        return math.prod(n for place, n in enumerate(shape) if place != self.axis)

    @property
    def is_interleaved(self) -> bool:
        """Whether rows lie interleaved in a file, so that it pays to read ahead."""
        return self.layout is not None and not self.layout.is_plain

    @property
    def is_scattered(self) -> bool:
        """Whether the numbers of a row do not lie side by side, and behind an address."""
        return self.stored.is_remote and (self.layout is None or not self.layout.is_plain)

    def read(
        self, start: int, stop: int, first: int, last: int, workspace: Workspace, *, until: int | None = None
    ) -> Array:
        """Read some classes of some rows: (stop - start, last - first), as stored."""
        if self.stored.memory is not None or self.layout is None:
            return self._taken(start, stop, first, last, workspace)
        stored = self.stored
        out = workspace.take("stored", (stop - start, last - first), stored.dtype)
        stream = workspace.file(stored.path, "rb", self._open)
        with reading(stored.name):
            if self.layout.is_plain:
                self._read_rows(stream, out, start, first)
            else:
                self._read_strips(stream, out, start, first, workspace, until)
        return out

    def _open(self) -> BinaryIO:
        # Unbuffered: a buffer would be filled anew for each piece of a strip.
        stream = self.stored.open()
        return cast("BinaryIO", stream.detach()) if isinstance(stream, io.BufferedReader) else stream

    def _taken(self, start: int, stop: int, first: int, last: int, workspace: Workspace) -> Array:
        """Return rows of an array in memory, copied where their numbers do not lie side by side."""
        box = self._box
        if box is not None and len(box) == 1 and box.strides[1] == box.itemsize:
            return box[0].T[start:stop, first:last]
        out = workspace.take("stored", (stop - start, last - first), self.stored.dtype)
        if box is None:
            array = self.memory
            out[...] = array[np.unravel_index(np.arange(start, stop), array.shape[:-1])][:, first:last]
            return out
        for part in Layout(*box.shape).sections(start, stop):
            found = box[part.outer : part.outer + part.count, first:last, part.left : part.right]
            gather(found, out[part.place : part.place + part.rows])
        return out

    @cached_property
    def _box(self) -> Array | None:
        """A view of the array as (outer, classes, inner), where its other axes run on into two."""
        *others, classes = self.memory.shape
        for cut in range(len(others) + 1):
            shape = math.prod(others[:cut]), math.prod(others[cut:]), classes
            with contextlib.suppress(ValueError):
                return self.memory.reshape(shape, copy=False).transpose(0, 2, 1)
        return None

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

    def _read_strips(
        self, stream: BinaryIO, out: Array, start: int, first: int, workspace: Workspace, until: int | None
    ) -> None:
        assert self.layout is not None
        layout, row, stop = self.layout, start, start + len(out)
        while row < stop:
            held = workspace.kept(self)
            if not (isinstance(held, _Window) and held.holds(row, first, out.shape[1])):
                used = held.numbers if isinstance(held, _Window) else np.empty(0, self.stored.dtype)
                held = self._window(stream, row, stop, first, out.shape[1], workspace, until, used)
                workspace.keep(self, held)
            end = min(stop, held.stop)
            for part in layout.sections(row, end):
                box = part.within(held.box, held.section)[:, first - held.first : first - held.first + out.shape[1]]
                gather(box, out[row - start + part.place :][: part.rows])
            row = end

    def _window(
        self,
        stream: BinaryIO,
        row: int,
        stop: int,
        first: int,
        classes: int,
        workspace: Workspace,
        until: int | None,
        used: Array,
    ) -> _Window:
        """Read rows from one on: up to `until` with all their classes, or a few more than are asked for."""
        assert self.layout is not None
        layout = self.layout
        if until is not None:
            first, classes, stop = 0, layout.classes, until
        elif classes == layout.classes:
            # Of rows in pieces the next piece comes before the next row.
            stop = row + (stop - row) * max(1, AHEAD_BYTES // self.stored.dtype.itemsize)
        section = next(layout.sections(row, min(stop, layout.rows)))
        # Memory that is used again costs nothing, and is not held twice.
        numbers = used if used.size >= section.rows * classes else np.empty(section.rows * classes, self.stored.dtype)
        window = _Window(section, row, first, numbers, classes)
        if section.wide == layout.inner and classes == layout.classes:
            self._fill(stream, window.box, self.stored.offset + row * classes * self.stored.dtype.itemsize)
        else:
            for n, strip in enumerate(window.box):
                begins = ((section.outer + n) * layout.classes + first) * layout.inner
                self._fill_strip(stream, strip, begins, section.left, workspace)
        return window

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

    @property
    def is_interleaved(self) -> bool:
        """Whether rows lie interleaved in a file, so that it pays to read ahead."""
        return any(part.is_interleaved for part in self.parts)

    def within_reach(self) -> Rows:
        """Return rows of which no block needs many requests to a server.

        Of rows that lie interleaved each class is a read of its own, and one that waits for a server
        takes longer than a megabyte of it. Such arrays are copied to temporary files.

        Raises
        ------
        StablemaxError
            When they cannot be read, or do not fit on the disk.

        Examples
        --------
        >>> rows = Rows((Part(StoredArray.of(np.ones((3, 2))), 0),))
        >>> rows.within_reach() is rows
        True
        """
        if not any(part.is_scattered for part in self.parts):
            return self
        from stablemax.inputs.spool import downloaded

        parts = (replace(part, stored=downloaded(part.stored)) if part.is_scattered else part for part in self.parts)
        return Rows(tuple(parts))

    def read(
        self,
        start: int,
        stop: int,
        workspace: Workspace,
        *,
        first: int = 0,
        last: int | None = None,
        until: int | None = None,
    ) -> Array:
        """Read a block of rows, or some classes of them.

        Parameters
        ----------
        start, stop : int
            The rows.
        workspace : Workspace
            Of the calling worker; the result may lie in its buffers "stored" and "read".
        first, last : int
            The classes; all when not given.
        until : int, optional
            Rows up to this one are asked for next, and may be read ahead with all their classes: there
            is memory for it. By default a few are, where rows lie interleaved.

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

        def read(part: Part, begin: int, finish: int, place: int) -> Array:
            limit = None if until is None else min(part.rows, begin + until - start - place)
            return part.read(begin, finish, first, end, workspace, until=limit)

        if len(found) == 1:
            block = read(*found[0])
            if block.dtype.isnative and block.strides[-1] == block.itemsize:
                return block
        out = workspace.take("read", (stop - start, end - first), self.dtype)
        for part, begin, finish, place in found:
            out[place : place + finish - begin] = read(part, begin, finish, place)
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
