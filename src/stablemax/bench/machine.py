"""The machine: its cores, its vector extensions, its memory, and how fast it reads and copies that."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.introspect import opt_func_info

from stablemax.results import Machine, Rates
from stablemax.text.processor import available_threads, processor_name, vector_extensions

HAS_AFFINITY = hasattr(os, "sched_setaffinity")
"""True where a process can be held to some cores: on Linux."""

_READ_CELLS = 1 << 24  # 128 MiB of float64 for each thread, and twice that for a single one: far beyond the caches
_ROUNDS = 5
_NUMPY_LOOPS = (("exp", "float32"), ("exp", "float64"), ("multiply", "float64"))
_TASKS = Path("/proc/self/task")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_BATCHED_BYTES = 4 << 20  # the kernel adds pages up in batches: the two need not agree to the last
_SETTLE_S = 0.02  # XLA gives a result's memory back from another thread, a moment after the result is gone
_MAX_SETTLE = 50
_RESET_PEAK = "5"  # man 5 proc, clear_refs: reset the peak resident set size


def this_machine() -> Machine:
    """Look at the machine."""
    return Machine(
        processor=processor_name(),
        system=f"{platform.system()} {platform.release()}",
        cores=available_threads(),
        available_bytes=available_bytes(),
        vector_extensions=tuple(vector_extensions()),
        numpy_loops=numpy_loops(),
    )


def numpy_loops() -> dict[str, str]:
    """Return the vector extension that each of some loops of NumPy's runs by in this process.

    >>> list(numpy_loops())
    ['exp float32', 'exp float64', 'multiply float64']
    """
    found: dict[str, str] = {}
    for function, dtype in _NUMPY_LOOPS:
        loops = opt_func_info(func_name=f"^{function}$", signature=f"^{dtype}$")
        found |= {f"{function} {dtype}": one["current"] for one in loops.get(function, {}).values()}
    return found


def available_bytes() -> int | None:
    """Memory that can be taken without swapping, within the limit of a container; None where unknown."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        free = 1024 * _fields(Path("/proc/meminfo"))["MemAvailable"]
        return min([free, *_container_bytes()])
    return None


def _container_bytes() -> list[int]:
    """What the control group leaves, if it has a limit; pages of files that can be dropped count as free."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, KeyError):  # not there, or "max"
        limit, used = (int((root / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        return [limit - used + _fields(root / "memory.stat")["inactive_file"]]
    return []


def _fields(path: Path) -> dict[str, int]:
    """Read a file of names and whole numbers."""
    words = (line.replace(":", " ").split() for line in path.read_text(encoding="ascii").splitlines())
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdecimal()}


@contextlib.contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Hold every thread of this process to some cores, those of libraries' pools too."""
    if not HAS_AFFINITY or count >= available_threads():
        yield
        return
    every = os.sched_getaffinity(0)
    chosen = sorted(every)[:count]
    before = {task: os.sched_getaffinity(task) for task in _tasks()}
    try:
        for task in before:
            _hold(task, chosen)
        yield
    finally:
        # A thread that was started meanwhile has inherited the few cores.
        for task in _tasks():
            _hold(task, before.get(task, every))


def _tasks() -> list[int]:
    return [int(entry.name) for entry in _TASKS.iterdir()]


def _hold(task: int, cores: Any) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.sched_setaffinity(task, cores)


def tells_peak() -> bool:
    """Tell whether this system has a peak of resident memory that can be reset."""
    return _reset_peak() is not None


def peak_bytes(call: Callable[[], object]) -> int:
    """Peak resident memory of a call beyond what was resident before it, its result included.

    Only where `tells_peak`. The kernel counts in batches of pages: some hundreds of KiB may be missing.
    """
    _settle()
    before = _reset_peak()
    assert before is not None
    call()
    return max(0, _resident()[1] - before)


def _reset_peak() -> int | None:
    """Set the peak back to what is resident now, and return that; None where it does not go back."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        now, peak = _resident()
        return peak if peak - now <= _BATCHED_BYTES else None
    return None


def _resident() -> tuple[int, int]:
    """Resident bytes, now and at their peak."""
    fields = _fields(_STATUS)
    return 1024 * fields["VmRSS"], 1024 * fields["VmHWM"]


def _settle() -> None:
    """Let go of what earlier calls left: small blocks held back by the C library, and XLA's late buffers."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    for _ in range(_MAX_SETTLE):
        before = _resident()[0]
        time.sleep(_SETTLE_S)
        if _resident()[0] == before:
            return


def rates(threads: int, clock: Callable[[], float]) -> Rates:
    """Measure how fast some threads together read and copy memory; the best of some rounds.

    They read by taking a maximum, which a core does several times as fast as any memory is read.
    """
    cells = _READ_CELLS * (2 if threads == 1 else 1)
    arrays = [np.full(cells, float(i)) for i in range(threads)]

    def read(i: int) -> None:
        np.maximum.reduce(arrays[i])

    def copy(i: int) -> None:
        np.copyto(arrays[i][: cells // 2], arrays[i][cells // 2 :])

    def best(work: Callable[[int], None], pool: ThreadPoolExecutor) -> float:
        spent = []
        for _ in range(_ROUNDS):
            start = clock()
            list(pool.map(work, range(threads)))
            spent.append(clock() - start)
        return min(spent)

    with ThreadPoolExecutor(threads) as pool:
        read_s, copy_s = best(read, pool), best(copy, pool)
    count = threads * arrays[0].nbytes
    return Rates(threads, count / read_s, count // 2 / copy_s)
