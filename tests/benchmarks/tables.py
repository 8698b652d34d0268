"""How fast CSV of 100 MB is read, as a ratio over numpy.loadtxt of the same file.

    python tests/benchmarks/tables.py

Both read the whole file to float64, in turns in one process; medians are divided. All that stablemax checks
on the way (ragged rows, empty cells, blank lines, quotes, header, index) is part of its time. The exit code
is always 0, for a time is nothing to fail a build on.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.open import open_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLUMNS = 100
LIMIT = 1.0
ROWS = 500
"""Rows that are written at a time."""


def cells(kind: str, block: np.ndarray) -> list[list[str]]:
    """Numbers as they are found in files."""
    if kind == "masked":
        block = np.where(block < -7, -np.inf, block)
    form = {"six decimals": "%.6f", "numpy.savetxt": "%.18e"}.get(kind)
    values = np.exp(block - 12) if kind == "probabilities" else block
    return [[repr(x) if form is None else form % x for x in row] for row in values.tolist()]


KINDS = ("repr", "six decimals", "numpy.savetxt", "masked", "probabilities")
"""Shortest digits; `%.6f`; `%.18e`; shortest digits and one -inf in twelve; down to 1e-14."""


def lines(kind: str, size: int) -> Iterator[str]:
    """At least `size` bytes of CSV."""
    rng = np.random.default_rng(0)
    written = 0
    while written < size:
        for row in cells(kind, rng.standard_normal((ROWS, COLUMNS)) * 5):
            line = ",".join(row) + "\n"
            written += len(line)
            yield line


def spent(read: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    array = read()
    return time.perf_counter() - start, array


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Reading CSV over numpy.loadtxt.")
    parser.add_argument("--runs", type=int, default=3, help="runs of each")
    parser.add_argument("--megabytes", type=float, default=100.0, help="size of each file")
    args = parser.parse_args(arguments)

    print(f"{args.megabytes:g} MB of CSV, {COLUMNS} columns, medians of {args.runs} in turns")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "logits.csv")
        for kind in KINDS:
            with path.open("w", encoding="ascii") as stream:
                stream.writelines(lines(kind, int(args.megabytes * 1e6)))
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(args.runs):
                mine_s, mine = spent(lambda: open_array(str(path)).array)
                theirs_s, theirs = spent(lambda: np.loadtxt(path, delimiter=","))
                times[0].append(mine_s)
                times[1].append(theirs_s)
                same = mine.tobytes() == theirs.tobytes()
            ratio = statistics.median(times[0]) / statistics.median(times[1])
            print(
                f"{kind:<14} {statistics.median(times[0]):6.2f} s {ratio:6.2f} x numpy.loadtxt"
                f"  limit {LIMIT:g}: {'ok' if ratio <= LIMIT else 'over'}"
                f"  {'same bits' if same else 'other bits'}"
            )


if __name__ == "__main__":
    main()
