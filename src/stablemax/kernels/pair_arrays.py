"""The kernels' passes over blocks of logits, by NumPy: without another library, to the bits of `fused_loops`."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.kernels.double_double import LEAST, ONE, exp_in_two
from stablemax.kernels.row_sums import RowSums, of_rows
from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import two_sum

LANES = 2048
"""Class k is added to sum k modulo LANES of its row, and these sums are then folded: the order of the additions, which
no block, thread or processor changes."""
CELLS = 1 << 15
"""Logits in a block: enough that two threads seldom wait for the interpreter's lock, few enough for the cache."""
CELLS_ALONE = 1 << 13
"""The C library keeps what an array of 64 KB leaves; at twice as many logits a small input takes twice as long, in page
faults. Threads want longer blocks: NumPy holds the interpreter's lock between any two operations."""
_LONG, _FEW = 256, 64


def sums(x: Array, terms: tuple[Array, Array] | None = None) -> RowSums:
    """Return the sums of rows x (N, K) in float32 or float64; the exponentials, in two numbers, into `terms`."""
    rows, classes = x.shape
    m = np.maximum.reduce(x, axis=1).astype(np.float64)
    for first in range(0, classes, LANES):
        part = x[:, first : first + LANES].astype(np.float64, copy=False)
        at = (part == beside(part, m)).ravel().nonzero()[0]
        e, rest = _exponentials(part, beside(part, -m))
        if terms is not None:
            for whole, piece in zip(terms, (e, rest), strict=True):
                whole[:, first : first + LANES] = piece
        # Beside an infinity the rounding error is NaN; else it is 0.
        e.ravel()[at], rest.ravel()[at] = 0.0, 0.0
        tops = np.bincount(at // part.shape[1], minlength=rows)
        if first == 0:
            high, low, ties = e, rest, tops
            continue
        ties += tops
        lanes = slice(0, part.shape[1])
        high[:, lanes], error = two_sum(high[:, lanes], e)
        error += rest
        low[:, lanes] += error
    is_short = rows == 1 and classes <= _FEW
    folded = _folded_row(high[0].tolist(), low[0].tolist()) if is_short else _folded(high, low)
    others, error = two_sum((of_rows(ties) - 1.0) * ONE, folded[0])
    return RowSums(of_rows(m), others, error + folded[1])


def beside(x: Array, values: Array) -> Array:
    """Return numbers of rows (N,) for an operation with the rows x (N, K): as NumPy takes the least time for it."""
    rows, classes = x.shape
    if rows == 1:
        return values.reshape(())
    # NumPy's loop over a short row would cost more than the copies.
    return values[:, None] if classes >= _LONG else np.repeat(values, classes).reshape(x.shape)


def exponentials(x: Array, m: Array, terms: tuple[Array, Array]) -> None:
    """Write ``exp(x - m)`` of rows (N, K) and given numbers m (N,), lifted, in two numbers."""
    terms[0][...], terms[1][...] = _exponentials(x.astype(np.float64), beside(x, -m))


def _exponentials(x: Array, minus_m: Array) -> tuple[Array, Array]:
    d, r = two_sum(x, minus_m)
    if not np.minimum.reduce(d, axis=None) >= LEAST:
        # A difference of -inf has the rounding error NaN.
        d, r = np.maximum(d, LEAST), np.fmin(np.fmax(r, -1.0), 1.0)
    return exp_in_two(d, r)


def _folded(high: Array, low: Array) -> tuple[Any, Any]:
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
    return of_rows(high[0]), of_rows(low[0])


def _folded_row(high: list[float], low: list[float]) -> tuple[float, float]:
    """Add the lanes of a single row as `_folded` does: of a few, Python's floats are added sooner than arrays."""
    while len(high) > 1:
        half = 1 << (len(high) - 1).bit_length() - 1
        for k in range(half, len(high)):
            high[k - half], error = two_sum(high[k - half], high[k])
            low[k - half] += error + low[k]
        del high[half:], low[half:]
    return high[0], low[0]


def shares(terms: tuple[Array, Array], times: tuple[Array, Array], out: Array) -> None:
    """Write terms (N, K) times a factor (N,), each in two numbers, as float64 into `out`."""
    high, low = beside(out, times[0]), beside(out, times[1])
    rest = terms[1] * high
    rest += terms[0] * low
    np.multiply(terms[0], high, out=out)
    out += rest


def differences(x: Array, m: Array, less: tuple[Array, Array], out: Array) -> None:
    """Write ``x - m - less`` of rows (N, K), m (N,) and two numbers (N,), as float64 into `out`."""
    d, r = two_sum(x.astype(np.float64, copy=False), beside(x, -m))
    d, rest = two_sum(d, beside(x, -less[0]))
    r -= beside(x, less[1])
    r += rest
    # Beside an infinity the rounding error is NaN.
    np.copyto(r, 0.0, where=np.isnan(r))
    np.add(d, r, out=out)
