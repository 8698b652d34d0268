"""Numbers that come in once and are read many times: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.files import reading
from stablemax.inputs.npy import CHUNK
from stablemax.inputs.stored import StoredArray, ends_early
from stablemax.inputs.wording import brief, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from stablemax.formats import Array
    from stablemax.inputs.npy import Readable

IN_MEMORY = 64 * 2**20
"""Most bytes that are kept in memory."""
DOWNLOADED = 4 * 2**20
"""Bytes that a server is asked for at once: enough that waiting for its answers is worth it."""
_ROOM = "set TMPDIR to a folder on a disk with more room"


class SpooledPath(str):
    """The path of a temporary file, which is removed when nobody holds the path any more.

    Whoever can name the file keeps it: a stored array, its copies, the rows made of it. A copy of
    the path in another process does not keep it.
    """


def _remove(path: str, owner: int) -> None:
    # A forked process has a copy of everything and owns nothing.
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - also called while the interpreter ends


class Spool:
    """Take in bytes of any number in bounded memory.

    Used in a ``with`` block; the file of a block that fails is removed at once.

    Parameters
    ----------
    name : str
        What the numbers come from, fit for a message.
    in_memory : int
        Most bytes that are kept in memory.

    Examples
    --------
    >>> with Spool("logits.csv") as spool:
    ...     spool.write(np.array([1.5, 2.5]))
    ...     stored = spool.stored((2, 1), np.dtype(float))
    >>> stored.load().array
    array([[1.5],
           [2.5]])
    """

    def __init__(self, name: str, in_memory: int = IN_MEMORY) -> None:
        self.name = name
        self._limit = in_memory
        self._memory = bytearray()
        self._path: SpooledPath | None = None
        self._descriptor = -1
        self._finalizer: weakref.finalize[[str, int], SpooledPath] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if kind is not None and self._finalizer is not None:
            self._finalizer()

    def write(self, data: bytes | Array) -> None:
        """Add bytes, or the bytes of an array that is contiguous in C order.

        Raises
        ------
        StablemaxError
            When the disk is full.
        """
        piece = memoryview(data) if isinstance(data, bytes) else data.data
        # An array without entries cannot be cast.
        piece = piece.cast("B") if piece.nbytes else memoryview(b"")
        if self._path is None and len(self._memory) + len(piece) <= self._limit:
            self._memory += piece
            return
        try:
            if self._path is None:
                self._create()
                self._pour(memoryview(self._memory))
                self._memory = bytearray()
            self._pour(piece)
        except OSError as problem:
            reason = brief(problem.strerror or type(problem).__name__, 120)
            raise StablemaxError(
                f"{self.name}: its numbers cannot be kept in a temporary file in {brief(_folder(), 200)} ({reason})",
                _ROOM,
            ) from None

    def _create(self) -> None:
        # The name is chosen, and its removal arranged, before the file is there.
        path = SpooledPath(os.path.join(_folder(), f"stablemax-{os.urandom(8).hex()}"))  # noqa: PTH118
        self._finalizer = weakref.finalize(path, _remove, str(path), os.getpid())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(path, flags, 0o600)
        self._path = path

    def _pour(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    @property
    def path(self) -> SpooledPath:
        """The file; there is one where nothing is kept in memory."""
        if self._path is None:
            raise ValueError("the bytes are in memory")
        return self._path

    def stored(self, shape: tuple[int, ...], dtype: np.dtype[Any], **known: Any) -> StoredArray:
        """Describe what was written as an array.

        Parameters
        ----------
        shape : tuple of int
            As many numbers as were written.
        dtype : numpy.dtype
            Theirs.
        **known
            What else `StoredArray` takes: format, fortran_order, labels, notes, name.

        Returns
        -------
        StoredArray
        """
        known.setdefault("name", self.name)
        if self._path is not None:
            return StoredArray(shape, dtype, path=self._path, **known)
        order: Literal["F", "C"] = "F" if known.get("fortran_order") else "C"
        array: Array = np.ndarray(shape, dtype, self._memory or b"", order=order)
        array.flags.writeable = False
        return StoredArray(shape, dtype, memory=array, **known)


def _folder() -> str:
    # Loading tempfile and shutil takes as long as reading a small array, which needs neither.
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:
        raise StablemaxError("there is no folder that temporary files can be written to", _ROOM) from None


def check_room(size: int, name: str) -> None:
    """Refuse at once what the disk of temporary files cannot hold.

    Parameters
    ----------
    size : int
        Bytes that will come, as far as is known.
    name : str
        For the message.

    Raises
    ------
    StablemaxError
        When there is less room.

    Examples
    --------
    >>> check_room(10**30, "dump.npz:logits")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: dump.npz:logits: more than 10**24 bytes do not fit ...
    """
    if size <= IN_MEMORY:
        return
    import shutil

    folder = _folder()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StablemaxError(
            f"{name}: {size_of(size)} do not fit into {brief(folder, 200)}, where {size_of(free)} are free", _ROOM
        )


def downloaded(stored: StoredArray) -> StoredArray:
    """Copy the numbers of a stored array, which lie behind an address, into a temporary file.

    Parameters
    ----------
    stored : StoredArray
        It has a path.

    Returns
    -------
    StoredArray
        The same but for the place.

    Raises
    ------
    StablemaxError
        When they cannot be read, or do not fit on the disk.

    Examples
    --------
    >>> with Spool("x.npy", in_memory=0) as spool:
    ...     spool.write(np.array([1.5, 2.5]))
    ...     there = spool.stored((1, 2), np.dtype(float))
    >>> here = downloaded(there)
    >>> here.path != there.path, here.load().array
    (True, array([[1.5, 2.5]]))
    """
    check_room(stored.size_bytes, stored.name)
    left = stored.size_bytes
    with Spool(stored.name, in_memory=0) as spool, stored.open() as stream, reading(stored.name):
        stream.seek(stored.offset)
        while left:
            piece = stream.read(min(DOWNLOADED, left))
            if not piece:
                raise ends_early(stored.name)
            spool.write(piece)
            left -= len(piece)
        return spool.stored(
            stored.shape,
            stored.dtype,
            format=stored.format,
            fortran_order=stored.fortran_order,
            labels=stored.labels,
            notes=stored.notes,
        )


@contextlib.contextmanager
def copied(stream: Readable, name: str) -> Iterator[SpooledPath]:
    """Copy a stream that cannot seek into a temporary file; a block that fails removes it at once.

    Parameters
    ----------
    stream : Readable
        Read to its end.
    name : str
        For messages.

    Yields
    ------
    SpooledPath

    Examples
    --------
    >>> import io
    >>> with copied(io.BytesIO(b"abc"), "standard input") as path, open(path, "rb") as file:
    ...     file.read()
    b'abc'
    """
    with Spool(name, in_memory=-1) as spool:
        spool.write(b"")
        while piece := stream.read(CHUNK):
            spool.write(piece)
        yield spool.path
