"""Sums over rows: exact in every order, rounded once."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.numerics.exact_sum import ExactSum, exact_sum, rounded

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.lists(FINITE, max_size=40)


def summed(values: list[float]) -> Fraction:
    return sum(map(Fraction, values), Fraction(0))


@given(VALUES)
def test_a_sum_is_that_of_the_fractions(values: list[float]) -> None:
    assert exact_sum(np.array(values)) == summed(values)


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for reduce in (ExactSum.rounded, ExactSum.mean):
        before, after = (reduce(ExactSum.of(np.array(v))) for v in (values, shuffled))
        assert np.float64(before).tobytes() == np.float64(after).tobytes()


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_a_mean_is_the_nearest_float_to_the_exact_mean(values: list[float]) -> None:
    # float() of a fraction is correctly rounded; a mean of finite numbers is never beyond the largest.
    assert ExactSum.of(np.array(values)).mean() == float(summed(values) / len(values))


@given(st.lists(st.tuples(FINITE, st.floats(0, 1e300)), min_size=1, max_size=20))
def test_a_weighted_mean_divides_by_the_sum_of_the_weights(pairs: list[tuple[float, float]]) -> None:
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    total = summed(weights.tolist())
    found = ExactSum.of(values).mean(ExactSum.of(weights))
    if total == 0:
        assert math.isnan(found) or math.isinf(found)
    else:
        assert found == rounded(summed(values.tolist()) / total)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=33, max_size=60))
def test_a_sum_of_many_numbers_has_the_units_of_its_numbers_one_by_one(values: list[float]) -> None:
    assert ExactSum.of(np.array(values)) == sum((ExactSum.of(np.array([value])) for value in values), ExactSum())


def test_a_mean_does_not_overflow_where_its_sum_does() -> None:
    assert ExactSum.of(np.full(3, 1e308)).mean() == 1e308
    assert ExactSum.of(np.full(3, 1e308)).rounded() == math.inf


def test_a_large_term_does_not_swallow_the_small_ones() -> None:
    assert ExactSum.of(np.array([1e308, 1.0, -1e308])).rounded() == 1.0
    # 2**25 terms of 1e-3 added one by one in float32 are 2.3 % off; their float64 sum is exact here.
    assert ExactSum.of(np.full(1 << 20, 1e-3)).rounded() == float(Fraction(1e-3) * (1 << 20))


def test_subnormal_numbers_are_summed_exactly() -> None:
    tiny = 5e-324
    assert exact_sum(np.array([tiny] * 3 + [-1.0])) == 3 * Fraction(tiny) - 1


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([], 0.0),
        ([1.0, math.inf], math.inf),
        ([math.inf, -math.inf], math.nan),
        ([1.0, math.nan, math.inf], math.nan),
        ([-math.inf, -1e308], -math.inf),
    ],
)
def test_infinities_and_nan_add_up_as_ieee_has_them(values: list[float], total: float) -> None:
    found = ExactSum.of(np.array(values)).rounded()
    assert found == total or (math.isnan(found) and math.isnan(total))


def test_the_mean_of_nothing_is_zero_over_zero() -> None:
    # pytorch 70348, 116349
    assert math.isnan(ExactSum.of(np.array([])).mean())
    assert math.isnan(ExactSum.of(np.zeros(3)).mean(ExactSum.of(np.zeros(3))))
    assert math.isnan(ExactSum.of(np.ones(3)).mean(ExactSum.of(np.zeros(3))))
    assert math.isnan(ExactSum.of(np.full(3, math.inf)).mean(ExactSum.of(np.zeros(3))))


ANY = st.lists(st.floats(), max_size=30)


@given(st.lists(ANY, max_size=6), st.randoms(use_true_random=False))
def test_a_sum_is_the_same_however_it_is_cut_and_merged(pieces: list[list[float]], random: object) -> None:
    whole = ExactSum.of(np.array([v for piece in pieces for v in piece]))
    parts = [ExactSum.of(np.array(piece)) for piece in pieces]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert sum(parts, ExactSum()) == whole


@given(st.fractions())
def test_rounding_is_to_nearest(value: Fraction) -> None:
    near = rounded(value)
    error = abs(Fraction(near) - value)
    for other in (np.nextafter(near, -np.inf), np.nextafter(near, np.inf)):
        assert error <= abs(Fraction(float(other)) - value)


def test_beyond_the_largest_number_rounding_gives_infinity_with_its_sign() -> None:
    assert rounded(Fraction(10) ** 400) == math.inf
    assert rounded(-(Fraction(10) ** 400)) == -math.inf
