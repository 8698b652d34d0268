"""Peak memory of every call, in a process of its own.

The C library keeps what was freed for the next call, which would then seem to need nothing; how much it
keeps also decides how fast the next call is. So memory is measured where it is told to keep nothing,
and times where it does what it always does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable

from stablemax.bench import machine
from stablemax.bench.bench_words import Shape, TimedDtype, TimedPeer
from stablemax.bench.compiled_loops import compiled_loops
from stablemax.bench.plan import BenchOptions, Case, Input
from stablemax.operations import get_operation
from stablemax.text.processor import available_threads

Peaks = dict[tuple[Case, str], int]
"""Bytes, by case and name of the implementation."""

# Blocks from here on are the system's own, and go back to it at once.
_KEEP_NOTHING = {"MALLOC_MMAP_THRESHOLD_": str(1 << 16), "MALLOC_TRIM_THRESHOLD_": str(1 << 16)}


def peaks(options: BenchOptions, inputs: list[Input], progress: Callable[[Case], None]) -> tuple[Peaks, list[str]]:
    """Measure the peak memory of every call beyond its input."""
    if not machine.tells_peak():
        return {}, ["peak memory is not measured: this system does not tell it"]
    order = {
        "operations": [o.name for o in options.operations],
        "threads": options.threads,
        "peers": options.peers,
        "seed": options.seed,
        "inputs": inputs,
    }
    measured: Peaks = {}
    with subprocess.Popen(
        [sys.executable, "-m", "stablemax.bench.memory"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_KEEP_NOTHING},
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended: its exit code tells
                process.stdin.write(json.dumps(order))
                process.stdin.close()
            for line in process.stdout:
                operation, (shape, dtype), threads, name, count = json.loads(line)
                case = Case(get_operation(operation), Input(Shape(*shape), TimedDtype(dtype)), threads)
                progress(case)
                measured[case, name] = count
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    return measured, [f"some peak memory is not measured: its process ended with exit code {code}"] if code else []


def main() -> None:
    """Read from standard input what to measure, and write a line of JSON for each call."""
    order = json.load(sys.stdin)
    options = BenchOptions(
        operations=tuple(map(get_operation, order["operations"])),
        threads=tuple(order["threads"]),
        peers=tuple(map(TimedPeer, order["peers"])),
    )
    implementations, _ = options.implementations()
    plan, _ = options.plan(implementations, available_threads())
    inputs = [Input(Shape(*shape), TimedDtype(dtype)) for shape, dtype in order["inputs"]]
    compiled_loops(options.operations, inputs)
    for given in inputs:
        x, y = given.generated(order["seed"])
        for (threads, operation), chosen in plan.items():
            with machine.on_cores(threads):
                for implementation in chosen:
                    with implementation.running(threads):
                        call = implementation.call(operation, x, y, threads)
                        call()  # what is compiled or built at first use is not the call's own
                        line = (operation.name, given, threads, implementation.name, machine.peak_bytes(call))
                    sys.stdout.write(json.dumps(line) + "\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
