"""The binary cross-entropy with logits: weights as PyTorch has them, limits at the infinities, and its errors."""

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
from stablemax.text.errors import StablemaxError
from stablemax.truth.measure import exact_result

from ..exactly import in_format, judge, output, values_of
from ..records import BINARY_CROSS_ENTROPY

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format

INF = math.inf
# Narrower formats than of 8 bits saturate, or have no NaN.
ALL_FORMATS = pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.emax >= 8], ids=lambda f: f.name)


def targets(*values: float, **weights: Any) -> CellTargets:
    arrays: dict[str, Any] = {name: np.array([weight]) for name, weight in weights.items()}
    return CellTargets(np.array([values]), **arrays)


def losses(name: str, x: list[float], t: CellTargets, fmt: Format = FLOAT32) -> list[float]:
    return [float(v) for v in output(f"binary_cross_entropy/{name}", [x], fmt, t)[0]]


def test_the_definition_is_nan_at_the_target_above_16_64_and_infinite_beside_it() -> None:
    assert np.isfinite(losses("naive", [16.63, 16.63], targets(1.0, 0.0))).all()
    right, wrong = losses("naive", [16.64, 16.64], targets(1.0, 0.0))
    assert math.isnan(right), "(1 - t) * log(1 - p) is 0 * -inf"
    assert wrong == INF
    assert f"{losses('compensated', [16.64], targets(1.0))[0]:.3g}" == "5.93e-08"
    assert losses("compensated", [16.64], targets(0.0)) == [float(np.float32(16.64))]


def test_a_log_sigmoid_taken_from_the_logit_loses_a_cell_that_is_right() -> None:
    assert losses("minus-product", [-20.0, 20.0], targets(0.0, 1.0))[0] == 0.0
    for name in ("two-terms", "compensated"):
        assert [f"{v:.4g}" for v in losses(name, [-20.0, 20.0], targets(0.0, 1.0))] == ["2.061e-09", "2.061e-09"]


def test_logarithms_that_end_at_minus_100_make_100_of_a_loss_of_18() -> None:
    assert losses("clamped-log", [18.0], targets(0.0)) == [100.0]
    assert losses("clamped-log", [-18.0], targets(1.0))[0] == pytest.approx(18.0, rel=1e-6)


def test_the_loss_at_an_infinite_logit_is_0_where_its_target_agrees_and_infinite_elsewhere() -> None:
    x = [-INF, -INF, -INF, INF, INF, INF]
    t = targets(0.0, 1.0, 0.25, 0.0, 1.0, 0.25)
    assert losses("compensated", x, t) == [0.0, INF, INF, INF, 0.0, INF]
    assert exact_result(BINARY_CROSS_ENTROPY, np.array([x]), t, FLOAT32).truth.rounded[0].tolist() == [
        0.0, INF, INF, INF, 0.0, INF,
    ]  # fmt: skip
    # A weight of 0 ignores even an infinite loss.
    assert losses("compensated", [-INF], targets(1.0, weight=[0.0])) == [0.0]
    assert losses("compensated", [-INF], targets(1.0, pos_weight=[0.0])) == [0.0]


def test_a_target_that_is_not_finite_leaves_its_cell_without_a_value() -> None:
    found = exact_result(BINARY_CROSS_ENTROPY, np.array([[0.0, 0.0, math.nan]]), targets(math.nan, 1.0, 1.0), FLOAT32)
    assert found.undefined.tolist() == [[True, False, True]]
    assert found.truth.nearest[0, 1] == math.log(2)


@pytest.mark.slow
@ALL_FORMATS
@given(data=st.data())
def test_the_accurate_variants_are_right_to_a_few_ulps_over_the_whole_range(fmt: Format, data: st.DataObject) -> None:
    cell = st.tuples(values_of(fmt), values_of(fmt, limit=1.0, least=0.0))
    x, t = map(list, zip(*data.draw(st.lists(cell, min_size=1, max_size=12)), strict=True))
    held = CellTargets(in_format([t], fmt).astype(np.float64))
    assert judge("binary_cross_entropy/compensated", [x], fmt, held).worst_ulp <= 3
    assert judge("binary_cross_entropy/wide", [x], fmt, held).worst_ulp <= (3 if fmt is FLOAT64 else 0.51)


@given(data=st.data())
def test_weights_cost_a_rounding_each(data: st.DataObject) -> None:
    share = st.floats(0.0, 1.0).map(lambda v: round(v, 3))
    x = data.draw(st.lists(st.floats(-700.0, 700.0), min_size=1, max_size=6))
    t, w, pw = (np.array([data.draw(st.lists(share, min_size=len(x), max_size=len(x)))]) for _ in range(3))
    given_targets = CellTargets(t, 4 * w, 1 + pw)
    assert judge("binary_cross_entropy/compensated", [x], FLOAT64, given_targets).worst_ulp <= 5


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weights", [(), ("weight",), ("pos_weight",), ("weight", "pos_weight")])
def test_it_is_what_pytorch_computes(reduction: str, weights: tuple[str, ...]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch's own loss is the measure")
    draw = np.random.default_rng(0)
    x, t, chosen = draw.normal(size=(2, 3, 4)), draw.random((2, 3, 4)), {name: draw.random(4) for name in weights}
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(x), torch.tensor(t), reduction=reduction, **{k: torch.tensor(v) for k, v in chosen.items()}
    )
    found = stablemax.binary_cross_entropy(x, t, reduction=reduction, **chosen)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-13)


def test_a_weight_may_be_given_for_each_cell_or_each_row() -> None:
    x, t = np.zeros((2, 3)), np.ones((2, 3))
    rows = stablemax.binary_cross_entropy(x, t, weight=[[1.0], [3.0]], reduction="none") / math.log(2)
    np.testing.assert_allclose(rows, [[1.0] * 3, [3.0] * 3], rtol=1e-15)
    assert stablemax.binary_cross_entropy(x, t, weight=np.zeros((2, 3))) == 0.0


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (([[0.0]], [[1.5]]), {}, "the target 1.5 is not in [0, 1]"),
        (([[0.0]], [[math.nan]]), {}, "the target nan is not in [0, 1]"),
        (([[0.0, 1.0]], [[1.0]]), {}, "the targets have shape (1, 1), the logits (1, 2)"),
        (([[0.0]], [[1.0]]), {"weight": [-1.0]}, "weight holds what is not a finite number of 0 or more"),
        (([[0.0]], [[1.0]]), {"pos_weight": [1.0, 2.0]}, "pos_weight has shape (2,), which is not repeated to (1,)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(StablemaxError) as error:
        stablemax.binary_cross_entropy(*arguments, **options)
    assert error.value.message == words


def test_the_mean_of_no_cells_has_no_value() -> None:
    assert math.isnan(stablemax.binary_cross_entropy(np.zeros((0, 3)), np.zeros((0, 3))))
