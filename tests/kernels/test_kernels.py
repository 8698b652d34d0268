"""The kernels: as accurate as they promise, to the same bits whoever makes the passes, and blind to their block."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import stablemax
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import long_rows
from stablemax.kernels import passes as ways
from stablemax.kernels import row_kernels as kernels
from stablemax.kernels.double_double import LEAST, ONE, exp_in_two, log1p_in_two, quotient_in_two
from stablemax.kernels.passes import PAIRS, QUICK, Passes
from stablemax.kernels.rounding import narrowed
from stablemax.kernels.row_sums import in_rows
from stablemax.kernels.widening import may_round, widened
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, format_of
from stablemax.operations.targets import LabelTargets
from stablemax.operations.variant import default_id, evaluate, get
from stablemax.truth.balls import truth

from ..exactly import EVERY_FORMAT, USUAL, in_format, rows_of, truth_of
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.truth.balls import Balls, Truth

INF, NAN = np.inf, np.nan
needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
TO_THE_BIT: dict[str, Callable[[], Passes]] = {
    "numpy": lambda: PAIRS,
    "numba": lambda: ways.loops(may_be_quick=False),
}
FOR_NARROW: dict[str, Callable[[], Passes]] = {
    **TO_THE_BIT,
    "numpy-quick": lambda: QUICK,
    "numba-quick": lambda: ways.loops(may_be_quick=True),
}


def named(those: dict[str, Any]) -> list[Any]:
    """The ways of making the passes, those of Numba where it is installed."""
    return [pytest.param(way, marks=needs_numba if "numba" in way else (), id=way) for way in those]


@pytest.fixture(autouse=True)
def as_an_engine_runs_them() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def run(
    operation: Operation,
    x: Array,
    passes: Passes,
    labels: Array | None = None,
    weights: Array | None = None,
    divisor: float = 1.0,
) -> tuple[Array, Array]:
    """What a kernel gives, (N, C), and the rows that it is in doubt of."""
    fmt, workspace = format_of(x.dtype), Workspace()
    out = np.empty((len(x), 1) if operation.per_row else x.shape, fmt.dtype)
    rest = (out, fmt, passes, workspace)
    if operation is SOFTMAX:
        return out, kernels.softmax(x, *rest)
    if operation is LOG_SOFTMAX:
        return out, kernels.log_softmax(x, *rest)
    if operation is LOGSUMEXP:
        return out, kernels.logsumexps(x, *rest)
    assert labels is not None
    return out, kernels.gradient(x, labels, np.ones(len(x)) if weights is None else weights, divisor, *rest)


def losses(x: Array, labels: Array, passes: Passes = PAIRS) -> Array:
    return kernels.losses(x, labels, passes, Workspace())


def ulps_of(found: Array, truth_: Truth, fmt: Format) -> Array:
    return truth_.error_ulp(found.astype(np.float64).reshape(truth_.nearest.shape), fmt)


def without(rows: Array, count: int) -> Array:
    return np.setdiff1d(np.arange(count), rows)


def confident(seed: int, rows_: int, classes: int, scale: float, fmt: Format) -> tuple[Array, Array]:
    """Rows like those of a trained model: one class ahead, often the label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=scale, size=(rows_, classes))
    x[np.arange(rows_), rng.integers(0, classes, rows_)] += rng.uniform(0, 60, rows_)
    x = in_format(x, fmt)
    labels = np.where(rng.random(rows_) < 0.6, x.astype(np.float64).argmax(1), rng.integers(0, classes, rows_))
    return x, labels


# --- elementary functions in two numbers ------------------------------------------------------------


def units_of_error(found: tuple[Array, Array], exact: Callable[[Balls], Any], lift: float = 1.0) -> Array:
    """Relative errors of pairs, in units of 2**-53."""
    right = truth(exact, FLOAT64)
    high, low = (part / lift for part in found)
    # The exact value minus its nearest double, and the same of what was found: both are small.
    rest = np.ldexp(right.residual_ulp, right.ulp_exponent(FLOAT64))
    return np.asarray(np.abs(((high - right.nearest) + low) - rest) / np.abs(right.nearest) * 2.0**53)


def test_an_exponential_in_two_numbers_is_right_to_a_fourth_of_u() -> None:
    rng = np.random.default_rng(0)
    d = np.maximum(-np.abs(rng.normal(size=3000) * np.exp(rng.uniform(-20, 6.5, 3000))), -700.0)
    r = d * rng.uniform(-1, 1, 3000) * 2.0**-53
    found = exp_in_two(d, r)
    assert units_of_error(found, lambda xp: xp.exp(xp.array(d) + xp.array(r)), ONE).max() <= 0.25


def test_a_logarithm_in_two_numbers_is_right_to_a_sixteenth_of_u() -> None:
    rng = np.random.default_rng(1)
    q = np.concatenate([np.exp(rng.uniform(-700, 30, 2000)), rng.uniform(0, 3, 2000)])
    low = q * rng.uniform(-1, 1, 4000) * 2.0**-54
    found = log1p_in_two(q, low)
    assert units_of_error(found, lambda xp: xp.log1p(xp.array(q) + xp.array(low))).max() <= 0.0625


def test_where_the_series_of_a_logarithm_is_cut_latest_it_is_right_to_a_25th_of_u() -> None:
    # Next to sqrt(2) and to sqrt(1/2) its argument is largest.
    q = np.concatenate([np.linspace(0.405, 0.41421, 2000), np.linspace(0.4143, 0.425, 2000), [0.8284, 1.8284]])
    found = log1p_in_two(q, np.zeros_like(q))
    assert units_of_error(found, lambda xp: xp.log1p(xp.array(q))).max() <= 0.04


def test_a_quotient_in_two_numbers_is_right_to_2_to_the_minus_45_of_u() -> None:
    rng = np.random.default_rng(2)
    a, b = (np.exp(rng.uniform(-40, 40, 2000)) for _ in range(2))
    a_low, b_low = (v * rng.uniform(-1, 1, 2000) * 2.0**-54 for v in (a, b))
    high, low = quotient_in_two(a, a_low, b, b_low)
    for i in range(2000):
        right = (Fraction(a[i]) + Fraction(a_low[i])) / (Fraction(b[i]) + Fraction(b_low[i]))
        assert abs(Fraction(high[i]) + Fraction(low[i]) - right) <= right * Fraction(2) ** -98


def test_the_exponential_of_the_maximum_is_exactly_one_and_that_of_the_least_difference_shows_in_no_share() -> None:
    high, low = exp_in_two(np.array([0.0, LEAST]), np.zeros(2))
    assert (high[0], low[0]) == (ONE, 0.0)
    assert high[1] / ONE == 0.0


# --- accuracy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", named(TO_THE_BIT))
@pytest.mark.parametrize(
    ("classes", "scale"),
    # e**-1e5 takes balls of 150,000 bits.
    [*((classes, scale) for classes in (1, 2, 3, 10, 300) for scale in (0.01, 1.0, 20.0, 300.0)), (2, 1e4)],
)
def test_every_float64_result_is_within_1_5_ulp(way: str, classes: int, scale: float) -> None:
    passes = TO_THE_BIT[way]()
    x, labels = confident(classes, 300 // classes + 10, classes, scale, FLOAT64)
    weights = np.random.default_rng(classes).uniform(0.1, 3.0, len(x))
    for operation in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD):
        second = LabelTargets(labels, weights[:, None], 49.0) if operation is CROSS_ENTROPY_GRAD else None
        found, doubted = run(operation, x, passes, labels, weights, 49.0)
        sure = without(doubted, len(x))
        error = ulps_of(found, truth_of(operation, x, FLOAT64, second), FLOAT64)[sure]
        assert error.max(initial=0.0) <= 1.5, operation
        assert len(sure) >= 0.9 * len(x)


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("classes", [2, 3, 10, 300])
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0, 300.0])
def test_a_loss_is_within_1_5_ulp_of_float64_whatever_the_format_of_the_logits(
    fmt: Format, classes: int, scale: float
) -> None:
    x, labels = confident(classes, 300 // classes + 10, classes, scale, fmt)
    exact = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(labels))
    assert ulps_of(losses(x, labels), exact, FLOAT64).max() <= 1.5


@pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=str)
@given(data=st.data())
def test_a_loss_of_any_logits_is_within_1_5_ulp(fmt: Format, data: st.DataObject) -> None:
    # Logits of very different sizes, and losses down to the smallest number.
    x = in_format(data.draw(rows_of(fmt, limit=1e4)), fmt)
    labels = np.array([data.draw(st.integers(0, x.shape[1] - 1)) for _ in x])
    exact = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(labels))
    assert ulps_of(losses(x, labels), exact, FLOAT64).max() <= 1.5


@given(rows_of(FLOAT64), st.data())
def test_a_probability_and_a_gradient_of_any_float64_logits_are_within_1_5_ulp(
    values: list[list[float]], data: st.DataObject
) -> None:
    # Results that are subnormal, too.
    x = np.array(values)
    labels = np.array([data.draw(st.integers(0, x.shape[1] - 1)) for _ in x])
    for operation, second in ((SOFTMAX, None), (CROSS_ENTROPY_GRAD, LabelTargets(labels))):
        found, doubted = run(operation, x, PAIRS, labels)
        assert len(doubted) == 0
        assert ulps_of(found, truth_of(operation, x, FLOAT64, second), FLOAT64).max() <= 1.5


@pytest.mark.parametrize("way", named(FOR_NARROW))
@pytest.mark.parametrize("fmt", [f for f in USUAL.values() if f.bits <= 32 and not f.is_emulated], ids=str)
@pytest.mark.parametrize("scale", [0.01, 3.0, 60.0])
def test_every_narrow_result_that_is_not_in_doubt_is_rounded_correctly(way: str, fmt: Format, scale: float) -> None:
    passes = FOR_NARROW[way]()
    x, labels = confident(7, 30, 40, scale, fmt)
    weights = np.random.default_rng(7).uniform(0.1, 3.0, len(x))
    for operation in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD):
        second = LabelTargets(labels, weights[:, None], 49.0) if operation is CROSS_ENTROPY_GRAD else None
        found, doubted = run(operation, x, passes, labels, weights, 49.0)
        exact = truth_of(operation, x.astype(np.float64), fmt, second).rounded
        sure = without(doubted, len(x))
        np.testing.assert_array_equal(found.astype(np.float64)[sure], exact.reshape(found.shape)[sure])


def test_a_log_sum_exp_that_cancels_is_in_doubt() -> None:
    # Log-probabilities: what is left of m + log(1 + q) is rounding error.
    x = np.log(np.random.default_rng(3).dirichlet(np.ones(40), 20))
    _, doubted = run(LOGSUMEXP, x, PAIRS)
    assert len(doubted) == 20


def test_a_weight_that_takes_a_product_out_of_range_is_in_doubt() -> None:
    x, weights = np.zeros((3, 2)), np.array([1e-180, 1.0, 1e200])
    assert run(CROSS_ENTROPY_GRAD, x, PAIRS, np.zeros(3, np.int64), weights)[1].tolist() == [0, 2]


@settings(max_examples=400)
@example([-802.0], 81.0, 0)
@example([-900.0, -1000.0], 300.0, 0)
@given(
    st.lists(st.floats(-1600.0, 0.0) | st.just(-INF), min_size=1, max_size=5),
    st.floats(-300.0, 900.0),
    st.integers(0, 5),
)
def test_a_weight_brings_out_no_more_and_no_less_than_there_is(gaps: list[float], power: float, label: int) -> None:
    # Of e**-1000 nothing is left in float64, but of 1e200 times as much there is; of a masked class there is never.
    x, labels = np.array([[0.0, *gaps]]), np.array([label % (len(gaps) + 1)])
    assume(np.isfinite(x[0, labels[0]]))
    weights = np.full(x.shape[1], 2.0**power)
    second = LabelTargets(labels, weights[labels][:, None])
    for operation, function in (
        (CROSS_ENTROPY, stablemax.cross_entropy),
        (CROSS_ENTROPY_GRAD, stablemax.cross_entropy_grad),
    ):
        found = function(x, labels, weights, reduction="none" if operation is CROSS_ENTROPY else "sum")
        exact = truth_of(operation, x, FLOAT64, second)
        if np.isfinite(exact.rounded).all():
            assert ulps_of(np.asarray(found), exact, FLOAT64).max() <= 1.5


@pytest.mark.parametrize("way", named(FOR_NARROW))
@pytest.mark.parametrize("fmt", [FLOAT32, BFLOAT16, FLOAT64], ids=str)
def test_beside_masked_classes_alone_a_gradient_is_0_whatever_the_weight(way: str, fmt: Format) -> None:
    x, labels = in_format([[2.0, -INF, -INF], [-INF, -INF, 0.5]], fmt), np.array([0, 2])
    for weight in (2.0**-60, 1.0, 2.0**64):
        found, _ = run(CROSS_ENTROPY_GRAD, x, FOR_NARROW[way](), labels, np.full(2, weight))
        assert not found.any()


@pytest.mark.parametrize("divisor", [-150, -90, -40, 0, 40, 60, 80])
def test_gradients_over_a_divisor_of_any_size_are_right_or_in_doubt(divisor: int) -> None:
    powers = np.arange(-200.0, 201.0, 8.0)
    x = np.tile([0.0, -30.0, -745.0, -801.0, -850.0], (len(powers), 1))
    labels, weights, by = np.arange(len(powers)) % 5, 2.0**powers, 2.0**divisor
    found, doubted = run(CROSS_ENTROPY_GRAD, x, PAIRS, labels, weights, by)
    sure = without(doubted, len(x))
    exact = truth_of(CROSS_ENTROPY_GRAD, x, FLOAT64, LabelTargets(labels, weights[:, None], by))
    assert ulps_of(found, exact, FLOAT64)[sure].max(initial=0.0) <= 1.5
    # Of weights and divisors of a usual size no row is in doubt.
    usual = (np.abs(powers) <= 32) & (np.abs(powers - divisor) <= 60) & (-40 <= divisor <= 60)
    assert not usual[doubted].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [-1e5, -745.0, 0.0, 400.0, 1e5])
def test_a_row_keeps_its_accuracy_wherever_its_logits_lie(offset: float, dtype: Any) -> None:
    fmt = format_of(np.dtype(dtype))
    x, labels = confident(6, 40, 30, 3.0, fmt)
    x = (x + dtype(offset)).astype(dtype)
    exact = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(labels))
    assert ulps_of(losses(x, labels), exact, FLOAT64).max() <= 1.5
    for operation in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP):
        found, doubted = run(operation, x, PAIRS)
        sure = without(doubted, len(x))
        error = ulps_of(found, truth_of(operation, x.astype(np.float64), fmt), fmt)[sure]
        assert error.max(initial=0.0) <= (0.5 if dtype == np.float32 else 1.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("way", [way for way in named(FOR_NARROW) if "quick" in way.id])
def test_results_of_one_number_are_as_right_as_their_tolerance_says(way: str, dtype: Any) -> None:
    # More logits than those of which the tolerance is the same for all.
    x = (np.random.default_rng(2).normal(size=(3, 6000)) * 200.0).astype(dtype)
    passes, one = FOR_NARROW[way](), np.ones(3)
    units = (x.astype(np.float64) - x.max(axis=1, keepdims=True).astype(np.float64)) > -640.0
    found, right = np.empty(x.shape), np.empty(x.shape)
    for made, out in ((passes, found), (PAIRS, right)):
        terms = np.empty(x.shape), np.empty(x.shape)
        high, low = kernels.factor(made.sums(x, terms), one, 1.0)
        made.shares(terms, (in_rows(high), in_rows(low)), out)
    error = np.abs(found - right)[units] / right[units] / FLOAT64.u
    allowed = np.broadcast_to(passes.tolerance(x)[:, None], x.shape)[units]
    assert (error <= allowed).all()


def test_the_tolerance_of_a_log_sum_exp_that_cancels_covers_its_error_in_ulps() -> None:
    x = -np.log(3.0) + np.random.default_rng(0).normal(scale=1e-12, size=(50, 3))
    sums, seen = kernels.sums_of(x, PAIRS, Workspace()), []

    def narrow(values: Array, tolerance: Array, fmt: Format, out: Array) -> Array:
        seen.append((values[:, 0], tolerance))
        return narrowed(values, tolerance, fmt, out)

    kernels.put_logsumexps(sums, x, np.empty((50, 1), np.float32), FLOAT32, replace(PAIRS, narrowed=narrow))
    ((values, tolerance),) = seen
    assert (sums.logsumexps()[1] > 1000.0).any()
    assert (tolerance * FLOAT64.u * np.abs(values) >= sums.logsumexps()[1] * np.spacing(np.abs(values))).all()
    assert (tolerance >= PAIRS.tolerance(x)).all()


# --- rounding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [f for f in EVERY_FORMAT.values() if not f.is_emulated and f is not FLOAT64], ids=str)
@given(data=st.data())
def test_a_rounding_that_an_error_may_change_is_in_doubt(fmt: Format, data: st.DataObject) -> None:
    value = data.draw(st.floats(-2.0 * fmt.max, 2.0 * fmt.max))
    off = data.draw(st.sampled_from([0.0, 1.0, 3.0, 2.0**20])) * FLOAT64.u
    # Near the middle of two neighbours more often than not.
    step = float(fmt.ulp(np.array(value))) if np.isfinite(fmt.round(value)).all() else 1.0
    value = data.draw(st.sampled_from([value, np.round(value / step) * step + step / 2]))
    seen = value * (1.0 + off)
    out = np.empty((1, 1), fmt.dtype)
    doubted = narrowed(np.array([[seen]]), np.array([2.0 * off / FLOAT64.u + 2.0]), fmt, out)[0]
    right = fmt.round(np.array([[value]]))
    assert doubted or np.array_equal(out.astype(np.float64), right, equal_nan=True)


def test_most_roundings_are_not_in_doubt() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 100))
    for fmt in (FLOAT32, BFLOAT16, FLOAT16):
        out = np.empty(values.shape, fmt.dtype)
        assert narrowed(values, np.full(1000, 64.0), fmt, out).sum() <= 10
        np.testing.assert_array_equal(out, fmt.cast(values))


@pytest.mark.parametrize("way", named(FOR_NARROW))
def test_no_value_but_one_between_two_numbers_is_in_doubt(way: str) -> None:
    values, out = np.array([[NAN, 1.0], [INF, -INF], [0.0, 0.1], [1 + 2.0**-24, 0.1]]), np.empty((4, 2), np.float32)
    with np.errstate(all="ignore"):
        doubted = FOR_NARROW[way]().narrowed(values, np.full(4, 4.0), FLOAT32, out)
    assert doubted.tolist() == [False, False, False, True]


@pytest.mark.parametrize("fmt", [f for f in EVERY_FORMAT.values() if not f.is_emulated and f is not FLOAT64], ids=str)
@pytest.mark.parametrize("way", named(FOR_NARROW))
def test_where_a_format_ends_a_value_is_in_doubt_as_between_two_of_its_numbers(way: str, fmt: Format) -> None:
    end = fmt.max + float(fmt.ulp(np.array(fmt.max))) / 2
    for steps, in_doubt in ((0, True), (2, True), (-2, True), (40, False), (-40, False)):
        for sign in (1.0, -1.0):
            value, out = np.array([[sign * end * (1.0 + steps * 2.0**-53), 0.5]]), np.empty((1, 2), fmt.dtype)
            assert FOR_NARROW[way]().narrowed(value, np.array([8.0]), fmt, out).tolist() == [in_doubt], steps


@needs_numba
def test_the_compiler_is_told_by_its_version_and_the_processor() -> None:
    from numba import __version__

    from stablemax.kernels.compiling import compiler

    version, processor = compiler()
    assert version == __version__
    assert processor


# --- the same bits ----------------------------------------------------------------------------------


@needs_numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 33, 2047, 2048, 2049, 5000])
def test_numba_and_numpy_give_the_same_bits(classes: int, dtype: Any) -> None:
    rng = np.random.default_rng(classes)
    count = max(12, 3000 // classes)
    x = (rng.normal(size=(count, classes)) * rng.choice([1e-3, 5.0, 300.0, 1e5], (count, 1))).astype(dtype)
    x[0, -1], x[1, 0], x[2], x[3, 1:], x[4, 0] = INF, NAN, -INF, -INF, -INF
    x[5] = x[5, 0]
    labels, loops = rng.integers(0, classes, count), ways.loops(may_be_quick=False)
    np.testing.assert_array_equal(losses(x, labels), losses(x, labels, loops))
    for operation in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD):
        # Which rows are in doubt may differ: what is proved then is the same.
        (found, doubted), (other, also) = run(operation, x, PAIRS, labels), run(operation, x, loops, labels)
        sure = without(np.union1d(doubted, also), count)
        np.testing.assert_array_equal(found[sure], other[sure])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 70), st.sampled_from([np.float32, np.float64]))
def test_a_row_has_the_same_bits_alone_and_in_any_block(seed: int, n: int, classes: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, classes)) * rng.choice([0.1, 5.0, 200.0])).astype(dtype)
    labels = rng.integers(0, classes, n)
    whole, whole_losses = [run(o, x, PAIRS, labels)[0] for o in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP)], losses(x, labels)
    gradients = run(CROSS_ENTROPY_GRAD, x, PAIRS, labels)[0]
    for i in range(n):
        row, label = x[i : i + 1], labels[i : i + 1]
        alone = [run(o, row, PAIRS)[0] for o in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP)]
        assert [values[0].tobytes() for values in alone] == [values[i].tobytes() for values in whole]
        assert run(CROSS_ENTROPY_GRAD, row, PAIRS, label)[0][0].tobytes() == gradients[i].tobytes()
        assert losses(row, label)[0].tobytes() == whole_losses[i].tobytes()


def test_logits_in_any_order_of_bytes_and_memory_give_the_same_bits() -> None:
    x, labels = confident(8, 30, 20, 5.0, FLOAT64)
    for same in (x.astype(">f8"), np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(run(SOFTMAX, x, PAIRS)[0], run(SOFTMAX, same, PAIRS)[0])
        np.testing.assert_array_equal(losses(x, labels), losses(same, labels))


# --- rows that have no value ----------------------------------------------------------------------


@pytest.mark.parametrize("way", named(TO_THE_BIT))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("logits", "label", "loss", "lse"),
    [
        ([0.0, NAN, 1.0], 0, NAN, NAN),
        ([-INF, -INF, -INF], 0, NAN, -INF),
        ([0.0, INF, 1.0], 0, INF, INF),
        ([0.0, INF, 1.0], 1, NAN, INF),
        ([INF, INF, 1.0], 2, NAN, INF),
        ([0.0, -INF, 0.0], 1, INF, np.log(2.0)),
        ([5.0, -INF, -INF], 0, 0.0, 5.0),
    ],
)
def test_a_row_with_infinities_has_the_limit_or_nan(
    logits: list[float], label: int, loss: float, lse: float, dtype: Any, way: str
) -> None:
    passes = TO_THE_BIT[way]()
    x = np.array([logits, [1.0, 2.0, 3.0]], dtype)
    found = losses(x, np.array([label, 0]), passes)
    sums, _ = run(LOGSUMEXP, x, passes)
    np.testing.assert_array_equal(found[0], loss)
    np.testing.assert_array_equal(sums[0, 0], np.array(lse, dtype))
    # The row beside it is not touched.
    np.testing.assert_array_max_ulp(found[1], np.array(2.40760596444438), maxulp=2)


@pytest.mark.parametrize("way", named(FOR_NARROW))
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("operation", [SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD], ids=str)
def test_a_row_without_a_value_is_what_the_variant_makes_of_it(operation: Operation, dtype: Any, way: str) -> None:
    x = np.array(
        [[0, NAN, 1], [-INF, -INF, -INF], [0, INF, 1], [INF, INF, 0], [NAN, INF, 0], [-INF, 0, -INF], [0, 1, 2]], dtype
    )
    for logits in (x, x[:, :1]):
        labels = np.zeros(len(x), dtype=np.int64)
        xp = Arithmetic(format_of(x.dtype))
        variant = get(default_id(operation, xp.format))
        second = LabelTargets(labels) if operation is CROSS_ENTROPY_GRAD else None
        expected = evaluate(variant, logits, xp, second)
        found = run(operation, logits, FOR_NARROW[way](), labels)[0].reshape(expected.shape)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))


def test_a_row_that_does_not_count_has_a_gradient_of_zero_whatever_is_in_it() -> None:
    x = np.array([[NAN, 0.0], [-INF, -INF], [1.0, 2.0]], np.float32)
    found, _ = run(CROSS_ENTROPY_GRAD, x, PAIRS, np.array([0, 1, 0]), np.array([0.0, 0.0, 1.0]))
    assert (found[:2] == 0).all()
    assert (found[2] != 0).all()


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1.0])
def test_nor_has_a_piece_of_it_another_gradient(value: float, short_pieces: int) -> None:
    x, none = np.full((1, 20), value), np.zeros(1)
    sums, out = in_pieces(x), np.full((1, 7), 5.0)
    long_rows.softmax(x[:, :7], sums, none, 1.0, out, PAIRS, Workspace())
    assert (out == 0).all()
    assert long_rows.gradient_at_label(x[:, 3:4], sums, none, 1.0, PAIRS).tolist() == [0.0]


@pytest.mark.parametrize("at", [0, 20, 49])
def test_pieces_of_nothing_but_minus_infinity_add_nothing_at_all(at: int, short_pieces: int) -> None:
    x = np.full((1, 50), -INF)
    x[0, at] = 3.0
    found = in_pieces(x)
    # A weight would bring out what is left of exp(-800).
    assert (found.m.item(), found.high.item(), found.low.item()) == (3.0, 0.0, 0.0)


# --- where results go -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", named(FOR_NARROW))
@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32], ids=str)
def test_a_result_goes_into_every_second_column_as_into_a_block_of_memory(way: str, fmt: Format) -> None:
    x, labels = confident(3, 5, 9, 10.0, fmt)
    one, passes = np.ones(5), FOR_NARROW[way]()
    computes: tuple[Callable[[Array], Array], ...] = (
        lambda out: kernels.softmax(x, out, fmt, passes, Workspace()),
        lambda out: kernels.log_softmax(x, out, fmt, passes, Workspace()),
        lambda out: kernels.gradient(x, labels, one, 5.0, out, fmt, passes, Workspace()),
    )
    for compute in computes:
        whole, spread = np.full(x.shape, 7.0, fmt.dtype), np.full((5, 18), 7.0, fmt.dtype)
        np.testing.assert_array_equal(compute(whole), compute(spread[:, ::2]))
        np.testing.assert_array_equal(spread[:, ::2], whole)
        assert (spread[:, 1::2] == 7.0).all()


# --- logits of any format ---------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [FLOAT32, BFLOAT16, FLOAT16], ids=str)
@given(data=st.data())
def test_differences_of_a_row_that_is_not_said_to_round_are_exact_in_float64(fmt: Format, data: st.DataObject) -> None:
    row = data.draw(st.lists(st.floats(width=32) | st.just(-INF) | st.just(0.0), min_size=2, max_size=6))
    x = in_format([row], fmt)
    if may_round(x)[0]:
        return
    finite = [Fraction(float(value)) for value in x[0] if np.isfinite(value)]
    for a in finite:
        for b in finite:
            assert Fraction(float(a) - float(b)) == a - b


def test_logits_of_a_usual_size_are_not_said_to_round() -> None:
    x = np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32)
    x[:, 5], x[:, 6] = 0.0, -INF
    assert not may_round(x).any()
    x[3, 7] = 1e-12
    assert np.flatnonzero(may_round(x)).tolist() == [3]


def test_float16_has_no_logits_that_may_round() -> None:
    assert not may_round(np.array([[65504.0, 2.0**-24, 0.0, -INF], [1.0, 2.0, 3.0, NAN]], np.float16)).any()


@pytest.mark.parametrize("exponent", [0, -126, 60])
def test_logits_up_to_28_binades_apart_are_not_said_to_round_and_all_whose_difference_does_are(exponent: int) -> None:
    longest = 2.0 - 2.0**-23
    for apart in range(20, 40):
        a, b = longest * 2.0 ** (exponent + apart), -longest * 2.0**exponent
        rounds = Fraction(a - b) != Fraction(a) - Fraction(b)
        said = bool(may_round(np.array([[a, b]], np.float32))[0])
        assert said >= rounds
        assert not (said and apart <= 28)


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16], ids=str)
def test_widening_is_exact_for_every_number_of_16_bits(fmt: Format) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(fmt.dtype).reshape(256, 256)
    np.testing.assert_array_equal(widened(every, Workspace()), every.astype(np.float64))


# --- rows that are longer than a piece --------------------------------------------------------------


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(ways, "PIECE", 7)
    return 7


def in_pieces(x: Array) -> Any:
    return long_rows.sums(lambda first, last: x[:, first:last], x.shape[1], PAIRS, Workspace())


@pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("seed", range(30))
def test_a_row_in_pieces_gives_a_loss_within_1_5_ulp(seed: int, fmt: Format, short_pieces: int) -> None:
    x, labels = confident(seed, 1, 50, 10.0, fmt)
    exact = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(labels))
    found = in_pieces(x).losses(x[[0], labels].astype(np.float64))
    assert ulps_of(found, exact, FLOAT64).max() <= 1.5


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_sums_that_are_merged_from_pieces_are_as_right_as_exponentials_in_two_numbers(
    order: slice, short_pieces: int
) -> None:
    rng, worst = np.random.default_rng(5), 0.0
    for _ in range(60):
        x = np.sort(rng.normal(size=(1, 21)))[:, order]
        found, m = in_pieces(x), x.max()
        with flint.ctx.workprec(300):
            exact = sum(((flint.arb(v) - m).exp() for v in x[0].tolist() if v != m), flint.arb(0))
            got = (flint.arb(found.high.item()) + found.low.item()) / ONE
            worst = max(worst, float(abs(got / exact - 1).upper()))
    assert worst <= 0.3 * FLOAT64.u


@pytest.mark.parametrize("gap", [1.5, 7.25, 20.125, 40.00838, 300.7])
def test_equal_pieces_do_not_add_up_their_rounding_errors(gap: float, short_pieces: int) -> None:
    x = np.full((1, 100 * short_pieces), -gap, np.float32)
    x[0, 0] = 0.0
    exact = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(np.array([0])))
    assert ulps_of(in_pieces(x).losses(x[:, 0].astype(np.float64)), exact, FLOAT64).max() <= 1.5


@pytest.mark.parametrize("seed", range(10))
def test_a_piece_has_the_results_of_the_whole_row_within_1_5_ulp(seed: int, short_pieces: int) -> None:
    x, labels = confident(seed, 1, 50, 200.0, FLOAT64)
    sums, one, label = in_pieces(x), np.ones(1), int(labels[0])
    found = {o: np.empty((1, 50)) for o in (SOFTMAX, LOG_SOFTMAX)}
    for first in range(0, 50, short_pieces):
        piece = slice(first, min(first + short_pieces, 50))
        long_rows.softmax(x[:, piece], sums, one, 1.0, found[SOFTMAX][:, piece], PAIRS, Workspace())
        long_rows.log_softmax(x[:, piece], sums, found[LOG_SOFTMAX][:, piece], PAIRS, Workspace())
    for operation, values in found.items():
        assert ulps_of(values, truth_of(operation, x, FLOAT64), FLOAT64).max() <= 1.5
    mine = long_rows.gradient_at_label(x[:, label : label + 1], sums, one, 1.0, PAIRS)
    exact = truth_of(CROSS_ENTROPY_GRAD, x, FLOAT64, LabelTargets(labels)).mapped(lambda a: a[:, labels[0]])
    assert ulps_of(mine, exact, FLOAT64).max() <= 1.5


@pytest.mark.parametrize(
    ("where", "value"), [(0, NAN), (20, NAN), (49, NAN), (0, INF), (30, INF), (slice(0, 49), -INF), (slice(None), -INF)]
)
def test_a_piece_without_a_value_is_merged_as_the_row_has_it(where: Any, value: float, short_pieces: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 50))
    x[0, where] = value
    found, whole = in_rows(in_pieces(x).logsumexps()[0]), run(LOGSUMEXP, x, PAIRS)[0][:, 0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(whole))
    if not np.isnan(whole[0]):
        np.testing.assert_array_max_ulp(found, whole, maxulp=2)
