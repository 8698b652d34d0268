"""What one worker keeps from block to block: buffers, and the files it reads and writes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from stablemax.numerics.formats import Array

OPEN_FILES = 8
"""Files a worker keeps open: inputs of thousands of shards must not run out of descriptors."""

_APART = 1 << 15
"""Bytes before and after a buffer. A vectorised loop is run where its arrays do not overlap, and a compiler's bounds
reach up to 16 KiB beyond an array's end: beside another buffer a loop of ours took three times as long."""


class Workspace:
    """Buffers and open files of one worker; never shared between threads.

    Fresh memory costs a page fault for every 4 KiB, which at the speed of these kernels is as much
    as a pass over the numbers; memory that is used again costs nothing.

    >>> with Workspace() as workspace:
    ...     first = workspace.take("logits", (2, 3))
    ...     again = workspace.take("logits", (3,), np.float32)
    >>> again.base is first.base, again.dtype
    (True, dtype('float32'))
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}
        self._files: dict[tuple[str, str], BinaryIO] = {}

    def take(self, purpose: str, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
        """Return uninitialised memory; what an earlier call for the same purpose gave is overwritten."""
        wanted = np.dtype(dtype)
        size = math.prod(shape) * wanted.itemsize
        held = self._buffers.get(purpose)
        if held is None or held.size < size + 2 * _APART:
            held = self._buffers[purpose] = np.empty(size + 2 * _APART, np.uint8)
        return held[_APART : _APART + size].view(wanted).reshape(shape)

    def file(self, path: str, mode: str, opener: Callable[[], BinaryIO]) -> BinaryIO:
        """Return an open file, opened by `opener` where it is not open yet."""
        key = (path, mode)
        if key not in self._files:
            while len(self._files) >= OPEN_FILES:
                oldest = next(iter(self._files))
                self._files.pop(oldest).close()
            self._files[key] = opener()
        return self._files[key]

    def close(self) -> None:
        """Close the files."""
        with contextlib.ExitStack() as stack:
            while self._files:
                stack.callback(self._files.popitem()[1].close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def bytes_of(array: Array) -> memoryview:
    """Return the memory of an array without gaps as bytes, to be read into or written out.

    >>> len(bytes_of(np.zeros((2, 3), np.float32)))
    24
    """
    # An array of an ml_dtypes format has no buffer interface; a view of its bytes has.
    raw: Any = array.reshape(-1).view(np.uint8)
    return memoryview(raw)
