"""The processor that this runs on: its name, what decides on the digits of exp, and how many cores are ours."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_VECTORS = ("sse4_2", "avx2", "fma", "avx512f", "asimd", "sve")


def available_threads() -> int:
    """Return how many threads this process may run at once: the cores it is allowed, not those of the machine."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def processor_name() -> str:
    """Return what the processor is called, or at least its architecture."""
    return _field("model name") or platform.processor() or platform.machine()


def vector_extensions() -> list[str]:
    """Return the vector extensions that NumPy's loops choose by; none where the system does not tell."""
    known = (_field("flags") or _field("Features")).split()
    return [name for name in _VECTORS if name in known]


def _field(name: str) -> str:
    """Read what Linux says of the first core that has such a field."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == name and value.strip()), "")
