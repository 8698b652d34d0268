"""Elementary functions in two numbers, written once: NumPy runs them on arrays, Numba inside its loops.

They use +, -, *, / and the bit pattern of a double, each of them exactly rounded by IEEE 754, in a fixed order and
without a fused multiply-add, which NumPy has not. So their bits are those of no particular processor or compiler.
Augmented assignments spare NumPy an array, and are plain assignments to Numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.numerics.rounding_errors import two_prod, two_sum

LIFT = 192
"""Exponentials are kept as 2**LIFT times what they are: so none that a share can show is subnormal."""
ONE = 2.0**LIFT
"""The exponential of the maximum, lifted."""
LEAST = -800.0
"""Differences below count as this one: of its share nothing is left, however it is rounded."""

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fefa0000p-1"), float.fromhex("0x1.cf79abc9e3b3ap-40")
"""log(2) in two; the first has 42 bits, so that its product with an exponent is exact."""
LOG2_E = float.fromhex("0x1.71547652b82fep+0")
TO_INTEGER = 1.5 * 2.0**52
"""Adding it rounds to an integer, which then stands in the low bits."""
_PLACE = 52
_EXPONENT_OF_ONE = (1023 + LIFT) << _PLACE
_ROOT_HALF = 0x3FE6A09E667F3BCD
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (1.0 / math.factorial(k) for k in range(2, 14))
_ODD = tuple(1.0 / k for k in range(23, 1, -2))


def bits(t: Any) -> Any:
    """Return the bit pattern of float64 numbers, as integers."""
    return t.view(np.int64)


def from_bits(i: Any) -> Any:
    """Return the float64 numbers of some bit patterns."""
    return i.view(np.float64)


def where(condition: Any, then: Any, other: Any) -> Any:
    """Return what `numpy.where` does, of NumPy's scalars too: there it takes as long as forty operations."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, then, other)
    return then if condition else other


def quotient_in_two(high: Any, low: Any, by_high: Any, by_low: Any) -> tuple[Any, Any]:
    """Return ``(high + low) / (by_high + by_low)`` in two numbers, right to 2**-100 or so.

    >>> q, rest = quotient_in_two(np.array([1.0]), np.array([0.0]), np.array([3.0]), np.array([0.0]))
    >>> q[0], rest[0] == 2.0**-54 / 3
    (np.float64(0.3333333333333333), np.True_)
    """
    q = high / by_high
    product, error = two_prod(q, by_high)
    return q, (((high - product) - error) + low - q * by_low) / by_high


def exp_in_two(d: Any, r: Any) -> tuple[Any, Any]:
    """Return ``exp(d + r)`` times 2**LIFT in two numbers, right to 2**-55, for d from -800 to 0 and a tiny r.

    Cody and Waite: d is n log(2) + v, and exp(v) is 1 + v + v**2 p(v), Taylor's polynomial, with an error below 2**-57.
    1 + v is taken without an error, the rest is below 0.07 of it and so rounded on a scale of 2**-56.

    >>> high, low = exp_in_two(np.array([-1.0]), np.array([0.0]))
    >>> f"{high[0] / ONE:.12g}"
    '0.367879441171'
    """
    t = d * LOG2_E
    t += TO_INTEGER
    n = t - TO_INTEGER
    v = d - n * LN2_HIGH
    n *= LN2_LOW
    w = v + 0.0
    v -= n
    # What v lost by its rounding, and the rounding error of the difference that d is.
    w -= v
    w -= n
    w += r
    # Odd and even powers apart, so that a processor has two things to do at a time.
    v2 = v * v
    p = v2 * _C13
    p += _C11
    p *= v2
    p += _C9
    p *= v2
    p += _C7
    p *= v2
    p += _C5
    p *= v2
    p += _C3
    p *= v
    even = v2 * _C12
    even += _C10
    even *= v2
    even += _C8
    even *= v2
    even += _C6
    even *= v2
    even += _C4
    even *= v2
    even += _C2
    p += even
    p *= v2
    h = v + p
    h *= w
    w += h
    p += w
    h = v + 1.0
    rest = (1.0 - h) + v
    rest += p
    scale = from_bits((bits(t) << _PLACE) + _EXPONENT_OF_ONE)
    high = h + rest
    h -= high
    h += rest
    h *= scale
    high *= scale
    return high, h


def log1p_in_two(high: Any, low: Any) -> tuple[Any, Any]:
    """Return ``log(1 + high + low)`` in two numbers, right to 2**-57, for numbers of 0 or more.

    1 + q is 2**e f, and log f is 2 atanh(z) of z = (f - 1) / (f + 1), at most 0.172: the series of atanh is z, in
    two numbers, and a rest below 0.01 of it. Where e is 0, f - 1 is q itself, so that nothing cancels.

    >>> high, low = log1p_in_two(np.array([1e-30, 1.0]), np.zeros(2))
    >>> [f"{value:.12g}" for value in high]
    ['1e-30', '0.69314718056']
    """
    total, rest = two_sum(1.0, high)
    rest += low
    i = bits(total)
    e = (i - _ROOT_HALF) >> _PLACE
    near = e == 0
    f = from_bits(i - (e << _PLACE))
    scale = from_bits((1023 - e) << _PLACE)
    top, top_low = where(near, high, f - 1.0), where(near, low, rest * scale)
    by, by_low = two_sum(2.0, top)
    z, z_low = quotient_in_two(top, top_low, by, by_low + top_low)
    z2 = z * z
    p = z2 * _ODD[0]
    for coefficient in _ODD[1:]:
        p += coefficient
        p *= z2
    count = e.astype(np.float64)
    found, rest = two_sum(count * LN2_HIGH, 2.0 * z)
    rest += 2.0 * (z * p + (z_low + z_low * z2)) + count * LN2_LOW
    high = found + rest
    return high, rest - (high - found)
