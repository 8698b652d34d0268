"""An array where it lies: its shape and type are known, and none of its numbers is read yet."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.files import open_regular, reading
from stablemax.inputs.npy import CHUNK, MEMORY_LIMIT
from stablemax.inputs.source import ArrayFile
from stablemax.inputs.wording import size_of

if TYPE_CHECKING:
    from stablemax.formats import Array


@dataclass(frozen=True, eq=False)
class StoredArray:
    """A stored array: numbers without gaps in a file, or an array in memory.

    It can be sent to another process, which opens the file anew.

    Attributes
    ----------
    shape : tuple of int
        As stored.
    dtype : numpy.dtype
        As stored, byte order included.
    name : str
        Fit for a message.
    format : str
        npy, npz, csv, tsv, safetensors or parquet.
    memory : numpy.ndarray or None
        The array itself, where it is in memory.
    path : str
        Else the file: a local path, or an address (``scheme://``).
    offset : int
        Where in the file the numbers begin, in bytes.
    fortran_order : bool
        Whether the first axis varies fastest.
    labels : StoredArray or None
        The label column of a table, float64 (N,).
    notes : tuple of str
        What was found out, a sentence each.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str = "the array"
    format: str = "npy"
    memory: Array | None = None
    path: str = ""
    offset: int = 0
    fortran_order: bool = False
    labels: StoredArray | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, array: Array, name: str = "the array", **known: Any) -> StoredArray:
        """Describe an array in memory.

        Examples
        --------
        >>> StoredArray.of(np.zeros((2, 3), np.float32)).shape
        (2, 3)
        """
        return cls(array.shape, array.dtype, name, memory=array, **known)

    @property
    def size_bytes(self) -> int:
        """The bytes of its numbers: a Python integer of any size."""
        size = self.dtype.itemsize
        for n in self.shape:
            size *= n
        return size

    @property
    def is_remote(self) -> bool:
        """Whether the file has an address instead of a path."""
        return "://" in self.path

    def open(self) -> BinaryIO:
        """Open the file for reading bytes; it can seek, and the caller closes it.

        Raises
        ------
        StablemaxError
            When it is not there any more.
        """
        if self.is_remote:
            from stablemax.inputs.remote import open_address

            return open_address(self.path)
        return open_regular(self.path)

    def load(self) -> ArrayFile:
        """Return it as one array: mapped where that is possible, read where it is not.

        Raises
        ------
        StablemaxError
            When it cannot be mapped, or lies elsewhere and is too large to be held in memory.
        """
        labels = None if self.labels is None else self.labels.load().array
        return ArrayFile(self._array(), labels, self.name, self.notes, self.format)

    def _array(self) -> Array:
        if self.memory is not None:
            return self.memory
        size = self.size_bytes
        if size == 0:
            return self._shaped(b"", 0)
        with self.open() as stream, reading(self.name):
            if self.is_remote:
                return self._shaped(self._read(stream, size), 0)
            try:
                whole = mmap.mmap(stream.fileno(), self.offset + size, access=mmap.ACCESS_READ)
            except (ValueError, OverflowError, MemoryError):
                raise StablemaxError(
                    f"{self.name}: {size_of(size)} cannot be mapped here", "save fewer rows at a time"
                ) from None
        return self._shaped(whole, self.offset)

    def _read(self, stream: BinaryIO, size: int) -> bytearray:
        if size > MEMORY_LIMIT:
            raise StablemaxError(
                f"{self.name}: holds {size_of(size)}; at most {MEMORY_LIMIT:,} are held in memory here",
                "loss, softmax, log-softmax, logsumexp, grad and inspect take it in pieces; or copy it to a local disk",
            )
        stream.seek(self.offset)
        data = bytearray()
        while len(data) < size and (piece := stream.read(min(CHUNK, size - len(data)))):
            data += piece
        if len(data) < size:
            raise ends_early(self.name)
        return data

    def _shaped(self, data: bytes | bytearray | mmap.mmap, offset: int) -> Array:
        order: Literal["F", "C"] = "F" if self.fortran_order else "C"
        result: Array = np.ndarray(self.shape, self.dtype, data, offset, None, order)
        result.flags.writeable = False
        return result


def ends_early(name: str) -> StablemaxError:
    """Word the error for a file that became shorter than it was when it was opened."""
    return StablemaxError(f"{name}: ends before its array does", "is it still being written? copy it again")
