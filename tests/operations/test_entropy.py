"""The entropy of a softmax: 0 log 0, what is lost beside a nearly certain class, and its errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablemax
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, FORMATS

from ..exactly import in_format, judge, output, rows_of

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format

INF = math.inf
# Narrower formats than of 8 bits saturate, or have no NaN.
ALL_FORMATS = pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.emax >= 8], ids=lambda f: f.name)


def test_minus_sum_p_log_p_is_nan_where_p_is_0() -> None:
    # exp(-103.97) is the last number of float32, and exp(-103.98) is 0.
    last, first = FLOAT32.exp_underflow.last_good, FLOAT32.exp_underflow.first_bad
    assert np.isfinite(output("entropy/log-of-softmax", [[0.0, last]], FLOAT32)).all()
    for row in ([0.0, first], [0.0, 1.0, -INF]):
        assert np.isnan(output("entropy/log-of-softmax", [row], FLOAT32)).all()
        assert np.isfinite(output("entropy/masked-terms", [row], FLOAT32)).all()
        assert judge("entropy/compensated", [row], FLOAT32).worst_ulp <= 3


def test_a_nearly_certain_class_has_a_term_of_its_own() -> None:
    # -p log p of p = 1 - q is q, which is lost where p rounds to 1: 40 parts of 41 are left.
    with flint.ctx.workprec(200):
        q = flint.arb(-40).exp()
        right = float(41 * q)
    kept = float(output("entropy/masked-terms", [[0.0, -40.0]], FLOAT64)[0])
    assert f"{kept / right:.4f}" == f"{40 / 41:.4f}"
    assert f"{output('entropy/compensated', [[0.0, -40.0]], FLOAT64)[0] / right:.12f}" == "1.000000000000"


def test_lse_minus_the_mean_logit_loses_log_3_to_the_size_of_the_logits() -> None:
    assert output("entropy/lse-minus", [[1e8, 1e8, 1e8]], FLOAT32).tolist() == [0.0]
    assert output("entropy/compensated", [[1e8, 1e8, 1e8]], FLOAT32).tolist() == [float(np.float32(math.log(3)))]


def test_a_masked_class_adds_nothing_and_a_row_of_masks_has_no_entropy() -> None:
    assert stablemax.entropy([[0.0, -INF, 0.0]]).tolist() == [math.log(2)]
    assert stablemax.entropy([[-INF, 3.0]]).tolist() == [0.0]
    assert np.isnan(stablemax.entropy([[-INF, -INF], [INF, 0.0], [math.nan, 0.0]])).all()


def test_a_probability_below_the_smallest_number_still_counts() -> None:
    # p is 2.5e-324, less than half of the smallest float64, and p (m - x) is 744.8 times as much.
    assert judge("entropy/compensated", [[0.0, -746.0]], FLOAT64).worst_ulp <= 3
    assert output("entropy/compensated", [[0.0, -746.0]], FLOAT64)[0] > 0
    assert output("entropy/masked-terms", [[0.0, -746.0]], FLOAT64)[0] == 0


@pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=lambda f: f.name)
@given(data=st.data())
def test_the_accurate_variant_is_right_to_four_ulps_over_the_whole_range(fmt: Format, data: st.DataObject) -> None:
    x = data.draw(rows_of(fmt))
    assert judge("entropy/compensated", x, fmt).worst_ulp <= 4


@ALL_FORMATS
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 100.0])
def test_the_accurate_variants_keep_their_ulps_on_normals(fmt: Format, scale: float) -> None:
    x = np.random.default_rng(3).normal(size=(12, 60)) * scale
    assert judge("entropy/wide", x, fmt).worst_ulp <= (4 if fmt is FLOAT64 else 0.51)
    assert judge("entropy/compensated", x, fmt).worst_ulp <= (4 if fmt.precision >= 24 else 8)


def test_in_narrow_formats_many_tiny_terms_lose_digits_one_by_one() -> None:
    # 300 probabilities of 1.4e-7 in float16, whose smallest number is 6e-8; the wide variant keeps them.
    x = np.concatenate([[0.0], np.full(300, -15.75)])[None, :]
    assert judge("entropy/compensated", x, FLOAT16).worst_ulp > 8
    assert judge("entropy/wide", in_format(x, FLOAT16), FLOAT16).worst_ulp <= 0.51
