"""Logarithms of weighted sums of exponentials, whose weights may have any sign."""

from __future__ import annotations

import math

import numpy as np

from stablemax.kernels.double_double import LN2_HIGH, LN2_LOW
from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import two_sum

BLOCK_CELLS = 1 << 16
"""Numbers that are computed at once, so that they stay in the cache."""
NEAR = -500
"""Weights of a row are compared as they are down to 2**-500 of the largest. What a smaller one lacks is added to its
logit: it counts only beside logits that are as far below."""
OF_NOTHING = -10_000
"""In place of the exponent of a weight that does not count: below that of every number."""


def logs_of_weighted_sums(x: Array, b: Array) -> tuple[Array, Array]:
    """Return ``log|s|`` and the sign of s, for ``s = sum(b exp(x))`` of each row of x and b (N, K): float64 (N,).

    A weight of 0 ignores even an infinite logit, as in SciPy. The error is a few units of u where the weights have one
    sign; where terms cancel, it is their condition number times as large.

    >>> log, sign = logs_of_weighted_sums(np.array([[1.0, 2.0]]), np.array([[1.0, -1.0]]))
    >>> [f"{v:.9g}" for v in (*log, *sign)]
    ['1.54132485', '-1']
    """
    rows, classes = x.shape
    log, sign = np.full(rows, -math.inf), np.zeros(rows)
    step = max(1, BLOCK_CELLS // max(1, classes))
    with np.errstate(all="ignore"):
        for start in range(0, rows if classes else 0, step):
            block = slice(start, start + step)
            log[block], sign[block] = _of_block(x[block].astype(np.float64), b[block].astype(np.float64))
    return log, sign


def _of_block(x: Array, b: Array) -> tuple[Array, Array]:
    x[b == 0] = -math.inf
    high, low, exponent, m = _scaled_sums(x, b)
    log, sign = np.where(high == 0, -math.inf, m + _log(np.abs(high), low * np.sign(high), exponent)), np.sign(high)
    # Nothing finite counts beside an infinity or a NaN: they add as IEEE has it.
    beyond = np.flatnonzero(~((np.isfinite(x) | (x == -math.inf)) & np.isfinite(b)).all(axis=1))
    if len(beyond):
        total = (b[beyond] * np.exp(np.where(np.isfinite(x[beyond]), 0.0, x[beyond]))).sum(axis=1)
        log[beyond], sign[beyond] = np.log(np.abs(total)), np.sign(total)
    return log, sign


def _scaled_sums(x: Array, b: Array) -> tuple[Array, Array, Array, Array]:
    """Return the sum as two numbers, and the exponent of 2 and the logit m that it is taken relative to.

    So that nothing overflows, m is the logit of a term that no other exceeds by much, its weight considered.
    """
    fraction, power = np.frexp(b)
    power = np.where(x == -math.inf, OF_NOTHING, power)
    largest = power.max(axis=1, keepdims=True)
    near = np.maximum(power - largest, NEAR)
    far = power - largest - near
    m = x.max(axis=1, keepdims=True)
    order = (x - np.where(np.isfinite(m), m, 0.0)) + far * (LN2_HIGH + LN2_LOW)
    at = order.argmax(axis=1)[:, None]
    m, base = np.take_along_axis(x, at, 1), np.take_along_axis(far, at, 1)
    m = np.where(np.isfinite(m), m, 0.0)
    d, rest = two_sum(x, -m)
    if far.any():
        d, rounded = two_sum(d, (far - base) * LN2_HIGH)
        rest += rounded + (far - base) * LN2_LOW
    e = np.exp(d)
    # -inf - m leaves NaN as its error; its exponential is 0.
    e += e * np.where(np.isfinite(rest), rest, 0.0)
    high, low = _sum_in_two(np.ldexp(fraction, near) * e)
    return high, low, (largest + base)[:, 0], m[:, 0]


def _sum_in_two(terms: Array) -> tuple[Array, Array]:
    """Sum each row of terms of any sign in a tree, its rounding errors beside it."""
    high, low = terms, np.zeros_like(terms)
    while high.shape[1] > 1:
        half = high.shape[1] // 2
        total, error = two_sum(high[:, :half], high[:, half : 2 * half])
        error += low[:, :half] + low[:, half : 2 * half]
        high = np.concatenate([total, high[:, 2 * half :]], axis=1)
        low = np.concatenate([error, low[:, 2 * half :]], axis=1)
    return two_sum(high[:, 0], low[:, 0])


def _log(high: Array, low: Array, exponent: Array) -> Array:
    """Return ``log((high + low) 2**exponent)`` of positive numbers: of one number where the product is one."""
    whole = np.ldexp(high, exponent)
    inside = (whole > 2.0**-900) & (whole < 2.0**900)
    return np.where(inside, np.log(whole), np.log(high) + exponent * math.log(2)) + low / high
