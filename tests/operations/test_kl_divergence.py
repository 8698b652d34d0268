"""The divergence of two rows of logits: near 0, infinite, masked, and its errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablemax
from stablemax.numerics.formats import FLOAT32, FLOAT64, FORMATS
from stablemax.text.errors import StablemaxError
from stablemax.truth.measure import exact_result

from ..exactly import in_format, judge, output, truth_of, values_of
from ..records import KL_DIVERGENCE

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format

INF = math.inf
FULL = pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=["float32", "float64"])
DRAW = np.random.default_rng(4)
X = DRAW.normal(size=(30, 50)) * 3


def test_the_order_is_first_then_second() -> None:
    x, y = np.log([[0.75, 0.25]]), np.log([[0.5, 0.5]])
    assert stablemax.kl_divergence(x, y)[0] == pytest.approx(math.log(2) - 0.5623351446188083, rel=1e-14)
    assert stablemax.kl_divergence(y, x)[0] == pytest.approx(-math.log(2) - math.log(3 / 16) / 2, rel=1e-14)


def test_it_is_what_the_libraries_compute() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch's own divergence is the measure")
    first, second = (torch.log_softmax(torch.tensor(v), -1) for v in (X, X[:, ::-1].copy()))
    expected = torch.nn.functional.kl_div(second, first, log_target=True, reduction="none").sum(-1)
    np.testing.assert_allclose(stablemax.kl_divergence(X, X[:, ::-1]), expected.numpy(), rtol=1e-12)


def test_equal_rows_differ_by_exactly_0_and_are_decided() -> None:
    for y in (X, X + 4.0):
        # A shift that rounds would change the row.
        exact = exact_result(KL_DIVERGENCE, np.round(X), np.round(X) + (y - X)[0, 0], FLOAT64)
        assert (exact.truth.rounded == 0).all()
    assert (stablemax.kl_divergence(X, X) == 0).all()


def test_an_ordinary_formula_gives_rows_that_are_nearly_equal_a_negative_divergence() -> None:
    y = X.astype(np.float32) * np.float32(1 + 2**-22)
    assert (output("kl_divergence/log-softmax", X, FLOAT32, y) < 0).any()
    assert (output("kl_divergence/compensated", X, FLOAT32, y) >= 0).all()


def test_a_class_that_only_the_second_row_excludes_makes_it_infinite() -> None:
    x = np.array([[0.0, 1.0, 2.0], [0.0, -INF, 2.0], [0.0, -INF, 2.0], [0.0, 1.0, 2.0]])
    y = np.array([[0.0, -INF, 2.0], [1.0, -INF, 0.0], [1.0, 5.0, 0.0], [3.0, 1.0, 2.0]])
    exact = exact_result(KL_DIVERGENCE, x, y, FLOAT64)
    assert np.isposinf(exact.truth.rounded[:, 0]).tolist() == [True, False, False, False]
    found = output("kl_divergence/compensated", x, FLOAT64, y)
    assert np.isposinf(found).tolist() == [True, False, False, False]
    assert judge("kl_divergence/compensated", x, FLOAT64, y).worst_ulp <= 8
    # The excluded class of the third row has probability in the second.
    assert found[2] > found[1]


def test_a_row_without_a_softmax_on_either_side_has_no_divergence() -> None:
    x = np.array([[-INF, -INF], [0.0, 1.0], [INF, 0.0], [0.0, 0.0]])
    y = np.array([[0.0, 1.0], [-INF, -INF], [0.0, 0.0], [0.0, math.nan]])
    assert exact_result(KL_DIVERGENCE, x, y, FLOAT32).undefined.all()
    assert np.isnan(stablemax.kl_divergence(x, y)).all()


def test_a_tiny_probability_times_a_huge_difference_is_kept() -> None:
    # exp(-800) is 0 in float64, and exp(-800) * 1e300 is not.
    x, y = np.array([[0.0, -800.0]]), np.array([[0.0, -1e300]])
    assert output("kl_divergence/log-softmax", x, FLOAT64, y).tolist() == [0.0]
    assert judge("kl_divergence/compensated", x, FLOAT64, y).worst_ulp <= 8
    assert f"{output('kl_divergence/compensated', x, FLOAT64, y)[0]:.3g}" == "3.67e-48"


def test_rows_that_reach_up_to_the_largest_number_do_not_overflow() -> None:
    big = FLOAT64.max
    x, y = np.array([[0.0, 0.0, -big]]), np.array([[0.0, 1.0, -big / 2]])
    assert judge("kl_divergence/compensated", x, FLOAT64, y).worst_ulp <= 8


def pairs(name: str, x: Any, fmt: Format) -> Any:
    u = fmt.u
    seconds: dict[str, Any] = {
        "reversed": x[:, ::-1],
        "an ulp away": x * (1 + 8 * u * DRAW.normal(size=x.shape)),
        "half the digits away": x + DRAW.normal(size=x.shape) * math.sqrt(u),
        "one class away": x + (np.arange(x.shape[1]) == 0) * 4 * math.sqrt(u),
        "shifted": x + DRAW.uniform(-4, 4, (len(x), 1)) + 0.25 * (np.arange(x.shape[1]) == 1),
        "far": 4 * x,
    }
    return in_format(seconds[name], fmt).astype(np.float64)


@pytest.mark.slow
@FULL
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 200.0])
@pytest.mark.parametrize(
    "name", ["reversed", "an ulp away", "half the digits away", "one class away", "shifted", "far"]
)
def test_the_accurate_variant_is_right_to_eight_ulps_however_close_the_rows(
    fmt: Format, offset: float, scale: float, name: str
) -> None:
    for classes in (2, 5, 50):
        x = in_format(X[:, :classes] * scale + offset, fmt).astype(np.float64)
        assert judge("kl_divergence/compensated", x, fmt, pairs(name, x, fmt)).worst_ulp <= 8


@pytest.mark.parametrize("name", ["reversed", "an ulp away", "shifted", "far"])
@pytest.mark.parametrize(
    "fmt", [f for f in FORMATS.values() if f.precision <= 24 and f.emax >= 8], ids=lambda f: f.name
)
def test_the_wide_variant_is_rounded_once_in_narrow_formats(fmt: Format, name: str) -> None:
    x = in_format(X[:, :5], fmt).astype(np.float64)
    assert judge("kl_divergence/wide", x, fmt, pairs(name, x, fmt)).worst_ulp <= 0.51


@FULL
@given(data=st.data())
def test_the_accurate_variant_is_never_negative_and_right_over_the_whole_range(
    fmt: Format, data: st.DataObject
) -> None:
    classes = data.draw(st.integers(1, 5))
    row = st.lists(values_of(fmt, limit=fmt.max / 8), min_size=classes, max_size=classes)
    x, y = (np.array([data.draw(row)]) for _ in range(2))
    judged = judge("kl_divergence/compensated", x, fmt, y)
    assert (judged.output >= 0).all()
    assert judged.worst_ulp <= 8


def test_a_tie_that_only_an_exponential_far_below_decides_is_decided() -> None:
    # 2**24 + 1 lies between two numbers of float32, and exp(-2**24) beside it says which is nearer.
    x, y = np.array([[0.0, -(2.0**24)]]), np.array([[-(2.0**24), 1.0]])
    assert exact_result(KL_DIVERGENCE, x, y, FLOAT32).truth.rounded[0, 0] in (2.0**24, 2.0**24 + 2)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(StablemaxError, match="the second logits have shape"):
        stablemax.kl_divergence(np.zeros((2, 3)), np.zeros((2, 4)))


def test_the_oracle_agrees_with_the_truth_on_masks() -> None:
    x = np.array([[0.0, -INF, 1.0], [0.5, 0.25, 1.0]])
    y = np.array([[1.0, -INF, 0.0], [1.0, 1.0, -INF]])
    np.testing.assert_array_equal(
        exact_result(KL_DIVERGENCE, x, y, FLOAT64).truth.rounded.ravel(),
        truth_of(KL_DIVERGENCE, x, FLOAT64, y).rounded.ravel(),
    )


def test_a_divergence_within_2_to_the_minus_100_000_of_a_tie_is_judged_without_more_bits() -> None:
    # The logarithms of the two ties cancel, and what is left is 5.02e9, between two float32 numbers, and exp(-7e7).
    x, y = np.array([[-3e7, -3e7, -1e8, -1e10], [-1e10, -1e8, -3e7, -3e7]], np.float32)[:, None]
    result = stablemax.compare(x, y, operations=["kl_divergence"], formats=["float32"], variants=["wide"])
    assert [(v.worst, v.error_ulp) for v in result.verdicts] == [("ok", 0.5)]


def test_second_logits_may_be_any_numbers_and_are_the_ones_that_are_compared() -> None:
    x, y = np.array([[0.0, 1.0]]), np.array([[-1e25, 0.0]])
    result = stablemax.compare(x, y, operations=["kl_divergence"], formats=["float64"], variants=["wide"], judge=1)
    assert result.verdicts[0].worst == "ok"
    with pytest.raises(StablemaxError, match="kl_divergence needs second logits"):
        stablemax.compare(x, operations=["kl_divergence"])
