"""Sums over rows, exact and rounded once, whatever the order."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stablemax.formats import Array

_SPLIT = 27


def exact_sum(values: Array) -> Fraction:
    """Sum finite float64 numbers without any rounding.

    Parameters
    ----------
    values : ndarray of float64
        Finite; any shape. At most 2**36 of them.

    Returns
    -------
    Fraction
        The exact sum, in every order the same.

    Notes
    -----
    Each number is an integer significand times a power of two; significands of one exponent are
    added as integers, in two halves so that int64 cannot overflow.

    Examples
    --------
    >>> exact_sum(np.array([1e308, 1.0, -1e308]))
    Fraction(1, 1)
    """
    fraction, exponent = np.frexp(np.asarray(values, dtype=np.float64).ravel())
    if fraction.size == 0:
        return Fraction(0)
    significand = np.ldexp(fraction, 53).astype(np.int64)
    order = np.argsort(exponent, kind="stable")
    exponent, significand = exponent[order], significand[order]
    starts = np.flatnonzero(np.diff(exponent, prepend=exponent[0] - 1))
    high = np.add.reduceat(significand >> _SPLIT, starts).tolist()
    low = np.add.reduceat(significand & ((1 << _SPLIT) - 1), starts).tolist()
    lowest = int(exponent[0])
    total = 0
    for upper, lower, e in zip(high, low, exponent[starts].tolist(), strict=True):
        total += ((upper << _SPLIT) + lower) << (e - lowest)
    return Fraction(total) * Fraction(2) ** (lowest - 53)


def rounded(value: Fraction) -> float:
    """Round an exact number to the nearest float64; beyond the largest one it is infinite.

    Examples
    --------
    >>> rounded(Fraction(1, 3)), rounded(Fraction(10) ** 400)
    (0.3333333333333333, inf)
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def reduced_sum(values: Array) -> float:
    """Sum float64 numbers exactly and round once; infinities and NaN as IEEE has them."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        with np.errstate(invalid="ignore"):
            return float(np.sum(values[~np.isfinite(values)]))
    return rounded(exact_sum(values))


def reduced_mean(values: Array, weights: Array | None = None) -> float:
    """Mean of float64 numbers, sum and quotient exact, rounded once.

    Parameters
    ----------
    values : ndarray of float64
        Already multiplied by the weights.
    weights : ndarray of float64, optional
        What to divide by the sum of, instead of by the number of values (pytorch 25571).

    Returns
    -------
    float
        NaN for no values or a total weight of 0: 0/0, as PyTorch.

    Examples
    --------
    >>> reduced_mean(np.array([1e308, 1e308, 1e308]))
    1e+308
    """
    values = np.asarray(values, dtype=np.float64)
    divisor = Fraction(values.size) if weights is None else exact_sum(weights)
    if not np.isfinite(values).all():
        return reduced_sum(values) if divisor else math.nan
    total = exact_sum(values)
    if divisor == 0:
        return math.nan if total == 0 else math.copysign(math.inf, total)
    return rounded(total / divisor)
