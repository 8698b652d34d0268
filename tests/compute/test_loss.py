"""The cross-entropy against its definition, evaluated in balls of 1400 bits from the exact inputs."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablemax
from stablemax.compute import streaming
from stablemax.compute.block_job import Method
from stablemax.compute.loss import loss_of
from stablemax.compute.streaming import Resources
from stablemax.inputs.logits import Stream, as_stream
from stablemax.inputs.stored import StoredArray
from stablemax.kernels.passes import PIECE
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64
from stablemax.operations.targets import TargetOptions
from stablemax.operations.variant import get
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation, Reduction

from ..exactly import USUAL
from ..records import CROSS_ENTROPY

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format

INF, NAN = math.inf, math.nan
# Enough for log(1 + q) of the smallest q that float64 holds, 2**-1074, without any reformulation.
BITS = 1400
# Every term of a row's loss is 0 or more, so relative errors do not grow by adding rows: the row is right to
# 4 ulp, which is at most 8 u; a weight, the smoothing and the division add a handful more.
BUDGET_U = 16


def streamed(x: Array, labels: Array | None = None, axis: int | None = None) -> Stream:
    return as_stream(StoredArray.of(x), () if labels is None else StoredArray.of(labels), axis=axis)


def exact_rows(x: Array, labels: Array, options: TargetOptions) -> tuple[list[flint.arb], list[flint.arb]]:
    """Each kept row's loss and what it counts in a mean, as torch.nn.functional.cross_entropy defines them.

    Smoothed labels: (1 - eps) w_y nll_y + eps / C sum_c w_c nll_c. Soft targets: sum_c w_c t'_c nll_c with
    t' = (1 - eps) t + eps / C, and every row counts 1.
    """
    classes = x.shape[1]
    eps = flint.arb(options.label_smoothing)
    weight = [flint.arb(1)] * classes if options.weight is None else [flint.arb(w) for w in options.weight.tolist()]
    losses, counts = [], []
    for logits, target in zip(x.tolist(), labels.tolist(), strict=True):
        if labels.ndim == 1 and target == options.ignore_index:
            continue
        balls = [flint.arb(v) for v in logits]
        top = max(logits)
        y = top + sum(((b - top).exp() for b in balls), flint.arb(0)).log()
        nll = [y - b for b in balls]
        t = (
            [flint.arb(int(c == target)) for c in range(classes)]
            if labels.ndim == 1
            else [flint.arb(v) for v in target]
        )
        losses.append(
            sum(
                (w * ((1 - eps) * s + eps / classes) * n for w, s, n in zip(weight, t, nll, strict=True)),
                flint.arb(0),
            )
        )
        counts.append(weight[target] if labels.ndim == 1 else flint.arb(1))
    return losses, counts  # fmt: skip


def error_u(found: float, right: flint.arb) -> float:
    """Distance in units of u of the right value."""
    if right == 0:
        return 0.0 if found == 0 else INF
    assert right.rel_accuracy_bits() > 100, "the truth itself is not known"
    return float(abs(flint.arb(found) - right) / abs(right)) * 2.0**53


def definition(x: Array, labels: Array, options: TargetOptions, reduction: Reduction) -> flint.arb:
    losses, counts = exact_rows(x, labels, options)
    total = sum(losses, flint.arb(0))
    return total if reduction is Reduction.SUM else total / sum(counts, flint.arb(0))


CELL = st.one_of(st.floats(-5, 5), st.floats(-1000, 1000), st.floats(-1e300, 1e300))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, Array, TargetOptions]:
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    cells = st.lists(CELL, min_size=k, max_size=k)
    x = np.array(draw(st.lists(cells, min_size=n, max_size=n)))
    if draw(st.booleans()):
        labels = np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
        ignored = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        if not ignored.all():
            labels[ignored] = -100
    else:
        share = st.lists(st.floats(0.0, 1.0).filter(lambda v: v == 0 or v > 1e-9), min_size=k, max_size=k)
        labels = np.array(draw(st.lists(share, min_size=n, max_size=n)))
    weight = draw(st.none() | st.lists(st.floats(0.125, 8), min_size=k, max_size=k).map(np.array))
    return x, labels, TargetOptions(weight, draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])))


@given(problems(), st.sampled_from([Reduction.MEAN, Reduction.SUM]))
def test_the_loss_is_the_definition_to_a_few_u(
    problem: tuple[Array, Array, TargetOptions], reduction: Reduction
) -> None:
    x, labels, options = problem
    found = loss_of(CROSS_ENTROPY, streamed(x, labels, axis=1), reduction=reduction, options=options)
    with flint.ctx.workprec(BITS):
        right = definition(x, labels, options, reduction)
        if math.isfinite(found.value):
            # Below the smallest normal number an error is counted in its ulp.
            tiny = abs(flint.arb(found.value) - right) <= 2.0**-1070
            assert tiny or error_u(found.value, right) <= BUDGET_U
        else:
            assert right > 1.7e308


@given(problems())
def test_without_a_reduction_every_row_is_its_own_definition(
    problem: tuple[Array, Array, TargetOptions],
) -> None:
    x, labels, options = problem
    found = loss_of(CROSS_ENTROPY, streamed(x, labels, axis=1), reduction=Reduction.NONE, options=options)
    assert math.isnan(found.value)
    kept = labels != -100 if labels.ndim == 1 else np.ones(len(x), dtype=bool)
    assert (found.rows[~kept] == 0).all()
    assert (found.kept_rows, found.total_rows) == (int(kept.sum()), len(x))
    with flint.ctx.workprec(BITS):
        losses, _ = exact_rows(x, labels, options)
        for value, right in zip(found.rows[kept].tolist(), losses, strict=True):
            near = abs(flint.arb(value) - right) <= 2.0**-1070
            assert near or value == INF or error_u(value, right) <= BUDGET_U


@given(problems(), st.randoms(use_true_random=False), st.sampled_from([Reduction.MEAN, Reduction.SUM]))
def test_the_order_of_the_rows_does_not_change_a_bit(
    problem: tuple[Array, Array, TargetOptions], random: Any, reduction: Reduction
) -> None:
    x, labels, options = problem
    order = list(range(len(x)))
    random.shuffle(order)
    values = [
        loss_of(CROSS_ENTROPY, streamed(x[i], labels[i], axis=1), reduction=reduction, options=options).value
        for i in (slice(None), order)
    ]
    assert np.float64(values[0]).tobytes() == np.float64(values[1]).tobytes()


@given(problems(), st.integers(1, 12), st.sampled_from(Reduction))
def test_the_size_of_the_blocks_and_the_threads_do_not_change_a_bit(
    problem: tuple[Array, Array, TargetOptions], cells: int, reduction: Reduction
) -> None:
    x, labels, options = problem
    given_ = streamed(x, labels, axis=1)
    whole = loss_of(CROSS_ENTROPY, given_, reduction=reduction, options=options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "ALONE_CELLS", 0)
        patch.setattr(streaming, "STEP_CELLS", cells)
        pieces = loss_of(CROSS_ENTROPY, given_, reduction=reduction, options=options, resources=Resources(threads=2))
    assert np.float64(pieces.value).tobytes() == np.float64(whole.value).tobytes()
    if reduction is Reduction.NONE:
        assert pieces.rows.tobytes() == whole.rows.tobytes()


# --- public issues ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "label", "loss"),
    [
        (np.array([1e8, 1e8, 1e8], dtype=np.float32), 1, math.log(3)),  # optax PR 1792 gave 0
        (np.array([1e4, 1e4], dtype=np.float32), 0, math.log(2)),  # 0.693359 with lse - x_y
        (np.array([1e6, 1e6], dtype=np.float32), 0, math.log(2)),  # 0.6875 with lse - x_y
        (np.array([-1e4, -1e4], dtype=np.float64), 0, math.log(2)),  # NNlib PR 43
        (np.array([14.4, 50.1, 3.5], dtype=np.float64), 0, 35.7),  # keras 17634 gave 16.118
        (np.array([0.0, -40.0], dtype=np.float64), 0, 4.248354255291589e-18),  # scipy 18295 gave 0
        (np.array([0.0, 17.0], dtype=np.float32), 1, math.log1p(math.exp(-17.0))),  # softmax collapse gave 0
        (np.array([0.0, -INF, 1.0], dtype=np.float64), 0, 1.3132616875182228),  # unsmoothed, a masked class is harmless
        (np.zeros(100, dtype=np.float16), 7, math.log(100)),  # optax 1020 gave 4.59375 in bfloat16
    ],
)
def test_a_loss_that_a_library_got_wrong_is_right(x: Array, label: int, loss: float) -> None:
    found = float(stablemax.cross_entropy(x[None], [label]))
    assert abs(found - loss) <= 4 * np.spacing(loss)


def test_a_mean_over_float16_rows_does_not_overflow() -> None:
    # pytorch 85791, 61523: 20,500 rows of zeros(1000) gave inf; every loss is log 1000.
    x = np.broadcast_to(np.float16(0), (20500, 1000))
    found = float(stablemax.cross_entropy(x, np.zeros(20500, dtype=np.int64)))
    assert abs(found - math.log(1000)) <= np.spacing(math.log(1000))


def test_three_losses_of_1e308_have_a_mean() -> None:
    assert float(stablemax.cross_entropy(np.array([[0.0, 1e308]] * 3), [0, 0, 0])) == 1e308
    assert float(stablemax.cross_entropy(np.array([[0.0, 1e308]] * 3), [0, 0, 0], reduction="sum")) == INF


def test_a_smoothed_loss_over_a_masked_class_is_infinite() -> None:
    # As torch; the row is named.
    problem = streamed(np.array([[0.0, -INF, 1.0]]), np.array([0]))
    found = loss_of(CROSS_ENTROPY, problem, options=TargetOptions(None, 0.1))
    assert found.value == INF
    assert found.first_bad == (0, "row 0 has loss inf: class 1 has weight in the target and logit -inf")


@pytest.mark.parametrize(
    ("row", "label", "words"),
    [
        ([0.0, NAN, 0.0], 0, "row 1 has loss nan: its logit of class 1 is NaN"),
        ([0.0, 1.0, INF], 2, "row 1 has loss nan: its logit of class 2 is +inf"),
        ([-INF, -INF, -INF], 0, "row 1 has loss nan: all its logits are -inf"),
        ([0.0, -INF, 1.0], 1, "row 1 has loss inf: the logit of its label, class 1, is -inf"),
    ],
)
def test_the_first_row_without_a_finite_loss_is_named_with_its_reason(row: list[float], label: int, words: str) -> None:
    x = np.array([[0.0, 0.0, 0.0], row, row])
    found = loss_of(CROSS_ENTROPY, streamed(x, np.array([0, label, label])))
    assert found.first_bad == (1, words)
    assert not math.isfinite(found.value)


def test_a_loss_that_overflows_a_format_though_its_logits_do_not_says_so() -> None:
    x = np.array([[1.0, 0.0], [-3e38, 3e38]])
    found = loss_of(CROSS_ENTROPY, streamed(x, np.array([0, 0])), Method(format=FLOAT32))
    assert found.first_bad == (1, "row 1 has loss inf, though its logits are finite, from -3e+38 to 3e+38")


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32], ids=str)
def test_losses_in_a_format_are_those_of_the_logits_rounded_to_it(fmt: Format) -> None:
    x, labels = np.random.default_rng(0).normal(scale=20.0, size=(30, 5)), np.arange(30) % 5
    method = Method(format=fmt)
    found, right = (
        loss_of(CROSS_ENTROPY, streamed(logits, labels), method, reduction=Reduction.NONE).rows
        for logits in (x, fmt.cast(x))
    )
    np.testing.assert_array_equal(found, right)
    unrounded = loss_of(CROSS_ENTROPY, streamed(x, labels), reduction=Reduction.NONE).rows
    assert (fmt.round(unrounded) != right).any()


def test_memory_for_a_proof_is_asked_for_where_there_may_be_one_and_not_for_a_formula() -> None:
    x, memory = np.zeros((2, 50_000)), Resources(memory=streaming.RESERVED + 15 * 10**6)
    for method in (Method(variant=get("cross_entropy/naive")), Method(accumulation=Accumulation.SEQUENTIAL)):
        loss_of(CROSS_ENTROPY, streamed(x, np.array([0, 0])), method, resources=memory)
    for method in (Method(format=FLOAT32), Method(exact=True)):
        with pytest.raises(StablemaxError, match="too little for rows of 50,000 classes"):
            loss_of(CROSS_ENTROPY, streamed(x, np.array([0, 0])), method, resources=memory)


def test_an_ignored_row_of_nothing_but_neg_inf_is_harmless() -> None:
    # pytorch 11551
    x = np.array([[0.0, 0.0], [-INF, -INF]])
    found = loss_of(CROSS_ENTROPY, streamed(x, np.array([0, -100])))
    assert (found.value, found.first_bad, found.kept_rows) == (math.log(2), None, 1)


def test_the_mean_of_no_rows_is_nan_and_their_sum_0() -> None:
    # pytorch 70348
    problem = streamed(np.zeros((3, 2)), np.full(3, -100))
    assert math.isnan(loss_of(CROSS_ENTROPY, problem).value)
    assert loss_of(CROSS_ENTROPY, problem, reduction=Reduction.SUM).value == 0.0
    for fmt in (FLOAT16, FLOAT32):
        assert math.isnan(loss_of(CROSS_ENTROPY, problem, Method(format=fmt)).value)
        assert loss_of(CROSS_ENTROPY, problem, Method(format=fmt), reduction=Reduction.SUM).value == 0.0
    weighted = loss_of(CROSS_ENTROPY, streamed(np.zeros((1, 2)), np.array([0])), options=TargetOptions(np.zeros(2)))
    assert math.isnan(weighted.value)


def test_a_weighted_mean_divides_by_the_labels_weights() -> None:
    # pytorch 25571: two rows of loss log 2 with weights 1 and 3 have the mean log 2, and the sum 4 log 2.
    x, labels, weight = np.zeros((2, 2)), np.array([0, 1]), np.array([1.0, 3.0])
    assert float(stablemax.cross_entropy(x, labels, weight=weight)) == math.log(2)
    assert float(stablemax.cross_entropy(x, labels, weight=weight, reduction="sum")) == 4 * math.log(2)


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32], ids=str)
def test_a_weighted_mean_in_a_format_is_near_to_that_in_float64(fmt: Format) -> None:
    rng = np.random.default_rng(0)
    x, labels, options = rng.normal(size=(40, 5)), np.arange(40) % 5, TargetOptions(rng.uniform(0.5, 2.0, 5))
    exact = loss_of(CROSS_ENTROPY, streamed(fmt.cast(x), labels), options=options).value
    for reduction, right in ((Reduction.MEAN, exact), (Reduction.SUM, exact * options.weight[labels].sum())):  # type: ignore[index]
        found = loss_of(CROSS_ENTROPY, streamed(x, labels), Method(format=fmt), options=options, reduction=reduction)
        assert abs(found.value - right) <= 40 * fmt.u * right
        assert found.value == fmt.round(np.array(found.value))


def test_soft_targets_are_averaged_over_rows_whatever_the_weights() -> None:
    x, soft = np.zeros((2, 2)), np.array([[1.0, 0.0], [0.0, 1.0]])
    assert float(stablemax.cross_entropy(x, soft, weight=[1.0, 3.0])) == 2 * math.log(2)


def test_classes_on_axis_1_give_the_mean_over_all_other_axes() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    labels = np.array([[0, 1, 2, 0], [1, -100, 2, 2]])
    flat = stablemax.cross_entropy(x.transpose(0, 2, 1).reshape(8, 3), labels.reshape(8))
    assert float(stablemax.cross_entropy(x, labels)) == float(flat)
    rows = stablemax.cross_entropy(x, labels, reduction="none")
    assert rows.shape == (2, 4)
    assert rows[1, 1] == 0.0


# --- other formulas and formats -----------------------------------------------------------------


def test_without_a_format_everything_is_computed_in_float64() -> None:
    x = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float16)
    labels = np.arange(50) % 20
    found = loss_of(CROSS_ENTROPY, streamed(x, labels))
    assert (found.variant, found.format) == ("cross_entropy/compensated", "float64")
    assert found.value == loss_of(CROSS_ENTROPY, streamed(x.astype(np.float64), labels)).value


@pytest.mark.parametrize("fmt", USUAL.values(), ids=str)
def test_with_a_format_the_result_is_a_number_of_it(fmt: Any) -> None:
    x = np.random.default_rng(0).normal(size=(5, 4))
    found = loss_of(CROSS_ENTROPY, streamed(x, np.arange(5) % 4), Method(format=fmt))
    assert found.format == fmt.name
    assert fmt.round(np.float64(found.value)) == found.value
    assert found.variant == ("cross_entropy/compensated" if fmt is FLOAT64 else "cross_entropy/wide")


def test_another_formula_shows_what_it_gives() -> None:
    problem = streamed(np.array([[1e8, 1e8, 1e8]], dtype=np.float32), np.array([0]))
    found = loss_of(CROSS_ENTROPY, problem, Method(get("cross_entropy/lse-minus"), FLOAT32))
    assert (found.value, found.variant) == (0.0, "cross_entropy/lse-minus")
    large = streamed(np.array([[1000.0, 0.0]]), np.array([0]))
    assert loss_of(CROSS_ENTROPY, large, Method(get("cross_entropy/naive"))).value == INF


def test_the_way_sums_are_added_is_the_one_that_is_asked_for() -> None:
    # 4096 losses of log 2 = 0.693 in float16, one by one: the sum stops growing where 0.693 is half an ulp.
    problem = streamed(np.zeros((4096, 2)), np.zeros(4096, dtype=np.int64))
    values = {
        how: loss_of(CROSS_ENTROPY, problem, Method(None, FLOAT16, how), reduction=Reduction.SUM).value
        for how in (Accumulation.SEQUENTIAL, Accumulation.FLOAT32)
    }
    one = float(np.float16(math.log(2)))
    total = 0.0
    for _ in range(4096):
        total = float(np.float16(total + one))
    assert values[Accumulation.SEQUENTIAL] == total
    assert values[Accumulation.FLOAT32] == float(np.float16(4096 * one))
    assert values[Accumulation.SEQUENTIAL] < values[Accumulation.FLOAT32]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (TargetOptions(None, -0.1), "--label-smoothing"),
        (TargetOptions(None, NAN), "--label-smoothing"),
        (TargetOptions(np.ones(3)), r"shape \(3,\) does not fit 2 classes"),
        (TargetOptions(np.array([1.0, -1.0])), "weight -1.0 of class 1"),
        (TargetOptions(np.array([NAN, 1.0])), "weight nan of class 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: TargetOptions, words: str) -> None:
    with pytest.raises(StablemaxError, match=words) as caught:
        loss_of(CROSS_ENTROPY, streamed(np.zeros((1, 2)), np.array([0])), options=options)
    assert caught.value.hint


def test_a_loss_without_labels_is_refused() -> None:
    with pytest.raises(StablemaxError, match="needs labels"):
        loss_of(CROSS_ENTROPY, streamed(np.zeros((1, 2))))


def test_the_truth_of_this_file_knows_a_loss_by_heart() -> None:
    with flint.ctx.workprec(BITS):
        right = definition(np.zeros((3, 2)), np.array([0, -100, 1]), TargetOptions(), Reduction.SUM)
        assert right.overlaps(2 * flint.arb(2).log())
        assert error_u(float(Fraction(3, 2)), flint.arb(1)) == 2.0**52
        assert CROSS_ENTROPY.per_row


@pytest.mark.parametrize("classes", [10, 2**18 + 1])
def test_integers_that_float64_cannot_hold_are_noted_however_long_the_row_is(classes: int) -> None:
    x = np.zeros((2, classes), np.int64)
    x[1, -1] = 2**53 + 1
    found = loss_of(CROSS_ENTROPY, as_stream(StoredArray.of(x, "x.npy"), StoredArray.of(np.array([0, 0]), "y.npy")))
    where = f"row 1, class {classes - 1:,}: 9007199254740993"
    assert found.notes == (f"x.npy: 1 integer is not exact in float64; the first is {where}",)


@pytest.mark.parametrize("classes", [2, PIECE + 1])
def test_a_weight_brings_back_what_the_exponentials_of_a_row_have_lost(classes: int) -> None:
    x = np.full((2, classes), -900.0)
    x[:, 0] = 0.0
    weight = np.full(classes, 2.0**300)
    labels = np.zeros(2, np.int64)
    stream = as_stream(StoredArray.of(x), StoredArray.of(labels))
    found = loss_of(CROSS_ENTROPY, stream, Method(), reduction=Reduction.NONE, options=TargetOptions(weight)).rows
    exact = (classes - 1) * Fraction(2) ** 300 * Fraction(math.exp(-450)) ** 2
    assert found is not None
    # What is squared is right to half an ulp, of which the square has twice as much.
    assert abs(Fraction(float(found[0])) / exact - 1) < 2**-51
