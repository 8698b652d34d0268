"""Sums over rows, exact and rounded once, whatever the order."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Self

import numpy as np

from stablemax.numerics.formats import Array

_SPLIT = 27
_LOWEST = 1074  # The smallest float64 is 2**-1074: every sum is an integer number of them.
_FEW = 32  # Numbers that Python adds as integers sooner than NumPy sorts them into bins.
_PIECE = 1 << 25  # Numbers added at a time: a bin of halves of 27 bits then stays an exact float64.


class Additive:
    """A dataclass that merges field by field with ``+``, in any order to the same bits where its fields do."""

    def __add__(self, other: Self) -> Self:
        """Merge two parts."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True)
class ExactSum(Additive):
    """A sum of float64 numbers without any rounding, which merges with others in any order.

    Each number is an integer significand times a power of two; the significands of one exponent are
    added as integers. So neither the order of the numbers, nor how they are cut into pieces, nor
    who adds which piece changes a bit of the result.

    >>> parts = [ExactSum.of(np.array([1e308, 1.0])), ExactSum.of(np.array([-1e308, 1e308]))]
    >>> (parts[0] + parts[1]).rounded() == (parts[1] + parts[0]).rounded() == 1e308
    True
    >>> ExactSum.of(np.array([0.1] * 10)).rounded(), sum([0.1] * 10)
    (1.0, 0.9999999999999999)
    """

    units: int = 0  #: the sum of the finite numbers, in units of 2**-1074
    count: int = 0  #: of all numbers, those that are not finite included
    nans: int = 0
    infinities: int = 0
    negative_infinities: int = 0

    @classmethod
    def of(cls, values: Array) -> ExactSum:
        """Add the numbers of an array of any shape."""
        numbers = np.asarray(values, dtype=np.float64).ravel()
        finite = np.isfinite(numbers)
        if finite.all():
            return cls(_units(numbers), numbers.size)
        others = [int(mark(numbers).sum()) for mark in (np.isnan, np.isposinf, np.isneginf)]
        return cls(_units(numbers[finite]), numbers.size, *others)

    @classmethod
    def of_ones(cls, count: int) -> ExactSum:
        """Sum a number of ones: what a mean without weights divides by.

        >>> ExactSum.of_ones(3).rounded()
        3.0
        """
        return cls(count << _LOWEST, count)

    @property
    def is_finite(self) -> bool:
        """Whether all its numbers are finite."""
        return not (self.nans or self.infinities or self.negative_infinities)

    @property
    def fraction(self) -> Fraction:
        """The sum of the finite numbers, exactly."""
        return Fraction(self.units, 1 << _LOWEST)

    def rounded(self) -> float:
        """Round once to float64; infinities and NaN as IEEE adds them."""
        if self.is_finite:
            return quotient(self.units, 1 << _LOWEST)
        if self.nans or (self.infinities and self.negative_infinities):
            return math.nan
        return math.inf if self.infinities else -math.inf

    def mean(self, divisor: ExactSum | None = None) -> float:
        """Divide by the number of numbers, or by the sum of their weights (pytorch 25571), and round once.

        The mean of no numbers, or of a total weight of 0, is NaN, as in PyTorch.
        """
        by = self.count << _LOWEST if divisor is None else divisor.units
        if by and not self.is_finite:
            return self.rounded()
        return quotient(self.units, by) if by else math.nan


def _units(values: Array) -> int:
    """Add finite numbers as integers: of each exponent the upper and the lower half of the significands."""
    if values.size <= _FEW:
        # Each denominator is a power of two.
        ratios = (value.as_integer_ratio() for value in values.tolist())
        return sum(numerator << _LOWEST + 1 - denominator.bit_length() for numerator, denominator in ratios)
    total = 0
    for start in range(0, values.size, _PIECE):
        fraction, exponent = np.frexp(values[start : start + _PIECE])
        significand = np.ldexp(fraction, 53).astype(np.int64)
        # A subnormal number has trailing zeros here; shifted as far down as the smallest number, it is whole.
        low = int(exponent.min())
        bins = exponent - low
        high = np.bincount(bins, weights=significand >> _SPLIT)
        rest = np.bincount(bins, weights=significand & ((1 << _SPLIT) - 1))
        shift = _LOWEST - 53 + low
        for i in np.flatnonzero((high != 0) | (rest != 0)).tolist():
            units = (int(high[i]) << _SPLIT) + int(rest[i])
            total += units << (shift + i) if shift + i >= 0 else units >> -(shift + i)
    return total


def exact_sum(values: Array) -> Fraction:
    """Sum finite float64 numbers without any rounding, in every order the same.

    >>> exact_sum(np.array([1e308, 1.0, -1e308]))
    Fraction(1, 1)
    """
    return ExactSum.of(values).fraction


def rounded(value: Fraction) -> float:
    """Round an exact number to the nearest float64; beyond the largest one it is infinite.

    >>> rounded(Fraction(1, 3)), rounded(Fraction(10) ** 400)
    (0.3333333333333333, inf)
    """
    return quotient(value.numerator, value.denominator)


def quotient(numerator: int, denominator: int) -> float:
    """Divide two integers, the second above 0, and round once.

    >>> quotient(1, 3), quotient(-(10**400), 1)
    (0.3333333333333333, -inf)
    """
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf
