"""Opening and reading what a user named: regular files only, so that nothing hangs and sizes mean something."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from stablemax.inputs.foreign_text import brief, file_name
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.inputs.spec import is_address
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import hint_of

CHUNK = 2**20
"""Bytes that are read at a time."""
# O_NONBLOCK: a FIFO without a writer must not hang; O_NOCTTY: a terminal must not become ours.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_KINDS = (
    (stat.S_ISDIR, "a directory", "name a file inside it"),
    (stat.S_ISFIFO, "a pipe (FIFO)", "pipe into standard input instead: `... | stablemax ... -`"),
    (stat.S_ISSOCK, "a socket", "save its data to a file first"),
    (stat.S_ISCHR, "a device", "copy its data to a file first, or use `-` for standard input"),
    (stat.S_ISBLK, "a device", "copy its data to a file first"),
)


def _refuse_irregular(mode: int, shown_name: str) -> None:
    if stat.S_ISREG(mode):
        return
    for test, kind, hint in _KINDS:
        if test(mode):
            raise StablemaxError(f"{shown_name}: is {kind}, not a file", hint)
    raise StablemaxError(f"{shown_name}: is not a regular file", "copy its data to a file first")


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading bytes; the caller closes it.

    Directories, FIFOs, devices, sockets, missing and unreadable files are refused, and none of them can hang the
    program.

    >>> open_regular("no-such-file.npy")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: no-such-file.npy: no such file
    """
    name = file_name(path)
    try:
        # Asked before opening, because opening some devices already has an effect; asked again
        # of the open file, because the name may mean another file by then.
        _refuse_irregular(os.stat(path).st_mode, name)  # noqa: PTH116 - a path typed by a user stays text
        stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _FLAGS))  # noqa: SIM115
    except FileNotFoundError:
        raise StablemaxError(
            f"{name}: no such file", "check the path; it is taken from the current directory"
        ) from None
    except PermissionError:
        raise StablemaxError(f"{name}: permission denied", "make the file readable: chmod u+r FILE") from None
    except OSError as error:
        raise StablemaxError(
            f"{name}: cannot be opened ({reason_of(error)})", hint_of(error, "check the path")
        ) from None
    except ValueError:  # a NUL or a lone surrogate in the path
        raise StablemaxError(f"{name}: is not a possible file name", "check the path") from None
    try:
        _refuse_irregular(os.fstat(stream.fileno()).st_mode, name)
    except BaseException:
        stream.close()
        raise
    return stream


def open_file(path: str, timeout_s: float = TIMEOUT_S) -> BinaryIO:
    """Open a file at a path or an address for reading bytes; it can seek, and the caller closes it."""
    if is_address(path):
        from stablemax.inputs.remote import open_address

        return open_address(path, timeout_s)
    return open_regular(path)


Version = tuple[int, object]
"""What tells one state of a file from another: its length in bytes, and when it was changed, or what a server says."""


def version_of(stream: BinaryIO) -> Version | None:
    """Return what tells that a file is still the same; None where nothing does."""
    try:
        about = os.fstat(stream.fileno())
    except OSError:
        version: Version | None = getattr(getattr(stream, "raw", None), "version", None)
        return version
    return about.st_size, about.st_mtime_ns


class Readable(Protocol):
    """Anything with `read(n)` that gives bytes."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Read at most `size` bytes."""
        ...


def pieces_of(stream: Readable, count: int | None = None, size: int = CHUNK) -> Iterator[bytes]:
    """Read at most `count` bytes of a stream, or all, some at a time: memory grows with what arrives."""
    left = count
    while left != 0 and (piece := stream.read(size if left is None else min(size, left))):
        left = None if left is None else left - len(piece)
        yield piece


def read_exactly(stream: Readable, count: int) -> bytes:
    """Read `count` bytes, or fewer where the stream ends before.

    >>> import io
    >>> read_exactly(io.BytesIO(b"abc"), 5)
    b'abc'
    """
    return b"".join(pieces_of(stream, count))


def length_of(stream: BinaryIO) -> int:
    """Return the length of a file in bytes; its position stays.

    >>> import io
    >>> length_of(io.BytesIO(b"abc"))
    3
    """
    here = stream.tell()
    length = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return length


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what the operating system reports while a file is read into a StablemaxError.

    >>> with reading("logits.csv"):
    ...     raise OSError(5, "Input/output error")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: logits.csv: cannot be read (Input/output error)
    """
    try:
        yield
    except OSError as error:
        raise StablemaxError(
            f"{name}: cannot be read ({reason_of(error)})",
            hint_of(error, "copy the file to a local disk and try again"),
        ) from None


def reason_of(error: OSError) -> str:
    """Show what the operating system says of its error."""
    return brief(error.strerror or type(error).__name__, 120)
