"""The mean and the sum of exact losses, and which of the two a result is."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.numerics.formats import FLOAT64, FORMATS
from stablemax.text.vocabulary import Reduction
from stablemax.truth.balls import Truth
from stablemax.truth.measure import ExactResult
from stablemax.truth.reductions import reduced, which_reduction

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format

MEAN, SUM = Reduction.MEAN, Reduction.SUM
BOTH = (MEAN, SUM)


def losses(values: list[float], *, undefined: bool = False) -> ExactResult:
    column = np.array(values).reshape(-1, 1)
    return ExactResult(Truth(column, np.zeros(column.shape), column), np.full(len(column), undefined))


# --- the mean and the sum --------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", list(FORMATS.values()), ids=lambda f: f.name)
@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=20), rest=st.floats(-0.49, 0.49), mean=st.booleans())
def test_a_reduced_loss_is_the_fraction_that_it_should_be(
    fmt: Format, values: list[float], rest: float, mean: bool
) -> None:
    column = np.array(values).reshape(-1, 1)
    # Exact values lie between two float64 numbers, nearer to the one that is written down.
    residual_ulp = rest * FLOAT64.ulp(column) / fmt.ulp(column)
    exact = ExactResult(Truth(column, residual_ulp, fmt.round(column)), np.zeros(len(values), dtype=bool))
    rests = np.ldexp(residual_ulp, fmt.ulp_exponent(column)).ravel().tolist()
    divisor = len(values) if mean else 1
    right = sum(Fraction(v) + Fraction(r) for v, r in zip(values, rests, strict=True)) / divisor
    truth = reduced(exact, fmt, divisor).truth
    assert truth.nearest.shape == (1, 1)
    assert truth.nearest.item() == float(right)
    assert np.array_equal(truth.rounded.ravel(), fmt.round([float(right)]), equal_nan=True)
    remainder = (right - Fraction(float(right))) / Fraction(float(fmt.ulp(float(right))))
    assert truth.residual_ulp.item() == pytest.approx(float(remainder), rel=1e-9, abs=1e-300)


def test_the_mean_of_no_rows_has_no_value_and_their_sum_is_0() -> None:
    for fmt in FORMATS.values():
        assert reduced(losses([]), fmt, 0).undefined.tolist() == [True]
        total = reduced(losses([]), fmt, 1)
        assert (total.undefined.tolist(), total.truth.nearest.item()) == ([False], 0.0)


def test_a_row_without_a_loss_leaves_the_reduction_without_a_value_and_an_infinite_one_makes_it_infinite() -> None:
    for fmt in FORMATS.values():
        assert reduced(losses([1.0, math.nan], undefined=True), fmt, 2).undefined.tolist() == [True]
        infinite = reduced(losses([1.0, math.inf]), fmt, 2)
        assert (infinite.undefined.tolist(), infinite.truth.nearest.item()) == ([False], math.inf)


# --- which of the two ------------------------------------------------------------------------------


def test_a_loss_is_the_reduction_that_it_is_nearer_to() -> None:
    right = {MEAN: 2.0, SUM: 8.0}
    assert [which_reduction(v, right) for v in (2.0, 4.9, 5.1, 8.0, 1e9)] == [(MEAN,), (MEAN,), (SUM,), (SUM,), (SUM,)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_may_be_either(value: float) -> None:
    assert which_reduction(value, {MEAN: 2.0, SUM: 8.0}) == BOTH


def test_of_one_row_the_mean_and_the_sum_are_the_same() -> None:
    assert which_reduction(1.0, {MEAN: 2.0, SUM: 2.0}) == BOTH


def test_a_loss_of_no_rows_is_the_sum_if_it_is_0_and_may_be_either_if_it_is_nan() -> None:
    right = {MEAN: math.nan, SUM: 0.0}
    assert which_reduction(0.0, right) == (SUM,)
    assert which_reduction(math.nan, right) == BOTH


def test_infinite_reductions_tell_nothing_apart() -> None:
    assert which_reduction(math.inf, {MEAN: math.inf, SUM: math.inf}) == BOTH
    assert which_reduction(3.0, {MEAN: math.inf, SUM: math.inf}) == BOTH


def test_one_wild_cell_of_a_gradient_does_not_outvote_the_others() -> None:
    mean = np.array([[0.25, -0.25, 0.0], [0.125, 0.125, -0.25]])
    for value in (mean, 2 * mean):
        wild = value.copy()
        wild[0, 0] = 1e30
        expected = MEAN if value is mean else SUM
        assert which_reduction(wild, {MEAN: mean, SUM: 2 * mean}) == (expected,)


def test_a_value_that_is_far_from_both_is_neither_where_the_distance_is_limited() -> None:
    right = {MEAN: 2.0, SUM: 8.0}
    assert which_reduction(8.05, right, within=0.01) == (SUM,)
    assert which_reduction(8.2, right, within=0.01) == BOTH
