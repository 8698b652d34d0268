"""`judge_output`: an output that any program computed, held against the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import stablemax
from stablemax.check.judge_options import JudgeOptions
from stablemax.check.judge_output import judge_output
from stablemax.inputs.printed import parts_of, printed_numbers
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import all_operations, get_operation
from stablemax.operations.operation import Second
from stablemax.operations.targets import TargetOptions, in_arithmetic
from stablemax.operations.variant import evaluate, variants
from stablemax.results import Grade, JudgeReport, Outcome
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction

from ..exactly import second_for
from ..records import (
    CROSS_ENTROPY,
    CROSS_ENTROPY_GRAD,
    ENTROPY,
    KL_DIVERGENCE,
    LOG_SIGMOID,
    LOG_SOFTMAX,
    LOGSUMEXP,
    SIGMOID,
    SOFTMAX,
    SOFTMAX_VJP,
    SOFTPLUS,
)

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

DRAW = np.random.default_rng(0)
X = (DRAW.normal(size=(6, 4)) * 30).astype(np.float32)
LABELS = np.array([1, 3, 0, 2, 2, 1])
UPSTREAM = DRAW.normal(size=(6, 4)).astype(np.float32)
SOFT = np.full((6, 4), 0.25, dtype=np.float32)


def judged(output: Any, operation: Operation = SOFTMAX, **chosen: Any) -> JudgeReport:
    x = chosen.pop("logits", X)
    labels, upstream = chosen.pop("labels", None), chosen.pop("upstream", None)
    options = JudgeOptions(operation, **{"fmt": FLOAT32, "require": Grade.ACCURATE, **chosen})
    return judge_output(np.asarray(output), x, labels, upstream, options)


def arguments(operation: Operation) -> dict[str, Any]:
    seconds: dict[Second, dict[str, Any]] = {
        Second.NONE: {},
        Second.LABELS: {"labels": LABELS},
        Second.CELL_TARGETS: {"labels": LABELS},
        Second.UPSTREAM: {"upstream": UPSTREAM},
        Second.LOGITS: {"upstream": X[:, ::-1]},
    }
    return seconds[operation.second]


# Without softmax_vjp: compare draws an upstream gradient of its own.
@pytest.mark.parametrize(
    "variant", [v for o in all_operations() if not o.needs_upstream for v in variants(o)], ids=lambda v: v.id
)
def test_a_variants_output_gets_the_verdict_that_compare_gives_it(variant: Any) -> None:
    operation = variant.operation
    beside = second_for(operation, X, LABELS) if operation.second is Second.LOGITS else LABELS
    compared = stablemax.compare(
        X, beside, operations=[operation.name], formats=["float32"], variants=[variant.name], ignore_index=-100
    )
    (expected,) = [v for v in compared.verdicts if v.variant == variant.id]
    xp, second = Arithmetic(FLOAT32), second_for(operation, X, LABELS)
    if operation.of_losses:
        second = replace(second, divisor=float(operation.loss_count(*X.shape)))
    output = evaluate(variant, X, xp, in_arithmetic(second, xp))
    report = judged(output, operation, **arguments(operation))
    found = report.verdict
    assert (found.worst, found.error_ulp, dict(found.shares)) == (
        expected.worst,
        expected.error_ulp,
        dict(expected.shares),
    )
    assert report.passed is not (expected.worst is not None and expected.worst.is_failure)


@pytest.mark.parametrize(
    ("operation", "compute", "ulp"),
    [
        (SOFTMAX, lambda: stablemax.softmax(X), 1.0),
        (LOG_SOFTMAX, lambda: stablemax.log_softmax(X), 1.0),
        (LOGSUMEXP, lambda: stablemax.logsumexp(X), 1.0),
        (CROSS_ENTROPY, lambda: np.float32(stablemax.cross_entropy(X, LABELS)), 0.501),
        (
            CROSS_ENTROPY,
            lambda: stablemax.cross_entropy(X, LABELS, reduction="none").astype(np.float32),
            0.501,
        ),
        (CROSS_ENTROPY_GRAD, lambda: stablemax.cross_entropy_grad(X, LABELS), 1.0),
        (SOFTMAX_VJP, lambda: stablemax.softmax_vjp(X, UPSTREAM), 1.0),
        (SIGMOID, lambda: stablemax.sigmoid(X), 1.0),
        (LOG_SIGMOID, lambda: stablemax.log_sigmoid(X), 1.0),
        (SOFTPLUS, lambda: stablemax.softplus(X), 1.0),
        (ENTROPY, lambda: stablemax.entropy(X), 1.0),
        (KL_DIVERGENCE, lambda: stablemax.kl_divergence(X, X[:, ::-1]), 1.0),
    ],
)
def test_our_own_functions_are_right_and_any_changed_cell_is_found(
    operation: Operation, compute: Any, ulp: float
) -> None:
    output = np.asarray(compute())
    report = judged(output, operation, max_ulp=ulp, **arguments(operation))
    assert report.passed, report.finding
    changed = output.copy()
    at = np.unravel_index(int(np.argmax(np.abs(changed))), changed.shape) if changed.ndim else ()
    changed[at] *= np.float32(1 + 2.0**-20)
    report = judged(changed, operation, max_ulp=ulp, **arguments(operation))
    assert not report.passed
    assert report.verdict.worst is Outcome.INACCURATE
    if changed.ndim:
        assert report.verdict.first_bad is not None
        assert report.verdict.first_bad.row == at[0]


def test_shapes_of_one_number_a_row_are_all_taken() -> None:
    losses = stablemax.cross_entropy(X, LABELS, reduction="none").astype(np.float32)
    for output in (losses, losses[:, np.newaxis]):
        assert judged(output, CROSS_ENTROPY, labels=LABELS).passed


@pytest.mark.parametrize(("reduction", "factor"), [(Reduction.MEAN, 1.0), (Reduction.SUM, 6.0), (Reduction.NONE, 6.0)])
def test_a_gradient_is_judged_as_that_of_the_mean_the_sum_or_each_row(reduction: Reduction, factor: float) -> None:
    gradient = stablemax.cross_entropy_grad(X, LABELS, reduction="sum").astype(np.float64) / 6 * factor
    good = judged(gradient, CROSS_ENTROPY_GRAD, labels=LABELS, reduction=reduction)
    assert good.passed, good.finding
    other = Reduction.SUM if reduction is Reduction.MEAN else Reduction.MEAN
    assert not judged(gradient, CROSS_ENTROPY_GRAD, labels=LABELS, reduction=other).passed


def test_ignored_rows_are_not_looked_at() -> None:
    labels = LABELS.copy()
    labels[1] = -1
    losses = stablemax.cross_entropy(X, LABELS, reduction="none").astype(np.float32)
    losses[1] = np.nan
    report = judged(losses, CROSS_ENTROPY, labels=labels, ignore_index=-1)
    assert report.passed
    assert report.input.judged_rows == 5
    mean = np.float32(np.delete(losses, 1).astype(np.float64).mean())
    assert judged(mean, CROSS_ENTROPY, labels=labels, ignore_index=-1, max_ulp=2.0).passed
    with pytest.raises(StablemaxError, match="every row is ignored"):
        judged(losses, CROSS_ENTROPY, labels=np.full(6, -1), ignore_index=-1)


def test_soft_targets_weights_and_smoothing_are_part_of_what_is_right() -> None:
    cases: tuple[tuple[Any, dict[str, Any]], ...] = (
        (SOFT, {}),
        (LABELS, {"weight": np.array([1.0, 2.0, 0.5, 3.0])}),
        (LABELS, {"label_smoothing": 0.25}),
    )
    for labels, chosen in cases:
        mean = np.float32(stablemax.cross_entropy(X, labels, **chosen))
        targets = TargetOptions(chosen.get("weight"), chosen.get("label_smoothing", 0.0))
        report = judged(mean, CROSS_ENTROPY, labels=labels, targets=targets, max_ulp=1.0)
        assert report.passed, report.finding
        if chosen:
            assert not judged(mean, CROSS_ENTROPY, labels=labels, max_ulp=1.0).passed


def test_each_outcome_is_named_and_can_be_allowed() -> None:
    p = stablemax.softmax(np.zeros((1, 4), dtype=np.float32))
    for value, outcome in (
        (np.nan, Outcome.NAN),
        (np.inf, Outcome.OVERFLOW),
        (0.0, Outcome.LOST),
        (0.5, Outcome.INACCURATE),
    ):
        output = p.copy()
        output[0, 2] = value
        report = judged(output, logits=np.zeros((1, 4), dtype=np.float32))
        assert (report.verdict.worst, dict(report.verdict.shares)) == (outcome, {Outcome.OK: 0.75, outcome: 0.25})
        assert not report.passed
        assert report.finding.startswith("the output is not right: 25% of the cells are ")
        assert "first at row 0, class 2, logit 0" in report.finding
        allowing = judged(output, logits=np.zeros((1, 4), dtype=np.float32), allow=(outcome.value,))
        assert allowing.passed
        assert allowing.finding == f"the output keeps its contract: 25% of the cells are {outcome}, which is allowed."


@pytest.mark.parametrize(("value", "words"), [(0.0, "0 and should not be"), (np.inf, "infinite and should not be")])
def test_a_finding_agrees_with_one_cell_and_with_many(value: float, words: str) -> None:
    logits = np.zeros((2, 4), dtype=np.float32)
    output = np.full((2, 4), value, dtype=np.float32)
    assert judged(output, logits=logits).finding.startswith(f"the output is not right: every cell is {words}: ")
    output[0] = 0.25
    assert judged(output, logits=logits).finding.startswith(f"the output is not right: 50% of the cells are {words}: ")


def test_the_two_numbers_of_a_finding_are_never_written_alike() -> None:
    report = judged(np.array([[0.5 + 1e-9, 0.5]], np.float64), logits=np.zeros((1, 2)), fmt=FLOAT64, max_ulp=2.0)
    assert "gives 0.500000001 where 0.5 is right" in report.finding


def test_an_input_without_a_value_asks_for_nothing() -> None:
    x = np.array([[np.inf, 0.0], [0.0, 0.0]], np.float32)
    report = judged(np.array([[7.0, 7.0], [0.5, 0.5]], np.float32), logits=x)
    assert report.passed
    assert report.verdict.worst is Outcome.UNDEFINED


def test_the_format_of_the_logits_is_told_apart_from_that_of_the_output() -> None:
    x = X.astype(np.float64) / 30
    p = stablemax.softmax(x).astype(np.float16)
    report = judged(p, logits=x, fmt=FLOAT16)
    assert report.passed
    assert any("add --round-logits float16" in note for note in report.notes)
    rounded = stablemax.softmax(x.astype(np.float16)).astype(np.float16)
    assert judged(rounded, logits=x, fmt=FLOAT16, round_logits=FLOAT16, max_ulp=0.501).passed
    assert not judged(rounded, logits=x, fmt=FLOAT16, max_ulp=0.501).passed


@pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT16, FLOAT32], ids=lambda f: f.name)
@pytest.mark.parametrize(
    "compute", [stablemax.binary_cross_entropy, stablemax.binary_cross_entropy_grad, stablemax.cross_entropy]
)
def test_targets_count_as_they_are_stored_beside_narrower_logits(compute: Any, fmt: Format) -> None:
    """A target of 0.7 is no bfloat16 number: rounded, correct gradients were called 106 ulp off."""
    draw = np.random.default_rng(3)
    x, t = fmt.cast(draw.normal(size=(6, 4))), draw.dirichlet(np.ones(4), size=6)
    operation = get_operation(compute.__name__)
    output = fmt.cast(compute(x, t, reduction="none"))
    options = {"fmt": fmt, "logits": x, "labels": t, "reduction": Reduction.NONE}
    report = judged(output, operation, **options, max_ulp=0.51)
    assert report.passed, report.finding
    rounded = fmt.round(t)
    wrong = judged(fmt.cast(compute(x, rounded, reduction="none")), operation, **options, max_ulp=0.51)
    assert any(f"add --round-logits {fmt.name}" in note for note in wrong.notes)
    if not operation.needs_targets:  # rounded rows do not sum to 1
        assert judged(output, operation, **{**options, "labels": rounded}, max_ulp=0.51).passed is False


def test_bfloat16_stored_as_float32_is_judged_in_its_own_ulps() -> None:
    p = BFLOAT16.round(stablemax.softmax(X)).astype(np.float32)
    assert not judged(p, max_ulp=2.0).passed
    assert judged(p, fmt=BFLOAT16, max_ulp=0.502).passed


def test_many_rows_are_sampled_and_said_to_be() -> None:
    x = DRAW.normal(size=(5000, 4)).astype(np.float32)
    report = judged(stablemax.softmax(x), logits=x, judge=100)
    assert report.passed
    assert 100 <= report.input.judged_rows < 200
    assert any(note.startswith("errors judged on ") for note in report.notes)


@pytest.mark.parametrize("operation", [CROSS_ENTROPY, CROSS_ENTROPY_GRAD, SOFTMAX_VJP, KL_DIVERGENCE], ids=str)
def test_sampled_rows_keep_what_stands_beside_them(operation: Operation) -> None:
    x, beside = (DRAW.normal(size=(300, 4)).astype(np.float32) for _ in range(2))
    labels = DRAW.integers(0, 4, 300)
    function = getattr(stablemax, operation.name)
    if operation.takes_labels:
        given: dict[str, Any] = {"labels": labels, "reduction": Reduction.NONE}
        output = function(x, labels, reduction="none")
    else:
        given, output = {"upstream": beside}, function(x, beside)
    report = judged(np.float32(output), operation, logits=x, judge=20, max_ulp=1.0, **given)
    assert report.passed, report.finding
    assert 20 <= report.input.judged_rows < 100


@pytest.mark.parametrize("reduction", [Reduction.MEAN, Reduction.SUM])
def test_one_number_is_held_against_all_rows_however_few_are_judged(reduction: Reduction) -> None:
    x = DRAW.normal(size=(300, 4)).astype(np.float32)
    labels = DRAW.integers(0, 4, 300)
    loss = np.float32(stablemax.cross_entropy(x, labels, reduction=reduction.value))
    options = {"logits": x, "labels": labels, "reduction": reduction, "max_ulp": 0.501}
    assert judged(loss, CROSS_ENTROPY, judge=10, **options).passed
    assert not judged(loss * np.float32(1 + 2.0**-20), CROSS_ENTROPY, judge=10, **options).passed


@pytest.mark.parametrize(
    ("output", "operation", "given", "message"),
    [
        (np.zeros((4, 6)), SOFTMAX, {}, r"has shape \(4, 6\), and softmax of these logits has \(6, 4\)"),
        (np.zeros((6, 4)), LOGSUMEXP, {}, r"has shape \(6, 4\), and logsumexp of these logits has \(6,\)"),
        (np.float32(1.0), LOGSUMEXP, {}, "has shape"),
        (np.zeros(5), CROSS_ENTROPY, {"labels": LABELS}, "has shape"),
        (np.zeros(6), CROSS_ENTROPY, {}, "cross_entropy needs labels"),
        (np.zeros((6, 4)), SOFTMAX_VJP, {}, "softmax_vjp needs its upstream gradient"),
        (np.zeros((6, 4)), SOFTMAX_VJP, {"upstream": np.zeros((6, 1))}, "the upstream gradient: has shape"),
        (
            np.zeros(6),
            CROSS_ENTROPY,
            {"labels": LABELS, "targets": TargetOptions(np.ones(3))},
            r"shape \(3,\) does not fit 4 classes",
        ),
    ],
)
def test_what_does_not_fit_is_a_mistake(output: Any, operation: Operation, given: dict[str, Any], message: str) -> None:
    with pytest.raises(StablemaxError, match=message):
        judged(output, operation, **given)


@pytest.mark.parametrize(
    "chosen",
    [{"max_ulp": -1.0}, {"max_ulp": float("nan")}, {"judge": 0}, {"allow": ("ok",)}, {"allow": ("laws",)}],
    ids=str,
)
def test_options_out_of_range_are_a_mistake(chosen: dict[str, Any]) -> None:
    with pytest.raises(StablemaxError):
        JudgeOptions(SOFTMAX, FLOAT32, **chosen)


MASKED = DRAW.normal(size=(8, 5)) * 6
MASKED[2, 3], MASKED[5] = -np.inf, [0, -40, -50, -60, -80]
CLASSES = np.array([0, 1, 2, 0, 4, 0, 2, 3])


@pytest.mark.parametrize("style", ["%.2f", "%.4f", "%.6f", "%.4g", "%.6g", "%.5e", "%r"])
@pytest.mark.parametrize(
    ("operation", "right"),
    [
        (SOFTMAX, stablemax.softmax(MASKED)),
        (LOG_SOFTMAX, stablemax.log_softmax(MASKED)),
        (LOGSUMEXP, stablemax.logsumexp(MASKED)),
        (CROSS_ENTROPY, stablemax.cross_entropy(MASKED, CLASSES, reduction="none")),
        (CROSS_ENTROPY, stablemax.cross_entropy(MASKED, CLASSES)),
        (CROSS_ENTROPY_GRAD, stablemax.cross_entropy_grad(MASKED, CLASSES)),
        (ENTROPY, stablemax.entropy(MASKED)),
        (SIGMOID, stablemax.sigmoid(MASKED)),
    ],
    ids=["softmax", "log_softmax", "logsumexp", "losses", "loss", "gradient", "entropy", "sigmoid"],
)
def test_a_printed_output_passes_and_one_that_is_a_percent_off_fails(
    style: str, operation: Operation, right: Any
) -> None:
    labels = CLASSES if operation.needs_targets else None
    for factor, passes in ((1.0, True), (1.01, False)):
        text = [style % (v * factor) for v in np.ravel(right).tolist()]
        printed = printed_numbers([parts_of(text)])
        values = np.array(text, dtype=np.float64).reshape(np.shape(right))
        if printed is not None:
            printed = printed.shaped(lambda array: array.reshape(np.shape(right)))
        report = judge_output(values, MASKED, labels, None, JudgeOptions(operation, FLOAT64), printed=printed)
        assert report.passed is passes, report.finding
