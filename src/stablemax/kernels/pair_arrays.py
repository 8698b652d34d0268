"""The kernels' passes over blocks of logits, by NumPy: without another library, to the bits of `fused_loops`."""

from __future__ import annotations

import numpy as np

from stablemax.kernels.double_double import LEAST, ONE, exp_in_two
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import two_sum

LANES = 2048
"""Class k is added to sum k modulo LANES of its row, and these sums are then folded: the order of the additions, which
no block, thread or processor changes."""
CELLS = 1 << 15
"""Logits in a block: enough that two threads seldom wait for the interpreter's lock, few enough for the cache."""
_LONG = 256


def sums(x: Array, terms: tuple[Array, Array] | None = None) -> RowSums:
    """Return the sums of rows x (N, K) in float32 or float64; the exponentials, in two numbers, into `terms`."""
    rows, classes = x.shape
    width = min(classes, LANES)
    m = np.maximum.reduce(x, axis=1).astype(np.float64)
    high, low, ties = np.zeros((rows, width)), np.zeros((rows, width)), np.zeros(rows)
    for first in range(0, classes, LANES):
        part = x[:, first : first + LANES].astype(np.float64, copy=False)
        minus_m = _column(-m, part.shape)
        at = np.flatnonzero(part == -minus_m)
        e, rest = _exponentials(part, minus_m)
        if terms is not None:
            for whole, piece in zip(terms, (e, rest), strict=True):
                whole[:, first : first + LANES] = piece
        # Beside an infinity the rounding error is NaN; else it is 0.
        e.ravel()[at], rest.ravel()[at] = 0.0, 0.0
        ties += np.bincount(at // part.shape[1], minlength=rows)
        lanes = slice(0, part.shape[1])
        high[:, lanes], error = two_sum(high[:, lanes], e)
        error += rest
        low[:, lanes] += error
    others, rest = _folded(high, low)
    others, error = two_sum((ties - 1.0) * ONE, others)
    return RowSums(m, others, error + rest)


def _column(values: Array, shape: tuple[int, ...]) -> Array:
    """Return values (N,) beside rows: repeated where NumPy's loop over a short row would cost more than the copies."""
    return values[:, None] if shape[1] >= _LONG else np.repeat(values, shape[1]).reshape(shape)


def exponentials(x: Array, m: Array, terms: tuple[Array, Array]) -> None:
    """Write ``exp(x - m)`` of rows (N, K) and given numbers m (N,), lifted, in two numbers."""
    terms[0][...], terms[1][...] = _exponentials(x.astype(np.float64), _column(-m, x.shape))


def _exponentials(x: Array, minus_m: Array) -> tuple[Array, Array]:
    d, r = two_sum(x, minus_m)
    if not np.minimum.reduce(d, axis=None) >= LEAST:
        # A difference of -inf has the rounding error NaN.
        d, r = np.maximum(d, LEAST), np.fmin(np.fmax(r, -1.0), 1.0)
    return exp_in_two(d, r)


def _folded(high: Array, low: Array) -> tuple[Array, Array]:
    """Add the lanes (N, L): the upper half of each row, from the largest power of two on, to the lower one."""
    # Rows of few lanes would be taken one by one.
    high, low = np.ascontiguousarray(high.T), np.ascontiguousarray(low.T)
    while len(high) > 1:
        half = 1 << (len(high) - 1).bit_length() - 1
        over = len(high) - half
        high[:over], error = two_sum(high[:over], high[half:])
        error += low[half:]
        low[:over] += error
        high, low = high[:half], low[:half]
    return high[0], low[0]


def shares(terms: tuple[Array, Array], times: tuple[Array, Array], out: Array) -> None:
    """Write terms (N, K) times a factor (N,), each in two numbers, as float64 into `out`."""
    high, low = (part[:, None] for part in times)
    rest = terms[1] * high
    rest += terms[0] * low
    np.multiply(terms[0], high, out=out)
    out += rest


def differences(x: Array, m: Array, less: tuple[Array, Array], out: Array) -> None:
    """Write ``x - m - less`` of rows (N, K), m (N,) and two numbers (N,), as float64 into `out`."""
    d, r = two_sum(x.astype(np.float64, copy=False), _column(-m, x.shape))
    d, rest = two_sum(d, _column(-less[0], x.shape))
    r -= less[1][:, None]
    rest += r
    # A difference of -inf has the rounding error NaN.
    np.add(d, rest, out=out, where=np.isfinite(d))
    np.copyto(out, d, where=~np.isfinite(d))
