"""Grades: textbook cures are stable, naive formulas are not, and what a verdict says is what was tried."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemax.check import CheckOptions, check, check_function
from stablemax.check.target.messages import Target
from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import get_operation
from stablemax.results import CheckReport, Grade, Outcome
from stablemax.testing import assert_accurate, assert_stable
from stablemax.text.errors import StablemaxError
from stablemax.truth.case import Shared, case_of, setting_of
from stablemax.truth.measure import CODES, GRADES_OF_CELLS

NOTEBOOKS = Path(__file__).parent / "notebooks.py"
GRADES = {
    "softmax1": Grade.UNSTABLE,
    "softmax2": Grade.ACCURATE,
    "cross_entropy1": Grade.UNSTABLE,
    "cross_entropy2": Grade.UNSTABLE,
    "cross_entropy3": Grade.STABLE,
    "cross_entropy_v1": Grade.STABLE,
    "cross_entropy_v2": Grade.UNSTABLE,
    "cross_entropy_grad1": Grade.UNSTABLE,
    "cross_entropy_grad2": Grade.STABLE,
    "whole_array_softmax": Grade.WRONG,
    "log_softmax": Grade.STABLE,
    "log_of_softmax": Grade.UNSTABLE,
    "bad_softmax": Grade.WRONG,
    "good_softmax": Grade.ACCURATE,
}


def notebook(name: str, **options: Any) -> CheckReport:
    operation = get_operation("log_softmax") if name.startswith("log_") else None
    target = Target(f"{NOTEBOOKS}:{name}", operation)
    # np.eye of 100,000 classes takes more memory than there is: in a process of its own.
    run: Any = check if name.startswith("cross_entropy_grad") else partial(check_function, None)
    return run(target, CheckOptions(**options))


@pytest.mark.slow
@pytest.mark.parametrize("name", GRADES)
def test_the_implementations_of_the_notebooks_get_their_grades(name: str) -> None:
    report = notebook(name, search=False)
    assert report.grade is GRADES[name], report.finding
    assert report.passed is GRADES[name].is_sound


@pytest.mark.slow
def test_the_full_jacobian_is_stable() -> None:
    target = Target(f"{NOTEBOOKS}:softmax_vjp_by_the_jacobian", get_operation("softmax_vjp"))
    # In a process of its own: the Jacobian of 100,000 classes takes more memory than there is.
    assert check(target, CheckOptions()).grade.is_sound


@pytest.mark.slow
def test_the_cross_entropy_of_torch_is_stable_but_for_its_mean_in_float16() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    report = check_function(
        torch.nn.CrossEntropyLoss(), Target("loss", get_operation("cross_entropy"), "torch"), CheckOptions()
    )
    # The mean of 20,500 ordinary losses overflows in float16 (pytorch 85791).
    of_formats = {"float16": Grade.UNSTABLE, "bfloat16": Grade.STABLE, "float32": Grade.STABLE, "float64": Grade.STABLE}
    assert report.grades == of_formats, report.finding


# --- cells --------------------------------------------------------------------------------------


def grades(operation: str, logits: Any, output: Any, fmt: Format = FLOAT32, **options: Any) -> list[str]:
    """Grade the cells of an output for one row of logits, label 0."""
    from stablemax.hazards.cases import rows

    setting = setting_of(case_of(rows([logits], [0]), get_operation(operation)), Shared(fmt))
    judged = setting.judge(fmt.cast(np.atleast_2d(np.asarray(output, dtype=np.float64))), **options)
    return [GRADES_OF_CELLS[i].value for i in judged.grades.ravel()]


def test_a_loss_that_is_lost_beside_1_is_stable_and_one_that_is_infinite_is_not() -> None:
    # log(1 + exp(-20)) = 2.06e-9 is 0.03 u on the scale 1.
    assert grades("cross_entropy", [20.0, 0.0], [0.0]) == ["stable"]
    assert grades("cross_entropy", [20.0, 0.0], [np.inf]) == ["unstable"]
    assert grades("cross_entropy", [20.0, 0.0], [np.nan]) == ["unstable"]
    assert grades("cross_entropy", [20.0, 0.0], [2.0611537e-09]) == ["accurate"]


def test_half_of_the_digits_on_the_scale_of_the_result_is_where_stable_ends() -> None:
    # Half of 24 bits are 2**12 ulp; the scale of this loss is 1, whose ulp is 2**-23.
    limit = 2.0**12 * 2.0**-23
    right = 2.06115362e-09
    assert grades("cross_entropy", [20.0, 0.0], [right + 0.99 * limit]) == ["stable"]
    assert grades("cross_entropy", [20.0, 0.0], [right + 1.01 * limit]) == ["unstable"]


def test_the_limit_in_ulps_is_that_of_both_grades() -> None:
    right, ulp = 2.06115362e-09, 2.0**-23
    assert grades("cross_entropy", [20.0, 0.0], [right + 3 * ulp], max_ulp=4.0) == ["stable"]
    assert grades("cross_entropy", [20.0, 0.0], [right + 5 * ulp], max_ulp=4.0) == ["unstable"]


def test_a_probability_is_measured_against_the_largest_of_its_row() -> None:
    p = [1.0, 0.0, 4.2483542e-18]
    assert grades("softmax", [40.0, 0.0, 0.0], p) == ["accurate", "stable", "accurate"]
    # Against a largest of 1/3 a zero loses everything.
    assert grades("softmax", [0.0, 0.0, 0.0], [1 / 3, 0.0, 1 / 3]) == ["accurate", "unstable", "accurate"]


def test_a_class_at_minus_infinity_that_gets_a_finite_log_probability_is_unstable() -> None:
    assert grades("log_softmax", [0.0, -np.inf], [0.0, -1e30]) == ["accurate", "unstable"]


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32, FLOAT64], ids=str)
def test_beyond_a_quarter_of_the_largest_number_nothing_makes_code_unstable(fmt: Format) -> None:
    just_below, beyond = 0.249 * fmt.max, 0.26 * fmt.max
    assert grades("cross_entropy", [-beyond, beyond], [np.inf], fmt) == ["stable"]
    assert grades("cross_entropy", [-just_below, just_below], [np.inf], fmt) == ["unstable"]


def test_the_verdict_of_a_hazard_is_about_the_cells_of_the_worst_grade() -> None:
    hazard = HAZARDS["nearly-certain"]
    operation = get_operation("log_softmax")
    setting = setting_of(case_of(hazard.case(FLOAT32), operation), Shared(FLOAT32))
    right = setting.exact.truth.rounded
    lost = np.where(np.abs(right) < 1e-9, 0.0, right)
    judged = setting.judge(lost.astype(np.float32))
    assert {CODES[i] for i in judged.codes.ravel()} == {Outcome.OK, Outcome.LOST}
    assert judged.grades.max() == GRADES_OF_CELLS.index(Grade.STABLE)


# --- what is asked for ----------------------------------------------------------------------------


def shifted_log_softmax(x: Any) -> Any:
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


FEW: dict[str, Any] = {"formats": ["float32"], "only": ["nearly-certain", "gentle", "two-rows"]}


@pytest.mark.slow
def test_stable_code_passes_unless_accurate_code_is_asked_for() -> None:
    report = assert_stable(shifted_log_softmax, operation="log_softmax", **FEW)
    assert (report.grade, report.grades) == (Grade.STABLE, {"float32": Grade.STABLE})
    with pytest.raises(AssertionError, match=r"is stable in float32, and\s+accurate is asked\s+for"):
        assert_stable(shifted_log_softmax, operation="log_softmax", require="accurate", **FEW)


def test_an_output_is_held_to_accuracy_unless_stability_is_enough() -> None:
    output, logits = np.array([[0.0, -40.0]], np.float32), np.array([[40.0, 0.0]], np.float32)
    with pytest.raises(AssertionError, match="0 and should not be"):
        assert_accurate(output, operation="log_softmax", logits=logits)
    assert assert_accurate(output, operation="log_softmax", logits=logits, require="stable").grade is Grade.STABLE


def test_no_other_grade_can_be_asked_for() -> None:
    with pytest.raises(StablemaxError, match="there is no grade 'unstable' to ask for"):
        assert_stable(shifted_log_softmax, operation="log_softmax", require="unstable", **FEW)


def naive_softmax(x: Any) -> Any:
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.slow
def test_a_format_in_which_code_may_be_unstable_does_not_decide_and_is_said() -> None:
    few: dict[str, Any] = {"operation": "softmax", "only": ["gentle", "label-ahead-by-20"], "search": False}
    with pytest.raises(AssertionError, match=r"unstable in float16"):
        assert_stable(naive_softmax, formats=["float16", "float32"], **few)
    report = assert_stable(naive_softmax, formats=["float16", "float32"], allow=["unstable-in=fp16"], **few)
    assert report.grades == {"float16": Grade.UNSTABLE, "float32": Grade.ACCURATE}
    assert report.grade is Grade.ACCURATE
    assert "accurate in float32 and unstable in float16 (allowed)" in report.finding


def test_a_wrong_formula_is_wrong_in_every_format() -> None:
    def summed_over_rows(x: Any) -> Any:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=0)

    options = CheckOptions(formats=(FLOAT16, FLOAT32), only=("gentle", "two-rows"), search=False)
    report = check_function(summed_over_rows, Target("softmax", get_operation("softmax")), options)
    assert report.grades == {"float16": Grade.WRONG, "float32": Grade.WRONG}
    # What a wrong formula fails on is not called unstable: that would say that it is right in exact arithmetic.
    assert {h.grade for h in report.hazards if h.failed} == {Grade.WRONG}
