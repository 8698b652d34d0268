"""The same bits on every machine: those of 1,000 rows were stored once, and are compared wherever the tests run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stablemax.text.processor import vector_extensions

from . import stored_bits

# What a processor must have to run code that is compiled for another. Those that this one cannot run are left out.
PROCESSORS = {
    "x86-64": {"sse4_2"},
    "haswell": {"avx2", "fma"},
    "skylake-avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
}


def flags() -> set[str]:
    if sys.platform != "linux":
        return set(vector_extensions())
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    return {word for word in words if word in set.union(*PROCESSORS.values())}


RUNNABLE = [name for name, needed in PROCESSORS.items() if needed <= flags()]


def printed(way: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.stored_bits", way],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )
    return done.stdout.splitlines()


def test_numpy_gives_the_stored_bits() -> None:
    assert stored_bits.STORED.read_text(encoding="utf-8").splitlines() == printed("numpy")


@pytest.mark.slow
@pytest.mark.parametrize("processor", [*RUNNABLE, "this one"])
def test_numba_gives_the_stored_bits_whatever_processor_it_compiles_for(processor: str, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    chosen = {} if processor == "this one" else {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    found = printed("numba", NUMBA_CACHE_DIR=str(tmp_path), **chosen)
    assert stored_bits.STORED.read_text(encoding="utf-8").splitlines() == found
