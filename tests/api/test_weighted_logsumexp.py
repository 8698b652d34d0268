"""Log-sum-exps with factors, held against ball arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import stablemax
from stablemax.compute import weighted_sums
from stablemax.kernels import double_double

INF, NAN = math.inf, math.nan
U = 2.0**-53


def truth(x: list[float], b: list[float]) -> tuple[Any, Any, float]:
    """Return log|s| and the sign of s = sum(b exp(x)) of finite numbers, and the condition number of s."""
    flint.ctx.prec = 4000
    try:
        m = max(x)
        terms = [flint.arb(w) * (flint.arb(v) - flint.arb(m)).exp() for v, w in zip(x, b, strict=True)]
        total = sum(terms, flint.arb(0))
        if all(t == 0 for t in terms) or total.contains(0):
            return -INF, 0, 1.0
        sizes = sum((abs(t) for t in terms), flint.arb(0))
        log = abs(total).log() + m
        return log, 1 if total > 0 else -1, float((sizes / abs(total)).mid())
    finally:
        flint.ctx.prec = 53


def error(found: float, log: Any) -> float:
    flint.ctx.prec = 4000
    try:
        return abs(float((flint.arb(float(found)) - log).mid()))
    finally:
        flint.ctx.prec = 53


NUMBERS = st.one_of(st.floats(-30, 30), st.floats(-750, 750), st.floats(-1e6, 1e6))
FACTORS = st.one_of(st.floats(-4, 4), st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.tuples(NUMBERS, FACTORS), min_size=1, max_size=9))
@example([(0.0, 1.0), (-40.0, 1.0)])
@example([(0.0, 0.5), (1e-10, 0.5)])
@example([(700.0, 5e-324), (0.0, 1e300)])
@example([(1455.0, 5e-324), (0.0, 1.0)])
@example([(1400.0, 5e-324), (0.0, -1.7e308)])
@example([(1e5, 1.0), (1e5, -1.0), (0.0, 2.0)])
@example([(1.0, 1.7e308)] * 4)
@example([(-1e5, 1.7e308)] * 4)
@example([(1.0, 0.1), (1.0, 0.2), (1.0, -0.3)])
def test_a_weighted_sum_is_as_right_as_its_condition_allows(terms: list[tuple[float, float]]) -> None:
    x, b = [t[0] for t in terms], [t[1] for t in terms]
    found, sign = stablemax.logsumexp(x, b=b, return_sign=True)
    log, expected, condition = truth(x, b)
    if expected == 0:
        assert (found, sign) == (-INF, 0)
        return
    if condition > 1e11:
        return
    # The logarithm of the sum, the logit and the factor it is relative to are rounded once each.
    parts = max(abs(v) for v, w in terms if w) + max(abs(math.log(abs(w))) for w in b if w)
    assert sign == expected
    assert error(found, log) <= U * (3 * condition + 2 * parts + abs(float(log.mid())))


@given(st.lists(NUMBERS, min_size=1, max_size=40))
def test_factors_of_1_give_what_no_factors_give_to_4_ulp(x: list[float]) -> None:
    plain, weighted = stablemax.logsumexp(x), stablemax.logsumexp(x, b=np.ones(len(x)))
    # An absolute error of an ulp of the largest logit is what is right where the sum is near 1.
    assert abs(plain - weighted) <= 4 * max(np.spacing(abs(plain)), np.spacing(max(map(abs, x))))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_narrow_result_is_rounded_once_to_half_an_ulp_and_a_hundredth(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, b = (rng.normal(size=(40, 20)) * 3).astype(dtype), rng.normal(size=(40, 20)).astype(dtype)
    found, sign = stablemax.logsumexp(x, b=b, return_sign=True)
    assert (found.dtype, sign.dtype) == (dtype, dtype)
    for n in range(40):
        log, expected, _ = truth(x[n].tolist(), b[n].tolist())
        assert sign[n] == expected
        assert error(found[n], log) <= 0.51 * np.spacing(abs(found[n]))


@pytest.mark.parametrize(("x", "b", "log", "sign"), [
    ([INF], [-1.0], INF, -1), ([INF, INF], [1.0, -1.0], NAN, NAN), ([INF, 0.0], [1.0, -5.0], INF, 1),
    ([NAN, INF, 1.0], [0.0, 0.0, 1.0], 1.0, 1), ([-INF, -INF], [1.0, -1.0], -INF, 0), ([0.0, 1.0], [0.0, 0.0], -INF, 0),
    ([0.0, 1.0], [INF, 1.0], INF, 1), ([0.0, 1.0], [-INF, 1.0], INF, -1), ([-INF, 1.0], [INF, 1.0], NAN, NAN),
    ([0.0, 1.0], [NAN, 1.0], NAN, NAN), ([NAN], [1.0], NAN, NAN), ([1e308, -1e308], [1.0, 1.0], 1e308, 1),
    ([-INF, 3.0], [1.0, 1.0], 3.0, 1), ([1e4, 1.0], [0, 1], 1.0, 1),
])  # fmt: skip
def test_infinities_add_as_ieee_has_it_and_a_factor_of_0_ignores_them(
    x: list[float], b: list[float], log: float, sign: float
) -> None:
    found = stablemax.logsumexp(x, b=b, return_sign=True)
    assert repr(tuple(map(float, found))) == repr((float(log), float(sign)))
    without = stablemax.logsumexp(x, b=b)
    assert repr(float(without)) == repr(NAN if sign < 0 else float(log))


def test_a_row_is_the_same_whatever_block_it_is_computed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(30, 7)) * 100, rng.normal(size=(30, 7))
    b[3] *= np.array([1e-300, 1e300, 1.0, 1e-200, 1.0, 1.0, 1.0])
    whole = stablemax.logsumexp(x, b=b, return_sign=True)
    monkeypatch.setattr(weighted_sums, "BLOCK_CELLS", 14)
    pieces = stablemax.logsumexp(x, b=b, return_sign=True)
    assert [v.tobytes() for v in pieces] == [v.tobytes() for v in whole]


@pytest.mark.parametrize("b", [[1e16, -1e16, 1.0, 1.0], [2.0**60, 1.0, 1.0, -(2.0**60)], [0.1, 0.2, -0.3, 2.0]])
def test_the_factors_of_equal_logits_add_up_exactly(b: list[float]) -> None:
    right = 3 + math.log(sum(map(Fraction, b)))
    assert abs(stablemax.logsumexp([3.0] * 4, b=b) - right) <= math.ulp(right)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_small_term_beside_1_is_not_lost(sign: float) -> None:
    for x in (-40.0, -90.0, -700.0):
        right = math.log1p(sign * math.exp(x))
        assert abs(stablemax.logsumexp([0.0, x], b=[1.0, sign]) - right) <= 2 * math.ulp(right)
    right = math.log1p(math.expm1(1e-10) / 2)
    assert abs(stablemax.logsumexp([0.0, 1e-10], b=[0.5, 0.5]) - right) <= 2.0**-52


def test_the_two_parts_of_log_2_are_exact() -> None:
    flint.ctx.prec = 200
    try:
        rest = flint.arb(2).log() - flint.arb(double_double.LN2_HIGH)
        assert float((rest - flint.arb(double_double.LN2_LOW)).mid()) == pytest.approx(0, abs=2.0**-93)
    finally:
        flint.ctx.prec = 53
    # Times an exponent of 14 bits it has no more bits than float64 has.
    assert float(double_double.LN2_HIGH * 2.0**36).is_integer()


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [5e-324, 1.0, -1.7e308], [2.0, -3.0, 0.5]])
@pytest.mark.parametrize("scale", [1e25, 1e300, 1.7e308])
def test_the_largest_of_far_logits_of_any_size_decides(scale: float, weights: list[float]) -> None:
    for order in ([0.5, 0.25, 1.0], [1.0, 0.5, -1.0], [-0.25, -1.0, -0.5], [-1.0, 1.0, 0.0]):
        x = np.array([order]) * scale
        at = int(np.argmax(x))
        log, sign = stablemax.logsumexp(x, b=np.array([weights]), return_sign=True)
        assert float(log[0]) == x[0, at]
        assert float(sign[0]) == math.copysign(1.0, weights[at])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 13, 31, 64, 65, 127, 1001])
def test_a_sum_of_any_number_of_terms_keeps_what_is_rounded_off_beside_it(count: int) -> None:
    terms = np.random.default_rng(count).normal(size=(4, count)) * 10.0 ** np.arange(4)[:, None]
    high, low = weighted_sums._sum_in_two(terms)
    for row, a, b in zip(terms.tolist(), high.tolist(), low.tolist(), strict=True):
        exact, size = sum(map(Fraction, row)), sum(map(abs, row))
        assert abs(Fraction(a) + Fraction(b) - exact) <= count * 2.0**-104 * size
        assert a == float(exact)
