"""The log-sigmoid: what the log of a sigmoid loses, and the formula that loses nothing."""

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


def test_the_log_of_a_sigmoid_is_minus_infinity_below_minus_88_72_where_the_logit_is_right() -> None:
    last, first = -FLOAT32.exp_overflow.last_good, -FLOAT32.exp_overflow.first_bad
    assert f"{first:.2f}" == "-88.72"
    assert np.isfinite(output("log_sigmoid/naive", [[last]], FLOAT32)).all()
    assert output("log_sigmoid/naive", [[first]], FLOAT32).tolist() == [[-INF]]
    assert output("log_sigmoid/log1p", [[first]], FLOAT32).tolist() == [[-INF]]
    assert output("log_sigmoid/compensated", [[first, -1e30]], FLOAT32).tolist() == [[first, float(np.float32(-1e30))]]


def test_a_stable_sigmoid_does_not_save_its_log() -> None:
    # Below half of the smallest number the sigmoid is 0; in the subnormal range it has lost digits before.
    assert output("log_sigmoid/log-of-sigmoid", [[-104.0]], FLOAT32).tolist() == [[-INF]]
    assert output("log_sigmoid/log-of-sigmoid", [[17.4]], FLOAT32).tolist() == [[0.0]]
    assert output("log_sigmoid/shifted", [[17.4]], FLOAT32).tolist() == [[0.0]]
    assert f"{output('log_sigmoid/compensated', [[17.4]], FLOAT32)[0, 0]:.4g}" == "-2.775e-08"


@ALL_FORMATS
def test_the_limits_at_the_infinities_are_minus_infinity_and_0(fmt: Format) -> None:
    if not fmt.has_inf:
        assert output("log_sigmoid/compensated", [[-fmt.max, fmt.max]], fmt).tolist() == [[-fmt.max, 0.0]]
        return
    for name in ("compensated", "wide", "log1p"):
        assert output(f"log_sigmoid/{name}", [[-INF, INF]], fmt).tolist() == [[-INF, 0.0]]


@ALL_FORMATS
@given(data=st.data())
def test_the_accurate_variants_are_right_to_two_ulps_over_the_whole_range(fmt: Format, data: st.DataObject) -> None:
    x = [data.draw(st.lists(values_of(fmt), min_size=1, max_size=12))]
    assert judge("log_sigmoid/compensated", x, fmt).worst_ulp <= 2
    assert judge("log_sigmoid/wide", x, fmt).worst_ulp <= (2 if fmt is FLOAT64 else 0.51)


def test_the_public_function_gives_the_logit_itself_far_below_0() -> None:
    assert stablemax.log_sigmoid(np.array([-1e4, 1e4], np.float32)).tolist() == [-1e4, 0.0]
