"""Printed numbers held against exact ones: a number is right where the exact one would be printed so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.inputs.printed import PrintedNumbers
from stablemax.truth.balls import Truth
from stablemax.truth.intervals import beyond_digits, nearest_printed, wrong_digit

INF, NAN = float("inf"), float("nan")


def counted(printed: list[float], exact: list[float], half_units: list[float], slack: float = 0.0) -> int | None:
    return beyond_digits(
        np.array(printed), PrintedNumbers(np.array(half_units), 3, slack=slack), Truth.known([[v] for v in exact])
    )


@given(st.floats(1e-6, 1.0), st.integers(1, 5))
def test_what_is_rounded_to_some_decimals_is_right_and_one_unit_more_is_not(exact: float, decimals: int) -> None:
    unit = 10.0**-decimals
    printed, half = round(exact, decimals), unit / 2
    assert counted([printed], [exact], [half]) == 0
    for wrong in (printed + unit, printed - unit):
        # A tie may be printed either way.
        if abs(wrong - exact) > half * 1.001:
            assert counted([wrong], [exact], [half]) is None
            assert counted([wrong, printed], [exact, exact], [half, half], slack=2 * unit) == 1


def test_exact_numbers_and_what_is_not_finite_are_judged_elsewhere() -> None:
    half = 0.005
    assert counted([0.0, 0.33], [0.4, 1 / 3], [0.0, half]) == 0
    assert counted([NAN, 0.33], [0.4, 1 / 3], [half, half]) == 0
    assert counted([0.5, 0.33], [INF, 1 / 3], [half, half]) == 0
    printed = PrintedNumbers(np.array([0.0, half, half, half]), 2)
    output = np.array([0.25, NAN, 0.5, 0.33])
    nearest = nearest_printed(output, printed, Truth.known([[0.4], [0.5], [INF], [1 / 3]]))
    np.testing.assert_array_equal(nearest, [0.25, NAN, 0.5, 1 / 3])
    assert nearest.shape == output.shape


@pytest.mark.parametrize(
    ("output", "exact", "half", "words"),
    [
        (0.5, 0.25, 0.05, ", wrong from digit 1 of 1 on"),
        (0.123, 0.124, 0.0005, ", wrong from digit 3 of 3 on"),
        (0.123, 0.133, 0.0005, ", wrong from digit 2 of 3 on"),
        (12.5, 99.5, 0.05, ", wrong from digit 1 of 3 on"),
        (1234.0, 1244.0, 0.5, ", wrong from digit 3 of 4 on"),
        (0.123, 0.1234, 0.0005, ""),
        (0.123, 0.5, 0.0, ""),
        (0.0, 0.5, 0.05, ""),
        (0.5, NAN, 0.05, ""),
        (0.5, INF, 0.05, ""),
    ],
)
def test_the_first_wrong_digit_is_told_where_there_is_one(output: float, exact: float, half: float, words: str) -> None:
    assert wrong_digit(output, exact, half) == words
    assert wrong_digit(-output, -exact, half) == words
