"""The precision of balls, which python-flint keeps once for all threads of a process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import flint

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def working_precision(bits: int) -> Iterator[None]:
    """Compute balls to so many bits; other threads that want balls wait.

    Without the lock a thread that restores its precision takes away another's: what was to be exact is rounded, and
    the precision of one of them stays behind (python-flint 0.9).

    >>> with working_precision(200):
    ...     flint.ctx.prec
    200
    """
    with _ONE_AT_A_TIME, flint.ctx.workprec(bits):
        yield
