"""Which number is nearest to an enclosed value: certain exactly where no value that is enclosed has another."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.truth.deciding import decide
from stablemax.truth.enclosure import Enclosure

from ..exactly import EVERY_FORMAT

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

TINY = 2.0**-80


def decided(high: float, low: float, radius: float, fmt: Format) -> tuple[bool, float]:
    """Whether the nearest number is certain, and which it is."""
    certain, (_, _, nearest) = decide(None, Enclosure(*(np.array([[v]]) for v in (high, low, radius))), fmt)
    return bool(certain[0, 0]), float(nearest[0, 0])


def neighbours(fmt: Format, significand: int, exponent: int) -> tuple[float, float, float]:
    """A number of a format, the next one, and the middle of the two."""
    lower, upper = (np.ldexp(float(s), exponent - fmt.precision + 1) for s in (significand, significand + 1))
    return float(lower), float(upper), float(lower / 2 + upper / 2)


NARROW = [f for f in EVERY_FORMAT.values() if f.precision < 50]


@pytest.mark.parametrize("fmt", NARROW, ids=str)
@given(data=st.data())
def test_beside_a_tie_it_is_certain_as_far_as_the_radius_leaves_no_choice(fmt: Format, data: st.DataObject) -> None:
    significand = data.draw(st.integers(2 ** (fmt.precision - 1), 2**fmt.precision - 2))
    lower, upper, middle = neighbours(fmt, significand, data.draw(st.integers(max(fmt.emin, -800), fmt.emax - 1)))
    even = lower if significand % 2 == 0 else upper
    for sign in (1.0, -1.0):
        assert decided(sign * middle, 0.0, 0.0, fmt) == (True, sign * even)
        for off, nearest in ((TINY, upper), (-TINY, lower)):
            low = sign * middle * off
            assert decided(sign * middle, low, 0.0, fmt) == (True, sign * nearest)
            assert decided(sign * middle, low, abs(low) / 64, fmt) == (True, sign * nearest)
            # What is enclosed lies on both sides.
            assert not decided(sign * middle, low, abs(low) * 2, fmt)[0]
        assert not decided(sign * middle, 0.0, middle * TINY, fmt)[0]


@given(st.integers(2**52, 2**53 - 2), st.integers(-300, 300))
def test_of_float64_it_is_decided_by_the_lower_part_from_either_neighbour(significand: int, exponent: int) -> None:
    lower, upper, _ = neighbours(FLOAT64, significand, exponent)
    even, half = lower if significand % 2 == 0 else upper, (upper - lower) / 2
    for sign in (1.0, -1.0):
        for high, low in ((lower, half), (upper, -half)):
            assert decided(sign * high, sign * low, 0.0, FLOAT64) == (True, sign * even)
            assert not decided(sign * high, sign * low, half * 2.0**-40, FLOAT64)[0]
            inside = low * (1 - 2.0**-30)
            assert decided(sign * high, sign * inside, half * 2.0**-40, FLOAT64) == (True, sign * high)


@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32, BFLOAT16, FLOAT16], ids=str)
@given(
    value=st.floats(0.01, 100.0),
    low=st.floats(-1.0, 1.0),
    radius=st.sampled_from([0.0, 2.0**-110, 2.0**-70, 2.0**-56, 2.0**-50, 2.0**-20, 0.25]),
)
def test_what_is_certain_is_nearest_to_both_ends(fmt: Format, value: float, low: float, radius: float) -> None:
    rest, width = low * value * 2.0**-54, radius * value
    rest = rest if value + rest == value else 0.0
    certain, nearest = decided(value, rest, width, fmt)
    spacing = Fraction(float(fmt.ulp(np.array(value))))
    for end in (-1, 1):
        off = abs(Fraction(value) + Fraction(rest) + end * Fraction(width) - Fraction(nearest))
        assert not certain or off <= spacing / 2
    middle = abs(abs(Fraction(value) + Fraction(rest) - Fraction(nearest)) - spacing / 2)
    # A margin, and the most of an ulp that two numbers tell.
    assert certain or middle <= 8 * Fraction(width) or Fraction(width) > spacing * Fraction(2) ** -34


def test_a_head_on_a_tie_is_decided_by_the_sign_of_a_tail_however_small() -> None:
    def nearest(head: float, tail: Enclosure) -> list[float]:
        certain, (_, _, found) = decide(Enclosure(np.array([[head]])), tail, FLOAT32)
        assert certain.all()
        return found.ravel().tolist()

    def tail_of(value: float) -> Enclosure:
        size: Array = np.array([[abs(value)]])
        return Enclosure(np.array([[value]]), np.zeros((1, 1)), size, negligible=True)

    middle = 1.0 + 2.0**-24
    for unit in (5e-324, 2.0**-1060):
        assert nearest(middle, tail_of(unit)) == [1.0 + 2.0**-23]
        assert nearest(middle, tail_of(-unit)) == [1.0]
        assert nearest(-middle, tail_of(unit)) == [-1.0]
        assert nearest(-middle, tail_of(-unit)) == [-1.0 - 2.0**-23]
