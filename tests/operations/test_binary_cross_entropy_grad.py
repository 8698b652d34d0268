"""The gradient of the binary cross-entropy: what p - t cancels, and how much of it a formula can keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablemax
from stablemax.numerics.formats import FLOAT32, FLOAT64, FORMATS
from stablemax.operations.targets import CellTargets
from stablemax.truth.measure import exact_result

from ..exactly import in_format, judge, output, values_of
from ..records import BINARY_CROSS_ENTROPY_GRAD

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format

INF = math.inf
# Narrower formats than of 8 bits saturate, or have no NaN.
ALL_FORMATS = pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.emax >= 8], ids=lambda f: f.name)
NAME = "binary_cross_entropy_grad"


def targets(*values: float, divisor: float = 1.0) -> CellTargets:
    return CellTargets(np.array([values]), divisor=divisor)


def test_p_minus_t_is_0_where_the_sigmoid_rounds_to_its_target() -> None:
    assert output(f"{NAME}/by-sign", [[20.0]], FLOAT32, targets(1.0)).tolist() == [[0.0]]
    assert f"{output(f'{NAME}/compensated', [[20.0]], FLOAT32, targets(1.0))[0, 0]:.3g}" == "-2.06e-09"


def test_a_target_of_a_half_costs_the_accurate_formula_nothing() -> None:
    x = [[1.3 * 2.0**-k for k in range(2, 100, 7)]]
    half = CellTargets(np.full((1, len(x[0])), 0.5))
    assert judge(f"{NAME}/compensated", x, FLOAT32, half).worst_ulp <= 4
    assert judge(f"{NAME}/by-sign", x, FLOAT32, half).worst_ulp > 1e6


def test_the_chain_rule_through_the_probability_kills_the_gradient_of_what_is_most_wrong() -> None:
    assert output(f"{NAME}/chained", [[20.0]], FLOAT32, targets(0.0)).tolist() == [[0.0]]
    assert output(f"{NAME}/compensated", [[20.0]], FLOAT32, targets(0.0)).tolist() == [[1.0]]


def test_the_gradient_at_an_infinite_logit_is_0_or_1_minus_the_target() -> None:
    x, t = np.array([[-INF, -INF, INF, INF]]), targets(0.0, 0.75, 0.0, 0.75, divisor=3.0)
    right = exact_result(BINARY_CROSS_ENTROPY_GRAD, x, t, FLOAT64).truth.rounded[0].tolist()
    assert right == [0.0, -0.25, 1.0 / 3.0, 0.25 / 3.0]
    assert output(f"{NAME}/compensated", x, FLOAT64, t)[0].tolist() == right


@ALL_FORMATS
@given(data=st.data())
def test_the_accurate_formula_loses_what_moving_a_logit_by_an_ulp_costs(fmt: Format, data: st.DataObject) -> None:
    cell = st.tuples(values_of(fmt, limit=2000.0), values_of(fmt, limit=1.0, least=0.0))
    x, t = map(list, zip(*data.draw(st.lists(cell, min_size=1, max_size=12)), strict=True))
    held = CellTargets(in_format([t], fmt).astype(np.float64))
    judged = judge(f"{NAME}/compensated", [x], fmt, held)
    error = judged.error_ulp * fmt.ulp(judged.truth.nearest)
    q = np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))
    size = np.abs(judged.truth.nearest) + np.abs(x) * q * (1 - q)
    assert (error <= 4 * fmt.u * size + fmt.smallest_subnormal).all()
    assert judge(f"{NAME}/wide", [x], fmt, held).worst_ulp <= 0.51 or fmt is FLOAT64


def test_the_gradient_of_hard_targets_keeps_its_ulps_whatever_the_divisor() -> None:
    x = np.random.default_rng(1).normal(size=(20, 30)) * 20
    hard = (np.arange(600) % 2).reshape(20, 30).astype(float)
    for divisor in (1.0, 600.0, 4095.0):
        assert judge(f"{NAME}/compensated", x, FLOAT64, CellTargets(hard, divisor=divisor)).worst_ulp <= 4


def test_a_tie_that_only_an_exponential_far_below_decides_is_decided() -> None:
    # 1 - 1/3 takes 54 bits: exp(-9e4) says to which of two numbers of float64 it is rounded.
    x, t = np.array([[9e4]]), targets(1.0 / 3.0)
    right = exact_result(BINARY_CROSS_ENTROPY_GRAD, x, t, FLOAT64).truth.rounded[0, 0]
    assert right < 1 - 1.0 / 3.0
    assert right == np.nextafter(1 - 1.0 / 3.0, 0.0)


def test_equal_shares_of_a_target_that_are_numbers_of_few_bits_are_decided() -> None:
    # (1/2 - 3/8) / 7 is no tie; 7/16 / 7 is 1/16, of which balls with a radius could not be sure.
    t = CellTargets(np.array([[0.5 - 7 / 16, 0.375]]), divisor=7.0)
    right = exact_result(BINARY_CROSS_ENTROPY_GRAD, np.zeros((1, 2)), t, FORMATS["float8_e4m3fn"]).truth.rounded
    assert right[0, 0] == 1 / 16


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weights", [(), ("weight", "pos_weight")])
def test_it_is_the_gradient_that_pytorch_takes(reduction: str, weights: tuple[str, ...]) -> None:
    torch = pytest.importorskip("torch", reason="autograd is the measure")
    draw = np.random.default_rng(0)
    x, t, chosen = draw.normal(size=(3, 4)), draw.random((3, 4)), {name: draw.random(4) for name in weights}
    tensor = torch.tensor(x, requires_grad=True)
    loss: Any = torch.nn.functional.binary_cross_entropy_with_logits
    total = loss(tensor, torch.tensor(t), reduction=reduction, **{k: torch.tensor(v) for k, v in chosen.items()}).sum()
    (expected,) = torch.autograd.grad(total, tensor)
    found = stablemax.binary_cross_entropy_grad(x, t, reduction=reduction, **chosen)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12)
