"""Where the blocks of a large result go: an array in memory, or a file that is written in place."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import numpy as np

from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.row_layout import IN_PLACE_BYTES, Place, RowLayout, layout_of, move, spread, turn
from stablemax.inputs.spooled import take_room
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError, shown


class Sink(Protocol):
    """A destination of blocks of rows, which come in any order and do not overlap."""

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return memory (stop - start, last - first) for a block, to be filled and then `put`."""
        ...

    def put(self, start: int, values: Array, workspace: Workspace, *, first: int = 0) -> None:
        """Keep a block that `room` gave the memory for: its rows from `start`, their classes from `first` on."""
        ...


@dataclass(frozen=True, eq=False)
class MemorySink:
    """An array in memory."""

    array: Array  #: of the shape of the logits, or of that shape without the classes; without gaps
    axis: int | None  #: the axis of the classes in it; None for one number a row

    @cached_property
    def _layout(self) -> RowLayout:
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

    def put(self, start: int, values: Array, workspace: Workspace, *, first: int = 0) -> None:  # noqa: ARG002 - as FileSink
        """Copy a block to its place in the array, unless `room` gave a view of it."""
        if np.may_share_memory(self.array, values):
            return
        last = first + values.shape[1]
        for section in self._layout.sections(start, start + len(values)):
            box = self._box[section.outer : section.outer + section.count, first:last, section.left : section.right]
            spread(values[section.place : section.place + section.rows], box)


@dataclass(frozen=True)
class FileSink:
    """A file that has its full size already; every worker writes its own blocks."""

    path: str
    offset: int  #: where in the file the numbers begin, in bytes
    dtype: str  #: what is written; blocks of another format are converted
    layout: RowLayout  #: of the rows in the file

    @property
    def size_bytes(self) -> int:
        """The bytes of the numbers."""
        return math.prod(self.layout.box) * np.dtype(self.dtype).itemsize

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return memory of the workspace."""
        end = self.layout.classes if last is None else last
        return workspace.take("result", (stop - start, end - first), self.dtype if dtype is None else dtype)

    def put(self, start: int, values: Array, workspace: Workspace, *, first: int = 0) -> None:
        """Write a block to its place in the file."""
        place = Place(workspace.file(self.path, "r+b", self.open), self.offset)
        if values.dtype != self.dtype:
            values = values.astype(self.dtype)
        for section in self.layout.sections(start, start + len(values)):
            rows, shape = values[section.place :][: section.rows], (section.count, values.shape[1], section.wide)
            if self.layout.is_plain:
                tile = np.ascontiguousarray(rows).reshape(shape)
            else:
                tile = workspace.take("tile", shape, self.dtype)
                spread(rows, tile)
            move(place, tile, (section.outer, first, section.left), self.layout.box, write=True)

    def open(self) -> BinaryIO:
        """Open the file, unbuffered: what does not fit on the disk shows at the write, and closing writes nothing."""
        return Path(self.path).open("r+b", buffering=0)


@contextlib.contextmanager
def in_row_order(sink: Sink) -> Iterator[Sink]:
    """Give a sink whose rows are contiguous; for a large file whose rows are not, the rows are transposed at the end.

    Until then they are in a file beside it, which every worker that can write the one can write too.
    """
    if not isinstance(sink, FileSink) or sink.layout.is_plain or sink.size_bytes <= IN_PLACE_BYTES:
        yield sink
        return
    layout, path = sink.layout, Path(f"{sink.path}.rows")
    try:
        try:
            with path.open("xb") as stream:
                rows = file_sink(stream, str(path), 0, (layout.rows, layout.classes), 1, np.dtype(sink.dtype))
        except OSError as error:
            raise StablemaxError(
                f"{shown(sink.path)}: {size_of(sink.size_bytes)} beside it cannot be written ({error.strerror})",
                "a result whose classes are not on the last axis needs twice its room: choose another place",
            ) from None
        yield rows
        with rows.open() as source, sink.open() as target:
            box = layout.outer, layout.inner, layout.classes
            turn(Place(source), Place(target, sink.offset), box, np.dtype(sink.dtype).itemsize)
    finally:
        path.unlink(missing_ok=True)


def npy_sink(stream: IO[bytes], shape: tuple[int, ...], axis: int | None, dtype: np.dtype[Any]) -> FileSink:
    """Write the header of a .npy file, take its room on the disk, and return the sink for its numbers."""
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
    take_room(stream, offset + layout.rows * layout.classes * dtype.itemsize)
    # Absolute: a worker elsewhere runs in another folder.
    return FileSink(str(Path(path).absolute()), offset, dtype.str, layout)


def _layout(shape: tuple[int, ...], axis: int | None) -> RowLayout:
    """Return the layout of an array in C order, of one number a row where there is no axis."""
    layout = RowLayout(math.prod(shape), 1, 1) if axis is None else layout_of(shape, axis)
    assert layout is not None
    return layout
