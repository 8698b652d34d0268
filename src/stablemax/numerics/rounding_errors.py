"""Sums and products as two numbers: the rounded one and what the rounding took off."""

from __future__ import annotations

from typing import Any

from stablemax.numerics.formats import Array

_SPLIT = 2.0**27 + 1.0


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Return the rounded sum and its rounding error: Knuth's 2Sum, for any signs and sizes.

    >>> import numpy as np
    >>> two_sum(np.array([1.0]), np.array([1e-20]))
    (array([1.]), array([1.e-20]))
    """
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def fast_two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded sum and its rounding error where no |a| is below its |b|, or a is 0: Dekker's Fast2Sum.

    >>> import numpy as np
    >>> fast_two_sum(np.array([1.0]), np.array([1e-20]))
    (array([1.]), array([1.e-20]))
    """
    total = a + b
    return total, b - (total - a)


def two_prod(a: Any, b: Any) -> tuple[Any, Any]:
    """Return the rounded product and its rounding error: Dekker's, of Veltkamp's halves.

    The error is exact where the product is 0 or its size lies between 2**-968 and 2**995, and so do its factors' sizes.

    >>> import numpy as np
    >>> product, error = two_prod(np.array([0.1]), np.array([3.0]))
    >>> from fractions import Fraction
    >>> Fraction(product[0]) + Fraction(error[0]) == Fraction(0.1) * 3
    True
    """
    return product_of_halves(a, halves(a), b, halves(b))


def product_of_halves(a: Any, halves_of_a: tuple[Any, Any], b: Any, halves_of_b: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return what `two_prod` does, of factors whose halves are at hand."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = halves_of_a, halves_of_b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def halves(a: Any) -> tuple[Any, Any]:
    """Split numbers below 2**996 into two of at most 26 bits each: Veltkamp's splitting.

    >>> high, low = halves(0.1)
    >>> high + low == 0.1, (high * high - 0.1 * 0.1) + 2 * high * low + low * low != 0
    (True, True)
    """
    upper = a * _SPLIT
    upper = upper - (upper - a)
    return upper, a - upper
