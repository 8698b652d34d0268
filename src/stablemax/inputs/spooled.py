"""Numbers that come in once and are read many times: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from stablemax.inputs.file_format import IN_MEMORY
from stablemax.inputs.foreign_text import brief, size_of
from stablemax.inputs.regular_file import CHUNK, Readable, pieces_of, reading, reason_of
from stablemax.inputs.stored import SpooledPath, StoredArray, ends_early
from stablemax.inputs.workspace import bytes_of
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import hint_of

if TYPE_CHECKING:
    from stablemax.inputs.temporary_folder import TemporaryFolder

DOWNLOADED = 4 * 2**20
"""Bytes that one request asks a server for: enough that waiting for an answer is worth it."""
EXPANSION = 1000
"""How many times its own size a file of more than `IN_MEMORY` bytes may declare."""
_ROOM = "set TMPDIR to a folder on a disk with more room"


def _new_file() -> tuple[int, SpooledPath, weakref.finalize[[str, int, TemporaryFolder], SpooledPath]]:
    """Make a temporary file; return it open, its path and what removes it."""
    # Loading tempfile takes as long as reading a small array, which does not need it.
    import tempfile

    from stablemax.inputs.temporary_folder import temporary_folder

    temporary_directory()  # refuses a machine without any
    folder = temporary_folder()
    descriptor, name = tempfile.mkstemp(dir=folder.path)
    path = SpooledPath(name)
    return descriptor, path, weakref.finalize(path, _remove, name, os.getpid(), folder)


def _remove(path: str, owner: int, folder: TemporaryFolder) -> None:  # noqa: ARG001 - the folder is kept until then
    # A forked process has a copy of the path and does not own the file.
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - also called while the interpreter ends


class Spool:
    """Spool of bytes: in memory up to a limit, then in a temporary file, which a ``with`` block that fails removes.

    >>> import numpy as np
    >>> with Spool("logits.csv") as spool:
    ...     spool.write(np.array([1.5, 2.5]))
    ...     stored = spool.stored((2, 1), np.dtype(float))
    >>> stored.array
    array([[1.5],
           [2.5]])
    """

    def __init__(self, name: str, in_memory: int = IN_MEMORY) -> None:
        self.name = name
        self._limit = in_memory
        self._memory = bytearray()
        self._path: SpooledPath | None = None
        self._descriptor = -1
        self._finalizer: weakref.finalize[[str, int, TemporaryFolder], SpooledPath] | None = None

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
        """Add bytes, or the bytes of an array that is contiguous in C order; a full disk is refused in words."""
        piece = memoryview(data) if isinstance(data, bytes) else bytes_of(data)
        if self._path is None and len(self._memory) + len(piece) <= self._limit:
            self._memory += piece
        else:
            self._write_to_file(piece)

    def fill(self, stream: Readable, count: int | None = None, size: int = CHUNK) -> int:
        """Add at most `count` bytes of a stream, or all, `size` at a time; return how many came."""
        written = 0
        for piece in pieces_of(stream, count, size):
            self.write(piece)
            written += len(piece)
        return written

    @property
    def path(self) -> SpooledPath:
        """The file: what is in memory goes there first."""
        return self._path or self._write_to_file(memoryview(b""))

    def reserve(self, size: int) -> None:
        """Take room on the disk, so that a full disk is refused before the work."""
        path = self.path
        with disk_errors(self.name), open(path, "r+b") as file:  # noqa: PTH123 - a path stays text
            take_room(file, size)

    def _write_to_file(self, data: memoryview) -> SpooledPath:
        with disk_errors(self.name):
            if self._path is None:
                self._descriptor, self._path, self._finalizer = _new_file()
            for rest in (memoryview(self._memory), data):
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]  # noqa: PLW2901 - what is left of it
            self._memory = bytearray()
            return self._path

    def stored(self, shape: tuple[int, ...], dtype: np.dtype[Any], **known: Any) -> StoredArray:
        """Describe what was written as an array; `known` is what else `StoredArray` takes."""
        stored = StoredArray(shape, dtype, self.name, path=self._path or "", **known)
        return replace(stored, memory=stored.shaped(self._memory or b"", 0)) if self._path is None else stored


def temporary_directory() -> str:
    """Find the folder of temporary files; refuse to go on without one."""
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:
        raise StablemaxError("there is no folder that temporary files can be written to", _ROOM) from None


@contextlib.contextmanager
def disk_errors(name: str) -> Iterator[None]:
    """Turn what the operating system reports while numbers of a file are kept in a temporary one into words."""
    try:
        yield
    except OSError as error:
        folder, reason = brief(temporary_directory(), 200), reason_of(error)
        raise StablemaxError(
            f"{name}: its numbers cannot be kept in a temporary file in {folder} ({reason})", hint_of(error, _ROOM)
        ) from None


def take_room(file: IO[bytes], size: int) -> None:
    """Give a file its length and take the room on the disk, so that a full disk shows before the work.

    Some file systems cannot take room, which one byte finds out; there a full disk shows at a write.
    """
    file.truncate(size)
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, 1)
    except OSError:
        return
    os.posix_fallocate(file.fileno(), 0, size)


def check_room(size: int, name: str) -> None:
    """Refuse at once what the disk of temporary files cannot hold; `size` is in bytes.

    >>> check_room(10**30, "dump.npz:logits")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: dump.npz:logits: more than 10**24 bytes do not fit ...
    """
    if size <= IN_MEMORY:
        return
    import shutil

    folder = temporary_directory()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StablemaxError(
            f"{name}: {size_of(size)} do not fit into {brief(folder, 200)}, where {size_of(free)} are free", _ROOM
        )


def check_expanded(declared: int, held: int, name: str, cure: str, *, force: bool | None) -> None:
    """Refuse a file that declares over a thousand times the bytes that it holds, once they are many, unless forced.

    Deflate reaches 1,032, and only for what is one number over and over.

    >>> check_expanded(2**30, 2**20, "dump.npz:logits", "unzip it first", force=False)
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: dump.npz:logits: 1,048,576 bytes claim to hold 1,073,741,824 bytes
    """
    if not force and declared > IN_MEMORY and declared > EXPANSION * held:
        option = "" if force is None else "--force reads it; or "
        raise StablemaxError(f"{name}: {size_of(held)} claim to hold {size_of(declared)}", option + cure)


def downloaded(stored: StoredArray) -> StoredArray:
    """Copy the numbers of a stored array into a temporary file.

    >>> import numpy as np
    >>> with Spool("x.npy", in_memory=0) as spool:
    ...     spool.write(np.array([1.5, 2.5]))
    ...     there = spool.stored((1, 2), np.dtype(float))
    >>> here = downloaded(there)
    >>> here.path != there.path, here.array
    (True, array([[1.5, 2.5]]))
    """
    check_room(stored.size_bytes, stored.name)
    with Spool(stored.name, in_memory=-1) as spool, stored.open() as stream, reading(stored.name):
        stream.seek(stored.offset)
        if spool.fill(stream, stored.size_bytes, DOWNLOADED) < stored.size_bytes:
            raise ends_early(stored.name)
        return replace(stored, path=spool.path, version=None, offset=0)


def at_hand(stored: StoredArray) -> StoredArray:
    """Return an array whose numbers need no more memory than `IN_MEMORY`: it, or a copy in a temporary file.

    The file that a user named is not mapped: who cuts it short would end this process by SIGBUS.
    """
    is_ready = stored.memory is not None or stored.is_temporary or stored.size_bytes <= IN_MEMORY
    return stored if is_ready else downloaded(stored)
