"""Where the blocks of a large result go: an array in memory, or a file that is written in place."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from stablemax.inputs.rows import Layout, layout_of
from stablemax.workspace import bytes_of

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.workspace import Workspace


class Sink(Protocol):
    """Takes blocks of rows in any order; blocks do not overlap."""

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return memory (stop - start, last - first) for a block, to be filled and then `put`."""
        ...

    def put(self, start: int, values: Array, workspace: Workspace, *, first: int = 0) -> None:
        """Keep a block that `room` gave the memory for."""
        ...


@dataclass(frozen=True, eq=False)
class MemorySink:
    """An array in memory.

    Attributes
    ----------
    array : ndarray
        Of the shape of the logits, or of that shape without the classes.
    axis : int or None
        The axis of the classes in it; None for one number a row.
    """

    array: Array
    axis: int | None

    @property
    def _moved(self) -> Array:
        return self.array[..., np.newaxis] if self.axis is None else np.moveaxis(self.array, self.axis, -1)

    @property
    def _rows(self) -> Array | None:
        """The array as (N, K), where that is a view of it."""
        moved = self._moved
        try:
            return moved.reshape(-1, moved.shape[-1], copy=False)
        except ValueError:
            return None

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return a view of the array, where the rows lie in it one after the other."""
        rows = self._rows
        end = self._moved.shape[-1] if last is None else last
        if rows is not None and dtype in (None, self.array.dtype):
            return rows[start:stop, first:end]
        return workspace.take("result", (stop - start, end - first), self.array.dtype if dtype is None else dtype)

    def put(self, start: int, values: Array, workspace: Workspace, *, first: int = 0) -> None:  # noqa: ARG002 - as FileSink
        """Copy a block to its place, if it is not there already."""
        rows, stop, last = self._rows, start + len(values), first + values.shape[1]
        if rows is None:
            moved = self._moved
            places = np.unravel_index(np.arange(start, stop), moved.shape[:-1])
            for row, place in enumerate(zip(*places, strict=True)):
                moved[(*place, slice(first, last))] = values[row]
        elif not np.may_share_memory(rows, values):
            rows[start:stop, first:last] = values


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

    def room(
        self, start: int, stop: int, workspace: Workspace, *, first: int = 0, last: int | None = None, dtype: Any = None
    ) -> Array:
        """Return memory of the workspace."""
        end = self.layout.classes if last is None else last
        return workspace.take("result", (stop - start, end - first), self.dtype if dtype is None else dtype)

    def put(self, start: int, values: Array, workspace: Workspace, *, first: int = 0) -> None:
        """Write a block to its place in the file."""
        stream = workspace.file(self.path, "r+b", self._open)
        layout, size = self.layout, np.dtype(self.dtype).itemsize
        if values.dtype != self.dtype:
            values = values.astype(self.dtype)
        if layout.is_plain:
            whole = values.shape[1] == layout.classes
            for place, rows in [(0, values)] if whole else list(enumerate(values)):
                self._write(stream, rows, ((start + place) * layout.classes + first) * size)
            return
        for outer, left, right, place in layout.strips(start, start + len(values)):
            strip = workspace.take("strip", (values.shape[1], right - left), self.dtype)
            np.copyto(strip, values[place : place + right - left].T)
            for k in range(len(strip)):
                begins = (outer * layout.classes + first + k) * layout.inner + left
                self._write(stream, strip[k], begins * size)

    def _open(self) -> BinaryIO:
        # Unbuffered: what does not fit on the disk is told at the write, and closing writes nothing.
        return Path(self.path).open("r+b", buffering=0)

    def _write(self, stream: BinaryIO, values: Array, place: int) -> None:
        stream.seek(self.offset + place)
        view = bytes_of(np.ascontiguousarray(values))
        while view:
            view = view[stream.write(view) :]


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
    layout = Layout(int(np.prod(shape, dtype=object)), 1, 1) if axis is None else layout_of(shape, axis)
    assert layout is not None
    stream.flush()
    size = offset + layout.rows * layout.classes * dtype.itemsize
    stream.truncate(size)
    if size > offset and hasattr(os, "posix_fallocate"):
        # Some file systems cannot; there a full disk is told when it is full.
        with contextlib.suppress(OSError) if not _keeps_promises(stream) else contextlib.nullcontext():
            os.posix_fallocate(stream.fileno(), 0, size)
    # Absolute: a worker elsewhere runs in another folder.
    return FileSink(str(Path(path).absolute()), offset, dtype.str, layout)


def _keeps_promises(stream: IO[bytes]) -> bool:
    """Whether the file system can take room beforehand: tried with one byte."""
    try:
        os.posix_fallocate(stream.fileno(), 0, 1)
    except OSError:
        return False
    return True
