"""A few rows of each result beside the truth: how accurate what is timed is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stablemax.numerics.formats import Array, Format, format_of
from stablemax.operations.operation import Operation
from stablemax.operations.targets import LabelTargets
from stablemax.truth.balls import Balls
from stablemax.truth.measure import ExactResult, exact_result

MOST_ROWS = 8
MOST_CELLS = 1 << 16
"""Cells that are judged; but one row at least. Balls take some microseconds for each."""
MOST_CLASSES = 1 << 18
"""In longer rows nothing is judged: the truth would take longer than what is timed."""


class Accuracy(NamedTuple):
    """How far a result is from the exact values."""

    #: The largest, in ulps of the format that the result is in; inf where something is not finite
    error_ulp: float
    #: Of the cells
    correctly_rounded_share: float


class JudgedRows:
    """Some rows of an input, the first and the last of them, and what is proved about them once for all who compute it.

    >>> from stablemax.operations import get_operation
    >>> softmax, rows = get_operation("softmax"), JudgedRows(np.float32([[0.0, 1.0], [2.0, 0.0]]), np.array([0, 1]))
    >>> p = np.float32([[0.26894143, 0.7310586], [0.8807971, 0.11920292]])
    >>> rows.accuracy(softmax, p).error_ulp <= 0.5, rows.accuracy(softmax, np.nextafter(p, p + 1)).error_ulp <= 0.5
    (True, False)
    """

    def __init__(self, x: Array, y: Array) -> None:
        rows, classes = x.shape
        count = 0 if classes > MOST_CLASSES else min(rows, MOST_ROWS, max(1, MOST_CELLS // classes))
        self.rows = np.linspace(0, rows - 1, count).astype(np.int64)
        self._of = rows
        self._x, self._labels = x[self.rows].astype(np.float64), y[self.rows]
        self._balls = Balls()
        self._exact: dict[tuple[Operation, Format], ExactResult] = {}

    def accuracy(self, operation: Operation, result: Array) -> Accuracy:
        """Judge the rows of a whole result, (N,) or (N, K)."""
        fmt = format_of(result.dtype)
        truth = self._exact_in(operation, fmt).truth
        out = result[self.rows].astype(np.float64).reshape(truth.nearest.shape)
        return Accuracy(float(truth.error_ulp(out, fmt).max()), float(np.mean(out == truth.rounded)))

    def _exact_in(self, operation: Operation, fmt: Format) -> ExactResult:
        key = operation, fmt
        if key not in self._exact:
            # A gradient is that of the mean over all rows, of which these are some.
            targets = LabelTargets(self._labels, None, float(self._of)) if operation.needs_targets else None
            self._exact[key] = exact_result(operation, self._x, targets, fmt, self._balls)
        return self._exact[key]
