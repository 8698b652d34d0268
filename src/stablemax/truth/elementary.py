"""exp, expm1, log and log1p of double-double numbers, each with a proved bound of its error.

Numbers are pairs (high, low) with ``high = round(high + low)``; u is 2**-53. No function of NumPy's own enters a bound:
where one gives a first guess, what it lacks is computed and held against what the proof needs.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np

from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import fast_two_sum, halves, product_of_halves, two_prod, two_sum
from stablemax.truth.precision import working_precision

Pair = tuple[Array, Array]

EXP_REACH = 620.0
"""exp is taken within this of 0: its results, and their products with others, stay far from underflow."""
EXP_ERROR = 2.0**-102
"""Relative error of `exp`."""
EXPM1_ERROR, EXPM1_DISTANCE = 2.0**-92, 2.0**-101
"""Relative error of `expm1`, and its error in units of 1 + |expm1|: both bound it."""
LOG1P_ERROR, LOG1P_DISTANCE, LOG_ERROR = 2.0**-90, 2.0**-101, 2.0**-104
"""Relative error of `log1p`, and its error less `LOG_ERROR` of itself: the second also bounds that of `log`."""

_STEPS = 256
_BITS_OF_STEPS = 34
"""An n of at most 18 bits times a head of so many bits is exact."""
_TO_INTEGER = 1.5 * 2.0**52
_NEAR_ZERO = 2.0**-30
"""Below, log1p is its Taylor series to the fourth power."""
_GUESS = 2.0**-40
"""How good a first guess of a logarithm has to be: then the third power of what it lacks is below 2**-121."""
_SMALL = 0.25


@dataclass(frozen=True)
class _Constants:
    """What exp needs: log(2) / 256 in three parts, the powers 2**(j / 256) and 1 / k! as pairs."""

    steps: tuple[float, float, float]
    per_step: float
    powers: Pair
    third: tuple[float, float]  #: 1 / 3!
    fourth: tuple[float, float]  #: 1 / 4!
    tail: tuple[float, ...]  #: 1 / 9! to 1 / 5!


@functools.cache
def _constants() -> _Constants:
    with working_precision(300):
        step = flint.arb.const_log2() / _STEPS
        first = _head(step)
        second = _head(step - first)
        powers = [pair_of((step * j).exp()) for j in range(_STEPS)]
        return _Constants(
            (first, second, float((step - first - second).mid())),
            float((1 / step).mid()),
            (np.array([high for high, _ in powers]), np.array([low for _, low in powers])),
            pair_of(flint.arb(1) / 6),
            pair_of(flint.arb(1) / 24),
            tuple(1 / math.factorial(k) for k in (9, 8, 7, 6, 5)),
        )


def _head(value: Any) -> float:
    """First bits of a positive number, so few that n times them is exact."""
    whole = float(value.mid())
    unit = math.ldexp(1.0, math.frexp(whole)[1] - _BITS_OF_STEPS)
    return math.floor(whole / unit) * unit


def pair_of(value: Any) -> tuple[float, float]:
    """Return an exact number as a pair of floats.

    >>> with working_precision(200):
    ...     high, low = pair_of(flint.arb(1) / 3)
    >>> high, f"{low:.4g}"
    (0.3333333333333333, '1.85e-17')
    """
    high = float(value.mid())
    return high, float((value - high).mid())


def exp(high: Array, low: Array | None) -> Pair:
    """``e**(high + low)`` for numbers from -620 to 620, to a relative error of 2**-102.

    Tang's table-driven exponential (ACM TOMS 15(2), 1989) in double-double: 2**k 2**(j/256) (1 + D), D = expm1(r). The
    errors, in units of the result: 2**-109 of the reduced argument r; 2**-105.5 of D; in T + T D, where the lower parts
    are below 2**-51.4 together and are added in three roundings, at most 2**-103.5. The sum is below 2**-102.9.
    """
    (times_high, times_low), (grown_high, grown_low), scale = _parts(high, low)
    # |T D| < 2**-9.5 T, so that Fast2Sum is exact.
    p, e = two_prod(times_high, grown_high)
    e += times_high * grown_low + times_low * grown_high
    total, rest = fast_two_sum(times_high, p)
    total, rest = fast_two_sum(total, rest + (times_low + e))
    total *= scale
    rest *= scale
    return total, rest


def expm1(high: Array, low: Array | None) -> Pair:
    """``e**(high + low) - 1`` for numbers from -620 to 620, to 2**-92 of itself and to 2**-101 of 1 and itself.

    Within log(2)/512 of 0 it is D itself, right to 2**-95 of itself, and below 2**-9.5. Elsewhere it is exp minus 1: at
    least 2**-9.6 of exp, or of 1, whose error is 2**-102 of exp; the sum of the lower parts is rounded to 2**-105.
    """
    _, (grown_high, grown_low), _ = _parts(high, low)
    e_high, e_low = exp(high, low)
    total, error = two_sum(e_high, np.full_like(e_high, -1.0))
    total, error = two_sum(total, error + e_low)
    near = np.abs(high * _constants().per_step) < 0.49
    return np.where(near, grown_high, total), np.where(near, grown_low, error)


def _parts(high: Array, low: Array | None) -> tuple[Pair, Pair, Array]:
    """Return T = 2**(j/256) as a pair, D = expm1(r) as a pair, and 2**k, with exp = T (1 + D) 2**k.

    r is x - n log(2)/256, |r| < 2**-9.52. n has at most 18 bits, and the first two parts of log(2)/256 34 bits each:
    their products with n are exact, and so is the first difference (Sterbenz; it is a multiple of 2**-62). What remains
    is rounded in terms below 2**-58: an error of 2**-109 of r.
    """
    c = _constants()
    shifted = high * c.per_step + _TO_INTEGER
    n = shifted - _TO_INTEGER
    which = shifted.view(np.int64) - np.float64(_TO_INTEGER).view(np.int64)
    r, error = two_sum(high - n * c.steps[0], n * -c.steps[1])
    if low is not None:
        r, other = two_sum(r, low)
        error += other
    r, r_low = fast_two_sum(r, error - n * c.steps[2])
    j = which & (_STEPS - 1)
    scale = (((which >> (_STEPS.bit_length() - 1)) + 1023) << 52).view(np.float64)
    return (c.powers[0][j], c.powers[1][j]), _expm1_near_zero(r, r_low), scale


def _expm1_near_zero(r: Array, r_low: Array) -> Pair:
    """expm1 for |r| < 2**-9.52, to 2**-95 of itself, and to 2**-105.5.

    From 1/5! on the series is summed in float64: an error of 2u of 1/5!, times r**4, is 2**-97 of expm1. Its product
    with r and the low part of r that is left out of it cost 2**-69.4 each beside 1/4!, which is 2**-98 of expm1 each.
    What follows the power 9 is below 2**-107. In the products above, lower parts are rounded to 2**-106 of each sum.
    """
    c, r_halves = _constants(), halves(r)
    tail = c.tail[0] * r
    for coefficient in c.tail[1:-1]:
        tail += coefficient
        tail *= r
    tail += c.tail[-1]
    s, s_low = fast_two_sum(np.full_like(r, c.fourth[0]), r * tail)
    s_low += c.fourth[1]
    for constant, rest in (c.third, (0.5, 0.0), (1.0, 0.0)):
        p, e = _times(r, r_low, r_halves, s, s_low)
        s, s_low = fast_two_sum(np.full_like(r, constant), p)
        s_low += e + rest if rest else e
    return fast_two_sum(*_times(r, r_low, r_halves, s, s_low))


def _times(r: Array, r_low: Array, r_halves: Pair, s: Array, s_low: Array) -> Pair:
    p, e = product_of_halves(r, r_halves, s, halves(s))
    e += r * s_low + r_low * s
    return p, e


def log(high: Array, low: Array) -> Pair:
    """Logarithm of positive numbers from 2**-890 to 2**890, to 2**-101 and 2**-104 of itself.

    One step of Newton's from any guess g: log y = g + log1p(z), z = y exp(-g) - 1. The product is right to 2**-102 +
    2**-103, and z as well; log1p(z) = z - z**2/2 to 2**-121; the sum of the lower parts is rounded to 2**-105 of the
    logarithm. NaN where the guess is so bad that z is not small.
    """
    guess = np.log(high)
    e_high, e_low = exp(-guess, None)
    p, error = two_prod(high, e_high)
    error += high * e_low + low * e_high
    z, z_low = two_sum(p, np.full_like(p, -1.0))
    z, z_low = two_sum(z, z_low + error)
    return _guess_plus_log1p(guess, z, z_low)


def log1p(high: Array, low: Array) -> Pair:
    """``log(1 + high + low)`` for numbers from -1 + 2**-50 to 2**890, to 2**-90 of itself, and as `log`."""
    out, out_low = np.zeros_like(high), np.zeros_like(high)
    sizes = np.abs(high)
    is_tiny, is_small = sizes < _NEAR_ZERO, sizes < _SMALL
    for where, function in (
        (is_tiny, _log1p_series),
        (is_small & ~is_tiny, _log1p_near),
        (~is_small, _log_of_1_plus),
    ):
        if where.all():
            return function(high, low)
        if where.any():
            out[where], out_low[where] = function(high[where], low[where])
    return out, out_low


def _log1p_series(x: Array, x_low: Array) -> Pair:
    """``x - x**2/2 + x**3/3 - x**4/4``: what follows is below 2**-122 of x, and so are the roundings of the last two.

    x**2 is right to 2**-103 of itself, which is 2**-134 of x; the lower parts, below 2u of x, are added in three
    roundings: 2**-103.
    """
    square, error = two_prod(x, x)
    error += 2 * (x * x_low)
    cubic = x * square * (1 / 3 - x * 0.25)
    total, rest = fast_two_sum(x, -0.5 * square)
    return fast_two_sum(total, x_low + (rest + (cubic - 0.5 * error)))


def _log1p_near(x: Array, x_low: Array) -> Pair:
    """log1p where 1 + x would lose digits of x: with m = expm1(-g), z is m + x + x m.

    m is right to 2**-92 of itself, which is at most 4/3 of x, and to 2**-102 of exp(-g) < 4/3. With the roundings of
    the product and the sums z is right to 2**-91.2 of x, and log1p(x) is at least 0.89 |x|; and to 2**-101.3.
    """
    guess = np.log1p(x)
    m, m_low = expm1(-guess, None)
    p, error = two_prod(x, m)
    error += x * m_low + x_low * m
    z, z_low = two_sum(x, m)
    z, other = two_sum(z, p)
    return _guess_plus_log1p(guess, *two_sum(z, (z_low + other) + (x_low + m_low) + error))


def _log_of_1_plus(x: Array, x_low: Array) -> Pair:
    """Log of 1 + x, whose rounding is below 2**-105 of 1 + x."""
    y, rest = two_sum(x, np.full_like(x, 1.0))
    return log(*two_sum(y, rest + x_low))


def _guess_plus_log1p(guess: Array, z: Array, z_low: Array) -> Pair:
    total, rest = two_sum(guess, z)
    total, rest = two_sum(total, rest + (z_low - 0.5 * z * z))
    bad = ~(np.abs(z) <= _GUESS)
    return np.where(bad, np.nan, total), np.where(bad, np.nan, rest)
