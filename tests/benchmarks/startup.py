"""How long a command takes to start, as ratios over the imports that it cannot do without.

    python tests/benchmarks/startup.py

Every command and its yardstick are started in turns, each in a process of its own, and the medians are
divided. Limits and verdicts are printed in words; the exit code is always 0, for a time is nothing to
fail a build on.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TYPER = ("-c", "import typer")
LIBRARIES = ("-c", "import numpy, typer, rich.table, flint")


def cases(folder: Path) -> list[tuple[str, tuple[str, ...], tuple[str, ...], float]]:
    """What is started, by what it is measured, and the ratio it may reach."""
    rng = np.random.default_rng(0)
    logits, labels = folder / "logits.npy", folder / "labels.npy"
    np.save(logits, rng.standard_normal((16, 64)))
    np.save(labels, rng.integers(0, 64, 16))
    program = ("-m", "stablemax")
    return [
        ("stablemax --version", (*program, "--version"), TYPER, 1.5),
        ("stablemax compare --scale 1e5", (*program, "compare", "--scale", "1e5"), LIBRARIES, 3.0),
        ("stablemax loss, 16 x 64 .npy", (*program, "loss", str(logits), str(labels)), LIBRARIES, 2.0),
    ]


def spent(arguments: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def medians(command: tuple[str, ...], yardstick: tuple[str, ...], runs: int) -> tuple[float, float]:
    """Median times in seconds of both, started in turns after one round that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for counted in [False] + [True] * runs:
        for arguments, found in zip((command, yardstick), times, strict=True):
            time_s = spent(arguments)
            if counted:
                found.append(time_s)
    return statistics.median(times[0]), statistics.median(times[1])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Start-up times as ratios.")
    parser.add_argument("--runs", type=int, default=15, help="counted runs of each")
    args = parser.parse_args(arguments)

    print(f"time to start over the time of an import, medians of {args.runs} in turns")
    with tempfile.TemporaryDirectory() as folder:
        for name, command, yardstick, limit in cases(Path(folder)):
            mine, theirs = medians(command, yardstick, args.runs)
            ratio = mine / theirs
            print(
                f"{name:<30} {1e3 * mine:5.0f} ms {ratio:6.2f} x python {yardstick[0]} '{yardstick[1]}'"
                f"  limit {limit:g}: {'ok' if ratio <= limit else 'over'}"
            )


if __name__ == "__main__":
    main()
