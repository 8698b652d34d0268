"""Loops that Numba compiles for float64 results that are proved: two numbers for each, a bound of their error, a test.

A result is a high and a low number. Where both ends of what their error leaves open round to the same float64, this is
the nearest one to the exact value; elsewhere its row is in doubt, and who called proves it. Fused operations are
welcome: what is rounded correctly does not depend on how it was computed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels.compiling import as_float, as_integer, compiled, fma, inlined
from stablemax.kernels.double_double import LEAST, LIFT, LOG2_E, ONE, TO_INTEGER
from stablemax.kernels.fused_loops import maximum, read_only, two_sum
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.formats import Array

DELTA = 2.0**-79
"""Relative error of an exponential and of a sum of them; a share, a quotient of the two, has twice as much.

`_exp` is right to 2**-79.2: see there. A sum adds exponentials in LANES sums, and what each addition rounds off apart
from them, in n = K / LANES <= 512 steps: of that at most 2 n**2 u**2 = 2**-87 is rounded off itself. The roundings of a
quotient and of a product of pairs are below 2**-99.
"""
ROUNDED = 2.0**-101
"""What else is rounded off a sum of two pairs, of its size: some roundings of lower parts below 4u of it."""
_LANES = 512
_LEAST_SHARE = 2.0**-960
"""Of a smaller share the second number may underflow."""

_NORMAL = 2.0 ** (LIFT - 1022)
"""The smallest normal number, lifted."""

_LN2 = tuple(map(float.fromhex, ("0x1.62e42fefa3000p-1", "0x1.3de6af278e000p-42", "0x1.9cc01f97b57a0p-83")))
"""log(2) in three, the first two of 41 bits: their products with an exponent of 11 bits are exact."""
_FIRST, _SECOND, _THIRD = _LN2
_C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12 = (1.0 / math.factorial(k) for k in range(3, 13))
_REST3, _REST4 = float.fromhex("0x1.5555555555555p-57"), float.fromhex("0x1.5555555555555p-59")
"""What 1/3! and 1/4! are more than their float64."""
_EXPONENT_OF_ONE = (1023 + LIFT) << 52


@inlined  # type: ignore[untyped-decorator]
def _added(constant: Any, v: Any, high: Any, low: Any) -> Any:
    """Return ``constant + v * (high + low)``, where the product is smaller: Fast2Sum then has no error."""
    p = v * high
    e = fma(v, low, fma(v, high, -p))
    total = constant + p
    return total, ((constant - total) + p) + e


@inlined  # type: ignore[untyped-decorator]
def _squared(high: Any, low: Any) -> Any:
    p = high * high
    return p, fma(high + high, low, fma(high, high, -p))


@inlined  # type: ignore[untyped-decorator]
def _exp(d: Any, r: Any, masked: Any) -> Any:
    """Return ``exp(d + r)`` times 2**LIFT in two numbers, for d from -800 to 0 and |r| <= u |d|; 0 where masked.

    With d = n log(2) + v + w and |v| <= 0.34658 it is 2**n exp(v/8)**8 (1 + w). d - n FIRST is exact: a multiple of
    2**-54 below 1/2, or d itself. n SECOND is an exact multiple of 2**-82 below 2**-30, and where it is the larger one
    the difference is exact, so that Fast2Sum is right both times. w is below 2**-43.9: its square, which is left out,
    is below 2**-88, and its roundings below 2**-95.

    exp(v/8), of |v/8| <= 0.04333 = 2**-4.528, is Taylor's polynomial. What follows the power 12 is below 2**-91. From
    1/5! on it is summed in float64: the last rounding and that of 1/5! cost 1.14 u of 2**-22.64 / 5!, which is below
    2**-82.3; the rest is added in pairs, right to 2**-101. So exp(v/8) >= 0.957 is right to 2**-82.2 of itself, and
    three squarings take eight times as much: 2**-79.2.
    """
    t = fma(d, LOG2_E, TO_INTEGER)
    n = t - TO_INTEGER
    a = fma(n, -_FIRST, d)
    b = n * _SECOND
    v = a - b
    w = fma(n, -_THIRD, ((a - v) - b) + r)
    v *= 0.125
    v2 = v * v
    even = fma(fma(fma(_C12, v2, _C10), v2, _C8), v2, _C6)
    tail = fma(fma(fma(fma(_C11, v2, _C9), v2, _C7), v, even), v, _C5)
    p = v * tail
    high = _C4 + p
    high, low = _added(_C3, v, high, ((_C4 - high) + p) + (fma(v, tail, -p) + _REST4))
    high, low = _added(0.5, v, high, low + _REST3)
    high, low = _added(1.0, v, high, low)
    high, low = _added(1.0, v, high, low)
    high, low = _squared(high, low)
    high, low = _squared(high, low)
    high, low = _squared(high, low)
    scale = as_float((as_integer(t) << 52) + _EXPONENT_OF_ONE)
    scale = 0.0 if masked else scale
    return high * scale, fma(w, high, low) * scale


def _loop_of_sums(*, keeps: bool) -> Any:
    """Return the loop that adds a row; where it keeps no terms, nothing of that is compiled."""

    @compiled
    def loop(row: Any, top: Any, terms: Any, rests: Any, lanes: Any, errors: Any) -> Any:
        ties, classes = 0, row.size
        lanes[:] = 0.0
        errors[:] = 0.0
        for first in range(0, classes, _LANES):
            # Slices, as in `fused_loops`.
            piece = row[first : first + _LANES]
            terms_here, rests_here = terms[first : first + _LANES], rests[first : first + _LANES]
            for j in range(piece.size):
                value = np.float64(piece[j])
                d, r = two_sum(value, -top)
                e, rest = _exp(np.maximum(d, LEAST), r if d > LEAST else 0.0, value == -np.inf)
                if keeps:
                    terms_here[j] = e
                    rests_here[j] = rest
                if value == top:
                    e, rest = 0.0, 0.0
                    ties += 1
                total, error = two_sum(lanes[j], e)
                lanes[j] = total
                errors[j] += error + rest
        width = min(_LANES, classes)
        while width > 1:
            half = (width + 1) // 2
            for j in range(width - half):
                total, error = two_sum(lanes[j], lanes[half + j])
                lanes[j] = total
                errors[j] += error + errors[half + j]
            width = half
        others, rest = two_sum((ties - 1.0) * ONE, lanes[0])
        return two_sum(others, rest + errors[0])

    return loop


_added_up, _added_and_kept = _loop_of_sums(keeps=False), _loop_of_sums(keeps=True)


@inlined  # type: ignore[untyped-decorator]
def _pair(e: Any, rest: Any, times: Any, times_low: Any) -> Any:
    q = e * times
    return q, fma(rest, times, fma(e, times_low, fma(e, times, -q)))


@inlined  # type: ignore[untyped-decorator]
def _share(e: Any, rest: Any, times: Any, times_low: Any) -> Any:
    """Return both ends of what is known of a share, rounded; one that rounds to 0 for certain is 0."""
    q, low = _pair(e, rest, times, times_low)
    lower, upper = q + fma(-2.0 * DELTA, q, low), q + fma(2.0 * DELTA, q, low)
    # Where twice the share rounds to 0, it is at most 2**-1076.
    return (lower, upper) if q >= _LEAST_SHARE else (0.0, (e + e) * times)


@inlined  # type: ignore[untyped-decorator]
def _tiny_share(e: Any, rest: Any, times: Any, times_low: Any) -> Any:
    """Return the same of a share down to the smallest number, from `times` that are lifted."""
    q, low = _pair(e, rest, times, times_low)
    base = 0.0
    if q < _NORMAL:
        # The sum is rounded where subnormal numbers end; what is rounded off is exact.
        base = _NORMAL
        total = base + q
        low += q - (total - base)
    else:
        total = q
    width = 2.0 * DELTA * q + 2.0**-51 * abs(low)
    return (total + (low - width) - base) / ONE, (total + (low + width) - base) / ONE


@compiled
def _shared(x: Any, labels: Any, weights: Any, divisor: Any, room: Any, out: Any, doubtful: Any) -> None:
    terms, rests, lanes, errors = room
    for i in range(x.shape[0]):
        row, top, count = x[i], maximum(x[i]), 0
        others, others_low = _added_and_kept(row, top, terms, rests, lanes, errors)
        high, low = two_sum(ONE, others)
        low += others_low
        by = high * divisor
        by_low = fma(low, divisor, fma(high, divisor, -by))
        times = weights[i] / by
        times_low = (fma(-times, by, weights[i]) - times * by_low) / by
        for k in range(row.size):
            lower, upper = _share(terms[k], rests[k], times, times_low)
            out[i, k] = lower
            count += lower != upper
        if count:
            count = 0
            for k in range(row.size):
                lower, upper = _tiny_share(terms[k], rests[k], times * ONE, times_low * ONE)
                out[i, k] = lower
                count += lower != upper
        if labels.size:
            # 1 - p is the sum of the other probabilities: the subtraction would cancel.
            label = labels[i]
            if row[label] != top:
                others, error = two_sum(high, -terms[label])
                others_low = error + low - rests[label]
            lower, upper = _tiny_share(others, others_low, times * ONE, times_low * ONE)
            out[i, label] = -lower if others else 0.0
            count += lower != upper
        doubtful[i] = count


@compiled
def _summed(x: Any, room: Any, m: Any, high: Any, low: Any) -> None:
    terms, rests, lanes, errors = room
    for i in range(x.shape[0]):
        m[i] = maximum(x[i])
        high[i], low[i] = _added_up(x[i], m[i], terms, rests, lanes, errors)


@inlined  # type: ignore[untyped-decorator]
def _beside_a_tie(d: Any, r: Any, less: Any, less_low: Any, error: Any) -> Any:
    """Return ``d + r - less`` rounded, and whether that is certain, where d + r may be on a tie."""
    total, rest = two_sum(d, -less)
    rest, more = two_sum(rest, r)
    total, rest = two_sum(total, rest)
    more -= less_low
    # Then no other numbers than these two can be the nearest one, and neither they nor their distance underflow.
    narrow = error < -total * 2.0**-60 and -total > _LEAST_SHARE
    if rest == 0.0:
        return total, narrow
    step = 1 if rest < 0.0 else -1
    # All are negative: one more in the bits of a number is the next one towards minus infinity.
    other = as_float(as_integer(total) + step)
    off = (rest - 0.5 * (other - total)) + more
    beyond = off < 0.0 if step > 0 else off > 0.0
    return other if beyond else total, narrow and abs(off) > error + 2.0**-52 * abs(more)


@compiled
def _subtracted(x: Any, m: Any, less: Any, less_low: Any, error: Any, out: Any, doubtful: Any) -> None:
    for i in range(x.shape[0]):
        count = 0
        for k in range(x.shape[1]):
            value = np.float64(x[i, k])
            d, r = two_sum(value, -m[i])
            total, rest = two_sum(d, -less[i])
            rest += r - less_low[i]
            width = fma(-ROUNDED, total, error[i])
            lower, upper = total + (rest - width), total + (rest + width)
            if value == -np.inf:
                lower, upper = value, value
            out[i, k] = lower
            count += lower != upper
        if count:
            count = 0
            for k in range(x.shape[1]):
                value = np.float64(x[i, k])
                if value != -np.inf:
                    d, r = two_sum(value, -m[i])
                    out[i, k], certain = _beside_a_tie(d, r, less[i], less_low[i], error[i])
                    count += not certain
        doubtful[i] = count


def sums(x: Array, workspace: Workspace) -> RowSums:
    """Return the sums of rows, right to DELTA; terms below exp(-800) count as this one."""
    m, high, low = np.empty(len(x)), np.empty(len(x)), np.empty(len(x))
    _summed(read_only(x), _room(0, workspace), m, high, low)
    return RowSums(m, high, low)


def shares(x: Array, labels: Array | None, weights: Array, divisor: float, out: Array, workspace: Workspace) -> Array:
    """Write weights times the probabilities over a divisor, less 1 at the labels; return the rows in doubt (N,)."""
    doubtful = np.empty(len(x), dtype=np.int64)
    labels = np.empty(0, dtype=np.int64) if labels is None else labels.astype(np.int64, copy=False)
    _shared(read_only(x), labels, weights, divisor, _room(x.shape[1], workspace), out, doubtful)
    return doubtful > 0


def differences(x: Array, m: Array, less: tuple[Array, Array], error: Array, out: Array) -> Array:
    """Write ``x - m - less``, of which `less` is known to `error` (N,); return the rows in doubt (N,)."""
    doubtful = np.empty(len(x), dtype=np.int64)
    _subtracted(read_only(x), m, *less, error, out, doubtful)
    return (doubtful > 0) | np.isnan(error)


def _room(classes: int, workspace: Workspace) -> tuple[Array, ...]:
    """Return buffers for the terms of a row, and for the sums of its classes."""
    sizes = {"exponentials": classes, "errors": classes, "lanes": _LANES, "errors of lanes": _LANES}
    return tuple(workspace.take(purpose, (size,)) for purpose, size in sizes.items())
