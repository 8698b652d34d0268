"""A column against rows of logits, as fast as a number against them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

BUFFER = 256
"""Numbers in NumPy's buffer. Where at least two rows fit into it (4,096 classes into the usual 8,192), NumPy
fills it with the repeated numbers of the column first, which takes three times as long as the arithmetic;
much smaller, and rows of ten classes are taken one by one."""


@contextlib.contextmanager
def quick_columns() -> Iterator[None]:
    """Let NumPy take a column as it is while the block, or the function that this decorates, runs.

    The buffer has no part in the arithmetic of float32 and float64 arrays, nor in the order in which
    their rows are added: no bit of a result changes.

    >>> with quick_columns():
    ...     np.getbufsize()
    256
    """
    usual = np.setbufsize(BUFFER)
    try:
        yield
    finally:
        np.setbufsize(usual)
