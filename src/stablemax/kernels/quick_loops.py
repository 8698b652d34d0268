"""The kernels' passes as loops that Numba compiles, in one number and with fused operations: for narrow results only.

As with `quick_arrays`, a narrow result is rounded correctly wherever the error of this way cannot decide the rounding;
where it may, `fused_loops` computes the row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.kernels import fused_loops
from stablemax.kernels.compiling import as_float, as_integer, compiled, inlined, muladd
from stablemax.kernels.double_double import LEAST, LIFT, LN2_HIGH, LN2_LOW, LOG2_E, ONE, TO_INTEGER
from stablemax.kernels.fused_loops import maximum, read_only, two_sum
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.formats import Array

CELLS = fused_loops.CELLS
LANES = fused_loops.LANES
TOLERANCE = 23.0
"""Error of a result in units of u: exp 4 at most, folding the lanes 11, the rest 8; each addition to a lane adds 1."""
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (1.0 / math.factorial(k) for k in range(2, 14))
_EXPONENT_OF_ONE = (1023 + LIFT) << 52


@inlined  # type: ignore[untyped-decorator]
def _exp(d: Any, r: Any) -> Any:
    """Return ``exp(d + r)``, lifted, as `double_double.exp_in_two` but in one number."""
    t = muladd(d, LOG2_E, TO_INTEGER)
    n = t - TO_INTEGER
    v = muladd(n, -LN2_LOW, muladd(n, -LN2_HIGH, d)) + r
    v2 = v * v
    odd = muladd(muladd(muladd(muladd(muladd(_C13, v2, _C11), v2, _C9), v2, _C7), v2, _C5), v2, _C3)
    even = muladd(muladd(muladd(muladd(muladd(_C12, v2, _C10), v2, _C8), v2, _C6), v2, _C4), v2, _C2)
    p = muladd(muladd(odd, v, even), v2, v)
    scale = as_float((as_integer(t) << 52) + _EXPONENT_OF_ONE)
    return muladd(scale, p, scale)


def _loop_of_sums(*, keeps: bool) -> Any:
    """Return the loop that adds; where it keeps no terms, nothing of that is compiled."""

    @compiled
    def loop(x: Any, terms: Any, m: Any, high: Any) -> None:
        lanes, classes = np.empty(LANES), x.shape[1]
        for i in range(x.shape[0]):
            row, top, ties = x[i], maximum(x[i]), 0
            lanes[:] = 0.0
            for first in range(0, classes, LANES):
                # Of slices Numba knows that no index is negative: parts of a row would be gathered one by one.
                piece = row[first : first + LANES]
                if keeps:
                    terms_here = terms[i, first : first + LANES]
                for j in range(piece.size):
                    value = np.float64(piece[j])
                    d, r = two_sum(value, -top)
                    r = max(-1.0, r)
                    e = _exp(np.maximum(d, LEAST), min(1.0, r))
                    if keeps:
                        terms_here[j] = e
                    if value == top:
                        e = 0.0
                        ties += 1
                    lanes[j] += e
            width = min(classes, LANES)
            while width > 1:
                half = 1
                while 2 * half < width:
                    half *= 2
                for j in range(width - half):
                    lanes[j] += lanes[half + j]
                width = half
            m[i], high[i] = top, lanes[0] + (ties - 1.0) * ONE

    return loop


_added, _added_and_kept = _loop_of_sums(keeps=False), _loop_of_sums(keeps=True)


def sums(x: Array, terms: tuple[Array, Array] | None = None) -> RowSums:
    """Return the sums of rows, as `pair_arrays.sums`; of the terms the first numbers."""
    m, high = np.empty(len(x)), np.empty(len(x))
    loop, kept = (_added, np.empty((0, 0))) if terms is None else (_added_and_kept, terms[0])
    loop(read_only(x), kept, m, high)
    return RowSums.of(m, high, np.zeros(len(x)))


def tolerance(x: Array) -> Array:
    """Return the error of each row's results in units of u, (N,)."""
    return np.full(len(x), TOLERANCE + x.shape[1] / LANES)


@compiled
def _multiplied(terms: Any, times: Any, out: Any) -> None:
    for i in range(terms.shape[0]):
        for k in range(terms.shape[1]):
            out[i, k] = terms[i, k] * times[i]


@compiled
def _subtracted(x: Any, m: Any, less: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            d, r = two_sum(np.float64(x[i, k]), -m[i])
            total = d - less[i]
            out[i, k] = total + r if np.isfinite(total) else total


def shares(terms: tuple[Array, Array], times: tuple[Array, Array], out: Array) -> None:
    """Write terms times a factor, as `pair_arrays.shares`."""
    _multiplied(terms[0], times[0], out)


def differences(x: Array, m: Array, less: tuple[Array, Array], out: Array) -> None:
    """Write ``x - m - less``, as `pair_arrays.differences`."""
    _subtracted(read_only(x), m, less[0], out)
