"""Messages over a pipe: pickles in frames, so that foreign bytes on it are told from an answer."""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from typing import Any

LOST_PIPE, NO_MEMORY = 113, 114
"""Exit codes of a process that has no other way left to say what happened."""
_MAGIC = b"stablemax 1 "
# What stands before each pickle: the mark, the pickle's length in bytes and its checksum.
_HEADER = struct.Struct(f">{len(_MAGIC)}sQI")
_CHUNK = 1 << 20
# Code that writes to or closes descriptors by their numbers takes small ones.
_FIRST_PRIVATE = (512, 128, 3)


class NoMessageError(Exception):
    """What came over a pipe is no message: somebody else wrote into it, or it ended in the middle of one."""


def private(descriptor: int) -> int:
    """Return a copy of a descriptor with a large number, which no program that this process starts inherits."""
    try:
        import fcntl
    except ImportError:
        return os.dup(descriptor)
    for first in _FIRST_PRIVATE:
        try:
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, first)
        except OSError:  # the process may not have so many
            continue
    return os.dup(descriptor)


def framed(message: object) -> bytes:
    """Return a message as the bytes that travel."""
    body = pickle.dumps(message)
    return _HEADER.pack(_MAGIC, len(body), zlib.crc32(body)) + body


def send(descriptor: int, frame: bytes) -> None:
    """Write a frame, however much of it the pipe takes at a time."""
    left = memoryview(frame)
    while left:
        left = left[os.write(descriptor, left[:_CHUNK]) :]


def receive(descriptor: int) -> Any:
    """Wait for a message; raise EOFError where the other end closed, `NoMessageError` where it is none."""
    header = _read(descriptor, _HEADER.size)
    if not header:
        raise EOFError
    if len(header) < _HEADER.size:
        raise NoMessageError
    magic, length, checksum = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise NoMessageError
    body = _read(descriptor, length)
    if len(body) < length or zlib.crc32(body) != checksum:
        raise NoMessageError
    try:
        return pickle.loads(body)  # noqa: S301 - from our own process at the other end
    except MemoryError:
        raise
    except Exception:  # an unpickler may raise anything
        raise NoMessageError from None


def _read(descriptor: int, length: int) -> bytearray:
    """Read so many bytes; fewer where the pipe ends before."""
    data = bytearray()
    while len(data) < length and (chunk := os.read(descriptor, min(length - len(data), _CHUNK))):
        data += chunk
    return data
