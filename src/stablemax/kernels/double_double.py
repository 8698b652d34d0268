"""A quotient of a double-double number, whose denominator is rounded once."""

from __future__ import annotations

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import two_prod

LEAST, MOST = 2.0**-450, 2.0**450
"""Factors between them have a product that `two_prod` neither overflows nor loses in underflow."""


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
