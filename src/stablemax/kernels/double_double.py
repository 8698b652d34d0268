"""Sums and products as two numbers: the rounded one and what the rounding took off."""

from __future__ import annotations

import numpy as np

from stablemax.numerics.formats import Array

LEAST, MOST = 2.0**-450, 2.0**450
"""Factors between them have a product that `two_prod` neither overflows nor loses in underflow."""
_SPLIT = 2.0**27 + 1.0


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded sum and its rounding error: Knuth's 2Sum, for any signs and sizes.

    >>> two_sum(np.array([1.0]), np.array([1e-20]))
    (array([1.]), array([1.e-20]))
    """
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def two_prod(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded product and its rounding error: Dekker's, of Veltkamp's halves.

    >>> product, error = two_prod(np.array([0.1]), np.array([3.0]))
    >>> from fractions import Fraction
    >>> Fraction(product[0]) + Fraction(error[0]) == Fraction(0.1) * 3
    True
    """
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Array) -> tuple[Array, Array]:
    upper = a * _SPLIT
    upper = upper - (upper - a)
    return upper, a - upper


def over_weight(high: Array, low: Array, weights: Array, divisor: float) -> tuple[Array, Array]:
    """Return what to divide exponentials by, and then to multiply them by, for ``e / (high + low) * w / divisor``.

    Mostly the second is 1: the denominator ``(high + low) divisor / w`` is rounded once.

    >>> over_weight(np.array([3.0]), np.array([0.0]), np.array([1.0]), 49.0)
    (array([147.]), array([1.]))
    """
    times = divisor / weights
    product, error = two_prod(times, weights)
    rest = ((divisor - product) - error) / weights
    bottom, error = two_prod(high, times)
    bottom += error + (high * rest + low * times)
    # A weight of 1e-180 has no such denominator; a weight of 0, or NaN, nothing but its factor.
    sizes = (high, times, weights, np.full_like(high, divisor))
    inside = np.logical_and.reduce([(size >= LEAST) & (size <= MOST) for size in sizes])
    return np.where(inside, bottom, high + low), np.where(inside, 1.0, weights / divisor)
