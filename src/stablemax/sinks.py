"""Where the blocks of a large result go: an array in memory, or a file that is written in place."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol

import numpy as np

from stablemax.inputs.interleaved import Layout, Section, layout_of, spread
from stablemax.workspace import bytes_of

if TYPE_CHECKING:
    from stablemax.blocks import Block
    from stablemax.formats import Array
    from stablemax.workspace import Workspace


class Sink(Protocol):
    """Takes blocks of rows in any order; blocks do not overlap."""

    @property
    def is_interleaved(self) -> bool:
        """Whether rows lie interleaved in a file, so that it pays to write many at once."""
        ...

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return memory (stop - start, last - first) for a block, to be filled and then `put`."""
        ...

    def put(
        self, start: int, values: Array, workspace: Workspace, *, first: int = 0, within: Block | None = None
    ) -> None:
        """Keep a block that `room` gave the memory for.

        Parameters
        ----------
        start : int
            Its first row.
        values : ndarray (n, last - first)
            What `room` gave.
        workspace : Workspace
            Of the calling worker.
        first : int
            Its first class.
        within : Block, optional
            Rows that the worker puts one after the other, each from its first class to its last: they
            are held until the last of them, where that makes for longer writes.
        """
        ...


@dataclass(frozen=True, eq=False)
class MemorySink:
    """An array in memory.

    Attributes
    ----------
    array : ndarray
        Of the shape of the logits, or of that shape without the classes; without gaps.
    axis : int or None
        The axis of the classes in it; None for one number a row.
    """

    array: Array
    axis: int | None
    is_interleaved: ClassVar[bool] = False

    @cached_property
    def _layout(self) -> Layout:
        return _layout(self.array.shape, self.axis)

    @cached_property
    def _box(self) -> Array:
        return self.array.reshape(self._layout.box, copy=False)

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return a view of the array, where the rows lie in it one after the other."""
        end = self._layout.classes if last is None else last
        if self._layout.is_plain and dtype in (None, self.array.dtype):
            return self._box[start:stop, first:end, 0]
        return workspace.take("result", (stop - start, end - first), self.array.dtype if dtype is None else dtype)

    def put(
        self,
        start: int,
        values: Array,
        workspace: Workspace,  # noqa: ARG002 - as FileSink
        *,
        first: int = 0,
        within: Block | None = None,  # noqa: ARG002 - as FileSink
    ) -> None:
        """Copy a block to its place, if it is not there already."""
        if np.may_share_memory(self.array, values):
            return
        last = first + values.shape[1]
        for part in self._layout.sections(start, start + len(values)):
            box = self._box[part.outer : part.outer + part.count, first:last, part.left : part.right]
            spread(values[part.place : part.place + part.rows], box)


@dataclass(frozen=True)
class FileSink:
    """The numbers of a file that has its full size already; every worker writes its own blocks.

    Attributes
    ----------
    path : str
        The file.
    offset : int
        Where in it the numbers begin, in bytes.
    dtype : str
        What is written; blocks of another format are converted.
    layout : Layout
        Of the rows in it.
    """

    path: str
    offset: int
    dtype: str
    layout: Layout

    @property
    def is_interleaved(self) -> bool:
        """Whether rows lie interleaved, so that it pays to write many at once."""
        return not self.layout.is_plain

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return memory of the workspace."""
        end = self.layout.classes if last is None else last
        return workspace.take("result", (stop - start, end - first), self.dtype if dtype is None else dtype)

    def put(
        self, start: int, values: Array, workspace: Workspace, *, first: int = 0, within: Block | None = None
    ) -> None:
        """Write a block to its place in the file, or hold it until its neighbours are there."""
        last = first + values.shape[1]
        if self.layout.is_plain:
            self._put_rows(start, values, first, workspace)
        elif within is None:
            held = _Held(self.layout, start, start + len(values), first, last, workspace, self.dtype)
            held.put(start, values, first)
            self._write_boxes(held, workspace)
        else:
            held = _Held(self.layout, within.start, within.stop, 0, self.layout.classes, workspace, self.dtype)
            held.put(start, values, first)
            if start + len(values) == within.stop and last == self.layout.classes:
                self._write_boxes(held, workspace)

    def _put_rows(self, start: int, values: Array, first: int, workspace: Workspace) -> None:
        stream, classes = workspace.file(self.path, "r+b", self._open), self.layout.classes
        if values.dtype != self.dtype:
            values = values.astype(self.dtype)
        whole = values.shape[1] == classes
        for place, rows in [(0, values)] if whole else list(enumerate(values)):
            self._write(stream, bytes_of(np.ascontiguousarray(rows)), (start + place) * classes + first)

    def _write_boxes(self, held: _Held, workspace: Workspace) -> None:
        stream, layout = workspace.file(self.path, "r+b", self._open), self.layout
        size, classes = np.dtype(self.dtype).itemsize, held.last - held.first
        for part in held.sections:
            box, begins = held.box(part), (part.outer * layout.classes + held.first) * layout.inner + part.left
            # What lies in the file without gaps is written at once.
            run = part.wide * (classes if part.wide == layout.inner else 1)
            run *= part.count if run == layout.classes * layout.inner else 1
            view = bytes_of(box)
            for n in range(box.size // run):
                outer, k = divmod(n * run // part.wide, classes)
                place = begins + (outer * layout.classes + k) * layout.inner
                self._write(stream, view[n * run * size : (n + 1) * run * size], place)

    def _open(self) -> BinaryIO:
        # Unbuffered: what does not fit on the disk is told at the write, and closing writes nothing.
        return Path(self.path).open("r+b", buffering=0)

    def _write(self, stream: BinaryIO, view: memoryview, place: int) -> None:
        stream.seek(self.offset + place * np.dtype(self.dtype).itemsize)
        while view:
            view = view[stream.write(view) :]


class _Held:
    """Some classes of a block's rows, in the workspace, as they will lie in the file: a box for each section."""

    def __init__(
        self, layout: Layout, start: int, stop: int, first: int, last: int, workspace: Workspace, dtype: str
    ) -> None:
        self.layout, self.start, self.first, self.last = layout, start, first, last
        self.sections = tuple(layout.sections(start, stop))
        self._numbers = workspace.take("held", ((stop - start) * (last - first),), dtype)

    def box(self, part: Section) -> Array:
        """Return the memory of a section: (count, classes, wide)."""
        classes = self.last - self.first
        numbers = self._numbers[part.place * classes : (part.place + part.rows) * classes]
        return numbers.reshape(part.count, classes, part.wide)

    def put(self, start: int, values: Array, first: int) -> None:
        """Copy some classes of some rows to their places."""
        for part in self.sections:
            begin = max(start, self.start + part.place)
            end = min(start + len(values), self.start + part.place + part.rows)
            for piece in self.layout.sections(begin, end):
                box = piece.within(self.box(part), part)[:, first - self.first : first - self.first + values.shape[1]]
                spread(values[begin - start + piece.place :][: piece.rows], box)


def npy_sink(stream: IO[bytes], shape: tuple[int, ...], axis: int | None, dtype: np.dtype[Any]) -> FileSink:
    """Write the header of a .npy file, take its room on the disk, and return the sink for its numbers.

    Parameters
    ----------
    stream : binary file
        New, and with a name that other threads and processes can open.
    shape : tuple of int
        Of the array.
    axis : int or None
        The axis of the classes; None for one number a row.
    dtype : numpy.dtype
        Of the array; one that NumPy has.

    Raises
    ------
    OSError
        When the disk has no room for it: now, and not after hours.
    """
    np.lib.format.write_array_header_1_0(
        stream, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    offset = stream.tell()
    return file_sink(stream, stream.name, offset, shape, axis, dtype)


def file_sink(
    stream: IO[bytes], path: str, offset: int, shape: tuple[int, ...], axis: int | None, dtype: np.dtype[Any]
) -> FileSink:
    """Take room on the disk for an array that begins at an offset of an open file; return the sink for it."""
    layout = _layout(shape, axis)
    stream.flush()
    size = offset + layout.rows * layout.classes * dtype.itemsize
    stream.truncate(size)
    if size > offset and hasattr(os, "posix_fallocate"):
        # Some file systems cannot; there a full disk is told when it is full.
        with contextlib.suppress(OSError) if not _keeps_promises(stream) else contextlib.nullcontext():
            os.posix_fallocate(stream.fileno(), 0, size)
    # Absolute: a worker elsewhere runs in another folder.
    return FileSink(str(Path(path).absolute()), offset, dtype.str, layout)


def _layout(shape: tuple[int, ...], axis: int | None) -> Layout:
    """Return the layout of an array in C order, of one number a row where there is no axis."""
    found = Layout(math.prod(shape), 1, 1) if axis is None else layout_of(shape, axis)
    assert found is not None
    return found


def _keeps_promises(stream: IO[bytes]) -> bool:
    """Whether the file system can take room beforehand: tried with one byte."""
    try:
        os.posix_fallocate(stream.fileno(), 0, 1)
    except OSError:
        return False
    return True
