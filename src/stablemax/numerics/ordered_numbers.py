"""The numbers of a format in their order, and the whole numbers: what a bisection walks over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from stablemax.numerics.formats import FLOAT64_PRECISION, Format


class OrderedNumbers(Protocol):
    """Numbers without any between two neighbours, whose ranks are neighbouring integers."""

    def nearest(self, value: float) -> float:
        """Return the number nearest to a value; the value itself where it lies beyond all of them."""

    def rank(self, number: float) -> int:
        """Return the place of a number in the order."""

    def number(self, rank: int) -> float:
        """Return the number at a place."""


@dataclass(frozen=True)
class FormatNumbers(OrderedNumbers):
    """The finite numbers of a format; 0 has rank 0, and whatever lies beyond the largest has the rank after its own.

    >>> from stablemax.numerics.formats import FLOAT16, FLOAT32
    >>> numbers = FormatNumbers(FLOAT32)
    >>> numbers.number(numbers.rank(1.0) + 1), numbers.number(-1)
    (1.0000001192092896, -1.401298464324817e-45)
    >>> FormatNumbers(FLOAT16).number(FormatNumbers(FLOAT16).rank(1e5))
    65536.0
    """

    format: Format

    @cached_property
    def _binade(self) -> int:
        """How many numbers share an exponent."""
        return 2 ** (self.format.precision - 1)

    @cached_property
    def _first_normal(self) -> int:
        return self._binade if self.format.has_subnormals else 1

    def nearest(self, value: float) -> float:
        """Round to the format what lies in its range."""
        return value if self.format.lacks(value) else float(self.format.round(value))

    def rank(self, number: float) -> int:
        """Count the numbers between 0 and this one."""
        fmt, size = self.format, abs(number)
        if size > fmt.max:
            rank = self.rank(fmt.max) + (fmt.precision < FLOAT64_PRECISION)
        elif size < fmt.smallest_normal:
            rank = int(size / fmt.smallest_subnormal)
        else:
            fraction, exponent = math.frexp(size)
            significand = int(math.ldexp(fraction, fmt.precision)) - self._binade
            rank = (exponent - 1 - fmt.emin) * self._binade + significand + self._first_normal
        return -rank if number < 0 else rank

    def number(self, rank: int) -> float:
        """Count from 0; float64 has no number beyond the largest that could be shown."""
        size, fmt = abs(rank), self.format
        if size < self._first_normal:
            return math.copysign(size * fmt.smallest_subnormal, rank)
        binade, rest = divmod(size - self._first_normal, self._binade)
        return math.copysign(math.ldexp(self._binade + rest, fmt.emin + binade - fmt.precision + 1), rank)


@dataclass(frozen=True)
class WholeNumbers(OrderedNumbers):
    """The integers, each its own rank."""

    def nearest(self, value: float) -> int:
        """Round to an integer."""
        return round(value)

    def rank(self, number: float) -> int:
        """Return the integer itself."""
        return int(number)

    def number(self, rank: int) -> int:
        """Return the integer itself."""
        return rank


def shortest(number: float, fmt: Format) -> str:
    """Write a number of a format as the shortest decimal that reads back the same in it.

    >>> from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64
    >>> shortest(88.72283172607422, FLOAT32), shortest(11.09375, FLOAT16), shortest(65519, FLOAT16)
    ('88.72283', '11.09', '65519')
    >>> shortest(709.782712893384, FLOAT64), shortest(FLOAT32.max, FLOAT32)
    ('709.782712893384', '3.4028235e+38')
    """
    if isinstance(number, int) or (float(number).is_integer() and abs(number) < _ALL_DIGITS):
        return f"{number:.0f}"
    texts = (f"{number:.{digits}g}" for digits in range(1, 17))
    return next((text for text in texts if float(fmt.round(float(text))) == number), repr(float(number)))


_ALL_DIGITS = 2**24
"""Integers below it are written out: 4.5e+02 looks like a number cut short."""
