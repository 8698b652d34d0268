"""An array where it lies: its shape and type are known, and none of its numbers is read yet."""

from __future__ import annotations

import io
import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.regular_file import Version, open_file, pieces_of, reading, version_of
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError

_STILL_WRITTEN = "is it still being written? copy it again"


class SpooledPath(str):
    """The path of a temporary file, which is removed when nobody holds the path any more.

    Whoever can name the file keeps it: a stored array, its copies, the rows made of it. A copy of the path in another
    process does not keep it.
    """


@dataclass(frozen=True, eq=False)
class StoredArray:
    """A stored array: numbers without gaps in a file, or an array in memory.

    It can be sent to another process, which opens the file anew.
    """

    shape: tuple[int, ...]
    #: As stored, byte order included.
    dtype: np.dtype[Any]
    #: The name that messages show.
    name: str = "the array"
    #: The name of a `FileFormat`.
    format: str = "npy"
    #: The array itself, where it is in memory.
    memory: Array | None = None
    #: The file of an array that is not in memory: a local path, or an address (``scheme://``).
    path: str = ""
    #: What tells that the file is still the same; None where nothing does.
    version: Version | None = None
    #: Where in the file the numbers begin, in bytes.
    offset: int = 0
    #: Whether the first axis varies fastest.
    fortran_order: bool = False
    #: The label column of a table, float64 (N,).
    labels: StoredArray | None = None
    #: Names of the classes, in the header of a table.
    class_names: tuple[str, ...] = ()
    #: What was found out, a sentence each.
    notes: tuple[str, ...] = ()
    #: Decompresses the numbers, where that is still to be done: shapes are compared before.
    unread: Callable[[], StoredArray] | None = None
    #: How long the server of an address may be silent.
    timeout_s: float = TIMEOUT_S

    @classmethod
    def of(cls, array: Array, name: str = "the array", **known: Any) -> StoredArray:
        """Describe an array in memory.

        >>> StoredArray.of(np.zeros((2, 3), np.float32)).shape
        (2, 3)
        """
        return cls(array.shape, array.dtype, name, memory=array, **known)

    def read_in(self) -> StoredArray:
        """Return the array with its numbers where they can be read by offset."""
        return self if self.unread is None else self.unread()

    @property
    def size_bytes(self) -> int:
        """The bytes of its numbers: a Python integer of any size."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_remote(self) -> bool:
        """Whether the file has an address instead of a path."""
        return "://" in self.path

    @property
    def is_temporary(self) -> bool:
        """Whether the file is a temporary one of ours, which no stranger cuts short."""
        return isinstance(self.path, SpooledPath)

    def open(self) -> BinaryIO:
        """Open the file for reading bytes; it can seek, and the caller closes it; a changed file is refused."""
        stream = open_file(self.path, self.timeout_s)
        if self.version is not None and version_of(stream) != self.version:
            stream.close()
            raise StablemaxError(f"{self.name}: was changed while it was read", _STILL_WRITTEN)
        return stream

    def open_raw(self) -> BinaryIO:
        """Open the file without a buffer, for many small reads."""
        stream = self.open()
        return cast("BinaryIO", stream.detach()) if isinstance(stream, io.BufferedReader) else stream

    @cached_property
    def array(self) -> Array:
        """All its numbers as one array, not to be written to: mapped where the file is ours, else read."""
        if self.memory is not None:
            return self.memory
        size = self.size_bytes
        if size == 0:
            return self.shaped(b"", 0)
        with self.open() as stream, reading(self.name):
            if not self.is_temporary:
                return self.shaped(self._read(stream, size), 0)
            try:
                whole = mmap.mmap(stream.fileno(), self.offset + size, access=mmap.ACCESS_READ)
            except (ValueError, OverflowError, MemoryError):
                raise StablemaxError(
                    f"{self.name}: {size_of(size)} cannot be mapped here", "save fewer rows at a time"
                ) from None
        return self.shaped(whole, self.offset)

    def __getstate__(self) -> dict[str, Any]:
        # A memory map stays in its process.
        return {key: value for key, value in self.__dict__.items() if key != "array"}

    def _read(self, stream: BinaryIO, size: int) -> bytearray:
        stream.seek(self.offset)
        data = bytearray()
        for piece in pieces_of(stream, size):
            data += piece
        if len(data) < size:
            raise ends_early(self.name)
        return data

    def shaped(self, data: bytes | bytearray | mmap.mmap, offset: int) -> Array:
        """Return bytes as an array of this shape and type, not to be written to."""
        order: Literal["F", "C"] = "F" if self.fortran_order else "C"
        result: Array = np.ndarray(self.shape, self.dtype, data, offset, None, order)
        result.flags.writeable = False
        return result


def ends_early(name: str) -> StablemaxError:
    """Word the error for a file that became shorter than it was when it was opened."""
    return StablemaxError(f"{name}: ends before its array does", _STILL_WRITTEN)
