"""Branches and masks that rounding decides: exact arithmetic takes its own, and the comparison is to blame."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.operations import get_operation
from stablemax.results import Outcome
from stablemax.trace import run_in_shadow, trace_numpy

if TYPE_CHECKING:
    from stablemax.results import Trace

CASES = Path(__file__).parents[1] / "cases"
FAR_BELOW, FAR_APART, LARGE = [[-1000.0, -1001.0]], [[0.0, -800.0]], [[1000.0, 1001.0]]
NEEDS_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")


def function_of(file: str, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(file, CASES / f"{file}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def line_with(function: Any, text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def traced(function: Any, operation: str, logits: Any, labels: Any = None) -> Trace:
    second = None if labels is None else np.array(labels)
    return trace_numpy(function, np.array(logits), second, get_operation(operation), FLOAT64, target="code")


@pytest.mark.parametrize(
    ("name", "operation", "logits", "comparison"),
    [
        ("zero_sum", "softmax", FAR_BELOW, "s == 0"),
        ("no_sum", "softmax", FAR_BELOW, "e.any()"),
        ("sum_as_truth", "softmax", FAR_BELOW, "if s"),
        ("masked_sum", "softmax", FAR_BELOW, "s > 0"),
        ("is_infinite", "softmax", LARGE, "np.isinf(s)"),
        ("nan_to_zero", "softmax", FAR_BELOW, "np.nan_to_num(e / e.sum(axis=-1, keepdims=True))"),
        ("nan_counted", "softmax", FAR_BELOW, "np.isnan(p)"),
        ("close_to_zero", "softmax", FAR_BELOW, "np.allclose(s, 0, rtol=0, atol=0)"),
        ("eps_log_softmax", "log_softmax", FAR_APART, "p == 0"),
    ],
)
def test_a_comparison_that_goes_the_other_way_in_exact_arithmetic_is_to_blame(
    name: str, operation: str, logits: Any, comparison: str
) -> None:
    function = function_of("rounded_branches", name)
    trace = traced(function, operation, logits)
    assert trace.formula_is_wrong is False, trace.finding
    assert trace.blame is not None, trace.finding
    assert trace.blame.line == line_with(function, comparison)
    # A truth value has no source of its own.
    assert comparison.removeprefix("if s") in trace.blame.sentence
    assert "in exact arithmetic" in trace.blame.sentence
    assert f"exp on line {line_with(function, 'np.exp(x')}" in trace.blame.sentence


def test_a_masked_logarithm_of_a_lost_probability_is_to_blame() -> None:
    function = function_of("rounded_branches", "skipped_cross_entropy")
    trace = traced(function, "cross_entropy", FAR_APART, [1])
    assert trace.blame is not None
    assert trace.blame.line == line_with(function, "p > 0")
    assert "p > 0 is false in float64 and true in exact arithmetic (0, exactly 3.67e-348)" in trace.blame.sentence


def test_the_exact_result_is_that_of_the_branches_that_exact_numbers_take() -> None:
    run = run_in_shadow(function_of("rounded_branches", "zero_sum"), np.array(FAR_BELOW))
    assert run.exact is not None
    assert run.value.tolist() == [[0.5, 0.5]]
    assert [float(c) for c in run.exact[0]] == pytest.approx([0.7310585786300049, 0.2689414213699951], rel=1e-15)


def test_a_mask_that_rounding_decides_and_that_does_no_harm_is_not_to_blame() -> None:
    trace = traced(function_of("rounded_branches", "masked_entropy"), "entropy", FAR_APART)
    assert trace.outcome in (Outcome.OK, Outcome.LOST)
    assert trace.blame is None or "in exact arithmetic" not in trace.blame.sentence
    assert trace.formula_is_wrong is False


def test_a_comparison_that_goes_the_same_way_leaves_a_wrong_formula_wrong() -> None:
    trace = traced(function_of("rounded_branches", "clipped_softmax"), "softmax", [[0.0, -20.0]])
    assert trace.formula_is_wrong is True


def test_comparisons_of_what_no_number_is_keep_their_answers() -> None:
    def code(x: Any) -> Any:
        return x if np.asarray(x == None).any() or np.asarray(x == "a").any() else x + 1  # noqa: E711 - as people do

    run = run_in_shadow(code, np.array([1.0, 2.0]))
    assert run.value.tolist() == [2.0, 3.0]


@NEEDS_TORCH
@pytest.mark.parametrize(
    ("name", "operation", "logits", "comparison"),
    [
        ("zero_sum", "softmax", FAR_BELOW, "s == 0"),
        ("masked_sum", "softmax", FAR_BELOW, "s > 0"),
        ("nan_to_one", "softmax", FAR_BELOW, "torch.isnan(p)"),
        ("infinite_sum", "softmax", LARGE, "torch.isinf(s)"),
        ("eps_log_softmax", "log_softmax", FAR_APART, "p == 0"),
    ],
)
def test_of_pytorch_code_too(name: str, operation: str, logits: Any, comparison: str) -> None:
    from stablemax.trace.torch.torch_trace import trace_torch

    function = function_of("rounded_branches_torch", name)
    trace = trace_torch(function, np.array(logits), None, get_operation(operation), FLOAT32, target="code")
    assert trace.formula_is_wrong is False, trace.finding
    assert trace.blame is not None, trace.finding
    assert trace.blame.line == line_with(function, comparison)
    assert f"{comparison} is " in trace.blame.sentence
    root = "torch.exp(x)" if "softmax" not in name else "torch.softmax"
    assert f"on line {line_with(function, root)}" in trace.blame.sentence


@NEEDS_TORCH
def test_a_harmless_mask_of_pytorch_code_is_not_to_blame() -> None:
    from stablemax.trace.torch.torch_trace import trace_torch

    function = function_of("rounded_branches_torch", "masked_entropy")
    trace = trace_torch(function, np.array([[0.0, -1.0, -200.0]]), None, get_operation("entropy"), FLOAT32)
    assert trace.blame is None, trace.finding
    assert trace.outcome is Outcome.OK
