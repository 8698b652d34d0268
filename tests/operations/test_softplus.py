"""The softplus: where log(1 + exp(x)) leaves it, and what a threshold costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablemax
from stablemax.numerics.formats import FLOAT32, FLOAT64, FORMATS

from ..exactly import judge, output, values_of

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format

INF = math.inf
# Narrower formats than of 8 bits saturate, or have no NaN.
ALL_FORMATS = pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.emax >= 8], ids=lambda f: f.name)


def test_log_of_1_plus_exp_overflows_above_88_72_where_the_logit_is_right() -> None:
    last, first = FLOAT32.exp_overflow.last_good, FLOAT32.exp_overflow.first_bad
    assert f"{first:.2f}" == "88.72"
    for name in ("naive", "log1p"):
        assert output(f"softplus/{name}", [[last]], FLOAT32).tolist() == [[last]]
        assert output(f"softplus/{name}", [[first]], FLOAT32).tolist() == [[INF]]
    assert output("softplus/compensated", [[first]], FLOAT32).tolist() == [[first]]


def test_log_of_1_plus_exp_is_0_below_minus_16_64() -> None:
    assert output("softplus/naive", [[-16.64]], FLOAT32).tolist() == [[0.0]]
    assert output("softplus/naive", [[-16.63]], FLOAT32)[0, 0] > 0
    assert f"{output('softplus/compensated', [[-16.64]], FLOAT32)[0, 0]:.3g}" == "5.93e-08"


def test_a_threshold_of_20_costs_nothing_in_float32_and_half_a_million_ulps_in_float64() -> None:
    x = [[math.nextafter(20.0, INF)]]
    assert judge("softplus/threshold", x, FLOAT32).worst_ulp <= 1
    assert 5e5 < judge("softplus/threshold", x, FLOAT64).worst_ulp < 6e5
    assert judge("softplus/threshold", [[37.5]], FLOAT64).worst_ulp <= 1


@ALL_FORMATS
def test_the_limits_at_the_infinities_are_0_and_infinity(fmt: Format) -> None:
    if not fmt.has_inf:
        assert output("softplus/compensated", [[-fmt.max, fmt.max]], fmt).tolist() == [[0.0, fmt.max]]
        return
    for name in ("compensated", "wide", "log1p"):
        assert output(f"softplus/{name}", [[-INF, INF]], fmt).tolist() == [[0.0, INF]]


@ALL_FORMATS
@given(data=st.data())
def test_the_accurate_variants_are_right_to_two_ulps_over_the_whole_range(fmt: Format, data: st.DataObject) -> None:
    x = [data.draw(st.lists(values_of(fmt), min_size=1, max_size=12))]
    assert judge("softplus/compensated", x, fmt).worst_ulp <= 2
    assert judge("softplus/wide", x, fmt).worst_ulp <= (2 if fmt is FLOAT64 else 0.51)


def test_the_public_function_keeps_small_values() -> None:
    assert f"{stablemax.softplus(np.float32(-50.0)):.6g}" == "1.92875e-22"
