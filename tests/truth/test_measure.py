"""Outputs judged against the truth: every outcome on a case made by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS
from stablemax.operations import all_operations
from stablemax.operations.operation import Second
from stablemax.operations.targets import CellTargets, LabelTargets, SoftTargets
from stablemax.operations.undefined import rows_without_distribution
from stablemax.operations.variant import get
from stablemax.results import Outcome
from stablemax.truth import balls as exact_module
from stablemax.truth.case import Case, Shared, setting_of
from stablemax.truth.measure import (
    CODES,
    default_max_ulp,
    exact_result,
    judge,
    row_error_u,
)
from stablemax.truth.verdicts import variant_verdict

from ..exactly import second_for
from ..records import CROSS_ENTROPY, LOG_SOFTMAX, LOGSUMEXP, SIGMOID, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

INF, NAN = math.inf, math.nan


def outcomes(output: list[float], x: list[float], fmt=FLOAT32, operation=SOFTMAX, **options):  # type: ignore[no-untyped-def]
    """Judge one row and return the outcomes by name."""
    given = fmt.cast(np.array([x]))
    judged = judge(fmt.cast(np.array([output])), exact_result(operation, given, None, fmt), fmt, **options)
    return [CODES[c].value for c in judged.codes[0]]


def after(value: float, steps: int, dtype: type = np.float32) -> float:
    """The number that lies some steps of the format above."""
    for _ in range(steps):
        value = np.nextafter(dtype(value), dtype(INF))
    return float(value)


HALVES = [0.0, 0.0]  # softmax is exactly 1/2 and 1/2, its log -log 2


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([0.5, 0.5], ["ok", "ok"]),
        ([0.5, after(0.5, 4096)], ["ok", "ok"]),
        ([0.5, after(0.5, 4097)], ["ok", "inaccurate"]),
        ([0.0, 0.5], ["lost", "ok"]),
        ([-0.0, 0.5], ["lost", "ok"]),
        ([INF, 0.5], ["overflow", "ok"]),
        ([0.5, -INF], ["ok", "overflow"]),
        ([NAN, 1.5], ["nan", "inaccurate"]),
    ],
)
def test_a_cell_is_judged_by_what_became_of_it(output: list[float], expected: list[str]) -> None:
    assert outcomes(output, HALVES) == expected


@pytest.mark.parametrize(("limit", "expected"), [(0.0, "inaccurate"), (0.999, "inaccurate"), (1.0, "ok"), (INF, "ok")])
def test_another_limit_can_be_set(limit: float, expected: str) -> None:
    assert outcomes([0.5, after(0.5, 1)], HALVES, max_ulp=limit) == ["ok", expected]


@pytest.mark.parametrize(("fmt", "ulp"), [(FLOAT64, 2**26.5), (FLOAT32, 4096), (FLOAT16, 2**5.5), (BFLOAT16, 16)])
def test_inaccurate_means_that_more_than_half_of_the_bits_are_gone(fmt, ulp: float) -> None:  # type: ignore[no-untyped-def]
    assert default_max_ulp(fmt) == ulp


def test_a_zero_is_right_where_the_format_has_no_smaller_number() -> None:
    # softmax of [0, -200] in float32: e**-200 is below half of the smallest subnormal.
    assert outcomes([1.0, 0.0], [0.0, -200.0]) == ["ok", "ok"]
    # e**-103 is not: 1.4e-45 is nearer.
    assert outcomes([1.0, 0.0], [0.0, -103.0]) == ["ok", "lost"]


def test_an_infinity_is_right_where_the_truth_is_one() -> None:
    assert outcomes([0.0, -INF], [0.0, -INF], operation=LOG_SOFTMAX) == ["ok", "ok"]
    assert outcomes([0.0, -1e30], [0.0, -INF], operation=LOG_SOFTMAX) == ["ok", "inaccurate"]
    # A logsumexp that rounds to infinity: log(2) more than the largest number of float16 does not.
    assert outcomes([INF], [65504.0, 65504.0], FLOAT16, LOGSUMEXP) == ["overflow"]


@pytest.mark.parametrize("x", [[0.0, INF], [NAN, 0.0], [-INF, -INF]])
@pytest.mark.parametrize("output", [[NAN, NAN], [0.0, 1.0]])
def test_where_the_formula_has_no_value_every_output_is_undefined(x: list[float], output: list[float]) -> None:
    assert outcomes(output, x) == ["undefined", "undefined"]
    assert rows_without_distribution(np.array([x, [0.0, -INF]])).tolist() == [True, False]


def test_a_row_that_the_cast_made_infinite_is_blamed_on_the_input() -> None:
    x = FLOAT16.cast(np.array([[1e5, 0.0], [1.0, 1.0]]))
    exact = exact_result(SOFTMAX, x, None, FLOAT16)
    output = FLOAT16.cast(np.array([[NAN, NAN], [0.5, 0.5]]))
    judged = judge(output, exact, FLOAT16, input_overflow=np.array([True, False]))
    assert [[CODES[c].value for c in row] for row in judged.codes] == [["input-overflow"] * 2, ["ok"] * 2]
    assert np.isnan(judged.error_ulp[0]).all()


def test_a_format_without_infinities_shows_overflow_as_nan() -> None:
    fmt = FORMATS["float8_e4m3fn"]
    assert outcomes([NAN, 0.5], HALVES, fmt) == ["nan", "ok"]


@given(st.integers(1, 2000))
def test_an_error_is_counted_in_ulps_and_in_u(steps: int) -> None:
    x = np.zeros((1, 2))
    exact = exact_result(SOFTMAX, x, None, FLOAT64)
    judged = judge(np.array([[0.5, after(0.5, steps, np.float64)]]), exact, FLOAT64)
    assert judged.error_ulp[0].tolist() == [0.0, float(steps)]
    # At a power of two an ulp is 2 u of the value.
    assert judged.error_u[0].tolist() == [0.0, 2.0 * steps]
    assert row_error_u(np.array([[0.5, after(0.5, steps, np.float64)]]), exact, FLOAT64).tolist() == [2.0 * steps]


def test_the_error_of_a_right_tiny_loss_is_not_hidden_by_its_size() -> None:
    # [0, -40]: the loss at the larger logit is 4.248354255291589e-18 (scipy 19521); 0 is not near it.
    x = np.array([[0.0, -40.0]])
    exact = exact_result(CROSS_ENTROPY, x, LabelTargets(np.array([0])), FLOAT64)
    assert exact.truth.rounded[0, 0] == 4.248354255291589e-18
    lost = judge(np.array([0.0]), exact, FLOAT64)
    assert CODES[lost.codes[0, 0]] is Outcome.LOST
    assert lost.error_ulp[0, 0] > 2**52 - 1


def test_a_masked_class_is_0_and_its_neighbours_are_judged_without_it() -> None:
    x = np.array([[0.0, -INF, 0.0], [0.0, 0.0, -INF]])
    exact = exact_result(SOFTMAX, x, None, FLOAT64)
    assert exact.truth.rounded.tolist() == [[0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
    logs = exact_result(LOG_SOFTMAX, x, None, FLOAT64).truth.rounded
    assert logs.tolist() == [[-math.log(2), -INF, -math.log(2)], [-math.log(2), -math.log(2), -INF]]
    assert not exact.undefined.any()


def test_a_soft_target_of_0_ignores_a_masked_class_and_one_above_0_makes_the_loss_infinite() -> None:
    # optax 896
    x = np.array([[0.0, -INF, 0.0]] * 2)
    targets = SoftTargets(np.array([[0.5, 0.0, 0.5], [0.5, 0.25, 0.25]]))
    exact = exact_result(CROSS_ENTROPY, x, targets, FLOAT64)
    assert exact.truth.rounded.ravel().tolist() == [math.log(2), INF]


def seconds(operation: Operation, which: Array, of_weights: Array) -> list[Any]:
    """Second arguments of every kind, with a row for each of `which`."""
    if operation.needs_upstream:
        return [np.array([[1.0, 2.0, 5.0], [0.5, -1.0, 0.25], [3.0, 0.0, 0.0]])[which]]
    if operation.needs_targets:
        return [
            LabelTargets(np.array([0, 1, 2])[which], divisor=7.0),
            LabelTargets(np.array([0, 1, 2])[which], np.array([[0.5], [1.0], [2.0]])[of_weights]),
            SoftTargets(np.array([[0.25, 0.5, 0.25], [1.0, 0.0, 0.0], [0.0, 0.75, 0.25]])[which]),
        ]
    if operation.second is Second.CELL_TARGETS:
        targets = np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 0.25], [0.5, 0.5, 0.5]])[which]
        return [
            CellTargets(targets, divisor=7.0),
            CellTargets(targets, targets[:, ::-1] + 0.25, np.array([[3.0, 0.25, 1.0]])),
        ]
    if operation.second is Second.LOGITS:
        return [np.array([[0.0, 1.0, 3.0], [1.0, -INF, 2.0], [-INF, 0.0, 0.5]])[which]]
    return [None]


@pytest.mark.parametrize("operation", all_operations(), ids=str)
def test_many_equal_rows_have_the_truth_of_the_one_that_they_are(operation: Operation) -> None:
    # Every row of logits with every label and every weight; so few rows are computed one by one.
    rows, labels, weights = (axis.ravel() for axis in np.meshgrid(*[np.arange(3)] * 3))
    x = np.array([[0.0, -40.0, 3.0], [1.0, -INF, 2.0], [-INF, -INF, -INF]])[rows]
    which = np.random.default_rng(0).integers(0, len(x), 200)
    pairs = zip(seconds(operation, labels, weights), seconds(operation, labels[which], weights[which]), strict=True)
    for one, many in pairs:
        alone = exact_result(operation, x, one, FLOAT32)
        together = exact_result(operation, x[which], many, FLOAT32)
        np.testing.assert_array_equal(together.undefined, alone.undefined[which])
        for part in ("nearest", "residual_ulp", "rounded"):
            np.testing.assert_array_equal(getattr(together.truth, part), getattr(alone.truth, part)[which])


def test_rows_of_equal_logits_and_other_labels_are_not_taken_for_equal() -> None:
    x = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (300, 3))
    exact = exact_result(CROSS_ENTROPY, x, LabelTargets(np.arange(300) % 3), FLOAT64)
    assert len(set(exact.truth.rounded[:3, 0].tolist())) == 3
    np.testing.assert_array_equal(exact.truth.rounded[:, 0], np.tile(exact.truth.rounded[:3, 0], 100))


def test_20_500_equal_rows_and_99_999_masked_classes_take_no_ball_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    balls_of = exact_module._balls_of

    def counted(values: Array) -> Array:
        made.append(values.size)
        return balls_of(values)

    monkeypatch.setattr(exact_module, "_balls_of", counted)
    exact_result(SOFTMAX, np.zeros((20_500, 32)), None, FLOAT16)
    assert sum(made) == 32
    x = np.full((1, 100_000), -INF)
    x[0, 50_000] = 3.5
    for operation in all_operations():
        made.clear()
        second = x.copy() if operation.second is Second.LOGITS else second_for(operation, x, [50_000], np.ones_like(x))
        exact_result(operation, x, second, FLOAT32)
        assert 0 < sum(made) < 10, operation


def test_an_upstream_gradient_that_the_format_cannot_hold_leaves_the_row_without_a_value() -> None:
    g = FORMATS["float8_e4m3fn"].cast(np.array([[1000.0, 1.0], [2.0, 1.0]]))
    exact = exact_result(SOFTMAX_VJP, np.zeros((2, 2)), g, FORMATS["float8_e4m3fn"])
    assert exact.undefined.tolist() == [True, False]
    assert exact.truth.rounded[1].tolist() == [0.25, -0.25]


def test_outcomes_are_ordered_from_harmless_to_worst() -> None:
    assert [o.value for o in CODES] == [
        *("ok", "undefined", "input-overflow", "inaccurate", "lost", "overflow", "nan"),
    ]
    assert [o.value for o in CODES if o.is_failure] == ["inaccurate", "lost", "overflow", "nan"]


def test_a_right_value_beyond_a_format_that_saturates_is_its_largest_number_and_has_no_error() -> None:
    fmt = FORMATS["float4_e2m1fn"]
    exact = exact_result(LOGSUMEXP, np.array([[6.0] * 4, [1.0, 1.0, 1.0, 1.0]]), None, fmt)
    judged = judge(np.array([6.0, 6.0]), exact, fmt, max_ulp=1.0)
    assert [CODES[c].value for c in judged.codes[:, 0]] == ["ok", "inaccurate"]
    assert np.isnan(judged.error_ulp[0, 0])
    assert judged.error_ulp[1, 0] > 3


@pytest.mark.parametrize("logit", [np.nan, -np.inf, 20.0])
def test_what_a_format_that_saturates_cannot_hold_is_an_input_overflow(logit: float) -> None:
    fmt = FORMATS["float4_e2m1fn"]
    case = Case(SOFTMAX, np.arange(1), np.array([[0.0, logit]]))
    verdict = variant_verdict(get("softmax/shifted"), setting_of(case, Shared(fmt)))
    assert verdict.worst is Outcome.INPUT_OVERFLOW
    absent = "NaN does not exist" if np.isnan(logit) else "logits beyond 6 do not exist"
    assert verdict.cause.startswith(f"{absent} in float4_e2m1fn")


@pytest.mark.parametrize(
    ("output", "outcome"), [(0.0, "ok"), (1e-39, "ok"), (-1e-39, "ok"), (1e-30, "inaccurate"), (NAN, "nan")]
)
def test_a_result_that_a_processor_flushed_has_no_error(output: float, outcome: str) -> None:
    # exp(-90) is below the smallest normal number of float32.
    exact = exact_result(SOFTMAX, np.array([[0.0, -90.0]], np.float32), None, FLOAT32)
    judged = judge(np.array([[1.0, output]], np.float32), exact, FLOAT32, may_flush=True)
    assert CODES[judged.codes[0, 1]].value == outcome
    assert np.isfinite(judged.error_ulp[0, 1]) == (output == 1e-30)
    strict = judge(np.array([[1.0, output]], np.float32), exact, FLOAT32)
    assert CODES[strict.codes[0, 1]].value != "ok"


def test_a_logit_that_a_format_lacks_takes_its_cell_along_or_its_row() -> None:
    x = np.array([[1e30, 0.0], [1.0, 2.0]])
    for operation, codes in ((SIGMOID, [[True, False], [False, False]]), (SOFTMAX, [[True, True], [False, False]])):
        setting = setting_of(Case(operation, np.arange(2), x), Shared(FLOAT16))
        judged = setting.judge(FLOAT16.cast(setting.exact.truth.rounded))
        np.testing.assert_array_equal(judged.codes == CODES.index(Outcome.INPUT_OVERFLOW), codes)


def test_the_error_of_a_row_is_relative_to_its_largest_value_and_infinite_beside_0() -> None:
    def errors(output: list[list[float]], x: list[list[float]]) -> list[float]:
        given = np.array(x, np.float32)
        exact = exact_result(LOG_SOFTMAX, given, None, FLOAT32)
        found: list[float] = row_error_u(np.array(output, np.float32), exact, FLOAT32).tolist()
        return found

    # The exact value of one class is 0, and a NaN or an infinity has no size.
    assert errors([[1e-7], [0.0], [NAN], [-INF]], [[3.0], [3.0], [3.0], [3.0]])[0] == INF
    np.testing.assert_equal(errors([[0.0], [NAN], [-INF]], [[3.0]] * 3), [NAN] * 3)
    (found,) = errors([[-math.log(2) * (1 + 2.0**-20), -math.log(2)]], [[0.0, 0.0]])
    assert abs(found - 16.0) < 1.0
    beside = errors([[-math.log(2) * (1 + 2.0**-20), -math.log(2)], [-100.0, 0.0]], [[0.0, 0.0], [0.0, 100.0]])
    assert beside[0] == found
    assert beside[1] < 1e-30


def test_each_cell_has_the_truth_of_its_own_logit_whatever_stands_beside_it() -> None:
    x = np.array([[1.0, INF, 2.0, -INF], [-INF, 3.0, NAN, -INF], [0.5, -1.0, 4.0, -INF]])
    found = exact_result(SIGMOID, x, None, FLOAT64)
    for at in np.ndindex(x.shape):
        alone = exact_result(SIGMOID, x[at].reshape(1, 1), None, FLOAT64)
        np.testing.assert_equal(found.truth.rounded[at], alone.truth.rounded[0, 0])
        assert found.undefined[at] == alone.undefined[0, 0]
