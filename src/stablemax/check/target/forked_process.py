"""A process that is forked to call a function that only this process has: a closure, a lambda, a mock."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import IO, Any

from stablemax.check.target.infer import backends_of

CAN_FORK = sys.platform == "linux"
"""Not macOS, whose own libraries may not be used in a forked process."""


def may_be_forked(function: Callable[..., Any], backend: str) -> bool:
    """Tell whether a forked process can call a function.

    PyTorch's autograd and JAX cannot be used in a process that was forked after they ran: only NumPy code may be, and
    not where Numba has run a parallel loop, after which those of a forked process end it. A daemon of multiprocessing
    may have no child.
    """
    if not CAN_FORK or _has_run_parallel_loops() or multiprocessing.current_process().daemon:
        return False
    return ({backend} if backend else set(backends_of(function))) == {"numpy"}


def _has_run_parallel_loops() -> bool:
    # Our own kernels load Numba, and run in threads of ours.
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    return parallel is not None and getattr(parallel, "_is_initialized", True)


class ForkedProcess:
    """A forked process, with what `SubprocessTarget` needs of a `subprocess.Popen`."""

    def __init__(self, function: Callable[..., Any], printed: IO[bytes]) -> None:
        """Fork, and let the child answer requests about a function; what that prints goes to a file."""
        from stablemax.check.target import worker

        requests, self._to_child = os.pipe()
        self._from_child, replies = os.pipe()

        def run() -> None:
            # What the parent holds is looked through by every collection, and copied for it.
            gc.freeze()
            os.setsid()
            for descriptor, standard in ((requests, 0), (replies, 1), (printed.fileno(), 2)):
                os.dup2(descriptor, standard)
            # The child must not hold the ends of its parent: it would never see them closed.
            for descriptor in (requests, replies, self._to_child, self._from_child):
                os.close(descriptor)
            # Whatever stood there, pytest's capture for one, belongs to the parent.
            sys.stdin, sys.stdout, sys.stderr = (
                os.fdopen(descriptor, mode) for descriptor, mode in enumerate(("r", "w", "w"))
            )
            worker.main(function)

        self._process = multiprocessing.get_context("fork").Process(target=run)
        with warnings.catch_warnings():
            # Of threads and forks: no thread of this process is needed by NumPy code.
            warnings.simplefilter("ignore")
            self._process.start()
        os.close(requests)
        os.close(replies)
        self.stdin = os.fdopen(self._to_child, "wb", buffering=0)
        self.stdout = os.fdopen(self._from_child, "rb", buffering=0)

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process; raise `subprocess.TimeoutExpired` where it does not come."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return code

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
