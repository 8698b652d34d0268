"""Runs cases in a process of their own, under limits: what stops that process, or holds it up, is a fault as well."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stablemax.inputs.formats import parquet

from .forked_reader import forked_reader
from .hunting import MEMORY, hunt

ROOT = Path(__file__).parents[2]
STUCK_S = 60
"""Seconds without a new case, after which a process is stopped: its clock is that of the wall, so it waits for long."""


@dataclass
class Campaign:
    """What became of the cases of a kind."""

    kind: str
    cases: int = 0
    accepted: int = 0
    #: Seeds, and what was wrong.
    faults: list[tuple[int, str]] = None  # type: ignore[assignment]
    seconds: float = 0.0


def run_campaign(kind: str, first: int, count: int) -> Campaign:
    """Judge the cases of some seeds; where one ends the process, go on behind it in another."""
    done, end, began = Campaign(kind, count, 0, []), first + count, time.monotonic()
    while first < end:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            at = _counters(Path(folder))
            at[0] = first - 1
            code, said = _watched(kind, first, end - first, Path(folder), at)
            done.accepted += int(at[1])
            found = Path(folder, "faults.json")
            done.faults += map(tuple, json.loads(found.read_text())) if found.exists() else []
            if code == 0 and said:
                done.faults.append((first, f"printed {said[-500:]!r}"))
            if code == 0:
                break
            first = int(at[0]) + 1
            done.faults.append((first - 1, f"ended the process with {code}: {said[-1000:]}"))
    done.seconds = time.monotonic() - began
    return done


def _counters(folder: Path) -> np.memmap:
    """Two numbers that two processes share: the seed, and how many cases were accepted."""
    path = folder / "at"
    if not path.exists():
        path.write_bytes(bytes(16))
    return np.memmap(path, np.int64, "r+")


def _watched(kind: str, first: int, count: int, folder: Path, at: np.ndarray) -> tuple[int, str]:
    """Run a process to its end, or until it is stuck; return its code and what it said."""
    said = folder / "said"
    with said.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz", "--worker", kind, str(first), str(count), str(folder)],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "ARROW_DEFAULT_MEMORY_POOL": "system",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        seed, since = int(at[0]), time.monotonic()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.5)
                break
            if int(at[0]) != seed:
                seed, since = int(at[0]), time.monotonic()
            elif time.monotonic() - since > STUCK_S:
                child.kill()
                child.wait()
                break
    return child.returncode, said.read_text(errors="replace")


def work(kind: str, first: int, count: int, folder: Path) -> None:
    """Judge cases in this process, which may take no more memory than it has and what a file may take."""
    desk = folder / "desk"
    desk.mkdir()
    tempfile.tempdir = str(desk)
    warnings.simplefilter("error")
    # Starting Python for each file would take a third of a second.
    parquet._reader = forked_reader  # type: ignore[assignment]
    hunt(kind, 2**32, 20, desk, np.zeros(2, np.int64))  # whatever is imported at the first file
    with contextlib.suppress(ImportError, FileNotFoundError):
        import resource

        status = Path("/proc/self/status").read_text(encoding="ascii")
        held = int(re.search(r"VmData:\s+(\d+)", status)[1]) * 2**10  # type: ignore[index]
        resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, held + MEMORY))
    faults = hunt(kind, first, count, desk, _counters(folder))
    (folder / "faults.json").write_text(json.dumps(faults))
