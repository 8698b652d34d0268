"""Comparisons on inputs made by hand: outcome, place and cause of each, and the sentence above them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import stablemax
from stablemax.comparing import block_verdicts
from stablemax.comparing.comparison import CompareOptions, compare_problem
from stablemax.inputs.logits import as_problem
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from stablemax.operations import all_operations, default_operations
from stablemax.operations.operation import Second
from stablemax.operations.variant import get, variants
from stablemax.results import Comparison, Outcome, Verdict
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, SOFTMAX

INF, NAN = math.inf, math.nan


def verdict(variant: str, fmt: str, x: Any, y: Any = None, **options: Any) -> Verdict:
    """Judge one variant in one format."""
    operation, _, name = variant.partition("/")
    result = stablemax.compare(x, y, operations=[operation], variants=[name], formats=[fmt], **options)
    (only,) = result.verdicts
    assert (only.variant, only.format) == (variant, fmt)
    return only


# Each outcome at least once: variant, format, logits, labels, outcome, (row, class), what it gives, cause.
CASES = [
    (
        "softmax/naive", "float64", [[0.0, 1.0, 2.0], [0.0, 1203.4, 5.0]], None,
        Outcome.NAN, (1, 1), NAN, "exp overflows above 709.78; first at row 1, class 1, logit 1203.4",
    ),
    (
        "softmax/naive", "float32", [[-1000.0, -1001.0]], None,
        Outcome.NAN, (0, 0), NAN,
        "exp gives 0 below -103.97 and the sum of the exponentials is 0; first at row 0, class 0, logit -1000",
    ),
    (
        "softmax/naive", "float32", [[0.0, 88.5, 88.5]], None,
        Outcome.LOST, (0, 0), 0.0, "the sum overflows; first at row 0, class 0, logit 0",
    ),
    (
        "softmax/online", "float32", [[-INF, -INF, 0.0, 1.0]], None,
        Outcome.NAN, (0, 0), NAN, "-inf - -inf is NaN; first at row 0, class 0, logit -inf",
    ),
    (
        "softmax/whole-array", "float64", [[0.0, 0.0], [0.0, 0.0]], None,
        Outcome.INACCURATE, (0, 0), 0.25,
        "the sum runs over all rows: a wrong axis; first at row 0, class 0, logit 0",
    ),
    (
        "logsumexp/naive", "float16", [[0.0] * 70000], None,
        Outcome.OVERFLOW, (0, 0), INF, "the sum overflows; first at row 0, class 0, logit 0",
    ),
    (
        "cross_entropy/naive", "float64", [[0.0, 1.0], [0.0, 800.0]], [0, 0],
        Outcome.OVERFLOW, (1, 1), INF, "exp overflows above 709.78; first at row 1, class 1, logit 800",
    ),
    (
        "cross_entropy/log-of-softmax", "float64", [[0.0, 1.0, 2.0], [0.0, -2000.0, 5.0]], [0, 1],
        Outcome.OVERFLOW, (1, 1), INF,
        "exp gives 0 below -745.13 and log of 0 is -inf; first at row 1, class 1, logit -2000",
    ),
    (
        "cross_entropy/lse-minus", "float32", [[1e8, 1e8, 1e8]], [2],
        Outcome.LOST, (0, 2), 0.0,
        "lse - x_y cancels: the digits of log s below those of m are gone; first at row 0, class 2, logit 1e+08",
    ),
    (
        "cross_entropy/shifted", "float64", [[1.0, 1.0], [0.0, -40.0]], [0, 0],
        Outcome.LOST, (1, 0), 0.0,
        "log of a sum that is 1 plus a little: the loss of a nearly certain label is lost; "
        "first at row 1, class 0, logit 0",
    ),
    (
        "cross_entropy/clipped", "float64", [[14.4, 50.1, 3.5]], [0],
        Outcome.INACCURATE, (0, 0), 16.11809565095832,
        "the clip, not the label's probability, decides a loss above 16.1 or below 1e-7; "
        "first at row 0, class 0, logit 14.4",
    ),
    (
        "cross_entropy_grad/shifted", "float32", [[20.0, 0.0]], [0],
        Outcome.LOST, (0, 0), 0.0, "p_y - 1 cancels where the label is nearly certain; first at row 0, class 0, logit 20",  # noqa: E501
    ),
    (
        "softmax/shifted", "float16", [[0.0, 1.0], [0.0, 1e5]], None,
        Outcome.INPUT_OVERFLOW, (1, 1), NAN,
        "logits beyond 65504 do not exist in float16; first at row 1, class 1, logit 100000",
    ),
    (
        "softmax/compensated", "float64", [[0.0, 1.0], [0.0, INF]], None,
        Outcome.UNDEFINED, (1, 1), NAN,
        "a logit is +inf: the formula has no value there; first at row 1, class 1, logit inf",
    ),
    (
        "softmax/compensated", "float64", [[0.0, NAN]], None,
        Outcome.UNDEFINED, (0, 1), NAN, "a logit is NaN; first at row 0, class 1, logit nan",
    ),
    (
        "softmax/compensated", "float64", [[0.0, 1.0], [-INF, -INF]], None,
        Outcome.UNDEFINED, (1, 0), NAN,
        "every logit of the row is -inf: the formula has no value there; first at row 1, class 0, logit -inf",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "fmt", "x", "y", "outcome", "place", "gives", "cause"),
    CASES,
    ids=[f"{c[0]}-{c[1]}-{c[4].name}-{i}" for i, c in enumerate(CASES)],
)
def test_a_case_made_by_hand(
    variant: str, fmt: str, x: Any, y: Any, outcome: Outcome, place: tuple[int, int], gives: float, cause: str
) -> None:
    found = verdict(variant, fmt, x, y)
    assert found.worst is outcome
    assert found.cause == cause
    assert found.first_bad is not None
    assert (found.first_bad.row, found.first_bad.column) == place
    assert repr(float(np.float32(found.first_bad.output))) == repr(float(np.float32(gives)))
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-12)
    assert max(found.shares, key=lambda o: o.severity) is outcome


def test_the_cases_above_have_every_outcome() -> None:
    assert {case[4] for case in CASES} | {Outcome.OK} == set(Outcome)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([[1e8, 1e8, 1e8]], [0]),
        ([[0.0, -40.0]], [0]),
        ([[0.0, 17.0]], [1]),
        ([[0.0, -INF, 1.0]], [1]),
        ([[5.0]], [0]),
    ],
)
def test_the_accurate_variants_hold_where_others_break(x: Any, y: Any) -> None:
    result = stablemax.compare(x, y, variants=["compensated", "centred", "wide"], formats=["float32", "float64"])
    assert {v.worst for v in result.verdicts} == {Outcome.OK}
    assert all(v.cause == "" and v.first_bad is None for v in result.verdicts)


def test_a_cause_is_not_told_that_is_not_so() -> None:
    # 4096 zeros in bfloat16 added one by one: the sum stops at 256; it is not "near 1".
    found = verdict("logsumexp/naive", "bfloat16", [[0.0] * 4096], accumulate="sequential")
    assert found.worst is Outcome.INACCURATE
    assert "near 1" not in found.cause


def test_the_jacobians_nan_is_traced_to_the_probability_that_vanished() -> None:
    found = verdict("cross_entropy_grad/jacobian", "float64", [[0.0, -2000.0]], [1])
    assert found.worst is Outcome.NAN
    assert "exp gives 0 below -745.13" in found.cause
    assert "logit -2000" in found.cause


# --- which rows, which labels -------------------------------------------------------------------


def test_rows_that_are_ignored_are_neither_run_nor_counted() -> None:
    x = np.array([[0.0, 800.0], [0.0, 1.0], [0.0, 2.0]])
    result = stablemax.compare(x, [-100, 0, 0], formats=["float64"], variants=["naive"])
    by_id = {v.variant: v for v in result.verdicts}
    assert by_id["cross_entropy/naive"].worst is Outcome.OK
    assert by_id["cross_entropy/naive"].mean == pytest.approx(
        (math.log1p(math.e) + math.log1p(math.e**2)) / 2, rel=1e-15
    )
    assert by_id["cross_entropy_grad/naive"].worst is Outcome.OK
    # softmax has no labels, and sees every row.
    assert by_id["softmax/naive"].worst is Outcome.NAN


def test_a_bad_row_keeps_its_number_when_rows_before_it_are_ignored() -> None:
    found = verdict("cross_entropy/naive", "float64", [[0.0, 1.0], [0.0, 1.0], [0.0, 800.0]], [-100, -100, 0])
    assert found.first_bad is not None
    assert found.first_bad.row == 2


def test_where_every_row_is_ignored_the_losses_are_not_run_and_that_is_said() -> None:
    result = stablemax.compare([[0.0, 1.0]], [-100], formats=["float32"])
    assert {v.variant.partition("/")[0] for v in result.verdicts} == {
        "softmax",
        "log_softmax",
        "logsumexp",
        "softmax_vjp",
    }
    assert "cross_entropy: not run, every judged row is ignored (label -100)" in result.notes


def test_without_labels_the_losses_are_not_run_and_that_is_said() -> None:
    result = stablemax.compare([[0.0, 2.0]], formats=["float32"])
    assert result.notes == ("no labels: cross_entropy and its gradient are not run",)


def test_a_soft_target_of_0_at_a_masked_class_is_harmless() -> None:
    # optax 896
    x, t = [[0.0, -INF, 1.0]], [[0.25, 0.0, 0.75]]
    for name in ("shifted", "compensated", "wide"):
        assert verdict(f"cross_entropy/{name}", "float32", x, t).worst is Outcome.OK
        assert verdict(f"cross_entropy_grad/{name}", "float32", x, t).worst is Outcome.OK


def test_a_soft_target_above_0_at_a_masked_class_is_an_infinite_loss_which_is_right() -> None:
    found = verdict("cross_entropy/compensated", "float32", [[0.0, -INF]], [[0.5, 0.5]])
    assert (found.worst, found.mean) == (Outcome.OK, INF)


def test_the_gradient_is_of_the_mean_or_of_the_sum() -> None:
    problem = as_problem(np.zeros((4, 2)), np.zeros(4, dtype=np.int64))
    for reduction, entry in (("mean", 0.125), ("sum", 0.5)):
        result = stablemax.compare(
            np.zeros((4, 2)),
            np.zeros(4, dtype=np.int64),
            reduction=reduction,
            variants=["compensated"],
            operations=["cross_entropy_grad"],
            formats=["float64"],
        )
        assert result.reduction == reduction
        options = CompareOptions(
            (FLOAT64,),
            (CROSS_ENTROPY_GRAD,),
            ("compensated",),
            show_values=1,
            reduction=type(CompareOptions().reduction)(reduction),
        )
        (row,) = compare_problem(problem, options).verdicts[0].values
        assert row.values == (-entry, entry)  # fmt: skip


def test_a_row_that_a_small_format_cannot_hold_is_fine_in_a_larger_one() -> None:
    result = stablemax.compare(
        [[0.0, 1e5], [0.0, 1.0]],
        operations=["softmax"],
        variants=["shifted"],
        formats=["float16", "bfloat16"],
    )
    half, brain = result.verdicts
    assert half.shares == {Outcome.OK: 0.5, Outcome.INPUT_OVERFLOW: 0.5}
    assert brain.shares == {Outcome.OK: 1.0}
    assert result.finding.endswith("float16 cannot hold some of these logits.")


# --- how sums are added -------------------------------------------------------------------------


def test_the_default_is_what_an_ordinary_kernel_does_and_is_stated() -> None:
    result = stablemax.compare([[0.0]], operations=["logsumexp"])
    assert result.accumulation == {
        "float16": "float32",
        "bfloat16": "float32",
        "float32": "pairwise",
        "float64": "pairwise",
    }
    assert [v.accumulation for v in result.verdicts[:4]] == ["float32", "float32", "pairwise", "pairwise"]


@pytest.mark.parametrize("how", Accumulation)
def test_another_way_is_taken_in_every_format_and_stated(how: Accumulation) -> None:
    # ones: 4096 exponentials of 0 in bfloat16 add up to 256 one by one (pytorch PR 24457).
    x = np.zeros((1, 4096))
    found = verdict("softmax/naive", "bfloat16", x, accumulate=how.value)
    assert found.accumulation == how
    assert found.worst is (Outcome.INACCURATE if how is Accumulation.SEQUENTIAL else Outcome.OK)
    if how is Accumulation.SEQUENTIAL:
        assert found.first_bad is not None
        assert found.first_bad.output == 1 / 256


# --- figures ------------------------------------------------------------------------------------


def test_no_bound_is_exceeded_where_nothing_overflows() -> None:
    # With sums added one by one, which the theorems are about.
    x = np.random.default_rng(0).uniform(-8, 8, (40, 20))
    result = stablemax.compare(x, accumulate="sequential", formats=["float16", "bfloat16", "float32", "float64"])
    ratios = {(v.variant, v.format): v.error_over_bound for v in result.verdicts if v.error_over_bound is not None}
    assert {name for name, _ in ratios} == {v.id for v in variants() if v.bound is not None}
    assert max(ratios.values()) <= 1


def test_a_bound_is_not_held_against_a_row_on_which_the_formula_overflowed() -> None:
    # Blanchard, Higham and Higham assume that nothing overflows; exp(100) does in float32.
    found = verdict("softmax/division-free-naive", "float32", [[100.0, 101.0]])
    assert found.worst is Outcome.LOST
    assert found.error_over_bound is None


def test_the_mean_of_the_losses_is_judged_like_a_loss() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 10))
    y = np.arange(1000) % 10
    found = verdict("cross_entropy/wide", "float32", x.astype(np.float32), y)
    exact = float(stablemax.cross_entropy(x.astype(np.float32), y))
    assert found.mean is not None
    assert found.mean_error_ulp is not None
    # Its distance from the exact mean, in float32 ulps of it.
    assert abs(found.mean_error_ulp - abs(found.mean - exact) / np.spacing(np.float32(exact))) <= 1e-6
    assert found.mean_error_ulp <= 2


def test_a_mean_that_is_added_up_one_by_one_in_float16_loses_its_digits() -> None:
    # pytorch 85791, 61523; here 5,000 rows of loss log 2.
    x, y = np.zeros((5000, 2)), np.zeros(5000, dtype=np.int64)
    one_by_one, wide = (
        verdict("cross_entropy/wide", "float16", x, y, accumulate=how) for how in ("sequential", "float32")
    )
    assert one_by_one.error_ulp == wide.error_ulp
    assert one_by_one.mean_error_ulp is not None
    assert one_by_one.mean_error_ulp > 100
    assert wide.mean_error_ulp is not None
    assert wide.mean_error_ulp <= 1


def test_another_limit_of_accuracy_is_used_and_kept() -> None:
    x = np.random.default_rng(0).normal(size=(20, 50)) * 100
    strict, lax = (
        stablemax.compare(x, operations=["softmax"], variants=["shifted"], formats=["float64"], max_ulp=m)
        for m in (4.0, 1e6)
    )
    assert (strict.max_ulp, strict.verdicts[0].worst) == (4.0, Outcome.INACCURATE)
    assert (lax.max_ulp, lax.verdicts[0].worst) == (1e6, Outcome.OK)
    assert strict.verdicts[0].error_ulp == lax.verdicts[0].error_ulp  # fmt: skip


# --- sampling -----------------------------------------------------------------------------------


def test_a_row_that_breaks_is_judged_however_few_rows_are() -> None:
    x = np.zeros((5000, 100))
    x[1234, 56] = 1000.0
    result = stablemax.compare(x, operations=["softmax"], variants=["naive"], formats=["float64"], judge=10)
    assert result.input.judged_rows <= 12
    assert result.notes == (f"errors judged on {result.input.judged_rows} of 5,000 rows",)
    (found,) = result.verdicts
    assert found.cause == "exp overflows above 709.78; first at row 1234, class 56, logit 1000"


def words_of(verdict: Verdict) -> str:
    """Return a verdict as text: a NaN does not equal itself. Errors have nine digits, as many as are always proved."""
    errors = {n: getattr(verdict, n) for n in ("error_ulp", "error_u", "error_over_bound", "mean_error_ulp")}
    verdict = replace(verdict, error_ulp=None, error_u=None, error_over_bound=None, mean_error_ulp=None)
    if not get(verdict.variant).rowwise:
        # Nobody watches on a block what takes all rows.
        verdict = replace(verdict, cause="", first_bad=None)
    return f"{[None if e is None else f'{e:.9g}' for e in errors.values()]} {verdict}"


@pytest.mark.parametrize("rows", [1, 7, 39])
def test_verdicts_are_the_same_in_blocks_of_any_size(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).normal(size=(40, 6)) * 30
    x[5, 2] = x[11] = -np.inf
    x[30, 1] = np.nan
    problem = as_problem(x, np.arange(40) % 6)
    operations = tuple(o for o in all_operations() if o.second is not Second.LOGITS)
    options = CompareOptions((FLOAT16, BFLOAT16, FLOAT32, FLOAT64), operations, show_values=9)
    at_once = compare_problem(problem, options)
    monkeypatch.setattr(block_verdicts, "BLOCK_CELLS", rows * 6)
    in_blocks = compare_problem(problem, options)
    for whole, part in zip(at_once.verdicts, in_blocks.verdicts, strict=True):
        assert words_of(part) == words_of(whole)
    assert (in_blocks.input, in_blocks.finding) == (at_once.input, at_once.finding)


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_a_mean_of_losses_is_held_against_the_exact_one_in_blocks_of_any_size(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_verdicts, "BLOCK_CELLS", rows * 6)
    x, labels = np.random.default_rng(3).normal(size=(40, 6)) * 3, np.arange(40) % 6
    options = CompareOptions((FLOAT32, FLOAT64), (CROSS_ENTROPY,))
    right = float(stablemax.cross_entropy(x, labels))
    for found in compare_problem(as_problem(x, labels), options).verdicts:
        if found.variant in ("cross_entropy/compensated", "cross_entropy/shifted"):
            assert found.mean == pytest.approx(right, rel=1e-6)
            assert found.mean_error_ulp is not None
            assert found.mean_error_ulp <= 16.0
        if found.variant == "cross_entropy/epsilon":
            assert found.mean_error_ulp is not None
            assert found.mean_error_ulp > 0.5
    x[5] = -np.inf
    for found in compare_problem(as_problem(x, labels), options).verdicts:
        assert found.mean_error_ulp is None


def test_a_wrong_cell_in_any_row_of_a_large_input_is_judged() -> None:
    x = np.zeros((3, block_verdicts.BLOCK_CELLS), np.float32)
    x[1, 77] = 1000.0
    result = stablemax.compare(x, operations=["softmax"], variants=["naive"], formats=["float32"])
    (found,) = result.verdicts
    assert (result.input.judged_rows, result.notes, found.worst) == (3, (), Outcome.NAN)
    assert found.first_bad is not None
    assert (found.first_bad.row, found.first_bad.column) == (1, 77)


def test_the_mean_gradient_divides_by_all_rows_not_by_those_judged() -> None:
    x, y = np.zeros((1000, 2)), np.zeros(1000, dtype=np.int64)
    options = CompareOptions((FLOAT64,), (CROSS_ENTROPY_GRAD,), ("shifted",), judge=4, show_values=1)
    (found,) = compare_problem(as_problem(x, y), options).verdicts
    assert found.values[0].values == (-0.0005, 0.0005)


# --- the sentence -------------------------------------------------------------------------------


def finding(x: Any, y: Any = None, **options: Any) -> str:
    return stablemax.compare(x, y, **options).finding


def test_the_finding_where_some_variants_break_names_the_first_its_cause_and_what_holds() -> None:
    found = finding(
        [[1000.0, 1001.0, 1002.0]],
        operations=["softmax"],
        variants=["naive", "compensated"],
        formats=["float64"],
    )
    assert found.startswith("1 of 2 variants breaks. softmax/naive is NaN in float64")
    assert "exp overflows above 709.78; first at row 0, class 0, logit 1000." in found
    assert " softmax/compensated is accurate: at most 0." in found  # fmt: skip


def test_the_finding_where_nothing_breaks_says_so() -> None:
    found = finding([[0.0, 1.0]], operations=["softmax"], variants=["naive", "shifted"], formats=["float32"])
    assert found.startswith("No variant breaks: the largest error is 0.")


def test_the_finding_where_nothing_breaks_does_not_boast_of_an_error_of_millions_of_ulps() -> None:
    # epsilon is within float64's limit of 2**26.5 ulp, and that is no praise of the others.
    found = finding([[2.0, 1.0, 0.1]], [0], operations=["cross_entropy"], formats=["float64"])
    assert found.startswith("No variant breaks")
    assert "cross_entropy/epsilon" in found


def test_the_finding_where_no_row_has_a_value_says_so() -> None:
    assert finding([[0.0, INF], [-INF, -INF], [NAN, 0.0]], formats=["float32"]) == (
        "No row of this input has a value to compare: each holds NaN, +inf or nothing but -inf."
    )


def test_the_finding_where_all_variants_break_praises_none() -> None:
    found = finding(
        [[1000.0, 0.0]],
        [1],
        operations=["cross_entropy"],
        variants=["naive", "log-of-softmax"],
        formats=["float64"],
    )
    assert found.startswith("2 of 2 variants break. ")
    assert "hold" not in found
    assert "accurate" not in found


def test_the_finding_where_stable_formulas_lose_small_values_says_what_is_lost_and_what_is_accurate() -> None:
    names = ["shifted", "lse-minus", "compensated"]
    found = finding([[0.0, -40.0]], [0], operations=["cross_entropy"], variants=names, formats=["float64"])
    assert found.startswith("No variant breaks. cross_entropy/lse-minus and cross_entropy/shifted are stable, and lose")
    assert "cross_entropy/compensated is accurate: at most" in found


def test_the_finding_says_first_what_fails_and_then_what_is_stable() -> None:
    names = ["naive", "shifted", "compensated"]
    logits = [[1000.0, 0.0], [0.0, -40.0]]
    found = finding(logits, [0, 0], operations=["cross_entropy"], variants=names, formats=["float64"])
    assert found.startswith("1 of 3 variants breaks. cross_entropy/naive is infinite in float64")
    assert "cross_entropy/shifted holds: it is stable, and small values are lost." in found


def test_the_finding_names_a_format_that_cannot_hold_the_input() -> None:
    assert finding([[0.0, 1e5]], operations=["softmax"], formats=["float16"]) == "float16 cannot hold these logits."


# --- what is run --------------------------------------------------------------------------------


def test_verdicts_come_in_the_order_of_the_declarations_and_of_the_formats() -> None:
    result = stablemax.compare([[0.0, 1.0]], [0], formats=["float64", "float16"])
    ids = [v.variant for v in result.verdicts]
    assert ids == [v.id for o in default_operations() for v in variants(o) for _ in range(2)]
    assert [v.format for v in result.verdicts[:2]] == ["float64", "float16"]
    assert result.formats == ("float64", "float16")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["naive"], {"softmax/naive", "log_softmax/naive", "logsumexp/naive"}),
        (["softmax/*-free*"], {"softmax/division-free", "softmax/division-free-naive"}),
        (["log1p", "softmax/tiled"], {"logsumexp/log1p", "softmax/tiled"}),
        (["*/wide"], {f"{o}/wide" for o in ("softmax", "log_softmax", "logsumexp", "softmax_vjp")}),
    ],
)
def test_variants_are_chosen_by_globs_of_names_or_ids(patterns: list[str], expected: set[str]) -> None:
    result = stablemax.compare([[0.0, 1.0]], variants=patterns, formats=["float32"])
    assert {v.variant for v in result.verdicts} == expected


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(StablemaxError, match="nope") as caught:
        stablemax.compare([[0.0]], variants=["nope"])
    assert caught.value.hint == "stablemax list variants"


def test_a_variant_that_would_build_a_huge_matrix_is_left_out_and_says_why() -> None:
    result = stablemax.compare(
        np.zeros((1, 2049)), operations=["softmax_vjp"], variants=["jacobian", "centred"], formats=["float32"]
    )
    jacobian, centred = result.verdicts
    assert (jacobian.worst, jacobian.shares) == (None, {})
    assert "at most 2,048 classes" in jacobian.skipped
    assert centred.worst is Outcome.OK  # fmt: skip


@pytest.mark.parametrize("wrong", [{"max_ulp": NAN}, {"max_ulp": -1.0}, {"judge": 0}, {"formats": ()}], ids=str)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    # With NaN as limit nothing is ever inaccurate: a check that cannot fail.
    with pytest.raises(StablemaxError):
        compare_problem(as_problem(np.zeros((1, 2))), CompareOptions(**wrong))


@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_progress_counts_up_to_the_number_it_promised(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_verdicts, "BLOCK_CELLS", 2 * block)
    calls: list[tuple[int, int, str]] = []
    result: Comparison = compare_problem(
        as_problem(np.zeros((5, 2))),
        CompareOptions((FLOAT16, FLOAT32), (SOFTMAX,)),
        progress=lambda done, total, text: calls.append((done, total, text)),
    )
    assert len(result.verdicts) == 2 * len(variants(SOFTMAX))
    counts = [done for done, _, _ in calls]
    assert counts == sorted(counts)
    assert len({total for _, total, _ in calls}) == 1
    assert calls[-1][0] == calls[-1][1]
    # Of each block its truth is said to be proved, and then of each variant that it is judged.
    blocks, texts = -(-5 // block), [text for _, _, text in calls]
    for fmt in ("float16", "float32"):
        assert texts.count(f"softmax in {fmt}: the truth") == blocks
        assert all(texts.count(f"{v.id} in {fmt}") == blocks for v in variants(SOFTMAX))
