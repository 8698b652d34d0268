"""The block kernels: as accurate as they promise, and blind to the block that a row comes in."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.inputs.workspace import Workspace
from stablemax.kernels import array_kernels as arrays
from stablemax.kernels import long_rows
from stablemax.kernels import row_kernels as rows
from stablemax.kernels import unshifted as plain
from stablemax.kernels.odds import careful_odds, fast_odds, may_round, widened
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, format_of
from stablemax.operations import get_operation
from stablemax.operations.targets import LabelTargets
from stablemax.operations.variant import default_id, evaluate, get

from ..exactly import USUAL, in_format, rows_of, truth_of
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.truth.balls import Truth

ARRAYS = {SOFTMAX: arrays.softmax, LOG_SOFTMAX: arrays.log_softmax}


@pytest.fixture(autouse=True)
def as_an_engine_runs_them() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def ulps_of(found: Array, truth: Truth, fmt: Format) -> Array:
    return truth.error_ulp(found.astype(np.float64), fmt)


def run(kernel: Any, x: Array, *rest: Any, dtype: Any = None) -> Array:
    out = np.empty(x.shape, x.dtype if dtype is None else dtype)
    kernel(x, *rest, out, Workspace())
    return out


def gradients(x: Array, labels: Array, scale: Array | None = None) -> Array:
    ones = np.ones(len(x)) if scale is None else scale
    return run(arrays.gradient, x, labels, ones, 1.0)


def confident(seed: int, rows_: int, classes: int, scale: float, fmt: Format) -> tuple[Array, Array]:
    """Rows like those of a trained model: one class ahead, often the label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=scale, size=(rows_, classes))
    x[np.arange(rows_), rng.integers(0, classes, rows_)] += rng.uniform(0, 60, rows_)
    x = in_format(x, fmt)
    labels = np.where(rng.random(rows_) < 0.6, x.astype(np.float64).argmax(1), rng.integers(0, classes, rows_))
    return x, labels


# --- accuracy -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("classes", [2, 3, 10, 300])
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0, 300.0])
def test_a_loss_is_within_2_ulp_of_float64_for_narrow_logits_and_4_for_float64(
    fmt: Format, classes: int, scale: float
) -> None:
    x, labels = confident(classes, 1200 // classes + 20, classes, scale, fmt)
    truth = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(labels))
    found = rows.losses(x, labels, Workspace())
    assert ulps_of(found, truth, FLOAT64).max() <= (4.0 if fmt is FLOAT64 else 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("rival", [4096, 4097], ids=["seen", "overlooked"])
def test_a_loss_of_a_long_row_is_accurate_however_wrong_the_guess_of_its_size_is(rival: int) -> None:
    # From rows.SHORT classes on it is guessed from some of the logits, here from every 2,048th, for which the
    # others are taken to be like them. The masked classes leave the truth to two of them.
    rng = np.random.default_rng(12)
    x = np.full((16, 1 << 17), -INF, np.float32)
    for _ in range(40):
        x[:, rival] = rng.normal(size=16)
        x[:, 1] = x[:, rival] + rng.uniform(0.0, 2.4, 16)
        pairs, first = x[:, [1, rival]].astype(np.float64), np.zeros(16, np.int64)
        truth = truth_of(CROSS_ENTROPY, pairs, FLOAT64, LabelTargets(first))
        assert ulps_of(rows.losses(x, first + 1, Workspace()), truth, FLOAT64).max() <= 2.0


@given(rows_of(FLOAT32, limit=1e4), st.data())
def test_a_loss_of_any_float32_logits_is_within_2_ulp(values: list[list[float]], data: st.DataObject) -> None:
    # Logits of very different sizes, and losses down to e**-708, in which nothing may be lost.
    x = in_format(values, FLOAT32)
    labels = np.array([data.draw(st.integers(0, x.shape[1] - 1)) for _ in x])
    truth = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(labels))
    normal = np.isfinite(truth.rounded) & (np.abs(truth.rounded) >= np.finfo(np.float64).tiny)
    error = ulps_of(rows.losses(x, labels, Workspace()), truth, FLOAT64)
    assert error.max(where=normal, initial=0.0) <= 2.0


@given(rows_of(FLOAT64, limit=1e4), st.data())
def test_a_loss_of_any_float64_logits_is_within_4_ulp(values: list[list[float]], data: st.DataObject) -> None:
    x = np.array(values)
    labels = np.array([data.draw(st.integers(0, x.shape[1] - 1)) for _ in x])
    truth = truth_of(CROSS_ENTROPY, x, FLOAT64, LabelTargets(labels))
    assert ulps_of(rows.losses(x, labels, Workspace()), truth, FLOAT64).max() <= 4.0


@pytest.mark.parametrize("fmt", [f for f in USUAL.values() if not f.is_emulated], ids=lambda f: f.name)
@pytest.mark.parametrize("operation", ARRAYS)
def test_a_kernel_keeps_the_promise_of_its_variant(fmt: Format, operation: Operation) -> None:
    x, _ = confident(3, 12, 40, 3.0, fmt)
    found = run(ARRAYS[operation], x)
    truth = truth_of(operation, x.astype(np.float64), fmt)
    assert ulps_of(found, truth, fmt).max() <= (4.0 if fmt is FLOAT64 else 0.51)


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=str)
def test_a_gradient_is_accurate_at_the_label_and_elsewhere(fmt: Format) -> None:
    x, labels = confident(4, 60, 40, 3.0, fmt)
    truth = truth_of(CROSS_ENTROPY_GRAD, x.astype(np.float64), fmt, LabelTargets(labels))
    assert ulps_of(gradients(x, labels), truth, fmt).max() <= (4.0 if fmt is FLOAT64 else 0.51)


def test_the_careful_odds_are_those_that_the_fast_ones_approximate() -> None:
    x, _ = confident(5, 50, 1000, 5.0, FLOAT64)
    fast, careful = fast_odds(x, Workspace()), careful_odds(x, Workspace())
    assert (fast.at == careful.at).all()
    assert (fast.m == careful.m).all()
    # Where m is subtracted, x - m rounds by up to u |x - m|, here 512 u; the exponentials as they are do not.
    others, mine = plain.against(x, fast.at, Workspace())
    assert np.abs(others / mine / careful.q - 1).max() < 8 * 2.0**-53
    assert 8 * 2.0**-53 < np.abs(fast.q / careful.q - 1).max() < 512 * 2.0**-53


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [-1e5, -700.0, -400.0, 0.0, 400.0, 700.0, 1e5])
def test_a_row_keeps_its_accuracy_wherever_its_logits_lie(offset: float, dtype: Any) -> None:
    # Around 312 in size, the exponentials as they are leave their range; around 745, that of float64.
    fmt = format_of(np.dtype(dtype))
    x, labels = confident(6, 40, 30, 3.0, fmt)
    x = (x + dtype(offset)).astype(dtype)
    exact, second = x.astype(np.float64), LabelTargets(labels)
    most = 2.0 if dtype == np.float32 else 4.0
    losses = rows.losses(x, labels, Workspace())
    assert ulps_of(losses, truth_of(CROSS_ENTROPY, exact, FLOAT64, second), FLOAT64).max() <= most
    bound = 0.51 if dtype == np.float32 else 4.0
    for operation, kernel in ARRAYS.items():
        assert ulps_of(run(kernel, x), truth_of(operation, exact, fmt), fmt).max() <= bound
    truth = truth_of(CROSS_ENTROPY_GRAD, exact, fmt, second)
    assert ulps_of(gradients(x, labels), truth, fmt).max() <= bound
    sums = rows.logsumexps(x, Workspace())
    # A sum m + log1p(q) near 0 cancels, so that its error is told in ulps of m.
    truth = truth_of(LOGSUMEXP, exact, FLOAT64)
    step = np.spacing(np.maximum(np.abs(exact).max(axis=1), 1.0))
    assert (np.abs(sums - truth.rounded) <= 3 * step).all()


# --- rows that have no value ----------------------------------------------------------------------

INF, NAN = np.inf, np.nan


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
    logits: list[float], label: int, loss: float, lse: float, dtype: Any
) -> None:
    x = np.array([logits, [1.0, 2.0, 3.0]], dtype)
    losses = rows.losses(x, np.array([label, 0]), Workspace())
    sums = rows.logsumexps(x, Workspace())
    np.testing.assert_array_equal(losses[0], loss)
    np.testing.assert_array_equal(sums[0], lse)
    # The row beside it is not touched.
    np.testing.assert_array_max_ulp(losses[1], np.array(2.40760596444438), maxulp=2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("operation", ["softmax", "log_softmax", "logsumexp", "cross_entropy_grad"])
def test_a_row_without_a_value_is_what_the_variant_makes_of_it(operation: str, dtype: Any) -> None:
    x = np.array(
        [[0, NAN, 1], [-INF, -INF, -INF], [0, INF, 1], [INF, INF, 0], [NAN, INF, 0], [-INF, 0, -INF], [0, 1, 2]], dtype
    )
    for logits in (x, x[:, :1]):
        labels = np.zeros(len(x), dtype=np.int64)
        xp = Arithmetic(format_of(x.dtype))
        variant = get(default_id(get_operation(operation), xp.format))
        second = LabelTargets(labels) if operation == "cross_entropy_grad" else None
        expected = evaluate(variant, logits, xp, second)
        if operation == "logsumexp":
            found = rows.logsumexps(logits, Workspace()).astype(dtype)
        elif second is not None:
            found = gradients(logits, labels)
        else:
            found = run(ARRAYS[get_operation(operation)], logits)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))


def test_a_row_that_does_not_count_has_a_gradient_of_zero_whatever_is_in_it() -> None:
    x = np.array([[NAN, 0.0], [-INF, -INF], [1.0, 2.0]], np.float32)
    found = gradients(x, np.array([0, 1, 0]), np.array([0.0, 0.0, 1.0]))
    assert (found[:2] == 0).all()
    assert (found[2] != 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_weights_and_a_divisor_cost_a_float64_gradient_one_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, labels = confident(seed, 40, 6, 10.0, FLOAT64)
    weights, divisor = rng.uniform(0.1, 3, (40, 1)), float(rng.uniform(1, 200))
    targets = LabelTargets(labels, weights, divisor)
    found = run(arrays.gradient, x, labels, weights[:, 0], divisor)
    assert ulps_of(found, truth_of(CROSS_ENTROPY_GRAD, x, FLOAT64, targets), FLOAT64).max() <= 4.1


def test_a_weight_may_be_as_small_as_float64_has_it() -> None:
    x = np.array([[310.0, 300.0]])
    found = run(arrays.gradient, x, np.array([0]), np.array([1e-180]), 1.0)
    plain_one = run(arrays.gradient, x, np.array([0]), np.array([1.0]), 1.0)
    np.testing.assert_array_max_ulp(found, plain_one * 1e-180, maxulp=2)


# --- a row depends on itself alone -----------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 70), st.sampled_from([np.float32, np.float64]))
def test_a_row_has_the_same_bits_alone_and_in_any_block(seed: int, n: int, classes: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, classes)) * rng.choice([0.1, 5.0, 200.0])).astype(dtype)
    labels = rng.integers(0, classes, n)
    whole = {
        "loss": rows.losses(x, labels, Workspace()),
        "lse": rows.logsumexps(x, Workspace()),
        "softmax": run(arrays.softmax, x),
        "log_softmax": run(arrays.log_softmax, x),
        "gradient": gradients(x, labels),
    }
    workspace = Workspace()
    for i in range(n):
        row, label = x[i : i + 1], labels[i : i + 1]
        alone = {
            "loss": rows.losses(row, label, workspace),
            "lse": rows.logsumexps(row, workspace),
            "softmax": run(arrays.softmax, row),
            "log_softmax": run(arrays.log_softmax, row),
            "gradient": gradients(row, label),
        }
        for name, values in alone.items():
            assert values[0].tobytes() == whole[name][i].tobytes(), name


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16], ids=str)
def test_widening_is_exact_for_every_number_of_16_bits(fmt: Format) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(fmt.dtype).reshape(256, 256)
    np.testing.assert_array_equal(widened(every, Workspace()), every.astype(np.float64))


# --- rows that are longer than a piece --------------------------------------------------------------


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(long_rows, "PIECE", 7)
    return 7


@pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("seed", range(30))
def test_the_odds_of_a_row_in_pieces_give_the_same_loss_within_4_ulp(seed: int, fmt: Format, short_pieces: int) -> None:
    x, labels = confident(seed, 1, 50, 10.0, fmt)
    odds = long_rows.odds(lambda first, last: x[:, first:last], 50, Workspace())
    truth = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(labels))
    assert odds.at[0] == x[0].argmax()
    assert ulps_of(rows.loss_from(odds, x[[0], labels]), truth, FLOAT64).max() <= 4.0


@pytest.mark.parametrize("gap", [1.5, 7.25, 20.125, 40.00838, 300.7])
def test_equal_pieces_do_not_add_up_their_rounding_errors(gap: float, short_pieces: int) -> None:
    classes = 100 * short_pieces
    x = np.full((1, classes), -gap, np.float32)
    x[0, 0] = 0.0
    odds = long_rows.odds(lambda first, last: x[:, first:last], classes, Workspace())
    truth = truth_of(CROSS_ENTROPY, x.astype(np.float64), FLOAT64, LabelTargets(np.array([0])))
    assert ulps_of(rows.loss_from(odds, x[:, 0]), truth, FLOAT64).max() <= 2.0


@pytest.mark.parametrize(
    ("where", "value"), [(0, NAN), (20, NAN), (49, NAN), (0, INF), (30, INF), (slice(0, 49), -INF), (slice(None), -INF)]
)
def test_a_piece_without_a_value_is_merged_as_the_row_has_it(where: Any, value: float, short_pieces: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 50))
    x[0, where] = value
    odds = long_rows.odds(lambda first, last: x[:, first:last], 50, Workspace())
    whole = rows.logsumexps(x, Workspace())
    np.testing.assert_array_equal(np.isnan(rows.logsumexp_from(odds)), np.isnan(whole))
    if not np.isnan(whole[0]):
        np.testing.assert_array_max_ulp(rows.logsumexp_from(odds), whole, maxulp=2)
