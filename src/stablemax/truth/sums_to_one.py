"""How far rows of probabilities are from summing to 1."""

from __future__ import annotations

import math

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import two_sum
from stablemax.truth.measure import rows_per_block

_HUGE = 2.0**900
"""Beyond, sums may overflow."""
_U = 2.0**-53


def largest_sum_error(p: Array) -> float | None:
    """Largest |sum p - 1| over the rows of finite probabilities, the sum taken exactly.

    >>> largest_sum_error(np.array([[0.5, 0.5], [0.5, 0.25]]))
    0.25
    """
    rows = p.astype(np.float64)
    finite = np.isfinite(rows).all(axis=-1)
    rows = rows if finite.all() else rows[finite]
    return max(map(_sum_error, rows[_may_be_largest(rows)].tolist()), default=None)


def _sum_error(row: list[float]) -> float:
    try:
        return abs(math.fsum([*row, -1.0]))
    except OverflowError:  # an output that holds no probabilities may sum to anything
        return math.inf


def _may_be_largest(rows: Array) -> Array:
    """Mark the rows whose error may be the largest: exact sums take a hundred times as long as sums in two parts.

    Each number is cut at a common bit, as in Rump, Ogita, Oishi, SIAM J. Sci. Comput. 31(1), 2008. The upper parts are
    multiples of u times the cut and sum to less than the cut, without any rounding. The lower parts are at most u
    times the cut, and a sum of K of them is off by at most K**2 u**2 times the cut. The rounding of what is left is
    covered by the 2.
    """
    count, classes = rows.shape
    size = np.abs(rows).max(initial=1.0)
    if size > _HUGE:
        return np.ones(count, dtype=bool)
    cut = math.ldexp(1.0, math.frexp(classes + 2.0)[1] + math.frexp(size)[1])
    step = rows_per_block(classes)
    error = np.empty(count)
    for start in range(0, count, step):
        some = rows[start : start + step]
        upper = (some + cut) - cut
        head, tail = two_sum(np.add.reduce(upper, axis=-1), np.array(-1.0))
        error[start : start + step] = np.abs(head + (tail + np.add.reduce(some - upper, axis=-1)))
    radius = 2.0 * ((classes + 2.0) ** 2 * _U**2 * cut + _U * error)
    return np.asarray(error + radius >= (error - radius).max(initial=0.0))
