"""Quantiles of numbers that come in pieces, the same in whatever order the pieces are merged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stablemax.numerics.formats import Array

LIMIT = 1 << 16
"""Distinct numbers that are kept."""
LEVELS = (52, 12, 8, 4)
"""Bits after the leading one that are kept of each number: all, and fewer where there are too many distinct
numbers. Sign, exponent and 4 bits have 2**16 patterns, so that the last level always fits."""


@dataclass(frozen=True, eq=False)
class Run:
    """Numbers and how often each occurs."""

    values: Array  #: Finite, cut towards 0 to `bits`; sorted, and not all distinct.
    counts: Array
    bits: int  #: One of `LEVELS`.


@dataclass(frozen=True, eq=False)
class Sketch:
    """How often each number occurs: exactly for up to `LIMIT` distinct numbers, and by leading bits beyond.

    What is kept depends on the numbers alone, never on how they are cut into pieces or merged: the
    counts are integers, and the level is the first of `LEVELS` at which the distinct numbers fit. A
    piece that needs a level has numbers enough that the whole needs it too, for distinct numbers only
    become more.

    >>> parts = Sketch.of(np.array([3.0, 1.0])) + Sketch.of(np.array([2.0, 10.0]))
    >>> parts.quantiles((50,)), parts.low, parts.high, parts.digits is None
    ((2.0,), 1.0, 10.0, True)
    """

    runs: tuple[Run, ...] = ()  #: What was merged so far; `compacted` makes a single sorted run of it.
    #: The smallest and the largest number, always exact; inf and -inf of no numbers.
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, numbers: Array) -> Sketch:
        """Count finite float64 numbers (n,); -0.0 counts as 0."""
        if not len(numbers):
            return cls()
        numbers = numbers + 0.0  # makes a 0 of -0.0
        numbers.sort()
        run = Run(numbers, np.broadcast_to(np.int64(1), numbers.shape), LEVELS[0])
        return cls((run,), float(numbers[0]), float(numbers[-1]))._bounded()

    def __add__(self, other: Sketch) -> Sketch:
        """Merge two sketches."""
        merged = Sketch(self.runs + other.runs, min(self.low, other.low), max(self.high, other.high))
        return merged._bounded()

    def _bounded(self) -> Sketch:
        # Runs wait to be merged until it is worth it: a merge costs as much for ten numbers as for a thousand.
        return self.compacted() if sum(len(run.values) for run in self.runs) > 2 * LIMIT else self

    def compacted(self) -> Sketch:
        """Return the same as a single run, sorted and distinct, at the first level at which it fits."""
        if not self.runs:
            return self
        bits = min(run.bits for run in self.runs)
        values = np.concatenate([_cut(run.values, bits) for run in self.runs])
        values, counts = _grouped(values, np.concatenate([run.counts for run in self.runs]))
        while len(values) > LIMIT and bits != LEVELS[-1]:
            bits = LEVELS[LEVELS.index(bits) + 1]
            values, counts = _grouped(_cut(values, bits), counts)
        return Sketch((Run(values, counts, bits),), self.low, self.high)

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(int(run.counts.sum()) for run in self.runs)

    @property
    def digits(self) -> int | None:
        """How many digits of a quantile are right, to one unit of the last; None where all are."""
        runs = self.compacted().runs
        bits = runs[0].bits if runs else LEVELS[0]
        return None if bits == LEVELS[0] else int(bits * math.log10(2))

    def quantiles(self, percents: tuple[int, ...]) -> tuple[float, ...]:
        """Return the smallest numbers that at least so many percent of the numbers do not exceed; NaN of no numbers.

        Each is one of the numbers (``method="inverted_cdf"`` of numpy.quantile); at a lower level the middle of
        those that share its leading bits, off by less than ``2**-(bits + 1)`` of it (of normal numbers).
        """
        runs = self.compacted().runs
        if not runs:
            return (math.nan,) * len(percents)
        run = runs[0]
        cumulative = np.cumsum(run.counts)
        total = int(cumulative[-1])
        quantiles = []
        for percent in percents:
            rank = max(1, -(-percent * total // 100))
            middle = _middle(float(run.values[np.searchsorted(cumulative, rank)]), run.bits)
            # The two ends are kept exactly, and nothing lies beyond them.
            ends = {1: self.low, total: self.high}
            quantiles.append(ends.get(rank, min(max(middle, self.low), self.high)))
        return tuple(quantiles)


def _cut(values: Array, bits: int) -> Array:
    """Keep the leading bits of float64 numbers."""
    if bits == LEVELS[0]:
        return values
    mask = np.int64(-1) << np.int64(LEVELS[0] - bits)
    # -0.0 and 0 are one number, but two patterns.
    return np.asarray((np.ascontiguousarray(values).view(np.int64) & mask).view(np.float64) + 0.0)


def _middle(value: float, bits: int) -> float:
    """Return the middle of the numbers that are cut to `value`."""
    if bits == LEVELS[0]:
        return value
    pattern = np.array(value).view(np.int64) | np.int64(1 << (LEVELS[0] - bits - 1))
    return float(pattern.view(np.float64))


def _grouped(values: Array, counts: Array) -> tuple[Array, Array]:
    """Sort numbers and add the counts of equal ones."""
    # Sorted runs one after the other: a stable sort only merges them.
    order = np.argsort(values, kind="stable")
    values = values[order]
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[first], np.add.reduceat(counts[order], first)
