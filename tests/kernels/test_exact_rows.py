"""The proofs in compiled loops: their bound, and that what they are sure of is the number nearest to the exact one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stablemax
from stablemax.compute import block_job, loss
from stablemax.compute.proved import nearest
from stablemax.hazards.catalogue import HAZARDS
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import passes as ways
from stablemax.kernels.double_double import ONE
from stablemax.numerics.formats import FLOAT64
from stablemax.operations.targets import LabelTargets

from ..exactly import rows_of
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.numerics.formats import Array

pytest.importorskip("numba", reason="it compiles the loops")
from stablemax.kernels import exact_loops, exact_rows

INF, NAN = np.inf, np.nan
LN2 = np.log(2.0)


@pytest.fixture(autouse=True)
def as_an_engine_runs_them() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def doubts_beside_the_truth(x: Array, labels: Array, weights: Array, divisor: float = 1.0) -> dict[str, int]:
    """How many rows each kernel leaves in doubt; of the others every number has to be that of the proof in arrays."""
    second, doubts = LabelTargets(labels, weights[:, None], divisor), {}
    for operation in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD):
        of_labels = operation is CROSS_ENTROPY_GRAD
        out = np.full((len(x), 1 if operation.per_row else x.shape[1]), 7.0)
        given = (labels if of_labels else None, weights if of_labels else np.ones(1), divisor if of_labels else 1.0)
        doubtful = exact_rows.KERNELS[operation.kernel](x, *given, out, Workspace())
        sure = np.setdiff1d(np.arange(len(x)), doubtful)
        right = nearest(operation, x.astype(np.float64), second if of_labels else None, FLOAT64)[0]
        # Balls and pairs of numbers differ in the sign of what is too small for a float64.
        np.testing.assert_array_equal(out[sure], right.reshape(out.shape)[sure], str(operation))
        doubts[operation.name] = len(doubtful)
    found = exact_rows.losses(x, labels, Workspace(), weights)
    right = nearest(CROSS_ENTROPY, x.astype(np.float64), LabelTargets(labels, weights[:, None]), FLOAT64)[0].ravel()
    np.testing.assert_array_equal(found.values[~found.in_doubt], right[~found.in_doubt])
    return {**doubts, "cross_entropy": int(found.in_doubt.sum())}


def test_exponentials_and_their_sums_are_as_right_as_the_bound_says() -> None:
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 1100, 4000) + 0.5
    d = [
        rng.uniform(0, 790, 4000),
        rng.uniform(0, 0.7, 4000),
        np.exp(rng.uniform(-60, 0, 4000)),
        steps * LN2 * 0.9999999,
    ]
    x = np.stack([np.zeros(16000), -np.minimum(np.concatenate(d), 790.0)], axis=1) + rng.uniform(-3, 3, (16000, 1))
    x = x[x[:, 1] < x[:, 0]]
    sums = exact_loops.sums(x, Workspace())
    with flint.ctx.workprec(300):
        errors = [
            float(abs((flint.arb(high) + flint.arb(low)) / ONE / (flint.arb(b) - flint.arb(a)).exp() - 1))
            for a, b, high, low in zip(*x.T.tolist(), sums.high.tolist(), sums.low.tolist(), strict=True)
        ]
    # Where v is log(2) / 2 the bound is nearly reached: less of it would be too little.
    assert 2.0**-80 < max(errors) < 2.0**-79.2 < exact_loops.DELTA


@pytest.mark.parametrize("classes", [1, 2, 9, 511, 512, 513, 3000])
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 100.0])
def test_what_a_loop_is_sure_of_is_the_nearest_number_and_it_is_mostly_sure(scale: float, classes: int) -> None:
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(20, classes)) * scale
    labels = np.where(np.arange(20) % 2, x.argmax(axis=1), rng.integers(0, classes, 20))
    doubts = doubts_beside_the_truth(x, labels, rng.uniform(0.1, 3.0, 20), 49.0)
    assert max(doubts.values()) <= (1 if scale < 100 else 6), doubts


@pytest.mark.parametrize("scale", [1e3, 1e5, 1e15, 1e300])
def test_what_a_loop_is_sure_of_is_right_at_any_spread(scale: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 60)) * scale
    doubts = doubts_beside_the_truth(x, x.argmax(axis=1), np.ones(40))
    assert doubts["softmax"] == 0 or scale > 1e100


@pytest.mark.parametrize("scale", [0.01, 3.0, 40.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_rounding_took_off_a_loss_is_known_to_its_bound(scale: float, weighted: bool) -> None:
    rng = np.random.default_rng(6)
    x, weights = rng.normal(size=(50, 600)) * scale, rng.uniform(0.1, 3.0, 50)
    labels = x.argmax(axis=1)
    found = exact_rows.losses(x, labels, Workspace(), weights if weighted else None)
    with flint.ctx.workprec(500):
        for row, label, weight, value, rest, error in zip(
            *(x.tolist(), labels.tolist(), weights.tolist() if weighted else [1.0] * 50),
            *(part.tolist() for part in found[:3]),
            strict=True,
        ):
            terms = ((flint.arb(v) - flint.arb(row[label])).exp() for v in row)
            exact = flint.arb(weight) * sum(terms, flint.arb(0)).log()
            assert abs(exact - flint.arb(value) - flint.arb(rest)) <= error <= value * 2.0**-78


@pytest.mark.parametrize("masked", [-INF, -1e9, -800.0, -750.0])
def test_a_masked_row_is_not_in_doubt(masked: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 200)) * 4
    x[rng.random(x.shape) < 0.5] = masked
    x[0, 1:] = -INF
    doubts = doubts_beside_the_truth(x, x.argmax(axis=1), np.ones(30))
    assert not any(doubts.values()), doubts


@pytest.mark.parametrize("row", [
    [0.0, 0.0], [3.0] * 3, [1.0] * 1024, [0.0, -INF, -INF], [-0.0, -INF, -INF], [5.0, -INF, -INF], [-1e300, -INF, -INF],
    [0.0, 0.0, -INF], [0.0, -1e9, -1e9], [0.0, -800.0, -1000.0], [0.0, -745.2, -744.0], [0.0, -708.4, -720.0],
    [1e308, -1e308, 0.0], [1e17, 1e17 + 16, 0.0], [0.0, -1e-17, 1e-300], [5e-324, -5e-324, 0.0], [0.0, NAN, 0.0],
    [INF, 0.0, 0.0], [INF, INF, 0.0], [-INF, -INF, -INF], [NAN, INF, 0.0], [0.0, -LN2, -2 * LN2], [2.0**53, 1.0, -1.0],
], ids=str)  # fmt: skip
def test_a_row_of_ties_limits_or_nothing_is_right_or_in_doubt(row: list[float]) -> None:
    x = np.tile(np.array(row), (len(row[:3]), 1))
    doubts_beside_the_truth(x, np.arange(len(x)), np.ones(len(x)))


def test_one_hot_and_equal_logits_are_not_in_doubt() -> None:
    x = np.array([[0.0, 0.0, -INF, -INF], [1.0] * 4, [-INF, 2.0, -INF, -INF]])
    assert not any(doubts_beside_the_truth(x, np.array([0, 1, 1]), np.ones(3)).values())


def rows_beside_rounding_boundaries() -> Array:
    """Rows of which a probability, a loss or a log-sum-exp lies within 2**-90 of the middle of two numbers."""
    off = np.arange(-3, 4)
    near = [-k * LN2 + off * np.spacing(k * LN2) for k in (53, 54, 55, 47, 46)]
    last = np.concatenate(near)
    return np.stack([np.zeros(last.size), np.full(last.size, -128.0), last], axis=1)


def test_results_beside_a_rounding_boundary_are_in_doubt_or_right() -> None:
    x = rows_beside_rounding_boundaries()
    doubts = doubts_beside_the_truth(x, np.ones(len(x), dtype=np.int64), np.ones(len(x)))
    # 1 - p is 2**-54 to 2**-102, and the loss 128 + 2**-46 to 2**-95.
    assert doubts["softmax"] >= 7
    assert doubts["cross_entropy"] >= 1


def test_a_log_probability_beside_a_rounding_boundary_is_in_doubt() -> None:
    # log(1 + q) is 2**-46 to 2**-140, half of what lies between 128 and the next number.
    with flint.ctx.workprec(400):
        left = (flint.arb(2) ** -46).expm1() - flint.arb(-128).exp()
        first = np.nextafter(float(left.log()), -INF)
        second = float((left - flint.arb(first).exp()).log())
    x = np.array([[0.0, -128.0, first, second]])
    doubts = doubts_beside_the_truth(x, np.array([1]), np.ones(1))
    assert doubts["log_softmax"] == doubts["cross_entropy"] == 1


def test_a_log_probability_on_a_tie_but_for_the_sum_is_decided() -> None:
    # x - m is the middle of two numbers, and log(1 + q) is 2**-100 of it.
    x = np.array([[1.0 + 2.0**-52, -(2.0**53), -80.0], [2.0**-20, -(2.0**33), -90.0]])
    assert doubts_beside_the_truth(x, np.zeros(2, dtype=np.int64), np.ones(2))["log_softmax"] == 0


def test_weights_that_are_nothing_unknown_or_out_of_range() -> None:
    x = np.random.default_rng(3).normal(size=(6, 5))
    x[0, 0] = NAN
    out, weights = np.empty_like(x), np.array([0.0, NAN, 1e-200, 1e200, -1.0, 2.0])
    doubtful = exact_rows.KERNELS["gradient"](x, np.zeros(6, dtype=np.int64), weights, 3.0, out, Workspace())
    assert doubtful.tolist() == [2, 3, 4]
    assert not out[0].any()
    assert np.isnan(out[1]).all()
    assert exact_rows.losses(x, np.zeros(6, dtype=np.int64), Workspace(), weights).in_doubt.tolist() == [
        *(True, True, True, True, True, False)
    ]


@pytest.mark.parametrize("name", HAZARDS)
def test_what_a_loop_is_sure_of_is_right_on_every_hazard(name: str) -> None:
    case = HAZARDS[name].case(FLOAT64)
    x = FLOAT64.round(case.logits[:8])
    labels = np.maximum(case.labels[:8], 0) if case.labels.ndim == 1 else np.zeros(len(x), dtype=np.int64)
    if x.size:
        doubts_beside_the_truth(np.ascontiguousarray(x), labels, np.ones(len(x)))


@settings(max_examples=300)
@given(rows_of(FLOAT64), st.data())
def test_what_a_loop_is_sure_of_is_right_on_any_logits(values: list[list[float]], data: st.DataObject) -> None:
    x = np.array(values)
    masked = data.draw(st.lists(st.booleans(), min_size=x.shape[1], max_size=x.shape[1]))
    x[:, masked] = -INF
    labels = np.array([data.draw(st.integers(0, x.shape[1] - 1)) for _ in x])
    doubts_beside_the_truth(x, labels, np.array([data.draw(st.floats(0.1, 10.0)) for _ in x]), 3.0)


# --- whole inputs ---------------------------------------------------------------------------------


def results(x: Array, labels: Array, threads: int = 1) -> list[Array]:
    """What all functions that prove float64 results give."""
    weight = np.linspace(0.5, 2.0, x.shape[1])
    chosen: dict[str, Any] = {"exact": True, "threads": threads}
    return [
        *(getattr(stablemax, name)(x, **chosen) for name in ("softmax", "log_softmax", "logsumexp")),
        *(stablemax.cross_entropy_grad(x, labels, w, ignore_index=3, **chosen) for w in (None, weight)),
        *(
            np.array(stablemax.cross_entropy(x, labels, w, ignore_index=3, reduction=reduction, **chosen))
            for w in (None, weight)
            for reduction in ("none", "mean", "sum")
        ),
    ]


def test_results_have_the_same_bits_with_the_loops_and_without_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 50)) * rng.choice([0.1, 5.0, 300.0], (400, 1))
    x[rng.random(x.shape) < 0.1] = -INF
    x[:35] = np.pad(rows_beside_rounding_boundaries(), ((0, 0), (0, 47)), constant_values=-INF)
    x[40], x[41, 3], x[42, 5] = -INF, NAN, INF
    labels = np.where(np.arange(400) % 2, np.nan_to_num(x).argmax(axis=1), rng.integers(0, 50, 400))
    monkeypatch.setattr(block_job, "is_worth_loops", lambda *_, **__: False)
    expected = results(x, labels)
    monkeypatch.setattr(block_job, "is_worth_loops", lambda *_, **__: True)
    compiled = exact_loops.sums
    count = 0

    def counted(*given: Any) -> Any:
        nonlocal count
        count += 1
        return compiled(*given)

    monkeypatch.setattr(exact_loops, "sums", counted)
    for threads in (1, 2):
        for found, right in zip(results(x, labels, threads), expected, strict=True):
            np.testing.assert_array_equal(found, right)
    assert count, "the loops were not used"
    monkeypatch.setattr("stablemax.compute.streaming.STEP_CELLS", 400)
    for found, right in zip(results(x, labels, 2), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_a_mean_that_the_bounds_leave_open_is_computed_without_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x, labels = rng.normal(size=(60, 40)), rng.integers(0, 40, 60)
    expected = stablemax.cross_entropy(x, labels, exact=True)
    monkeypatch.setattr(block_job, "is_worth_loops", lambda *_, **__: True)
    losses, used = exact_rows.losses, []

    def vague(*given: Any) -> exact_rows.Nearest:
        used.append(1)
        found = losses(*given)
        # A wrong sum within a bound that admits it.
        return found._replace(rests=found.rests + 1e-15, errors=found.errors + 2e-15)

    monkeypatch.setattr(exact_rows, "losses", vague)
    assert stablemax.cross_entropy(x, labels, exact=True) == expected
    assert used
    monkeypatch.setattr(loss, "is_certain", lambda *_: True)
    assert stablemax.cross_entropy(x, labels, exact=True) != expected


@pytest.mark.parametrize("uses_loops", [False, True])
@pytest.mark.parametrize(
    ("rows", "total"),
    [([[0.0, -INF], [0.3, 0.1]], INF), ([[0.0, NAN], [0.3, 0.1]], NAN), ([[0.0, -INF], [0.1, NAN]], NAN)],
)
def test_what_is_not_finite_makes_an_exact_mean_what_ieee_has_it(
    rows: list[list[float]], total: float, uses_loops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_job, "is_worth_loops", lambda *_, **__: uses_loops)
    for reduction in ("mean", "sum"):
        np.testing.assert_equal(stablemax.cross_entropy(np.array(rows), [1, 1], reduction=reduction, exact=True), total)


def test_the_loops_of_proofs_pay_off_on_smaller_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "has_numba", lambda: True)
    monkeypatch.setattr(ways, "_PROOFS", "nothing.that.is.loaded")
    assert not ways.is_worth_loops(600_000, proves=True)
    assert ways.is_worth_loops(700_000, proves=True)
    assert not ways.is_worth_loops(700_000, once=True, proves=True)
    assert ways.is_worth_loops(13_000_000, once=True, proves=True)
    monkeypatch.setattr(ways, "has_numba", lambda: False)
    assert not ways.is_worth_loops(13_000_000, proves=True)
