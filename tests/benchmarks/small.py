"""What a call costs where there is little to compute, as ratios over plain NumPy side by side.

    python tests/benchmarks/small.py

Each function and the textbook's formula in NumPy run in turns; of both the least time counts, because whatever else
the machine does only adds to it. Numba's loops are timed in the second table, compiled beforehand, where Numba is
installed. Limits and verdicts are printed in words; the exit code is always 0, for a time is nothing to fail a build
on.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable
from functools import partial

import numpy as np

import stablemax
from stablemax.kernels.passes import has_numba, loops
from stablemax.numerics.formats import Array

Call = Callable[[], object]
FIXED_US = 30.0
"""What a call on 1 x 10 logits should cost at most, whatever plain NumPy costs."""
SHAPES = ((1, 10), (64, 10), (64, 1000), (128, 1000))
DTYPES = ("float64", "float32", "int64")


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    d = x - x.max(-1, keepdims=True)
    return d - np.log(np.exp(d).sum(-1, keepdims=True))


def logsumexp(x: Array) -> Array:
    m = x.max(-1, keepdims=True)
    return (m + np.log(np.exp(x - m).sum(-1, keepdims=True)))[..., 0]


def cross_entropy(x: Array, labels: Array) -> float:
    return -log_softmax(x)[np.arange(len(x)), labels].mean()


def cross_entropy_grad(x: Array, labels: Array) -> Array:
    p = softmax(x)
    p[np.arange(len(x)), labels] -= 1
    return p / len(x)


PLAIN = (softmax, log_softmax, logsumexp, cross_entropy, cross_entropy_grad)


def least_us(calls: tuple[Call, Call], runs: int) -> list[float]:
    """Least times of both in microseconds, run in turns."""
    counts = [max(1, int(2e-3 / max(1e-7, timeit.timeit(call, number=3) / 3))) for call in calls]
    times: list[list[float]] = [[], []]
    for _ in range(runs):
        for call, count, found in zip(calls, counts, times, strict=True):
            found.append(timeit.timeit(call, number=count) / count)
    return [1e6 * min(found) for found in times]


def table(name: str, runs: int) -> None:
    print(f"{name}: least times of {runs} turns")
    for rows, classes in SHAPES:
        rng = np.random.default_rng(0)
        logits, labels = rng.standard_normal((rows, classes)) * 4, rng.integers(0, classes, rows)
        for dtype in DTYPES:
            x = logits.astype(dtype)
            for plain in PLAIN:
                given = (x, labels) if "cross_entropy" in plain.__name__ else (x,)
                ours = getattr(stablemax, plain.__name__)
                mine, theirs = least_us((partial(ours, *given), partial(plain, *given)), runs)
                within = mine <= theirs or ((rows, classes) == SHAPES[0] and mine <= FIXED_US)
                print(
                    f"{rows:>4} x {classes:<5} {dtype:<8} {plain.__name__:<18} {mine:8.1f} us"
                    f" {mine / theirs:6.2f} x NumPy  {'ok' if within else 'over'}"
                )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Small calls over plain NumPy.")
    parser.add_argument("--runs", type=int, default=15, help="turns of each")
    runs = parser.parse_args(arguments).runs
    table("NumPy", runs)
    if has_numba():
        for may_be_quick in (True, False):
            loops(may_be_quick=may_be_quick)
        table("Numba", runs)


if __name__ == "__main__":
    main()
