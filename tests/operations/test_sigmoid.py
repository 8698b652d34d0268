"""The sigmoid: where the formulas leave it, to the float, and what stands at the infinities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablemax
from stablemax.numerics.formats import FLOAT32, FLOAT64, FORMATS
from stablemax.results import Outcome
from stablemax.truth.measure import CODES, exact_result
from stablemax.truth.measure import judge as judge_cells

from ..exactly import judge, output, values_of
from ..records import SIGMOID

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format

INF = math.inf
# Narrower formats than of 8 bits saturate, or have no NaN.
ALL_FORMATS = pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.emax >= 8], ids=lambda f: f.name)
# The float32 numbers around -88.72: exp(88.72284) is the first that overflows.
LAST_GOOD, FIRST_BAD = np.float32(-88.72283), np.float32(-88.72284)


def naive(x: float) -> float:
    return float(output("sigmoid/naive", [[x]], FLOAT32)[0, 0])


def test_the_two_floats_around_minus_88_72_are_neighbours_of_which_one_overflows() -> None:
    assert np.nextafter(LAST_GOOD, np.float32(-INF)) == FIRST_BAD
    assert (-float(LAST_GOOD), -float(FIRST_BAD)) == (FLOAT32.exp_overflow.last_good, FLOAT32.exp_overflow.first_bad)


def test_the_naive_sigmoid_is_0_below_minus_88_72_where_subnormal_numbers_are_right() -> None:
    assert naive(float(LAST_GOOD)) > 0
    for x in (float(FIRST_BAD), -90.0, -103.9):
        assert naive(x) == 0.0
        right = float(output("sigmoid/compensated", [[x]], FLOAT32)[0, 0])
        assert 0.0 < right < FLOAT32.smallest_normal
        assert right == FLOAT32.round(float(flint.arb(x).exp()))
    # Half of the smallest number is the end of them.
    assert output("sigmoid/compensated", [[FLOAT32.exp_underflow.first_bad]], FLOAT32)[0, 0] == 0.0
    assert output("sigmoid/compensated", [[FLOAT32.exp_underflow.last_good]], FLOAT32)[0, 0] == 2.0**-149


def test_the_naive_sigmoid_is_exactly_1_above_16_64_so_that_the_log_of_its_complement_is_infinite() -> None:
    # 1 + exp(-x) is 1 from 24 log 2 = 16.6355 on: exp(-x) is half an ulp of 1 there, a tie that goes to 1.
    first = np.float32(24 * math.log(2))
    while float(first) < 24 * math.log(2):
        first = np.nextafter(first, np.float32(INF))
    before = np.nextafter(first, np.float32(-INF))
    assert (naive(float(first)), naive(float(before))) == (1.0, 1.0 - 2.0**-23)
    assert f"{first:.4f}" == "16.6355"
    with np.errstate(divide="ignore", invalid="ignore"):
        assert np.log(1 - np.float32(naive(16.64))) == -INF
        assert np.isnan(np.float32(0.0) * np.log(1 - np.float32(naive(16.64))))
    # The nearest number is 1 - 2**-24 up to 25 log 2, which the complement of the small probability gives.
    assert output("sigmoid/compensated", [[16.64, 17.3, 17.4]], FLOAT32)[0].tolist() == [1 - 2**-24, 1 - 2**-24, 1.0]


def test_the_ratio_of_exponentials_is_nan_above_88_72() -> None:
    found = output("sigmoid/exp-ratio", [[-float(LAST_GOOD), -float(FIRST_BAD)]], FLOAT32)[0]
    assert found[0] == 1.0
    assert np.isnan(found[1])


def test_one_plus_tanh_cancels_for_negative_logits() -> None:
    found = output("sigmoid/tanh", [[-18.03, -18.02]], FLOAT32)[0]
    assert found[0] == 0.0 < found[1]
    assert judge("sigmoid/tanh", [[-10.3]], FLOAT32).worst_ulp > 100
    assert judge("sigmoid/tanh", [[10.0]], FLOAT32).worst_ulp < 2


@ALL_FORMATS
def test_the_limits_at_the_infinities_are_0_and_1(fmt: Format) -> None:
    x = np.array([[-INF, INF, 0.0, math.nan]]) if fmt.has_inf else np.array([[-fmt.max, fmt.max, 0.0, math.nan]])
    for name in ("by-sign", "compensated", "wide"):
        found = output(f"sigmoid/{name}", x, fmt)[0]
        assert found[:3].tolist() == [0.0, 1.0, 0.5]
        assert np.isnan(found[3])


def test_a_nan_leaves_its_own_cell_without_a_value_and_no_other() -> None:
    exact = exact_result(SIGMOID, np.array([[math.nan, -INF, INF, 0.0]]), None, FLOAT32)
    assert exact.undefined.tolist() == [[True, False, False, False]]
    judged = judge_cells(np.array([[0.5, 1e-45, 1.0, 0.5]]), exact, FLOAT32)
    assert [CODES[c] for c in judged.codes[0]] == [Outcome.UNDEFINED, Outcome.OK, Outcome.OK, Outcome.OK]
    wrong = judge_cells(np.array([[0.5, 0.5, math.nan, 0.5]]), exact, FLOAT32)
    assert [CODES[c] for c in wrong.codes[0]] == [Outcome.UNDEFINED, Outcome.INACCURATE, Outcome.NAN, Outcome.OK]


@ALL_FORMATS
@given(data=st.data())
def test_the_accurate_variants_are_right_to_two_ulps_over_the_whole_range(fmt: Format, data: st.DataObject) -> None:
    edges = st.sampled_from([fmt.exp_underflow.last_good, fmt.exp_underflow.first_bad, -fmt.exp_overflow.first_bad])
    x = [data.draw(st.lists(st.one_of(values_of(fmt), edges, edges.map(lambda v: -v)), min_size=1, max_size=12))]
    assert judge("sigmoid/compensated", x, fmt).worst_ulp <= 2
    assert judge("sigmoid/wide", x, fmt).worst_ulp <= (2 if fmt is FLOAT64 else 0.51)


def test_the_public_function_takes_any_shape_and_keeps_the_format() -> None:
    assert stablemax.sigmoid(0.0) == 0.5
    cube = np.zeros((2, 3, 4), dtype=np.float16)
    assert (stablemax.sigmoid(cube) == 0.5).all()
    assert stablemax.sigmoid(cube).dtype == np.float16
    assert stablemax.sigmoid(cube).shape == cube.shape
