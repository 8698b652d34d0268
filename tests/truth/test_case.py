"""Inputs in a format: which rows count, what a mean divides by, and the mean of a variant's losses."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations.targets import TargetOptions
from stablemax.operations.variant import get
from stablemax.results import Outcome
from stablemax.text.vocabulary import IGNORED
from stablemax.truth.case import Case, Shared, setting_of, spread
from stablemax.truth.measure import CODES
from stablemax.truth.verdicts import variant_verdict

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

RNG = np.random.default_rng(3)
X, LABELS = RNG.normal(size=(6, 4)) * 5, np.array([1, IGNORED, 0, 3, IGNORED, 2])
WEIGHTS = np.array([0.5, 2.0, 1.0, 4.0])
COUNTED = np.flatnonzero(LABELS != IGNORED)


def case_of(x: Array = X, labels: Array = LABELS, operation: Any = CROSS_ENTROPY, **more: Any) -> Case:
    return Case(operation, np.arange(len(x)), x, labels, **more)


def losses(fmt: Format, weights: Array | None = None) -> list[Fraction]:
    """The exact losses of the rows that count, times their weights, to far more digits than a format has."""
    x = fmt.cast(X).astype(np.float64)
    rows = setting_of(case_of(x[COUNTED], LABELS[COUNTED], targets=TargetOptions(weights)), Shared(FLOAT64)).exact.truth
    rests = np.ldexp(rows.residual_ulp, rows.ulp_exponent(FLOAT64))
    return [
        Fraction(a) + Fraction(b) for a, b in zip(rows.nearest.ravel().tolist(), rests.ravel().tolist(), strict=True)
    ]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("fmt", [FLOAT32, FLOAT16], ids=str)
def test_a_mean_divides_by_the_rows_that_count_or_their_weights_and_a_sum_by_1(
    fmt: Format, weights: Array | None
) -> None:
    total, labels = sum(losses(fmt, weights)), LABELS[COUNTED]
    by = Fraction(len(labels)) if weights is None else sum(Fraction(w) for w in weights[labels].tolist())
    for summed, right in ((False, total / by), (True, total)):
        case = case_of(reduced=True, summed=summed, targets=TargetOptions(weights))
        found = setting_of(case, Shared(fmt)).exact.truth
        assert found.rounded.item() == fmt.round(np.array(float(right)))
        assert case.mean_divisor == (1.0 if summed else by)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("operation", [CROSS_ENTROPY, CROSS_ENTROPY_GRAD], ids=str)
def test_an_ignored_row_has_0_whatever_is_in_it_and_a_row_that_counts_has_not(
    operation: Any, weights: Array | None
) -> None:
    x, row = X.copy(), Outcome.INPUT_OVERFLOW
    x[1], x[4, 0], x[5, 0] = 1e30, np.nan, 1e30
    setting = setting_of(case_of(x, operation=operation, targets=TargetOptions(weights)), Shared(FLOAT16))
    judged = setting.judge(FLOAT16.cast(setting.exact.truth.rounded))
    assert not setting.exact.truth.rounded[[1, 4]].any()
    assert not setting.exact.undefined[[1, 4]].any()
    assert (judged.codes == CODES.index(row)).any(axis=1).tolist() == [False] * 5 + [True]
    assert not (judged.codes[:5] != CODES.index(Outcome.OK)).any()


@pytest.mark.parametrize("operation", [CROSS_ENTROPY, CROSS_ENTROPY_GRAD], ids=str)
def test_where_no_row_counts_the_gradient_of_a_mean_has_no_value_and_a_loss_is_0(operation: Any) -> None:
    case = case_of(labels=np.full(6, IGNORED), operation=operation)
    setting = setting_of(replace(case, divisor=case.mean_divisor), Shared(FLOAT32))
    has_value = operation is CROSS_ENTROPY
    assert setting.exact.undefined.tolist() == [not has_value] * 6
    judged = setting.judge(np.ones(setting.exact.truth.nearest.shape, np.float32))
    expected = Outcome.INACCURATE if has_value else Outcome.UNDEFINED
    assert (judged.codes == CODES.index(expected)).all()
    assert setting.mean is None


def test_what_is_spread_keeps_its_columns_and_its_type() -> None:
    kept = np.array([False, True, False, True])
    for values in (np.array([1, 2]), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([True, True])):
        out = spread(values, kept, 0)
        assert (out.shape, out.dtype) == ((4, *values.shape[1:]), values.dtype)
        np.testing.assert_array_equal(out[kept], values)
        assert not out[~kept].any()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("fmt", [FLOAT32, FLOAT16, FLOAT64], ids=str)
def test_the_mean_that_a_variant_gives_is_near_to_the_exact_one(fmt: Format, weights: Array | None) -> None:
    setting = setting_of(case_of(targets=TargetOptions(weights)), Shared(fmt))
    verdict = variant_verdict(get("cross_entropy/compensated"), setting)
    assert verdict.mean_error_ulp is not None
    assert verdict.mean_error_ulp < 4.0
    total, labels = sum(losses(fmt, weights)), LABELS[COUNTED]
    by = len(labels) if weights is None else sum(weights[labels].tolist())
    assert verdict.mean is not None
    assert abs(verdict.mean - float(total) / by) <= 8 * fmt.u * float(total) / by
