"""What a process that runs foreign code or C++ may take, and that it does not outlive the one that started it."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

_PR_SET_PDEATHSIG = 1
_THREAD_STACK_BYTES = 1 << 23


def end_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, even while it runs C code that holds Python's lock."""
    if sys.platform == "linux":
        import ctypes
        import signal

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(size_bytes: int, threads: int | None = None) -> None:
    """Let this process take so much memory beyond what it has; nothing is limited where the system is not Linux.

    `threads` are those that it still starts, by default as many as there are processors.
    """
    if sys.platform != "linux":
        return
    # Data, not addresses: frameworks reserve far more of those than they use. Their pools of threads are
    # started at the first call, and the stack of each is counted whole.
    stacks = (threads or os.cpu_count() or 1) * _THREAD_STACK_BYTES
    limit = _data_bytes() + size_bytes + stacks
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def limit_processor_time(further_s: int) -> None:
    """Let this process run for so long from now, then end it by SIGXCPU; nothing is limited on Windows.

    Processor time, not time: a slow disk and a machine that others use are no fault of the process.
    """
    if sys.platform == "win32":
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + further_s
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _data_bytes() -> int:
    """Read how much this process has now."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def lowered_limits(before: dict[str, int]) -> list[str]:
    """Name the limits of this process that are lower than they were."""
    return [name for name, limit in limits().items() if _is_lower(limit, before.get(name, limit))]


def limits() -> dict[str, int]:
    """Return the limits that a process may set for itself, by name; none on Windows."""
    if sys.platform == "win32":
        return {}
    names = ("RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_STACK", "RLIMIT_AS", "RLIMIT_NPROC")
    return {name: resource.getrlimit(getattr(resource, name))[0] for name in names if hasattr(resource, name)}


def _is_lower(limit: int, before: int) -> bool:
    return limit not in (before, resource.RLIM_INFINITY) and (before == resource.RLIM_INFINITY or limit < before)
