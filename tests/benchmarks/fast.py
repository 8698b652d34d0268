"""What Numba, threads and long rows change, as ratios of two times side by side.

    python tests/benchmarks/fast.py

Each pair runs in turns and the medians are divided, so that a slow or busy machine moves both. Limits and
verdicts are printed in words; the exit code is always 0, for a time is nothing to fail a build on.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import stablemax
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import row_kernels
from stablemax.kernels.passes import PAIRS, Passes, has_numba, loops
from stablemax.numerics.formats import FLOAT64, Array
from stablemax.text.processor import available_threads

Call = Callable[[], object]
SHORT, LONG = 1_000, 100_000
PROGRAM = "import sys; from stablemax.cli.main import main; sys.argv[0] = 'stablemax'; main()"
WITHOUT_NUMBA = f"import sys; sys.modules['numba'] = None; {PROGRAM}"


class Pair(NamedTuple):
    """Two calls, and where the ratio of their times should lie."""

    name: str
    first: Call
    second: Call
    limit: float
    at_least: bool = False


def small_loss(folder: Path) -> Pair:
    """The loss of 16 x 64 logits, for which Numba is not worth its import."""
    rng = np.random.default_rng(0)
    files = [str(folder / "x.npy"), str(folder / "y.npy")]
    np.save(files[0], rng.standard_normal((16, 64)))
    np.save(files[1], rng.integers(0, 64, 16))

    def started(code: str) -> Call:
        return lambda: subprocess.run(
            [sys.executable, "-c", code, "loss", *files], check=True, stdout=subprocess.DEVNULL
        )

    return Pair("stablemax loss, 16 x 64: numba there / hidden", started(PROGRAM), started(WITHOUT_NUMBA), 1.1)


def logits(cells: int, classes: int) -> Array:
    """About so many logits, in rows of so many classes."""
    return np.random.default_rng(0).standard_normal((max(1, cells // classes), classes)) * 4


def two_threads(cells: int) -> Pair:
    """Our softmax in two threads and in one."""
    x = logits(cells, SHORT)
    first, second = (lambda n=n: stablemax.softmax(x, threads=n) for n in (2, 1))
    return Pair("softmax: two threads / one", first, second, 0.7)


def kernels_of(x: Array, passes: Passes) -> dict[str, Call]:
    """A kernel that only adds, and one that writes as much as it reads."""
    labels, out, workspace = np.zeros(len(x), np.int64), np.empty(x.shape), Workspace()
    return {
        "losses": lambda: row_kernels.losses(x, labels, passes, workspace),
        "softmax": lambda: row_kernels.softmax(x, out, FLOAT64, passes, workspace),
    }


def numpy_over_numba(cells: int) -> Iterator[Pair]:
    """The same bits by NumPy and by Numba."""
    x = logits(cells, SHORT)
    by_numba = kernels_of(x, loops(may_be_quick=False))
    for name, by_numpy in kernels_of(x, PAIRS).items():
        yield Pair(f"{name}: NumPy / Numba", by_numpy, by_numba[name], 1.5, at_least=True)


def long_rows(cells: int, name: str, passes: Passes) -> Iterator[Pair]:
    """As many logits in long rows and in short ones."""
    short, long = (kernels_of(logits(cells, classes), passes) for classes in (SHORT, LONG))
    for kernel, of_long in long.items():
        title = f"{kernel} by {name}: a logit in rows of {LONG:,} / {SHORT:,}"
        yield Pair(title, of_long, short[kernel], 1.5)


def pairs(cells: int, folder: Path) -> Iterator[Pair]:
    """All that is compared."""
    yield small_loss(folder)
    if available_threads() > 1:
        yield two_threads(cells)
    yield from long_rows(cells, "NumPy", PAIRS)
    if has_numba():
        yield from long_rows(cells, "Numba", loops(may_be_quick=False))
        yield from numpy_over_numba(cells)


def medians(pair: Pair, runs: int) -> tuple[float, float]:
    """Median times in seconds of both, in turns after one round that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for counted in [False] + [True] * runs:
        for call, found in zip((pair.first, pair.second), times, strict=True):
            start = time.perf_counter()
            call()
            if counted:
                found.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Numba, threads and long rows as ratios.")
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each")
    parser.add_argument("--logits", type=int, default=2_000_000, help="how many are computed")
    args = parser.parse_args(arguments)

    print(f"{args.logits:,} logits, medians of {args.runs} in turns")
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs(args.logits, Path(folder)):
            first_s, second_s = medians(pair, args.runs)
            ratio = first_s / second_s
            is_ok = ratio >= pair.limit if pair.at_least else ratio <= pair.limit
            limit = f"at {'least' if pair.at_least else 'most'} {pair.limit:g}"
            print(
                f"{pair.name:<52} {1e3 * first_s:8.2f} / {1e3 * second_s:8.2f} ms {ratio:6.2f}"
                f"  {limit}: {'ok' if is_ok else 'missed'}"
            )
    if not has_numba():
        print("numba is not installed: nothing is compared with its loops")


if __name__ == "__main__":
    main()
