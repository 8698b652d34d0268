"""The errors in a benchmark: of some rows of a result, against exact values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.bench.bench_words import Shape, TimedDtype, timed_operations
from stablemax.bench.judged_rows import MOST_CELLS, MOST_CLASSES, MOST_ROWS, JudgedRows
from stablemax.bench.plan import Input
from stablemax.numerics.formats import FORMATS
from stablemax.operations.targets import LabelTargets

from ..exactly import truth_of
from ..records import SOFTMAX

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

ROWS, CLASSES = 20, 6


def rounded_results(operation: Operation, dtype: TimedDtype) -> tuple[JudgedRows, Array]:
    """The judged rows of an input, and its correctly rounded results."""
    x, y = Input(Shape(ROWS, CLASSES), dtype).generated(5)
    fmt = FORMATS[dtype]
    truth = truth_of(operation, x, fmt, LabelTargets(y, None, float(ROWS)) if operation.needs_targets else None)
    return JudgedRows(x, y), truth.rounded.astype(fmt.dtype)


@pytest.mark.parametrize("dtype", TimedDtype)
@pytest.mark.parametrize("operation", timed_operations(), ids=str)
def test_the_error_is_that_of_the_worst_cell_in_the_judged_rows(operation: Operation, dtype: TimedDtype) -> None:
    rows, result = rounded_results(operation, dtype)
    judged = result[rows.rows]
    right = rows.accuracy(operation, result)
    assert 0 < right.error_ulp <= 0.5
    assert right.correctly_rounded_share == 1
    other = next(row for row in range(ROWS) if row not in rows.rows)
    result[other] = np.nan
    assert rows.accuracy(operation, result) == right
    for _ in range(3):
        judged.flat[-1] = np.nextafter(judged.flat[-1], math.inf)
    result[rows.rows] = judged
    off = rows.accuracy(operation, result)
    # Between two powers of two; the gap may double on the way.
    assert 2.5 <= off.error_ulp <= 6.5
    assert off.correctly_rounded_share == 1 - 1 / judged.size


def test_a_result_in_another_format_is_judged_in_its_ulps() -> None:
    rows, _ = rounded_results(SOFTMAX, TimedDtype.FLOAT32)
    _, narrow = rounded_results(SOFTMAX, TimedDtype.FLOAT32)
    wide = rows.accuracy(SOFTMAX, narrow.astype(np.float64))
    assert wide.error_ulp > 2**20
    assert wide.correctly_rounded_share == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_result_that_is_not_finite_is_broken(value: float) -> None:
    rows, result = rounded_results(SOFTMAX, TimedDtype.FLOAT32)
    result[-1, 0] = value
    assert rows.accuracy(SOFTMAX, result).error_ulp == math.inf


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((1, 1), 1),
        ((3, 1000), 3),
        ((100, MOST_CELLS // MOST_ROWS), MOST_ROWS),
        ((100, MOST_CELLS // 3), 3),
        ((5, MOST_CLASSES), 1),
        ((1, MOST_CLASSES + 1), 0),
    ],
)
def test_as_many_rows_are_judged_as_take_little_time(shape: tuple[int, int], count: int) -> None:
    x = np.broadcast_to(np.float32(0), shape)
    rows = JudgedRows(x, np.zeros(shape[0], np.int64)).rows
    assert len(set(rows.tolist())) == len(rows) == count
    if count > 1:
        assert (rows[0], rows[-1]) == (0, shape[0] - 1)
