"""Numbers as a program printed them: how far each may lie from the number that it stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.text.words import counted

_PARTS = re.compile(r"[+-]?(\d*)(\.?)(\d*)(?:e([+-]?\d+))?", re.ASCII | re.IGNORECASE)
_ROUNDINGS = 4
"""Roundings, each of u, that a program may have made before it printed."""
# A digit outside float64 stands for nothing that float64 can show.
_FINEST, _COARSEST = -400, 400


@dataclass(frozen=True, eq=False)
class PrintedNumbers:
    """The digits of an array of printed numbers."""

    #: Half a unit of the last printed digit, in the shape of the numbers; 0 for a number that is exact.
    half_units: Array
    #: How many significant digits the longest has.
    most_digits: int
    #: How many decimals every number has; None where they differ.
    decimals: int | None = None
    #: How much further a number may lie from what it stands for, because its program rounded before it printed.
    slack: Array | float = 0.0

    @property
    def words(self) -> str:
        """Say how many digits there are.

        >>> PrintedNumbers(np.zeros(1), 6, 6).words, PrintedNumbers(np.zeros(1), 6).words
        ('6 decimals', 'at most 6 significant digits')
        """
        if self.decimals is not None:
            return counted(self.decimals, "decimal")
        return f"at most {counted(self.most_digits, 'significant digit')}"

    @property
    def reach(self) -> Array:
        """How far each number may lie from what it stands for."""
        return self.half_units + self.slack

    def shaped(self, change: Callable[[Array], Array]) -> PrintedNumbers:
        """Return the same digits in another shape, or those of some numbers."""
        slack = change(np.broadcast_to(self.slack, self.half_units.shape))
        return replace(self, half_units=change(self.half_units), slack=slack)

    def allowing_for(self, values: Array, fmt: Format) -> PrintedNumbers:
        """Allow for a program that computed the values in a format whose digits are not all printed.

        0.1234565001 is printed as 0.123457, and as 0.123456 by a program that is off by 1e-10. A few roundings are
        allowed for, and no more than is hidden by the digits: a quarter of the half unit.
        """
        if not self.is_short_of(fmt):
            return self
        return replace(self, slack=np.minimum(_ROUNDINGS * fmt.u * np.abs(values), self.half_units / 4))

    def is_short_of(self, fmt: Format) -> bool:
        """Whether the numbers have fewer digits than it takes to tell all numbers of a format apart.

        With as many digits a number is what the program computed; `repr` prints no more than that.

        >>> from stablemax.numerics.formats import FLOAT32
        >>> [PrintedNumbers(np.zeros(1), digits).is_short_of(FLOAT32) for digits in (8, 9)]
        [True, False]
        """
        return self.most_digits < math.ceil(1 + fmt.precision * math.log10(2))


def printed_numbers(rows: Sequence[Array]) -> PrintedNumbers | None:
    """Find out how far printed numbers may lie from what they stand for; None where all of them are exact.

    A number stands for half a unit of its last digit either way: 0.090031 for 5e-7. What a program leaves out counts as
    printed: where no number ends in a zero, 0.5 beside 0.141154 is 0.500000, and stands for no more than its neighbour.

    A number without a decimal point is exact where it is 0, and where no number has one: a class, a count, a mask. Half
    a unit either way would let an argmax (0, 0, 1) pass for a softmax, and a probability that is lost for a small one.

    Rows are what `parts_of` finds in their cells.

    >>> printed_numbers([parts_of(["0.090031", "0.244728", "0.665241"])]).half_units
    array([[5.e-07, 5.e-07, 5.e-07]])
    >>> printed_numbers([parts_of(["1e-3", "0"])]).half_units
    array([[0.0005, 0.    ]])
    >>> printed_numbers([parts_of(["0", "1"])]) is None
    True
    """
    parts = np.array(rows)
    last, digits, is_whole, ends_in_zero, is_float = np.moveaxis(parts, -1, 0)
    fractions = (is_whole == 0) & (digits >= 0)
    # Each number of 0.5, 0.25 is a float: nothing tells that digits were left out.
    if not fractions.any() or not (digits > 0).any() or (is_float.all() and not ends_in_zero.any()):
        return None
    most, finest = int(digits.max()), int(last[fractions].min())
    # A number that lost its last zeros had as many decimals as the longest, or as many significant digits.
    filled = np.where(digits > 0, np.maximum(finest, last + digits - most), finest)
    shortened = is_whole == 1 if ends_in_zero.any() else np.ones_like(is_whole, dtype=bool)
    exponents = np.where(shortened, np.minimum(last, filled), last).astype(np.float64)
    is_exact = (digits < 0) | ((is_whole == 1) & (digits == 0))
    half_units = np.where(is_exact, 0.0, 0.5 * 10.0 ** np.clip(exponents, -300, 308))
    same = bool(fractions.all()) and bool((last == finest).all()) and finest < 0
    return PrintedNumbers(half_units, most, -finest if same else None)


def parts_of(cells: Sequence[str]) -> Array:
    """Return what the cells of a row say of their digits, five small integers a cell."""
    return np.array([_parts(cell) for cell in cells], dtype=np.int16)


def _parts(cell: str) -> tuple[int, int, int, int, int]:
    """Return the exponent of the last digit, the significant digits (-1: no finite number), and three marks.

    They say whether the number has neither point nor exponent, whether its decimals end in a zero, and whether it is
    a number of float64.
    """
    match = _PARTS.fullmatch(cell)
    if match is None:
        return 0, -1, 0, 0, 1
    before, point, after, exponent = match.groups()
    last = min(max(int(exponent or 0) - len(after), _FINEST), _COARSEST)
    digits = min(len((before + after).lstrip("0")), _COARSEST)
    # Two decimals: Python prints 0.0 and 1.0 of any number without a fraction.
    ends_in_zero = len(after) > 1 and after.endswith("0")
    # The decimals of a float end in a 5: most numbers need no exact test, which is slow.
    may_be_float = last >= 0 or after.rstrip("0")[-1:] in ("", "5")
    # Decimal knows no exponent of twenty digits; beyond float64 a number is one of it where it is 0.
    in_range = _FINEST < last < _COARSEST
    is_float = may_be_float and digits < 60 and (Decimal(cell) == Decimal(float(cell)) if in_range else not digits)
    return last, digits, not point and exponent is None, ends_in_zero, is_float
