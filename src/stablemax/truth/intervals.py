"""Printed numbers held against the truth: each is an interval, half a unit of its last digit either way."""

from __future__ import annotations

import math

import numpy as np

from stablemax.inputs.printed import PrintedNumbers
from stablemax.numerics.formats import Array
from stablemax.truth.balls import Truth

_TIE = 1.0 + 2.0**-40
"""The end of an interval, and the rounding of a difference in float64 beside it."""


def nearest_printed(output: Array, printed: PrintedNumbers, truth: Truth) -> Array:
    """Return the number of each interval that is nearest to the exact value; what has no finite one stays.

    >>> printed = PrintedNumbers(np.array([[0.005, 0.005]]), 2)
    >>> nearest_printed(np.array([[0.33, 0.35]]), printed, Truth.known([[1 / 3, 1 / 3]])).tolist()
    [[0.3333333333333333, 0.345]]
    """
    exact = truth.nearest
    values, reach = output.reshape(exact.shape), printed.reach.reshape(exact.shape)
    with np.errstate(invalid="ignore"):
        is_interval = np.isfinite(values) & np.isfinite(exact) & (reach > 0)
        nearest = np.where(is_interval, np.clip(exact, values - reach, values + reach), values)
    return nearest.reshape(output.shape)


def beyond_digits(output: Array, printed: PrintedNumbers, truth: Truth) -> int | None:
    """Count the numbers that are not printed as the exact value would be; None where one lies out of reach.

    Exact numbers are judged elsewhere.
    """
    exact = truth.nearest
    values, half, reach = (array.reshape(exact.shape) for array in (output, printed.half_units, printed.reach))
    compared = np.isfinite(values) & np.isfinite(exact) & (half > 0)
    distance = np.abs(values[compared] - exact[compared])
    is_in_reach = bool((distance <= reach[compared] * _TIE).all())
    return int(np.count_nonzero(distance > half[compared] * _TIE)) if is_in_reach else None


def wrong_digit(output: float, exact: float, half_unit: float) -> str:
    """Say from which printed digit on a number is wrong; empty where it is exact, or has no such digit.

    >>> wrong_digit(0.142154, 0.141153958, 5e-7)
    ', wrong from digit 3 of 6 on'
    """
    error = abs(output - exact)
    if not half_unit or not output or not math.isfinite(error) or error <= half_unit:
        return ""
    first = math.floor(math.log10(abs(output)))
    count = first - round(math.log10(2 * half_unit)) + 1
    # The first place at which the numbers, rounded there, are further apart than half of its unit.
    place = math.floor(math.log10(2 * error))
    return f", wrong from digit {min(max(first - place + 1, 1), count)} of {count} on"
