"""The kernels' passes over blocks of logits as loops that Numba compiles, to the bits of `pair_arrays`."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.kernels import double_double, pair_arrays, rounding
from stablemax.kernels.compiling import compiled, inlined
from stablemax.kernels.double_double import LEAST, ONE
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics import rounding_errors
from stablemax.numerics.formats import FLOAT32, FLOAT64, Array, Format

LANES = pair_arrays.LANES
CELLS = 1 << 17
"""Logits in a block: their exponentials stay in the processor's second cache."""
CELLS_ALONE = 1 << 15
"""As `quick_arrays.CELLS_ALONE`; the loops take less time for a block."""
_WIDTH = 64
"""Maxima kept apart, so that the search is vectorised."""
_U = FLOAT64.u
two_sum = inlined(rounding_errors.two_sum)
_exp_in_two = inlined(double_double.exp_in_two)


@compiled
def maximum(row: Any) -> Any:
    """Return the largest logit of a row (K,), a NaN left out."""
    lanes = np.full(_WIDTH, -np.inf, row.dtype)
    whole = row.size - row.size % _WIDTH
    for first in range(0, whole, _WIDTH):
        for j in range(_WIDTH):
            lanes[j] = max(lanes[j], row[first + j])
    m = lanes[0]
    for j in range(1, _WIDTH):
        m = max(m, lanes[j])
    for k in range(whole, row.size):
        m = max(m, row[k])
    return np.float64(m)


def _loop_of_sums(*, keeps: bool) -> Any:
    """Return the loop that adds; where it keeps no terms, nothing of that is compiled."""

    @compiled
    def loop(x: Any, terms: Any, rests: Any, m: Any, high: Any, low: Any) -> None:
        lanes, errors = np.empty(LANES), np.empty(LANES)
        classes = x.shape[1]
        for i in range(x.shape[0]):
            row, top, ties = x[i], maximum(x[i]), 0
            lanes[:] = 0.0
            errors[:] = 0.0
            for first in range(0, classes, LANES):
                # Of slices Numba knows that no index is negative: parts of a row would be gathered one by one.
                piece = row[first : first + LANES]
                if keeps:
                    terms_here = terms[i, first : first + LANES]
                    rests_here = rests[i, first : first + LANES]
                for j in range(piece.size):
                    value = np.float64(piece[j])
                    d, r = two_sum(value, -top)
                    r = max(-1.0, r)
                    e, rest = _exp_in_two(np.maximum(d, LEAST), min(1.0, r))
                    if keeps:
                        terms_here[j] = e
                        rests_here[j] = rest
                    if value == top:
                        e, rest = 0.0, 0.0
                        ties += 1
                    total, error = two_sum(lanes[j], e)
                    lanes[j] = total
                    errors[j] += error + rest
            width = min(classes, LANES)
            while width > 1:
                half = 1
                while 2 * half < width:
                    half *= 2
                for j in range(width - half):
                    total, error = two_sum(lanes[j], lanes[half + j])
                    lanes[j] = total
                    errors[j] += error + errors[half + j]
                width = half
            others, rest = two_sum((ties - 1.0) * ONE, lanes[0])
            m[i], high[i], low[i] = top, others, rest + errors[0]

    return loop


_added, _added_and_kept = _loop_of_sums(keeps=False), _loop_of_sums(keeps=True)


@compiled
def _raised(x: Any, m: Any, terms: Any, rests: Any) -> None:
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            d, r = two_sum(np.float64(x[i, k]), -m[i])
            r = max(-1.0, r)
            terms[i, k], rests[i, k] = _exp_in_two(np.maximum(d, LEAST), min(1.0, r))


@compiled
def _multiplied(terms: Any, rests: Any, high: Any, low: Any, out: Any) -> None:
    for i in range(terms.shape[0]):
        for k in range(terms.shape[1]):
            out[i, k] = terms[i, k] * high[i] + (rests[i, k] * high[i] + terms[i, k] * low[i])


@compiled
def _subtracted(x: Any, m: Any, high: Any, low: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            d, r = two_sum(np.float64(x[i, k]), -m[i])
            total, rest = two_sum(d, -high[i])
            out[i, k] = total + (rest + (r - low[i])) if np.isfinite(total) else total


@compiled
def _narrowed(values: Any, tolerance: Any, out: Any, doubtful: Any) -> None:
    for i in range(values.shape[0]):
        lower, upper = 1.0 - tolerance[i] * _U, 1.0 + tolerance[i] * _U
        count: Any = 0
        for k in range(values.shape[1]):
            out[i, k] = np.float32(values[i, k])
            # A NaN is in no doubt, although it is unequal to itself.
            one, other = np.float32(values[i, k] * lower), np.float32(values[i, k] * upper)
            count += (one < other) | (one > other)
        doubtful[i] = count > 0


def sums(x: Array, terms: tuple[Array, Array] | None = None) -> RowSums:
    """Return the sums of rows, as `pair_arrays.sums`."""
    m, high, low = np.empty(len(x)), np.empty(len(x)), np.empty(len(x))
    x = read_only(x)
    if terms is None:
        nothing = np.empty((0, 0))
        _added(x, nothing, nothing, m, high, low)
    else:
        _added_and_kept(x, *terms, m, high, low)
    return RowSums.of(m, high, low)


def exponentials(x: Array, m: Array, terms: tuple[Array, Array]) -> None:
    """Write ``exp(x - m)``, as `pair_arrays.exponentials`."""
    _raised(read_only(x), m, *terms)


def shares(terms: tuple[Array, Array], times: tuple[Array, Array], out: Array) -> None:
    """Write terms times a factor, as `pair_arrays.shares`."""
    _multiplied(*terms, *times, out)


def differences(x: Array, m: Array, less: tuple[Array, Array], out: Array) -> None:
    """Write ``x - m - less``, as `pair_arrays.differences`."""
    _subtracted(read_only(x), m, *less, out)


def narrowed(values: Array, tolerance: Array, fmt: Format, out: Array) -> Array:
    """Round values, as `rounding.narrowed`."""
    if fmt != FLOAT32 or not out.flags.c_contiguous:
        return rounding.narrowed(values, tolerance, fmt, out)
    in_doubt = np.empty(len(values), dtype=bool)
    _narrowed(values, tolerance, out, in_doubt)
    return in_doubt


def read_only(x: Array) -> Array:
    """Return a view whose type is that of a mapped file's array, so that one compiled loop serves both."""
    x = x.view()
    x.flags.writeable = False
    return x
